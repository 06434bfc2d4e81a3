/*
 * A mounted NFS 3 export: a link to the NFS program, the export's root, and the path
 * below it; and the calls that name things (data goes through transports/nfs.c).
 */
#ifndef TRANSPORTS_NFS_SESSION_H
#define TRANSPORTS_NFS_SESSION_H

#include "transports/nfs_link.h"
#include "transports/transport.h"

/* libnfs's nfs_fh3 points into its buffers; this is one's own. */
struct nfs_object {
	u_int length;
	char bytes[NFS3_FHSIZE];
};

struct nfs_session {
	struct nfs_link *link;
	char *host; /* the address in use, to be blamed where the link is lost */
	int port;
	char *name;  /* url_format() of what was asked for, for errors */
	char *below; /* the path below the export; "" for the export itself */
	struct nfs_object root;
};

/*
 * Connects to the first of the server's addresses that answers and mounts the export
 * that holds @url's path: the longest one of the server's list, or else the nearest
 * folder above that the server lets us mount.
 */
struct nfs_session *nfs_session_open(const struct url *url, const struct transport_config *config,
				     GError **error);
void nfs_session_close(struct nfs_session *session);
AUTO_DEFINE(nfs_session, nfs_session_close)

/* The object that the URL names, and what it is. */
gboolean nfs_session_find(struct nfs_session *session, struct nfs_object *object, fattr3 *facts,
			  GError **error);
/* The folder that holds it; *@leaf points into the session's path. */
gboolean nfs_session_find_folder(struct nfs_session *session, struct nfs_object *folder,
				 const char **leaf, GError **error);
gboolean nfs_session_lookup(struct nfs_session *session, const struct nfs_object *folder,
			    const char *leaf, struct nfs_object *object, GError **error);
gboolean nfs_session_getattr(struct nfs_session *session, const struct nfs_object *object,
			     fattr3 *facts, GError **error);
gboolean nfs_session_setattr(struct nfs_session *session, const struct nfs_object *object,
			     const sattr3 *wanted, GError **error);

/* libnfs's view of @object, as long as that lives. */
nfs_fh3 nfs_object_handle(const struct nfs_object *object);
void nfs_object_take(struct nfs_object *object, u_int length, const char *bytes);

#endif
