/*
 * What a file is, whatever its name.
 *
 * It has to be known again after a reboot, when device mapper's volumes, btrfs, ZFS and
 * mounts of NFS have another st_dev.  What stays is the handle that the kernel would give
 * to the clients of an NFS server (name_to_handle_at(2)): it has the inode's generation
 * too, so that a file is not taken for the one that had its inode before.  Two file systems
 * of which one is a snapshot of the other have equal handles; of what is mounted now,
 * st_dev tells them apart.
 */
#ifndef TRANSPORTS_INODE_H
#define TRANSPORTS_INODE_H

#include <glib.h>
#include <sys/stat.h>

/*
 * "file:TYPE.HANDLE:INODE", in hexadecimal digits but for the inode; "file:DEV:INODE" where
 * the file system has no handles (overlayfs, some of FUSE).
 */
void inode_identity(int fd, const struct stat *st, char *identity, gsize identity_bytes);

#endif
