/*
 * The places that NFS images lie in: creating, removing, listing, room.
 */
#ifndef TRANSPORTS_NFS_PLACE_H
#define TRANSPORTS_NFS_PLACE_H

#include "transports/transport.h"

/*
 * CREATE in EXCLUSIVE mode: when the answer is lost, the same verifier sent again over
 * a new connection tells our own file from somebody else's (RFC 1813, 3.3.8).
 */
gboolean nfs_place_create(const struct url *url, const struct transport_config *config,
			  const struct image_create *create, GError **error);

/*
 * Truncates before it removes, where this is the file's only name: a server that still
 * holds the file open would keep its space.
 */
gboolean nfs_place_remove(const struct url *url, const struct transport_config *config,
			  GError **error);
gboolean nfs_place_space(const struct url *place, const struct transport_config *config,
			 guint64 *free_bytes, guint64 *total_bytes, GError **error);
GPtrArray *nfs_place_list(const struct url *place, const struct transport_config *config,
			  GError **error);

#endif
