#include "blockmig/copy/sender.h"

#include "common/units.h"

#include <string.h>

/* Runs of zeros of this size, at its multiples in the image, are left out. */
enum { ZERO_BLOCK_BYTES = 64 << 10 };

gboolean sender_open(struct sender *sender, GError **error)
{
	return endpoint_open(&sender->source, error) && endpoint_open(&sender->destination, error);
}

void sender_drop(struct sender *sender)
{
	endpoint_drop(&sender->source);
	endpoint_drop(&sender->destination);
	sender->unflushed = FALSE;
}

/*
 * Waits until *slice of a run may go out: all of it, or what the rate allows in a moment, in
 * whole blocks.  Once the copy is to end, the unit in hand goes out at full speed.
 */
static gboolean slice_wait(const struct sender *sender, gsize count, gsize *slice, GError **error)
{
	struct throttle *throttle = sender->engine->spec->throttle;
	const gboolean is_free = !throttle || engine_ending(sender->engine) == END_AT_CHECKPOINT;
	const guint64 most = is_free ? G_MAXUINT64 : throttle_slice(throttle);

	*slice = MIN(count, MAX(most - most % TRANSPORT_ALIGN, (guint64)TRANSPORT_ALIGN));
	return most == G_MAXUINT64 || throttle_take(throttle, *slice, error);
}

/* Marks the unit as touched, before its first byte is; whether it was so already. */
static gboolean touch(struct sender *sender, guint64 index)
{
	struct engine *engine = sender->engine;
	gboolean was;

	g_mutex_lock(&engine->mutex);
	was = (engine->map[index] & MAP_TOUCHED) != 0;
	engine->map[index] |= MAP_TOUCHED;
	g_mutex_unlock(&engine->mutex);
	sender->unflushed = TRUE;
	return was;
}

static void count_sent(struct sender *sender, guint64 bytes, gboolean again)
{
	struct engine *engine = sender->engine;

	g_mutex_lock(&engine->mutex);
	engine->totals.bytes_sent += bytes;
	if (again)
		engine->totals.bytes_resent += bytes;
	g_mutex_unlock(&engine->mutex);
}

/* The length of the run at @at that is all zeros, or all data; *is_zero tells which. */
static gsize run_length(const guint8 *buffer, gsize count, gsize at, guint64 position_bytes,
			gboolean *is_zero)
{
	gsize end = at, next;

	for (; end < count; end = next) {
		const guint64 border =
			units_round_up(position_bytes + end + 1, ZERO_BLOCK_BYTES) - position_bytes;
		gboolean zero;

		next = MIN(count, border);
		zero = next - end == ZERO_BLOCK_BYTES && buffer_is_zero(buffer + end, next - end);
		if (end == at)
			*is_zero = zero;
		else if (zero != *is_zero)
			break;
	}
	return end - at;
}

/* How the zeros inside a unit reach the destination. */
enum zeros { ZEROS_LEFT_OUT, ZEROS_ZEROED, ZEROS_WRITTEN };

/*
 * A slow one in slices: a target drops an initiator that it has not heard of for as long as
 * the whole run would have to wait.
 */
static gboolean send_run(struct sender *sender, const guint8 *data, gsize count,
			 guint64 position_bytes, gboolean again, GError **error)
{
	for (gsize at = 0, slice; at < count; at += slice) {
		if (!slice_wait(sender, count - at, &slice, error) ||
		    !handle_write(sender->destination.handle, data + at, slice, position_bytes + at,
				  error))
			return FALSE;
		count_sent(sender, slice, again);
	}
	return TRUE;
}

/* Zeros that have to be written, from @zeros, are sent as data is. */
static gboolean send_zero_run(struct sender *sender, guint8 *zeros, gsize count,
			      guint64 position_bytes, gboolean again, GError **error)
{
	gboolean zeroed;

	if (!handle_try_zero(sender->destination.handle, count, position_bytes, &zeroed, error))
		return FALSE;
	if (zeroed)
		return TRUE;
	memset(zeros, 0, count); /* a hole was not read */
	return send_run(sender, zeros, count, position_bytes, again, error);
}

static gboolean send_data(struct sender *sender, struct claim *claim, guint64 position_bytes,
			  GError **error)
{
	struct engine *engine = sender->engine;
	const gsize count = engine_unit_bytes(engine, claim->index);
	const gboolean again = touch(sender, claim->index);
	const enum zeros zeros = engine->spec->fresh && !again		      ? ZEROS_LEFT_OUT
				 : sender->destination.known.zero_deallocates ? ZEROS_ZEROED
									      : ZEROS_WRITTEN;
	guint8 *buffer = sender->buffer;
	gboolean is_zero = FALSE;

	claim->data_bytes = 0;
	for (gsize at = 0, length; at < count; at += length) {
		length = run_length(buffer, count, at, position_bytes, &is_zero);
		if (!is_zero)
			claim->data_bytes += length;
		if (is_zero && zeros == ZEROS_ZEROED &&
		    !send_zero_run(sender, buffer + at, length, position_bytes + at, again, error))
			return FALSE;
		if (!is_zero && zeros != ZEROS_WRITTEN &&
		    !send_run(sender, buffer + at, length, position_bytes + at, again, error))
			return FALSE;
	}
	return zeros != ZEROS_WRITTEN ||
	       send_run(sender, buffer, count, position_bytes, again, error);
}

static gboolean send_zeros(struct sender *sender, struct claim *claim, guint64 position_bytes,
			   GError **error)
{
	struct engine *engine = sender->engine;

	claim->data_bytes = 0;
	if (engine->spec->fresh && !(engine->map[claim->index] & MAP_TOUCHED))
		return TRUE;
	const gboolean again = touch(sender, claim->index);

	return send_zero_run(sender, sender->buffer, engine_unit_bytes(engine, claim->index),
			     position_bytes, again, error);
}

gboolean sender_read(struct sender *sender, struct claim *claim, GError **error)
{
	struct engine *engine = sender->engine;
	const gsize count = engine_unit_bytes(engine, claim->index);

	claim->is_zero = TRUE;
	if (engine->map[claim->index] & MAP_HOLE)
		return TRUE;
	if (!handle_read(sender->source.handle, sender->buffer, count,
			 engine->spec->source->offset_bytes +
				 engine_unit_offset(engine, claim->index),
			 error))
		return FALSE;
	claim->is_zero = buffer_is_zero(sender->buffer, count);
	if (!claim->is_zero)
		digest_compute(sender->buffer, count, &claim->digest);
	return TRUE;
}

gboolean sender_send(struct sender *sender, struct claim *claim, GError **error)
{
	const guint64 position_bytes = sender->engine->spec->destination->offset_bytes +
				       engine_unit_offset(sender->engine, claim->index);

	if (!sender_read(sender, claim, error))
		return FALSE;
	if (claim->is_zero)
		return send_zeros(sender, claim, position_bytes, error);
	return send_data(sender, claim, position_bytes, error);
}
