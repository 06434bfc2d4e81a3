/*
 * The guest's pace: how fast it writes, and a limit on that while the rounds catch up.
 *
 * The limit is one of libvirt's block I/O limits, of the running guest alone.  What was set
 * before is in the job's document and in the domain's metadata before anything is changed,
 * and is set again by whoever ends the job, or goes on after its death, with its ledger or
 * without.  Limits that somebody else has set meanwhile are left alone: nobody is slowed
 * against an admin's will.  So what the metadata tell of limits that are lifted already is
 * no harm.
 */
#ifndef MOVE_PACE_H
#define MOVE_PACE_H

#include "blockmig/move/job.h"

/* No guest is slowed below this, in bytes a second: its programs are to work still. */
enum { PACE_FLOOR_BYTES = 256 << 10 };

/* What the guest wrote up to a moment. */
struct pace_mark {
	guint64 written_bytes; /* G_MAXUINT64: not known */
	gint64 at_us;	       /* monotonic clock; 0: none yet */
};
void pace_mark(struct move *move, struct pace_mark *mark);
/* Bytes a second between two marks; G_MAXUINT64: not known. */
guint64 pace_between(const struct pace_mark *from, const struct pace_mark *to);

/*
 * Limits the guest's writes to this @share of @bytes a second, what it wrote or may write
 * now, but not below the floor; *slowed tells whether it is slower than before.  Where it
 * cannot be, the user is told why.
 */
gboolean pace_slow(struct move *move, guint64 bytes, double share, gboolean *slowed,
		   GError **error);

/* Sets the limits again that were there before; nothing where there is none of ours. */
gboolean pace_restore(struct move *move, GError **error);

#endif
