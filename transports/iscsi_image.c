#include "transports/iscsi_image.h"

#include "common/error.h"

#include <string.h>

/* A deeper queue was measured and gained nothing. */
enum { DEPTH = 8, BUSY_FIRST_MS = 50, BUSY_MOST_MS = 2000, MARK_EVERY_BYTES = 4096 };

struct piece {
	struct iscsi_command command;
	char *buffer;
	guint64 offset;
	guint32 bytes; /* 0: free */
	guint64 mark;
};

struct transfer {
	struct iscsi_image *image;
	gboolean writing;
	const char *doing;
	char *buffer; /* what is not yet in a piece */
	guint64 offset;
	gsize count;
	guint in_flight;
	guint busy_ms; /* 0: the target is not busy */
	deadline_ms resume, patience;
	GError *error; /* the first one */
	struct piece pieces[DEPTH];
};

static char *describe(const struct transfer *transfer, gsize bytes, guint64 offset)
{
	return g_strdup_printf("%s of %" G_GSIZE_FORMAT " bytes at %" G_GUINT64_FORMAT,
			       transfer->writing ? "write" : "read", bytes, offset);
}

static struct scsi_task *build(const struct transfer *transfer, const struct piece *piece)
{
	guint32 block_bytes = transfer->image->disk.block_bytes;
	guint64 block = piece->offset / block_bytes;

	return transfer->writing
		       ? scsi_cdb_write16(block, piece->bytes, (int)block_bytes, 0, 0, 0, 0, 0)
		       : scsi_cdb_read16(block, piece->bytes, (int)block_bytes, 0, 0, 0, 0, 0);
}

static void fill(struct transfer *transfer, struct piece *piece)
{
	guint32 bytes = (guint32)MIN(transfer->count, transfer->image->piece_bytes);

	piece->buffer = transfer->buffer;
	piece->offset = transfer->offset;
	piece->bytes = bytes;
	transfer->buffer += bytes;
	transfer->offset += bytes;
	transfer->count -= bytes;
}

/*
 * libiscsi counts neither the data of a READ nor its PDUs: an answer with a hole in it,
 * or with no data at all, is good and leaves in the buffer what was there before.  Marks
 * show what never arrived: no PDU of ours is smaller than their distance, but the last.
 */
static char *mark_at(const struct piece *piece, guint32 at)
{
	return piece->buffer + MIN(at, piece->bytes - (guint32)sizeof(piece->mark));
}

static void mark_blocks(struct piece *piece)
{
	piece->mark = (guint64)g_random_int() << 32 | g_random_int();
	for (guint32 at = 0; at < piece->bytes + MARK_EVERY_BYTES; at += MARK_EVERY_BYTES)
		memcpy(mark_at(piece, at), &piece->mark, sizeof(piece->mark));
}

static gboolean all_arrived(const struct piece *piece)
{
	for (guint32 at = 0; at < piece->bytes + MARK_EVERY_BYTES; at += MARK_EVERY_BYTES)
		if (memcmp(mark_at(piece, at), &piece->mark, sizeof(piece->mark)) == 0)
			return FALSE;
	return TRUE;
}

static gboolean submit_all(struct transfer *transfer, GError **error)
{
	for (guint i = 0; i < DEPTH; i++) {
		struct piece *piece = &transfer->pieces[i];

		if (piece->command.task)
			continue;
		if (piece->bytes == 0)
			fill(transfer, piece);
		if (piece->bytes == 0)
			continue;
		if (!transfer->writing)
			mark_blocks(piece);
		piece->command = (struct iscsi_command){.task = build(transfer, piece),
							.buffer = piece->buffer,
							.bytes = piece->bytes};
		if (!iscsi_session_submit(transfer->image->session, &piece->command, error))
			return FALSE;
		transfer->in_flight++;
	}
	return TRUE;
}

static void wait_for_target(struct transfer *transfer)
{
	if (transfer->busy_ms == 0) {
		transfer->busy_ms = BUSY_FIRST_MS;
		transfer->patience = deadline_in(transfer->image->session->stall_ms);
	} else if (deadline_passed(transfer->resume)) {
		transfer->busy_ms = MIN(transfer->busy_ms * 2, (guint)BUSY_MOST_MS);
	}
	transfer->resume = deadline_in(transfer->busy_ms);
}

static void fail_piece(struct transfer *transfer, const struct piece *piece)
{
	g_autofree char *what = describe(transfer, piece->bytes, piece->offset);

	if (!transfer->error)
		iscsi_command_error(&piece->command, transfer->image->base.name, what,
				    &transfer->error);
}

static void fail_short(struct transfer *transfer, const struct piece *piece)
{
	g_autofree char *what = describe(transfer, piece->bytes, piece->offset);

	if (!transfer->error)
		iscsi_command_short_error(transfer->image->base.name, what, &transfer->error);
}

static void settle(struct transfer *transfer, struct piece *piece)
{
	transfer->in_flight--;
	switch (iscsi_command_verdict(&piece->command)) {
	case ISCSI_GOOD:
		if (piece->command.transferred != piece->bytes ||
		    (!transfer->writing && !all_arrived(piece)))
			fail_short(transfer, piece);
		piece->bytes = 0;
		transfer->busy_ms = 0;
		break;
	case ISCSI_AGAIN:
		wait_for_target(transfer);
		if (deadline_passed(transfer->patience))
			fail_piece(transfer, piece);
		break;
	case ISCSI_FAILED:
	case ISCSI_LOST:
		fail_piece(transfer, piece);
		break;
	}
	iscsi_session_retire(transfer->image->session, &piece->command);
}

static void settle_answered(struct transfer *transfer)
{
	for (guint i = 0; i < DEPTH; i++) {
		struct piece *piece = &transfer->pieces[i];

		if (piece->command.task && !piece->command.in_flight)
			settle(transfer, piece);
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

/* Until all is done, or until an error came and all that was in flight is answered. */
static gboolean pump(struct transfer *transfer, GError **error)
{
	struct iscsi_session *session = transfer->image->session;

	while (transfer->in_flight > 0 || (!transfer->error && unfinished(transfer))) {
		gboolean paused = transfer->busy_ms && !deadline_passed(transfer->resume);

		if (paused && transfer->in_flight == 0) {
			g_usleep((gulong)deadline_left(transfer->resume) * 1000);
			if (!iscsi_session_begin(session, transfer->doing, error))
				return FALSE;
			continue;
		}
		if (!paused && !transfer->error && !submit_all(transfer, error))
			return FALSE;
		if (!iscsi_session_turn(session, paused ? deadline_left(transfer->resume) : -1,
					error))
			return FALSE;
		settle_answered(transfer);
	}
	return iscsi_session_drain(session, error);
}

/* The tasks of a session that is lost are the transfer's to free. */
static void free_tasks(struct transfer *transfer)
{
	for (guint i = 0; i < DEPTH; i++)
		g_clear_pointer(&transfer->pieces[i].command.task, scsi_free_scsi_task);
}

static gboolean transfer_run(struct transfer *transfer, GError **error)
{
	struct iscsi_session *session = transfer->image->session;
	g_autofree char *doing = describe(transfer, transfer->count, transfer->offset);

	transfer->doing = doing;
	if (!iscsi_session_begin(session, doing, error))
		return FALSE;
	if (!pump(transfer, error)) {
		g_clear_error(&transfer->error);
		free_tasks(transfer);
		return FALSE;
	}
	if (!transfer->error)
		return TRUE;
	if (error_is_transient(transfer->error))
		iscsi_session_lose(session, "given up", NULL);
	g_propagate_error(error, transfer->error);
	return FALSE;
}

gboolean iscsi_image_read(struct iscsi_image *image, void *buffer, gsize count, guint64 offset,
			  GError **error)
{
	struct transfer transfer = {
		.image = image, .buffer = buffer, .count = count, .offset = offset};

	return transfer_run(&transfer, error);
}

gboolean iscsi_image_write(struct iscsi_image *image, const void *buffer, gsize count,
			   guint64 offset, GError **error)
{
	struct transfer transfer = {.image = image,
				    .writing = TRUE,
				    .buffer = (char *)buffer,
				    .count = count,
				    .offset = offset};

	return transfer_run(&transfer, error);
}

static gboolean synchronize(struct iscsi_image *image, struct scsi_task *task,
			    gboolean *unsupported, GError **error)
{
	struct iscsi_command command = {.what = "flush (SYNCHRONIZE CACHE)", .task = task};
	gboolean good = iscsi_session_command(image->session, &command, error);

	*unsupported = !good && iscsi_command_unsupported(&command);
	return good;
}

gboolean iscsi_image_flush(struct iscsi_image *image, GError **error)
{
	gboolean unsupported;
	GError *failure = NULL;

	if (synchronize(image, scsi_cdb_synchronizecache16(0, 0, 0, 0), &unsupported, &failure))
		return TRUE;
	if (!unsupported) {
		g_propagate_error(error, failure);
		return FALSE;
	}
	g_error_free(failure);
	return synchronize(image, scsi_cdb_synchronizecache10(0, 0, 0, 0), &unsupported, error);
}
