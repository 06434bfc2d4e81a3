#include "transports/nfs_image.h"

#include "common/error.h"

#include <string.h>

enum {
	JUKEBOX_FIRST_MS = 100,
	JUKEBOX_MOST_MS = 5000,
	/*
	 * So much of a transfer is asked for at a time.  It fills a link of 10 Gbit/s where
	 * an answer takes a millisecond and a half.  More only makes the server's threads wait
	 * for one another over one file (ganesha on ext4: a tenth more CPU time at 4 MiB).
	 */
	IN_FLIGHT_BYTES = 2 * 1024 * 1024,
};

static const char restarted[] = "the server restarted and lost what was not flushed yet "
				"(its write verifier changed)";

/*
 * One request's worth of the transfer; what a short answer leaves is asked for again.
 * With 0 bytes it is free.
 */
struct piece {
	struct nfs_wire_request request;
	gboolean asked; /* its answer has not been looked at */
};

struct transfer {
	struct nfs_image *image;
	gboolean writing;
	nfs_fh3 file;
	const char *doing;
	char *buffer; /* what is not yet in a piece */
	guint64 offset;
	gsize count;
	guint32 piece_bytes;
	guint in_flight;
	gboolean lost_writes;
	guint jukebox_ms; /* 0: the server did not ask for time */
	deadline_ms resume, patience;
	GError *error; /* the first one */
	struct piece pieces[NFS_WIRE_DEPTH];
};

static char *describe(const struct transfer *transfer, gsize bytes, guint64 offset)
{
	return g_strdup_printf("%s of %" G_GSIZE_FORMAT " bytes at %" G_GUINT64_FORMAT,
			       transfer->writing ? "write" : "read", bytes, offset);
}

static char *describe_piece(const struct transfer *transfer, const struct piece *piece)
{
	return describe(transfer, piece->request.bytes, piece->request.offset);
}

static void fail_status(struct transfer *transfer, const struct piece *piece)
{
	g_autofree char *what = describe_piece(transfer, piece);

	if (!transfer->error)
		nfs_status_error(&transfer->error, piece->request.status,
				 transfer->image->base.name, what);
}

static void fail_truncated(struct transfer *transfer, const struct piece *piece)
{
	g_autofree char *what = describe_piece(transfer, piece);

	if (!transfer->error)
		g_set_error(&transfer->error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s: %s: the file ends before: it was truncated at the server",
			    transfer->image->base.name, what);
}

/* The server needs time: nothing more is sent until it has had some. */
static void pause_transfer(struct transfer *transfer, const struct piece *piece)
{
	if (transfer->jukebox_ms == 0) {
		transfer->jukebox_ms = JUKEBOX_FIRST_MS;
		transfer->patience = deadline_in(transfer->image->session->link->stall_ms);
	} else if (deadline_passed(transfer->patience)) {
		fail_status(transfer, piece);
	} else if (deadline_passed(transfer->resume)) {
		transfer->jukebox_ms = MIN(transfer->jukebox_ms * 2, (guint)JUKEBOX_MOST_MS);
	}
	transfer->resume = deadline_in(transfer->jukebox_ms);
}

static void advance(struct transfer *transfer, struct piece *piece)
{
	transfer->jukebox_ms = 0;
	piece->request.buffer += piece->request.count;
	piece->request.offset += piece->request.count;
	piece->request.bytes -= piece->request.count;
}

gboolean nfs_image_note_write(struct nfs_image *image, stable_how committed,
			      const writeverf3 verifier)
{
	if (image->unstable && memcmp(image->verifier, verifier, sizeof(writeverf3)) != 0)
		return FALSE;
	if (committed != FILE_SYNC) {
		image->unstable = TRUE;
		memcpy(image->verifier, verifier, sizeof(writeverf3));
	}
	return TRUE;
}

static void settle(struct transfer *transfer, struct piece *piece)
{
	const struct nfs_wire_request *request = &piece->request;

	if (request->status == NFS3ERR_JUKEBOX)
		pause_transfer(transfer, piece);
	else if (request->status != NFS3_OK)
		fail_status(transfer, piece);
	else if (request->count == 0)
		fail_truncated(transfer, piece);
	else if (transfer->writing &&
		 !nfs_image_note_write(transfer->image, request->committed, request->verifier))
		transfer->lost_writes = TRUE;
	else
		advance(transfer, piece);
}

static void settle_answered(struct transfer *transfer)
{
	for (guint i = 0; i < NFS_WIRE_DEPTH; i++) {
		struct piece *piece = &transfer->pieces[i];

		if (!piece->asked || piece->request.in_flight)
			continue;
		piece->asked = FALSE;
		transfer->in_flight--;
		settle(transfer, piece);
	}
}

static void fill(struct transfer *transfer, struct piece *piece)
{
	const guint32 bytes = (guint32)MIN(transfer->count, transfer->piece_bytes);

	piece->request = (struct nfs_wire_request){
		.writing = transfer->writing,
		.file = &transfer->file,
		.buffer = transfer->buffer,
		.offset = transfer->offset,
		.bytes = bytes,
	};
	transfer->buffer += bytes;
	transfer->offset += bytes;
	transfer->count -= bytes;
}

/* Keeps as many pieces in flight as may be, and as there is work for. */
static void issue_all(struct transfer *transfer)
{
	const guint depth = CLAMP(IN_FLIGHT_BYTES / transfer->piece_bytes, 1, NFS_WIRE_DEPTH);

	for (guint i = 0; i < depth; i++) {
		struct piece *piece = &transfer->pieces[i];

		if (piece->asked)
			continue;
		if (piece->request.bytes == 0)
			fill(transfer, piece);
		if (piece->request.bytes == 0)
			continue;
		nfs_wire_submit(transfer->image->wire, &piece->request);
		piece->asked = TRUE;
		transfer->in_flight++;
	}
}

static gboolean unfinished(const struct transfer *transfer)
{
	if (transfer->count > 0)
		return TRUE;
	for (guint i = 0; i < NFS_WIRE_DEPTH; i++)
		if (transfer->pieces[i].request.bytes > 0)
			return TRUE;
	return FALSE;
}

/* Until all is done, or until an error came and all that was in flight is answered. */
static gboolean pump(struct transfer *transfer, GError **error)
{
	struct nfs_link *link = transfer->image->session->link;

	while (transfer->in_flight > 0 ||
	       (!transfer->error && !transfer->lost_writes && unfinished(transfer))) {
		gboolean paused = transfer->jukebox_ms && !deadline_passed(transfer->resume);

		if (!paused && !transfer->error && !transfer->lost_writes)
			issue_all(transfer);
		if (paused && transfer->in_flight == 0) {
			g_usleep((gulong)deadline_left(transfer->resume) * 1000);
			if (!nfs_link_begin(link, transfer->doing, error))
				return FALSE;
			continue;
		}
		if (!nfs_wire_turn(transfer->image->wire,
				   paused ? deadline_left(transfer->resume) : -1, error))
			return FALSE;
		settle_answered(transfer);
	}
	return TRUE;
}

static gboolean transfer_run(struct transfer *transfer, GError **error)
{
	struct nfs_link *link = transfer->image->session->link;
	g_autofree char *doing = describe(transfer, transfer->count, transfer->offset);

	transfer->doing = doing;
	transfer->file = nfs_object_handle(&transfer->image->object);
	if (!nfs_link_begin(link, doing, error))
		return FALSE;
	if (!pump(transfer, error)) {
		g_clear_error(&transfer->error);
		return FALSE;
	}
	if (transfer->lost_writes) {
		g_clear_error(&transfer->error);
		nfs_link_lose(link, restarted, error);
		return FALSE;
	}
	if (!transfer->error)
		return TRUE;
	if (error_is_transient(transfer->error))
		nfs_link_lose(link, "given up", NULL);
	g_propagate_error(error, transfer->error);
	return FALSE;
}

gboolean nfs_image_read(struct nfs_image *image, void *buffer, gsize count, guint64 offset,
			GError **error)
{
	struct transfer transfer = {.image = image,
				    .buffer = buffer,
				    .count = count,
				    .offset = offset,
				    .piece_bytes = image->read_bytes};

	return transfer_run(&transfer, error);
}

gboolean nfs_image_write(struct nfs_image *image, const void *buffer, gsize count, guint64 offset,
			 GError **error)
{
	struct transfer transfer = {.image = image,
				    .writing = TRUE,
				    .buffer = (char *)buffer,
				    .count = count,
				    .offset = offset,
				    .piece_bytes = image->write_bytes};

	return transfer_run(&transfer, error);
}

static int issue_commit(struct rpc_context *rpc, rpc_cb callback, void *arguments, void *data)
{
	return rpc_nfs3_commit_async(rpc, callback, arguments, data);
}

static void take_verifier(const void *answer, void *into)
{
	const COMMIT3res *result = answer;

	memcpy(into, result->COMMIT3res_u.resok.verf, sizeof(writeverf3));
}

gboolean nfs_image_commit(struct nfs_image *image, GError **error)
{
	writeverf3 verifier = {0};
	COMMIT3args arguments = {.file = nfs_object_handle(&image->object)};
	struct nfs_call call = {.what = "flush",
				.issue = issue_commit,
				.arguments = &arguments,
				.take = take_verifier,
				.into = verifier};

	if (!image->unstable)
		return nfs_link_begin(image->session->link, "flush", error);
	if (!nfs_link_call(image->session->link, &call, error))
		return FALSE;
	if (memcmp(verifier, image->verifier, sizeof(verifier)) != 0) {
		nfs_link_lose(image->session->link, restarted, error);
		return FALSE;
	}
	image->unstable = FALSE;
	return TRUE;
}
