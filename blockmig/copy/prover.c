#include "blockmig/copy/engine_private.h"

#include "common/error.h"
#include "common/units.h"
#include "verify/readback.h"

/*
 * One thread.  Its rows are proven and not yet in the ledger.
 *
 * A unit that is found different was acknowledged by the destination, so what was written
 * may lie elsewhere: over a unit that was read before.  From then on nothing that was
 * read before counts: it is read again, once, when all else is proven.
 */
struct prover {
	struct engine *engine;
	struct endpoint destination;
	struct backoff backoff;
	void *buffer;
	GArray *rows;
	gint64 commit_us; /* when they are to be */
	guint doubts;	  /* the engine's, before the first of them was read */
};

/* Units first..end-1, in this thread's hands; more than one only of zeros. */
struct stretch {
	guint64 first, end;
	gboolean is_zero;
};

static guint64 stretch_offset(const struct prover *prover, guint64 index)
{
	return prover->engine->spec->destination->offset_bytes +
	       engine_unit_offset(prover->engine, index);
}

/* ---- what is proven --------------------------------------------------------------------- */

static gboolean rows_put(struct prover *prover, GError **error)
{
	const struct copy_spec *spec = prover->engine->spec;

	return ledger_units_put(spec->ledger, spec->pass,
				(const struct ledger_unit *)prover->rows->data, prover->rows->len,
				error);
}

static void rows_enter(struct prover *prover, enum map_state state)
{
	const struct ledger_unit *rows = (const struct ledger_unit *)prover->rows->data;

	for (guint i = 0; i < prover->rows->len; i++) {
		for (guint64 k = 0; k < rows[i].count; k++) {
			if (state == MAP_PROVEN)
				map_proven(prover->engine, rows[i].index + k);
			else
				map_set(prover->engine, rows[i].index + k, state);
		}
	}
}

/* With the mutex held. */
static gboolean is_doubted(const struct prover *prover)
{
	return prover->engine->doubts != prover->doubts;
}

/*
 * What was doubted before is done, as it was.  A doubt that comes while the ledger is told
 * waits for that (doubt_commit), and takes these rows back with the others.
 */
static gboolean rows_commit(struct prover *prover, GError **error)
{
	struct engine *engine = prover->engine;
	gboolean good = TRUE;

	g_mutex_lock(&engine->mutex);
	if (!is_doubted(prover)) {
		engine->committing++;
		g_mutex_unlock(&engine->mutex);
		good = rows_put(prover, error);
		g_mutex_lock(&engine->mutex);
		engine->committing--;
	}
	if (good)
		rows_enter(prover, is_doubted(prover) ? MAP_DONE : MAP_PROVEN);
	g_cond_broadcast(&engine->changed);
	g_mutex_unlock(&engine->mutex);
	if (good)
		g_array_set_size(prover->rows, 0);
	return good;
}

static gboolean rows_add_proven(struct prover *prover, const struct ledger_unit *row,
				GError **error)
{
	if (row->count == 0)
		return TRUE;
	if (prover->rows->len == 0)
		prover->commit_us = g_get_monotonic_time() + ENGINE_CHECKPOINT_US;
	rows_add(prover->rows, row);
	if (prover->rows->len < ENGINE_ROWS && g_get_monotonic_time() < prover->commit_us)
		return TRUE;
	return rows_commit(prover, error);
}

static gboolean zeros_add_proven(struct prover *prover, guint64 first, guint64 end, GError **error)
{
	const struct ledger_unit row = {
		.index = first, .count = end - first, .state = UNIT_PROVEN, .is_zero = TRUE};

	return rows_add_proven(prover, &row, error);
}

/*
 * What map_doubt began; the ledger takes back what was proven until now, and nothing newer.
 * Nothing older comes to it behind that, not for a moment: a run may die at any.
 */
static gboolean doubt_commit(struct engine *engine, GError **error)
{
	gboolean good;

	g_mutex_lock(&engine->mutex);
	while (engine->committing)
		g_cond_wait(&engine->changed, &engine->mutex);
	g_mutex_unlock(&engine->mutex);
	good = ledger_pass_doubt(engine->spec->ledger, engine->spec->pass, error);
	g_mutex_lock(&engine->mutex);
	engine->doubting--;
	g_cond_broadcast(&engine->changed);
	g_mutex_unlock(&engine->mutex);
	return good;
}

/*
 * The read-back of @index failed: with INTEGRITY and tries left it goes back to the
 * workers, and nothing that was proven before stays so.  Takes @cause.
 */
static gboolean send_again(struct prover *prover, guint64 index, guint64 data_bytes, GError *cause,
			   GError **error)
{
	struct engine *engine = prover->engine;
	guint8 *unit = &engine->map[index];
	guint mismatches;

	g_mutex_lock(&engine->mutex);
	engine->totals.mismatches++;
	mismatches = (*unit & MAP_MISMATCH_MASK) / MAP_MISMATCH;
	if (mismatches < ENGINE_TRIES) {
		*unit = (guint8)(*unit + MAP_MISMATCH);
		map_send_again(engine, index, data_bytes);
		map_doubt(engine);
		g_cond_broadcast(&engine->changed);
	}
	g_mutex_unlock(&engine->mutex);
	/* Opened again it is compared with what it was: its size may have changed. */
	endpoint_drop(&prover->destination);
	if (mismatches < ENGINE_TRIES) {
		g_error_free(cause);
		return doubt_commit(engine, error);
	}
	g_propagate_prefixed_error(error, cause,
				   "chunk %" G_GUINT64_FORMAT ", sent %d times: ", index,
				   ENGINE_TRIES + 1);
	return FALSE;
}

/* ---- data --------------------------------------------------------------------------------- */

static gboolean prove_data(struct prover *prover, guint64 index, GError **error)
{
	struct engine *engine = prover->engine;
	struct ledger_unit row;
	GError *cause = NULL;

	if (!ledger_unit_get(engine->spec->ledger, engine->spec->pass, index, &row, error))
		return FALSE;
	if (readback_prove(prover->destination.handle, prover->buffer,
			   engine_unit_bytes(engine, index), stretch_offset(prover, index),
			   &row.digest, &cause)) {
		row.state = UNIT_PROVEN;
		return rows_add_proven(prover, &row, error);
	}
	if (error_is(cause, BLOCKMIG_ERROR_INTEGRITY))
		return send_again(prover, index, row.data_bytes, cause, error);
	g_propagate_error(error, cause);
	return FALSE;
}

/* ---- zeros ---------------------------------------------------------------------------------- */

/* So many zeros are read rather than believed for the sake of a few blocks too many. */
#define ZEROS_READ_BYTES (256 * MiB)

/*
 * What a file system may count for its own bookkeeping: ext4 takes a block of 4 KiB for
 * each 340 extents beyond the first four, and a request of 512 KiB may be an extent.
 * Allowed for only where reading would take its time: stray data of that size passes.
 */
static guint64 bookkeeping_bytes(const struct engine *engine)
{
	const guint64 block_bytes = 4 * KiB;
	const guint64 data_bytes = engine->totals.bytes_data;

	if (engine->totals.bytes_total - data_bytes <= ZEROS_READ_BYTES)
		return 0;
	return 4 * block_bytes + data_bytes / (64 * MiB) * block_bytes;
}

/*
 * A destination that was fresh and has not a block more than the data needs holds
 * nothing where zeros were left out.  One that has less compresses, or does not tell:
 * its figure proves nothing.
 */
static gboolean is_proven_by_allocation(struct prover *prover, gboolean *proven, GError **error)
{
	struct engine *engine = prover->engine;
	struct image_info info;

	*proven = FALSE;
	if (!engine->spec->fresh || engine->spec->unattended)
		return TRUE;
	if (!handle_describe(prover->destination.handle, &info, error))
		return FALSE;
	g_mutex_lock(&engine->mutex);
	*proven = engine->doubts == 0 && info.allocated_bytes >= engine->totals.bytes_data &&
		  info.allocated_bytes <= engine->allocated_bytes + bookkeeping_bytes(engine);
	g_mutex_unlock(&engine->mutex);
	return TRUE;
}

/* The data extents of the stretch; one for it all where they cannot be trusted. */
static struct extents *doubtful_extents(struct prover *prover, const struct stretch *stretch,
					GError **error)
{
	const guint64 start_bytes = stretch_offset(prover, stretch->first);
	const guint64 length_bytes = stretch_offset(prover, stretch->end - 1) +
				     engine_unit_bytes(prover->engine, stretch->end - 1) -
				     start_bytes;
	struct extents *extents;
	gboolean proven;

	if (prover->destination.known.extents_trusted)
		return handle_extents(prover->destination.handle, length_bytes, start_bytes, error);
	if (!is_proven_by_allocation(prover, &proven, error))
		return NULL;
	extents = extents_new();
	extents_append(extents, start_bytes, length_bytes, proven ? EXTENT_ZERO : EXTENT_DATA);
	return extents;
}

static gboolean read_zeros(struct prover *prover, guint64 offset_bytes, gsize count, GError **error)
{
	struct handle *handle = prover->destination.handle;

	if (!handle_read(handle, prover->buffer, count, offset_bytes, error))
		return FALSE;
	if (buffer_is_zero(prover->buffer, count))
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_INTEGRITY,
		    "%s: %" G_GSIZE_FORMAT " bytes at offset %" G_GUINT64_FORMAT
		    " are not the zeros that they should be",
		    handle->name, count, offset_bytes);
	return FALSE;
}

/* Reads what @extents have of the unit beside zeros. */
static gboolean prove_zero_unit(struct prover *prover, guint64 index, const struct extents *extents,
				guint *at, GError **error)
{
	const guint64 start_bytes = stretch_offset(prover, index);
	const guint64 end_bytes = start_bytes + engine_unit_bytes(prover->engine, index);

	for (guint i = *at; i < extents_count(extents); i++) {
		const struct extent *extent = extents_get(extents, i);
		const guint64 from = MAX(start_bytes, extent->offset_bytes);
		const guint64 to = MIN(end_bytes, extent->offset_bytes + extent->length_bytes);

		if (extent->offset_bytes >= end_bytes)
			break;
		*at = i;
		if (extent->kind != EXTENT_ZERO && from < to &&
		    !read_zeros(prover, from, to - from, error))
			return FALSE;
	}
	return TRUE;
}

/* Once: what was proven before was so on the word of a report that turned out wrong. */
static gboolean doubt_holes(struct prover *prover, GError **error)
{
	struct engine *engine = prover->engine;
	gboolean known;

	g_mutex_lock(&engine->mutex);
	known = engine->holes_refuted;
	engine->holes_refuted = TRUE;
	if (!known)
		map_doubt(engine);
	g_mutex_unlock(&engine->mutex);
	return known || doubt_commit(engine, error);
}

/* Takes units off the stretch's front as they are settled. */
static gboolean prove_zeros(struct prover *prover, struct stretch *stretch, GError **error)
{
	AUTO(extents) extents = doubtful_extents(prover, stretch, error);
	const guint64 first = stretch->first;
	GError *cause = NULL;
	guint at = 0;

	if (!extents || (prover->destination.handle->holes_refuted && !doubt_holes(prover, error)))
		return FALSE;
	while (stretch->first < stretch->end && engine_ending(prover->engine) == GO_ON &&
	       prove_zero_unit(prover, stretch->first, extents, &at, &cause))
		stretch->first++;
	if (!zeros_add_proven(prover, first, stretch->first, error)) {
		g_clear_error(&cause);
		return FALSE;
	}
	if (error_is(cause, BLOCKMIG_ERROR_INTEGRITY))
		return send_again(prover, stretch->first++, 0, cause, error);
	if (cause)
		g_propagate_error(error, cause);
	return cause == NULL;
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* Neighbours in the image too, as far as one look at the extents goes. */
static void stretch_extend(struct prover *prover, struct stretch *stretch)
{
	const struct engine *engine = prover->engine;
	const guint64 most_bytes = prover->destination.known.extents_trusted || engine->spec->fresh
					   ? TRANSPORT_EXTENTS_BYTES
					   : COPY_WINDOW_BYTES;
	const guint64 start_bytes = engine_unit_offset(engine, stretch->first);
	guint64 end_bytes = start_bytes + engine_unit_bytes(engine, stretch->first);

	while (stretch->end < engine->units && map_state(engine, stretch->end) == MAP_DONE &&
	       !(engine->map[stretch->end] & MAP_DATA) &&
	       engine_unit_offset(engine, stretch->end) == end_bytes &&
	       end_bytes - start_bytes < most_bytes)
		end_bytes += engine_unit_bytes(engine, stretch->end++);
}

/* Zeros come last: what they are proven by is known only then. */
static gboolean find_stretch(struct engine *engine, struct stretch *stretch)
{
	stretch->is_zero = FALSE;
	if (map_next_to_prove(engine, FALSE, &stretch->first))
		return TRUE;
	stretch->is_zero = TRUE;
	return map_all_sent(engine) && map_next_to_prove(engine, TRUE, &stretch->first);
}

/* With the mutex held. */
static gboolean take_stretch(struct prover *prover, struct stretch *stretch)
{
	struct engine *engine = prover->engine;

	if (engine->doubting)
		return FALSE;
	if (!find_stretch(engine, stretch)) {
		if (!map_all_sent(engine) || !engine->count[MAP_DOUBTED])
			return FALSE;
		map_settle_doubts(engine);
		if (!find_stretch(engine, stretch))
			return FALSE;
	}
	if (prover->rows->len == 0)
		prover->doubts = engine->doubts;
	stretch->end = stretch->first + 1;
	if (stretch->is_zero)
		stretch_extend(prover, stretch);
	for (guint64 index = stretch->first; index < stretch->end; index++)
		map_set(engine, index, MAP_PROVING);
	return TRUE;
}

/* Waits for something to prove.  FALSE where there is nothing at hand, or the end. */
static gboolean next_stretch(struct prover *prover, struct stretch *stretch, gboolean *end)
{
	struct engine *engine = prover->engine;
	gboolean taken = FALSE;

	g_mutex_lock(&engine->mutex);
	while (!(*end = map_finished(engine) || engine_ending(engine) != GO_ON) &&
	       !(taken = take_stretch(prover, stretch)) && prover->rows->len == 0)
		g_cond_wait(&engine->changed, &engine->mutex);
	g_mutex_unlock(&engine->mutex);
	return taken;
}

static gboolean prove_stretch(struct prover *prover, struct stretch *stretch, GError **error)
{
	struct engine *engine = prover->engine;
	GError *cause = NULL;

	while (stretch->first < stretch->end && engine_ending(engine) == GO_ON) {
		if (endpoint_open(&prover->destination, &cause) &&
		    (stretch->is_zero ? prove_zeros(prover, stretch, &cause)
				      : prove_data(prover, stretch->first, &cause))) {
			backoff_success(&prover->backoff);
			if (!stretch->is_zero)
				stretch->first++;
			continue;
		}
		endpoint_drop(&prover->destination);
		if (!engine_may_retry(engine, &prover->backoff, &cause)) {
			g_propagate_error(error, cause);
			return FALSE;
		}
	}
	return TRUE;
}

static gboolean prover_turn(struct prover *prover, GError **error)
{
	struct stretch stretch;
	gboolean end;

	if (next_stretch(prover, &stretch, &end))
		return prove_stretch(prover, &stretch, error);
	return rows_commit(prover, error) && !end;
}

gpointer prover_run(gpointer data)
{
	struct engine *engine = data;
	struct prover prover = {.engine = engine, .destination = engine->destination};
	GError *error = NULL;

	prover.buffer = transport_buffer_new(engine->spec->unit_bytes);
	prover.rows = g_array_new(FALSE, FALSE, sizeof(struct ledger_unit));
	backoff_init(&prover.backoff, engine->spec->retry_for_ms);

	while (prover_turn(&prover, &error))
		;
	if (error)
		engine_fail(engine, error);
	endpoint_drop(&prover.destination);
	g_array_unref(prover.rows);
	transport_buffer_free(prover.buffer);

	engine_thread_ended(engine);
	return NULL;
}
