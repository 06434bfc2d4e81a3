#include "blockmig/cmd/command.h"
#include "blockmig/cmd/outcome.h"
#include "blockmig/cmd/views.h"
#include "blockmig/cmd/workbench.h"
#include "common/stop.h"

static int resume_job(struct workbench *workbench, gint64 job)
{
	const struct outcome_subject subject = {0};
	AUTO(move_summary) summary = NULL;
	g_autoptr(GError) failure = NULL;

	if (workbench_take(workbench, &job, &failure))
		move_resume(&workbench->context, job, &summary, &failure);
	return outcome_tell(workbench->options->reporter, &subject, summary, failure);
}

static int resume_orphan(struct workbench *workbench, const struct move_orphan *orphan)
{
	const struct outcome_subject subject = {.kind = "migrate",
						.domain = orphan->domain,
						.disk = orphan->disk,
						.source = orphan->source,
						.destination = orphan->destination};
	AUTO(move_summary) summary = NULL;
	g_autoptr(GError) failure = NULL;
	gint64 job;

	if (move_adopt(&workbench->context, orphan, &job, &failure))
		move_resume(&workbench->context, job, &summary, &failure);
	return outcome_tell(workbench->options->reporter, &subject, summary, failure);
}

/* Jobs whose ledger is lost; what another ledger has is nobody's business here. */
static int resume_orphans(struct workbench *workbench, guint *count)
{
	int worst = 0;
	g_autoptr(GError) failure = NULL;
	g_autoptr(GPtrArray) orphans = workbench_connect(workbench, &failure)
					       ? move_orphans(&workbench->context, &failure)
					       : NULL;

	if (failure) {
		g_autofree char *text = g_strdup_printf(
			"domains were not searched for jobs whose ledger is lost: %s",
			failure->message);

		reporter_note(workbench->options->reporter, 0, text);
	}
	for (guint i = 0; orphans && i < orphans->len && stop_level() == STOP_NO; i++) {
		const struct move_orphan *orphan = g_ptr_array_index(orphans, i);

		if (orphan->elsewhere)
			continue;
		(*count)++;
		worst = outcome_worst(worst, resume_orphan(workbench, orphan));
	}
	return worst;
}

/* The jobs that the user named, or all that wait: a GArray of gint64. */
static GArray *choose_jobs(struct workbench *workbench, GError **error)
{
	g_autoptr(GArray) jobs = g_array_new(FALSE, FALSE, sizeof(gint64));

	for (char **text = workbench->options->arguments; *text; text++) {
		gint64 job;

		if (!options_parse_job(*text, &job, error))
			return NULL;
		g_array_append_val(jobs, job);
	}
	if (jobs->len)
		return g_steal_pointer(&jobs);

	AUTO(views) views = views_load(workbench->ledger, VIEWS_OPEN, error);

	for (guint i = 0; views && i < views->list->len; i++) {
		const struct job_view *view = &g_array_index(views->list, struct job_view, i);

		if (!view->holder)
			g_array_append_val(jobs, view->job->id);
	}
	return views ? g_steal_pointer(&jobs) : NULL;
}

/* Unlike the disks of one command, these need not share what made one of them fail. */
static int resume_all(struct workbench *workbench, GError **error)
{
	int worst = 0;
	guint orphans = 0;
	g_autoptr(GArray) jobs = choose_jobs(workbench, error);

	workbench->context.options = NULL;
	if (jobs && !*workbench->options->arguments)
		worst = resume_orphans(workbench, &orphans);
	if (jobs && !jobs->len && !orphans)
		outcome_tell_nothing(workbench->options->reporter, "no job was interrupted");
	for (guint i = 0; jobs && i < jobs->len && stop_level() == STOP_NO; i++)
		worst = outcome_worst(worst, resume_job(workbench, g_array_index(jobs, gint64, i)));
	return worst;
}

static int run(struct options *options, GError **error)
{
	struct workbench workbench = {0};
	int status = 0;

	if (workbench_open(&workbench, options, error))
		status = resume_all(&workbench, error);
	workbench_close(&workbench);
	return status;
}

const struct command command_resume = {
	.name = "resume",
	.arguments = "[JOB...]",
	.summary = "carry on; without a job, everything that was interrupted",
	.description = "Carries on from the last checkpoint, with the options that the job was\n"
		       "started with; those below can be given anew, and hold from then on.\n"
		       "Exit status 75 where a living process holds the job.\n"
		       "A job whose ledger is lost is found by the element in its domain's\n"
		       "metadata: its guest is put back on its source, or stays on the\n"
		       "destination where it runs there already.",
	.groups = OPTIONS_AGAIN,
	.arguments_min = 0,
	.arguments_max = G_MAXUINT,
	.run = run,
};
