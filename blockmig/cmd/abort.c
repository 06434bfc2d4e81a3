#include "blockmig/cmd/command.h"
#include "blockmig/cmd/outcome.h"
#include "blockmig/cmd/workbench.h"

static int abort_job(struct workbench *workbench, gint64 job)
{
	const struct outcome_subject subject = {0};
	AUTO(move_summary) summary = NULL;
	g_autoptr(GError) failure = NULL;

	if (workbench_take(workbench, &job, &failure))
		move_abort(&workbench->context, job, &summary, &failure);
	return outcome_tell(workbench->options->reporter, &subject, summary, failure);
}

static int run(struct options *options, GError **error)
{
	struct workbench workbench = {0};
	gint64 job;
	int status = 0;

	if (options_parse_job(options->arguments[0], &job, error) &&
	    workbench_open(&workbench, options, error))
		status = abort_job(&workbench, job);
	workbench_close(&workbench);
	return status;
}

const struct command command_abort = {
	.name = "abort",
	.arguments = "JOB",
	.summary = "roll back to the source",
	.description = "Puts everything back as it was before the job, as long as the guest does\n"
		       "not run on the destination yet. Once it does, the move is finished\n"
		       "instead (exit status 5). The partial copy is removed, or with\n"
		       "--keep-partial stays for a later run.",
	.groups = OPTIONS_PARTIAL,
	.arguments_min = 1,
	.arguments_max = 1,
	.run = run,
};
