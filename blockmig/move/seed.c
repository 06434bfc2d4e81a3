#include "blockmig/move/image_open.h"
#include "blockmig/move/kept.h"
#include "blockmig/move/passes.h"
#include "blockmig/move/phases.h"

#include "blockmig/vm/image_tool.h"
#include "common/error.h"

/*
 * A file that is copied as it is may have grown until it was frozen: the destination is to
 * be as large as it is now.
 */
static gboolean measure_frozen(struct move *move, GError **error)
{
	struct job *job = move->job;
	gint64 pass;

	if (job->shape != SHAPE_APPEND)
		return TRUE;
	if (!pass_base(move, &pass, error))
		return FALSE;
	if (pass)
		return TRUE;
	AUTO(handle) source =
		handle_open(move->source->url, move->source->transport, HANDLE_READ, error);

	if (!source)
		return FALSE;
	if (source->size_bytes == job->content_bytes)
		return TRUE;
	AUTO(handle) destination = prepare_open(move, HANDLE_WRITE, error);

	if (!destination || !handle_resize(destination, source->size_bytes, error))
		return FALSE;
	job->content_bytes = source->size_bytes;
	return move_save(move, error);
}

static const char *file_of(const struct source *source)
{
	return source->type == SOURCE_FILE ? source->path : NULL;
}

/*
 * Where a device's content ends elsewhere, the chunk at the end that was the nearer one may
 * be shorter or longer than the one that is known, and behind it may lie what is left of a
 * longer content: none of it counts as done, nor as untouched.
 */
static gboolean forget_end(struct move *move, gint64 pass, guint64 bytes, GError **error)
{
	const guint64 chunk_bytes = move->job->options.chunk_bytes;
	const guint64 first = MIN(bytes, move->job->content_bytes) / chunk_bytes;
	const guint64 end = copy_units(bytes, chunk_bytes);
	const struct ledger_unit rows = {.index = first, .count = end - first, .state = UNIT_SENT};

	return !pass || first == end ||
	       ledger_units_put(move->context.ledger, pass, &rows, 1, error);
}

/* The ledger first: a run that dies between finds another size once more. */
static gboolean resize_copy(struct move *move, gint64 pass, guint64 bytes, GError **error)
{
	struct job *job = move->job;

	if (job->data_offset) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s has %" G_GUINT64_FORMAT " bytes now, and had %" G_GUINT64_FORMAT
			    " when its copy was begun: the same command again begins anew",
			    job->source_url, bytes, job->content_bytes);
		return FALSE;
	}
	AUTO(handle) handle = prepare_open(move, HANDLE_WRITE, error);

	if (!handle || !(image_is_device(handle) ? forget_end(move, pass, bytes, error)
						 : handle_resize(handle, bytes, error)))
		return FALSE;
	job->virtual_bytes = job->content_bytes = bytes;
	return move_save(move, error);
}

/*
 * Nothing keeps a bare image still between two runs: it may be in use, or have another
 * size than when its copy was begun.
 */
static gboolean measure_bare(struct move *move, GError **error)
{
	struct job *job = move->job;
	gint64 pass;

	if (!pass_base(move, &pass, error))
		return FALSE;
	if (image_is_written(move->source)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_BUSY,
			    "%s is open for writing in a running guest: shut the guest off first",
			    job->source_url);
		return FALSE;
	}
	AUTO(image_view) view =
		image_view_open(move->context.config, job->source_url, job->source->format, error);

	if (!view)
		return FALSE;
	const guint64 bytes = job->through_qemu ? view->virtual_bytes : view->info.size_bytes;

	if (bytes != job->content_bytes && !resize_copy(move, pass, bytes, error))
		return FALSE;
	return !pass || ledger_pass_resize(move->context.ledger, pass,
					   copy_units(bytes, job->options.chunk_bytes), error);
}

gboolean seed_run(struct move *move, GError **error)
{
	struct job *job = move->job;
	AUTO(image_server) server = NULL;
	gint64 begun;

	if (job->domain_uuid
		    ? !freeze_sync(&job->source->source, error) || !measure_frozen(move, error)
		    : !measure_bare(move, error))
		return FALSE;
	if (!kept_take(move, error) || !pass_base(move, &begun, error))
		return FALSE;
	struct pass pass = {
		.name = PASS_BASE,
		.source = move->source->url,
		.source_config = move->source->transport,
		.source_offset = job->source->source.slice_offset,
		.source_identity = job->source_identity,
		.source_path = file_of(&job->source->source),
		.destination = move->destination->url,
		.destination_offset = job->data_offset,
		.content_bytes = job->content_bytes,
		.fresh = job->destination_fresh,
		/* Nothing keeps a bare image still between two runs. */
		.rehash = job->taken_over || (!job->domain_uuid && begun),
		.unattended = job->taken_over != 0,
	};

	if (job->through_qemu) {
		g_autoptr(GPtrArray) chain = job_source_chain(job, 0);

		server = image_server_start(chain, FALSE, error);
		if (!server)
			return FALSE;
		pass.source = image_server_url(server);
		pass.source_config = NULL;
		pass.source_offset = 0;
		pass.source_identity = NULL;
		pass.source_path = NULL;
	}
	/* Saved on failure too: the totals tell what was sent. */
	gboolean good = pass_run(move, &pass, error) && pass_root(move, error);

	return move_save(move, good ? error : NULL) && good;
}
