/*
 * The ledger: what is known for sure about jobs, in one SQLite database
 * (STATE/ledger.db, folder 0700, WAL, synchronous=FULL).
 *
 * A call that returns TRUE is durable.  The ledger is written *after* what it
 * records is true (data flushed, then marked done) and *before* what it announces
 * (phase begun, then the libvirt call).  It is never believed about the outside
 * world after a crash: the phases' probes ask that world.
 *
 * One struct ledger may be used from several threads; one process holds one.
 * Several blockmigs share the file; SQLite's locks are waited for (10 s), then BUSY.
 * A full or read-only disk is a PERMANENT error naming the file.
 */
#ifndef LEDGER_LEDGER_H
#define LEDGER_LEDGER_H

#include "common/auto.h"
#include "verify/digest.h"

#include <glib.h>

struct ledger;

/* Opens or creates @folder/ledger.db; the schema's version is checked. */
struct ledger *ledger_open(const char *folder, GError **error);
void ledger_close(struct ledger *ledger);
AUTO_DEFINE(ledger, ledger_close)
/* The state folder; borrowed. */
const char *ledger_folder(const struct ledger *ledger);

/* ---- jobs ---------------------------------------------------------------- */

enum job_result {
	JOB_OPEN, /* running, interrupted or held: see the locks for which */
	JOB_DONE,
	JOB_ROLLED_BACK,
	JOB_FAILED,
};

/* A job as the ledger has it.  Strings are owned by the record. */
struct ledger_job {
	gint64 id;	   /* what users type; given by ledger_job_add */
	char *kind;	   /* "migrate" or "copy" */
	char *domain_uuid; /* "" for a bare copy */
	char *domain_name;
	char *disk;   /* target name, "vda"; "" for a bare copy */
	char *source; /* URL or path as shown to users */
	char *destination;
	char *state;	      /* the move's own JSON document */
	char *phase;	      /* the phase begun last */
	gboolean phase_ended; /* and its outcome was "done" */
	gboolean undoing;     /* the phase is being undone */
	enum job_result result;
	char *message;		     /* the last error, "" for none */
	gint64 created_s, updated_s; /* UNIX time */
};

void ledger_job_free(struct ledger_job *job);
AUTO_DEFINE(ledger_job, ledger_job_free)

/* Adds the job; sets job->id where it is 0, else that number must be free. */
gboolean ledger_job_add(struct ledger *ledger, struct ledger_job *job, GError **error);
struct ledger_job *ledger_job_get(struct ledger *ledger, gint64 id, GError **error);
/* GPtrArray of struct ledger_job *, oldest first. */
GPtrArray *ledger_job_list(struct ledger *ledger, gboolean only_open, GError **error);
/* The open job of this disk; NULL without error where there is none. */
struct ledger_job *ledger_job_find(struct ledger *ledger, const char *domain_uuid, const char *disk,
				   GError **error);
/* Replaces the move's document. */
gboolean ledger_job_save(struct ledger *ledger, gint64 id, const char *state, GError **error);
/* Its locks go with it, those of runs that died too. */
gboolean ledger_job_end(struct ledger *ledger, gint64 id, enum job_result result,
			const char *message, GError **error);
gboolean ledger_job_note(struct ledger *ledger, gint64 id, const char *message, GError **error);

/* ---- phases: the time line of a job ----------------------------------------- */

struct ledger_phase {
	char *name;
	gboolean undo;
	gint64 begun_us, ended_us; /* UNIX time in microseconds; 0: not ended */
	char *outcome; /* "" (not ended), "done", "found done", "failed", "interrupted" */
};
void ledger_phase_free(struct ledger_phase *phase);

gboolean ledger_phase_begin(struct ledger *ledger, gint64 job, const char *phase, gboolean undo,
			    GError **error);
gboolean ledger_phase_end(struct ledger *ledger, gint64 job, const char *phase, gboolean undo,
			  const char *outcome, GError **error);
/* GPtrArray of struct ledger_phase *, in order. */
GPtrArray *ledger_phase_list(struct ledger *ledger, gint64 job, GError **error);

/* ---- locks ------------------------------------------------------------------ */

/*
 * Takes the lock @key ("job:7", "domain:UUID", "image:IDENTITY") for this process and
 * @job.  BUSY, naming the holder's PID, command, job and since when, where a living
 * process holds it; a dead holder's lock (its PID, start time or boot id is not
 * there any more) is taken over.  Taking one's own lock again for the same job succeeds.
 */
gboolean ledger_lock(struct ledger *ledger, const char *key, gint64 job, GError **error);
gboolean ledger_unlock_job(struct ledger *ledger, gint64 job, GError **error);
/* The same BUSY where a living process holds the lock; takes nothing. */
gboolean ledger_lock_check(struct ledger *ledger, const char *key, GError **error);
/* Locks whose holder is dead, a GPtrArray of char * (keys); with @remove they are gone. */
GPtrArray *ledger_locks_stale(struct ledger *ledger, gboolean remove, GError **error);
/* The living process that holds the lock; 0 where none does. */
int ledger_lock_holder(struct ledger *ledger, const char *key);

/* ---- passes and units -------------------------------------------------------- */

/*
 * A pass is one run of units (chunks of an image, or pieces of a round's delta) from
 * one frozen source to one destination.  A unit's row is (pass, index); runs of
 * zero units share one row and have no digest.
 */
enum unit_state {
	UNIT_PENDING, /* has no row */
	UNIT_SENT,    /* claimed: may have been written, not known to be stable */
	UNIT_DONE,    /* written and flushed */
	UNIT_PROVEN,  /* done, and read back equal */
};

struct ledger_unit {
	guint64 index;
	guint64 count; /* > 1 only for zeros and claims */
	enum unit_state state;
	gboolean is_zero;   /* digest not used */
	guint64 data_bytes; /* of its bytes, those that a fresh destination needs written */
	struct digest digest;
};

/*
 * Finds the pass @name of @job, or adds it.  @unit_bytes and @units must be what they
 * were (else PERMANENT).  *id is set.
 */
gboolean ledger_pass_open(struct ledger *ledger, gint64 job, const char *name, guint64 unit_bytes,
			  guint64 units, gint64 *id, GError **error);
/* *id is the pass's, or 0 where there is no such pass. */
gboolean ledger_pass_find(struct ledger *ledger, gint64 job, const char *name, gint64 *id,
			  GError **error);
/* One transaction: replaces the rows of these units. */
gboolean ledger_units_put(struct ledger *ledger, gint64 pass, const struct ledger_unit *units,
			  guint count, GError **error);
/*
 * Calls @visit for every row in order of index, until it returns FALSE.  The ledger is
 * locked meanwhile: @visit must not call it, nor take long.
 */
typedef gboolean (*ledger_unit_visit)(const struct ledger_unit *unit, void *data);
gboolean ledger_units_each(struct ledger *ledger, gint64 pass, ledger_unit_visit visit, void *data,
			   GError **error);
/* The row that covers @index (@unit->index and count are the row's); PENDING: no row. */
gboolean ledger_unit_get(struct ledger *ledger, gint64 pass, guint64 index,
			 struct ledger_unit *unit, GError **error);
/* How far a job's newest pass is, for those who watch; all zeros where it has none. */
struct ledger_progress {
	guint64 units_total, units_done /* the proven ones too */, units_proven;
};
gboolean ledger_job_progress(struct ledger *ledger, gint64 job, struct ledger_progress *progress,
			     GError **error);
/* What is proven is no more than done. */
gboolean ledger_pass_doubt(struct ledger *ledger, gint64 pass, GError **error);
/* Forgets a pass's rows. */
gboolean ledger_pass_clear(struct ledger *ledger, gint64 pass, GError **error);
/* The pass has @units from now on; rows behind them are forgotten. */
gboolean ledger_pass_resize(struct ledger *ledger, gint64 pass, guint64 units, GError **error);

/* ---- kept partial copies ------------------------------------------------------- */

/*
 * A job that was rolled back and still has passes has left its partial copy at the
 * destination; its document tells where.  Whoever has the passes has the copy: it is
 * handed on with them, and removed before they are forgotten.
 */
/* GPtrArray of struct ledger_job *, newest first. */
GPtrArray *ledger_kept_list(struct ledger *ledger, GError **error);
/* Hands the pass @name of @from over to @to, with @units; @from's others are forgotten. */
gboolean ledger_kept_take(struct ledger *ledger, gint64 from, gint64 to, const char *name,
			  guint64 units, GError **error);
/* Forgets all passes of a job: there is no copy (any more) that they tell of. */
gboolean ledger_kept_forget(struct ledger *ledger, gint64 job, GError **error);

/* ---- datastores ----------------------------------------------------------------- */

/*
 * A datastore in maintenance is being emptied: no new job may choose it as its destination.
 * @place is its URL, canonical (url_format()); @name is for people.
 */
struct ledger_maintenance {
	char *place, *name;
	gint64 since_s; /* UNIX time */
};
void ledger_maintenance_free(struct ledger_maintenance *maintenance);

/* Beginning it again keeps the time at which it began. */
gboolean ledger_maintenance_begin(struct ledger *ledger, const char *place, const char *name,
				  GError **error);
/* No error where there is none. */
gboolean ledger_maintenance_end(struct ledger *ledger, const char *place, GError **error);
/* GPtrArray of struct ledger_maintenance *, by place. */
GPtrArray *ledger_maintenance_list(struct ledger *ledger, GError **error);

/*
 * What one job from @source to @destination (places, as above) reaches, in bytes a second
 * over its whole time: newer jobs count for more than older ones.  0: none was measured.
 */
gboolean ledger_rate_add(struct ledger *ledger, const char *source, const char *destination,
			 guint64 bytes, guint64 milliseconds, GError **error);
gboolean ledger_rate_get(struct ledger *ledger, const char *source, const char *destination,
			 guint64 *bytes_per_second, GError **error);

#endif
