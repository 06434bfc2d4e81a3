/*
 * Images without QEMU.  "raw" is what it says.  A "qcow2" of ours is a header, a map of
 * one byte a cluster, and the clusters at fixed places; it begins as a real one does, so
 * that who looks for qcow2 files finds it.  A real qcow2 is known where copy/qcow2.c has
 * laid it out: one layer, its data in the guest's order.
 */
#include "tests/faked/image.h"

#include "blockmig/copy/qcow2.h"

#include <check.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER_BYTES = 4096, MAP_BYTES = 4096, VIRTUAL_AT = 24 };

static const char magic[8] = "QFI\xfb"
			     "FAKE";

/* ---- one image --------------------------------------------------------------------- */

void image_close(struct image *image)
{
	close(image->fd);
	g_free(image->map);
	g_free(image);
}

struct image *image_open(const char *path, const char *format)
{
	struct image *image = g_new0(struct image, 1);
	struct stat st;
	guint64 size;

	image->fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_msg(image->fd >= 0, "open %s: %m", path);
	ck_assert_int_eq(fstat(image->fd, &st), 0);
	image->virtual_bytes = (guint64)st.st_size;
	if (!g_str_equal(format, "qcow2"))
		return image;
	ck_assert_msg(pread(image->fd, &image->header, sizeof image->header, 0) ==
			      sizeof image->header,
		      "%s is too short", path);
	if (memcmp(image->header.magic, magic, sizeof magic) == 0) {
		image->virtual_bytes = image->header.virtual_bytes;
		image->offset = HEADER_BYTES + MAP_BYTES;
		image->map = g_malloc0(MAP_BYTES);
		ck_assert_int_ge(pread(image->fd, image->map, MAP_BYTES, HEADER_BYTES), 0);
		return image;
	}
	ck_assert_msg(memcmp(image->header.magic, magic, 4) == 0, "%s is no qcow2", path);
	memcpy(&size, (char *)&image->header + VIRTUAL_AT, sizeof size);
	image->virtual_bytes = GUINT64_FROM_BE(size);
	image->offset = qcow2_data_offset(image->virtual_bytes);
	return image;
}

static gboolean image_holds(const struct image *image, guint64 cluster)
{
	return !image->map || image->map[cluster];
}

static void image_read(const struct image *image, guint64 at, void *data, guint64 bytes)
{
	ssize_t got = pread(image->fd, data, bytes, (off_t)(image->offset + at));

	ck_assert_int_ge(got, 0);
	memset((char *)data + got, 0, bytes - (guint64)got);
}

static void image_write(struct image *image, guint64 at, const void *data, guint64 bytes)
{
	guint64 first = at / FAKE_CLUSTER, count = (bytes + FAKE_CLUSTER - 1) / FAKE_CLUSTER;

	ck_assert_int_eq(pwrite(image->fd, data, bytes, (off_t)(image->offset + at)),
			 (ssize_t)bytes);
	if (!image->map)
		return;
	memset(image->map + first, 1, count);
	ck_assert_int_eq(pwrite(image->fd, image->map, MAP_BYTES, HEADER_BYTES), MAP_BYTES);
}

/* ---- what the tests use -------------------------------------------------------------- */

void fake_image_create(const char *path, const char *format, guint64 bytes, const char *backing,
		       guint flags)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct image_header header = {.virtual_bytes = bytes, .flags = flags};

	ck_assert_msg(fd >= 0, "create %s: %m", path);
	memcpy(header.magic, magic, sizeof magic);
	if (backing)
		g_strlcpy(header.backing, backing, sizeof header.backing);
	if (g_str_equal(format, "raw"))
		ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
	else {
		ck_assert_int_eq(pwrite(fd, &header, sizeof header, 0), sizeof header);
		ck_assert_int_eq(ftruncate(fd, HEADER_BYTES + MAP_BYTES), 0);
	}
	close(fd);
}

void fake_image_write(const char *path, const char *format, guint64 offset, const void *data,
		      guint64 bytes)
{
	AUTO(image) image = image_open(path, format);

	image_write(image, offset, data, bytes);
}

guint8 *fake_image_map(const char *path, const char *format, guint64 *clusters)
{
	AUTO(image) image = image_open(path, format);
	guint8 *map;

	*clusters = (image->virtual_bytes + FAKE_CLUSTER - 1) / FAKE_CLUSTER;
	map = g_malloc(*clusters);
	for (guint64 i = 0; i < *clusters; i++)
		map[i] = image_holds(image, i);
	return map;
}

char *fake_layer_file(const struct source *source)
{
	char *target = NULL;
	int lun;

	if (source->type != SOURCE_ISCSI)
		return g_strdup(source->path);
	ck_assert(source_iscsi_split(source, &target, &lun));
	g_free(target);
	g_autofree char *name = g_strdup_printf("luns/%d", lun);

	return fake_path(name);
}

void fake_chain_read(GPtrArray *layers, void *buffer, guint64 bytes)
{
	g_autoptr(GPtrArray) images = g_ptr_array_new_with_free_func((GDestroyNotify)image_close);

	for (guint i = 0; i < layers->len; i++) {
		const struct layer *layer = g_ptr_array_index(layers, i);
		g_autofree char *path = fake_layer_file(&layer->source);

		g_ptr_array_add(images, image_open(path, layer->format));
	}
	memset(buffer, 0, bytes);
	for (guint64 at = 0; at < bytes; at += FAKE_CLUSTER)
		for (guint i = 0; i < images->len; i++) {
			const struct image *image = g_ptr_array_index(images, i);

			if (!image_holds(image, at / FAKE_CLUSTER))
				continue;
			image_read(image, at, (char *)buffer + at, MIN(FAKE_CLUSTER, bytes - at));
			break;
		}
}

static void copy_clusters(const struct image *from, struct image *to)
{
	guint8 *cluster = g_malloc(FAKE_CLUSTER);

	for (guint64 at = 0; at < from->virtual_bytes; at += FAKE_CLUSTER) {
		guint64 bytes = MIN(FAKE_CLUSTER, from->virtual_bytes - at);

		if (!image_holds(from, at / FAKE_CLUSTER))
			continue;
		image_read(from, at, cluster, bytes);
		image_write(to, at, cluster, bytes);
	}
	g_free(cluster);
}

void fake_image_commit(const char *overlay, const struct layer *below)
{
	g_autofree char *path = fake_layer_file(&below->source);
	AUTO(image) from = image_open(overlay, "qcow2");
	AUTO(image) to = image_open(path, below->format);

	copy_clusters(from, to);
}

void fake_image_mirror(const char *from, const char *to)
{
	AUTO(image) source = image_open(from, "qcow2");
	AUTO(image) mirror = image_open(to, "qcow2");

	copy_clusters(source, mirror);
}
