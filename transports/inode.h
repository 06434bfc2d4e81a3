/*
 * What a file is, whatever its name.
 *
 * It has to be known again after a reboot, when device mapper's volumes, btrfs, ZFS and
 * mounts of NFS have another st_dev.  What stays is the handle that the kernel would give
 * to the clients of an NFS server (name_to_handle_at(2)): of most file systems it has the
 * inode's generation too, so that a file is not taken for the one that had its inode before.
 * It does not say which file system it is of, and two give the same one where they count
 * instead of drawing lots; statfs(2)'s f_fsid is in front of it where that stays as well.
 *
 * A file system and its copy, byte for byte, are one by this; of what is mounted now, st_dev
 * tells them apart.
 */
#ifndef TRANSPORTS_INODE_H
#define TRANSPORTS_INODE_H

#include <glib.h>
#include <sys/stat.h>

/*
 * "file:[FSID.]TYPE.HANDLE:INODE", in hexadecimal digits but for the inode; "file:DEV:INODE"
 * on FUSE, and where the file system has no handles (overlayfs, CIFS) or the kernel gives
 * none out.  FALSE with errno set.
 */
gboolean inode_identity(int fd, const struct stat *st, char *identity, gsize identity_bytes);

/*
 * Whether no other number is that of the file system (subvolume, data set) that the file is
 * on, as long as it is mounted.  A mount of NFS, say, may be there twice under two numbers.
 */
gboolean inode_has_own_device(const char *path, const struct stat *st);

#endif
