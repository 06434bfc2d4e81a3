#include "blockmig/copy/sender.h"

#include "common/error.h"

/*
 * One thread.  Its share is what it has claimed: the units before `written` are
 * written and not yet flushed, the others wait.
 */
struct worker {
	struct engine *engine;
	struct sender sender;
	struct backoff backoff;
	GArray *share; /* of struct claim */
	guint written;
	GArray *rows;
};

static struct claim *claim_get(const struct worker *worker, guint at)
{
	return &g_array_index(worker->share, struct claim, at);
}

/* A hole's zeros are not sent, so they do not fill the window. */
static guint64 claim_weight(const struct engine *engine, guint64 index)
{
	return engine->map[index] & MAP_HOLE ? 0 : engine_unit_bytes(engine, index);
}

static gboolean rows_put(struct worker *worker, GError **error)
{
	const struct copy_spec *spec = worker->engine->spec;
	const gboolean ok = ledger_units_put(spec->ledger, spec->pass,
					     (const struct ledger_unit *)worker->rows->data,
					     worker->rows->len, error);

	g_array_set_size(worker->rows, 0);
	return ok;
}

static void rows_add_state(struct worker *worker, guint64 index, enum unit_state state)
{
	const struct ledger_unit row = {.index = index, .count = 1, .state = state};

	rows_add(worker->rows, &row);
}

/* Under the engine's mutex: fills the share up, with rows that say so. */
static void share_fill(struct worker *worker)
{
	struct engine *engine = worker->engine;
	const guint64 most_bytes = COPY_WINDOW_BYTES / engine->workers;
	guint64 weight = 0, index;

	for (guint i = worker->written; i < worker->share->len; i++)
		weight += claim_weight(engine, claim_get(worker, i)->index);
	while (worker->share->len < worker->written + ENGINE_ZERO_RUN_UNITS &&
	       map_next_to_send(engine, &index) &&
	       weight + claim_weight(engine, index) <= most_bytes) {
		const struct claim claim = {.index = index};

		weight += claim_weight(engine, index);
		map_set(engine, index, MAP_HELD);
		g_array_append_val(worker->share, claim);
		rows_add_state(worker, index, UNIT_SENT);
	}
}

/* What is claimed and was never begun is nobody's again: it will not count as sent twice. */
static void share_release(struct worker *worker)
{
	struct engine *engine = worker->engine;
	guint kept = worker->written;

	for (guint i = worker->written; i < worker->share->len; i++) {
		const struct claim claim = *claim_get(worker, i);

		if (engine->map[claim.index] & MAP_TOUCHED) {
			*claim_get(worker, kept++) = claim;
			continue;
		}
		rows_add_state(worker, claim.index, UNIT_PENDING);
		map_set(engine, claim.index, MAP_SEND);
	}
	g_array_set_size(worker->share, kept);
}

/* After a failure: what may have been written keeps its rows as they are. */
static void share_abandon(struct worker *worker)
{
	worker->written = 0;
	g_array_set_size(worker->rows, 0);
	g_mutex_lock(&worker->engine->mutex);
	share_release(worker);
	g_mutex_unlock(&worker->engine->mutex);
	rows_put(worker, NULL);
}

static void rows_add_written(struct worker *worker)
{
	for (guint i = 0; i < worker->written; i++) {
		const struct claim *claim = claim_get(worker, i);
		const struct ledger_unit row = {.index = claim->index,
						.count = 1,
						.state = UNIT_DONE,
						.is_zero = claim->is_zero,
						.data_bytes = claim->data_bytes,
						.digest = claim->digest};

		rows_add(worker->rows, &row);
	}
}

/* Under the engine's mutex: the written units are in the ledger. */
static void share_done(struct worker *worker)
{
	struct engine *engine = worker->engine;

	for (guint i = 0; i < worker->written; i++) {
		const struct claim *claim = claim_get(worker, i);

		map_done(engine, claim->index, claim->is_zero, claim->data_bytes);
	}
	if (worker->written)
		g_array_remove_range(worker->share, 0, worker->written);
	worker->written = 0;
	g_cond_broadcast(&engine->changed);
}

/*
 * One transaction: what is written and flushed is done, and the next units are
 * claimed, so that a run that dies later leaves no unit that was sent unmarked.
 */
static gboolean share_commit(struct worker *worker, GError **error)
{
	struct engine *engine = worker->engine;

	rows_add_written(worker);
	g_mutex_lock(&engine->mutex);
	if (engine_ending(engine) == GO_ON)
		share_fill(worker);
	else
		share_release(worker);
	g_mutex_unlock(&engine->mutex);

	if (!rows_put(worker, error))
		return FALSE;
	g_mutex_lock(&engine->mutex);
	share_done(worker);
	g_mutex_unlock(&engine->mutex);
	return TRUE;
}

/* ---- the share ------------------------------------------------------------------------- */

/*
 * After a failure one unit is enough for a flush: a link that never lives for a whole
 * share still gets on.
 */
static gboolean is_enough(const struct worker *worker)
{
	return worker->written == worker->share->len ||
	       (worker->backoff.until && worker->sender.unflushed);
}

static void lane_take(struct engine *engine)
{
	g_mutex_lock(&engine->mutex);
	while (engine->lanes == 0)
		g_cond_wait(&engine->lane_free, &engine->mutex);
	engine->lanes--;
	g_mutex_unlock(&engine->mutex);
}

static void lane_leave(struct engine *engine)
{
	g_mutex_lock(&engine->mutex);
	engine->lanes++;
	g_cond_signal(&engine->lane_free);
	g_mutex_unlock(&engine->mutex);
}

/* Until the share is written, a second has passed, or the copy is to end. */
static gboolean share_write(struct worker *worker, GError **error)
{
	const gint64 until_us = g_get_monotonic_time() + ENGINE_CHECKPOINT_US;

	while (!is_enough(worker) && g_get_monotonic_time() < until_us &&
	       engine_ending(worker->engine) == GO_ON) {
		if (!sender_send(&worker->sender, claim_get(worker, worker->written), error))
			return FALSE;
		worker->written++;
	}
	return TRUE;
}

/* Written, and flushed while another worker writes. */
static gboolean share_send(struct worker *worker, GError **error)
{
	if (!sender_open(&worker->sender, error))
		return FALSE;
	lane_take(worker->engine);
	const gboolean good = share_write(worker, error);

	lane_leave(worker->engine);
	if (!good)
		return FALSE;
	if (!worker->sender.unflushed || engine_ending(worker->engine) == END_NOW)
		return TRUE;
	if (!handle_flush(worker->sender.destination.handle, error))
		return FALSE;
	worker->sender.unflushed = FALSE;
	return TRUE;
}

/* One turn: sends a share and commits it.  FALSE at the end, or with an error. */
static gboolean share_turn(struct worker *worker, GError **error)
{
	struct engine *engine = worker->engine;
	GError *cause = NULL;

	while (!share_send(worker, &cause)) {
		sender_drop(&worker->sender);
		worker->written = 0;
		if (!engine_may_retry(engine, &worker->backoff, &cause)) {
			g_propagate_error(error, cause);
			return FALSE;
		}
	}
	if (engine_ending(engine) == END_NOW)
		return FALSE;
	backoff_success(&worker->backoff);
	return share_commit(worker, error) && engine_ending(engine) == GO_ON;
}

/* ---- rehash ------------------------------------------------------------------------------- */

/* Whether the source still is what the ledger says was copied. */
static gboolean is_unchanged(struct worker *worker, const struct claim *claim,
			     struct ledger_unit *row, GError **error)
{
	const struct copy_spec *spec = worker->engine->spec;

	return ledger_unit_get(spec->ledger, spec->pass, claim->index, row, error) &&
	       row->state >= UNIT_DONE && row->is_zero == claim->is_zero &&
	       (row->is_zero || digest_equal(&row->digest, &claim->digest));
}

static void check_passed(struct worker *worker, const struct ledger_unit *row, guint64 index)
{
	struct engine *engine = worker->engine;

	g_mutex_lock(&engine->mutex);
	map_done(engine, index, row->is_zero, row->data_bytes);
	engine->totals.bytes_skipped += engine_unit_bytes(engine, index);
	g_cond_broadcast(&engine->changed);
	g_mutex_unlock(&engine->mutex);
}

/* The row goes first: no later run may take the old content for the new one. */
static gboolean check_failed(struct worker *worker, guint64 index, GError **error)
{
	struct engine *engine = worker->engine;

	rows_add_state(worker, index, UNIT_SENT);
	if (!rows_put(worker, error))
		return FALSE;
	g_mutex_lock(&engine->mutex);
	map_set(engine, index, MAP_SEND);
	g_cond_broadcast(&engine->changed);
	g_mutex_unlock(&engine->mutex);
	return TRUE;
}

static gboolean check_unit(struct worker *worker, guint64 index, GError **error)
{
	struct claim claim = {.index = index};
	struct ledger_unit row;
	GError *cause = NULL;

	while (!endpoint_open(&worker->sender.source, &cause) ||
	       !sender_read(&worker->sender, &claim, &cause)) {
		sender_drop(&worker->sender);
		if (!engine_may_retry(worker->engine, &worker->backoff, &cause)) {
			g_propagate_error(error, cause);
			return FALSE;
		}
	}
	backoff_success(&worker->backoff);
	if (is_unchanged(worker, &claim, &row, &cause)) {
		check_passed(worker, &row, index);
		return TRUE;
	}
	if (cause) {
		g_propagate_error(error, cause);
		return FALSE;
	}
	return check_failed(worker, index, error);
}

/* ---- the thread ----------------------------------------------------------------------------- */

enum task { TASK_NONE, TASK_CHECK, TASK_SHARE };

/*
 * With the mutex held.  What was never sent comes first: to check hours of work again
 * must not keep it from going on.  Less than a share waits, so that what the checks find
 * goes with it.
 */
static enum task pick_task(struct engine *engine, guint64 *index)
{
	const guint64 share_bytes = COPY_WINDOW_BYTES / engine->workers;

	if (engine->count[MAP_SEND] >= share_bytes / engine->spec->unit_bytes)
		return TASK_SHARE;
	if (map_next_to_check(engine, index)) {
		map_set(engine, *index, MAP_HELD);
		return TASK_CHECK;
	}
	return engine->count[MAP_SEND] ? TASK_SHARE : TASK_NONE;
}

/* Waits for something to do; the end of the copy is the end of the wait. */
static enum task next_task(struct worker *worker, guint64 *index)
{
	struct engine *engine = worker->engine;
	enum task task = TASK_NONE;

	if (worker->share->len)
		return TASK_SHARE;
	g_mutex_lock(&engine->mutex);
	while (!map_finished(engine) && engine_ending(engine) == GO_ON) {
		task = pick_task(engine, index);
		if (task != TASK_NONE)
			break;
		g_cond_wait(&engine->changed, &engine->mutex);
	}
	g_mutex_unlock(&engine->mutex);
	return task;
}

static gboolean worker_turn(struct worker *worker, GError **error)
{
	guint64 index;

	switch (next_task(worker, &index)) {
	case TASK_CHECK:
		return check_unit(worker, index, error);
	case TASK_SHARE:
		if (worker->share->len)
			return share_turn(worker, error);
		return share_commit(worker, error); /* the first claim */
	case TASK_NONE:
		break;
	}
	return FALSE;
}

gpointer worker_run(gpointer data)
{
	struct engine *engine = data;
	struct worker worker = {.engine = engine,
				.sender = {.engine = engine,
					   .source = engine->source,
					   .destination = engine->destination}};
	GError *error = NULL;

	worker.sender.destination.mode = HANDLE_WRITE;
	worker.sender.buffer = transport_buffer_new(engine->spec->unit_bytes);
	worker.share = g_array_new(FALSE, FALSE, sizeof(struct claim));
	worker.rows = g_array_new(FALSE, FALSE, sizeof(struct ledger_unit));
	backoff_init(&worker.backoff, engine->spec->retry_for_ms);

	while (worker_turn(&worker, &error))
		;
	if (error)
		engine_fail(engine, error);
	share_abandon(&worker);
	sender_drop(&worker.sender);
	g_array_unref(worker.rows);
	g_array_unref(worker.share);
	transport_buffer_free(worker.sender.buffer);

	engine_thread_ended(engine);
	return NULL;
}
