#include "blockmig/cmd/command.h"
#include "blockmig/cmd/workbench.h"

static int run(struct options *options, GError **error)
{
	struct workbench workbench = {0};

	/* Without libvirt nobody knows what its domains name. */
	if (workbench_open(&workbench, options, error) && workbench_connect(&workbench, error)) {
		g_autoptr(GPtrArray) leftovers =
			move_gc(&workbench.context, options->all, options->dry_run, error);

		if (leftovers)
			reporter_leftovers(options->reporter, leftovers, options->dry_run);
	}
	workbench_close(&workbench);
	return 0;
}

const struct command command_gc = {
	.name = "gc",
	.arguments = "",
	.summary = "remove what no job and no domain names any more",
	.description =
		"Overlays of ours that no domain has in a chain and no open job needs, the\n"
		"folders of jobs that ended 30 days ago (--all: of all that ended), and locks\n"
		"of processes that are dead. What could be the only copy of something is\n"
		"listed with the reason, and kept.",
	.groups = OPTIONS_DRY_RUN | OPTIONS_ALL,
	.arguments_min = 0,
	.arguments_max = 0,
	.run = run,
};
