/*
 * What the user is told: one reporter for a command, whatever the form.
 *
 * A command hands everything to the reporter, and the reporter to its sinks: text (what
 * people read), json (JSON Lines for scripts), bar (progress on a terminal).  No command
 * asks which of them are there.
 *
 *     reporter_new(...);  reporter_move() into move_context;  reporter_error();
 *     reporter_summary();  reporter_free()
 *
 * Every call may come from any thread.
 */
#ifndef REPORT_REPORTER_H
#define REPORT_REPORTER_H

#include "blockmig/copy/compare.h"
#include "blockmig/evacuate/evacuation.h"
#include "blockmig/move/move.h"
#include "blockmig/move/room.h"

#include <glib.h>
#include <stdio.h>

struct reporter_options {
	FILE *out, *err;   /* borrowed; the command's stdout and stderr */
	gboolean json;	   /* JSON Lines on out instead of text */
	gboolean quiet;	   /* errors only */
	gboolean verbose;  /* phases too */
	gboolean progress; /* also where err is no terminal */
	gboolean terminal; /* err is one */
};

struct reporter;
struct reporter *reporter_new(const struct reporter_options *options);
void reporter_free(struct reporter *reporter);
AUTO_DEFINE(reporter, reporter_free)

/* The slots that the move room calls; borrowed, as long as the reporter. */
const struct move_reporter *reporter_move(struct reporter *reporter);

/* A remark that is no warning: what was found already done, what is skipped. */
void reporter_note(struct reporter *reporter, gint64 job, const char *text);
void reporter_warning(struct reporter *reporter, gint64 job, const char *text);
/* @job 0: of none.  @exit_status: what the command will end with for it. */
void reporter_error(struct reporter *reporter, gint64 job, const GError *error, int exit_status);
/* The last word about a job. */
void reporter_summary(struct reporter *reporter, const struct move_summary *summary);

/* A line of JSON that a move said which is a process of its own. */
void reporter_relay(struct reporter *reporter, const char *line);
/*
 * The last word about an evacuation.  One that succeeded is told in words only where @loud:
 * cron sends a mail for every word.  The others are told in any case.
 */
void reporter_night(struct reporter *reporter, const struct evacuation *evacuation, gboolean loud);

/* What `plan` found; then, once, over all disks. */
void reporter_plan(struct reporter *reporter, const struct move_plan *plan);
void reporter_plans(struct reporter *reporter, guint disks, guint obstacles);

/* The datastores of @inventory, with what is known of them. */
void reporter_stores(struct reporter *reporter, const struct inventory *inventory);
/* What `evacuate --dry-run` found. */
void reporter_evacuation_plan(struct reporter *reporter, const struct plan *plan);

/* The outcome of a comparison; @error NULL: equal. */
struct comparison {
	const char *a, *b;
	gint64 job; /* 0: of two images */
	struct compare_totals totals;
};
void reporter_comparison(struct reporter *reporter, const struct comparison *comparison,
			 const GError *error);

/* What gc found, of struct move_leftover *. */
void reporter_leftovers(struct reporter *reporter, GPtrArray *leftovers, gboolean dry_run);

/* A job of the ledger, with the living process that holds it (0: none). */
struct job_view {
	const struct ledger_job *job;
	int holder;
	struct ledger_progress progress; /* of an open job */
	const struct room *room;	 /* what its guest has; NULL: no overlay of ours */
};
/* "running", "interrupted", or how it ended: "done", "rolled-back", "failed". */
const char *job_view_state(const struct job_view *view);
/* @views: GArray of struct job_view. */
void reporter_jobs(struct reporter *reporter, GArray *views);
/* One job with its time line, a GPtrArray of struct ledger_phase *. */
void reporter_job(struct reporter *reporter, const struct job_view *view, GPtrArray *phases);

#endif
