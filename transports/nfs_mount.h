/*
 * The MOUNT protocol: from a path to the handle of the export that holds it.
 */
#ifndef TRANSPORTS_NFS_MOUNT_H
#define TRANSPORTS_NFS_MOUNT_H

#include "transports/address.h"
#include "transports/nfs_session.h"

/*
 * Fills in the session's root and the path below it.  Asks the port mapper for the
 * MOUNT program's port where the URL has none.
 */
gboolean nfs_mount_export(struct nfs_session *session, const struct url *url,
			  const struct address *address, guint stall_ms, GError **error);

/*
 * The export of @exports (char *) that is the longest prefix of @path in whole
 * components, or NULL.
 */
const char *nfs_mount_longest(const GPtrArray *exports, const char *path);

#endif
