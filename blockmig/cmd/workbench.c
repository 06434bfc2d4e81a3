#include "blockmig/cmd/workbench.h"

#include "common/error.h"
#include "transports/address.h"

#define STATE_FOLDER "/var/lib/blockmig"

const char *workbench_state_folder(void)
{
	const char *folder = g_getenv("BLOCKMIG_STATE");

	return folder && *folder ? folder : STATE_FOLDER;
}

/* A datastore that is reached at its next address may soon have none left. */
static void warn(const char *text, void *reporter)
{
	reporter_warning(reporter, 0, text);
}

/* A chap-file without a password leaves it to libvirt. */
static gboolean complete_secrets(struct workbench *workbench, GError **error)
{
	if (!config_lacks_passwords(workbench->config))
		return TRUE;
	workbench->session = session_open(workbench->options->connect, error);
	return workbench->session &&
	       config_ask_passwords(workbench->config, workbench->session, error);
}

gboolean workbench_open(struct workbench *workbench, struct options *options, GError **error)
{
	workbench->options = options;
	/* A child (the guardian) finds the same configuration by itself. */
	if (options->config_path)
		g_setenv("BLOCKMIG_CONFIG", options->config_path, TRUE);
	workbench->config = config_load(options->config_path, error);
	if (!workbench->config || !options_complete(options, workbench->config, error) ||
	    !complete_secrets(workbench, error))
		return FALSE;
	workbench->ledger = ledger_open(workbench_state_folder(), error);
	if (!workbench->ledger)
		return FALSE;

	address_listen(warn, options->reporter);
	workbench->notice = stop_notice_start(options->reporter);
	workbench->context = (struct move_context){
		.uri = options->connect,
		.ledger = workbench->ledger,
		.config = workbench->config,
		.options = &options->move,
		.amend = options_amend,
		.amend_data = options,
		.reporter = reporter_move(options->reporter),
	};
	if (options->rate_fd < 0)
		return TRUE;
	workbench->context.new_rate = rate_pipe_read;
	workbench->context.new_rate_data = &workbench->rate;
	return rate_pipe_open(&workbench->rate, options->rate_fd, error);
}

gboolean workbench_connect(struct workbench *workbench, GError **error)
{
	if (!workbench->session)
		workbench->session = session_open(workbench->options->connect, error);
	workbench->context.session = workbench->session;
	return workbench->session != NULL;
}

gboolean workbench_connect_for(struct workbench *workbench, gint64 job, GError **error)
{
	AUTO(ledger_job) record = ledger_job_get(workbench->ledger, job, error);

	if (!record)
		return FALSE;
	return g_strcmp0(record->kind, "copy") == 0 || workbench_connect(workbench, error);
}

gboolean workbench_take(struct workbench *workbench, gint64 *job, GError **error)
{
	g_autoptr(GError) unknown = NULL;

	if (workbench_connect_for(workbench, *job, &unknown))
		return TRUE;
	g_autoptr(GPtrArray) orphans =
		error_is(unknown, BLOCKMIG_ERROR_NOT_FOUND) && workbench_connect(workbench, NULL)
			? move_orphans(&workbench->context, NULL)
			: NULL;

	for (guint i = 0; orphans && i < orphans->len; i++) {
		const struct move_orphan *orphan = g_ptr_array_index(orphans, i);

		if (orphan->job == *job)
			return move_adopt(&workbench->context, orphan, job, error);
	}
	g_propagate_error(error, g_steal_pointer(&unknown));
	return FALSE;
}

void workbench_close(struct workbench *workbench)
{
	g_clear_pointer(&workbench->notice, stop_notice_end);
	address_listen(NULL, NULL);
	g_clear_pointer(&workbench->session, session_close);
	g_clear_pointer(&workbench->ledger, ledger_close);
	g_clear_pointer(&workbench->config, config_free);
}
