/*
 * Jobs whose ledger is lost.  The element in the domain's metadata has what does not show
 * elsewhere (job_to_brief); where the guest stands, its chain tells:
 *
 *     source                                  before the freeze, or home again
 *     overlays - source                       before the cutover
 *     overlay - the destination's chain       grafted: on the way home
 *     (mirror's overlay -) (rounds -) destination
 *
 * What the ledger knew of the copy is gone, so nothing before the commit point goes on: the
 * guest is put back.  Behind it there is only the way forward: before a guest runs on the
 * destination, its inactive XML names that, and then its element says that it may have run
 * there, so that one which is off is not taken for one that never left its source.
 */
#include "blockmig/move/overlay.h"
#include "blockmig/move/phases.h"
#include "blockmig/move/start.h"
#include "blockmig/move/usage.h"

#include "common/error.h"

#include <string.h>

/* ---- finding them ---------------------------------------------------------------------- */

void move_orphan_free(struct move_orphan *orphan)
{
	g_free(orphan->uuid);
	g_free(orphan->domain);
	g_free(orphan->disk);
	g_free(orphan->source);
	g_free(orphan->destination);
	g_free(orphan->element);
	g_free(orphan->elsewhere);
	g_free(orphan);
}

/* Whether a job of that nonce is in the ledger, open or ended. */
static gboolean knows(struct ledger *ledger, const char *nonce, gboolean *known, GError **error)
{
	g_autoptr(GPtrArray) jobs = ledger_job_list(ledger, FALSE, error);

	*known = FALSE;
	for (guint i = 0; jobs && *nonce && i < jobs->len; i++)
		if (strstr(((struct ledger_job *)g_ptr_array_index(jobs, i))->state, nonce))
			*known = TRUE;
	return jobs != NULL;
}

/* In words, where another ledger of this host has the job, or may have it. */
static char *other_ledger(struct ledger *ours, const struct job *job)
{
	g_autofree char *here = g_canonicalize_filename(ledger_folder(ours), NULL);
	g_autofree char *file =
		job->state_folder ? g_build_filename(job->state_folder, "ledger.db", NULL) : NULL;
	g_autoptr(GError) failure = NULL;
	gboolean known = FALSE;

	if (!file || g_str_equal(job->state_folder, here) || !g_file_test(file, G_FILE_TEST_EXISTS))
		return NULL;
	AUTO(ledger) ledger = ledger_open(job->state_folder, &failure);

	if (ledger && knows(ledger, job->nonce, &known, &failure) && !known)
		return NULL;
	return failure ? g_strdup_printf("the ledger in %s may have it, and cannot be read: %s",
					 job->state_folder, failure->message)
		       : g_strdup_printf("the ledger in %s has it: BLOCKMIG_STATE=%s names that "
					 "one",
					 job->state_folder, job->state_folder);
}

static char *elsewhere(struct ledger *ours, const struct job *job)
{
	if (g_strcmp0(job->host, g_get_host_name()) != 0)
		return g_strdup_printf("it was begun on host %s: resume or abort it there",
				       job->host ? job->host : "(unknown)");
	return other_ledger(ours, job);
}

static struct job *job_of_element(const struct metadata *metadata, GError **error)
{
	AUTO(job) job = job_from_json(metadata->detail, error);

	if (!job)
		return NULL;
	job->nonce = g_strdup(metadata->nonce);
	job->disk = g_strdup(metadata->disk);
	job->adopted = TRUE;
	return g_steal_pointer(&job);
}

/* With our element, live or inactive: a release may have been cut off between the two. */
static struct domain *marked_domain(struct move_context *context, const char *uuid, GError **error)
{
	for (int inactive = 0; inactive <= 1; inactive++) {
		g_autofree char *xml = session_xml(context->session, uuid, inactive, error);
		AUTO(domain) domain = xml ? domain_parse(xml, error) : NULL;

		if (!domain)
			return NULL;
		if (domain->metadata)
			return g_steal_pointer(&domain);
	}
	return NULL;
}

/* NULL without error where the domain has no element, or the ledger knows it. */
static struct move_orphan *orphan_of(struct move_context *context, const char *uuid, GError **error)
{
	AUTO(domain) domain = marked_domain(context, uuid, error);
	gboolean known;

	if (!domain)
		return NULL;
	AUTO(metadata) metadata = metadata_parse(domain->metadata, error);

	if (!metadata || !knows(context->ledger, metadata->nonce, &known, error) || known)
		return NULL;
	AUTO(job) job = job_of_element(metadata, NULL);
	struct move_orphan *orphan = g_new0(struct move_orphan, 1);

	orphan->uuid = g_strdup(uuid);
	orphan->domain = g_strdup(domain->name);
	orphan->disk = g_strdup(metadata->disk);
	orphan->job = metadata->job;
	orphan->source = g_strdup(metadata->source);
	orphan->destination = g_strdup(metadata->destination);
	orphan->element = g_strdup(domain->metadata);
	orphan->elsewhere = job ? elsewhere(context->ledger, job)
				: g_strdup("its element does not say enough to put it back: look "
					   "at the domain's chain (virsh dumpxml)");
	return orphan;
}

GPtrArray *move_orphans(struct move_context *context, GError **error)
{
	g_autoptr(GPtrArray) uuids = session_list(context->session, error);
	g_autoptr(GPtrArray) orphans =
		g_ptr_array_new_with_free_func((GDestroyNotify)move_orphan_free);

	for (guint i = 0; uuids && i < uuids->len; i++) {
		g_autoptr(GError) failure = NULL;
		struct move_orphan *orphan =
			orphan_of(context, g_ptr_array_index(uuids, i), &failure);

		if (orphan)
			g_ptr_array_add(orphans, orphan);
		/* Undefined since it was listed: it has no job any more. */
		if (failure && !error_is(failure, BLOCKMIG_ERROR_NOT_FOUND)) {
			g_propagate_error(error, g_steal_pointer(&failure));
			return NULL;
		}
	}
	return uuids ? g_steal_pointer(&orphans) : NULL;
}

/* ---- the overlays ------------------------------------------------------------------------ */

/* Paths by number; the one found first counts. */
static void note_overlay(const struct job *job, GPtrArray *paths, const char *path)
{
	guint number = path ? overlay_number(job, path) : 0;

	if (!number)
		return;
	if (paths->len < number)
		g_ptr_array_set_size(paths, (int)number);
	if (!g_ptr_array_index(paths, number - 1))
		g_ptr_array_index(paths, number - 1) = g_strdup(path);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Those in the chain first: of two that are on their way home, it names the one that counts. */
static void find_overlays(struct job *job, const struct world *world)
{
	g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GDir) entries =
		job->overlay_folder ? g_dir_open(job->overlay_folder, 0, NULL) : NULL;
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	const char *name;

	for (guint i = 0; i < world->disk->layers->len; i++)
		note_overlay(job, paths, disk_layer(world->disk, i)->source.path);
	while (entries && (name = g_dir_read_name(entries)))
		g_ptr_array_add(names, g_build_filename(job->overlay_folder, name, NULL));
	/* A plain name before the same with an ending. */
	g_ptr_array_sort(names, by_name);
	for (guint i = 0; i < names->len; i++)
		note_overlay(job, paths, g_ptr_array_index(names, i));
	for (guint i = 0; i < paths->len; i++) {
		const char *path = g_ptr_array_index(paths, i);
		/* One that was removed already is no harm where nothing needs it. */
		g_autofree char *usual = overlay_path(job, i + 1);
		struct overlay *overlay = job_add_overlay(job, path ? path : usual);

		if (job->shape == SHAPE_APPEND)
			overlay->landed = overlay_landed_name(job, i + 1);
	}
}

/* ---- what the chain says ------------------------------------------------------------------ */

enum where { AT_SOURCE, AT_OVERLAY, AT_GRAFT, AT_DESTINATION, AT_UNKNOWN };

static gboolean is_destination_layer(struct job *job, const struct source *source)
{
	if (source_equal(source, &job->destination->source))
		return TRUE;
	if (source->type == SOURCE_FILE && job->destination_overlay &&
	    g_str_equal(source->path, job->destination_overlay))
		return TRUE;
	for (guint i = 0; source->path && i < job->overlays->len; i++) {
		struct overlay *overlay = job_overlay(job, i);
		g_autofree char *name = g_path_get_basename(source->path);

		if (g_strcmp0(overlay->landed, name) != 0)
			continue;
		overlay->copied = TRUE;
		return TRUE;
	}
	return FALSE;
}

/* From layer number @from to the end nothing but the destination's, and that last. */
static gboolean leads_to_destination(struct job *job, const struct disk *disk, guint from)
{
	const struct layer *last = disk_layer(disk, disk->layers->len - 1);

	for (guint i = from; i < disk->layers->len; i++)
		if (!is_destination_layer(job, &disk_layer(disk, i)->source))
			return FALSE;
	return from < disk->layers->len && source_equal(&last->source, &job->destination->source);
}

/* One overlay below the other, down to the source. */
static gboolean leads_to_source(const struct job *job, const struct disk *disk, guint number)
{
	g_autoptr(GPtrArray) chain = job_source_chain(job, number);

	if (chain->len != disk->layers->len)
		return FALSE;
	for (guint i = 0; i < chain->len; i++) {
		const struct layer *wanted = g_ptr_array_index(chain, i);

		if (!source_equal(&disk_layer(disk, i)->source, &wanted->source))
			return FALSE;
	}
	return TRUE;
}

static enum where place_of_guest(struct job *job, const struct world *world)
{
	const struct layer *top = disk_layer(world->disk, 0);
	guint number =
		top && top->source.type == SOURCE_FILE ? overlay_number(job, top->source.path) : 0;

	if (!top)
		return AT_UNKNOWN;
	if (leads_to_source(job, world->disk, number))
		return number ? AT_OVERLAY : AT_SOURCE;
	if (number && number == job->overlays->len && leads_to_destination(job, world->disk, 1))
		return AT_GRAFT;
	return leads_to_destination(job, world->disk, 0) ? AT_DESTINATION : AT_UNKNOWN;
}

static char *chain_text(const struct disk *disk)
{
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < disk->layers->len; i++) {
		g_autofree char *layer = source_text(&disk_layer(disk, i)->source);

		g_string_append_printf(text, "%s%s", i ? " over " : "", layer);
	}
	return g_string_free(text, FALSE);
}

static gboolean unexplained(const struct job *job, const struct world *world, const char *why,
			    GError **error)
{
	g_autofree char *chain = chain_text(world->disk);

	g_set_error(
		error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_OPERATOR,
		"domain %s, disk %s: its ledger is lost, and its chain (%s) is not what the "
		"element in its metadata tells of a move from %s to %s: %s. Nothing was changed. "
		"Find out which image has the guest's data, define the disk onto it, and remove "
		"the element (virsh metadata %s --uri %s --remove)",
		job->domain_name, job->disk, chain, job->source_url, job->destination_url, why,
		job->domain_name, XML_METADATA_URI);
	return FALSE;
}

/* ---- where the job stands ------------------------------------------------------------ */

/* Merged already, nothing but the end is left; the element may be gone from the live XML. */
static gboolean is_merged(const struct job *job, const struct world *world)
{
	return world->disk->layers->len == 1 && !world->disk->mirror.present &&
	       source_equal(&disk_layer(world->disk, 0)->source, &job->destination->source);
}

static void set_forward(struct job *job, const struct world *world, struct start_from *from)
{
	job->cut_over = TRUE;
	job->guarantee = g_strdup("not known: the ledger of the job was lost; what was proven is "
				  "not on record");
	/* The cutover's end is what lets the guest go on. */
	from->phase = job->suspended ? "cutover" : is_merged(job, world) ? "merge" : "persist";
}

static gboolean stand_at_destination(struct job *job, const struct world *world,
				     struct start_from *from, GError **error)
{
	if (job->cut_over || job->finished_cold || world->state.run == RUN_RUNNING) {
		set_forward(job, world, from);
		return TRUE;
	}
	if (!job->overlays->len || !job->destination_overlay ||
	    !g_file_test(job_active_overlay(job)->path, G_FILE_TEST_EXISTS))
		return unexplained(job, world,
				   "the guest is on the destination, and the overlay that would "
				   "tell whether it ran there is gone",
				   error);
	/* Between the pivot and the commit point: the cutover compares, and decides. */
	from->phase = "cutover";
	return TRUE;
}

/*
 * Whether overlays of a guest that is on its source may go: where the way back was begun,
 * which commits them first, or where the guest never got onto the only one.
 */
static gboolean overlays_spent(struct move *asking, const struct world *world, GError **error)
{
	struct job *job = asking->job;
	gboolean left = FALSE;

	if (job->going_back || !job->overlays->len)
		return TRUE;
	if (job->overlays->len == 1 && !rounds_left(asking, &left, error))
		return FALSE;
	if (job->overlays->len == 1 && !left)
		return TRUE;
	g_autofree char *why = g_strdup_printf("%s holds writes of the guest that nobody committed",
					       job_active_overlay(job)->path);

	return unexplained(job, world, why, error);
}

static gboolean stand(struct move *asking, const struct world *world, struct start_from *from,
		      GError **error)
{
	struct job *job = asking->job;
	enum where where = place_of_guest(job, world);

	if (where == AT_DESTINATION)
		return stand_at_destination(job, world, from, error);
	if (where == AT_UNKNOWN)
		return unexplained(job, world, "it has layers that are neither's", error);
	if (job->cut_over)
		return unexplained(job, world, "the guest ran on the destination already", error);
	if (where == AT_SOURCE && !overlays_spent(asking, world, error))
		return FALSE;
	job->failure = BLOCKMIG_ERROR_PERMANENT;
	from->phase = job->overlays->len ? "cutover" : "prepare";
	from->undoing = TRUE;
	return TRUE;
}

/* A mirror that was begun, or a memory image that was written, after the element. */
static void learn_rest(struct move_context *context, struct job *job, const struct world *world)
{
	const struct source *to = &world->disk->mirror.to.source;

	if (!job->destination_overlay && world->disk->mirror.present && to->type == SOURCE_FILE) {
		g_autofree char *folder = g_path_get_dirname(to->path);
		g_autofree char *ours = overlay_destination_path(job, folder);

		if (g_str_equal(ours, to->path))
			job->destination_overlay = g_steal_pointer(&ours);
	}
	if (!job->destination_overlay) {
		g_autofree char *ours = overlay_destination_path(job, context->config->scratch);

		if (g_file_test(ours, G_FILE_TEST_EXISTS))
			job->destination_overlay = g_steal_pointer(&ours);
	}
	g_autofree char *saved = putback_save_path(job);

	job->restoring = job->destination_overlay && g_file_test(saved, G_FILE_TEST_EXISTS);
}

/* A partial copy whose place somebody else may have taken since is left alone. */
static void spare_destination(struct move_context *context, struct job *job)
{
	g_autoptr(GError) failure = NULL;
	AUTO(url) url = url_parse(job->destination_url, NULL);
	AUTO(place) place = url ? place_of_url(context->config, url, NULL) : NULL;
	g_autofree char *user =
		place ? usage_find(context, place, job->domain_uuid, job->disk, &failure) : NULL;

	job->options.keep_partial = !place || user || failure;
}

static struct job *job_again(struct move_context *context, const struct move_orphan *orphan,
			     struct start_from *from, GError **error)
{
	AUTO(metadata) metadata = metadata_parse(orphan->element, error);
	AUTO(job) job = metadata ? job_of_element(metadata, error) : NULL;

	if (!job)
		return NULL;
	job->domain_uuid = g_strdup(orphan->uuid);
	job->domain_name = g_strdup(orphan->domain);
	if (!session_qemu_owner(context->session, &job->qemu_uid, &job->qemu_gid, error))
		return NULL;
	struct move asking = {.context = *context, .job = job};
	/* Any number: world_look then asks for the way out of a job, not for another disk. */
	job->id = orphan->job;
	AUTO(world) world = world_look(&asking, error);

	if (!world)
		return NULL;
	find_overlays(job, world);
	learn_rest(context, job, world);
	if (!stand(&asking, world, from, error))
		return NULL;
	spare_destination(context, job);
	return g_steal_pointer(&job);
}

gboolean move_adopt(struct move_context *context, const struct move_orphan *orphan, gint64 *id,
		    GError **error)
{
	struct start_from from = {.message = "its ledger was lost"};

	if (orphan->elsewhere) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_BUSY,
			    "domain %s, disk %s: it carries job %" G_GINT64_FORMAT
			    ", which this ledger does not know: %s",
			    orphan->domain, orphan->disk, orphan->job, orphan->elsewhere);
		return FALSE;
	}
	AUTO(job) job = job_again(context, orphan, &from, error);
	AUTO(ledger_job) taken = job ? ledger_job_get(context->ledger, job->id, NULL) : NULL;

	if (!job)
		return FALSE;
	if (taken)
		job->id = 0;
	if (!start_add(context, "migrate", job, &from, error))
		return FALSE;
	*id = job->id;
	return TRUE;
}
