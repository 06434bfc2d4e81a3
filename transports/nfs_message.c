#include "transports/nfs_message.h"

#include <string.h>

/* RFC 5531; the rest of its numbers are libnfs's. */
enum { RPC_VERSION = 2, AUTH_BYTES_MOST = 400 };

/* RFC 1813: fattr3, and what a WRITE tells of the file before it. */
enum { FATTR3_BYTES = 84, WCC_ATTR_BYTES = 24 };

/* Names this client to the server's logs; the credentials are the numbers behind it. */
static const char machine[] = "blockmig";

static const char contradiction[] = "the server's answer contradicts itself";

/* ---- calls (RFC 4506 for the encoding) --------------------------------------------- */

struct writer {
	guint8 *head;
	gsize bytes;
};

static void put_u32(struct writer *writer, guint32 value)
{
	const guint32 big = GUINT32_TO_BE(value);

	memcpy(writer->head + writer->bytes, &big, sizeof(big));
	writer->bytes += sizeof(big);
}

static void put_u64(struct writer *writer, guint64 value)
{
	put_u32(writer, (guint32)(value >> 32));
	put_u32(writer, (guint32)value);
}

static void put_opaque(struct writer *writer, const void *bytes, guint32 count)
{
	const guint32 padding = nfs_message_padding(count);

	put_u32(writer, count);
	memcpy(writer->head + writer->bytes, bytes, count);
	memset(writer->head + writer->bytes + count, 0, padding);
	writer->bytes += count + padding;
}

static void put_header(struct writer *writer, const struct nfs_link *link, guint32 xid,
		       guint32 procedure)
{
	put_u32(writer, xid);
	put_u32(writer, CALL);
	put_u32(writer, RPC_VERSION);
	put_u32(writer, NFS_PROGRAM);
	put_u32(writer, NFS_V3);
	put_u32(writer, procedure);

	put_u32(writer, AUTH_UNIX);
	put_u32(writer, 4 + 4 + sizeof(machine) - 1 + 4 + 4 + 4);
	put_u32(writer, 0); /* the stamp */
	put_opaque(writer, machine, sizeof(machine) - 1);
	put_u32(writer, (guint32)link->uid);
	put_u32(writer, (guint32)link->gid);
	put_u32(writer, 0); /* no more groups */
	put_u32(writer, AUTH_NONE);
	put_u32(writer, 0);
}

gsize nfs_message_put_call(guint8 *head, const struct nfs_link *link, guint32 xid,
			   const struct nfs_wire_request *request)
{
	struct writer writer = {.head = head, .bytes = NFS_MESSAGE_MARK_BYTES};
	gsize data_bytes = 0;
	guint32 mark;

	put_header(&writer, link, xid, request->writing ? NFS3_WRITE : NFS3_READ);
	put_opaque(&writer, request->file->data.data_val, request->file->data.data_len);
	put_u64(&writer, request->offset);
	put_u32(&writer, request->bytes);
	if (request->writing) {
		put_u32(&writer, UNSTABLE);
		put_u32(&writer, request->bytes);
		data_bytes = request->bytes + nfs_message_padding(request->bytes);
	}
	mark = NFS_MESSAGE_LAST | (guint32)(writer.bytes - NFS_MESSAGE_MARK_BYTES + data_bytes);
	mark = GUINT32_TO_BE(mark);
	memcpy(head, &mark, sizeof(mark));
	return writer.bytes;
}

/* ---- answers ------------------------------------------------------------------------ */

/* Reads an answer's head; short: it has not all arrived. */
struct cursor {
	const guint8 *at;
	gsize left;
	gboolean is_short;
};

static const guint8 *take(struct cursor *cursor, gsize count)
{
	static const guint8 nothing[FATTR3_BYTES];
	const guint8 *at = cursor->at;

	if (cursor->left < count) {
		cursor->is_short = TRUE;
		cursor->left = 0;
		return nothing;
	}
	cursor->at += count;
	cursor->left -= count;
	return at;
}

static guint32 take_u32(struct cursor *cursor)
{
	guint32 big;

	memcpy(&big, take(cursor, sizeof(big)), sizeof(big));
	return GUINT32_FROM_BE(big);
}

/* Attributes that a server may or may not send along. */
static void skip_optional(struct cursor *cursor, gsize bytes)
{
	if (take_u32(cursor))
		take(cursor, bytes);
}

/* NULL, or why the answer cannot be believed.  Means nothing where the head is short. */
static const char *read_rpc_header(struct cursor *cursor)
{
	guint32 type, reply, verifier_bytes, accepted;

	take_u32(cursor); /* the XID, by which the request was found */
	type = take_u32(cursor);
	reply = take_u32(cursor);
	if (cursor->is_short)
		return NULL;
	if (type != REPLY)
		return "the server answers what was not asked";
	if (reply != MSG_ACCEPTED)
		return "the server refuses the call (its RPC layer denies it; see uid= and gid= in "
		       "the URL, and the export's security flavours)";
	take_u32(cursor);
	verifier_bytes = take_u32(cursor);
	if (!cursor->is_short && verifier_bytes > AUTH_BYTES_MOST)
		return contradiction;
	take(cursor, verifier_bytes + nfs_message_padding(verifier_bytes));
	accepted = take_u32(cursor);
	if (!cursor->is_short && accepted != SUCCESS)
		return "the server's RPC layer could not carry out the call";
	return NULL;
}

static const char *read_write_result(struct cursor *cursor, struct nfs_wire_request *request)
{
	skip_optional(cursor, WCC_ATTR_BYTES);
	skip_optional(cursor, FATTR3_BYTES);
	if (request->status != NFS3_OK)
		return NULL;
	request->count = take_u32(cursor);
	request->committed = (stable_how)take_u32(cursor);
	memcpy(request->verifier, take(cursor, sizeof(writeverf3)), sizeof(writeverf3));
	return !cursor->is_short && (request->count > request->bytes || request->count == 0)
		       ? contradiction
		       : NULL;
}

/* The flag for the end of the file is not looked at: the size is known. */
static const char *read_read_result(struct cursor *cursor, struct nfs_wire_request *request,
				    guint32 *data_bytes)
{
	skip_optional(cursor, FATTR3_BYTES);
	if (request->status != NFS3_OK)
		return NULL;
	request->count = take_u32(cursor);
	take_u32(cursor);
	*data_bytes = take_u32(cursor);
	return !cursor->is_short &&
			       (request->count > request->bytes || request->count != *data_bytes)
		       ? contradiction
		       : NULL;
}

gboolean nfs_message_xid(const guint8 *head, gsize bytes, guint32 *xid)
{
	struct cursor cursor = {.at = head, .left = bytes};

	*xid = take_u32(&cursor);
	return !cursor.is_short;
}

const char *nfs_message_take_answer(const guint8 *head, gsize bytes,
				    struct nfs_wire_request *request, gsize *used,
				    guint32 *data_bytes)
{
	struct cursor cursor = {.at = head, .left = bytes};
	const char *wrong = read_rpc_header(&cursor);

	*used = 0;
	*data_bytes = 0;
	if (wrong || cursor.is_short)
		return wrong;
	request->status = (nfsstat3)take_u32(&cursor);
	if (!cursor.is_short)
		wrong = request->writing ? read_write_result(&cursor, request)
					 : read_read_result(&cursor, request, data_bytes);
	if (!wrong && !cursor.is_short)
		*used = (gsize)(cursor.at - head);
	return wrong;
}
