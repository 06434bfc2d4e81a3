#include "blockmig/cmd/command.h"
#include "blockmig/cmd/workbench.h"
#include "blockmig/evacuate/load.h"

static int run(struct options *options, GError **error)
{
	struct workbench workbench = {0};

	if (workbench_open(&workbench, options, error) && workbench_connect(&workbench, error)) {
		AUTO(inventory)
		inventory = inventory_load(&workbench.context, NULL, NULL, error);

		if (inventory)
			reporter_stores(options->reporter, inventory);
	}
	workbench_close(&workbench);
	return 0;
}

const struct command command_datastores = {
	.name = "datastores",
	.arguments = "",
	.summary = "what datastores there are, how full, and which are being emptied",
	.description =
		"The sections of the configuration and libvirt's active pools (dir, fs, netfs,\n"
		"iscsi-direct and iscsi). Taken: by the domains' disks there. Promised: what\n"
		"those would take if they were full.",
	.groups = OPTIONS_NONE,
	.arguments_min = 0,
	.arguments_max = 0,
	.run = run,
};
