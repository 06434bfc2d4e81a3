#include "transports/transport.h"

#include "common/error.h"
#include "common/units.h"

#include <string.h>

enum { PIECE_BYTES = 1 << 20, STALL_DEFAULT_MS = 30000 };

static const struct transport *transport_for(const struct url *url)
{
	switch (url->scheme) {
	case URL_FILE:
		return &transport_file;
	case URL_NFS:
		return &transport_nfs;
	case URL_ISCSI:
		return &transport_iscsi;
	case URL_NBD:
		return &transport_nbd;
	}
	g_assert_not_reached();
}

static const struct transport_config *config_or_defaults(const struct transport_config *config)
{
	static const struct transport_config defaults;

	return config ? config : &defaults;
}

guint transport_stall_ms(const struct transport_config *config)
{
	return config && config->stall_ms ? config->stall_ms : STALL_DEFAULT_MS;
}

/* ---- handles ------------------------------------------------------------------ */

static gboolean require_place(const struct url *url, gboolean is_place, GError **error)
{
	if (url->is_place == is_place)
		return TRUE;
	g_autofree char *name = url_format(url);
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE, "%s: %s", name,
		    is_place ? "names an image where a place for images is needed (ending in '/')"
			     : "names a place for images where an image is needed");
	return FALSE;
}

struct handle *handle_open(const struct url *url, const struct transport_config *config,
			   enum handle_mode mode, GError **error)
{
	const struct transport *transport = transport_for(url);
	struct handle *handle = NULL;

	if (!require_place(url, FALSE, error) ||
	    !transport->open(url, config_or_defaults(config), mode, &handle, error))
		return NULL;
	handle->transport = transport;
	handle->mode = mode;
	if (!handle->name)
		handle->name = url_format(url);
	return handle;
}

void handle_close(struct handle *handle)
{
	if (handle)
		handle->transport->close(handle);
}

static gboolean require_fresh(const struct handle *handle, const char *operation, GError **error)
{
	if (!handle->spent)
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT,
		    "%s: %s: the connection was lost before", handle->name, operation);
	return FALSE;
}

static gboolean require_writable(const struct handle *handle, const char *operation, GError **error)
{
	if (handle->mode == HANDLE_WRITE)
		return require_fresh(handle, operation, error);
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT, "%s: %s: opened for reading",
		    handle->name, operation);
	return FALSE;
}

static gboolean require_inside(const struct handle *handle, const char *operation, guint64 count,
			       guint64 offset, GError **error)
{
	if (count <= handle->size_bytes && offset <= handle->size_bytes - count)
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "%s: %s of %" G_GUINT64_FORMAT " bytes at %" G_GUINT64_FORMAT
		    " reaches beyond the end at %" G_GUINT64_FORMAT,
		    handle->name, operation, count, offset, handle->size_bytes);
	return FALSE;
}

/* Takes over @cause; a lost connection spends the handle. */
static gboolean failed(struct handle *handle, GError *cause, GError **error)
{
	if (error_is_transient(cause))
		handle->spent = TRUE;
	g_propagate_error(error, cause);
	return FALSE;
}

gboolean handle_describe(struct handle *handle, struct image_info *info, GError **error)
{
	GError *cause = NULL;

	if (!require_fresh(handle, "describe", error))
		return FALSE;
	*info = (struct image_info){
		.size_bytes = handle->size_bytes,
		.allocated_bytes = G_MAXUINT64,
		.block_bytes = handle->block_bytes,
	};
	return handle->transport->describe(handle, info, &cause) || failed(handle, cause, error);
}

gboolean image_info_matches(const struct image_info *info, const char *identity, const char *name,
			    GError **error)
{
	if (identity && *identity && g_str_equal(identity, info->identity))
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "%s is not the image it was: it is %s now, and was %s", name,
		    *info->identity ? info->identity : "nameless",
		    identity && *identity ? identity : "nameless");
	return FALSE;
}

gboolean handle_resize(struct handle *handle, guint64 size_bytes, GError **error)
{
	GError *cause = NULL;

	if (!require_writable(handle, "resize", error))
		return FALSE;
	if (!handle->transport->resize) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s: cannot be resized", handle->name);
		return FALSE;
	}
	if (!handle->transport->resize(handle, size_bytes, &cause))
		return failed(handle, cause, error);
	handle->size_bytes = size_bytes;
	return TRUE;
}

/* ---- reading and writing ------------------------------------------------------ */

/* A short transfer that stays at 0 would loop for ever; one above @count is a bug. */
static gboolean took(struct handle *handle, const char *operation, gssize bytes, gsize count,
		     guint64 offset, GError *cause, GError **error)
{
	if (bytes < 0)
		return failed(handle, cause, error);
	if (bytes > 0 && (gsize)bytes <= count)
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "%s: %s at %" G_GUINT64_FORMAT ": %" G_GSSIZE_FORMAT " of %" G_GSIZE_FORMAT
		    " bytes were transferred",
		    handle->name, operation, offset, bytes, count);
	return FALSE;
}

static gboolean read_all(struct handle *handle, void *buffer, gsize count, guint64 offset,
			 GError **error)
{
	char *at = buffer;

	while (count > 0) {
		GError *cause = NULL;
		gssize bytes = handle->transport->pread(handle, at, count, offset, &cause);
		if (!took(handle, "read", bytes, count, offset, cause, error))
			return FALSE;
		at += bytes;
		count -= (gsize)bytes;
		offset += (guint64)bytes;
	}
	return TRUE;
}

static gboolean write_all(struct handle *handle, const void *buffer, gsize count, guint64 offset,
			  GError **error)
{
	const char *at = buffer;

	while (count > 0) {
		GError *cause = NULL;
		gssize bytes = handle->transport->pwrite(handle, at, count, offset, &cause);
		if (!took(handle, "write", bytes, count, offset, cause, error))
			return FALSE;
		at += bytes;
		count -= (gsize)bytes;
		offset += (guint64)bytes;
	}
	return TRUE;
}

static gboolean is_aligned(const struct handle *handle, guint64 value)
{
	return handle->block_bytes <= 1 || value % handle->block_bytes == 0;
}

/* How much of the transfer the transport can take as it is; the rest is bounced. */
static gsize aligned_part(const struct handle *handle, const void *buffer, gsize count,
			  guint64 offset)
{
	if (handle->block_bytes <= 1)
		return count;
	if (!is_aligned(handle, offset) || !is_aligned(handle, (guintptr)buffer))
		return 0;
	return count - count % handle->block_bytes;
}

/* One piece of a transfer that does not fit the blocks. */
struct bounce {
	void *buffer;	/* whole blocks */
	guint64 offset; /* of the first block */
	gsize count;	/* of the blocks */
	gsize skip;	/* where the caller's bytes begin in the buffer */
	gsize used;	/* how many they are */
};

static void bounce_next(const struct handle *handle, struct bounce *bounce, gsize count,
			guint64 offset)
{
	bounce->skip = offset % handle->block_bytes;
	bounce->offset = offset - bounce->skip;
	bounce->count = MIN(units_round_up(bounce->skip + count, handle->block_bytes),
			    (guint64)PIECE_BYTES);
	bounce->used = MIN(count, bounce->count - bounce->skip);
}

static gboolean read_bounced(struct handle *handle, void *buffer, gsize count, guint64 offset,
			     GError **error)
{
	struct bounce bounce = {.buffer = transport_buffer_new(PIECE_BYTES)};
	char *at = buffer;
	gboolean good = TRUE;

	while (good && count > 0) {
		bounce_next(handle, &bounce, count, offset);
		good = read_all(handle, bounce.buffer, bounce.count, bounce.offset, error);
		if (good)
			memcpy(at, (char *)bounce.buffer + bounce.skip, bounce.used);
		at += bounce.used;
		count -= bounce.used;
		offset += bounce.used;
	}
	transport_buffer_free(bounce.buffer);
	return good;
}

/* Reads what the first and the last block keep. */
static gboolean bounce_fill(struct handle *handle, const struct bounce *bounce, GError **error)
{
	gsize block = handle->block_bytes, last = bounce->count - block;
	gsize end = bounce->skip + bounce->used;
	gboolean keeps_head = bounce->skip > 0, keeps_tail = end < bounce->count;

	if (keeps_head && !read_all(handle, bounce->buffer, block, bounce->offset, error))
		return FALSE;
	if (!keeps_tail || (keeps_head && last == 0))
		return TRUE;
	return read_all(handle, (char *)bounce->buffer + last, block, bounce->offset + last, error);
}

static gboolean write_bounced(struct handle *handle, const void *buffer, gsize count,
			      guint64 offset, GError **error)
{
	struct bounce bounce = {.buffer = transport_buffer_new(PIECE_BYTES)};
	const char *at = buffer;
	gboolean good = TRUE;

	while (good && count > 0) {
		bounce_next(handle, &bounce, count, offset);
		good = bounce_fill(handle, &bounce, error);
		if (good) {
			memcpy((char *)bounce.buffer + bounce.skip, at, bounce.used);
			good = write_all(handle, bounce.buffer, bounce.count, bounce.offset, error);
		}
		at += bounce.used;
		count -= bounce.used;
		offset += bounce.used;
	}
	transport_buffer_free(bounce.buffer);
	return good;
}

gboolean handle_read(struct handle *handle, void *buffer, gsize count, guint64 offset,
		     GError **error)
{
	if (!require_fresh(handle, "read", error) ||
	    !require_inside(handle, "read", count, offset, error))
		return FALSE;

	gsize direct = aligned_part(handle, buffer, count, offset);
	if (!read_all(handle, buffer, direct, offset, error))
		return FALSE;
	return direct == count || read_bounced(handle, (char *)buffer + direct, count - direct,
					       offset + direct, error);
}

gboolean handle_write(struct handle *handle, const void *buffer, gsize count, guint64 offset,
		      GError **error)
{
	if (!require_writable(handle, "write", error) ||
	    !require_inside(handle, "write", count, offset, error))
		return FALSE;

	gsize direct = aligned_part(handle, buffer, count, offset);
	if (!write_all(handle, buffer, direct, offset, error))
		return FALSE;
	return direct == count || write_bounced(handle, (const char *)buffer + direct,
						count - direct, offset + direct, error);
}

/* ---- zeros, flush, extents ---------------------------------------------------- */

static gboolean write_zeros(struct handle *handle, guint64 count, guint64 offset, GError **error)
{
	static const char zeros[PIECE_BYTES] __attribute__((aligned(TRANSPORT_ALIGN)));

	while (count > 0) {
		/* Pieces end on a piece's boundary, so that all but the ends are aligned. */
		gsize piece = (gsize)MIN(count, PIECE_BYTES - offset % PIECE_BYTES);
		if (!handle_write(handle, zeros, piece, offset, error))
			return FALSE;
		count -= piece;
		offset += piece;
	}
	return TRUE;
}

/* Whole blocks; *zeroed is FALSE where the transport has no operation for it. */
static gboolean zero_blocks(struct handle *handle, guint64 count, guint64 offset, gboolean *zeroed,
			    GError **error)
{
	GError *cause = NULL;
	gboolean unsupported = FALSE;

	*zeroed = count == 0;
	if (*zeroed || !handle->transport->zero)
		return TRUE;
	*zeroed = handle->transport->zero(handle, count, offset, &unsupported, &cause);
	if (!*zeroed && !unsupported)
		return failed(handle, cause, error);
	g_clear_error(&cause);
	return TRUE;
}

gboolean handle_try_zero(struct handle *handle, guint64 count, guint64 offset, gboolean *zeroed,
			 GError **error)
{
	guint64 block = MAX(handle->block_bytes, 1);

	if (!require_writable(handle, "zero", error) ||
	    !require_inside(handle, "zero", count, offset, error))
		return FALSE;

	guint64 end = offset + count;
	guint64 first = MIN(units_round_up(offset, block), end);
	guint64 last = MAX(end - end % block, first);
	if (!zero_blocks(handle, last - first, first, zeroed, error))
		return FALSE;
	return !*zeroed || (write_zeros(handle, first - offset, offset, error) &&
			    write_zeros(handle, end - last, last, error));
}

gboolean handle_zero(struct handle *handle, guint64 count, guint64 offset, GError **error)
{
	gboolean zeroed;

	return handle_try_zero(handle, count, offset, &zeroed, error) &&
	       (zeroed || write_zeros(handle, count, offset, error));
}

gboolean handle_flush(struct handle *handle, GError **error)
{
	GError *cause = NULL;

	if (!require_fresh(handle, "flush", error))
		return FALSE;
	return handle->transport->flush(handle, &cause) || failed(handle, cause, error);
}

/*
 * Appends the part of @found that lies in [*offset, end), and moves *offset behind it.
 */
static void extents_take(struct extents *extents, const struct extents *found, guint64 *offset,
			 guint64 end)
{
	for (guint i = 0; i < extents_count(found); i++) {
		const struct extent *extent = extents_get(found, i);
		guint64 extent_end = MIN(extent->offset_bytes + extent->length_bytes, end);
		if (extent->offset_bytes > *offset || extent_end <= *offset)
			continue;
		extents_append(extents, *offset, extent_end - *offset, extent->kind);
		*offset = extent_end;
	}
}

struct extents *handle_extents(struct handle *handle, guint64 count, guint64 offset, GError **error)
{
	AUTO(extents) extents = extents_new();
	guint64 block = MAX(handle->block_bytes, 1), end = offset + count;

	if (!require_fresh(handle, "extents", error) ||
	    !require_inside(handle, "extents", count, offset, error))
		return NULL;

	while (handle->transport->extents && offset < end) {
		AUTO(extents) found = extents_new();
		GError *cause = NULL;
		guint64 from = offset - offset % block, before = offset;
		guint64 to = MIN(units_round_up(end, block), handle->size_bytes);

		if (!handle->transport->extents(handle, to - from, from, found, &cause)) {
			failed(handle, cause, error);
			return NULL;
		}
		extents_take(extents, found, &offset, end);
		if (offset == before)
			break;
	}
	if (handle->holes_refuted) {
		g_array_set_size(extents->list, 0);
		offset = end - count;
	}
	/* What nobody knows anything about may hold anything. */
	extents_append(extents, offset, end - offset, EXTENT_DATA);
	return g_steal_pointer(&extents);
}

/* ---- images and places -------------------------------------------------------- */

static gboolean cannot(const struct url *url, const char *what, GError **error)
{
	g_autofree char *name = url_format(url);

	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT, "%s: %s", name, what);
	return FALSE;
}

gboolean image_create(const struct url *url, const struct transport_config *config,
		      const struct image_create *create, GError **error)
{
	const struct transport *transport = transport_for(url);

	if (!require_place(url, FALSE, error))
		return FALSE;
	if (!transport->create)
		return cannot(url, "an image of this kind must exist already", error);
	return transport->create(url, config_or_defaults(config), create, error);
}

gboolean image_remove(const struct url *url, const struct transport_config *config, GError **error)
{
	const struct transport *transport = transport_for(url);

	if (!require_place(url, FALSE, error))
		return FALSE;
	if (!transport->remove)
		return cannot(url, "an image of this kind cannot be removed", error);
	return transport->remove(url, config_or_defaults(config), error);
}

gboolean place_space(const struct url *place, const struct transport_config *config,
		     guint64 *free_bytes, guint64 *total_bytes, GError **error)
{
	const struct transport *transport = transport_for(place);

	if (!require_place(place, TRUE, error))
		return FALSE;
	if (!transport->space)
		return cannot(place, "its free space is not known", error);
	return transport->space(place, config_or_defaults(config), free_bytes, total_bytes, error);
}

GPtrArray *place_list(const struct url *place, const struct transport_config *config,
		      GError **error)
{
	const struct transport *transport = transport_for(place);

	if (!require_place(place, TRUE, error))
		return NULL;
	if (!transport->list) {
		cannot(place, "its images cannot be listed", error);
		return NULL;
	}
	return transport->list(place, config_or_defaults(config), error);
}
