#include "blockmig/copy/holes.h"

#include "common/units.h"

#include <string.h>

/* Both threads' own; the asking one may outlive the other's interest in it. */
struct inquiry {
	char *path;
	guint64 offset_bytes, piece_bytes, length_bytes;
	GMutex mutex;
	GCond changed;
	guint64 asked_bytes; /* grows as answers come */
	gboolean ended, abandoned;
	struct hole_map *map; /* once ended; NULL: none */
};

void hole_map_free(struct hole_map *map)
{
	g_free(map->bits);
	g_free(map);
}

gboolean hole_map_has(const struct hole_map *map, guint64 piece)
{
	return piece < map->pieces && (map->bits[piece / 8] >> piece % 8 & 1);
}

/* "nfs:FSID:FILEID" and "file:HANDLE:INODE": the last number is the server's. */
static const char *inode_of(const struct image_info *info)
{
	return strrchr(info->identity, ':');
}

gboolean hole_map_is_of(const struct hole_map *map, const struct image_info *image)
{
	const char *ours = inode_of(&map->info), *theirs = inode_of(image);

	return ours && theirs && g_str_equal(ours, theirs) &&
	       map->info.size_bytes == image->size_bytes && image->changed_ns != 0 &&
	       map->info.changed_ns == image->changed_ns;
}

/* ---- the thread that asks -------------------------------------------------------------- */

static void inquiry_clear(gpointer data)
{
	struct inquiry *inquiry = data;

	g_clear_pointer(&inquiry->map, hole_map_free);
	g_cond_clear(&inquiry->changed);
	g_mutex_clear(&inquiry->mutex);
	g_free(inquiry->path);
}

/* FALSE where nobody waits for more. */
static gboolean tell_progress(struct inquiry *inquiry, guint64 bytes)
{
	gboolean go_on;

	g_mutex_lock(&inquiry->mutex);
	inquiry->asked_bytes += bytes;
	go_on = !inquiry->abandoned;
	g_cond_signal(&inquiry->changed);
	g_mutex_unlock(&inquiry->mutex);
	return go_on;
}

static void mark_pieces(const struct inquiry *inquiry, struct hole_map *map,
			const struct extent *extent)
{
	const guint64 piece_bytes = inquiry->piece_bytes;
	const guint64 start_bytes = extent->offset_bytes - inquiry->offset_bytes;
	const guint64 end_bytes = start_bytes + extent->length_bytes;
	const guint64 end =
		end_bytes == inquiry->length_bytes ? map->pieces : end_bytes / piece_bytes;

	if (extent->kind != EXTENT_ZERO)
		return;
	for (guint64 i = units_round_up(start_bytes, piece_bytes) / piece_bytes; i < end; i++)
		map->bits[i / 8] |= (guint8)(1 << i % 8);
}

static gboolean ask_all(struct inquiry *inquiry, struct handle *handle, struct hole_map *map)
{
	const guint64 step_bytes = units_round_up(TRANSPORT_EXTENTS_BYTES, inquiry->piece_bytes);

	for (guint64 at = 0; at < inquiry->length_bytes; at += step_bytes) {
		const guint64 span_bytes = MIN(step_bytes, inquiry->length_bytes - at);
		AUTO(extents)
		extents = handle_extents(handle, span_bytes, inquiry->offset_bytes + at, NULL);

		if (!extents)
			return FALSE;
		for (guint i = 0; i < extents_count(extents); i++)
			mark_pieces(inquiry, map, extents_get(extents, i));
		if (!tell_progress(inquiry, span_bytes))
			return FALSE;
	}
	return TRUE;
}

static struct hole_map *ask_file(struct inquiry *inquiry)
{
	AUTO(url) url = url_parse(inquiry->path, NULL);
	AUTO(handle) handle = url ? handle_open(url, NULL, HANDLE_READ, NULL) : NULL;
	AUTO(hole_map) map = g_new0(struct hole_map, 1);
	struct image_info after;

	map->pieces =
		units_round_up(inquiry->length_bytes, inquiry->piece_bytes) / inquiry->piece_bytes;
	map->bits = g_try_malloc0(map->pieces / 8 + 1);
	if (!map->bits || !handle || !tell_progress(inquiry, 1) ||
	    !handle_describe(handle, &map->info, NULL) || !map->info.extents_trusted ||
	    !ask_all(inquiry, handle, map) || !handle_describe(handle, &after, NULL) ||
	    !hole_map_is_of(map, &after))
		return NULL;
	return g_steal_pointer(&map);
}

static gpointer inquiry_run(gpointer data)
{
	struct inquiry *inquiry = data;
	struct hole_map *map = ask_file(inquiry);

	g_mutex_lock(&inquiry->mutex);
	inquiry->map = map;
	inquiry->ended = TRUE;
	g_cond_signal(&inquiry->changed);
	g_mutex_unlock(&inquiry->mutex);
	g_atomic_rc_box_release_full(inquiry, inquiry_clear);
	return NULL;
}

/* ---- the one that waits ---------------------------------------------------------------- */

/* Until it has ended, or nothing came for the stall limit. */
static struct hole_map *await(struct inquiry *inquiry, guint stall_ms)
{
	struct hole_map *map;

	g_mutex_lock(&inquiry->mutex);
	while (!inquiry->ended && !inquiry->abandoned) {
		const gint64 until_us = g_get_monotonic_time() + (gint64)stall_ms * 1000;
		const guint64 before = inquiry->asked_bytes;

		while (!inquiry->ended && inquiry->asked_bytes == before && !inquiry->abandoned)
			inquiry->abandoned =
				!g_cond_wait_until(&inquiry->changed, &inquiry->mutex, until_us) &&
				!inquiry->ended;
	}
	map = g_steal_pointer(&inquiry->map);
	g_mutex_unlock(&inquiry->mutex);
	return map;
}

struct hole_map *hole_map_ask(const struct hole_question *question, guint stall_ms)
{
	struct inquiry *inquiry = g_atomic_rc_box_new0(struct inquiry);
	struct hole_map *map;

	inquiry->path = g_strdup(question->path);
	inquiry->offset_bytes = question->offset_bytes;
	inquiry->piece_bytes = question->piece_bytes;
	inquiry->length_bytes = question->length_bytes;
	g_mutex_init(&inquiry->mutex);
	g_cond_init(&inquiry->changed);
	g_thread_unref(g_thread_new("holes", inquiry_run, g_atomic_rc_box_acquire(inquiry)));
	map = await(inquiry, stall_ms);
	g_atomic_rc_box_release_full(inquiry, inquiry_clear);
	return map;
}
