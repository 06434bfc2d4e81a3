#include "blockmig/move/passes.h"
#include "blockmig/move/phases.h"

#include "blockmig/vm/image_tool.h"

/*
 * A file that is copied as it is may have grown until it was frozen: the destination is to
 * be as large as it is now.
 */
static gboolean measure_frozen(struct move *move, GError **error)
{
	struct job *job = move->job;

	if (job->shape != SHAPE_APPEND ||
	    ledger_pass_find(move->context.ledger, job->id, PASS_BASE) != 0)
		return TRUE;
	AUTO(handle) source =
		handle_open(move->source->url, move->source->transport, HANDLE_READ, error);

	if (!source)
		return FALSE;
	if (source->size_bytes == job->content_bytes)
		return TRUE;
	AUTO(handle) destination = handle_open(move->destination->url, move->destination->transport,
					       HANDLE_WRITE, error);

	if (!destination || !handle_resize(destination, source->size_bytes, error))
		return FALSE;
	job->content_bytes = source->size_bytes;
	return move_save(move, error);
}

static const char *file_of(const struct source *source)
{
	return source->type == SOURCE_FILE ? source->path : NULL;
}

gboolean seed_run(struct move *move, GError **error)
{
	struct job *job = move->job;
	AUTO(image_server) server = NULL;

	if (job->domain_uuid &&
	    (!freeze_sync(&job->source->source, error) || !measure_frozen(move, error)))
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
		.rehash = !job->domain_uuid &&
			  ledger_pass_find(move->context.ledger, job->id, PASS_BASE) != 0,
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
