#include "blockmig/evacuate/live.h"

#include "blockmig/evacuate/load.h"
#include "common/error.h"

#include <sys/wait.h>
#include <unistd.h>

/* Less says more about the fixed costs of a move than about the rate. */
static const guint64 measured_least_bytes = 32ull << 20;

struct live {
	struct live_options options;
	struct children *children;
	struct evacuation_world world;
};

static gint64 live_now_s(void *data)
{
	(void)data;
	return g_get_real_time() / G_USEC_PER_SEC;
}

static void on_line(const struct dispatch_move *move, const char *text, void *data)
{
	const struct live_listener *listener = &((struct live *)data)->options.listener;

	(void)move;
	if (listener->line)
		listener->line(text, listener->data);
}

/* ---- moves -------------------------------------------------------------------------------- */

static gboolean live_start(struct dispatch_move *move, guint64 rate, void *data, GError **error)
{
	struct live *live = data;
	const struct live_listener *listener = &live->options.listener;

	if (!children_start(live->children, move, rate, error))
		return FALSE;
	if (listener->begun)
		listener->begun(move, listener->data);
	return TRUE;
}

static void live_set_rate(struct dispatch_move *move, guint64 rate, void *data)
{
	children_set_rate(((struct live *)data)->children, move, rate);
}

static void live_stop(struct dispatch_move *move, gboolean now, void *data)
{
	children_stop(((struct live *)data)->children, move, now);
}

static gboolean live_roll_back(struct dispatch_move *move, void *data, GError **error)
{
	return children_roll_back(((struct live *)data)->children, move, error);
}

static struct dispatch_move *live_wait(gint64 until_s, void *data)
{
	struct live *live = data;
	const struct live_listener *listener = &live->options.listener;
	gint64 left_us = G_USEC_PER_SEC;

	if (listener->tick)
		listener->tick(listener->data);
	/* At least once a second the clock is read again: it may have been set. */
	if (until_s - live_now_s(live) <= 1)
		left_us = CLAMP(until_s * G_USEC_PER_SEC - g_get_real_time(), 0, G_USEC_PER_SEC);

	struct dispatch_move *ended =
		children_wait(live->children, g_get_monotonic_time() + left_us);

	if (ended && listener->ended)
		listener->ended(ended, listener->data);
	return ended;
}

static struct inventory *live_inventory(void *data, GError **error)
{
	const struct live_options *options = &((struct live *)data)->options;

	return inventory_load((struct move_context *)options->context, options->from, options->to,
			      error);
}

/* ---- datastores ----------------------------------------------------------------------------- */

static gboolean live_answers(const struct dispatch_target *target, void *data)
{
	const struct move_context *context = ((struct live *)data)->options.context;
	g_autofree char *pool = session_pool_xml(context->session, target->name, NULL);
	const struct datastore *datastore =
		config_datastore(context->config, target->name, pool, NULL);
	guint64 free_bytes, total_bytes;

	if (!datastore)
		return FALSE;
	if (datastore->url->scheme != URL_ISCSI)
		return place_space(datastore->url, &datastore->transport, &free_bytes, &total_bytes,
				   NULL);
	g_autoptr(GPtrArray) luns = place_list(datastore->url, &datastore->transport, NULL);

	return luns != NULL;
}

static guint64 live_measured(const struct dispatch_move *move, void *data)
{
	const struct live *live = data;
	struct ledger *ledger = live->options.context->ledger;
	const struct dispatch_outcome *outcome = &move->outcome;
	guint64 rate = 0;

	/* A rate that could not be kept is measured again by the next move. */
	if (outcome->bytes_sent >= measured_least_bytes && outcome->copy_ms)
		ledger_rate_add(ledger, live->options.from_url, move->target->url,
				outcome->bytes_sent, outcome->copy_ms, NULL);
	ledger_rate_get(ledger, live->options.from_url, move->target->url, &rate, NULL);
	return rate;
}

static const struct dispatch_runner live_runner = {
	.now_s = live_now_s,
	.start = live_start,
	.set_rate = live_set_rate,
	.stop = live_stop,
	.roll_back = live_roll_back,
	.wait = live_wait,
	.answers = live_answers,
	.measured = live_measured,
};

/* ---- once it is empty ---------------------------------------------------------------- */

/* Our stdout is for JSON or for nobody. */
static void words_to_stderr(gpointer unused)
{
	(void)unused;
	dup2(STDERR_FILENO, STDOUT_FILENO);
}

static gboolean live_emptied(void *data, GError **error)
{
	const struct live_options *options = &((struct live *)data)->options;
	const char *argv[] = {"/bin/sh", "-c", options->then, NULL};
	g_autoptr(GError) cause = NULL;
	int status = 0;

	if (!options->then)
		return TRUE;
	g_auto(GStrv) environment =
		g_environ_setenv(g_get_environ(), "BLOCKMIG_DATASTORE", options->from, TRUE);

	if (g_spawn_sync(NULL, (char **)argv, environment, G_SPAWN_DEFAULT, words_to_stderr, NULL,
			 NULL, NULL, &status, &cause) &&
	    g_spawn_check_wait_status(status, &cause))
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "%s is empty, but --then \"%s\" failed: %s; the same evacuation again tries it "
		    "again",
		    options->from, options->then, cause->message);
	return FALSE;
}

/* ---- all of it ----------------------------------------------------------------------- */

struct live *live_new(const struct live_options *options)
{
	struct live *live = g_new0(struct live, 1);
	const struct children_options children = {
		.migrate = options->migrate,
		.common = options->common,
		.line = on_line,
		.data = live,
	};

	live->options = *options;
	live->children = children_new(&children);
	live->world = (struct evacuation_world){
		.inventory = live_inventory,
		.emptied = live_emptied,
		.runner = &live_runner,
		.data = live,
	};
	return live;
}

void live_free(struct live *live)
{
	children_free(live->children);
	g_free(live);
}

const struct evacuation_world *live_world(const struct live *live)
{
	return &live->world;
}
