#include "blockmig/cmd/command.h"
#include "blockmig/cmd/evacuate_plan.h"
#include "blockmig/cmd/night_watch.h"
#include "blockmig/cmd/outcome.h"
#include "blockmig/cmd/settings.h"
#include "blockmig/cmd/workbench.h"
#include "blockmig/evacuate/live.h"
#include "blockmig/report/night.h"
#include "common/error.h"

#include <string.h>
#include <unistd.h>

static gint64 now_s(void)
{
	return g_get_real_time() / G_USEC_PER_SEC;
}

/* What every move is told: the settings that were typed, but for those that are ours. */
static GPtrArray *migrate_options(const struct options *options)
{
	GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
	gboolean rollback = options->move.on_failure == ON_FAILURE_ROLLBACK;

	for (guint i = 0; settings[i].name; i++) {
		const char *name = settings[i].name, *value = options->settings[i];

		if (!value || g_str_equal(name, "bwlimit") || g_str_equal(name, "on-failure"))
			continue;
		g_ptr_array_add(words, settings[i].argument
					       ? g_strdup_printf("--%s=%s", name, value)
					       : g_strdup_printf("--%s", name));
	}
	g_ptr_array_add(words, g_strdup_printf("--on-failure=%s", rollback ? "rollback" : "hold"));
	g_ptr_array_add(words, NULL);
	return words;
}

static GPtrArray *common_options(const struct options *options)
{
	GPtrArray *words = g_ptr_array_new_with_free_func(g_free);

	if (options->connect)
		g_ptr_array_add(words, g_strdup_printf("--connect=%s", options->connect));
	g_ptr_array_add(words, NULL);
	return words;
}

/* The URL of the place that is emptied: what the ledger knows it by. */
static char *place_url(struct workbench *workbench, const char *name, GError **error)
{
	g_autofree char *pool = session_pool_xml(workbench->session, name, NULL);
	const struct datastore *datastore = config_datastore(workbench->config, name, pool, error);

	if (!datastore)
		return NULL;
	if (datastore->url->is_place)
		return url_format(datastore->url);
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
		    "%s is one image, not a datastore: blockmig migrate moves it", name);
	return NULL;
}

static void write_reports(struct options *options, const struct evacuation *evacuation)
{
	for (char **path = options->evacuate.reports; path && *path; path++) {
		g_autoptr(GError) failure = NULL;

		if (!night_write(evacuation, *path, &failure))
			reporter_error(options->reporter, 0, failure, error_exit_status(failure));
	}
}

/* People see it succeed; cron does not make a mail of it. */
static gboolean is_loud(const struct options *options)
{
	return options->verbose || options->progress || isatty(STDERR_FILENO);
}

static int work(struct workbench *workbench, const struct evacuation_request *request,
		GError **error)
{
	struct options *options = workbench->options;
	g_autoptr(GPtrArray) migrate = migrate_options(options);
	g_autoptr(GPtrArray) common = common_options(options);
	struct night_watch watch = {.reporter = options->reporter, .verbose = is_loud(options)};
	const struct live_options wanted = {
		.context = &workbench->context,
		.from = request->from,
		.from_url = request->from_url,
		.to = request->to,
		.migrate = (const char *const *)migrate->pdata,
		.common = (const char *const *)common->pdata,
		.then = options->evacuate.then,
		.listener = night_watch_listener(&watch),
	};
	AUTO(live) live = live_new(&wanted);
	AUTO(evacuation) evacuation =
		evacuation_run(workbench->ledger, live_world(live), request, error);

	if (!evacuation)
		return 0;
	write_reports(options, evacuation);
	reporter_night(options->reporter, evacuation, is_loud(options));
	return evacuation_status(evacuation);
}

/* The plan of the window that is open, or opens next. */
static int plan(struct workbench *workbench, const struct evacuation_request *request,
		GError **error)
{
	struct plan_request wanted = {
		.from = request->from,
		.to = request->to,
		.order = request->order,
		.limits = request->limits,
		.window = {now_s(), request->until_s},
	};
	struct window_span span;

	if (request->window && window_span_at(request->window, wanted.window.begin_s, &span)) {
		wanted.window.begin_s = MAX(wanted.window.begin_s, span.begin_s);
		wanted.window.end_s = MIN(wanted.window.end_s, span.end_s);
	}
	return evacuate_plan(workbench, &wanted, error);
}

static int evacuate(struct workbench *workbench, GError **error)
{
	struct options *options = workbench->options;
	const char *name = options->arguments[0];
	g_auto(GStrv) to = g_strsplit(options->to ? options->to : "", ",", -1);
	AUTO(window) window = NULL;
	struct evacuation_request request = {.from = name, .to = (const char *const *)to};

	if (!workbench_connect(workbench, error))
		return 0;
	g_autofree char *url = place_url(workbench, name, error);

	if (!url)
		return 0;
	if (options->evacuate.end_maintenance) {
		ledger_maintenance_end(workbench->ledger, url, error);
		return 0;
	}
	if (!evacuate_options_apply(&options->evacuate, now_s(), &request, &window, error))
		return 0;
	request.from_url = url;
	request.limits.bwlimit = options->move.bwlimit;
	return options->dry_run ? plan(workbench, &request, error)
				: work(workbench, &request, error);
}

static int run(struct options *options, GError **error)
{
	struct workbench workbench = {0};
	int status = 0;

	/* At night nobody is there to decide; a configuration or a user may say otherwise. */
	options->move.on_failure = ON_FAILURE_ROLLBACK;
	if (workbench_open(&workbench, options, error))
		status = evacuate(&workbench, error);
	workbench_close(&workbench);
	return status;
}

const struct command command_evacuate = {
	.name = "evacuate",
	.arguments = "DATASTORE --to DATASTORE[,DATASTORE...]",
	.summary = "move every disk off a datastore, at night",
	.description =
		"Moves every disk of every domain, running or not, off the datastore, and\n"
		"names what could not leave with its reason. The same command goes on where\n"
		"the last run stopped. Exit status 0: nothing is on it any more; 6: some\n"
		"moved; 1: none; 3: the user or the window stopped it; 75: it is being\n"
		"evacuated already. Success is silent where stderr is no terminal.",
	.groups = OPTIONS_TO | OPTIONS_COPY | OPTIONS_GUEST | OPTIONS_DRY_RUN | OPTIONS_EVACUATE,
	.arguments_min = 1,
	.arguments_max = 1,
	.run = run,
};
