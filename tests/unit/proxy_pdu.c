#include "tests/unit/proxy_pdu.h"

#include <string.h>

enum {
	OPCODE_MASK = 0x3f,
	NOP_IN = 0x20,
	FINAL = 0x80,
	RESIDUAL_UNDERFLOW = 0x02,
	AHS_AT = 4,
	LENGTH_AT = 5,
	TAG_AT = 16,
	TRANSFER_TAG_AT = 20,
	SERIALS_AT = 24,
	RESIDUAL_AT = 44,
	CHECK_CONDITION = 0x02,
	SENSE_BYTES = 18,
};

guint pdu_opcode(const GByteArray *pdu)
{
	return pdu->data[0] & OPCODE_MASK;
}

guint32 pdu_tag(const GByteArray *pdu)
{
	guint32 tag;

	memcpy(&tag, pdu->data + TAG_AT, sizeof(tag));
	return tag;
}

static gsize length_of(const GByteArray *pdu)
{
	return (gsize)pdu->data[LENGTH_AT] << 16 | (gsize)pdu->data[LENGTH_AT + 1] << 8 |
	       pdu->data[LENGTH_AT + 2];
}

static void length_set(GByteArray *pdu, gsize length)
{
	pdu->data[LENGTH_AT] = (guint8)(length >> 16);
	pdu->data[LENGTH_AT + 1] = (guint8)(length >> 8);
	pdu->data[LENGTH_AT + 2] = (guint8)length;
}

static gsize padded(gsize length)
{
	return (length + 3) / 4 * 4;
}

gsize pdu_rest_bytes(const GByteArray *pdu)
{
	return padded(length_of(pdu)) + (gsize)pdu->data[AHS_AT] * 4;
}

/* A Data-In need not have a StatSN. */
void pdu_read_serials(const GByteArray *pdu, struct pdu_serials *serials)
{
	if (pdu_opcode(pdu) == PROXY_RESPONSE || pdu_opcode(pdu) == PROXY_LOGIN_RESPONSE)
		memcpy(serials->bytes, pdu->data + SERIALS_AT, sizeof(serials->bytes));
}

void pdu_answer(GByteArray *pdu, const struct proxy_fault *fault)
{
	guint8 sense[2 + SENSE_BYTES] = {0, SENSE_BYTES};

	g_byte_array_set_size(pdu, PROXY_HEADER_BYTES);
	pdu->data[1] = FINAL;
	pdu->data[3] = fault->status;
	memset(pdu->data + RESIDUAL_AT, 0, 4);
	length_set(pdu, 0);
	if (fault->status != CHECK_CONDITION)
		return;
	sense[2] = fault->deferred ? 0x71 : 0x70;
	sense[2 + 2] = fault->key;
	sense[2 + 7] = SENSE_BYTES - 8;
	sense[2 + 12] = (guint8)(fault->ascq >> 8);
	sense[2 + 13] = (guint8)fault->ascq;
	length_set(pdu, sizeof(sense));
	g_byte_array_append(pdu, sense, sizeof(sense));
}

void pdu_tell_residual(GByteArray *pdu, guint32 bytes)
{
	const guint32 residual = GUINT32_TO_BE(bytes);

	pdu->data[1] |= RESIDUAL_UNDERFLOW;
	memcpy(pdu->data + RESIDUAL_AT, &residual, sizeof(residual));
}

void pdu_append(GByteArray *pdu, const char *text, gsize bytes)
{
	static const guint8 padding[3];
	const gsize length = length_of(pdu) + bytes;

	g_byte_array_set_size(pdu, (guint)(PROXY_HEADER_BYTES + length_of(pdu)));
	g_byte_array_append(pdu, (const guint8 *)text, (guint)bytes);
	g_byte_array_append(pdu, padding, (guint)(padded(length) - length));
	length_set(pdu, length);
}

void pdu_append_ping(GByteArray *pdus, gboolean wants_answer, const struct pdu_serials *serials)
{
	guint8 ping[PROXY_HEADER_BYTES] = {NOP_IN, FINAL};

	memset(ping + TAG_AT, 0xff, 4);
	memset(ping + TRANSFER_TAG_AT, wants_answer ? 0x11 : 0xff, 4);
	memcpy(ping + SERIALS_AT, serials->bytes, sizeof(serials->bytes));
	g_byte_array_append(pdus, ping, sizeof(ping));
}
