#include "blockmig/copy/engine_private.h"

#include "common/error.h"
#include "common/stop.h"
#include "common/units.h"

#include <string.h>

enum { PROGRESS_US = G_USEC_PER_SEC / 5, WATCH_US = G_USEC_PER_SEC };

enum { PROVERS = 2 }; /* one reads while the other hashes; measured: a third gains nothing */

guint64 copy_units(guint64 content_bytes, guint64 unit_bytes)
{
	return content_bytes / unit_bytes + (content_bytes % unit_bytes != 0);
}

guint64 engine_unit_offset(const struct engine *engine, guint64 index)
{
	const struct copy_spec *spec = engine->spec;

	return spec->ranges ? spec->ranges[index].offset_bytes : index * spec->unit_bytes;
}

guint64 engine_unit_bytes(const struct engine *engine, guint64 index)
{
	const struct copy_spec *spec = engine->spec;

	if (spec->ranges)
		return spec->ranges[index].length_bytes;
	return MIN(spec->unit_bytes, spec->content_bytes - index * spec->unit_bytes);
}

enum engine_ending engine_ending(struct engine *engine)
{
	const enum stop_level level = stop_level();

	if (level == STOP_NOW)
		return END_NOW;
	if (level == STOP_CHECKPOINT || g_atomic_int_get(&engine->failed))
		return END_AT_CHECKPOINT;
	return GO_ON;
}

void engine_fail(struct engine *engine, GError *cause)
{
	g_mutex_lock(&engine->mutex);
	if (engine->error)
		g_error_free(cause);
	else
		engine->error = cause;
	g_atomic_int_set(&engine->failed, TRUE);
	g_cond_broadcast(&engine->changed);
	g_mutex_unlock(&engine->mutex);
}

void engine_thread_ended(struct engine *engine)
{
	g_mutex_lock(&engine->mutex);
	engine->threads--;
	g_cond_signal(&engine->ended);
	g_cond_broadcast(&engine->changed);
	g_mutex_unlock(&engine->mutex);
}

gboolean engine_may_retry(struct engine *engine, struct backoff *backoff, GError **error)
{
	return !g_atomic_int_get(&engine->failed) && endpoint_may_retry(backoff, error);
}

/* ---- before the threads ------------------------------------------------------------ */

static gboolean range_is_sane(const struct copy_spec *spec, const struct copy_range *range)
{
	return range->length_bytes > 0 && range->length_bytes <= spec->unit_bytes &&
	       range->offset_bytes <= spec->content_bytes &&
	       range->length_bytes <= spec->content_bytes - range->offset_bytes;
}

static gboolean spec_check(const struct copy_spec *spec, GError **error)
{
	if (spec->unit_bytes < MiB || spec->unit_bytes > 64 * MiB ||
	    (spec->unit_bytes & (spec->unit_bytes - 1))) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "a chunk of %" G_GUINT64_FORMAT
			    " bytes: give a power of two from 1M to 64M",
			    spec->unit_bytes);
		return FALSE;
	}
	for (guint64 i = 0; spec->ranges && i < spec->range_count; i++) {
		const struct copy_range *range = &spec->ranges[i];

		if (range_is_sane(spec, range))
			continue;
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "piece %" G_GUINT64_FORMAT " (%" G_GUINT64_FORMAT
			    " bytes at %" G_GUINT64_FORMAT ") is not a piece of the content",
			    i, range->length_bytes, range->offset_bytes);
		return FALSE;
	}
	return TRUE;
}

/*
 * Writes that do not begin at a block's border rewrite the whole block, so two workers
 * at neighbouring units could undo one another.
 */
static gboolean units_share_blocks(const struct engine *engine)
{
	const guint64 block_bytes =
		MAX(engine->destination.known.block_bytes, (guint32)TRANSPORT_ALIGN);
	const guint64 base_bytes = engine->spec->destination->offset_bytes;

	for (guint64 i = 0; engine->spec->ranges && i < engine->units; i++) {
		if ((base_bytes + engine_unit_offset(engine, i)) % block_bytes)
			return TRUE;
	}
	return base_bytes % block_bytes != 0;
}

static guint workers_wanted(const struct engine *engine)
{
	const struct copy_spec *spec = engine->spec;
	const guint asked = spec->workers ? spec->workers : COPY_WORKERS_DEFAULT;

	if (units_share_blocks(engine))
		return 1;
	return MIN(asked, (guint)(COPY_WINDOW_BYTES / spec->unit_bytes));
}

/*
 * How many of them send at a time.  Measured with two processors, servers beside: more
 * only take from one another, and with nobody waiting beside them each flush is a pause.
 */
static guint lanes_wanted(guint workers)
{
	return (workers * 3 + 4) / 5;
}

/* A byte a unit: a peer may claim any size. */
static gboolean map_new(struct engine *engine, GError **error)
{
	const struct copy_spec *spec = engine->spec;

	engine->map = g_try_malloc0(engine->units);
	if (engine->map || engine->units == 0)
		return TRUE;
	g_autofree char *name = url_format(spec->source->url);
	g_autofree char *unit = units_format_size(spec->unit_bytes);

	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "%s: of %" G_GUINT64_FORMAT " bytes there would be %" G_GUINT64_FORMAT
		    " chunks of %s, too many for this host's memory",
		    name, spec->content_bytes, engine->units, unit);
	return FALSE;
}

static void engine_init(struct engine *engine, const struct copy_spec *spec)
{
	memset(engine, 0, sizeof *engine);
	engine->spec = spec;
	engine->source.end = spec->source;
	engine->source.mode = HANDLE_READ;
	engine->destination.end = spec->destination;
	engine->destination.mode = HANDLE_READ;
	g_mutex_init(&engine->mutex);
	g_cond_init(&engine->lane_free);
	g_cond_init(&engine->changed);
	g_cond_init(&engine->ended);
	engine->units = spec->ranges ? spec->range_count
				     : copy_units(spec->content_bytes, spec->unit_bytes);
	engine->count[MAP_SEND] = engine->units;
	engine->totals.units_total = engine->units;
	engine->totals.bytes_total = spec->ranges ? 0 : spec->content_bytes;
	for (guint64 i = 0; spec->ranges && i < engine->units; i++)
		engine->totals.bytes_total += engine_unit_bytes(engine, i);
}

static void engine_clear(struct engine *engine)
{
	endpoint_drop(&engine->source);
	endpoint_drop(&engine->destination);
	g_free(engine->map);
	g_cond_clear(&engine->ended);
	g_cond_clear(&engine->changed);
	g_cond_clear(&engine->lane_free);
	g_mutex_clear(&engine->mutex);
}

static gboolean engine_prepare(struct engine *engine, GError **error)
{
	const struct copy_spec *spec = engine->spec;
	struct backoff backoff;

	backoff_init(&backoff, spec->retry_for_ms);
	if (!endpoint_learn(&engine->source, spec->content_bytes, &backoff, error) ||
	    !endpoint_learn(&engine->destination, spec->content_bytes, &backoff, error))
		return FALSE;
	engine->workers = workers_wanted(engine);
	engine->lanes = lanes_wanted(engine->workers);
	if (!plan_make(engine, error))
		return FALSE;
	endpoint_drop(&engine->source);
	endpoint_drop(&engine->destination);
	return TRUE;
}

/* ---- while they run ------------------------------------------------------------------ */

static void show_progress(struct engine *engine)
{
	const struct copy_progress progress = {
		.bytes_total = engine->totals.bytes_total,
		.bytes_done = engine->bytes_done,
		.bytes_proven = engine->bytes_proven,
	};

	if (!engine->spec->progress)
		return;
	g_mutex_unlock(&engine->mutex);
	engine->spec->progress(&progress, engine->spec->progress_data);
	g_mutex_lock(&engine->mutex);
}

static void ask_watch(struct engine *engine)
{
	GError *error = NULL;

	if (!engine->spec->watch)
		return;
	g_mutex_unlock(&engine->mutex);
	if (!engine->spec->watch(engine->spec->watch_data, &error))
		engine_fail(engine, error);
	g_mutex_lock(&engine->mutex);
}

/* The threads' clock: progress, the caller's watch, and the stop flag, which wakes nobody. */
static void supervise(struct engine *engine)
{
	gint64 watch_us = g_get_monotonic_time() + WATCH_US;

	while (engine->threads > 0) {
		g_cond_wait_until(&engine->ended, &engine->mutex,
				  g_get_monotonic_time() + PROGRESS_US);
		show_progress(engine);
		if (g_get_monotonic_time() >= watch_us && engine_ending(engine) == GO_ON) {
			ask_watch(engine);
			watch_us = g_get_monotonic_time() + WATCH_US;
		}
		if (engine_ending(engine) != GO_ON)
			g_cond_broadcast(&engine->changed);
	}
}

static void run_threads(struct engine *engine)
{
	const guint provers = engine->spec->prove ? PROVERS : 0;
	g_autoptr(GPtrArray) threads = g_ptr_array_new();

	engine->threads = engine->workers + provers;
	for (guint i = 0; i < engine->workers; i++)
		g_ptr_array_add(threads, g_thread_new("copy-worker", worker_run, engine));
	for (guint i = 0; i < provers; i++)
		g_ptr_array_add(threads, g_thread_new("copy-prover", prover_run, engine));

	g_mutex_lock(&engine->mutex);
	supervise(engine);
	g_mutex_unlock(&engine->mutex);
	for (guint i = 0; i < threads->len; i++)
		g_thread_join(threads->pdata[i]);
}

static gboolean engine_outcome(struct engine *engine, GError **error)
{
	if (engine->error) {
		g_propagate_error(error, g_steal_pointer(&engine->error));
		return FALSE;
	}
	if (map_finished(engine))
		return TRUE;
	g_set_error_literal(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_STOPPED,
			    "stopped at a checkpoint; resume carries on from there");
	return FALSE;
}

gboolean copy_run(const struct copy_spec *spec, struct copy_totals *totals, GError **error)
{
	struct engine engine;
	gboolean ok;

	memset(totals, 0, sizeof *totals);
	if (!spec_check(spec, error))
		return FALSE;
	engine_init(&engine, spec);
	ok = map_new(&engine, error) && engine_prepare(&engine, error);
	engine.totals.planned = ok;
	if (ok) {
		if (!map_finished(&engine))
			run_threads(&engine);
		ok = engine_outcome(&engine, error);
	}
	*totals = engine.totals;
	engine_clear(&engine);
	return ok;
}
