/*
 * NBD over a UNIX socket: how images in formats other than raw are read, through a
 * qemu-nbd beside us.
 *
 * Large transfers are cut into pieces with several in flight.  libnbd has no time-outs
 * of its own; a server from which no byte comes for stall_ms is given up.  A lost
 * connection is closed at once, while the caller's buffers still stand: libnbd would
 * read into them.
 *
 * Extents are those of "base:allocation".  With layer=top they come together with
 * "qemu:allocation-depth" (qemu-nbd --allocation-depth), which tells in which layer of
 * the exported chain a cluster is found: 1 is the top one.
 */
#include "transports/transport.h"

#include "common/deadline.h"
#include "common/error.h"

#include <errno.h>
#include <libnbd.h>
#include <string.h>

enum {
	IN_FLIGHT = 16,
	PIECE_BYTES = 1 << 20,
	ZERO_PIECE_BYTES = 32 << 20,
	STATUS_BYTES = 1 << 30, /* the length on the wire has 32 bits */
};

#define CONTEXT_ALLOCATION LIBNBD_CONTEXT_BASE_ALLOCATION
#define CONTEXT_DEPTH	   "qemu:allocation-depth"

struct nbd_image {
	struct handle base;
	struct nbd_handle *nbd; /* NULL once the connection is lost */
	guint stall_ms;
	gsize piece_bytes;
	gboolean top_layer_only;
	gboolean has_allocation, can_zero, can_flush;
};

/* One operation: all pieces of a range. */
struct job {
	const char *what;
	gint64 (*submit)(struct nbd_image *image, struct job *job, gsize count,
			 nbd_completion_callback completion);
	guint64 offset; /* of the next piece */
	guint64 left;
	gsize piece_bytes;
	char *buffer; /* for the next piece; NULL where none is needed */
	void *data;
	guint pending;
	int errnum; /* the first that the server gave */
};

static struct nbd_image *image_of(struct handle *handle)
{
	return (struct nbd_image *)handle;
}

/* ---- the connection ----------------------------------------------------------- */

static void nbd_transport_close(struct handle *handle)
{
	nbd_close(image_of(handle)->nbd);
	g_free(handle->name);
	g_free(handle);
}

static gboolean lost(struct nbd_image *image, const char *what, const char *cause, GError **error)
{
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT, "%s: %s: %s", image->base.name,
		    what, cause ? cause : "the connection was lost");
	g_clear_pointer(&image->nbd, nbd_close);
	return FALSE;
}

/* FALSE where the connection is gone or stands still; bytes that move are progress. */
static gboolean wait_for_progress(struct nbd_image *image, const char *what, GError **error)
{
	deadline_ms deadline = deadline_in(image->stall_ms);
	int moved;

	do {
		moved = nbd_poll(image->nbd, deadline_left(deadline));
	} while (moved == 0 && !deadline_passed(deadline));

	if (moved < 0)
		return lost(image, what, nbd_get_error(), error);
	if (moved == 0) {
		g_autofree char *cause = g_strdup_printf("no answer for %u ms", image->stall_ms);
		return lost(image, what, cause, error);
	}
	return TRUE;
}

/* Whether the server's refusal will be the same the next time. */
static gboolean is_refusal(int errnum)
{
	return errnum == ENOENT || errnum == EPERM || errnum == EACCES || errnum == EINVAL ||
	       errnum == ENOTSUP || errnum == EPROTO;
}

static gboolean connect_failed(struct nbd_image *image, gboolean negotiating, GError **error)
{
	const char *cause = nbd_get_error();
	int errnum = nbd_get_errno();
	enum blockmig_error code = BLOCKMIG_ERROR_TRANSIENT;

	if (negotiating && is_refusal(errnum))
		code = errnum == ENOENT ? BLOCKMIG_ERROR_NOT_FOUND : BLOCKMIG_ERROR_PERMANENT;
	g_set_error(error, BLOCKMIG_ERROR, (gint)code, "%s: connect: %s", image->base.name,
		    cause ? cause : "the connection was lost");
	return FALSE;
}

static gboolean connect_to(struct nbd_image *image, const struct url *url, GError **error)
{
	struct nbd_handle *nbd = image->nbd;

	if (nbd_set_export_name(nbd, url->path) < 0 ||
	    nbd_add_meta_context(nbd, CONTEXT_ALLOCATION) < 0 ||
	    (url->top_layer_only && nbd_add_meta_context(nbd, CONTEXT_DEPTH) < 0) ||
	    nbd_aio_connect_unix(nbd, url->socket) < 0)
		return connect_failed(image, FALSE, error);

	/* connect(2) is over: what fails now is what the server says. */
	deadline_ms deadline = deadline_in(image->stall_ms);
	while (!nbd_aio_is_ready(nbd)) {
		if (nbd_poll(nbd, deadline_left(deadline)) < 0 || nbd_aio_is_dead(nbd) ||
		    nbd_aio_is_closed(nbd))
			return connect_failed(image, TRUE, error);
		if (deadline_passed(deadline))
			return lost(image, "connect", "no answer", error);
	}
	return TRUE;
}

static gboolean learn(struct nbd_image *image, GError **error)
{
	struct handle *handle = &image->base;
	gint64 size = nbd_get_size(image->nbd);
	gint64 block = nbd_get_block_size(image->nbd, LIBNBD_SIZE_MINIMUM);
	gint64 most = nbd_get_block_size(image->nbd, LIBNBD_SIZE_MAXIMUM);
	const char *obstacle = NULL;

	if (size < 0)
		return connect_failed(image, TRUE, error);
	handle->size_bytes = (guint64)size;
	handle->block_bytes = block > 1 && size % block == 0 ? (guint32)block : 1;
	image->piece_bytes = most > 0 ? (gsize)MIN(most, PIECE_BYTES) : PIECE_BYTES;
	image->has_allocation = nbd_can_meta_context(image->nbd, CONTEXT_ALLOCATION) > 0;
	image->can_zero = nbd_can_zero(image->nbd) > 0;
	image->can_flush = nbd_can_flush(image->nbd) > 0;

	if (handle->mode == HANDLE_WRITE && nbd_is_read_only(image->nbd) > 0)
		obstacle = "the server exports it read-only";
	else if (handle->mode == HANDLE_WRITE && !image->can_flush)
		obstacle = "the server cannot flush, so nothing written to it would be safe";
	else if (image->top_layer_only &&
		 !(image->has_allocation && nbd_can_meta_context(image->nbd, CONTEXT_DEPTH) > 0))
		obstacle = "layer=top needs a server that tells qemu:allocation-depth "
			   "(qemu-nbd --allocation-depth)";
	if (!obstacle)
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT, "%s: %s", handle->name,
		    obstacle);
	return FALSE;
}

static gboolean nbd_transport_open(const struct url *url, const struct transport_config *config,
				   enum handle_mode mode, struct handle **handle, GError **error)
{
	AUTO(handle) opened = (struct handle *)g_new0(struct nbd_image, 1);
	struct nbd_image *image = image_of(opened);

	opened->transport = &transport_nbd;
	opened->mode = mode;
	opened->name = url_format(url);
	image->stall_ms = transport_stall_ms(config);
	image->top_layer_only = url->top_layer_only;
	image->nbd = nbd_create();
	if (!image->nbd)
		return connect_failed(image, FALSE, error);
	if (!connect_to(image, url, error) || !learn(image, error))
		return FALSE;
	*handle = g_steal_pointer(&opened);
	return TRUE;
}

static gboolean nbd_transport_describe(struct handle *handle, struct image_info *info,
				       GError **error)
{
	struct nbd_image *image = image_of(handle);

	(void)error;
	info->is_device = TRUE;
	info->extents_trusted = image->has_allocation;
	info->zero_deallocates = image->can_zero;
	return TRUE;
}

/* ---- requests ----------------------------------------------------------------- */

/* libnbd calls it for a failed request too: the error is in @errnum, nowhere else. */
static int on_completion(void *data, int *errnum)
{
	struct job *job = data;

	job->pending--;
	if (*errnum != 0 && job->errnum == 0)
		job->errnum = *errnum;
	return 1;
}

static gboolean submit_pieces(struct nbd_image *image, struct job *job, GError **error)
{
	nbd_completion_callback completion = {.callback = on_completion, .user_data = job};

	while (job->errnum == 0 && job->left > 0 && job->pending < IN_FLIGHT) {
		gsize count = (gsize)MIN(job->left, job->piece_bytes);
		/* It may complete before submit returns. */
		job->pending++;
		if (job->submit(image, job, count, completion) < 0)
			return lost(image, job->what, nbd_get_error(), error);
		job->offset += count;
		job->left -= count;
		if (job->buffer)
			job->buffer += count;
	}
	return TRUE;
}

/*
 * FALSE with no error set, and job->errnum, where the server refused a piece: nothing
 * is in flight then.
 */
static gboolean job_run(struct nbd_image *image, struct job *job, GError **error)
{
	for (;;) {
		if (!submit_pieces(image, job, error))
			return FALSE;
		/* A broken connection ends every request with an error of libnbd's own. */
		if (nbd_aio_is_dead(image->nbd) || nbd_aio_is_closed(image->nbd))
			return lost(image, job->what, nbd_get_error(), error);
		if (job->pending == 0)
			return job->errnum == 0;
		if (!wait_for_progress(image, job->what, error))
			return FALSE;
	}
}

static gboolean job_all(struct nbd_image *image, struct job *job, GError **error)
{
	guint64 begin = job->offset;

	if (job_run(image, job, error))
		return TRUE;
	if (job->errnum != 0 && image->nbd)
		error_set_errno(error, job->errnum, "%s: %s at %" G_GUINT64_FORMAT,
				image->base.name, job->what, begin);
	return FALSE;
}

static gint64 submit_read(struct nbd_image *image, struct job *job, gsize count,
			  nbd_completion_callback completion)
{
	return nbd_aio_pread(image->nbd, job->buffer, count, job->offset, completion, 0);
}

static gssize nbd_transport_pread(struct handle *handle, void *buffer, gsize count, guint64 offset,
				  GError **error)
{
	struct nbd_image *image = image_of(handle);
	struct job job = {.what = "read",
			  .submit = submit_read,
			  .offset = offset,
			  .left = count,
			  .piece_bytes = image->piece_bytes,
			  .buffer = buffer};

	return job_all(image, &job, error) ? (gssize)count : -1;
}

static gint64 submit_write(struct nbd_image *image, struct job *job, gsize count,
			   nbd_completion_callback completion)
{
	return nbd_aio_pwrite(image->nbd, job->buffer, count, job->offset, completion, 0);
}

static gssize nbd_transport_pwrite(struct handle *handle, const void *buffer, gsize count,
				   guint64 offset, GError **error)
{
	struct nbd_image *image = image_of(handle);
	struct job job = {.what = "write",
			  .submit = submit_write,
			  .offset = offset,
			  .left = count,
			  .piece_bytes = image->piece_bytes,
			  .buffer = (char *)buffer};

	return job_all(image, &job, error) ? (gssize)count : -1;
}

static gint64 submit_zero(struct nbd_image *image, struct job *job, gsize count,
			  nbd_completion_callback completion)
{
	return nbd_aio_zero(image->nbd, count, job->offset, completion, 0);
}

static gboolean nbd_transport_zero(struct handle *handle, guint64 count, guint64 offset,
				   gboolean *unsupported, GError **error)
{
	struct nbd_image *image = image_of(handle);
	struct job job = {.what = "zero",
			  .submit = submit_zero,
			  .offset = offset,
			  .left = count,
			  .piece_bytes = ZERO_PIECE_BYTES};

	if (image->can_zero && job_all(image, &job, error))
		return TRUE;
	if (job.errnum == ENOTSUP || job.errnum == EINVAL)
		image->can_zero = FALSE;
	*unsupported = image->nbd && !image->can_zero;
	return FALSE;
}

static gint64 submit_flush(struct nbd_image *image, struct job *job, gsize count,
			   nbd_completion_callback completion)
{
	(void)job;
	(void)count;
	return nbd_aio_flush(image->nbd, completion, 0);
}

static gboolean nbd_transport_flush(struct handle *handle, GError **error)
{
	struct nbd_image *image = image_of(handle);
	struct job job = {.what = "flush", .submit = submit_flush, .left = 1, .piece_bytes = 1};

	/* Only a handle for reading gets as far as this without it. */
	return !image->can_flush || job_all(image, &job, error);
}

/* ---- extents ------------------------------------------------------------------ */

/* Both lists as the server sent them: pairs of length and flags, or length and depth. */
struct status {
	GArray *allocation, *depth;
};

static int on_status(void *data, const char *context, uint64_t offset, uint32_t *entries,
		     size_t count, int *errnum)
{
	struct status *status = data;

	(void)offset;
	(void)errnum;
	if (strcmp(context, CONTEXT_ALLOCATION) == 0)
		g_array_append_vals(status->allocation, entries, (guint)count);
	else if (strcmp(context, CONTEXT_DEPTH) == 0)
		g_array_append_vals(status->depth, entries, (guint)count);
	return 0;
}

static gint64 submit_status(struct nbd_image *image, struct job *job, gsize count,
			    nbd_completion_callback completion)
{
	nbd_extent_callback extent = {.callback = on_status, .user_data = job->data};

	return nbd_aio_block_status(image->nbd, count, job->offset, extent, completion, 0);
}

/* Walks along the pairs of one list. */
struct cursor {
	const GArray *pairs;
	guint at;
	guint64 left; /* of the pair */
	guint32 value;
};

static gboolean cursor_fill(struct cursor *cursor)
{
	while (cursor->left == 0 && cursor->at + 1 < cursor->pairs->len) {
		cursor->left = g_array_index(cursor->pairs, guint32, cursor->at);
		cursor->value = g_array_index(cursor->pairs, guint32, cursor->at + 1);
		cursor->at += 2;
	}
	return cursor->left > 0;
}

/* As far as all lists reach. */
static void combine(const struct nbd_image *image, const struct status *status, guint64 offset,
		    struct extents *extents)
{
	struct cursor allocation = {.pairs = status->allocation};
	struct cursor depth = {.pairs = status->depth, .value = 1};

	while (cursor_fill(&allocation) && (!image->top_layer_only || cursor_fill(&depth))) {
		guint64 length = allocation.left;
		enum extent_kind kind =
			allocation.value & LIBNBD_STATE_ZERO ? EXTENT_ZERO : EXTENT_DATA;
		if (image->top_layer_only) {
			length = MIN(length, depth.left);
			depth.left -= length;
			if (depth.value != 1)
				kind = EXTENT_UNKNOWN;
		}
		allocation.left -= length;
		extents_append(extents, offset, length, kind);
		offset += length;
	}
}

static gboolean nbd_transport_extents(struct handle *handle, guint64 count, guint64 offset,
				      struct extents *extents, GError **error)
{
	struct nbd_image *image = image_of(handle);
	struct status status = {g_array_new(FALSE, FALSE, sizeof(guint32)),
				g_array_new(FALSE, FALSE, sizeof(guint32))};
	gsize part = (gsize)MIN(count, STATUS_BYTES);
	struct job job = {.what = "extents",
			  .submit = submit_status,
			  .offset = offset,
			  .left = part,
			  .piece_bytes = part,
			  .data = &status};
	gboolean good = !image->has_allocation || job_all(image, &job, error);

	if (good)
		combine(image, &status, offset, extents);
	g_array_unref(status.allocation);
	g_array_unref(status.depth);
	return good;
}

const struct transport transport_nbd = {
	.name = "nbd",
	.open = nbd_transport_open,
	.close = nbd_transport_close,
	.describe = nbd_transport_describe,
	.pread = nbd_transport_pread,
	.pwrite = nbd_transport_pwrite,
	.zero = nbd_transport_zero,
	.flush = nbd_transport_flush,
	.extents = nbd_transport_extents,
};
