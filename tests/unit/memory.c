#include "tests/unit/memory.h"

#include "common/error.h"

#include <errno.h>
#include <string.h>

enum { BLOCK = 4096 };

struct range {
	guint64 offset, count;
};

struct memory_handle {
	struct handle base;
	struct memory_image *image;
	guint number;
	gboolean is_spent;
	GArray *unflushed; /* of struct range */
};

/* Recursive: a hook may open and read images itself. */
static GRecMutex mutex;
static GHashTable *images;
extern const struct transport transport_nbd;

static void image_free(gpointer data)
{
	struct memory_image *image = data;

	g_free(image->bytes);
	g_free(image->stable);
	g_free(image->allocated);
	g_array_unref(image->log);
	g_free(image);
}

struct memory_image *memory_add(const char *name, guint64 size_bytes)
{
	struct memory_image *image = g_new0(struct memory_image, 1);

	image->size_bytes = size_bytes;
	image->bytes = g_malloc0(size_bytes);
	image->stable = g_malloc0(size_bytes);
	image->allocated = g_malloc0(size_bytes / BLOCK + 1);
	image->log = g_array_new(FALSE, TRUE, sizeof(struct memory_event));
	g_snprintf(image->identity, sizeof image->identity, "memory:%s", name);
	g_rec_mutex_lock(&mutex);
	if (!images)
		images = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, image_free);
	g_hash_table_insert(images, g_strdup(name), image);
	g_rec_mutex_unlock(&mutex);
	return image;
}

void memory_reset(void)
{
	g_rec_mutex_lock(&mutex);
	g_clear_pointer(&images, g_hash_table_destroy);
	g_rec_mutex_unlock(&mutex);
}

struct url *memory_url(const char *name)
{
	g_autofree char *text = g_strdup_printf("nbd+unix:///%s?socket=/memory", name);
	GError *error = NULL;
	struct url *url = url_parse(text, &error);

	if (!url)
		g_error("%s", error->message);
	return url;
}

static void allocate(struct memory_image *image, guint64 offset, guint64 count, gboolean allocated)
{
	for (guint64 block = offset / BLOCK; count && block <= (offset + count - 1) / BLOCK;
	     block++)
		image->allocated[block] = (guint8)allocated;
}

void memory_fill(struct memory_image *image, guint64 offset, const void *data, gsize count)
{
	memcpy(image->bytes + offset, data, count);
	memcpy(image->stable + offset, data, count);
	allocate(image, offset, count, TRUE);
}

void memory_fill_random(struct memory_image *image, guint64 offset, gsize count, guint32 seed)
{
	g_autofree guint8 *data = g_malloc(count);

	for (gsize i = 0; i < count; i++) {
		seed = seed * 1664525u + 1013904223u;
		data[i] = (guint8)(seed >> 24) | 1;
	}
	memory_fill(image, offset, data, count);
}

gboolean memory_lost(GError **error)
{
	g_set_error_literal(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT,
			    "memory: connection reset by peer");
	return FALSE;
}

/* The handle is spent: what it did not flush is gone. */
static void spend(struct memory_handle *handle)
{
	struct memory_image *image = handle->image;

	handle->is_spent = TRUE;
	for (guint i = 0; i < handle->unflushed->len; i++) {
		const struct range *range = &g_array_index(handle->unflushed, struct range, i);

		memcpy(image->bytes + range->offset, image->stable + range->offset, range->count);
	}
	g_array_set_size(handle->unflushed, 0);
}

/* Log and hook of one call, with the mutex held. */
static gboolean enter(struct memory_handle *handle, enum memory_op op, guint64 offset,
		      guint64 count, void *buffer, GError **error)
{
	struct memory_image *image = handle->image;
	struct memory_event event = {.op = op,
				     .handle = handle->number,
				     .mode = handle->base.mode,
				     .offset = offset,
				     .count = count,
				     .buffer = buffer};
	GError *cause = NULL;

	if (handle->is_spent)
		return memory_lost(error);
	image->calls[op]++;
	if (!image->hook || image->hook(&event, image->hook_data, &cause)) {
		event.buffer = NULL;
		g_array_append_val(image->log, event);
		return TRUE;
	}
	if (error_is_transient(cause))
		spend(handle);
	g_propagate_error(error, cause);
	return FALSE;
}

gboolean memory_open(const struct url *url, const struct transport_config *config,
		     enum handle_mode mode, struct handle **handle, GError **error)
{
	struct memory_handle *mine = g_new0(struct memory_handle, 1);
	gboolean ok = FALSE;

	(void)config;
	mine->base.transport = &transport_nbd;
	mine->base.mode = mode;
	mine->base.block_bytes = 1;
	mine->base.name = url_format(url);
	mine->unflushed = g_array_new(FALSE, FALSE, sizeof(struct range));
	g_rec_mutex_lock(&mutex);
	mine->image = images ? g_hash_table_lookup(images, url->path) : NULL;
	if (mine->image) {
		mine->base.size_bytes = mine->image->size_bytes;
		mine->number = ++mine->image->handles;
		ok = enter(mine, MEMORY_OPEN, 0, 0, NULL, error);
	} else {
		error_set_errno(error, ENOENT, "%s", mine->base.name);
	}
	g_rec_mutex_unlock(&mutex);
	if (ok)
		*handle = &mine->base;
	else
		memory_close(&mine->base);
	return ok;
}

void memory_close(struct handle *handle)
{
	struct memory_handle *mine = (struct memory_handle *)handle;

	g_array_unref(mine->unflushed);
	g_free(mine->base.name);
	g_free(mine);
}

gboolean memory_describe(struct handle *handle, struct image_info *info, GError **error)
{
	struct memory_handle *mine = (struct memory_handle *)handle;
	struct memory_image *image = mine->image;

	if (mine->is_spent)
		return memory_lost(error);
	g_rec_mutex_lock(&mutex);
	memset(info, 0, sizeof *info);
	info->size_bytes = image->size_bytes;
	info->block_bytes = 1;
	info->extents_trusted = image->extents_trusted;
	info->zero_deallocates = image->zero_deallocates;
	for (guint64 block = 0; block <= image->size_bytes / BLOCK; block++)
		info->allocated_bytes += image->allocated[block] ? (guint64)BLOCK : 0;
	memcpy(info->identity, image->identity, IDENTITY_BYTES);
	g_rec_mutex_unlock(&mutex);
	return TRUE;
}

gssize memory_pread(struct handle *handle, void *buffer, gsize count, guint64 offset,
		    GError **error)
{
	struct memory_handle *mine = (struct memory_handle *)handle;
	gboolean ok;

	g_rec_mutex_lock(&mutex);
	memcpy(buffer, mine->image->bytes + offset, count);
	ok = enter(mine, MEMORY_READ, offset, count, buffer, error);
	g_rec_mutex_unlock(&mutex);
	return ok ? (gssize)count : -1;
}

static void change(struct memory_handle *mine, const void *data, gsize count, guint64 offset)
{
	const struct range range = {offset, count};

	if (data)
		memcpy(mine->image->bytes + offset, data, count);
	else
		memset(mine->image->bytes + offset, 0, count);
	g_array_append_val(mine->unflushed, range);
}

gssize memory_pwrite(struct handle *handle, const void *buffer, gsize count, guint64 offset,
		     GError **error)
{
	struct memory_handle *mine = (struct memory_handle *)handle;
	gboolean ok;

	g_rec_mutex_lock(&mutex);
	ok = enter(mine, MEMORY_WRITE, offset, count, NULL, error);
	if (ok) {
		change(mine, buffer, count, offset);
		allocate(mine->image, offset, count, TRUE);
	}
	g_rec_mutex_unlock(&mutex);
	return ok ? (gssize)count : -1;
}

gboolean memory_zero(struct handle *handle, guint64 count, guint64 offset, gboolean *unsupported,
		     GError **error)
{
	struct memory_handle *mine = (struct memory_handle *)handle;
	gboolean ok;

	*unsupported = mine->image->cannot_zero;
	if (*unsupported)
		return FALSE;
	g_rec_mutex_lock(&mutex);
	ok = enter(mine, MEMORY_ZERO, offset, count, NULL, error);
	if (ok) {
		change(mine, NULL, count, offset);
		allocate(mine->image, offset, count, !mine->image->zero_deallocates);
	}
	g_rec_mutex_unlock(&mutex);
	return ok;
}

gboolean memory_flush(struct handle *handle, GError **error)
{
	struct memory_handle *mine = (struct memory_handle *)handle;
	struct memory_image *image = mine->image;
	gboolean ok;

	g_rec_mutex_lock(&mutex);
	ok = enter(mine, MEMORY_FLUSH, 0, 0, NULL, error);
	for (guint i = 0; ok && i < mine->unflushed->len; i++) {
		const struct range *range = &g_array_index(mine->unflushed, struct range, i);

		memcpy(image->stable + range->offset, image->bytes + range->offset, range->count);
	}
	if (ok)
		g_array_set_size(mine->unflushed, 0);
	g_rec_mutex_unlock(&mutex);
	return ok;
}

gboolean memory_extents(struct handle *handle, guint64 count, guint64 offset,
			struct extents *extents, GError **error)
{
	struct memory_handle *mine = (struct memory_handle *)handle;
	const guint64 end = offset + count;

	if (mine->is_spent)
		return memory_lost(error);
	g_rec_mutex_lock(&mutex);
	for (guint64 next; offset < end; offset = next) {
		next = MIN(end, (offset / BLOCK + 1) * BLOCK);
		extents_append(extents, offset, next - offset,
			       mine->image->allocated[offset / BLOCK] ? EXTENT_DATA : EXTENT_ZERO);
	}
	g_rec_mutex_unlock(&mutex);
	return TRUE;
}
