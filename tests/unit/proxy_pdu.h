/*
 * The PDUs that a proxy (proxy.h) passes on, looks into, changes and makes; each is whole:
 * header and padded data, and a header digest where one is in use.
 */
#ifndef TESTS_UNIT_PROXY_PDU_H
#define TESTS_UNIT_PROXY_PDU_H

#include "tests/unit/proxy.h"

/* What every PDU of a target carries: StatSN, ExpCmdSN and MaxCmdSN, as they are sent. */
struct pdu_serials {
	guint8 bytes[12];
};

guint pdu_opcode(const GByteArray *pdu);
guint32 pdu_tag(const GByteArray *pdu);
/* What follows a header that has no digest. */
gsize pdu_rest_bytes(const GByteArray *pdu);

/* Of a PDU of the target that has them. */
void pdu_read_serials(const GByteArray *pdu, struct pdu_serials *serials);

/* Makes a response the fault's: its status, and its sense where that is a check condition. */
void pdu_answer(GByteArray *pdu, const struct proxy_fault *fault);
/* So much of what was asked for counts as not transferred, in a PDU that has a status. */
void pdu_tell_residual(GByteArray *pdu, guint32 bytes);
/* Behind the data that is there, in a PDU without additional headers or digests. */
void pdu_append(GByteArray *pdu, const char *text, gsize bytes);
/* One more PDU, a target's NOP-In. */
void pdu_append_ping(GByteArray *pdus, gboolean wants_answer, const struct pdu_serials *serials);

#endif
