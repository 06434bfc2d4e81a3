#include "blockmig/cmd/command.h"
#include "blockmig/cmd/workbench.h"
#include "common/error.h"

static int run(struct options *options, GError **error)
{
	guint64 fd;
	gint64 job;

	if (!options_parse_job(options->arguments[1], &job, error))
		return 0;
	if (!g_ascii_string_to_unsigned(options->arguments[0], 10, 0, G_MAXINT, &fd, NULL)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "guardian: \"%s\" is not the number of a descriptor",
			    options->arguments[0]);
		return 0;
	}
	return guardian_wait((int)fd, job, workbench_state_folder());
}

/* Hidden: a move starts it beside itself while the guest stands still. */
const struct command command_guardian = {
	.name = "guardian",
	.arguments = "FD JOB",
	.description = "Resumes JOB where the pipe FD closes without a word.",
	.groups = OPTIONS_NONE,
	.arguments_min = 2,
	.arguments_max = 2,
	.run = run,
};
