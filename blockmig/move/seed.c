#include "blockmig/move/passes.h"
#include "blockmig/move/phases.h"

#include "blockmig/vm/image_tool.h"

gboolean seed_run(struct move *move, GError **error)
{
	struct job *job = move->job;
	AUTO(image_server) server = NULL;
	struct pass pass = {
		.name = PASS_BASE,
		.source = move->source->url,
		.source_config = move->source->transport,
		.source_offset = job->source->source.slice_offset,
		.source_identity = job->source_identity,
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
	}
	/* Saved on failure too: the totals tell what was sent. */
	gboolean good = pass_run(move, &pass, error) && pass_root(move, error);

	return move_save(move, good ? error : NULL) && good;
}
