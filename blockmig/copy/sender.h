/*
 * One unit on its way: read from the source, hashed, and written, zeroed or left out at
 * the destination.  Nothing here flushes or knows the ledger: that is the worker's.
 */
#ifndef COPY_SENDER_H
#define COPY_SENDER_H

#include "blockmig/copy/engine_private.h"

/* A unit that a worker has claimed, and what was found in it. */
struct claim {
	guint64 index;
	gboolean is_zero;
	guint64 data_bytes; /* as in struct ledger_unit */
	struct digest digest;
};

struct sender {
	struct engine *engine;
	struct endpoint source, destination;
	void *buffer;	    /* one unit */
	gboolean unflushed; /* something was written since the last flush */
};

gboolean sender_open(struct sender *sender, GError **error);
/* Closes both ends; what was not flushed is lost. */
void sender_drop(struct sender *sender);

/* Reads the source's unit into the buffer; sets the claim's digest or is_zero. */
gboolean sender_read(struct sender *sender, struct claim *claim, GError **error);
/* Reads the unit and brings it to the destination. */
gboolean sender_send(struct sender *sender, struct claim *claim, GError **error);

#endif
