/*
 * Bare images as copy and verify see them: where they are, what they hold.
 */
#ifndef MOVE_IMAGE_OPEN_H
#define MOVE_IMAGE_OPEN_H

#include "blockmig/vm/datastore.h"

struct image_server;

struct image_view {
	struct place *place;
	struct image_info info; /* of the file or device itself */
	char *format;
	guint64 virtual_bytes; /* what a guest would see */
	char *backing_name;    /* NULL: none */
};

/* As url_parse, but a relative path is one of the current folder, as for any tool. */
struct url *image_url(const char *text, GError **error);

/*
 * @format NULL: raw for devices and LUNs, probed for files.
 */
struct image_view *image_view_open(struct config *config, const char *text, const char *format,
				   GError **error);
void image_view_free(struct image_view *view);
AUTO_DEFINE(image_view, image_view_free)

/* Whether QEMU has the file open for writing (its lock on byte 101); FALSE for what is no file. */
gboolean image_is_written(const struct place *place);
gboolean image_is_device(struct handle *handle);
/* Whether anything may be data; stops at the first that may. */
gboolean image_has_data(struct handle *handle, gboolean *has_data, GError **error);
/* Whether a device holds anything: its first MiB, and its extents where they are known. */
gboolean image_looks_used(struct handle *handle);

#endif
