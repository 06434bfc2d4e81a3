/*
 * A proxy in front of an iSCSI target that spoils chosen PDUs on their way, for what a
 * real target cannot be made to do at the wanted byte.
 *
 * It lives in threads of the test's own process, passes every PDU on as a whole, and
 * knows which SCSI command each one belongs to.  One fault is in force at a time.
 */
#ifndef TESTS_UNIT_PROXY_H
#define TESTS_UNIT_PROXY_H

#include "common/auto.h"

#include <glib.h>

/* RFC 7143, 11.2.1.2 */
enum proxy_pdu {
	PROXY_COMMAND = 0x01,
	PROXY_DATA_OUT = 0x05,
	PROXY_RESPONSE = 0x21,
	PROXY_LOGIN_RESPONSE = 0x23,
	PROXY_DATA_IN = 0x25,
	PROXY_R2T = 0x31,
};

enum { PROXY_HEADER_BYTES = 48, PROXY_ANY = -1, PROXY_FOR_EVER = G_MAXINT };

enum proxy_act {
	PROXY_NOTHING,
	PROXY_CUT,	 /* `at` bytes of the PDU pass, then both sides are closed */
	PROXY_FLIP,	 /* `bits` of byte `at` change, the lowest where none is given */
	PROXY_BLACKHOLE, /* behind byte `at` nothing passes any more, nor is it closed */
	PROXY_REFUSE,	 /* a command: `call` is called where there is one; not executed, answered
			    with `status` (0: good) and sense */
	PROXY_PING,	 /* as PROXY_BLACKHOLE, but that a ping comes every `ping_ms` */
	PROXY_DROP,	 /* the PDU alone is lost */
	PROXY_CALL,	 /* `call` is called, then the PDU passes */
	PROXY_APPEND,	 /* `bytes` more of data, `text` */
	PROXY_SHORT, /* an answer tells a residual of `bytes`, and the data is there all the same */
};

struct proxy_fault {
	enum proxy_act act;
	enum proxy_pdu pdu;
	int operation; /* of the SCSI command: 0x8a; or PROXY_ANY */
	int skip;      /* so many of these PDUs pass first */
	int times;     /* then so many are spoiled, or PROXY_FOR_EVER */
	gsize at;
	guint8 bits;
	guint ping_ms;
	guint8 status, key;
	guint16 ascq;
	gboolean deferred; /* the sense is about an earlier command */
	void (*call)(void *data);
	void *data;
	const char *text;
	gsize bytes;
};

struct proxy;

/* Listens at 127.0.0.1:@port and passes on to @target_port. */
struct proxy *proxy_start(int port, int target_port);
/* Closes the port and every connection. */
void proxy_stop(struct proxy *proxy);
AUTO_DEFINE(proxy, proxy_stop)

/* As a crash does; may be called from a fault's call. */
void proxy_die(struct proxy *proxy);

void proxy_spoil(struct proxy *proxy, const struct proxy_fault *fault);
/* How many PDUs the fault in force has spoiled. */
int proxy_spoiled(struct proxy *proxy);
/* Connections that are opened from now on reach this LUN, whatever they ask for. */
void proxy_swap_lun(struct proxy *proxy, int lun);
/* Once logged in, headers carry a digest. */
void proxy_expect_header_digest(struct proxy *proxy);
/* How many connections there have been. */
int proxy_connections(struct proxy *proxy);

#endif
