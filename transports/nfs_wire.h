/*
 * READ and WRITE of NFS 3, written to and read from a link's connection by ourselves.
 *
 * libnfs copies every byte twice more than needed: a WRITE's data into the request, a
 * READ's into the answer and out of it.  Copying is what a transfer costs, so here data
 * goes between the socket and the caller's buffer alone (RFC 5531 for the records and
 * calls, RFC 1813 for READ and WRITE).  All other calls are libnfs's, over the same
 * connection, while none of ours is in flight.
 *
 *     nfs_wire_submit(wire, &request);            as many as there are to be in flight
 *     while (request.in_flight)
 *             nfs_wire_turn(wire, -1, &error);    FALSE: the link is lost, all are back
 *
 * What a server answers is believed only where it fits what was asked; anything else
 * loses the link, as the bytes behind it could not be told apart any more.
 */
#ifndef TRANSPORTS_NFS_WIRE_H
#define TRANSPORTS_NFS_WIRE_H

#include "transports/nfs_link.h"

enum { NFS_WIRE_DEPTH = 16 };

/* One READ or WRITE (UNSTABLE), and its answer. */
struct nfs_wire_request {
	gboolean writing;
	const nfs_fh3 *file; /* looked at by nfs_wire_submit alone */
	/* Belongs to the wire while in flight: filled by a READ, not changed by a WRITE. */
	char *buffer;
	guint64 offset;
	guint32 bytes;

	gboolean in_flight;
	nfsstat3 status; /* what follows is set for NFS3_OK */
	guint32 count;	 /* at most bytes */
	stable_how committed;
	writeverf3 verifier;
};

struct nfs_wire;

/* @link is borrowed. */
struct nfs_wire *nfs_wire_new(struct nfs_link *link);
void nfs_wire_free(struct nfs_wire *wire);

/* Queues the request; at most NFS_WIRE_DEPTH are in flight. */
void nfs_wire_submit(struct nfs_wire *wire, struct nfs_wire_request *request);

/*
 * Sends what can be sent and takes what has arrived, waiting for either; as
 * nfs_link_turn.  Requests that were answered are no longer in flight.
 */
gboolean nfs_wire_turn(struct nfs_wire *wire, int wait_ms, GError **error);

#endif
