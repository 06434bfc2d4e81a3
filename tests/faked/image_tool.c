/* What stands for qemu-img and qemu-nbd. */
#include "blockmig/vm/image_tool.h"

#include "common/error.h"
#include "tests/faked/image.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void image_format_info_free(struct image_format_info *info)
{
	g_free(info->format);
	g_free(info->backing_name);
	g_free(info->backing_format);
	g_free(info);
}

struct image_format_info *image_tool_info(const struct source *source, const char *format,
					  GError **error)
{
	struct image_format_info *info;

	if (access(source->path, R_OK) != 0) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_NOT_FOUND, "%s: not there",
			    source->path);
		return NULL;
	}
	AUTO(image) image = image_open(source->path, format ? format : "raw");

	info = g_new0(struct image_format_info, 1);
	info->format = g_strdup(format ? format : "raw");
	info->virtual_bytes = image->virtual_bytes;
	if (!image->map)
		return info;
	info->backing_name = *image->header.backing ? g_strdup(image->header.backing) : NULL;
	info->has_snapshots = (image->header.flags & FAKE_SNAPSHOTS) != 0;
	info->has_bitmaps = (image->header.flags & FAKE_BITMAPS) != 0;
	info->is_encrypted = (image->header.flags & FAKE_ENCRYPTED) != 0;
	info->has_data_file = (image->header.flags & FAKE_DATA_FILE) != 0;
	info->is_corrupt = (image->header.flags & FAKE_CORRUPT) != 0;
	return info;
}

gboolean image_tool_create_overlay(const char *path, const struct source *backing,
				   const char *backing_name, const char *backing_format,
				   guint64 virtual_bytes, int uid, int gid, GError **error)
{
	g_autofree char *name = g_path_get_basename(path);

	(void)uid;
	(void)gid;
	ck_assert_ptr_nonnull(backing_format);
	if (!fake_begin("create-overlay", name, error))
		return FALSE;
	fake_image_create(path, "qcow2", virtual_bytes, backing_name ? backing_name : backing->path,
			  0);
	return fake_end("create-overlay", error);
}

gboolean image_tool_commit(const char *overlay, const struct layer *backing, GError **error)
{
	g_autofree char *name = g_path_get_basename(overlay);

	if (!fake_begin("commit-offline", name, error))
		return FALSE;
	fake_image_commit(overlay, backing);
	return fake_end("commit-offline", error);
}

gboolean image_tool_check(const struct source *source, const char *format, GError **error)
{
	(void)source;
	(void)format;
	(void)error;
	return TRUE;
}

static gboolean overlays_equal(const char *a, const char *b)
{
	AUTO(image) first = image_open(a, "qcow2");
	AUTO(image) second = image_open(b, "qcow2");
	g_autofree char *ours = g_malloc0(first->virtual_bytes);
	g_autofree char *theirs = g_malloc0(first->virtual_bytes);
	guint64 clusters = first->virtual_bytes / FAKE_CLUSTER;
	/* Each alone: what it does not hold reads as zeros. */
	ssize_t got = pread(first->fd, ours, first->virtual_bytes, (off_t)first->offset);
	ssize_t had = pread(second->fd, theirs, first->virtual_bytes, (off_t)second->offset);

	return got >= 0 && had >= 0 && memcmp(first->map, second->map, clusters) == 0 &&
	       memcmp(ours, theirs, first->virtual_bytes) == 0;
}

gboolean image_tool_compare_overlays(const char *a, const char *b, GError **error)
{
	if (!fake_begin("compare", NULL, error))
		return FALSE;
	if (!overlays_equal(a, b)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_INTEGRITY, "%s and %s differ", a,
			    b);
		return FALSE;
	}
	return fake_end("compare", error);
}

char *image_tool_overlay_digest(const char *path, GError **error)
{
	AUTO(image) image = image_open(path, "qcow2");

	(void)error;
	guint64 clusters = image->virtual_bytes / FAKE_CLUSTER;
	g_autofree guint8 *content = g_malloc0(image->virtual_bytes + clusters);

	if (pread(image->fd, content, image->virtual_bytes, (off_t)image->offset) < 0)
		return NULL;
	memcpy(content + image->virtual_bytes, image->map, clusters);
	return g_compute_checksum_for_data(G_CHECKSUM_SHA256, content,
					   image->virtual_bytes + clusters);
}

gboolean image_tool_overlay_hides(const char *upper, const char *lower, GError **error)
{
	guint64 clusters;
	g_autofree guint8 *ours = fake_image_map(upper, "qcow2", &clusters);
	g_autofree guint8 *theirs = fake_image_map(lower, "qcow2", &clusters);

	if (!fake_begin("hides", NULL, error))
		return FALSE;
	for (guint64 i = 0; i < clusters; i++)
		if (theirs[i] && !ours[i])
			return FALSE;
	return fake_end("hides", error);
}

/* ---- the server: its content in a file, which the fake nbd transport reads ----------- */

struct image_server {
	char *content; /* and content.map */
	struct url *url, *top;
};

static struct url *server_url(const char *path, gboolean top)
{
	struct url *url = url_parse("nbd+unix:///?socket=/none", NULL);

	ck_assert_ptr_nonnull(url);
	g_free(url->socket);
	url->socket = g_strdup(path);
	url->top_layer_only = top;
	return url;
}

struct image_server *image_server_start(GPtrArray *layers, gboolean alone, GError **error)
{
	static guint number;
	const struct layer *active = g_ptr_array_index(layers, 0);
	g_autofree char *path = fake_layer_file(&active->source);
	AUTO(image) image = image_open(path, active->format);
	g_autofree char *name = g_strdup_printf("server-%d-%u", getpid(), number++);
	struct image_server *server;
	guint64 clusters;

	ck_assert(!alone);
	if (!fake_begin("serve", NULL, error) || !fake_end("serve", error))
		return NULL;
	g_autofree char *content = g_malloc(image->virtual_bytes);
	g_autofree guint8 *map = fake_image_map(path, active->format, &clusters);

	server = g_new0(struct image_server, 1);
	server->content = fake_path(name);
	g_autofree char *map_path = g_strconcat(server->content, ".map", NULL);

	fake_chain_read(layers, content, image->virtual_bytes);
	ck_assert(
		g_file_set_contents(server->content, content, (gssize)image->virtual_bytes, NULL));
	ck_assert(g_file_set_contents(map_path, (char *)map, (gssize)clusters, NULL));
	server->url = server_url(server->content, FALSE);
	server->top = server_url(server->content, TRUE);
	return server;
}

void image_server_stop(struct image_server *server)
{
	g_autofree char *map_path = g_strconcat(server->content, ".map", NULL);

	unlink(server->content);
	unlink(map_path);
	g_free(server->content);
	url_free(server->url);
	url_free(server->top);
	g_free(server);
}

const struct url *image_server_url(const struct image_server *server)
{
	return server->url;
}

const struct url *image_server_top_url(const struct image_server *server)
{
	return server->top;
}

/* ---- the one tool that the move itself runs: qemu-io, "read -v 0 512" ----------------- */

gboolean tool_run(const char *const *argv, guint deadline_ms, char **output, GError **error)
{
	GString *dump = g_string_new(NULL);
	guint8 block[512] = "";
	guint last = 0;

	(void)deadline_ms;
	while (argv[last + 1])
		last++;
	if (!fake_begin("qemu-io", NULL, error) || !fake_end("qemu-io", error)) {
		g_string_free(dump, TRUE);
		return FALSE;
	}
	/* A network disk's name is JSON. */
	const char *lun = strstr(argv[last], "\"lun\"");
	g_autofree char *name =
		lun ? g_strdup_printf("luns/%d", atoi(lun + strcspn(lun, "0123456789"))) : NULL;
	g_autofree char *path = name ? fake_path(name) : g_strdup(argv[last]);
	FILE *file = fopen(path, "re");

	if (file && fread(block, 1, sizeof block, file) != sizeof block)
		memset(block, 0, sizeof block);
	if (file)
		fclose(file);
	for (guint i = 0; i < sizeof block; i++) {
		if (i % 16 == 0)
			g_string_append_printf(dump, "%08x: ", i);
		g_string_append_printf(dump, " %02x", block[i]);
		if (i % 16 == 15)
			g_string_append(dump, "  ................\n");
	}
	*output = g_string_free(dump, FALSE);
	return TRUE;
}
