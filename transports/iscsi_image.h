/*
 * An open LUN, and its data: many commands in flight.
 */
#ifndef TRANSPORTS_ISCSI_IMAGE_H
#define TRANSPORTS_ISCSI_IMAGE_H

#include "transports/iscsi_disk.h"
#include "transports/iscsi_login.h"

struct iscsi_image {
	struct handle base;
	struct iscsi_session *session;
	struct iscsi_disk disk;
	guint32 piece_bytes;	   /* the most of one command */
	gboolean no_write_same;	   /* refused once */
	gboolean knows_allocation; /* GET LBA STATUS works, and tells what reads as zeros */
	gboolean is_settled;	   /* flushed before it was asked for what is mapped */
};

/* All of @count bytes, whole blocks; FALSE with an error that names the offset. */
gboolean iscsi_image_read(struct iscsi_image *image, void *buffer, gsize count, guint64 offset,
			  GError **error);
gboolean iscsi_image_write(struct iscsi_image *image, const void *buffer, gsize count,
			   guint64 offset, GError **error);
/* SYNCHRONIZE CACHE of the whole LUN. */
gboolean iscsi_image_flush(struct iscsi_image *image, GError **error);

#endif
