#include "blockmig/cmd/command.h"
#include "blockmig/cmd/views.h"
#include "blockmig/cmd/workbench.h"

static int run(struct options *options, GError **error)
{
	AUTO(ledger) ledger = ledger_open(workbench_state_folder(), error);

	if (!ledger)
		return 0;
	AUTO(views) views = views_load(ledger, VIEWS_ENDED, error);

	if (views)
		reporter_jobs(options->reporter, views->list);
	return 0;
}

const struct command command_history = {
	.name = "history",
	.arguments = "",
	.summary = "the jobs that ended",
	.description = "Oldest first; blockmig status JOB shows one with its time line.",
	.groups = OPTIONS_NONE,
	.arguments_min = 0,
	.arguments_max = 0,
	.run = run,
};
