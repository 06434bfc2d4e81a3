#include "blockmig/copy/engine_private.h"

#include "common/units.h"

enum { ALLOCATION_BYTES = 4096 };

void map_set(struct engine *engine, guint64 index, enum map_state state)
{
	guint8 *unit = &engine->map[index];

	engine->count[*unit & MAP_STATE_MASK]--;
	engine->count[state]++;
	*unit = (guint8)((*unit & ~MAP_STATE_MASK) | state);
	if (state == MAP_SEND)
		engine->send_from = MIN(engine->send_from, index);
	if (state == MAP_DONE) {
		engine->prove_from = MIN(engine->prove_from, index);
		engine->zeros_from = MIN(engine->zeros_from, index);
	}
}

gboolean map_all_sent(const struct engine *engine)
{
	return !engine->count[MAP_SEND] && !engine->count[MAP_CHECK] && !engine->count[MAP_HELD];
}

gboolean map_finished(const struct engine *engine)
{
	const guint64 good =
		engine->count[MAP_PROVEN] + (engine->spec->prove ? 0 : engine->count[MAP_DONE]);

	return good == engine->units;
}

gboolean map_next_to_send(struct engine *engine, guint64 *index)
{
	if (engine->count[MAP_SEND] == 0)
		return FALSE;
	while (map_state(engine, engine->send_from) != MAP_SEND)
		engine->send_from++;
	*index = engine->send_from;
	return TRUE;
}

gboolean map_next_to_check(struct engine *engine, guint64 *index)
{
	if (engine->count[MAP_CHECK] == 0)
		return FALSE;
	while (map_state(engine, engine->check_from) != MAP_CHECK)
		engine->check_from++;
	*index = engine->check_from;
	return TRUE;
}

gboolean map_next_to_prove(struct engine *engine, gboolean zeros, guint64 *index)
{
	guint64 *from = zeros ? &engine->zeros_from : &engine->prove_from;
	const guint8 wanted = (guint8)(zeros ? MAP_DONE : MAP_DONE | MAP_DATA);

	if (engine->count[MAP_DONE] == 0)
		return FALSE;
	while (*from < engine->units &&
	       (engine->map[*from] & (MAP_STATE_MASK | MAP_DATA)) != wanted)
		(*from)++;
	*index = *from;
	return *from < engine->units;
}

void map_done(struct engine *engine, guint64 index, gboolean is_zero, guint64 data_bytes)
{
	if (is_zero)
		engine->map[index] &= (guint8)~MAP_DATA;
	else
		engine->map[index] |= MAP_DATA;
	map_set(engine, index, MAP_DONE);
	engine->bytes_done += engine_unit_bytes(engine, index);
	engine->totals.bytes_data += data_bytes;
	engine->allocated_bytes += units_round_up(data_bytes, ALLOCATION_BYTES);
}

static void unprove(struct engine *engine, guint64 index, enum map_state state)
{
	map_set(engine, index, state);
	engine->bytes_proven -= engine_unit_bytes(engine, index);
	engine->totals.units_proven--;
}

void map_proven(struct engine *engine, guint64 index)
{
	map_set(engine, index, MAP_PROVEN);
	engine->bytes_proven += engine_unit_bytes(engine, index);
	engine->totals.units_proven++;
}

void map_send_again(struct engine *engine, guint64 index, guint64 data_bytes)
{
	engine->map[index] |= MAP_TOUCHED;
	map_set(engine, index, MAP_SEND);
	engine->bytes_done -= engine_unit_bytes(engine, index);
	engine->totals.bytes_data -= data_bytes;
	engine->allocated_bytes -= units_round_up(data_bytes, ALLOCATION_BYTES);
}

void map_check_again(struct engine *engine, guint64 index)
{
	const guint64 bytes = engine_unit_bytes(engine, index);

	if (map_state(engine, index) == MAP_PROVEN)
		unprove(engine, index, MAP_DONE);
	engine->map[index] |= MAP_TOUCHED;
	map_set(engine, index, MAP_CHECK);
	engine->bytes_done -= bytes;
	engine->totals.bytes_skipped -= bytes;
}

void map_doubt(struct engine *engine)
{
	engine->doubts++;
	engine->doubting++;
	for (guint64 index = 0; index < engine->units && engine->count[MAP_PROVEN]; index++) {
		if (map_state(engine, index) != MAP_PROVEN)
			continue;
		unprove(engine, index, MAP_DOUBTED);
	}
}

void map_settle_doubts(struct engine *engine)
{
	for (guint64 index = 0; index < engine->units && engine->count[MAP_DOUBTED]; index++)
		if (map_state(engine, index) == MAP_DOUBTED)
			map_set(engine, index, MAP_DONE);
}

static gboolean has_digest(const struct ledger_unit *unit)
{
	return unit->state >= UNIT_DONE && !unit->is_zero;
}

void rows_add(GArray *rows, const struct ledger_unit *unit)
{
	struct ledger_unit *last =
		rows->len ? &g_array_index(rows, struct ledger_unit, rows->len - 1) : NULL;

	if (last && last->state == unit->state && !has_digest(last) && !has_digest(unit) &&
	    last->index + last->count == unit->index)
		last->count += unit->count;
	else
		g_array_append_vals(rows, unit, 1);
}
