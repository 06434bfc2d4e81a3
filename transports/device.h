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
 * LUNs; else "dm:UUID", else "dev:M:m", which another disk may have after a reboot.  A
 * partition has its disk's with "-partN" behind it, as udev names it.
 */
void device_identity(dev_t device, char *identity, gsize identity_bytes);

/* Whether zeroing can free space (the queue takes discards). */
gboolean device_can_discard(dev_t device);

#endif
