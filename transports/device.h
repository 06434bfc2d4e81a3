/*
 * Block devices: what the kernel knows of them, for the file transport.
 */
#ifndef TRANSPORTS_DEVICE_H
#define TRANSPORTS_DEVICE_H

#include <glib.h>
#include <sys/types.h>

/* Size and logical block (BLKGETSIZE64, BLKSSZGET).  FALSE with errno set. */
gboolean device_geometry(int fd, guint64 *size_bytes, guint32 *block_bytes);

/*
 * Writes back and forgets what the page cache holds of the device (BLKFLSBUF).  Best
 * effort: it needs CAP_SYS_ADMIN, and O_DIRECT reads are right without it.
 */
void device_drop_cache(int fd);

/*
 * "scsi:" with the VPD page 0x83 designator as the iSCSI transport writes it (its type,
 * then hexadecimal digits) where sysfs knows it, also for a multipath device over such
 * LUNs; else "dm:UUID" or "md:UUID".  A device without a name (virtio, a zvol, a loop
 * device, an array where the kernel does not tell its UUID) has "dev:M:m@BOOT.DISKSEQ",
 * which is nobody's after a reboot or, since Linux 5.15, after another disk was attached
 * as that device.  A partition has its disk's with "-partN" behind it, as udev names it.
 * "" where the kernel does not say which boot it is, and where it is longer than the room.
 */
void device_identity(dev_t device, char *identity, gsize identity_bytes);

/*
 * The identity of the disk, or of the partition of a multipath device, that sysfs calls
 * @name and that has a name of this @kind ("scsi", "dm", "md").  The caller frees.
 */
char *device_name(const char *kind, const char *name);

/* Whether zeroing can free space (the queue takes discards). */
gboolean device_can_discard(dev_t device);

#endif
