#include "blockmig/cmd/options.h"

#include "blockmig/cmd/command.h"
#include "blockmig/cmd/settings.h"
#include "common/error.h"

#include <string.h>

void options_init(struct options *options)
{
	*options = (struct options){.rate_fd = -1};
	move_options_init(&options->move);
}

void options_clear(struct options *options)
{
	g_free(options->connect);
	g_free(options->config_path);
	g_free(options->to);
	g_free(options->html);
	g_free(options->a_format);
	g_free(options->b_format);
	for (guint i = 0; i < SETTINGS_MAX; i++)
		g_free(options->settings[i]);
	g_strfreev(options->arguments);
	evacuate_options_clear(&options->evacuate);
	move_options_clear(&options->move);
	*options = (struct options){0};
}

/* A switch stores "yes", so that the command line and the file share one way in. */
static gboolean on_switch(const char *name, const char *value, gpointer data, GError **error)
{
	struct options *options = data;

	(void)value;
	(void)error;
	for (guint i = 0; settings[i].name; i++) {
		if (!g_str_equal(name + strlen("--"), settings[i].name))
			continue;
		g_free(options->settings[i]);
		options->settings[i] = g_strdup("yes");
	}
	return TRUE;
}

static void add_settings(GArray *entries, struct options *options, enum option_groups groups)
{
	G_STATIC_ASSERT(sizeof(GOptionArgFunc) == sizeof(gpointer));

	for (guint i = 0; settings[i].name; i++) {
		const struct setting *setting = &settings[i];
		GOptionEntry entry = {
			.long_name = setting->name,
			.description = setting->help,
			.arg_description = setting->argument,
		};

		g_assert(i < SETTINGS_MAX);
		if (!(setting->group & groups))
			continue;
		if (setting->argument) {
			entry.arg = G_OPTION_ARG_STRING;
			entry.arg_data = &options->settings[i];
		} else {
			entry.arg = G_OPTION_ARG_CALLBACK;
			entry.flags = G_OPTION_FLAG_NO_ARG;
			entry.arg_data = (gpointer)on_switch;
		}
		g_array_append_val(entries, entry);
	}
}

static void add_evacuate(GArray *entries, struct evacuate_options *options)
{
	const GOptionEntry own[] = {
		{"order", 0, 0, G_OPTION_ARG_STRING, &options->order,
		 "easy (default: small and idle first), size, priority or name", "ORDER"},
		{"per-host", 0, 0, G_OPTION_ARG_STRING, &options->per_host,
		 "at most N moves of one host's guests at once (2)", "N"},
		{"per-datastore", 0, 0, G_OPTION_ARG_STRING, &options->per_datastore,
		 "at most N moves from or to one datastore at once (8)", "N"},
		{"per-target", 0, 0, G_OPTION_ARG_STRING, &options->per_target,
		 "at most N moves to one datastore at once (8)", "N"},
		{"window", 0, 0, G_OPTION_ARG_STRING, &options->window,
		 "when moves may run: 22:00-05:00, \"Mon-Fri 22:00-05:00 Europe/Berlin\"", "HOURS"},
		{"until", 0, 0, G_OPTION_ARG_STRING, &options->until,
		 "stop at 05:00, or at \"2026-11-28 05:00\"", "TIME"},
		{"at-end", 0, 0, G_OPTION_ARG_STRING, &options->at_end,
		 "of the window: hold (default) or rollback what runs", "WHAT"},
		{"then", 0, 0, G_OPTION_ARG_STRING, &options->then,
		 "run COMMAND once nothing is on the datastore any more", "COMMAND"},
		{"report", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options->reports,
		 "write the report there: .prom metrics, .json, else text", "FILE"},
		{"end-maintenance", 0, 0, G_OPTION_ARG_NONE, &options->end_maintenance,
		 "let the datastore take disks again, and do nothing else", NULL},
	};

	g_array_append_vals(entries, own, G_N_ELEMENTS(own));
}

static void add_own(GArray *entries, struct options *options, enum option_groups groups)
{
	const struct {
		enum option_groups groups; /* 0: every command */
		GOptionEntry entry;
	} own[] = {
		{OPTIONS_TO,
		 {"to", 0, 0, G_OPTION_ARG_STRING, &options->to,
		  "where to: a configured name, a pool, or a URL", "DATASTORE"}},
		{OPTIONS_DRY_RUN,
		 {"dry-run", 0, 0, G_OPTION_ARG_NONE, &options->dry_run,
		  "say what would happen, as plan does", NULL}},
		{OPTIONS_FROM | OPTIONS_FORMATS,
		 {"from-format", 0, 0, G_OPTION_ARG_STRING, &options->a_format,
		  "format of the first image", "FORMAT"}},
		{OPTIONS_FORMATS,
		 {"format", 0, 0, G_OPTION_ARG_STRING, &options->b_format,
		  "format of the second image", "FORMAT"}},
		{OPTIONS_WATCH,
		 {"watch", 0, 0, G_OPTION_ARG_NONE, &options->watch,
		  "show again each second until no job runs", NULL}},
		{OPTIONS_HTML,
		 {"html", 0, 0, G_OPTION_ARG_FILENAME, &options->html,
		  "write a page there that can be kept", "FILE"}},
		{OPTIONS_RATE_FD,
		 {"bwlimit-fd", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_INT, &options->rate_fd,
		  "for evacuate alone: rates that hold from then on", "FD"}},
		{OPTIONS_ALL,
		 {"all", 0, 0, G_OPTION_ARG_NONE, &options->all, "whatever its age", NULL}},
		{OPTIONS_NONE,
		 {"connect", 'c', 0, G_OPTION_ARG_STRING, &options->connect,
		  "libvirt of this host (default: as virsh)", "URI"}},
		{OPTIONS_NONE,
		 {"config", 0, 0, G_OPTION_ARG_FILENAME, &options->config_path,
		  "configuration file", "FILE"}},
		{OPTIONS_NONE,
		 {"json", 0, 0, G_OPTION_ARG_NONE, &options->json, "JSON Lines on stdout", NULL}},
		{OPTIONS_NONE,
		 {"quiet", 'q', 0, G_OPTION_ARG_NONE, &options->quiet, "errors only", NULL}},
		{OPTIONS_NONE,
		 {"verbose", 'v', 0, G_OPTION_ARG_NONE, &options->verbose, "phases too", NULL}},
		{OPTIONS_NONE,
		 {"progress", 0, 0, G_OPTION_ARG_NONE, &options->progress,
		  "progress also where stderr is no terminal", NULL}},
		{OPTIONS_NONE,
		 {"help", 'h', 0, G_OPTION_ARG_NONE, &options->help, "this text", NULL}},
	};

	for (guint i = 0; i < G_N_ELEMENTS(own); i++)
		if (!own[i].groups || (own[i].groups & groups))
			g_array_append_val(entries, own[i].entry);
}

static GOptionContext *context_new(struct options *options, const struct command *command)
{
	g_autofree char *parameters = g_strdup_printf("%s %s", command->name, command->arguments);
	g_autoptr(GArray) entries = g_array_new(TRUE, TRUE, sizeof(GOptionEntry));
	GOptionContext *context = g_option_context_new(parameters);
	GOptionGroup *group = g_option_group_new("blockmig", "", "", options, NULL);

	add_settings(entries, options, command->groups);
	add_own(entries, options, command->groups);
	if (command->groups & OPTIONS_EVACUATE)
		add_evacuate(entries, &options->evacuate);
	g_option_group_add_entries(group, (const GOptionEntry *)(void *)entries->data);
	g_option_context_set_main_group(context, group);
	/* GLib's own would exit. */
	g_option_context_set_help_enabled(context, FALSE);
	g_option_context_set_summary(context, command->description);
	return context;
}

char *options_help(const struct command *command)
{
	struct options unused;

	options_init(&unused);
	g_autoptr(GOptionContext) context = context_new(&unused, command);
	char *help = g_option_context_get_help(context, TRUE, NULL);

	options_clear(&unused);
	return help;
}

static gboolean check_arguments(const struct options *options, const struct command *command,
				GError **error)
{
	guint count = g_strv_length(options->arguments);

	if (options->help)
		return TRUE;
	if (count < command->arguments_min || count > command->arguments_max) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "usage: blockmig %s %s (see blockmig %s --help)", command->name,
			    command->arguments, command->name);
		return FALSE;
	}
	if ((command->groups & OPTIONS_TO) && !options->to && !options->evacuate.end_maintenance) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "%s: say where to with --to DATASTORE", command->name);
		return FALSE;
	}
	return TRUE;
}

gboolean options_parse(struct options *options, const struct command *command, int argc,
		       char **argv, GError **error)
{
	g_autoptr(GError) cause = NULL;
	g_autoptr(GOptionContext) context = context_new(options, command);
	g_auto(GStrv) words = g_new0(char *, (gsize)argc + 1);

	for (int i = 0; i < argc; i++)
		words[i] = g_strdup(argv[i]);
	if (!g_option_context_parse_strv(context, &words, &cause)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "%s: %s (see blockmig %s --help)", command->name, cause->message,
			    command->name);
		return FALSE;
	}

	char **rest = words + (*words ? 1 : 0);

	if (*rest && g_str_equal(*rest, "--"))
		rest++;
	options->arguments = g_strdupv(rest);
	return check_arguments(options, command, error);
}

/* The row of the table for a key of the file; -1: none. */
static int find_setting(const char *name)
{
	for (int i = 0; settings[i].name; i++)
		if (g_str_equal(settings[i].name, name))
			return i;
	return -1;
}

static gboolean apply_key(struct options *options, const struct config *config, const char *key,
			  const char *value, GError **error)
{
	int row = find_setting(key);

	if (g_str_equal(key, "connect")) {
		if (!options->connect)
			options->connect = g_strdup(value);
		return TRUE;
	}
	if (row < 0 || settings[row].command_line_only) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    row < 0 ? "%s: [blockmig] has no key \"%s\": remove it, or see "
				      "blockmig(1) for the names"
				    : "%s: [blockmig] %s: it destroys data and can be given on "
				      "the command line only",
			    config->path, key);
		return FALSE;
	}
	if (settings[row].apply(value, &options->move, error))
		return TRUE;
	g_prefix_error(error, "%s: [blockmig] %s: ", config->path, key);
	return FALSE;
}

gboolean options_complete(struct options *options, const struct config *config, GError **error)
{
	GHashTableIter keys;
	gpointer key, value;

	options->move.bwlimit = config->bwlimit;
	g_hash_table_iter_init(&keys, config->defaults);
	while (g_hash_table_iter_next(&keys, &key, &value))
		if (!apply_key(options, config, key, value, error))
			return FALSE;

	/* The command line last, so that it wins. */
	for (guint i = 0; settings[i].name; i++) {
		if (!options->settings[i] ||
		    settings[i].apply(options->settings[i], &options->move, error))
			continue;
		g_prefix_error(error, "--%s: ", settings[i].name);
		return FALSE;
	}
	if (options->a_format) {
		g_free(options->move.from_format);
		options->move.from_format = g_strdup(options->a_format);
	}
	return TRUE;
}

void options_amend(struct move_options *move, const void *options)
{
	const struct options *said = options;

	/* They were found good by options_complete. */
	for (guint i = 0; settings[i].name; i++)
		if (said->settings[i] && (settings[i].group & OPTIONS_AGAIN))
			settings[i].apply(said->settings[i], move, NULL);
}

gboolean options_parse_job(const char *text, gint64 *job, GError **error)
{
	guint64 number;

	if (!g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT64, &number, NULL)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "\"%s\" is not the number of a job (blockmig status lists them)", text);
		return FALSE;
	}
	*job = (gint64)number;
	return TRUE;
}
