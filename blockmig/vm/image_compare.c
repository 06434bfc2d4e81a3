/*
 * The compare at the cutover.  The guest is suspended meanwhile, so only what the
 * overlays themselves hold is read: what lies below was proven before.
 *
 * Where neither holds anything they are equal; where one holds something and the other
 * does not they differ, zeros or not: where nothing is held the layer below shows.
 */
#include "blockmig/vm/image_tool.h"

#include "common/error.h"
#include "common/units.h"
#include "transports/transport.h"
#include "verify/digest.h"

#include <string.h>

#define PIECE_BYTES (2 * MiB)

/* One of the two overlays. */
struct side {
	const char *path;
	struct image_server *server;
	struct handle *handle;
	struct extents *extents;
	guint at; /* the extent that the walk is in */
	guint8 *buffer;
};

static void side_clear(struct side *side)
{
	if (side->extents)
		extents_free(side->extents);
	if (side->handle)
		handle_close(side->handle);
	if (side->server)
		image_server_stop(side->server);
	transport_buffer_free(side->buffer);
}

static gboolean side_serve(struct side *side, GError **error)
{
	g_autoptr(GPtrArray) layers = g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);
	AUTO(source) source = source_new(SOURCE_FILE, side->path);

	g_ptr_array_add(layers, layer_new(source, "qcow2"));
	side->server = image_server_start(layers, TRUE, error);
	return side->server != NULL;
}

static gboolean side_open(struct side *side, GError **error)
{
	side->buffer = transport_buffer_new(PIECE_BYTES);
	side->handle = side_serve(side, error) ? handle_open(image_server_top_url(side->server),
							     NULL, HANDLE_READ, error)
					       : NULL;
	if (side->handle)
		side->extents = handle_extents(side->handle, side->handle->size_bytes, 0, error);
	if (!side->extents)
		g_prefix_error(error, "%s: ", side->path);
	return side->extents != NULL;
}

static gboolean differ(const struct side *a, const struct side *b, guint64 offset, const char *how,
		       GError **error)
{
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_INTEGRITY,
		    "%s and %s differ at offset %" G_GUINT64_FORMAT ": %s", a->path, b->path,
		    offset, how);
	return FALSE;
}

static gsize first_difference(const guint8 *a, const guint8 *b, gsize count)
{
	gsize at = 0;

	while (at < count && a[at] == b[at])
		at++;
	return at;
}

static gboolean compare_bytes(struct side *a, struct side *b, guint64 start, guint64 end,
			      GError **error)
{
	while (start < end) {
		gsize count = (gsize)MIN(end - start, PIECE_BYTES);

		if (!handle_read(a->handle, a->buffer, count, start, error) ||
		    !handle_read(b->handle, b->buffer, count, start, error))
			return FALSE;
		if (memcmp(a->buffer, b->buffer, count) != 0)
			return differ(a, b, start + first_difference(a->buffer, b->buffer, count),
				      "their bytes are not the same", error);
		start += count;
	}
	return TRUE;
}

/* The extent of this side that @offset lies in. */
static const struct extent *extent_at(struct side *side, guint64 offset)
{
	const struct extent *extent = extents_get(side->extents, side->at);

	while (offset >= extent->offset_bytes + extent->length_bytes)
		extent = extents_get(side->extents, ++side->at);
	return extent;
}

static gboolean compare_all(struct side *a, struct side *b, GError **error)
{
	guint64 offset = 0;

	while (offset < a->handle->size_bytes) {
		const struct extent *x = extent_at(a, offset), *y = extent_at(b, offset);
		guint64 end =
			MIN(x->offset_bytes + x->length_bytes, y->offset_bytes + y->length_bytes);

		if ((x->kind == EXTENT_UNKNOWN) != (y->kind == EXTENT_UNKNOWN))
			return differ(a, b, offset, "only one of them holds data there", error);
		if ((x->kind == EXTENT_DATA || y->kind == EXTENT_DATA) &&
		    !compare_bytes(a, b, offset, end, error))
			return FALSE;
		offset = end;
	}
	return TRUE;
}

/* Opens both, of one size. */
static gboolean both_open(struct side *a, struct side *b, GError **error)
{
	if (!side_open(a, error) || !side_open(b, error))
		return FALSE;
	return a->handle->size_bytes == b->handle->size_bytes ||
	       differ(a, b, MIN(a->handle->size_bytes, b->handle->size_bytes),
		      "one of them ends there", error);
}

gboolean image_tool_compare_overlays(const char *a, const char *b, GError **error)
{
	struct side first = {.path = a}, second = {.path = b};
	gboolean equal = both_open(&first, &second, error) && compare_all(&first, &second, error);

	side_clear(&first);
	side_clear(&second);
	return equal;
}

static gboolean hides_all(struct side *upper, struct side *lower, GError **error)
{
	for (guint i = 0; i < extents_count(lower->extents); i++) {
		const struct extent *held = extents_get(lower->extents, i);
		guint64 end = held->offset_bytes + held->length_bytes;

		if (held->kind == EXTENT_UNKNOWN)
			continue;
		for (guint64 at = held->offset_bytes; at < end;) {
			const struct extent *over = extent_at(upper, at);

			if (over->kind == EXTENT_UNKNOWN)
				return differ(upper, lower, at, "the second one would show through",
					      error);
			at = over->offset_bytes + over->length_bytes;
		}
	}
	return TRUE;
}

gboolean image_tool_overlay_hides(const char *upper, const char *lower, GError **error)
{
	struct side over = {.path = upper}, under = {.path = lower};
	gboolean hides = both_open(&over, &under, error) && hides_all(&over, &under, error);

	side_clear(&over);
	side_clear(&under);
	return hides;
}

/* ---- the digest ---------------------------------------------------------------------- */

static gboolean add_bytes(struct manifest_root *root, struct side *side,
			  const struct extent *extent, GError **error)
{
	const guint64 end = extent->offset_bytes + extent->length_bytes;
	struct digest digest;

	for (guint64 at = extent->offset_bytes; at < end; at += PIECE_BYTES) {
		gsize count = (gsize)MIN(end - at, PIECE_BYTES);

		if (!handle_read(side->handle, side->buffer, count, at, error))
			return FALSE;
		digest_compute(side->buffer, count, &digest);
		manifest_root_add(root, &digest, 1);
	}
	return TRUE;
}

static gboolean add_extents(struct manifest_root *root, struct side *side, GError **error)
{
	struct digest digest;

	for (guint i = 0; i < extents_count(side->extents); i++) {
		const struct extent *extent = extents_get(side->extents, i);
		const guint64 what[] = {extent->kind, extent->offset_bytes, extent->length_bytes};

		digest_compute(what, sizeof what, &digest);
		manifest_root_add(root, &digest, 1);
		if (extent->kind == EXTENT_DATA && !add_bytes(root, side, extent, error))
			return FALSE;
	}
	return TRUE;
}

char *image_tool_overlay_digest(const char *path, GError **error)
{
	struct side side = {.path = path};
	struct digest digest;
	AUTO(manifest_root) root = manifest_root_new();
	gboolean good = side_open(&side, error) && add_extents(root, &side, error);

	side_clear(&side);
	manifest_root_finish(root, &digest);
	return good ? digest_hex(&digest) : NULL;
}
