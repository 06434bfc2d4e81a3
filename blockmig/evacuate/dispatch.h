/*
 * The dispatcher: which move of an evacuation begins when, how much of the bandwidth each
 * has, and what becomes of one that fails.
 *
 *     dispatch_new(); dispatch_add_target(); dispatch_add_move() in the plan's order
 *     dispatch_run()     until all is settled, the window closes, or the user stops
 *     dispatch->moves    what became of each
 *
 * It drives its moves through a table (struct dispatch_runner): processes in earnest, a
 * list and a clock of their own in the tests.  It decides by these rules alone:
 *
 *  - moves begin in the order in which they were added, each as soon as the limits let it;
 *    one domain has one move at a time;
 *  - none begins that would not end before the window closes, by the rate that was measured
 *    between the two datastores and the part of bwlimit that is left when every slot is
 *    taken.  What an earlier night has begun goes on in any case, and so does, where moves
 *    are held at the end, one that no window is long enough for;
 *  - bwlimit is divided evenly among the moves that run, again whenever one comes or goes;
 *  - when the window closes, running moves reach a checkpoint and are held, or rolled back;
 *  - a move that fails is set aside with its reason.  After BREAKER_FAILURES in a row of one
 *    destination nothing more is sent there;
 *  - one whose domain is busy, or whose process was killed, is tried again, a few times.
 */
#ifndef EVACUATE_DISPATCH_H
#define EVACUATE_DISPATCH_H

#include "blockmig/evacuate/plan.h"
#include "common/auto.h"

#include <glib.h>

enum { DISPATCH_BREAKER_FAILURES = 3 };

/* How a move's process ended. */
struct dispatch_outcome {
	int status;    /* an exit status of `blockmig migrate`, or 128 + N for a signal */
	gint64 job;    /* 0: refused before there was one */
	char *message; /* the last error; NULL: none */
	guint64 bytes_sent, bytes_resent;
	guint64 copy_ms;    /* of the phases that copy */
	gint64 downtime_ms; /* -1: was not suspended */
};
void dispatch_outcome_clear(struct dispatch_outcome *outcome);

/* Where moves go. */
struct dispatch_target {
	char *name;
	char *url;		  /* of the place; NULL: not said */
	guint64 bytes_per_second; /* one move to it reaches; 0: not measured */
	guint running, failures;  /* in a row */
	char *broken;		  /* why nothing more is sent there; NULL: it is */
};

enum dispatch_state {
	DISPATCH_WAITING, /* not begun: for a slot, for the next window, or for a busy domain */
	DISPATCH_RUNNING,
	DISPATCH_MOVED,
	DISPATCH_HELD,	      /* at a checkpoint; the same command goes on with it */
	DISPATCH_ROLLED_BACK, /* as asked, at the window's end */
	DISPATCH_FAILED,      /* the guest is on its source */
	DISPATCH_OPERATOR,    /* past the commit point, and a person is needed */
	DISPATCH_UNSENT,      /* the circuit breaker, or no window is long enough */
};

struct dispatch_move {
	char *domain, *disk, *host, *source;
	char *to; /* for --to */
	struct dispatch_target *target;
	guint64 bytes;
	gint64 job; /* 0: not begun yet, in no night */
	enum dispatch_state state;
	char *reason; /* why it did not move; NULL: no more to say */
	struct dispatch_outcome outcome;
	gint64 begun_s, ended_s; /* UNIX time, of the last try */
	/* The dispatcher's own. */
	guint tries;
	gint64 not_before_s;
	gboolean rolling_back;
};

enum dispatch_at_end { DISPATCH_HOLD, DISPATCH_ROLLBACK };

/* What the dispatcher drives; @move is borrowed and keeps its address. */
struct dispatch_runner {
	gint64 (*now_s)(void *data);
	/* @rate: bytes a second, 0 for no limit. */
	gboolean (*start)(struct dispatch_move *move, guint64 rate, void *data, GError **error);
	void (*set_rate)(struct dispatch_move *move, guint64 rate, void *data);
	/* Ends it at its next checkpoint; @now: without one. */
	void (*stop)(struct dispatch_move *move, gboolean now, void *data);
	/* Begins to roll back one that was held; it ends as a move does. */
	gboolean (*roll_back)(struct dispatch_move *move, void *data, GError **error);
	/*
	 * Waits until a move ends, the user stops, or @until_s has come; the move that ended,
	 * with its outcome filled in, or NULL.
	 */
	struct dispatch_move *(*wait)(gint64 until_s, void *data);
	/* Whether the destination can be reached at all; asked after a refusal. */
	gboolean (*answers)(const struct dispatch_target *target, void *data);
	/* A move has ended well: what one reaches from now on, 0 for not known. */
	guint64 (*measured)(const struct dispatch_move *move, void *data);
};

struct dispatch {
	struct plan_limits limits; /* the caller's, before dispatch_run */
	gint64 closes_s;	   /* UNIX time; G_MAXINT64: never */
	gint64 longest_s;	   /* of the windows to come; G_MAXINT64 without one */
	enum dispatch_at_end at_end;
	GPtrArray *targets; /* of struct dispatch_target * */
	GPtrArray *moves;   /* of struct dispatch_move * */
	GPtrArray *running; /* borrowed from moves */
	const struct dispatch_runner *runner;
	void *data;
	/* The dispatcher's own: of bwlimit, with as many moves as can run at once. */
	guint64 least_share;
};

struct dispatch *dispatch_new(const struct dispatch_runner *runner, void *data);
void dispatch_free(struct dispatch *dispatch);
AUTO_DEFINE(dispatch, dispatch_free)

/* The target of that name, added where it is new; borrowed. */
struct dispatch_target *dispatch_add_target(struct dispatch *dispatch, const char *name);
/* Waiting, with copies of the names; borrowed. */
struct dispatch_move *dispatch_add_move(struct dispatch *dispatch, const char *domain,
					const char *disk, struct dispatch_target *target,
					const char *to);

/* Returns when no move runs and none can begin. */
void dispatch_run(struct dispatch *dispatch);
/* Whether the user stopped it, or the window has closed. */
gboolean dispatch_is_over(const struct dispatch *dispatch);

/* How many moves are in @state. */
guint dispatch_count(const struct dispatch *dispatch, enum dispatch_state state);
/* "waiting", "running", "moved", "held", "rolled-back", "failed", "operator", "unsent". */
const char *dispatch_state_name(enum dispatch_state state);

#endif
