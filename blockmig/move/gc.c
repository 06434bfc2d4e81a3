/*
 * What is left over of jobs: found by the names that only we give, and removed only where
 * the ledger says that its job has ended and nobody names it any more.
 */
#include "blockmig/move/image_open.h"
#include "blockmig/move/kept.h"
#include "blockmig/move/overlay.h"
#include "blockmig/move/usage.h"

#include "common/error.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * How long the saved XML of a job is kept (who finds out that something is wrong needs it),
 * and a partial copy (the next move to the same place carries on with it).
 */
static const gint64 keep_seconds = 30 * 24 * 3600;

/* IMAGE.blockmig-JOB-NUMBER.qcow2, and what a way home adds to it. */
#define OUR_NAME "^(.*\\.blockmig-([0-9]+)-([0-9]+|destination)\\.qcow2)((\\.home)*|\\.save)$"

struct gc {
	struct move_context *context;
	gboolean all, dry_run;
	GPtrArray *jobs;  /* of struct ledger_job *, open and ended */
	GString *domains; /* every XML that libvirt has of every domain */
	int qemu_uid;
	GPtrArray *leftovers; /* of struct move_leftover * */
};

void move_leftover_free(struct move_leftover *leftover)
{
	g_free(leftover->name);
	g_free(leftover->why);
	g_free(leftover);
}

/* Takes @why over. */
static struct move_leftover *found(struct gc *gc, const char *kind, const char *name, gboolean goes,
				   char *why)
{
	struct move_leftover *leftover = g_new0(struct move_leftover, 1);

	leftover->kind = kind;
	leftover->name = g_strdup(name);
	leftover->goes = goes;
	leftover->why = why;
	g_ptr_array_add(gc->leftovers, leftover);
	return leftover;
}

/* What could not be removed after all is kept; the caller's cause says why. */
static void kept_after_all(struct move_leftover *leftover, const char *why)
{
	g_free(leftover->why);
	leftover->why = g_strdup(why);
	leftover->goes = FALSE;
}

/* ---- what the domains name --------------------------------------------------------------- */

/* Takes @xml over. */
static gboolean add_xml(struct gc *gc, char *xml)
{
	g_autofree char *text = xml;

	if (text)
		g_string_append(gc->domains, text);
	return text != NULL;
}

static gboolean read_domain(struct gc *gc, const char *uuid, GError **error)
{
	struct session *session = gc->context->session;
	struct domain_state state;

	if (!session_state(session, uuid, &state, error) ||
	    !add_xml(gc, session_xml(session, uuid, FALSE, error)) ||
	    (state.persistent && !add_xml(gc, session_xml(session, uuid, TRUE, error))) ||
	    (state.managed_save && !add_xml(gc, session_managed_save_xml(session, uuid, error))))
		return FALSE;
	g_autoptr(GPtrArray) snapshots = session_snapshot_xmls(session, uuid, error);

	for (guint i = 0; snapshots && i < snapshots->len; i++)
		g_string_append(gc->domains, g_ptr_array_index(snapshots, i));
	return snapshots != NULL;
}

/* All of them, or nothing is removed at all. */
static gboolean read_domains(struct gc *gc, GError **error)
{
	g_autoptr(GPtrArray) uuids = session_list(gc->context->session, error);

	g_string_truncate(gc->domains, 0);
	for (guint i = 0; uuids && i < uuids->len; i++) {
		g_autoptr(GError) failure = NULL;

		if (read_domain(gc, g_ptr_array_index(uuids, i), &failure) ||
		    error_is(failure, BLOCKMIG_ERROR_NOT_FOUND))
			continue;
		g_propagate_error(error, g_steal_pointer(&failure));
		return FALSE;
	}
	return uuids != NULL;
}

/* By its last part: a chain may name it by a relative path, or a JSON text. */
static gboolean domains_name(const struct gc *gc, const char *name)
{
	g_autofree char *escaped = g_markup_escape_text(name, -1);

	return strstr(gc->domains->str, escaped) || strstr(gc->domains->str, name);
}

/* ---- overlays --------------------------------------------------------------------------- */

/* The job whose document has @name; NULL: none. */
static const struct ledger_job *job_of_file(const struct gc *gc, const char *name)
{
	for (guint i = gc->jobs->len; i-- > 0;) {
		const struct ledger_job *job = g_ptr_array_index(gc->jobs, i);

		if (strstr(job->state, name))
			return job;
	}
	return NULL;
}

/* A file of an open job has the number in its name before the document has the name. */
static gboolean is_of_open_job(const struct gc *gc, guint64 number)
{
	for (guint i = 0; i < gc->jobs->len; i++) {
		const struct ledger_job *record = g_ptr_array_index(gc->jobs, i);
		AUTO(job) job = record->result == JOB_OPEN && *record->domain_uuid
					? job_from_json(record->state, NULL)
					: NULL;

		if (job && job->number == number)
			return TRUE;
	}
	return FALSE;
}

/* Who has it as a backing file, or why that is not known: in doubt it has to stay. */
static char *needed_beside(const struct place *place)
{
	g_autoptr(GError) failure = NULL;
	g_autofree char *above = usage_beside(place, &failure);

	if (failure)
		return g_strdup_printf("whether an image lies over it is not known: %s",
				       failure->message);
	return above ? g_strdup_printf("%s lies over it", above) : NULL;
}

/* Why the file has to stay; NULL: it may go.  The caller frees. */
static char *reason_to_keep(const struct gc *gc, const char *path, const char *overlay,
			    guint64 number)
{
	const struct ledger_job *job = job_of_file(gc, overlay);
	g_autofree char *name = g_path_get_basename(path);
	struct place place = {.source = {.type = SOURCE_FILE, .path = (char *)path}};
	struct stat st;

	if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return g_strdup("it is no regular file");
	if (st.st_uid != geteuid() && st.st_uid != (uid_t)gc->qemu_uid)
		return g_strdup_printf("it belongs to uid %d, neither ours nor QEMU's",
				       (int)st.st_uid);
	if (domains_name(gc, name))
		return g_strdup("a domain names it");
	if (is_of_open_job(gc, number) || (job && job->result == JOB_OPEN))
		return g_strdup("an open job needs it");
	if (image_is_written(&place))
		return g_strdup("a guest has it open");
	char *needed = needed_beside(&place);

	if (!needed && (!job || job->result == JOB_FAILED))
		return g_strdup_printf(
			"no job that ended well has it (it names job %" G_GUINT64_FORMAT
			"), so it may be the only copy of what a guest wrote: look at it with "
			"qemu-img info, and remove it by hand",
			number);
	return needed;
}

static void collect_file(struct gc *gc, const char *path, GRegex *ours)
{
	g_autofree char *name = g_path_get_basename(path);
	g_autoptr(GMatchInfo) match = NULL;

	if (!g_regex_match(ours, name, 0, &match))
		return;
	g_autofree char *overlay = g_match_info_fetch(match, 1);
	g_autofree char *digits = g_match_info_fetch(match, 2);
	char *keep = reason_to_keep(gc, path, overlay, g_ascii_strtoull(digits, NULL, 10));
	struct move_leftover *leftover =
		found(gc, "overlay", path, !keep,
		      keep ? keep : g_strdup("its job ended, nobody names it"));
	g_autoptr(GError) failure = NULL;

	leftover->bytes = overlay_allocated(path);
	if (leftover->goes && !gc->dry_run && !overlay_remove(path, &failure))
		kept_after_all(leftover, failure->message);
}

static int by_name_downwards(const void *a, const void *b)
{
	return strcmp(*(char *const *)b, *(char *const *)a);
}

/* The last overlay first: the one below it has nobody over it then. */
static void collect_folder(struct gc *gc, const char *folder, GRegex *ours)
{
	g_autoptr(GDir) entries = g_dir_open(folder, 0, NULL);
	g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
	const char *name;

	while (entries && (name = g_dir_read_name(entries)))
		g_ptr_array_add(paths, g_build_filename(folder, name, NULL));
	g_ptr_array_sort(paths, by_name_downwards);
	for (guint i = 0; i < paths->len; i++)
		collect_file(gc, g_ptr_array_index(paths, i), ours);
}

/* Takes @folder over. */
static void add_folder(GHashTable *folders, char *folder)
{
	char *real = folder ? realpath(folder, NULL) : NULL;

	if (real)
		g_hash_table_add(folders, g_strdup(real));
	free(real);
	g_free(folder);
}

static void add_image_folder(GHashTable *folders, const struct source *source)
{
	if (source->type == SOURCE_FILE)
		add_folder(folders, g_path_get_dirname(source->path));
}

/* Where overlays are put, beside images and in scratch, by jobs that are known or not. */
static GHashTable *folders_of(struct gc *gc)
{
	const struct config *config = gc->context->config;
	GHashTable *folders = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autoptr(GPtrArray) uuids = session_list(gc->context->session, NULL);

	add_folder(folders, g_strdup(config->scratch));
	for (guint i = 0; i < config->datastores->len; i++)
		add_folder(folders,
			   g_strdup(((struct datastore *)g_ptr_array_index(config->datastores, i))
					    ->path));
	for (guint i = 0; i < gc->jobs->len; i++) {
		const struct ledger_job *record = g_ptr_array_index(gc->jobs, i);
		AUTO(job) job = job_from_json(record->state, NULL);

		if (!job)
			continue;
		add_folder(folders, g_strdup(job->overlay_folder));
		if (job->destination_overlay)
			add_folder(folders, g_path_get_dirname(job->destination_overlay));
		add_image_folder(folders, &job->source->source);
		add_image_folder(folders, &job->destination->source);
	}
	for (guint i = 0; uuids && i < uuids->len; i++) {
		g_autofree char *xml =
			session_xml(gc->context->session, g_ptr_array_index(uuids, i), TRUE, NULL);
		AUTO(domain) domain = xml ? domain_parse(xml, NULL) : NULL;

		for (guint d = 0; domain && d < domain->disks->len; d++)
			add_image_folder(
				folders,
				&disk_layer(g_ptr_array_index(domain->disks, d), 0)->source);
	}
	return folders;
}

static gboolean collect_overlays(struct gc *gc, GError **error)
{
	g_autoptr(GRegex) ours = g_regex_new(OUR_NAME, G_REGEX_DOLLAR_ENDONLY, 0, error);
	g_autoptr(GHashTable) folders = ours ? folders_of(gc) : NULL;
	g_autoptr(GList) names = folders ? g_hash_table_get_keys(folders) : NULL;

	names = g_list_sort(names, (GCompareFunc)strcmp);
	for (GList *at = names; at; at = at->next)
		collect_folder(gc, at->data, ours);
	return ours != NULL;
}

/* ---- folders of jobs -------------------------------------------------------------------- */

static gboolean remove_folder(const char *folder, GError **error)
{
	g_autoptr(GDir) entries = g_dir_open(folder, 0, error);
	const char *name;

	while (entries && (name = g_dir_read_name(entries))) {
		g_autofree char *path = g_build_filename(folder, name, NULL);

		if (!overlay_remove(path, error))
			return FALSE;
	}
	if (entries && rmdir(folder) == 0)
		return TRUE;
	if (entries)
		error_set_errno(error, errno, "remove %s", folder);
	return FALSE;
}

/* Whether an ended job's things have been kept for long enough. */
static gboolean is_old(const struct gc *gc, const struct ledger_job *job)
{
	return gc->all || g_get_real_time() / G_USEC_PER_SEC - job->updated_s >= keep_seconds;
}

static void collect_job_folder(struct gc *gc, const char *folder, gint64 id)
{
	AUTO(ledger_job) job = ledger_job_get(gc->context->ledger, id, NULL);
	g_autoptr(GError) failure = NULL;

	if (!job) {
		found(gc, "job folder", folder, FALSE,
		      g_strdup("no such job is in the ledger: it may be all that is left of it"));
		return;
	}
	if (job->result == JOB_OPEN || !is_old(gc, job))
		return;
	struct move_leftover *leftover =
		found(gc, "job folder", folder, TRUE, g_strdup("its job ended"));

	if (!gc->dry_run && !remove_folder(folder, &failure))
		kept_after_all(leftover, failure->message);
}

static gboolean collect_job_folders(struct gc *gc, GError **error)
{
	g_autofree char *jobs = g_build_filename(ledger_folder(gc->context->ledger), "jobs", NULL);
	g_autoptr(GDir) entries = g_dir_open(jobs, 0, NULL);
	const char *name;
	guint64 id;

	(void)error;
	while (entries && (name = g_dir_read_name(entries))) {
		g_autofree char *folder = g_build_filename(jobs, name, NULL);

		if (g_ascii_string_to_unsigned(name, 10, 1, G_MAXINT64, &id, NULL))
			collect_job_folder(gc, folder, (gint64)id);
	}
	return TRUE;
}

/* ---- locks and elements ------------------------------------------------------------------- */

static gboolean collect_locks(struct gc *gc, GError **error)
{
	g_autoptr(GPtrArray) keys = ledger_locks_stale(gc->context->ledger, !gc->dry_run, error);

	for (guint i = 0; keys && i < keys->len; i++)
		found(gc, "lock", g_ptr_array_index(keys, i), TRUE,
		      g_strdup("the process that held it is dead"));
	return keys != NULL;
}

static void collect_element(struct gc *gc, const struct domain *domain)
{
	AUTO(metadata) metadata = metadata_parse(domain->metadata, NULL);
	const struct ledger_job *job =
		metadata && *metadata->nonce ? job_of_file(gc, metadata->nonce) : NULL;

	if (job && job->result == JOB_OPEN)
		return;
	found(gc, "element", domain->name, FALSE,
	      job ? g_strdup_printf("job %" G_GINT64_FORMAT
				    " has ended, so an older XML was defined again: look at the "
				    "domain's disks, then virsh metadata %s --uri %s --remove",
				    job->id, domain->name, XML_METADATA_URI)
		  : g_strdup("this ledger does not know its job: see blockmig status"));
}

static gboolean collect_elements(struct gc *gc, GError **error)
{
	g_autoptr(GPtrArray) uuids = session_list(gc->context->session, error);

	for (guint i = 0; uuids && i < uuids->len; i++) {
		g_autofree char *xml =
			session_xml(gc->context->session, g_ptr_array_index(uuids, i), TRUE, NULL);
		AUTO(domain) domain = xml ? domain_parse(xml, NULL) : NULL;

		if (domain && domain->metadata)
			collect_element(gc, domain);
	}
	return uuids != NULL;
}

/* ---- all of it ---------------------------------------------------------------------------- */

/* ---- partial copies --------------------------------------------------------------------- */

static void collect_kept_copy(struct gc *gc, const struct ledger_job *record)
{
	g_autoptr(GError) failure = NULL;
	struct move_leftover *leftover;

	if (!is_old(gc, record)) {
		found(gc, "partial copy", record->destination, FALSE,
		      g_strdup_printf("job %" G_GINT64_FORMAT " was rolled back: the next move "
				      "to the same place carries on with it (--all removes it)",
				      record->id));
		return;
	}
	leftover = found(gc, "partial copy", record->destination, TRUE,
			 g_strdup_printf("job %" G_GINT64_FORMAT " was rolled back", record->id));
	if (!gc->dry_run && !kept_remove(gc->context, record, &failure))
		kept_after_all(leftover, failure->message);
}

static gboolean collect_kept_copies(struct gc *gc, GError **error)
{
	g_autoptr(GPtrArray) records = ledger_kept_list(gc->context->ledger, error);

	for (guint i = 0; records && i < records->len; i++)
		collect_kept_copy(gc, g_ptr_array_index(records, i));
	return records != NULL;
}

/* One for each kind of leftover; each adds what it finds, and removes what goes. */
static gboolean (*const collectors[])(struct gc *, GError **) = {
	collect_overlays, collect_kept_copies, collect_job_folders, collect_locks, collect_elements,
};

GPtrArray *move_gc(struct move_context *context, gboolean all, gboolean dry_run, GError **error)
{
	g_autoptr(GString) domains = g_string_new(NULL);
	g_autoptr(GPtrArray) jobs = ledger_job_list(context->ledger, FALSE, error);
	g_autoptr(GPtrArray) leftovers =
		g_ptr_array_new_with_free_func((GDestroyNotify)move_leftover_free);
	struct gc gc = {
		.context = context,
		.all = all,
		.dry_run = dry_run,
		.jobs = jobs,
		.domains = domains,
		.leftovers = leftovers,
	};
	int gid;

	if (!jobs || !session_qemu_owner(context->session, &gc.qemu_uid, &gid, error) ||
	    !read_domains(&gc, error))
		return NULL;
	for (guint i = 0; i < G_N_ELEMENTS(collectors); i++)
		if (!collectors[i](&gc, error))
			return NULL;
	return g_steal_pointer(&leftovers);
}
