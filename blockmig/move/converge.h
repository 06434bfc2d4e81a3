/*
 * Whether the rounds come to an end, and what to do where they do not: --converge.
 */
#ifndef MOVE_CONVERGE_H
#define MOVE_CONVERGE_H

#include "blockmig/move/pace.h"

/* All zeros to begin with. */
struct converge {
	guint rounds;	      /* of this run */
	guint without_gain;   /* of these, the last ones that did not leave less */
	guint64 smallest;     /* what any of them left, in bytes; 0: none yet */
	guint64 copied_bytes; /* by the one before */
	guint pause_s;	      /* the last one */
	struct pace_mark mark;
};

/*
 * Before another round, which is to copy @left_bytes.  TRUE: begin it; time may have
 * passed, and the guest may be slower or off.  TRANSIENT, or PERMANENT where the user
 * wants it to fail: it makes no sense.
 */
gboolean converge_check(struct move *move, struct converge *converge, guint64 left_bytes,
			GError **error);

#endif
