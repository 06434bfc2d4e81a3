#include "blockmig/move/converge.h"
#include "blockmig/move/layout.h"
#include "blockmig/move/overlay.h"
#include "blockmig/move/passes.h"
#include "blockmig/move/phases.h"
#include "blockmig/move/room.h"

#include "blockmig/vm/image_tool.h"
#include "common/error.h"
#include "common/units.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/*
 * What comparing two overlays takes under suspension: measured 70 MiB in 0.2 s (two
 * cores, cached); half of that speed is counted on, and 150 ms for suspend, pivot and
 * resume.
 */
static const guint64 compare_bytes_per_ms = 175 * KiB;
static const guint64 fixed_ms = 150;
static const guint64 budget_least = 4 * MiB;

/* ---- a round that is written into the destination's image --------------------------- */

static void add_pieces(GArray *ranges, const struct extent *extent, guint64 unit)
{
	guint64 at = extent->offset_bytes;
	guint64 end = at + extent->length_bytes;

	while (at < end) {
		guint64 piece = MIN(end, (at / unit + 1) * unit) - at;
		struct copy_range range = {at, piece};

		g_array_append_val(ranges, range);
		at += piece;
	}
}

/* What the overlay holds, zeros included, in pieces that lie within a chunk. */
static GArray *overlay_ranges(const struct move *move, const struct url *top, GError **error)
{
	guint64 unit = move->job->options.chunk_bytes;
	AUTO(handle) handle = handle_open(top, NULL, HANDLE_READ, error);

	if (!handle)
		return NULL;
	AUTO(extents) extents = handle_extents(handle, move->job->virtual_bytes, 0, error);

	if (!extents)
		return NULL;
	GArray *ranges = g_array_new(FALSE, FALSE, sizeof(struct copy_range));

	for (guint i = 0; i < extents_count(extents); i++)
		if (extents_get(extents, i)->kind != EXTENT_UNKNOWN)
			add_pieces(ranges, extents_get(extents, i), unit);
	return ranges;
}

/*
 * The digests of the chunks that the round is about to touch no longer hold: attest
 * computes them anew.  Marked before the first byte is written.
 */
static gboolean mark_stale(struct move *move, const GArray *ranges, GError **error)
{
	guint64 unit = move->job->options.chunk_bytes;
	gint64 base;
	g_autoptr(GArray) units = g_array_new(FALSE, TRUE, sizeof(struct ledger_unit));

	if (!pass_base(move, &base, error))
		return FALSE;
	for (guint i = 0; i < ranges->len; i++) {
		guint64 chunk = g_array_index(ranges, struct copy_range, i).offset_bytes / unit;
		struct ledger_unit stale = {.index = chunk, .count = 1, .state = UNIT_SENT};

		if (units->len == 0 ||
		    g_array_index(units, struct ledger_unit, units->len - 1).index != chunk)
			g_array_append_val(units, stale);
	}
	return ledger_units_put(move->context.ledger, base, (struct ledger_unit *)units->data,
				units->len, error);
}

static gboolean apply(struct move *move, guint index, const struct url *chain, const GArray *ranges,
		      GError **error)
{
	struct job *job = move->job;
	g_autofree char *name = g_strdup_printf("round-%u", index + 1);
	struct pass pass = {
		.name = name,
		.source = chain,
		.destination = move->destination->url,
		.destination_offset = job->data_offset,
		.content_bytes = job->virtual_bytes,
		.ranges = (struct copy_range *)ranges->data,
		.range_count = ranges->len,
		.round = index + 1,
	};

	return mark_stale(move, ranges, error) && pass_run(move, &pass, error);
}

/* ---- a round that becomes a layer at the destination ---------------------------------- */

static gboolean append(struct move *move, guint index, GError **error)
{
	struct job *job = move->job;
	struct overlay *overlay = job_overlay(job, index);
	struct source frozen = {.type = SOURCE_FILE, .path = overlay->path, .uid = -1, .gid = -1};
	AUTO(place) from = place_of_source(move->context.config, &frozen, error);

	if (!from)
		return FALSE;
	gboolean again = overlay->landed != NULL;

	if (!again)
		overlay->landed = overlay_landed_name(job, index + 1);
	if (!move_save(move, error))
		return FALSE;

	AUTO(url) folder = url_parent(move->destination->url);
	AUTO(url) landed = url_child(folder, overlay->landed);
	AUTO(handle) source = handle_open(from->url, from->transport, HANDLE_READ, error);

	if (!source || !prepare_create(move, landed, source->size_bytes, again, error))
		return FALSE;
	g_autofree char *name = g_strdup_printf("round-%u", index + 1);
	struct pass pass = {
		.name = name,
		.source = from->url,
		.source_config = from->transport,
		.destination = landed,
		.content_bytes = source->size_bytes,
		.fresh = !again,
		.round = index + 1,
	};

	return pass_run(move, &pass, error);
}

/* What overlay number @count - 1 holds; *server serves it with all that lies below. */
static GArray *serve_ranges(struct move *move, guint count, struct image_server **server,
			    GError **error)
{
	g_autoptr(GPtrArray) chain = job_source_chain(move->job, count);

	*server = image_server_start(chain, FALSE, error);
	return *server ? overlay_ranges(move, image_server_top_url(*server), error) : NULL;
}

/* *written: whether the guest wrote anything to this overlay. */
static gboolean copy_round(struct move *move, guint index, gboolean *written, GError **error)
{
	struct job *job = move->job;
	AUTO(image_server) server = NULL;
	g_autoptr(GArray) ranges = serve_ranges(move, index + 1, &server, error);

	if (!ranges)
		return FALSE;
	*written = ranges->len > 0;
	if (!*written)
		return TRUE;
	if (job->shape == SHAPE_APPEND)
		return append(move, index, error);
	return apply(move, index, image_server_url(server), ranges, error);
}

gboolean rounds_left(struct move *move, gboolean *left, GError **error)
{
	AUTO(image_server) server = NULL;
	g_autoptr(GArray) ranges = serve_ranges(move, move->job->overlays->len, &server, error);

	if (!ranges)
		return FALSE;
	*left = ranges->len > 0;
	return TRUE;
}

static gboolean copy_overlay(struct move *move, guint index, GError **error)
{
	struct job *job = move->job;
	struct source frozen = {
		.type = SOURCE_FILE, .path = job_overlay(job, index)->path, .uid = -1, .gid = -1};
	gboolean written = FALSE;
	gboolean good = freeze_sync(&frozen, error) && copy_round(move, index, &written, error);

	if (good) {
		job_overlay(job, index)->copied = TRUE;
		job->rounds += written;
		job->laid_out = job->laid_out && !written;
	}
	return move_save(move, good ? error : NULL) && good;
}

/* ---- the phase -------------------------------------------------------------------------- */

static gboolean copy_frozen(struct move *move, GError **error)
{
	AUTO(world) world = world_look(move, error);

	/* After our death before a snapshot the guest writes to the last but one. */
	if (!world || !freeze_drop_unused(move, world, error))
		return FALSE;
	for (guint i = 0; i + 1 < move->job->overlays->len; i++)
		if (!job_overlay(move->job, i)->copied && !copy_overlay(move, i, error))
			return FALSE;
	return TRUE;
}

gboolean rounds_catch_up(struct move *move, GError **error)
{
	return copy_frozen(move, error) && layout_finish(move, error);
}

guint64 rounds_budget(const struct job *job)
{
	guint64 ms = job->options.max_downtime_ms;

	return MAX(budget_least, ms > fixed_ms ? (ms - fixed_ms) * compare_bytes_per_ms : 0);
}

gboolean rounds_run(struct move *move, GError **error)
{
	const struct job *job = move->job;
	struct converge converge = {0};

	for (;;) {
		AUTO(world) world = world_look(move, error);

		if (!world || !room_watch(move, error) || !copy_frozen(move, error))
			return FALSE;
		guint64 left = overlay_allocated(job_active_overlay(job)->path);

		if (world->state.run == RUN_OFF || left <= rounds_budget(job))
			break;
		if (!converge_check(move, &converge, left, error) || !freeze_again(move, error))
			return FALSE;
	}
	return layout_finish(move, error);
}
