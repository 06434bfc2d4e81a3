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

	if (workbench_connect_for(workbench, job, &failure))
		move_resume(&workbench->context, job, &summary, &failure);
	return outcome_tell(workbench->options->reporter, &subject, summary, failure);
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
	g_autoptr(GArray) jobs = choose_jobs(workbench, error);

	workbench->context.options = NULL;
	if (jobs && !jobs->len)
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
		       "Exit status 75 where a living process holds the job.",
	.groups = OPTIONS_AGAIN,
	.arguments_min = 0,
	.arguments_max = G_MAXUINT,
	.run = run,
};
