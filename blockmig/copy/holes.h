/*
 * Holes that the transport cannot tell: NFS 3 has no report, but where this host has the
 * image as a file too (a mount of version 4.2, or the server's own disk), the file has.
 *
 * The file is asked in a thread of its own, which is left to itself where nothing comes of
 * it for a stall limit: a mount whose server is away may hang for as long as it likes.
 * An answer counts only where file and image are the same and were the same all along:
 * inode, size, and the time of the last change, to the nanosecond.
 */
#ifndef COPY_HOLES_H
#define COPY_HOLES_H

#include "transports/transport.h"

/* Which pieces of an image are holes: a bit each. */
struct hole_map {
	guint8 *bits;
	guint64 pieces;
	struct image_info info; /* of the file, before and after it was asked */
};

struct hole_question {
	const char *path;
	guint64 offset_bytes; /* where the first piece begins */
	guint64 piece_bytes;
	guint64 length_bytes; /* of all pieces; the last one may be shorter */
};

/* NULL where the file does not say, or not in time: that is no error. */
struct hole_map *hole_map_ask(const struct hole_question *question, guint stall_ms);
void hole_map_free(struct hole_map *map);
AUTO_DEFINE(hole_map, hole_map_free)

gboolean hole_map_has(const struct hole_map *map, guint64 piece);
/* Whether @image, reached some other way, is that file, and as it was then. */
gboolean hole_map_is_of(const struct hole_map *map, const struct image_info *image);

#endif
