#include "blockmig/move/kept.h"

#include "blockmig/move/passes.h"
#include "blockmig/move/usage.h"
#include "common/error.h"
#include "verify/readback.h"

#include <string.h>

gboolean kept_wanted(const struct move *move)
{
	const struct job *job = move->job;

	return ((error_code_may_pass(job->failure) && job->failure != BLOCKMIG_ERROR_FULL) ||
		job->options.keep_partial) &&
	       job->failure != BLOCKMIG_ERROR_INTEGRITY && job->destination_identity &&
	       *job->destination_identity;
}

/* The document of a job that left a copy; NULL where it cannot be read. */
static struct job *job_of(const struct ledger_job *record, GError **error)
{
	struct job *job = job_from_json(record->state, error);

	if (job)
		job->id = record->id;
	return job;
}

static gboolean is_same_disk(const struct job *a, const struct job *b)
{
	return g_strcmp0(a->domain_uuid, b->domain_uuid) == 0 && g_strcmp0(a->disk, b->disk) == 0 &&
	       (a->domain_uuid || g_str_equal(a->source_url, b->source_url));
}

static void say(const struct kept_search *search, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void say(const struct kept_search *search, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	g_ptr_array_add(search->words, g_strdup_vprintf(format, arguments));
	va_end(arguments);
}

/* ---- whether it is of use ------------------------------------------------------------ */

/* Whether its chunks are chunks of what is to be copied now. */
static gboolean has_same_shape(const struct kept_search *search, const struct job *old)
{
	const struct job *job = search->job;

	return old->failure != BLOCKMIG_ERROR_INTEGRITY && old->shape == job->shape &&
	       g_str_equal(old->destination->format, search->format) &&
	       old->options.chunk_bytes == search->options->chunk_bytes &&
	       old->data_offset == job->data_offset && old->virtual_bytes == job->virtual_bytes &&
	       (old->shape == SHAPE_APPEND || old->content_bytes == job->content_bytes);
}

/*
 * On NFS a freed fileid is given out again at once, so an identity alone does not tell a file
 * from the next one.  Nothing of ours touches a copy once it is kept.
 */
static gboolean is_unchanged(const struct job *old, const struct image_info *info)
{
	return !old->kept_ns || !info->changed_ns || old->kept_ns == info->changed_ns;
}

static gboolean has_good_size(const struct job *job, const struct image_info *info)
{
	if (info->is_device)
		return info->size_bytes >= job_destination_bytes(job);
	return job->shape == SHAPE_APPEND || info->size_bytes == job_destination_bytes(job);
}

/* ---- whether it is still what it was ---------------------------------------------------- */

enum { SAMPLES = 4 };

/* The first and the last chunks that are known, and some between. */
struct samples {
	struct ledger_unit units[SAMPLES + 1];
	guint count;
	guint64 total;
	struct ledger_unit last;
};

static gboolean add_sample(const struct ledger_unit *unit, void *data)
{
	struct samples *samples = data;

	if (unit->state < UNIT_DONE || (unit->is_zero && unit->index > 0))
		return TRUE;
	samples->last = *unit;
	if (samples->count < SAMPLES && unit->index >= samples->count * samples->total / SAMPLES)
		samples->units[samples->count++] = *unit;
	return TRUE;
}

static gboolean is_as_known(struct handle *handle, const struct job *old, void *buffer,
			    const struct ledger_unit *unit, GError **error)
{
	const guint64 offset_bytes = unit->index * old->options.chunk_bytes;
	const gsize count = MIN(old->options.chunk_bytes, old->content_bytes - offset_bytes);

	if (!unit->is_zero)
		return readback_prove(handle, buffer, count, old->data_offset + offset_bytes,
				      &unit->digest, error);
	return handle_read(handle, buffer, count, old->data_offset + offset_bytes, error) &&
	       buffer_is_zero(buffer, count);
}

/*
 * What somebody else has put there since must not be lost, so nothing is written before a
 * few chunks have been compared.  A device changes hands more easily than a file, and
 * whoever uses it begins at its first block: that one must be known.
 */
static gboolean is_as_left(const struct kept_search *search, const struct job *old,
			   struct handle *handle, const struct image_info *info)
{
	struct ledger *ledger = search->context->ledger;
	gint64 pass;
	struct samples samples = {.total =
					  copy_units(old->content_bytes, old->options.chunk_bytes)};
	void *buffer;
	gboolean same = TRUE;

	if (!ledger_pass_find(ledger, old->id, PASS_BASE, &pass, NULL) ||
	    !ledger_units_each(ledger, pass, add_sample, &samples, NULL))
		return FALSE;
	if (samples.count)
		samples.units[samples.count++] = samples.last;
	if (info->is_device && !search->options->overwrite &&
	    (old->data_offset || !samples.count || samples.units[0].index))
		return FALSE;
	buffer = transport_buffer_new(old->options.chunk_bytes);
	for (guint i = 0; same && i < samples.count; i++)
		same = is_as_known(handle, old, buffer, &samples.units[i], NULL);
	transport_buffer_free(buffer);
	return same;
}

/* ---- looking for it ------------------------------------------------------------------------ */

/* The image at @place, whose identity is that of the copy that @old left. */
static gboolean take_if_good(const struct kept_search *search, const struct job *old,
			     struct handle *handle, const struct image_info *info)
{
	struct job *job = search->job;

	if (!is_unchanged(old, info)) {
		say(search,
		    "%s was changed since job %" G_GINT64_FORMAT
		    " left its partial copy there, or is another file: it is not used, and stays. "
		    "Remove it by hand where nobody needs it",
		    old->destination_url, old->id);
		return FALSE;
	}
	if (!has_same_shape(search, old) || !has_good_size(job, info)) {
		say(search,
		    "the partial copy that job %" G_GINT64_FORMAT
		    " left at %s is of no use here (another format, size or chunk size)",
		    old->id, old->destination_url);
		return FALSE;
	}
	if (!is_as_left(search, old, handle, info)) {
		say(search,
		    "%s is not, or cannot be shown to be, the partial copy that job "
		    "%" G_GINT64_FORMAT " left there: it is not used",
		    old->destination_url, old->id);
		return FALSE;
	}
	job->taken_over = (guint64)old->id;
	job->destination_made = old->destination_made;
	job->destination_fresh = old->destination_fresh;
	say(search,
	    "the partial copy that job %" G_GINT64_FORMAT
	    " left at %s is used: the source is hashed again, and only what changed is sent",
	    old->id, old->destination_url);
	return TRUE;
}

static gboolean look(const struct kept_search *search, const struct job *old,
		     const struct place *place)
{
	g_autoptr(GError) failure = NULL;
	g_autofree char *url = url_format(place->url);
	const gboolean same_name = g_str_equal(url, old->destination_url);
	AUTO(handle) handle = handle_open(place->url, place->transport, HANDLE_READ, &failure);
	struct image_info info;

	if (!handle) {
		if (same_name && error_is(failure, BLOCKMIG_ERROR_NOT_FOUND))
			say(search,
			    "the partial copy that job %" G_GINT64_FORMAT
			    " left at %s is gone: the copy begins anew",
			    old->id, url);
		return FALSE;
	}
	if (!handle_describe(handle, &info, NULL))
		return FALSE;
	if (g_strcmp0(old->destination_identity, info.identity) == 0)
		return take_if_good(search, old, handle, &info);
	if (same_name)
		say(search,
		    "%s is not the image any more that job %" G_GINT64_FORMAT
		    " left its partial copy in",
		    url, old->id);
	return FALSE;
}

/* Calls look() for each copy of the job's disk, at the place that @where finds for it. */
static struct place *search_all(const struct kept_search *search,
				struct place *(*where)(const struct kept_search *search,
						       const struct job *old, const void *data),
				const void *data)
{
	g_autoptr(GPtrArray) records = ledger_kept_list(search->context->ledger, NULL);

	for (guint i = 0; records && i < records->len; i++) {
		AUTO(job) old = job_of(g_ptr_array_index(records, i), NULL);
		AUTO(place) place = NULL;

		if (!old || !old->destination_identity || !*old->destination_identity ||
		    !is_same_disk(old, search->job))
			continue;
		place = where(search, old, data);
		if (place && look(search, old, place))
			return g_steal_pointer(&place);
	}
	return NULL;
}

/* By the name that it has: in whichever words the datastore was named. */
static struct place *where_in(const struct kept_search *search, const struct job *old,
			      const void *datastore)
{
	AUTO(url) url = url_parse(old->destination_url, NULL);
	g_autofree char *name = url ? url_basename(url) : NULL;

	return name ? place_in_datastore(search->context->config, datastore, name, TRUE, NULL)
		    : NULL;
}

static struct place *where_at(const struct kept_search *search, const struct job *old,
			      const void *place)
{
	(void)old;
	return place_of_url(search->context->config, ((const struct place *)place)->url, NULL);
}

struct place *kept_in(const struct kept_search *search, const struct datastore *datastore)
{
	return search_all(search, where_in, datastore);
}

gboolean kept_at(const struct kept_search *search, const struct place *place)
{
	AUTO(place) found = search_all(search, where_at, place);

	return found != NULL;
}

/* ---- taking it over ------------------------------------------------------------------ */

/* The job that left the copy which @move takes over. */
static struct job *job_before(struct move *move, GError **error)
{
	AUTO(ledger_job) record =
		ledger_job_get(move->context.ledger, (gint64)move->job->taken_over, error);

	return record ? job_of(record, error) : NULL;
}

static gboolean save_stamp(struct move *move, struct job *old, guint64 kept_ns, GError **error)
{
	old->kept_ns = kept_ns;
	g_autofree char *text = job_to_json(old);

	return ledger_job_save(move->context.ledger, old->id, text, error);
}

/* Before the first byte is written: after that a change is one of ours. */
gboolean kept_settle(struct move *move, struct handle *handle, GError **error)
{
	const struct job *job = move->job;
	AUTO(job) old = job_before(move, error);
	struct image_info info;

	if (!old || !handle_describe(handle, &info, error))
		return FALSE;
	if (g_strcmp0(old->destination_identity, info.identity) != 0 || !is_unchanged(old, &info)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s is not the partial copy any more that job %" G_GINT64_FORMAT
			    " left: run the same command again",
			    job->destination_url, old->id);
		return FALSE;
	}
	if (old->kept_ns && !save_stamp(move, old, 0, error))
		return FALSE;
	return info.is_device || info.size_bytes == job_destination_bytes(job) ||
	       handle_resize(handle, job_destination_bytes(job), error);
}

/* Where that cannot be learnt, as the peer is dead, samples have to do: kept_remove(). */
gboolean kept_stamp(struct move *move, GError **error)
{
	struct job *job = move->job;
	gint64 pass;

	if (!pass_base(move, &pass, error))
		return FALSE;
	AUTO(job) before = pass ? NULL : job_before(move, error);
	struct job *owner = pass ? job : before;

	if (!owner)
		return FALSE;
	if (owner->kept_ns)
		return TRUE;
	AUTO(handle) handle = handle_open(move->destination->url, move->destination->transport,
					  HANDLE_READ, NULL);
	struct image_info info;

	if (!handle || !handle_describe(handle, &info, NULL) ||
	    g_strcmp0(owner->destination_identity, info.identity) != 0)
		return TRUE;
	return save_stamp(move, owner, info.changed_ns, error);
}

gboolean kept_take(struct move *move, GError **error)
{
	const struct job *job = move->job;
	struct ledger *ledger = move->context.ledger;
	gint64 pass;

	if (!job->taken_over)
		return TRUE;
	if (!pass_base(move, &pass, error))
		return FALSE;
	return pass ||
	       ledger_kept_take(ledger, (gint64)job->taken_over, job->id, PASS_BASE,
				copy_units(job->content_bytes, job->options.chunk_bytes), error);
}

gboolean kept_forget_replaced(struct move *move, GError **error)
{
	const struct job *job = move->job;
	g_autoptr(GPtrArray) records = ledger_kept_list(move->context.ledger, error);

	for (guint i = 0; records && i < records->len; i++) {
		const struct ledger_job *record = g_ptr_array_index(records, i);

		if (record->id != (gint64)job->taken_over &&
		    g_str_equal(record->destination, job->destination_url) &&
		    !ledger_kept_forget(move->context.ledger, record->id, error))
			return FALSE;
	}
	return records != NULL;
}

/* ---- letting go of it ---------------------------------------------------------------- */

/* Whether the file at @place is the copy that @job left.  NOT_FOUND where there is none. */
static gboolean is_copy_of(struct move_context *context, const struct job *job,
			   const struct place *place, GError **error)
{
	const struct move_options options = {.overwrite = FALSE};
	const struct kept_search search = {.context = context, .options = &options};
	AUTO(handle) handle = handle_open(place->url, place->transport, HANDLE_READ, error);
	struct image_info info;

	if (!handle || !handle_describe(handle, &info, error))
		return FALSE;
	if (g_strcmp0(job->destination_identity, info.identity) != 0) {
		g_set_error_literal(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_EXISTS,
				    "another file has taken its place, and stays");
		return FALSE;
	}
	if (job->kept_ns ? is_unchanged(job, &info) : is_as_left(&search, job, handle, &info))
		return TRUE;
	g_set_error_literal(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_EXISTS,
			    "it was changed since, or another file has taken its place, and stays: "
			    "remove it by hand where nobody needs it");
	return FALSE;
}

static gboolean is_unused(struct move_context *context, const struct place *place, GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autofree char *domain = usage_find(context, place, NULL, NULL, &failure);
	g_autofree char *file = domain || failure ? NULL : usage_beside(place, &failure);

	if (failure) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return FALSE;
	}
	if (domain || file)
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT, "%s names it",
			    domain ? domain : file);
	return !domain && !file;
}

static gboolean remove_copy(struct move_context *context, const struct job *job, GError **error)
{
	AUTO(url) url = url_parse(job->destination_url, error);
	AUTO(place) place = url ? place_of_url(context->config, url, error) : NULL;

	return place && is_copy_of(context, job, place, error) &&
	       is_unused(context, place, error) &&
	       image_remove(place->url, place->transport, error);
}

gboolean kept_remove(struct move_context *context, const struct ledger_job *record, GError **error)
{
	AUTO(job) job = job_of(record, NULL);
	g_autoptr(GError) failure = NULL;

	if (job && job->destination_made && !remove_copy(context, job, &failure) &&
	    !error_is(failure, BLOCKMIG_ERROR_NOT_FOUND)) {
		if (error_is(failure, BLOCKMIG_ERROR_EXISTS))
			ledger_kept_forget(context->ledger, record->id, NULL);
		g_propagate_error(error, g_steal_pointer(&failure));
		return FALSE;
	}
	return ledger_kept_forget(context->ledger, record->id, error);
}
