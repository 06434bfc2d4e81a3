#include "blockmig/move/image_open.h"
#include "blockmig/move/job.h"
#include "blockmig/move/passes.h"

#include "blockmig/copy/compare.h"
#include "blockmig/vm/image_tool.h"
#include "common/error.h"

/* One side of a comparison: directly, or through qemu-nbd. */
struct side {
	struct image_view *view;
	struct image_server *server;
	struct copy_end end;
};

static void side_clear(struct side *side)
{
	g_clear_pointer(&side->server, image_server_stop);
	g_clear_pointer(&side->view, image_view_free);
}

static gboolean side_open(struct side *side, struct config *config, const char *text,
			  const char *format, GError **error)
{
	side->view = image_view_open(config, text, format, error);
	if (!side->view)
		return FALSE;
	side->end.url = side->view->place->url;
	side->end.config = side->view->place->transport;
	if (g_str_equal(side->view->format, "raw"))
		return TRUE;
	if (side->view->backing_name) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "%s has a backing file (%s): only images of one layer are compared",
			    text, side->view->backing_name);
		return FALSE;
	}
	g_autoptr(GPtrArray) chain = g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);

	g_ptr_array_add(chain, layer_new(&side->view->place->source, side->view->format));
	side->server = image_server_start(chain, FALSE, error);
	if (!side->server)
		return FALSE;
	side->end.url = image_server_url(side->server);
	side->end.config = NULL;
	return TRUE;
}

/* A device may be larger than the image that it holds; two files must be of one size. */
static gboolean content_bytes(const struct side *a, const struct side *b, guint64 *bytes,
			      GError **error)
{
	guint64 first = a->view->virtual_bytes, second = b->view->virtual_bytes;
	const struct side *larger = first > second ? a : b;

	*bytes = MIN(first, second);
	if (first == second || larger->view->info.is_device)
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_INTEGRITY,
		    "the images differ in size: %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT
		    " bytes",
		    first, second);
	return FALSE;
}

static void progress(const struct copy_progress *now, void *data)
{
	const struct move_reporter *reporter = data;

	if (reporter && reporter->progress)
		reporter->progress(0, "verify", 0, now, reporter->data);
}

gboolean image_verify(struct move_context *context, const char *a, const char *a_format,
		      const char *b, const char *b_format, struct compare_totals *totals,
		      GError **error)
{
	struct side first = {0}, second = {0};
	guint64 bytes;
	gboolean good =
		side_open(&first, context->config, a, a_format, error) &&
		side_open(&second, context->config, b, b_format, error) &&
		content_bytes(&first, &second, &bytes, error) &&
		compare_images(&first.end, &second.end, bytes, context->options->chunk_bytes, NULL,
			       0, context->options->retry_for_ms, progress,
			       (void *)context->reporter, totals, error);

	side_clear(&first);
	side_clear(&second);
	return good;
}

/* Why the destination can no longer be expected to equal the manifest; NULL: it can. */
static const char *no_answer(const struct job *job, gint64 pass)
{
	if (!pass || !job->sha256)
		return "it has copied nothing whole yet";
	if (job->domain_uuid && job->cut_over)
		return "the guest may have written to the destination since";
	if (job->domain_uuid && job->rounds)
		return "its rounds are under way: the manifest is whole again at the end";
	return NULL;
}

gboolean move_verify(struct move_context *context, gint64 id, struct compare_totals *totals,
		     GError **error)
{
	AUTO(ledger_job) record = ledger_job_get(context->ledger, id, error);
	struct job *job = record ? job_from_json(record->state, error) : NULL;

	if (!job)
		return FALSE;
	job->id = id;
	gint64 pass;

	if (!ledger_pass_find(context->ledger, id, PASS_BASE, &pass, error)) {
		job_free(job);
		return FALSE;
	}
	AUTO(move) move = NULL;
	const char *why =
		record->result == JOB_ROLLED_BACK ? "it was rolled back" : no_answer(job, pass);

	if (why) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "job %" G_GINT64_FORMAT " cannot be verified: %s", id, why);
		job_free(job);
		return FALSE;
	}
	move = move_new(context, job, error);
	if (!move) {
		job_free(job);
		return FALSE;
	}
	struct copy_end image = {.url = move->destination->url,
				 .config = move->destination->transport,
				 .offset_bytes = job->data_offset};

	return compare_manifest(context->ledger, pass, &image, job->content_bytes,
				job->options.chunk_bytes, job->options.retry_for_ms, progress,
				(void *)context->reporter, totals, error);
}
