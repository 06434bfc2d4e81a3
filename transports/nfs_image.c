#include "transports/nfs_image.h"

#include "common/error.h"

#include <string.h>

/* Deeper queues and larger requests were measured and gained nothing. */
enum { DEPTH = 16, JUKEBOX_FIRST_MS = 100, JUKEBOX_MOST_MS = 5000 };

static const char restarted[] = "the server restarted and lost what was not flushed yet "
				"(its write verifier changed)";

static const char contradiction[] = "the server's answer contradicts itself";

/* One request's worth of the transfer; what a short answer leaves is asked for again. */
struct piece {
	struct transfer *transfer;
	char *buffer;
	guint64 offset;
	guint32 bytes; /* 0: free */
	gboolean in_flight;
};

struct transfer {
	struct nfs_image *image;
	gboolean writing;
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
	struct piece pieces[DEPTH];
};

static char *describe(const struct transfer *transfer, gsize bytes, guint64 offset)
{
	return g_strdup_printf("%s of %" G_GSIZE_FORMAT " bytes at %" G_GUINT64_FORMAT,
			       transfer->writing ? "write" : "read", bytes, offset);
}

static void fail_status(struct piece *piece, nfsstat3 status)
{
	struct transfer *transfer = piece->transfer;
	g_autofree char *what = describe(transfer, piece->bytes, piece->offset);

	if (!transfer->error)
		nfs_status_error(&transfer->error, status, transfer->image->base.name, what);
}

static void fail_piece(struct piece *piece, enum blockmig_error code, const char *why)
{
	struct transfer *transfer = piece->transfer;

	if (transfer->error)
		return;
	g_autofree char *what = describe(transfer, piece->bytes, piece->offset);
	g_set_error(&transfer->error, BLOCKMIG_ERROR, (gint)code, "%s: %s: %s",
		    transfer->image->base.name, what, why);
}

/* The server needs time: nothing more is sent until it has had some. */
static void pause_transfer(struct piece *piece)
{
	struct transfer *transfer = piece->transfer;

	if (transfer->jukebox_ms == 0) {
		transfer->jukebox_ms = JUKEBOX_FIRST_MS;
		transfer->patience = deadline_in(transfer->image->session->link->stall_ms);
	} else if (deadline_passed(transfer->patience)) {
		fail_status(piece, NFS3ERR_JUKEBOX);
	} else if (deadline_passed(transfer->resume)) {
		transfer->jukebox_ms = MIN(transfer->jukebox_ms * 2, (guint)JUKEBOX_MOST_MS);
	}
	transfer->resume = deadline_in(transfer->jukebox_ms);
}

static void advance(struct piece *piece, guint32 bytes)
{
	piece->transfer->jukebox_ms = 0;
	piece->buffer += bytes;
	piece->offset += bytes;
	piece->bytes -= bytes;
}

/* Whether there is an answer to look at; the link's own failure is reported by it. */
static gboolean landed(struct piece *piece, int rpc_status, void *data)
{
	piece->in_flight = FALSE;
	piece->transfer->in_flight--;
	if (rpc_status == RPC_STATUS_SUCCESS)
		return TRUE;
	if (rpc_status == RPC_STATUS_ERROR)
		fail_piece(piece, BLOCKMIG_ERROR_TRANSIENT, data ? data : "the call failed");
	return FALSE;
}

static void settle_read(struct piece *piece, const READ3res *result)
{
	const READ3resok *read = &result->READ3res_u.resok;

	if (result->status == NFS3ERR_JUKEBOX) {
		pause_transfer(piece);
	} else if (result->status != NFS3_OK) {
		fail_status(piece, result->status);
	} else if (read->count != read->data.data_len || read->count > piece->bytes) {
		fail_piece(piece, BLOCKMIG_ERROR_TRANSIENT, contradiction);
	} else if (read->count == 0) {
		fail_piece(piece, BLOCKMIG_ERROR_PERMANENT,
			   "the file ends before: it was truncated at the server");
	} else {
		memcpy(piece->buffer, read->data.data_val, read->count);
		advance(piece, read->count);
	}
}

static void on_read(struct rpc_context *rpc G_GNUC_UNUSED, int rpc_status, void *data,
		    void *private_data)
{
	struct piece *piece = private_data;

	if (landed(piece, rpc_status, data))
		settle_read(piece, data);
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

static void settle_write(struct piece *piece, const WRITE3res *result)
{
	const WRITE3resok *write = &result->WRITE3res_u.resok;
	struct transfer *transfer = piece->transfer;

	if (result->status == NFS3ERR_JUKEBOX)
		pause_transfer(piece);
	else if (result->status != NFS3_OK)
		fail_status(piece, result->status);
	else if (write->count > piece->bytes || write->count == 0)
		fail_piece(piece, BLOCKMIG_ERROR_TRANSIENT, contradiction);
	else if (!nfs_image_note_write(transfer->image, write->committed, write->verf))
		transfer->lost_writes = TRUE;
	else
		advance(piece, write->count);
}

static void on_write(struct rpc_context *rpc G_GNUC_UNUSED, int rpc_status, void *data,
		     void *private_data)
{
	struct piece *piece = private_data;

	if (landed(piece, rpc_status, data))
		settle_write(piece, data);
}

static int issue(struct piece *piece)
{
	struct transfer *transfer = piece->transfer;
	struct rpc_context *rpc = transfer->image->session->link->rpc;
	nfs_fh3 file = nfs_object_handle(&transfer->image->object);

	if (transfer->writing) {
		WRITE3args arguments = {
			.file = file,
			.offset = piece->offset,
			.count = piece->bytes,
			.stable = UNSTABLE,
			.data = {.data_len = piece->bytes, .data_val = piece->buffer}};
		return rpc_nfs3_write_async(rpc, on_write, &arguments, piece);
	}
	READ3args arguments = {.file = file, .offset = piece->offset, .count = piece->bytes};
	return rpc_nfs3_read_async(rpc, on_read, &arguments, piece);
}

static void fill(struct piece *piece)
{
	struct transfer *transfer = piece->transfer;
	guint32 bytes = (guint32)MIN(transfer->count, transfer->piece_bytes);

	piece->buffer = transfer->buffer;
	piece->offset = transfer->offset;
	piece->bytes = bytes;
	transfer->buffer += bytes;
	transfer->offset += bytes;
	transfer->count -= bytes;
}

/* Keeps all pieces in flight, as far as there is work for them. */
static void issue_all(struct transfer *transfer)
{
	for (guint i = 0; i < DEPTH && !transfer->error; i++) {
		struct piece *piece = &transfer->pieces[i];

		if (piece->in_flight)
			continue;
		if (piece->bytes == 0)
			fill(piece);
		if (piece->bytes == 0)
			continue;
		if (issue(piece) != 0) {
			fail_piece(piece, BLOCKMIG_ERROR_TRANSIENT,
				   "the request could not be built");
			return;
		}
		piece->in_flight = TRUE;
		transfer->in_flight++;
	}
}

static gboolean unfinished(const struct transfer *transfer)
{
	if (transfer->count > 0)
		return TRUE;
	for (guint i = 0; i < DEPTH; i++)
		if (transfer->pieces[i].bytes > 0)
			return TRUE;
	return FALSE;
}

/*
 * Until all is done, or until an error came and the last request in flight was answered
 * (libnfs must hold no pointer to a piece when this returns).
 */
static gboolean pump(struct transfer *transfer, GError **error)
{
	struct nfs_link *link = transfer->image->session->link;

	while (transfer->in_flight > 0 ||
	       (!transfer->error && !transfer->lost_writes && unfinished(transfer))) {
		gboolean paused = transfer->jukebox_ms && !deadline_passed(transfer->resume);
		GError *lost = NULL;

		if (!paused && !transfer->error && !transfer->lost_writes)
			issue_all(transfer);
		if (paused && transfer->in_flight == 0) {
			g_usleep((gulong)deadline_left(transfer->resume) * 1000);
			if (!nfs_link_begin(link, transfer->doing, error))
				return FALSE;
			continue;
		}
		if (nfs_link_turn(link, paused ? deadline_left(transfer->resume) : -1, &lost))
			continue;
		g_clear_error(&transfer->error);
		g_propagate_error(error, lost);
		return FALSE;
	}
	return TRUE;
}

static gboolean transfer_run(struct transfer *transfer, GError **error)
{
	struct nfs_link *link = transfer->image->session->link;
	g_autofree char *doing = describe(transfer, transfer->count, transfer->offset);

	transfer->doing = doing;
	for (guint i = 0; i < DEPTH; i++)
		transfer->pieces[i].transfer = transfer;
	if (!nfs_link_begin(link, doing, error) || !pump(transfer, error))
		return FALSE;
	if (transfer->lost_writes) {
		g_clear_error(&transfer->error);
		nfs_link_lose(link, restarted, error);
		return FALSE;
	}
	if (transfer->error) {
		if (error_is_transient(transfer->error))
			nfs_link_lose(link, "given up", NULL);
		g_propagate_error(error, transfer->error);
		return FALSE;
	}
	return TRUE;
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
