/*
 * A job of four phases, a to d, that do what the test says: for the tests of the phase runner.
 *
 * c has nothing to undo and may be the commit point; b has a probe.
 */
#ifndef FAKED_SCRIPT_H
#define FAKED_SCRIPT_H

#include "blockmig/move/runner.h"
#include "tests/faked/moves.h"

extern struct move *move;

struct script {
	GString *steps;	 /* "+a-b": a was run, b undone */
	const char *run; /* this phase's run fails */
	int run_code;
	guint run_times;  /* so often, then no more; 0: always */
	const char *undo; /* this phase's undo fails */
	int undo_code;
	const char *full;  /* the ledger's disk is full from this phase's run on, or b's probe */
	const char *stop;  /* this phase's run asks for a stop */
	const char *lost;  /* the ledger has this phase's undo, and no step behind it */
	gboolean commits;  /* phase c is the commit point */
	gboolean advances; /* each run that fails has copied something */
	gulong takes_us;   /* each run that fails */
	enum standing standing; /* what b's probe says */
	gboolean done_when_run; /* it says DONE once b was run */
};
extern struct script script;
extern const struct phase script_table[];

void script_open(void);
void script_close(void);

/*
 * Drives the job (runner_run or runner_abort): it ends with the exit @status (0: it succeeds),
 * after these steps, and leaves the job so.
 */
typedef gboolean (*script_drive)(struct move *, const struct phase *, GError **);
void script_expect(script_drive drive, int status, const char *steps, enum job_result result);

#endif
