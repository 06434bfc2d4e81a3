#include "blockmig/cmd/command.h"
#include "blockmig/cmd/disks.h"
#include "blockmig/cmd/outcome.h"

static int move_disk(struct workbench *workbench, const char *disk)
{
	struct options *options = workbench->options;
	const char *domain = options->arguments[0];
	const struct outcome_subject subject = {"migrate", domain, disk, NULL, options->to};
	AUTO(move_summary) summary = NULL;
	g_autoptr(GError) failure = NULL;

	move_start(&workbench->context, domain, disk, options->to, &summary, &failure);
	return outcome_tell(options->reporter, &subject, summary, failure);
}

/* One after the other: two copies at once would only share the same network. */
static int move_all(struct workbench *workbench, GError **error)
{
	int worst = 0;

	if (!workbench_connect(workbench, error))
		return 0;
	g_autoptr(GPtrArray) disks = disks_choose(workbench, error);

	for (guint i = 0; disks && i < disks->len; i++) {
		if (outcome_goes_on(worst)) {
			worst = outcome_worst(worst,
					      move_disk(workbench, g_ptr_array_index(disks, i)));
			continue;
		}
		g_autofree char *text = g_strdup_printf("%s: not begun; run the same command again",
							(char *)disks->pdata[i]);

		reporter_warning(workbench->options->reporter, 0, text);
	}
	return worst;
}

static int run(struct options *options, GError **error)
{
	struct workbench workbench = {0};
	int status = 0;

	if (options->dry_run)
		return command_plan.run(options, error);
	if (workbench_open(&workbench, options, error))
		status = move_all(&workbench, error);
	workbench_close(&workbench);
	return status;
}

const struct command command_migrate = {
	.name = "migrate",
	.arguments = "DOMAIN [DISK...] --to DATASTORE",
	.summary = "move the disks of a guest, running or not",
	.description = "Moves the disks named (all that can be moved where none is), one after\n"
		       "the other. The same command again, or resume, carries on after an\n"
		       "interruption. With several disks the exit status is the worst one:\n"
		       "5, 4, 1, 2, 75, 3, 0 from bad to good.",
	.groups = OPTIONS_TO | OPTIONS_COPY | OPTIONS_GUEST | OPTIONS_DRY_RUN | OPTIONS_RATE_FD,
	.arguments_min = 1,
	.arguments_max = G_MAXUINT,
	.run = run,
};
