/*
 * The phase runner: a table of phases, run in order, probed after a crash, undone in
 * reverse.
 *
 * run() carries its phase from wherever the world has it to its end, so that it may be
 * called again after a crash, and is where it failed with TRANSIENT, for as long as
 * --retry-for says.  probe() asks the world (never the ledger) whether the
 * phase's work is there already.  undo() takes it away again, from wherever it stands.
 * Until job->cut_over is written down, a failure undoes; from then on, only forward.
 */
#ifndef MOVE_RUNNER_H
#define MOVE_RUNNER_H

#include "blockmig/move/job.h"

enum standing { STANDING_NOT_DONE, STANDING_DONE, STANDING_UNKNOWN };

struct phase {
	const char *name;
	gboolean (*run)(struct move *move, GError **error);
	/* NULL: run() itself finds out, and costs nothing where all is done. */
	enum standing (*probe)(struct move *move, GError **error);
	/* NULL: nothing to undo. */
	gboolean (*undo)(struct move *move, GError **error);
	const char *words; /* for `plan` */
};

/* Tables are closed by an entry without a name: a disk of a guest, and a bare image. */
extern const struct phase seeded_phases[];
extern const struct phase copy_phases[];

/* Runs the job's open phase and all behind it; on failure decides by the error. */
gboolean runner_run(struct move *move, const struct phase *phases, GError **error);
/* Undoes everything; where the commit point is behind the job, finishes it: OPERATOR. */
gboolean runner_abort(struct move *move, const struct phase *phases, GError **error);

#endif
