/*
 * What a LUN is: its size, its identity and what it can do, from READ CAPACITY and the
 * vital product data (SPC, SBC).
 */
#ifndef TRANSPORTS_ISCSI_DISK_H
#define TRANSPORTS_ISCSI_DISK_H

#include "transports/iscsi_session.h"
#include "transports/transport.h"

struct iscsi_disk {
	guint64 blocks;
	guint32 block_bytes;
	guint64 transfer_blocks;   /* the most of one READ or WRITE; 0: no limit told */
	guint64 write_same_blocks; /* the most of one WRITE SAME; 0: no limit told */
	gboolean unmapped_is_zero; /* thin, and what is not mapped reads as zeros */
	gboolean can_unmap_same;   /* WRITE SAME(16) with UNMAP */
	char identity[IDENTITY_BYTES];
};

gboolean iscsi_disk_probe(struct iscsi_session *session, struct iscsi_disk *disk, GError **error);

/* FALSE and NOT_FOUND where there is no such LUN, PERMANENT where it is no disk. */
gboolean iscsi_disk_require(struct iscsi_session *session, GError **error);

/* Size and block size alone. */
gboolean iscsi_disk_capacity(struct iscsi_session *session, struct iscsi_disk *disk,
			     GError **error);

/*
 * "scsi:" and the best designator of a device identification page (0x83) in hex, as
 * udev has it in a WWID: NAA before EUI-64 before T10, of these the longest.  Empty where it has
 * none.
 */
void iscsi_disk_identity(const guint8 *page, gsize bytes, char identity[IDENTITY_BYTES]);

#endif
