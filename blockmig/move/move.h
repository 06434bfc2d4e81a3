/*
 * Moving one disk of a guest, or copying one bare image: the room's door.
 *
 * move_start, move_resume and move_abort drive a job through its phase table (seeded.c)
 * by the runner (runner.c).  A job is one disk; a command that names several disks runs
 * one job after the other.  Everything that a user sees on the way goes through struct
 * move_reporter, everything that is left at the end is in struct move_summary.
 */
#ifndef MOVE_MOVE_H
#define MOVE_MOVE_H

#include "blockmig/copy/engine.h"
#include "blockmig/ledger/ledger.h"
#include "blockmig/vm/datastore.h"
#include "blockmig/vm/session.h"

#include <glib.h>

enum on_failure { ON_FAILURE_HOLD, ON_FAILURE_ROLLBACK };

/* What to do about a guest that writes faster than the rounds copy. */
enum converge_policy {
	CONVERGE_THROTTLE, /* slow its writes, down to a floor, for as long as it takes */
	CONVERGE_WAIT,	   /* for a time at which it writes less */
	CONVERGE_FAIL,	   /* put it back */
};

/* What the user asked for; the defaults are those of move_options_init. */
struct move_options {
	char *format;	   /* "keep", "raw", "qcow2" */
	char *from_format; /* copy only; NULL: probed for files, raw for LUNs */
	char *scratch;	   /* NULL: the configuration's */
	guint64 bwlimit;   /* bytes a second; 0: no limit */
	guint64 chunk_bytes;
	guint workers; /* 0: the engine's choice */
	guint64 max_downtime_ms;
	guint64 retry_for_ms;
	enum on_failure on_failure;
	enum converge_policy converge;
	gboolean verify; /* FALSE: --verify none */
	gboolean delete_source;
	gboolean overwrite;
	gboolean quiesce;
	gboolean keep_partial;
};
void move_options_init(struct move_options *options);
void move_options_clear(struct move_options *options);

/* Told as things happen, by the thread that called; any slot may be NULL. */
struct move_reporter {
	void (*phase)(gint64 job, const char *phase, gboolean undo, gboolean begun, void *data);
	/* @round: 0 while seeding. */
	void (*progress)(gint64 job, const char *phase, guint round,
			 const struct copy_progress *progress, void *data);
	void (*warning)(gint64 job, const char *text, void *data);
	void *data;
};

struct phase_time {
	char *name;
	double seconds;
};

/* The last word about a job: the fields of the CLI's summary. */
struct move_summary {
	gint64 job;	     /* 0: refused before there was one */
	char *kind;	     /* "migrate", "copy" */
	char *domain, *disk; /* "" for a bare copy */
	char *result;	     /* "done", "rolled-back", "interrupted", "failed" */
	char *source, *destination;
	struct copy_totals totals; /* over all passes and runs of the job */
	char *sha256;		   /* "" where there is none yet */
	guint rounds;
	gint64 downtime_ms; /* suspend to resume, as we measured it; -1: was not suspended */
	double seconds;
	GPtrArray *phases; /* of struct phase_time * */
	char *guarantee;   /* "proven", or what less it is and why */
	guint64 source_allocated_bytes, destination_allocated_bytes; /* G_MAXUINT64: unknown */
};
void move_summary_free(struct move_summary *summary);
AUTO_DEFINE(move_summary, move_summary_free)

/* What a job needs around it; borrowed. */
struct move_context {
	struct session *session; /* NULL for copy */
	const char *uri;	 /* as the user gave it, for the guardian; NULL: the default */
	struct ledger *ledger;
	struct config *config;
	/* NULL for resume: the job has its own; of abort's, or NULL, keep_partial counts. */
	const struct move_options *options;
	/* Puts into a job's own options what the user wants otherwise now; or NULL. */
	void (*amend)(struct move_options *options, const void *data);
	const void *amend_data;
	const struct move_reporter *reporter; /* NULL: silent */
	/*
	 * Asked as a job begins and about once a second while it copies: TRUE where *rate, bytes
	 * a second (0: no limit), is to hold from now on.  NULL: the job's own bwlimit holds.
	 */
	gboolean (*new_rate)(guint64 *rate, void *data);
	void *new_rate_data;
};

/* ---- plan -------------------------------------------------------------------- */

/* What would happen: the findings of the preflight. */
struct move_plan {
	char *domain, *disk;
	char *source, *destination;
	char *source_format, *destination_format;
	guint64 virtual_bytes, allocated_bytes;
	guint64 free_bytes;   /* at the destination; G_MAXUINT64: unknown */
	char *state;	      /* "running", "paused", "off" */
	GPtrArray *obstacles; /* of char *: why it cannot be done; empty: it can */
	GPtrArray *warnings;  /* of char * */
	GPtrArray *steps;     /* of char *: the phases in words */
};
void move_plan_free(struct move_plan *plan);
AUTO_DEFINE(move_plan, move_plan_free)

/* Changes nothing.  An error only where nothing could be found out. */
struct move_plan *move_plan(struct move_context *context, const char *domain, const char *disk,
			    const char *to, GError **error);

/* Target names of the domain's disks that can be moved at all (no CD-ROM, no floppy). */
GPtrArray *move_disks(struct move_context *context, const char *domain, GPtrArray **skipped,
		      GError **error);

/* ---- jobs -------------------------------------------------------------------- */

/*
 * Each returns TRUE where the job ended "done" (move_abort: "rolled-back"); *summary is
 * set whenever there is a job.  A job of the same disk and destination that was
 * interrupted is carried on by move_start; one to another destination is BUSY.
 */
gboolean move_start(struct move_context *context, const char *domain, const char *disk,
		    const char *to, struct move_summary **summary, GError **error);
gboolean move_resume(struct move_context *context, gint64 job, struct move_summary **summary,
		     GError **error);
gboolean move_abort(struct move_context *context, gint64 job, struct move_summary **summary,
		    GError **error);

/* The last word about any job, ended or not; changes nothing.  NULL on error. */
struct move_summary *move_report(struct move_context *context, gint64 job, GError **error);

/* ---- jobs whose ledger is lost: adopt.c ---------------------------------------- */

/* A domain that carries the element of a job that this ledger does not know. */
struct move_orphan {
	char *uuid, *domain, *disk;
	gint64 job; /* the number that it had */
	char *source, *destination;
	char *element;	 /* in its metadata */
	char *elsewhere; /* in words, where another host's or another ledger's; NULL */
};
void move_orphan_free(struct move_orphan *orphan);

/* GPtrArray of struct move_orphan *. */
GPtrArray *move_orphans(struct move_context *context, GError **error);
/*
 * Makes an open job of it again, from the element, the XML and the chain; *job is what
 * move_resume and move_abort take: either puts the guest back on its source, or goes
 * forward where it runs on the destination.  OPERATOR where element and chain do not
 * explain each other: nothing was changed then.
 */
gboolean move_adopt(struct move_context *context, const struct move_orphan *orphan, gint64 *job,
		    GError **error);

/* ---- what is left over: gc.c ----------------------------------------------------- */

/* Something of ours that no open job has. */
struct move_leftover {
	const char *kind; /* "overlay", "partial copy", "job folder", "lock", "element" */
	char *name;	  /* a path, a lock's key, a domain */
	guint64 bytes;	  /* that it takes on its disk */
	gboolean goes;	  /* nothing and nobody needs it: it is removed */
	char *why;	  /* it goes, or it is kept */
};
void move_leftover_free(struct move_leftover *leftover);

/*
 * Removes what goes, unless @dry_run; a GPtrArray of struct move_leftover *.  What could be
 * the only copy of something is kept, and the reason told.  With @all whatever its age.
 */
GPtrArray *move_gc(struct move_context *context, gboolean all, gboolean dry_run, GError **error);

/* copy SRC DST; resumable by move_resume and by the same call again. */
gboolean image_copy_start(struct move_context *context, const char *source, const char *destination,
			  struct move_summary **summary, GError **error);

/* verify URL-A URL-B: guest-visible content; formats may be NULL.  INTEGRITY on a difference. */
struct compare_totals;
gboolean image_verify(struct move_context *context, const char *a, const char *a_format,
		      const char *b, const char *b_format, struct compare_totals *totals,
		      GError **error);
/* verify JOB: USAGE where the guest may have written to the destination since. */
gboolean move_verify(struct move_context *context, gint64 job, struct compare_totals *totals,
		     GError **error);

/*
 * The guardian (guardian.h): waits on @fd; resumes the job when the pipe closes without a
 * word, and looks on until its guest does not stand still any more.
 */
int guardian_wait(int fd, gint64 job, const char *state_folder);

#endif
