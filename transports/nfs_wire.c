#include "transports/nfs_wire.h"

#include "common/error.h"
#include "transports/address.h"
#include "transports/nfs_message.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
	STAGE_BYTES = 512, /* an answer without its data, and little more */
	TAIL_BYTES = 512,  /* the most that may follow: it is padding */
	SEND_AT_ONCE = 8,
};

struct call {
	struct nfs_wire_request *request; /* NULL: free */
	guint32 xid;
	guint8 head[NFS_MESSAGE_CALL_BYTES];
	gsize head_bytes;
};

/* Where in an answer we are. */
enum stage { IN_HEAD, IN_DATA, IN_TAIL };

struct nfs_wire {
	struct nfs_link *link;
	guint32 xid;
	struct call calls[NFS_WIRE_DEPTH];

	/* What is to be sent, oldest first; of the first one, so many bytes are sent. */
	struct call *queue[NFS_WIRE_DEPTH];
	guint queued;
	gsize sent;

	/* Bytes that came with what was read last, record marks and all. */
	guint8 stage[STAGE_BYTES];
	gsize stage_from, stage_to;

	/* The answer that is arriving. */
	guint8 mark[NFS_MESSAGE_MARK_BYTES];
	guint mark_bytes;
	guint32 fragment_left;
	gboolean fragment_last;
	enum stage at;
	guint8 head[STAGE_BYTES];
	gsize head_bytes;
	struct call *answered; /* in data and tail */
	guint32 data_left;
	gsize tail_bytes;
};

struct nfs_wire *nfs_wire_new(struct nfs_link *link)
{
	struct nfs_wire *wire = g_new0(struct nfs_wire, 1);

	wire->link = link;
	wire->xid = g_random_int();
	return wire;
}

void nfs_wire_free(struct nfs_wire *wire)
{
	g_free(wire);
}

/* ---- calls ------------------------------------------------------------------------ */

static struct call *call_free(struct nfs_wire *wire)
{
	for (guint i = 0; i < NFS_WIRE_DEPTH; i++)
		if (!wire->calls[i].request)
			return &wire->calls[i];
	g_assert_not_reached();
}

void nfs_wire_submit(struct nfs_wire *wire, struct nfs_wire_request *request)
{
	struct call *call = call_free(wire);

	call->request = request;
	call->xid = wire->xid++;
	call->head_bytes = nfs_message_put_call(call->head, wire->link, call->xid, request);
	request->in_flight = TRUE;
	wire->queue[wire->queued++] = call;
}

/* ---- losing the link --------------------------------------------------------------- */

/* Whatever is in flight will not be answered any more. */
static gboolean lose(struct nfs_wire *wire, const char *why, GError **error)
{
	nfs_link_lose(wire->link, why, error);
	for (guint i = 0; i < NFS_WIRE_DEPTH; i++) {
		if (wire->calls[i].request)
			wire->calls[i].request->in_flight = FALSE;
		wire->calls[i].request = NULL;
	}
	wire->queued = 0;
	return FALSE;
}

static const char no_end[] = "the server's answer has no end, or ends before it should";

/* ---- sending ----------------------------------------------------------------------- */

struct pieces {
	struct iovec vector[3 * SEND_AT_ONCE];
	guint count;
	gsize skip; /* bytes that are sent already */
};

static void pieces_add(struct pieces *pieces, const void *bytes, gsize count)
{
	const gsize skipped = MIN(pieces->skip, count);

	pieces->skip -= skipped;
	if (count > skipped)
		pieces->vector[pieces->count++] = (struct iovec){
			.iov_base = (char *)bytes + skipped, .iov_len = count - skipped};
}

static gsize call_bytes(const struct call *call)
{
	const struct nfs_wire_request *request = call->request;

	return call->head_bytes +
	       (request->writing ? request->bytes + nfs_message_padding(request->bytes) : 0);
}

static void pieces_add_call(struct pieces *pieces, const struct call *call)
{
	static const guint8 zeros[4];
	const struct nfs_wire_request *request = call->request;

	pieces_add(pieces, call->head, call->head_bytes);
	if (!request->writing)
		return;
	pieces_add(pieces, request->buffer, request->bytes);
	pieces_add(pieces, zeros, nfs_message_padding(request->bytes));
}

static void drop_sent(struct nfs_wire *wire)
{
	guint whole = 0;

	while (whole < wire->queued && wire->sent >= call_bytes(wire->queue[whole]))
		wire->sent -= call_bytes(wire->queue[whole++]);
	wire->queued -= whole;
	memmove(wire->queue, wire->queue + whole, wire->queued * sizeof(*wire->queue));
}

static void progress(struct nfs_wire *wire)
{
	wire->link->stalled = deadline_in(wire->link->stall_ms);
}

/* As much as the socket takes. */
static gboolean send_queued(struct nfs_wire *wire, int fd, GError **error)
{
	while (wire->queued) {
		struct pieces pieces = {.skip = wire->sent};
		struct msghdr message = {.msg_iov = pieces.vector};
		gssize bytes;

		for (guint i = 0; i < MIN(wire->queued, (guint)SEND_AT_ONCE); i++)
			pieces_add_call(&pieces, wire->queue[i]);
		message.msg_iovlen = pieces.count;
		bytes = TEMP_FAILURE_RETRY(sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT));
		if (bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return TRUE;
		if (bytes < 0)
			return lose(wire, g_strerror(errno), error);
		progress(wire);
		wire->sent += (gsize)bytes;
		drop_sent(wire);
	}
	return TRUE;
}

/* ---- an answer ---------------------------------------------------------------------- */

static struct call *call_of(struct nfs_wire *wire, guint32 xid)
{
	for (guint i = 0; i < NFS_WIRE_DEPTH; i++)
		if (wire->calls[i].request && wire->calls[i].xid == xid)
			return &wire->calls[i];
	return NULL;
}

/* NULL, or what is wrong; *used is 0 as long as the head is not whole. */
static const char *parse_head(struct nfs_wire *wire, gsize *used)
{
	guint32 xid;

	*used = 0;
	if (!nfs_message_xid(wire->head, wire->head_bytes, &xid))
		return NULL;
	wire->answered = call_of(wire, xid);
	if (!wire->answered)
		return "the server answers what was not asked";
	return nfs_message_take_answer(wire->head, wire->head_bytes, wire->answered->request, used,
				       &wire->data_left);
}

static char *data_target(const struct nfs_wire *wire)
{
	const struct nfs_wire_request *request = wire->answered->request;

	return request->buffer + (request->count - wire->data_left);
}

static void answer_ended(struct nfs_wire *wire)
{
	wire->answered->request->in_flight = FALSE;
	wire->answered->request = NULL;
	wire->answered = NULL;
	wire->head_bytes = 0;
	wire->tail_bytes = 0;
	wire->at = IN_HEAD;
}

/* ---- receiving ----------------------------------------------------------------------- */

static gsize staged(const struct nfs_wire *wire)
{
	return wire->stage_to - wire->stage_from;
}

static void drop_staged(struct nfs_wire *wire, gsize count)
{
	wire->stage_from += count;
	wire->fragment_left -= (guint32)count;
}

/* Empty fragments, but for the last, could go on for ever. */
static const char *take_mark(struct nfs_wire *wire)
{
	guint32 mark;

	while (wire->mark_bytes < sizeof(wire->mark) && staged(wire))
		wire->mark[wire->mark_bytes++] = wire->stage[wire->stage_from++];
	if (wire->mark_bytes < sizeof(wire->mark))
		return NULL;
	memcpy(&mark, wire->mark, sizeof(mark));
	mark = GUINT32_FROM_BE(mark);
	wire->mark_bytes = 0;
	wire->fragment_last = (mark & NFS_MESSAGE_LAST) != 0;
	wire->fragment_left = mark & ~NFS_MESSAGE_LAST;
	return mark ? NULL : no_end;
}

/* Moves what is staged into the head, and what turns out to be data where it belongs. */
static const char *take_head(struct nfs_wire *wire)
{
	const gsize count = MIN(MIN(staged(wire), (gsize)wire->fragment_left),
				sizeof(wire->head) - wire->head_bytes);
	const char *wrong;
	gsize used, data;

	if (count == 0)
		return no_end;
	memcpy(wire->head + wire->head_bytes, wire->stage + wire->stage_from, count);
	wire->head_bytes += count;
	drop_staged(wire, count);
	wrong = parse_head(wire, &used);
	if (wrong || !used)
		return wrong;
	data = MIN(wire->head_bytes - used, (gsize)wire->data_left);
	if (data)
		memcpy(data_target(wire), wire->head + used, data);
	wire->data_left -= (guint32)data;
	wire->at = wire->data_left ? IN_DATA : IN_TAIL;
	return NULL;
}

static void take_data(struct nfs_wire *wire)
{
	const gsize count = MIN(MIN(staged(wire), (gsize)wire->fragment_left), wire->data_left);

	memcpy(data_target(wire), wire->stage + wire->stage_from, count);
	drop_staged(wire, count);
	wire->data_left -= (guint32)count;
	if (wire->data_left == 0)
		wire->at = IN_TAIL;
}

static const char *take_tail(struct nfs_wire *wire)
{
	const gsize count = MIN(staged(wire), (gsize)wire->fragment_left);

	drop_staged(wire, count);
	wire->tail_bytes += count;
	return wire->tail_bytes <= TAIL_BYTES ? NULL : no_end;
}

/* Works off what is staged.  NULL, or what is wrong with it. */
static const char *digest_stage(struct nfs_wire *wire)
{
	const char *wrong = NULL;

	for (;;) {
		if (wire->fragment_left == 0 && wire->fragment_last) {
			if (wire->at != IN_TAIL)
				return no_end;
			wire->fragment_last = FALSE;
			answer_ended(wire);
		}
		if (!staged(wire))
			return NULL;
		if (wire->fragment_left == 0)
			wrong = take_mark(wire);
		else if (wire->at == IN_HEAD)
			wrong = take_head(wire);
		else if (wire->at == IN_DATA)
			take_data(wire);
		else
			wrong = take_tail(wire);
		if (wrong)
			return wrong;
	}
}

/* Into the caller's buffer where it is data that comes next, else into the stage. */
static gssize receive_some(struct nfs_wire *wire, int fd)
{
	const gboolean direct = wire->at == IN_DATA && wire->fragment_left > 0;
	gssize bytes;

	if (direct) {
		bytes = TEMP_FAILURE_RETRY(recv(fd, data_target(wire),
						MIN(wire->data_left, wire->fragment_left),
						MSG_DONTWAIT));
		if (bytes > 0) {
			wire->data_left -= (guint32)bytes;
			wire->fragment_left -= (guint32)bytes;
			wire->at = wire->data_left ? IN_DATA : IN_TAIL;
		}
		return bytes;
	}
	wire->stage_from = wire->stage_to = 0;
	bytes = TEMP_FAILURE_RETRY(recv(fd, wire->stage, sizeof(wire->stage), MSG_DONTWAIT));
	if (bytes > 0)
		wire->stage_to = (gsize)bytes;
	return bytes;
}

/* All that has arrived. */
static gboolean receive(struct nfs_wire *wire, int fd, GError **error)
{
	for (;;) {
		const gssize bytes = receive_some(wire, fd);
		const char *wrong;

		if (bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return TRUE;
		if (bytes <= 0)
			return lose(wire, bytes ? g_strerror(errno) : NULL, error);
		progress(wire);
		wrong = digest_stage(wire);
		if (wrong)
			return lose(wire, wrong, error);
	}
}

/* ---- turns ---------------------------------------------------------------------------- */

static gboolean wait_ready(struct nfs_wire *wire, struct pollfd *wait, int wait_ms, GError **error)
{
	const int left_ms = deadline_left(wire->link->stalled);
	const int ready = poll(wait, 1, wait_ms < 0 ? left_ms : MIN(left_ms, wait_ms));

	if (ready < 0 && errno != EINTR)
		return lose(wire, g_strerror(errno), error);
	if (ready <= 0)
		wait->revents = 0;
	/* What arrived before the connection broke is no use: the rest of it is missing. */
	if (wait->revents & (POLLERR | POLLHUP))
		return lose(wire, address_socket_error(wait->fd), error);
	return TRUE;
}

gboolean nfs_wire_turn(struct nfs_wire *wire, int wait_ms, GError **error)
{
	struct nfs_link *link = wire->link;
	struct pollfd wait = {.fd = rpc_get_fd(link->rpc), .events = POLLIN};

	if (!send_queued(wire, wait.fd, error))
		return FALSE;
	if (wire->queued)
		wait.events |= POLLOUT;
	if (!wait_ready(wire, &wait, wait_ms, error))
		return FALSE;
	if ((wait.revents & POLLIN) && !receive(wire, wait.fd, error))
		return FALSE;
	if (!deadline_passed(link->stalled))
		return TRUE;
	g_autofree char *why = g_strdup_printf("no answer for %u ms", link->stall_ms);
	return lose(wire, why, error);
}
