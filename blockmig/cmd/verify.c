#include "blockmig/cmd/command.h"
#include "blockmig/cmd/outcome.h"
#include "blockmig/cmd/workbench.h"

static gboolean verify_images(struct workbench *workbench, struct comparison *comparison,
			      GError **error)
{
	const struct options *options = workbench->options;

	comparison->a = options->arguments[0];
	comparison->b = options->arguments[1];
	return image_verify(&workbench->context, comparison->a, options->a_format, comparison->b,
			    options->b_format, &comparison->totals, error);
}

static gboolean verify_job(struct workbench *workbench, struct comparison *comparison,
			   GError **error)
{
	if (!options_parse_job(workbench->options->arguments[0], &comparison->job, error) ||
	    !workbench_connect_for(workbench, comparison->job, error))
		return FALSE;
	return move_verify(&workbench->context, comparison->job, &comparison->totals, error);
}

static int verify(struct workbench *workbench)
{
	struct options *options = workbench->options;
	struct comparison comparison = {.a = "the manifest", .b = "the destination"};
	g_autoptr(GError) failure = NULL;

	if (options->arguments[1])
		verify_images(workbench, &comparison, &failure);
	else
		verify_job(workbench, &comparison, &failure);

	int status = outcome_status(NULL, failure);

	if (failure)
		reporter_error(options->reporter, comparison.job, failure, status);
	reporter_comparison(options->reporter, &comparison, failure);
	return status;
}

static int run(struct options *options, GError **error)
{
	struct workbench workbench = {0};
	int status = 0;

	if (workbench_open(&workbench, options, error))
		status = verify(&workbench);
	workbench_close(&workbench);
	return status;
}

const struct command command_verify = {
	.name = "verify",
	.arguments = "URL-A URL-B | JOB",
	.summary = "compare two images, or a job's destination with its manifest",
	.description = "Two images: whether a guest would see the same in both. A job: whether\n"
		       "its destination still holds what was proven; exit status 2 where the\n"
		       "guest may have written to it since. Exit status 4 on a difference.",
	.groups = OPTIONS_FORMATS,
	.arguments_min = 1,
	.arguments_max = 2,
	.run = run,
};
