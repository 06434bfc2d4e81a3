/*
 * copy: one bare image, no guest involved.  The same prepare and seed as a move's, over a
 * job without a domain.
 */
#include "blockmig/move/image_open.h"
#include "blockmig/move/kept.h"
#include "blockmig/move/layout.h"
#include "blockmig/move/phases.h"
#include "blockmig/move/start.h"

#include "blockmig/copy/qcow2.h"
#include "common/error.h"
#include "common/units.h"

#include <string.h>

const struct phase copy_phases[] = {
	{
		.name = "prepare",
		.run = prepare_run,
		.undo = prepare_undo,
		.words = "create the destination",
	},
	{
		.name = "seed",
		.run = seed_run,
		.words = "copy the image and read it back",
	},
	{
		.name = "layout",
		.run = layout_finish,
		.words = "write the destination's own metadata",
	},
	{.name = NULL},
};

static gboolean refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static gboolean refuse(GError **error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	g_autofree char *text = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	g_set_error_literal(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT, text);
	return FALSE;
}

/* What is read, and how. */
static gboolean describe_source(struct job *job, const struct image_view *view,
				const struct move_options *options, GError **error)
{
	gboolean keep =
		g_str_equal(options->format, "keep") || g_str_equal(options->format, view->format);

	if (!keep && !g_str_equal(options->format, "raw") && !g_str_equal(options->format, "qcow2"))
		return refuse(error, "--format %s: keep, raw or qcow2", options->format);
	job->source = layer_new(&view->place->source, view->format);
	job->source_url = url_format(view->place->url);
	job->source_identity = g_strdup(view->info.identity);
	job->shape = SHAPE_APPLY;
	job->through_qemu = !keep && !g_str_equal(view->format, "raw");
	job->virtual_bytes =
		job->through_qemu || !keep ? view->virtual_bytes : view->info.size_bytes;
	job->content_bytes = job->virtual_bytes;
	if (job->through_qemu && view->backing_name)
		return refuse(error,
			      "%s has a backing file (%s): --format keep copies this layer alone",
			      job->source_url, view->backing_name);
	if (!keep && g_str_equal(options->format, "qcow2")) {
		job->virtual_bytes = units_round_up(job->virtual_bytes, 512);
		job->data_offset = qcow2_data_offset(job->virtual_bytes);
	}
	return TRUE;
}

static gboolean accept_existing(const struct job *job, struct handle *handle,
				const struct move_options *options, GError **error)
{
	struct image_info info;

	if (!handle_describe(handle, &info, error))
		return FALSE;
	if (!options->overwrite && !info.is_device)
		return refuse(error, "%s exists already: name another file, or --overwrite",
			      handle->name);
	if (info.is_device && info.size_bytes < job_destination_bytes(job))
		return refuse(error,
			      "%s is too small: it has %" G_GUINT64_FORMAT
			      " bytes, the image needs %" G_GUINT64_FORMAT,
			      handle->name, info.size_bytes, job_destination_bytes(job));
	if (info.is_device && !options->overwrite && image_looks_used(handle))
		return refuse(error,
			      "%s is not empty: --overwrite says that what it holds may be lost",
			      handle->name);
	return TRUE;
}

/* Whether a copy that this one can carry on with lies there. */
static gboolean find_kept(const struct move_context *context, struct job *job,
			  const struct place *place)
{
	g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
	const struct kept_search search = {
		.context = context,
		.options = context->options,
		.job = job,
		.format = job->destination->format,
		.words = words,
	};
	const gboolean found = kept_at(&search, place);

	for (guint i = 0; i < words->len; i++)
		if (context->reporter && context->reporter->warning)
			context->reporter->warning(0, words->pdata[i], context->reporter->data);
	return found;
}

/* Where it goes.  An image that is overwritten gets its new size when it is locked. */
static gboolean describe_destination(const struct move_context *context, struct job *job,
				     struct place *place, GError **error)
{
	const struct move_options *options = context->options;
	g_autoptr(GError) failure = NULL;
	AUTO(handle) handle = handle_open(place->url, place->transport, HANDLE_WRITE, &failure);
	const char *format =
		g_str_equal(options->format, "keep") ? job->source->format : options->format;

	job->destination = layer_new(&place->source, format);
	job->destination_url = url_format(place->url);
	job->destination_made = error_is(failure, BLOCKMIG_ERROR_NOT_FOUND);
	if (find_kept(context, job, place) || job->destination_made)
		return TRUE;
	if (!handle) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return FALSE;
	}
	return accept_existing(job, handle, options, error);
}

/* The destination in a place is named as the source. */
static struct place *destination_place(struct move_context *context, const char *text,
				       const struct place *source, GError **error)
{
	AUTO(url) url = image_url(text, error);

	if (!url)
		return NULL;
	if (!url->is_place)
		return place_of_url(context->config, url, error);
	if (url->scheme == URL_ISCSI) {
		refuse(error, "%s: name the LUN to copy to", text);
		return NULL;
	}
	g_autofree char *name = url_basename(source->url);
	AUTO(url) child = url_child(url, name);

	return place_of_url(context->config, child, error);
}

/* An open copy between the same two ends. */
static gint64 find_open(struct ledger *ledger, const char *source, const char *destination)
{
	g_autoptr(GPtrArray) jobs = ledger_job_list(ledger, TRUE, NULL);

	for (guint i = 0; jobs && i < jobs->len; i++) {
		const struct ledger_job *job = g_ptr_array_index(jobs, i);

		if (g_str_equal(job->kind, "copy") && g_str_equal(job->source, source) &&
		    g_str_equal(job->destination, destination))
			return job->id;
	}
	return 0;
}

static struct job *describe(struct move_context *context, const char *source,
			    const char *destination, gint64 *open, GError **error)
{
	const struct move_options *options = context->options;
	AUTO(image_view) view =
		image_view_open(context->config, source, options->from_format, error);

	if (!view)
		return NULL;
	AUTO(job) job = job_new();
	AUTO(place) place = destination_place(context, destination, view->place, error);
	gboolean same = FALSE;

	if (!place || !describe_source(job, view, options, error))
		return NULL;
	g_autofree char *url = url_format(place->url);

	*open = find_open(context->ledger, job->source_url, url);
	if (*open)
		return NULL;
	if (image_is_written(view->place)) {
		refuse(error,
		       "%s is open for writing in a running guest: migrate moves it, or shut "
		       "the guest off",
		       job->source_url);
		return NULL;
	}
	if (!describe_destination(context, job, place, error))
		return NULL;
	if (!job->destination_made && !place_same_image(view->place, place, &same, error))
		return NULL;
	if (same || image_is_written(place)) {
		refuse(error,
		       same ? "source and destination are the same image (%s)"
			    : "%s is open for writing in a running guest",
		       url);
		return NULL;
	}
	start_copy_options(job, options);
	return g_steal_pointer(&job);
}

gboolean image_copy_start(struct move_context *context, const char *source, const char *destination,
			  struct move_summary **summary, GError **error)
{
	struct move_context own = *context;
	gint64 open = 0;

	*summary = NULL;
	own.session = NULL;
	struct job *job = describe(&own, source, destination, &open, error);

	if (open)
		return move_resume(&own, open, summary, error);
	if (!job)
		return FALSE;
	if (!start_add(&own, "copy", job, NULL, error)) {
		job_free(job);
		return FALSE;
	}
	return start_drive(&own, job, runner_run, summary, error);
}
