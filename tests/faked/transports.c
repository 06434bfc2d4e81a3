/*
 * Two transports over plain files: nbd for the fake image server's content, and iscsi for a
 * target whose LUNs are the files luns/0, luns/1 … of the private folder.
 */
#include "transports/transport.h"

#include "common/error.h"
#include "tests/faked/fake.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct plain {
	struct handle base;
	int fd;
	gboolean is_lun;
	guint8 *map; /* one layer's clusters, where only that is asked for */
	gsize clusters;
};

static struct plain *plain_of(struct handle *handle)
{
	return (struct plain *)handle;
}

static gboolean plain_open(const char *path, const struct transport *transport,
			   enum handle_mode mode, struct handle **handle, GError **error)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0) {
		error_set_errno(error, errno, "open %s", path);
		return FALSE;
	}
	struct plain *plain = g_new0(struct plain, 1);

	plain->fd = fd;
	plain->base.transport = transport;
	plain->base.mode = mode;
	plain->base.size_bytes = (guint64)st.st_size;
	plain->base.block_bytes = 512;
	*handle = &plain->base;
	return TRUE;
}

static void plain_close(struct handle *handle)
{
	struct plain *plain = plain_of(handle);

	close(plain->fd);
	g_free(plain->map);
	g_free(handle->name);
	g_free(plain);
}

static gboolean plain_describe(struct handle *handle, struct image_info *info, GError **error)
{
	struct plain *plain = plain_of(handle);
	struct stat st;

	(void)error;
	ck_assert_int_eq(fstat(plain->fd, &st), 0);
	info->size_bytes = handle->size_bytes;
	info->block_bytes = 512;
	info->allocated_bytes = (guint64)st.st_blocks * 512;
	info->is_device = plain->is_lun;
	info->extents_trusted = TRUE;
	info->zero_deallocates = TRUE;
	if (plain->is_lun)
		g_snprintf(info->identity, sizeof info->identity, "scsi:%lx",
			   (unsigned long)st.st_ino);
	return TRUE;
}

static gssize plain_pread(struct handle *handle, void *buffer, gsize count, guint64 offset,
			  GError **error)
{
	ssize_t got = pread(plain_of(handle)->fd, buffer, count, (off_t)offset);

	if (got < 0)
		error_set_errno(error, errno, "%s: read", handle->name);
	return got;
}

static gssize plain_pwrite(struct handle *handle, const void *buffer, gsize count, guint64 offset,
			   GError **error)
{
	ssize_t put = pwrite(plain_of(handle)->fd, buffer, count, (off_t)offset);

	if (put < 0)
		error_set_errno(error, errno, "%s: write", handle->name);
	return put;
}

static gboolean plain_zero(struct handle *handle, guint64 count, guint64 offset,
			   gboolean *unsupported, GError **error)
{
	if (fallocate(plain_of(handle)->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)offset, (off_t)count) == 0)
		return TRUE;
	*unsupported = TRUE;
	(void)error;
	return FALSE;
}

static gboolean plain_flush(struct handle *handle, GError **error)
{
	(void)handle;
	(void)error;
	return TRUE;
}

static enum extent_kind kind_at(const struct plain *plain, guint64 offset, guint64 *end)
{
	if (plain->map) {
		*end = (offset / FAKE_CLUSTER + 1) * FAKE_CLUSTER;
		return plain->map[offset / FAKE_CLUSTER] ? EXTENT_DATA : EXTENT_UNKNOWN;
	}
	off_t data = lseek(plain->fd, (off_t)offset, SEEK_DATA);

	if (data == (off_t)offset) {
		*end = (guint64)lseek(plain->fd, data, SEEK_HOLE);
		return EXTENT_DATA;
	}
	*end = data < 0 ? plain->base.size_bytes : (guint64)data;
	return EXTENT_ZERO;
}

static gboolean plain_extents(struct handle *handle, guint64 count, guint64 offset,
			      struct extents *extents, GError **error)
{
	guint64 limit = offset + count;

	(void)error;
	while (offset < limit) {
		guint64 end;
		enum extent_kind kind = kind_at(plain_of(handle), offset, &end);

		end = MIN(end, limit);
		extents_append(extents, offset, end - offset, kind);
		offset = end;
	}
	return TRUE;
}

static gboolean served_open(const struct url *url, const struct transport_config *config,
			    enum handle_mode mode, struct handle **handle, GError **error)
{
	(void)config;
	if (!plain_open(url->socket, &transport_nbd, mode, handle, error))
		return FALSE;
	if (url->top_layer_only) {
		struct plain *plain = plain_of(*handle);
		g_autofree char *map = g_strconcat(url->socket, ".map", NULL);

		ck_assert(g_file_get_contents(map, (char **)&plain->map, &plain->clusters, NULL));
	}
	return TRUE;
}

static gboolean lun_open(const struct url *url, const struct transport_config *config,
			 enum handle_mode mode, struct handle **handle, GError **error)
{
	g_autofree char *name = g_strdup_printf("luns/%d", url->lun);
	g_autofree char *path = fake_path(name);

	(void)config;
	if (!plain_open(path, &transport_iscsi, mode, handle, error))
		return FALSE;
	plain_of(*handle)->is_lun = TRUE;
	return TRUE;
}

static GPtrArray *lun_list(const struct url *place, const struct transport_config *config,
			   GError **error)
{
	g_autofree char *listing = fake_listing("luns");
	g_auto(GStrv) names = g_strsplit(listing, "\n", -1);
	GPtrArray *luns = g_ptr_array_new_with_free_func(g_free);

	(void)place;
	(void)config;
	(void)error;
	for (guint i = 0; names[i]; i++)
		if (*names[i])
			g_ptr_array_add(luns, g_strdup(names[i]));
	return luns;
}

const struct transport transport_nbd = {
	.name = "nbd",
	.open = served_open,
	.close = plain_close,
	.describe = plain_describe,
	.pread = plain_pread,
	.pwrite = plain_pwrite,
	.flush = plain_flush,
	.extents = plain_extents,
};

const struct transport transport_iscsi = {
	.name = "iscsi",
	.open = lun_open,
	.close = plain_close,
	.describe = plain_describe,
	.pread = plain_pread,
	.pwrite = plain_pwrite,
	.zero = plain_zero,
	.flush = plain_flush,
	.extents = plain_extents,
	.list = lun_list,
};
