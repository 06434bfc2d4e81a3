#include "blockmig/move/image_open.h"

#include "blockmig/vm/image_tool.h"
#include "common/error.h"
#include "common/units.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void image_view_free(struct image_view *view)
{
	g_clear_pointer(&view->place, place_free);
	g_free(view->format);
	g_free(view->backing_name);
	g_free(view);
}

static gboolean learn(struct image_view *view, const char *format, GError **error)
{
	gboolean nbd = view->place->url->scheme == URL_NBD;

	if (!format && (view->info.is_device || nbd))
		format = "raw";
	if (format && g_str_equal(format, "raw")) {
		view->format = g_strdup("raw");
		view->virtual_bytes = view->info.size_bytes;
		return TRUE;
	}
	AUTO(image_format_info) info = image_tool_info(&view->place->source, format, error);

	if (!info)
		return FALSE;
	view->format = g_strdup(info->format);
	view->virtual_bytes = info->virtual_bytes;
	view->backing_name = g_strdup(info->backing_name);
	return TRUE;
}

struct url *image_url(const char *text, GError **error)
{
	if (!*text || strstr(text, "://") || g_path_is_absolute(text))
		return url_parse(text, error);
	g_autofree char *path = g_canonicalize_filename(text, NULL);
	g_autofree char *full = g_strconcat(path, g_str_has_suffix(text, "/") ? "/" : "", NULL);

	return url_parse(full, error);
}

struct image_view *image_view_open(struct config *config, const char *text, const char *format,
				   GError **error)
{
	AUTO(url) url = image_url(text, error);

	if (!url)
		return NULL;
	if (url->is_place) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "%s is a place for images: name one image in it", text);
		return NULL;
	}
	AUTO(image_view) view = g_new0(struct image_view, 1);

	view->place = place_of_url(config, url, error);
	AUTO(handle) handle = view->place ? handle_open(view->place->url, view->place->transport,
							HANDLE_READ, error)
					  : NULL;

	if (!handle || !handle_describe(handle, &view->info, error) || !learn(view, format, error))
		return NULL;
	return g_steal_pointer(&view);
}

gboolean image_is_written(const struct place *place)
{
	/* QEMU read-locks byte 100 + 1 while it may write (block/file-posix.c). */
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};

	if (place->source.type != SOURCE_FILE && place->source.type != SOURCE_BLOCK)
		return FALSE;
	int fd = open(place->source.path, O_RDONLY | O_CLOEXEC);
	gboolean locked = fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;

	if (fd >= 0)
		close(fd);
	return locked;
}

gboolean image_is_device(struct handle *handle)
{
	struct image_info info;

	return handle_describe(handle, &info, NULL) && info.is_device;
}

gboolean image_has_data(struct handle *handle, gboolean *has_data, GError **error)
{
	*has_data = FALSE;
	for (guint64 at = 0; at < handle->size_bytes && !*has_data; at += TRANSPORT_EXTENTS_BYTES) {
		const guint64 span_bytes = MIN(TRANSPORT_EXTENTS_BYTES, handle->size_bytes - at);
		AUTO(extents) extents = handle_extents(handle, span_bytes, at, error);

		if (!extents)
			return FALSE;
		*has_data = extents_bytes(extents, EXTENT_DATA) > 0;
	}
	return TRUE;
}

gboolean image_looks_used(struct handle *handle)
{
	struct image_info info;
	gsize count = MIN(MiB, handle->size_bytes);
	void *block = transport_buffer_new(count);
	gboolean used = !handle_describe(handle, &info, NULL) ||
			!handle_read(handle, block, count, 0, NULL) ||
			!buffer_is_zero(block, count);

	transport_buffer_free(block);
	if (used || !info.extents_trusted)
		return used;
	return !image_has_data(handle, &used, NULL) || used;
}
