/*
 * Room: what our overlays hold, how fast they grow, how long what is free beside them will
 * last; and the low-water mark, at which a job goes back while there is room for that.
 *
 * A commit back grows a thin base by what the overlays hold, and the guest writes on
 * meanwhile.  Below the mark there may be too little for both, and the guest would meet a
 * full file system.  Whoever drives a job looks once a second; while a job is held, the
 * next blockmig resume does so first.
 */
#ifndef MOVE_ROOM_H
#define MOVE_ROOM_H

#include "blockmig/ledger/ledger.h"
#include "common/auto.h"

#include <glib.h>

struct job;
struct move;

/* What a running job has seen of its overlays' growth; all zeros to begin with. */
struct room_watch {
	gint64 at_us; /* monotonic clock */
	guint64 held_bytes;
	double bytes_per_second;
};

/*
 * There is still room to put the guest back; PERMANENT at the low-water mark.  A
 * copy_spec.watch.
 */
gboolean room_watch(void *move, GError **error);

struct room {
	char *folder;		  /* where the guest's overlay lies */
	guint64 held_bytes;	  /* allocated by all of them */
	guint64 free_bytes;	  /* there */
	guint64 bytes_per_second; /* by which they grow; G_MAXUINT64: not known */
	guint64 lasts_ms;	  /* free_bytes at this rate; G_MAXUINT64: not known, or for ever */
};
void room_free(struct room *room);
AUTO_DEFINE(room, room_free)

/*
 * As it is now, by what the overlays grew since the job's document was written; NULL where
 * the guest writes to none of our overlays on the source's side, or stands still.
 */
struct room *room_of_job(const struct job *job);
struct room *room_of_record(const struct ledger_job *record);
/* "1.2 GiB, with 10 GiB free in /srv/local: ..."; the caller frees. */
char *room_text(const struct room *room);

/* Notes in the document what the overlays hold now. */
void room_stamp(struct job *job);

#endif
