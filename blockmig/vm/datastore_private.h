/* What config.c, datastore.c, host.c and place.c share. */
#ifndef VM_DATASTORE_PRIVATE_H
#define VM_DATASTORE_PRIVATE_H

#include "blockmig/vm/datastore.h"

/* With nothing in it. */
struct datastore *datastore_new(const char *name);
void datastore_free(struct datastore *datastore);
AUTO_DEFINE(datastore, datastore_free)

/* Fills what follows from the other: the URL from the path.  USAGE where both are missing. */
gboolean datastore_complete(struct datastore *datastore, GError **error);

/* From a pool's XML. */
struct datastore *datastore_of_pool(const char *xml, GError **error);

/*
 * What of @path lies below the folder @above: "" for the same, else without a leading '/'.
 * NULL where it is not inside; borrowed from @path.
 */
const char *path_below(const char *above, const char *path);
/* The same for URLs (a LUN lies below its target); the caller frees. */
char *url_below(const struct url *above, const struct url *url);
/* The image or folder @rest, as path_below gives it, in @above. */
struct url *url_at(const struct url *above, const char *rest);
struct url *url_of_path(const char *path);

/* The datastore with the longest path, or URL, that the other lies in; or NULL. */
const struct datastore *datastore_around_path(const struct config *config, const char *path);
const struct datastore *datastore_around_url(const struct config *config, const struct url *url);

#define HOST_MOUNTINFO "/proc/self/mountinfo"
#define HOST_BY_PATH   "/dev/disk/by-path"

/*
 * The NFS URL of a path on an NFS mount, by the table in @mountinfo; NULL where it is
 * on no NFS mount.
 */
struct url *host_nfs_url(const char *mountinfo, const char *path);
/*
 * The iSCSI URL of a block device that the kernel's initiator attached, by udev's links
 * in the folder @by_path; NULL where it is none, or only a partition.
 */
struct url *host_iscsi_url(const char *by_path, const char *device);

#endif
