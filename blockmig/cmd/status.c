#include "blockmig/cmd/command.h"
#include "blockmig/cmd/views.h"
#include "blockmig/cmd/workbench.h"
#include "common/stop.h"

#include <stdio.h>
#include <unistd.h>

enum { WATCH_INTERVAL_MS = 1000 };

static gboolean show_job(struct ledger *ledger, struct options *options, gint64 id,
			 gboolean *running, GError **error)
{
	AUTO(ledger_job) job = ledger_job_get(ledger, id, error);

	if (!job)
		return FALSE;
	g_autoptr(GPtrArray) phases = ledger_phase_list(ledger, id, error);

	if (!phases)
		return FALSE;
	AUTO(room) room = NULL;
	struct job_view view = views_of(ledger, job, &room);

	*running = view.holder != 0;
	reporter_job(options->reporter, &view, phases);
	return TRUE;
}

static gboolean show_all(struct ledger *ledger, struct options *options, gboolean *running,
			 GError **error)
{
	AUTO(views) views = views_load(ledger, VIEWS_OPEN, error);

	if (!views)
		return FALSE;
	*running = FALSE;
	for (guint i = 0; i < views->list->len; i++)
		*running |= g_array_index(views->list, struct job_view, i).holder != 0;
	reporter_jobs(options->reporter, views->list);
	return TRUE;
}

/* Domains that carry a job which no ledger here knows; silent where libvirt is not there. */
static void show_orphans(struct workbench *workbench)
{
	g_autoptr(GPtrArray) orphans =
		workbench_connect(workbench, NULL) ? move_orphans(&workbench->context, NULL) : NULL;

	for (guint i = 0; orphans && i < orphans->len; i++) {
		const struct move_orphan *orphan = g_ptr_array_index(orphans, i);
		g_autofree char *text = g_strdup_printf(
			"domain %s, disk %s carries job %" G_GINT64_FORMAT
			" (%s -> %s), which this ledger does not know: %s",
			orphan->domain, orphan->disk, orphan->job, orphan->source,
			orphan->destination,
			orphan->elsewhere
				? orphan->elsewhere
				: "if that was lost, blockmig resume puts the guest back on its "
				  "source, or finishes where it runs on the destination");

		reporter_warning(workbench->options->reporter, orphan->job, text);
	}
}

static void clear_screen(const struct options *options)
{
	if (options->watch && !options->json && isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout);
}

static int run(struct options *options, GError **error)
{
	const char *text = options->arguments[0];
	gboolean running = FALSE, shown;
	gint64 id = 0;

	if (text && !options_parse_job(text, &id, error))
		return 0;
	struct workbench workbench = {0};

	shown = workbench_open(&workbench, options, error);
	while (shown) {
		clear_screen(options);
		shown = text ? show_job(workbench.ledger, options, id, &running, error)
			     : show_all(workbench.ledger, options, &running, error);
		if (!shown || !options->watch || !running || !stop_sleep(WATCH_INTERVAL_MS, NULL))
			break;
	}
	if (shown && !text)
		show_orphans(&workbench);
	workbench_close(&workbench);
	return 0;
}

const struct command command_status = {
	.name = "status",
	.arguments = "[JOB]",
	.summary = "the jobs that are not at their end, or one job and its time line",
	.description = "Running: a process works on it. Interrupted: resume carries on.",
	.groups = OPTIONS_WATCH,
	.arguments_min = 0,
	.arguments_max = 1,
	.run = run,
};
