#include "blockmig/cmd/command.h"
#include "blockmig/cmd/outcome.h"
#include "blockmig/cmd/workbench.h"

static int copy(struct workbench *workbench)
{
	struct options *options = workbench->options;
	const char *source = options->arguments[0], *destination = options->arguments[1];
	const struct outcome_subject subject = {"copy", NULL, NULL, source, destination};
	AUTO(move_summary) summary = NULL;
	g_autoptr(GError) failure = NULL;

	image_copy_start(&workbench->context, source, destination, &summary, &failure);
	return outcome_tell(options->reporter, &subject, summary, failure);
}

static int run(struct options *options, GError **error)
{
	struct workbench workbench = {0};
	int status = 0;

	if (workbench_open(&workbench, options, error))
		status = copy(&workbench);
	workbench_close(&workbench);
	return status;
}

const struct command command_copy = {
	.name = "copy",
	.arguments = "SRC-URL DST-URL",
	.summary = "copy and prove one image, no guest involved",
	.description = "Copies one image that nobody writes to. The same command again, or\n"
		       "resume, carries on after an interruption.",
	.groups = OPTIONS_COPY | OPTIONS_FROM,
	.arguments_min = 2,
	.arguments_max = 2,
	.run = run,
};
