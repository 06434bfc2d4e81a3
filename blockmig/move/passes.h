/*
 * Passes of the copy engine as a move uses them.
 */
#ifndef MOVE_PASSES_H
#define MOVE_PASSES_H

#include "blockmig/move/job.h"

/* One pass: what, from where, to where. */
struct pass {
	const char *name;
	const struct url *source;
	const struct transport_config *source_config;
	guint64 source_offset;
	const char *source_identity; /* NULL: not known yet */
	const char *source_path;     /* the same image as a file, for its holes; or NULL */
	const struct url *destination;
	guint64 destination_offset;
	guint64 content_bytes;
	const struct copy_range *ranges; /* NULL: all of it */
	guint64 range_count;
	gboolean fresh;
	gboolean rehash;     /* the source may have changed since an earlier run */
	gboolean unattended; /* and so may the destination */
	guint round;	     /* for the progress; 0: the seed */
};

/* Runs the pass to its end, proven where the job asks; adds to the job's totals. */
gboolean pass_run(struct move *move, const struct pass *pass, GError **error);

/* What the job copied so far, a pass that was cut off included. */
void pass_totals(const struct job *job, struct copy_totals *totals);

/* The job's manifest root over the pass "base" into job->sha256. */
gboolean pass_root(struct move *move, GError **error);

/* The name of the pass that copies the frozen layer. */
#define PASS_BASE "base"

/* *pass is the job's pass "base" in the ledger, 0 where nothing was copied yet. */
gboolean pass_base(struct move *move, gint64 *pass, GError **error);

#endif
