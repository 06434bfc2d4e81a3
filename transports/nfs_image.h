/*
 * An open image on an NFS server, and its data: many requests in flight, and the
 * write verifier of each watched until the next COMMIT.
 */
#ifndef TRANSPORTS_NFS_IMAGE_H
#define TRANSPORTS_NFS_IMAGE_H

#include "transports/nfs_session.h"
#include "transports/nfs_wire.h"

struct nfs_image {
	struct handle base;
	struct nfs_session *session;
	struct nfs_wire *wire; /* READ and WRITE over the session's link */
	struct nfs_object object;
	guint32 read_bytes, write_bytes; /* the most of one request */
	gboolean unstable;		 /* something was written and not committed */
	writeverf3 verifier;		 /* of what was */
};

/* All of @count bytes; FALSE with an error that names the offset. */
gboolean nfs_image_read(struct nfs_image *image, void *buffer, gsize count, guint64 offset,
			GError **error);
gboolean nfs_image_write(struct nfs_image *image, const void *buffer, gsize count, guint64 offset,
			 GError **error);

/*
 * COMMIT, where anything is unstable.  TRANSIENT, and the link is lost, where the
 * server's verifier is not that of every write since the last commit: it restarted
 * and has forgotten them (RFC 1813, 3.3.21).
 */
gboolean nfs_image_commit(struct nfs_image *image, GError **error);

/*
 * Notes the answer to one WRITE; FALSE where its verifier shows that writes before it
 * were lost.
 */
gboolean nfs_image_note_write(struct nfs_image *image, stable_how committed,
			      const writeverf3 verifier);

#endif
