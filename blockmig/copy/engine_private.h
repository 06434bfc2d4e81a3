/*
 * Inside the engine: the map of units that coordinator, workers and provers share.
 *
 *     SEND -> HELD (by a worker) -> DONE -> PROVING (by a prover) -> PROVEN
 *     CHECK -> HELD -> DONE or SEND          (rehash)
 *     PROVING -> SEND                        (a mismatch)
 *     PROVEN -> DOUBTED -> DONE              (a mismatch elsewhere)
 *
 * The mutex guards map, count, totals and cursors.  A unit that is HELD or PROVING
 * belongs to one thread, which alone may change its flags; no thread holds the mutex
 * across I/O or a call to the ledger.
 */
#ifndef COPY_ENGINE_PRIVATE_H
#define COPY_ENGINE_PRIVATE_H

#include "blockmig/copy/endpoint.h"

enum map_state {
	MAP_SEND,    /* to be sent */
	MAP_CHECK,   /* done by an earlier run; the source may have changed */
	MAP_HELD,    /* a worker's */
	MAP_DONE,    /* in the ledger */
	MAP_PROVING, /* a prover's */
	MAP_PROVEN,
	MAP_DOUBTED, /* proven before a unit was found different: to be proven again */
	MAP_STATES,
};

/* Above the state in a unit's byte. */
enum {
	MAP_STATE_MASK = 0x07,
	MAP_HOLE = 0x08,     /* the source's trusted extents say that it is zeros */
	MAP_TOUCHED = 0x10,  /* something may have been written there before */
	MAP_MISMATCH = 0x20, /* two bits: how often the read-back found it different */
	MAP_MISMATCH_MASK = 0x60,
	MAP_DATA = 0x80, /* done, and not all zeros */
};

enum {
	ENGINE_TRIES = 3,	      /* a unit that differs is sent again as often */
	ENGINE_ZERO_RUN_UNITS = 1024, /* of zeros in one share: they weigh nothing */
	ENGINE_CHECKPOINT_US = G_USEC_PER_SEC,
	ENGINE_ROWS = 512, /* in one transaction */
};

enum engine_ending { GO_ON, END_AT_CHECKPOINT, END_NOW };

struct engine {
	const struct copy_spec *spec;
	struct endpoint source, destination; /* the coordinator's, until the threads start */
	guint workers;

	GMutex mutex;
	guint lanes;	 /* so many workers more may send */
	GCond lane_free; /* one may */
	GCond changed;	 /* the map or the ending */
	GCond ended;	 /* a thread */
	guint8 *map;
	guint64 units;
	guint64 count[MAP_STATES];
	guint64 send_from, check_from; /* no unit in SEND, CHECK below */
	guint64 prove_from;	       /* no unit with data in DONE below */
	guint64 zeros_from;	       /* no unit of zeros in DONE below */
	struct copy_totals totals;
	guint64 bytes_done, bytes_proven;
	/*
	 * What a destination that was fresh has allocated for the units that are done, in
	 * whole blocks of 4 KiB.
	 */
	guint64 allocated_bytes;
	guint doubts;		/* how often a unit was found different */
	guint doubting;		/* so many of them are not in the ledger yet */
	gboolean holes_refuted; /* the destination's, and what they had proven is doubted */
	guint committing;	/* so many provers tell the ledger what is proven */
	guint threads;
	GError *error; /* the first one */
	gint failed;   /* atomic: error is set */
};

/* ---- engine.c: what every thread asks ---------------------------------------- */

guint64 engine_unit_offset(const struct engine *engine, guint64 index);
guint64 engine_unit_bytes(const struct engine *engine, guint64 index);
enum engine_ending engine_ending(struct engine *engine);
/* Ends the copy with @cause, which it takes; only the first one counts. */
void engine_fail(struct engine *engine, GError *cause);
/* A thread's last word. */
void engine_thread_ended(struct engine *engine);
/* As endpoint_may_retry; FALSE too where the copy is ending. */
gboolean engine_may_retry(struct engine *engine, struct backoff *backoff, GError **error);

/* ---- map.c: with the mutex held ------------------------------------------------ */

static inline enum map_state map_state(const struct engine *engine, guint64 index)
{
	return (enum map_state)(engine->map[index] & MAP_STATE_MASK);
}

void map_set(struct engine *engine, guint64 index, enum map_state state);
/* Whether nothing is left to do. */
gboolean map_finished(const struct engine *engine);
/* Whether all is sent: nothing to check, to send, or at a worker. */
gboolean map_all_sent(const struct engine *engine);
/* The first unit to send; FALSE where there is none. */
gboolean map_next_to_send(struct engine *engine, guint64 *index);
gboolean map_next_to_check(struct engine *engine, guint64 *index);
/* The first done unit that holds data, or the first one of zeros. */
gboolean map_next_to_prove(struct engine *engine, gboolean zeros, guint64 *index);
/* Enters what the ledger has just learnt of one unit that became done. */
void map_done(struct engine *engine, guint64 index, gboolean is_zero, guint64 data_bytes);
void map_proven(struct engine *engine, guint64 index);
/*
 * A unit that is done must be sent again; @data_bytes is what its row says.
 */
void map_send_again(struct engine *engine, guint64 index, guint64 data_bytes);
/* Zeros that an earlier run was done with: the source is read once more. */
void map_check_again(struct engine *engine, guint64 index);
/*
 * All that is proven is doubted, from now on in the map, and once the ledger has it
 * (doubting) there too: nothing is taken for a proof in between.  Once nothing else is left
 * it is done again.
 */
void map_doubt(struct engine *engine);
void map_settle_doubts(struct engine *engine);

/* Appends to an array of struct ledger_unit; runs of zeros and of claims become one row. */
void rows_add(GArray *rows, const struct ledger_unit *unit);

/* ---- plan.c ---------------------------------------------------------------------- */

/* Fills the map from the ledger and the source's holes; leaves out what can be. */
gboolean plan_make(struct engine *engine, GError **error);

/* ---- worker.c, prover.c: thread functions ------------------------------------------- */

gpointer worker_run(gpointer engine);
gpointer prover_run(gpointer engine);

#endif
