/*
 * Extent lists: which parts of a range hold data.
 *
 * Invariants, checked by extents_append: ascending, contiguous, never empty
 * extents, and neighbours of equal kind are coalesced.
 */
#ifndef TRANSPORTS_EXTENTS_H
#define TRANSPORTS_EXTENTS_H

#include "common/auto.h"

#include <glib.h>

enum extent_kind {
	EXTENT_DATA,	/* may hold anything */
	EXTENT_ZERO,	/* allocated in this layer, or the only layer, and reads as zeros */
	EXTENT_UNKNOWN, /* nbd of one qcow2 layer alone: not allocated here, the layer below shows
			 */
};

struct extent {
	guint64 offset_bytes;
	guint64 length_bytes;
	enum extent_kind kind;
};

struct extents {
	GArray *list; /* of struct extent */
};

struct extents *extents_new(void);
void extents_free(struct extents *extents);
AUTO_DEFINE(extents, extents_free)

void extents_append(struct extents *extents, guint64 offset_bytes, guint64 length_bytes,
		    enum extent_kind kind);
guint extents_count(const struct extents *extents);
const struct extent *extents_get(const struct extents *extents, guint index);
/* Bytes of @kind in the list. */
guint64 extents_bytes(const struct extents *extents, enum extent_kind kind);

#endif
