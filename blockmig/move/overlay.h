/*
 * Overlays: where they lie, and whether there is room for them and for their way back.
 */
#ifndef MOVE_OVERLAY_H
#define MOVE_OVERLAY_H

#include "blockmig/move/job.h"

/* The scratch folder, made (0711) where it is missing. */
char *overlay_scratch(const struct move_context *context, const struct move_options *options,
		      GError **error);

/*
 * Chooses job->overlay_folder: the layer's own folder where it is a file and there is room,
 * else @scratch.  PERMANENT where neither has room for overlays and their commit back.
 */
gboolean overlay_place(struct job *job, const char *scratch, guint64 layer_allocated,
		       GError **error);

/* Names; the caller frees.  The job's overlay @number, from 1. */
char *overlay_path(const struct job *job, guint number);
/* The number of the overlay at @path, which may be on its way home; 0: not this job's. */
guint overlay_number(const struct job *job, const char *path);
/* What overlay @number's round is called at the destination, beside its image. */
char *overlay_landed_name(const struct job *job, guint number);
/* The overlay that the mirror writes to, in @scratch. */
char *overlay_destination_path(const struct job *job, const char *scratch);

/* Makes an empty overlay for QEMU; a file left by a dead run is made anew. */
gboolean overlay_create(const struct move *move, const char *path, const struct layer *backing,
			const char *backing_name, GError **error);

/* Allocated bytes of a file; 0 where it is not there. */
guint64 overlay_allocated(const char *path);
/* What is free in a folder's file system; 0 where that cannot be told. */
guint64 overlay_free_bytes(const char *folder);

/* Whether @uid can reach the folder; *blocker is the folder that bars the way. */
gboolean overlay_reachable(const char *folder, int uid, int gid, char **blocker);

gboolean overlay_remove(const char *path, GError **error);
/* The overlay's file, and on a way home the one whose place it took. */
gboolean overlay_forget(const struct overlay *overlay, GError **error);
/* What a way home calls the overlay that takes @path's place; the caller frees. */
char *overlay_home_path(const char *path);

#endif
