/*
 * qemu-img and qemu-storage-daemon as child processes, with a deadline, killed and reaped
 * on every exit (also on our own death: PDEATHSIG).
 */
#ifndef VM_IMAGE_TOOL_H
#define VM_IMAGE_TOOL_H

#include "blockmig/vm/domain.h"
#include "transports/url.h"

#include <glib.h>

struct image_format_info {
	char *format; /* as probed, or as asked for */
	guint64 virtual_bytes;
	guint64 file_bytes; /* size of the file itself */
	char *backing_name; /* as written in the header; NULL: none */
	char *backing_format;
	gboolean has_snapshots, has_bitmaps, has_compressed_type, is_encrypted, has_data_file;
	gboolean is_dirty, is_corrupt;
};
void image_format_info_free(struct image_format_info *info);
AUTO_DEFINE(image_format_info, image_format_info_free)

/* qemu-img info with locking off; @format NULL probes. */
struct image_format_info *image_tool_info(const struct source *source, const char *format,
					  GError **error);

/*
 * Creates the qcow2 overlay @path over @backing: 64 KiB clusters, mode 0600, owner
 * @uid:@gid, explicit backing format, nothing opened (the size is given).
 * @backing_name NULL: source_qemu_name(backing); else written as it is (a relative name).
 */
gboolean image_tool_create_overlay(const char *path, const struct source *backing,
				   const char *backing_name, const char *backing_format,
				   guint64 virtual_bytes, int uid, int gid, GError **error);

/*
 * qemu-img commit of @overlay (qcow2 file, offline) into its @backing layer, which
 * is opened by the source given here (the overlay's header is made to name it); the image
 * below keeps its size.
 */
gboolean image_tool_commit(const char *overlay, const struct layer *backing, GError **error);

/* qemu-img check; an error names what it found. */
gboolean image_tool_check(const struct source *source, const char *format, GError **error);

/*
 * An NBD server of one layer, or a chain, read-only over a UNIX socket in a private
 * folder.  @layers: active one first; each is opened by its own source (locking off),
 * never by the names in the headers; the last has no backing.  With @alone only
 * layers[0] is opened, without its backing: what is not allocated in it reads as zeros.
 */
struct image_server;
struct image_server *image_server_start(GPtrArray *layers, gboolean alone, GError **error);
void image_server_stop(struct image_server *server);
AUTO_DEFINE(image_server, image_server_stop)
/* nbd+unix URL of the chain's content; borrowed. */
const struct url *image_server_url(const struct image_server *server);
/*
 * The same, with extents of layers[0] only: EXTENT_UNKNOWN where it holds nothing.
 */
const struct url *image_server_top_url(const struct image_server *server);

/*
 * Whether two qcow2 overlays, each opened without its backing, hold the same: equal
 * allocation and equal bytes.  INTEGRITY where not, naming the first difference.  Sound
 * only while nobody writes to them.
 */
gboolean image_tool_compare_overlays(const char *a, const char *b, GError **error);

/*
 * A SHA-256, in hex, over what a qcow2 overlay holds without its backing: the allocation and
 * the bytes.  What QEMU does to the file as it closes it is no change.  NULL on failure; the
 * caller frees.  As sound as the compare.
 */
char *image_tool_overlay_digest(const char *path, GError **error);

/*
 * Whether @upper, laid over @lower, hides all that it holds; INTEGRITY where not, naming
 * the first offset that would show through.  As sound as the compare, and when.
 */
gboolean image_tool_overlay_hides(const char *upper, const char *lower, GError **error);

/*
 * Runs @argv; FALSE with the words of its stderr where it does not exit with 0.  UNKNOWN
 * where it neither ended nor said anything for @deadline_ms (0: no limit).
 */
gboolean tool_run(const char *const *argv, guint deadline_ms, char **output, GError **error);

#endif
