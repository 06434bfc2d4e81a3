#include "blockmig/report/reporter.h"

#include "blockmig/report/sink.h"

enum { SINKS = 3 };

struct reporter {
	struct sink *sinks[SINKS];
	guint count;
	struct move_reporter move;
	GMutex lock;
};

/* Calls one slot of every sink that has it. */
#define TELL(reporter, slot, ...)                                                                  \
	do {                                                                                       \
		g_mutex_lock(&(reporter)->lock);                                                   \
		for (guint i = 0; i < (reporter)->count; i++) {                                    \
			struct sink *sink = (reporter)->sinks[i];                                  \
			if (sink->operations->slot)                                                \
				sink->operations->slot(sink, ##__VA_ARGS__);                       \
		}                                                                                  \
		g_mutex_unlock(&(reporter)->lock);                                                 \
	} while (0)

static void on_phase(gint64 job, const char *phase, gboolean undo, gboolean begun, void *data)
{
	struct reporter *reporter = data;

	TELL(reporter, clear);
	TELL(reporter, phase, job, phase, undo, begun);
}

static void on_progress(gint64 job, const char *phase, guint round,
			const struct copy_progress *progress, void *data)
{
	struct reporter *reporter = data;

	TELL(reporter, progress, job, phase, round, progress);
}

static void on_warning(gint64 job, const char *text, void *data)
{
	reporter_warning(data, job, text);
}

struct reporter *reporter_new(const struct reporter_options *options)
{
	struct reporter *reporter = g_new0(struct reporter, 1);
	gboolean bar = options->progress || (options->terminal && !options->json);

	g_mutex_init(&reporter->lock);
	reporter->move = (struct move_reporter){on_phase, on_progress, on_warning, reporter};
	if (options->json)
		reporter->sinks[reporter->count++] = sink_json_new(options->out);
	/* Beside JSON too: cron mails what is on stderr. */
	reporter->sinks[reporter->count++] =
		sink_text_new(options->json ? NULL : options->out, options->err, options->quiet,
			      options->verbose);
	/* The last one, since its line has no end. */
	if (bar && !options->quiet)
		reporter->sinks[reporter->count++] = sink_bar_new(options->err, options->terminal);
	return reporter;
}

void reporter_free(struct reporter *reporter)
{
	TELL(reporter, clear);
	for (guint i = 0; i < reporter->count; i++)
		reporter->sinks[i]->operations->free(reporter->sinks[i]);
	g_mutex_clear(&reporter->lock);
	g_free(reporter);
}

const struct move_reporter *reporter_move(struct reporter *reporter)
{
	return &reporter->move;
}

static void tell_message(struct reporter *reporter, const struct message *message)
{
	TELL(reporter, clear);
	TELL(reporter, message, message);
}

void reporter_note(struct reporter *reporter, gint64 job, const char *text)
{
	tell_message(reporter, &(struct message){MESSAGE_NOTE, job, text, 0});
}

void reporter_warning(struct reporter *reporter, gint64 job, const char *text)
{
	tell_message(reporter, &(struct message){MESSAGE_WARNING, job, text, 0});
}

void reporter_error(struct reporter *reporter, gint64 job, const GError *error, int exit_status)
{
	tell_message(reporter, &(struct message){MESSAGE_ERROR, job, error->message, exit_status});
}

void reporter_summary(struct reporter *reporter, const struct move_summary *summary)
{
	TELL(reporter, clear);
	TELL(reporter, summary, summary);
}

void reporter_relay(struct reporter *reporter, const char *line)
{
	TELL(reporter, relay, line);
}

void reporter_night(struct reporter *reporter, const struct evacuation *evacuation, gboolean loud)
{
	TELL(reporter, clear);
	TELL(reporter, night, evacuation, loud);
}

void reporter_plan(struct reporter *reporter, const struct move_plan *plan)
{
	TELL(reporter, plan, plan);
}

void reporter_plans(struct reporter *reporter, guint disks, guint obstacles)
{
	TELL(reporter, plans, disks, obstacles);
}

void reporter_stores(struct reporter *reporter, const struct inventory *inventory)
{
	TELL(reporter, stores, inventory);
}

void reporter_evacuation_plan(struct reporter *reporter, const struct plan *plan)
{
	TELL(reporter, evacuation_plan, plan);
}

void reporter_comparison(struct reporter *reporter, const struct comparison *comparison,
			 const GError *error)
{
	TELL(reporter, clear);
	TELL(reporter, comparison, comparison, error);
}

void reporter_leftovers(struct reporter *reporter, GPtrArray *leftovers, gboolean dry_run)
{
	TELL(reporter, leftovers, leftovers, dry_run);
}

const char *job_view_state(const struct job_view *view)
{
	switch (view->job->result) {
	case JOB_DONE:
		return "done";
	case JOB_ROLLED_BACK:
		return "rolled-back";
	case JOB_FAILED:
		return "failed";
	case JOB_OPEN:
		break;
	}
	return view->holder ? "running" : "interrupted";
}

void reporter_jobs(struct reporter *reporter, GArray *views)
{
	TELL(reporter, jobs, views);
}

void reporter_job(struct reporter *reporter, const struct job_view *view, GPtrArray *phases)
{
	TELL(reporter, job, view, phases);
}
