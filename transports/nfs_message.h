/*
 * The bytes of a READ and of a WRITE of NFS 3: a call without its data, and an answer up
 * to its data (RFC 5531 for the records, calls and answers, RFC 1813 for the procedures,
 * RFC 4506 for the encoding).  Nothing here does any I/O: see nfs_wire.h.
 */
#ifndef TRANSPORTS_NFS_MESSAGE_H
#define TRANSPORTS_NFS_MESSAGE_H

#include "transports/nfs_wire.h"

enum {
	NFS_MESSAGE_MARK_BYTES = 4,
	NFS_MESSAGE_CALL_BYTES = 256, /* the mark too; 208 with the longest file handle */
};

/* In a record mark: the fragment is the last one; the rest of it is a length. */
#define NFS_MESSAGE_LAST 0x80000000u

/* Behind data of so many bytes. */
static inline guint32 nfs_message_padding(guint32 bytes)
{
	return -bytes & 3;
}

/*
 * Writes the call, behind its record mark, into @head (of NFS_MESSAGE_CALL_BYTES); the
 * data of a WRITE and its padding are to follow.  The length of what is written.
 */
gsize nfs_message_put_call(guint8 *head, const struct nfs_link *link, guint32 xid,
			   const struct nfs_wire_request *request);

/* FALSE where the first @bytes of the answer do not hold it yet. */
gboolean nfs_message_xid(const guint8 *head, gsize bytes, guint32 *xid);

/*
 * What the first @bytes of the answer (its record marks taken out) say to @request.  NULL,
 * or why it cannot be believed.  *used is 0 as long as more bytes are needed; then the
 * request's answer is set, and *data_bytes, at most request->bytes, follow behind *used.
 */
const char *nfs_message_take_answer(const guint8 *head, gsize bytes,
				    struct nfs_wire_request *request, gsize *used,
				    guint32 *data_bytes);

#endif
