#include "blockmig/cmd/command.h"
#include "blockmig/cmd/evacuate_plan.h"
#include "blockmig/cmd/workbench.h"
#include "common/error.h"

static int plan(struct workbench *workbench, GError **error)
{
	struct options *options = workbench->options;
	g_auto(GStrv) to = g_strsplit(options->to, ",", -1);
	struct plan_request request = {
		.from = options->arguments[0],
		.to = (const char *const *)to,
		.window = {.begin_s = g_get_real_time() / G_USEC_PER_SEC, .end_s = G_MAXINT64},
	};

	plan_limits_init(&request.limits);
	request.limits.bwlimit = options->move.bwlimit;
	return workbench_connect(workbench, error) ? evacuate_plan(workbench, &request, error) : 0;
}

static int run(struct options *options, GError **error)
{
	struct workbench workbench = {0};
	int status = 0;

	if (!options->dry_run) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "evacuate: this version plans only: --dry-run, then migrate");
		return 0;
	}
	if (workbench_open(&workbench, options, error))
		status = plan(&workbench, error);
	workbench_close(&workbench);
	return status;
}

const struct command command_evacuate = {
	.name = "evacuate",
	.arguments = "DATASTORE --to DATASTORE[,DATASTORE...] --dry-run",
	.summary = "what it takes to move every disk off a datastore",
	.description =
		"Which disk of which domain, running or not, goes where and when, what stays\n"
		"and why, and whether it all fits. Exit status 1 where something stands in\n"
		"the way of an empty datastore.",
	.groups = OPTIONS_TO | OPTIONS_COPY | OPTIONS_GUEST | OPTIONS_DRY_RUN,
	.arguments_min = 1,
	.arguments_max = 1,
	.run = run,
};
