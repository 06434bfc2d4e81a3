#include "blockmig/copy/engine_private.h"
#include "blockmig/copy/holes.h"

#include "common/error.h"
#include "common/stop.h"
#include "common/units.h"

/* ---- what the ledger has --------------------------------------------------------- */

static void load_unit(struct engine *engine, guint64 index, const struct ledger_unit *row)
{
	if (row->state == UNIT_SENT) {
		engine->map[index] |= MAP_TOUCHED;
		return;
	}
	if (engine->spec->rehash) {
		engine->map[index] |= MAP_TOUCHED | (row->is_zero ? 0 : MAP_DATA);
		map_set(engine, index, MAP_CHECK);
		return;
	}
	map_done(engine, index, row->is_zero, row->data_bytes);
	engine->totals.bytes_skipped += engine_unit_bytes(engine, index);
	if (row->state == UNIT_PROVEN)
		map_proven(engine, index);
}

static gboolean load_row(const struct ledger_unit *row, void *data)
{
	struct engine *engine = data;
	const guint64 end = MIN(row->index + row->count, engine->units);

	for (guint64 index = row->index; index < end; index++)
		load_unit(engine, index, row);
	return TRUE;
}

/* ---- what the source's extents say -------------------------------------------------- */

static gboolean is_open_question(const struct engine *engine, guint64 index)
{
	const enum map_state state = map_state(engine, index);

	return state == MAP_SEND || state == MAP_CHECK;
}

/* The end of the units from @first on that one request for extents can cover. */
static guint64 group_end(const struct engine *engine, guint64 first, guint64 *span_bytes)
{
	const guint64 start_bytes = engine_unit_offset(engine, first);
	guint64 end_bytes = start_bytes, index = first;

	for (; index < engine->units && is_open_question(engine, index); index++) {
		const guint64 offset_bytes = engine_unit_offset(engine, index);
		const guint64 next_bytes = offset_bytes + engine_unit_bytes(engine, index);

		if (offset_bytes < end_bytes ||
		    (index > first && next_bytes - start_bytes > TRANSPORT_EXTENTS_BYTES))
			break;
		end_bytes = next_bytes;
	}
	*span_bytes = end_bytes - start_bytes;
	return index;
}

static void mark_group(struct engine *engine, guint64 first, guint64 end,
		       const struct extents *extents)
{
	guint at = 0;

	for (guint64 index = first; index < end; index++) {
		const guint64 start_bytes =
			engine->spec->source->offset_bytes + engine_unit_offset(engine, index);
		const guint64 end_bytes = start_bytes + engine_unit_bytes(engine, index);
		const struct extent *extent = extents_get(extents, at);

		while (extent->offset_bytes + extent->length_bytes <= start_bytes)
			extent = extents_get(extents, ++at);
		if (extent->kind == EXTENT_ZERO &&
		    extent->offset_bytes + extent->length_bytes >= end_bytes)
			engine->map[index] |= MAP_HOLE;
	}
}

static struct extents *ask_extents(struct engine *engine, guint64 offset_bytes, guint64 span_bytes,
				   GError **error)
{
	struct endpoint *source = &engine->source;
	struct extents *extents = NULL;
	struct backoff backoff;
	GError *cause = NULL;

	backoff_init(&backoff, engine->spec->retry_for_ms);
	for (;;) {
		if (endpoint_open(source, &cause))
			extents = handle_extents(source->handle, span_bytes,
						 source->end->offset_bytes + offset_bytes, &cause);
		if (extents)
			return extents;
		endpoint_drop(source);
		if (!endpoint_may_retry(&backoff, &cause)) {
			g_propagate_error(error, cause);
			return NULL;
		}
	}
}

static gboolean mark_holes(struct engine *engine, GError **error)
{
	guint64 end;

	for (guint64 index = 0; index < engine->units; index = end) {
		guint64 span_bytes;

		end = group_end(engine, index, &span_bytes);
		if (end == index) {
			end++; /* nothing to ask about this one */
			continue;
		}
		AUTO(extents)
		extents = ask_extents(engine, engine_unit_offset(engine, index), span_bytes, error);

		if (!extents)
			return FALSE;
		mark_group(engine, index, end, extents);
		if (!stop_check(error))
			return FALSE;
	}
	return TRUE;
}

/*
 * The image is looked at again when the file has answered: what was changed meanwhile, or
 * is another file, has no holes.
 */
static void mark_holes_of_file(struct engine *engine)
{
	const struct copy_spec *spec = engine->spec;
	const struct copy_end *end = spec->source;
	const struct hole_question question = {.path = end->path,
					       .offset_bytes = end->offset_bytes,
					       .piece_bytes = spec->unit_bytes,
					       .length_bytes = spec->content_bytes};
	AUTO(hole_map) map = hole_map_ask(&question, transport_stall_ms(end->config));
	struct image_info now;

	if (!map || !handle_describe(engine->source.handle, &now, NULL) ||
	    !hole_map_is_of(map, &now))
		return;
	for (guint64 index = 0; index < engine->units; index++)
		if (is_open_question(engine, index) && hole_map_has(map, index))
			engine->map[index] |= MAP_HOLE;
}

/* What an earlier run took for zeros may have been so on the word of the same report. */
static void forget_holes(struct engine *engine)
{
	for (guint64 index = 0; index < engine->units; index++) {
		const enum map_state state = map_state(engine, index);

		engine->map[index] &= (guint8)~MAP_HOLE;
		if ((state == MAP_DONE || state == MAP_PROVEN) && !(engine->map[index] & MAP_DATA))
			map_check_again(engine, index);
	}
}

/* ---- what can be left out -------------------------------------------------------------- */

static gboolean rows_put(struct engine *engine, GArray *rows, GError **error)
{
	const gboolean ok =
		ledger_units_put(engine->spec->ledger, engine->spec->pass,
				 (const struct ledger_unit *)rows->data, rows->len, error);

	g_array_set_size(rows, 0);
	return ok;
}

/* Nothing is written, so nothing has to be flushed before the ledger has it. */
static gboolean leave_out(struct engine *engine, GError **error)
{
	g_autoptr(GArray) rows = g_array_new(FALSE, TRUE, sizeof(struct ledger_unit));

	for (guint64 index = 0; index < engine->units; index++) {
		const struct ledger_unit row = {
			.index = index, .count = 1, .state = UNIT_DONE, .is_zero = TRUE};

		if (map_state(engine, index) != MAP_SEND || !(engine->map[index] & MAP_HOLE) ||
		    (engine->map[index] & MAP_TOUCHED))
			continue;
		if (rows->len >= ENGINE_ROWS && !rows_put(engine, rows, error))
			return FALSE;
		rows_add(rows, &row);
		map_done(engine, index, TRUE, 0);
	}
	return rows_put(engine, rows, error);
}

/* Zeros that are a hole still have nothing to be read and compared with their rows. */
static void settle_checked_holes(struct engine *engine)
{
	for (guint64 index = 0; index < engine->units && engine->count[MAP_CHECK]; index++) {
		if (map_state(engine, index) != MAP_CHECK ||
		    (engine->map[index] & (MAP_HOLE | MAP_DATA)) != MAP_HOLE)
			continue;
		map_done(engine, index, TRUE, 0);
		engine->totals.bytes_skipped += engine_unit_bytes(engine, index);
	}
}

gboolean plan_make(struct engine *engine, GError **error)
{
	if (!ledger_units_each(engine->spec->ledger, engine->spec->pass, load_row, engine, error))
		return FALSE;
	if (engine->source.known.extents_trusted && !mark_holes(engine, error))
		return FALSE;
	if (!engine->source.known.extents_trusted && engine->spec->source->path &&
	    !engine->spec->ranges)
		mark_holes_of_file(engine);
	if (engine->source.handle && engine->source.handle->holes_refuted)
		forget_holes(engine);
	settle_checked_holes(engine);
	return !engine->spec->fresh || leave_out(engine, error);
}
