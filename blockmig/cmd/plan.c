#include "blockmig/cmd/command.h"
#include "blockmig/cmd/disks.h"

/* The number of obstacles is added to *@obstacles. */
static gboolean plan_disk(struct workbench *workbench, const char *disk, guint *obstacles,
			  GError **error)
{
	struct options *options = workbench->options;
	AUTO(move_plan)
	plan = move_plan(&workbench->context, options->arguments[0], disk, options->to, error);

	if (!plan)
		return FALSE;
	reporter_plan(options->reporter, plan);
	*obstacles += plan->obstacles->len;
	return TRUE;
}

static gboolean plan_all(struct workbench *workbench, guint *obstacles, GError **error)
{
	if (!workbench_connect(workbench, error))
		return FALSE;
	g_autoptr(GPtrArray) disks = disks_choose(workbench, error);

	if (!disks)
		return FALSE;
	for (guint i = 0; i < disks->len; i++)
		if (!plan_disk(workbench, g_ptr_array_index(disks, i), obstacles, error))
			return FALSE;
	reporter_plans(workbench->options->reporter, disks->len, *obstacles);
	return TRUE;
}

static int run(struct options *options, GError **error)
{
	struct workbench workbench = {0};
	guint obstacles = 0;

	if (workbench_open(&workbench, options, error))
		plan_all(&workbench, &obstacles, error);
	workbench_close(&workbench);
	return obstacles ? 1 : 0;
}

const struct command command_plan = {
	.name = "plan",
	.arguments = "DOMAIN [DISK...] --to DATASTORE",
	.summary = "what a move would do, and what stands in its way; changes nothing",
	.description = "Checks everything that migrate checks, and says what it would do with\n"
		       "each disk. Exit status 1 where there is an obstacle.",
	.groups = OPTIONS_TO | OPTIONS_COPY | OPTIONS_GUEST,
	.arguments_min = 1,
	.arguments_max = G_MAXUINT,
	.run = run,
};
