#include "blockmig/vm/image_tool.h"

#include "blockmig/vm/child.h"
#include "blockmig/vm/source.h"
#include "common/error.h"
#include "common/units.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* qemu-img answers a question quickly, or the storage below does not answer at all. */
enum { ASK_STALL_MS = 60 * 1000, WORK_STALL_MS = 15 * 60 * 1000 };

/* ---- running a tool ----------------------------------------------------------------- */

static void set_tool_error(const char *const *argv, const struct child_result *result,
			   GError **error)
{
	g_auto(GStrv) lines = g_strsplit(result->messages, "\n", -1);
	g_autofree char *words = g_strjoinv("; ", lines);

	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT, "%s %s: exit status %d: %s",
		    argv[0], argv[1] ? argv[1] : "", result->status,
		    *words ? words : "it said nothing");
}

gboolean tool_run(const char *const *argv, guint deadline_ms, char **output, GError **error)
{
	struct child_result result = {0};
	gboolean ok = child_run(argv, deadline_ms, &result, error);

	if (ok && result.status != 0) {
		set_tool_error(argv, &result, error);
		ok = FALSE;
	}
	if (ok && output)
		*output = g_steal_pointer(&result.output);
	child_result_clear(&result);
	return ok;
}

/* Puts the image's name in front of what the tool said. */
static gboolean named(gboolean ok, const struct source *source, GError **error)
{
	g_autofree char *name = source_text(source);

	if (!ok)
		g_prefix_error(error, "%s: ", name);
	return ok;
}

/* ---- info ----------------------------------------------------------------------------- */

void image_format_info_free(struct image_format_info *info)
{
	g_free(info->format);
	g_free(info->backing_name);
	g_free(info->backing_format);
	g_free(info);
}

static guint64 number_at(const json_t *object, const char *key)
{
	return (guint64)json_integer_value(json_object_get(object, key));
}

static char *string_at(const json_t *object, const char *key)
{
	return g_strdup(json_string_value(json_object_get(object, key)));
}

static struct image_format_info *info_from_json(const json_t *answer)
{
	const json_t *specific =
		json_object_get(json_object_get(answer, "format-specific"), "data");
	g_autofree char *compression = string_at(specific, "compression-type");
	struct image_format_info *info = g_new0(struct image_format_info, 1);

	info->format = string_at(answer, "format");
	info->virtual_bytes = number_at(answer, "virtual-size");
	info->backing_name = string_at(answer, "backing-filename");
	info->backing_format = string_at(answer, "backing-filename-format");
	info->has_snapshots = json_array_size(json_object_get(answer, "snapshots")) > 0;
	info->has_bitmaps = json_array_size(json_object_get(specific, "bitmaps")) > 0;
	info->has_compressed_type = compression && g_strcmp0(compression, "zlib") != 0;
	info->is_encrypted = json_is_true(json_object_get(answer, "encrypted"));
	info->has_data_file = json_object_get(specific, "data-file") != NULL;
	info->is_dirty = json_is_true(json_object_get(answer, "dirty-flag"));
	info->is_corrupt = json_is_true(json_object_get(specific, "corrupt"));
	return info;
}

static struct image_format_info *ask_info(const struct source *source, const char *format,
					  GError **error)
{
	json_t *file = source_node(source, FALSE, error);
	g_autofree char *name =
		file ? node_name(json_pack("{ss* so}", "driver", format, "file", file)) : NULL;
	const char *const argv[] = {"qemu-img", "info", "--output=json", name, NULL};
	g_autofree char *output = NULL;
	struct image_format_info *info;
	json_t *answer;

	if (!file)
		return NULL;
	if (!named(tool_run(argv, ASK_STALL_MS, &output, error), source, error))
		return NULL;
	answer = json_loads(output, 0, NULL);
	info = info_from_json(answer);
	json_decref(answer);
	if (info->format)
		return info;
	image_format_info_free(info);
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "qemu-img info: its answer cannot be read: %s", output);
	named(FALSE, source, error);
	return NULL;
}

/* QEMU rounds sizes up to 512 bytes, so a local file is asked itself. */
static gboolean local_size(const struct source *source, guint64 *bytes, GError **error)
{
	int fd = open(source->path, O_RDONLY | O_CLOEXEC);
	off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	int cause = errno;

	if (fd >= 0)
		close(fd);
	if (end < 0) {
		error_set_errno(error, cause, "%s: its size cannot be read", source->path);
		return FALSE;
	}
	*bytes = (guint64)end;
	return TRUE;
}

static gboolean file_size(const struct source *source, guint64 *bytes, GError **error)
{
	AUTO(source) whole = source_copy(source);
	AUTO(image_format_info) info = NULL;

	if (source->type == SOURCE_FILE || source->type == SOURCE_BLOCK)
		return local_size(source, bytes, error);
	whole->slice_bytes = whole->slice_offset = 0;
	info = ask_info(whole, "raw", error);
	if (info)
		*bytes = info->virtual_bytes;
	return info != NULL;
}

struct image_format_info *image_tool_info(const struct source *source, const char *format,
					  GError **error)
{
	AUTO(image_format_info) info = ask_info(source, format, error);

	if (!info || !file_size(source, &info->file_bytes, error))
		return NULL;
	return g_steal_pointer(&info);
}

/* ---- create ----------------------------------------------------------------------------- */

/* The empty file first: qemu-img keeps mode and owner of one that is there. */
static gboolean create_file(const char *path, int uid, int gid, GError **error)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	gboolean ok = fd >= 0 && fchmod(fd, 0600) == 0 && fchown(fd, (uid_t)uid, (gid_t)gid) == 0;
	int cause = errno;

	if (fd >= 0)
		close(fd);
	if (ok)
		return TRUE;
	error_set_errno(error, cause, "%s: create overlay", path);
	if (fd >= 0)
		unlink(path);
	return FALSE;
}

static gboolean sync_path(const char *path, GError **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	gboolean ok = fd >= 0 && fsync(fd) == 0;
	int cause = errno;

	if (fd >= 0)
		close(fd);
	if (!ok)
		error_set_errno(error, cause, "%s: flush", path);
	return ok;
}

/* A guest will have acknowledged writes in this file: its name must survive a crash. */
static gboolean sync_file_and_name(const char *path, GError **error)
{
	g_autofree char *folder = g_path_get_dirname(path);

	return sync_path(path, error) && sync_path(folder, error);
}

gboolean image_tool_create_overlay(const char *path, const struct source *backing,
				   const char *backing_name, const char *backing_format,
				   guint64 virtual_bytes, int uid, int gid, GError **error)
{
	g_autofree char *name =
		backing_name ? g_strdup(backing_name) : source_qemu_name(backing, error);
	g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, virtual_bytes);
	const char *const argv[] = {
		"qemu-img", "create",	    "-q", "-u", "-f", "qcow2", "-o", "cluster_size=64K",
		"-F",	    backing_format, "-b", name, path, size,    NULL};

	if (!name || !create_file(path, uid, gid, error))
		return FALSE;
	if (tool_run(argv, ASK_STALL_MS, NULL, error) && sync_file_and_name(path, error))
		return TRUE;
	g_prefix_error(error, "%s: create overlay: ", path);
	unlink(path);
	return FALSE;
}

/* ---- commit ------------------------------------------------------------------------------- */

/* An overlay that is larger would make qemu-img grow the image below. */
static gboolean sizes_fit(const struct source *overlay, const struct layer *backing, GError **error)
{
	AUTO(image_format_info) above = ask_info(overlay, "qcow2", error);
	AUTO(image_format_info) below =
		above ? ask_info(&backing->source, backing->format, error) : NULL;

	if (!below)
		return FALSE;
	if (above->virtual_bytes <= below->virtual_bytes)
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "%s: not committed: it has %" G_GUINT64_FORMAT " bytes, the image below only "
		    "%" G_GUINT64_FORMAT "; enlarge that first",
		    overlay->path, above->virtual_bytes, below->virtual_bytes);
	return FALSE;
}

/*
 * qemu-img commits along the header, so the header is made to name @backing first.  The
 * layers below that stay as its own header has them: a part of a cluster that the commit
 * does not write is filled from there.
 */
static gboolean point_at(const char *overlay, const struct layer *backing, GError **error)
{
	g_autofree char *name = source_qemu_name(&backing->source, error);
	const char *const argv[] = {"qemu-img",
				    "rebase",
				    "-u",
				    "-f",
				    "qcow2",
				    "-F",
				    backing->format ? backing->format : "raw",
				    "-b",
				    name,
				    overlay,
				    NULL};

	return name && tool_run(argv, ASK_STALL_MS, NULL, error);
}

gboolean image_tool_commit(const char *overlay, const struct layer *backing, GError **error)
{
	AUTO(source) top = source_new(SOURCE_FILE, overlay);
	const char *const argv[] = {"qemu-img", "commit", "-p", "-d", "-f", "qcow2", overlay, NULL};

	if (!sizes_fit(top, backing, error))
		return FALSE;
	/* QEMU's locks stay on: they keep us off an image that a guest uses. */
	if (!point_at(overlay, backing, error) || !tool_run(argv, WORK_STALL_MS, NULL, error)) {
		g_prefix_error(error, "%s: commit: ", overlay);
		return FALSE;
	}
	/* QEMU ignores what a flush at closing says. */
	if (backing->source.type == SOURCE_FILE || backing->source.type == SOURCE_BLOCK)
		return sync_path(backing->source.path, error);
	return TRUE;
}

/* ---- check --------------------------------------------------------------------------------- */

/* qemu-img check: 2 means corruption, 3 leaked clusters: they waste space, no more. */
enum { CHECK_CLEAN = 0, CHECK_CORRUPT = 2, CHECK_LEAKS = 3, CHECK_UNSUPPORTED = 63 };

gboolean image_tool_check(const struct source *source, const char *format, GError **error)
{
	AUTO(layer) layer = layer_new(source, format);
	struct child_result result = {0};
	g_autofree char *name = NULL;
	const char *argv[] = {"qemu-img", "check", NULL, NULL};
	gboolean ok;
	json_t *node;

	node = layer_node(layer, FALSE, error);
	if (!node)
		return FALSE;
	argv[2] = name = node_name(node);
	ok = child_run(argv, WORK_STALL_MS, &result, error);
	if (ok && result.status == CHECK_CORRUPT) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_INTEGRITY,
			    "qemu-img check found: %s%s", result.messages,
			    g_strdelimit(result.output, "\n", ' '));
		ok = FALSE;
	} else if (ok && result.status != CHECK_CLEAN && result.status != CHECK_LEAKS &&
		   result.status != CHECK_UNSUPPORTED) {
		set_tool_error(argv, &result, error);
		ok = FALSE;
	}
	child_result_clear(&result);
	return named(ok, source, error);
}
