#include "blockmig/move/image_open.h"
#include "blockmig/move/kept.h"
#include "blockmig/move/overlay.h"
#include "blockmig/move/preflight.h"
#include "blockmig/move/usage.h"

#include "blockmig/copy/qcow2.h"
#include "blockmig/vm/domain_load.h"
#include "common/error.h"
#include "common/units.h"

#include <string.h>

/* ---- format and shape -------------------------------------------------------------------- */

static gboolean holds_files(const struct url *url)
{
	return url->scheme == URL_FILE || url->scheme == URL_NFS;
}

/* Sets shape, content and the destination's format. */
static const char *choose_format(struct preflight *preflight, gboolean device)
{
	struct job *job = preflight->job;
	const char *wanted = preflight->options->format;
	const char *had = job->source->format;
	gboolean keep = g_str_equal(wanted, "keep");
	const char *format = keep ? (device ? "raw" : had) : wanted;

	job->through_qemu = !g_str_equal(had, "raw");
	job->shape = SHAPE_APPLY;
	job->content_bytes = job->through_qemu
				     ? job->virtual_bytes
				     : MIN(job->virtual_bytes, preflight->source_file_bytes);
	/* The layer's own file, byte for byte; only qcow2 takes rounds above it. */
	if (keep && !device && g_str_equal(had, "qcow2")) {
		job->shape = SHAPE_APPEND;
		job->through_qemu = FALSE;
		job->content_bytes = preflight->source_file_bytes;
	} else if (!g_str_equal(format, "raw") && !g_str_equal(format, "qcow2")) {
		preflight_obstacle(preflight,
				   "%s cannot be kept as it is: --format raw or --format qcow2",
				   had);
	} else if (preflight->has_snapshots) {
		preflight_obstacle(
			preflight,
			"the image has internal snapshots or bitmaps, which would be lost by "
			"changing its format: --format keep, or delete them");
	}
	if (job->shape == SHAPE_APPLY && g_str_equal(format, "qcow2"))
		job->data_offset = qcow2_data_offset(job->virtual_bytes);
	return format;
}

/* ---- a place among files ------------------------------------------------------------------- */

static char *with_extension(const char *name, const char *format)
{
	const char *extension = g_str_equal(format, "qcow2") ? "qcow2" : "raw";
	const char *dot = strrchr(name, '.');
	static const char *const known[] = {".qcow2", ".raw", ".img",  ".qcow", ".vmdk",
					    ".vdi",   ".vhd", ".vhdx", NULL};

	if (!dot || !g_strv_contains(known, dot))
		return g_strdup_printf("%s.%s", name, extension);
	/* .img says nothing about the format: it may stay for raw. */
	if (g_str_equal(dot, ".img") && g_str_equal(format, "raw"))
		return g_strdup(name);
	return g_strdup_printf("%.*s.%s", (int)(dot - name), name, extension);
}

/* A peer that does not answer says nothing about its names: that is an error. */
static gboolean exists(const struct place *place, gboolean *found, GError **error)
{
	g_autoptr(GError) failure = NULL;
	AUTO(handle) handle = handle_open(place->url, place->transport, HANDLE_READ, &failure);

	*found = handle || !error_is(failure, BLOCKMIG_ERROR_NOT_FOUND);
	if (!error_is_transient(failure))
		return TRUE;
	g_propagate_error(error, g_steal_pointer(&failure));
	return FALSE;
}

static struct place *free_name(struct preflight *preflight, const struct datastore *datastore,
			       const char *format, GError **error)
{
	const struct job *job = preflight->job;
	g_autofree char *plain = g_strdup_printf("%s-%s", job->domain_name, job->disk);
	g_autofree char *old =
		job->source->source.type == SOURCE_ISCSI || job->source->source.type == SOURCE_BLOCK
			? g_strdup(plain)
			: g_path_get_basename(job->source->source.path);
	g_auto(GStrv) names = g_new0(char *, 3);
	AUTO(place) place = NULL;

	names[0] = with_extension(old, format);
	names[1] = with_extension(plain, format);
	for (guint i = 0; names[i]; i++) {
		gboolean found = FALSE;

		g_clear_pointer(&place, place_free);
		place = place_in_datastore(preflight->context->config, datastore, names[i], TRUE,
					   error);
		if (place && !exists(place, &found, error))
			return NULL;
		if (!found)
			break;
	}
	return g_steal_pointer(&place);
}

/* ---- a place among LUNs -------------------------------------------------------------------- */

/* The size of a LUN that nobody uses and that is empty; 0 otherwise. */
static guint64 free_lun_bytes(struct preflight *preflight, const struct place *place)
{
	AUTO(handle) handle = handle_open(place->url, place->transport, HANDLE_READ, NULL);
	g_autofree char *user =
		handle ? usage_find(preflight->context, place, NULL, NULL, NULL) : NULL;
	struct image_info info;

	if (!handle || user || !handle_describe(handle, &info, NULL))
		return 0;
	AUTO(extents) extents =
		info.extents_trusted ? handle_extents(handle, info.size_bytes, 0, NULL) : NULL;

	return extents && extents_bytes(extents, EXTENT_DATA) == 0 ? info.size_bytes : 0;
}

static struct place *smallest_lun(struct preflight *preflight, const struct datastore *datastore,
				  GError **error)
{
	guint64 needed = job_destination_bytes(preflight->job), best_bytes = G_MAXUINT64;
	AUTO(place) best = NULL;
	g_autoptr(GPtrArray) luns = place_list(datastore->url, &datastore->transport, error);

	for (guint i = 0; luns && i < luns->len; i++) {
		AUTO(place) place = place_in_datastore(preflight->context->config, datastore,
						       g_ptr_array_index(luns, i), TRUE, error);
		guint64 bytes = place ? free_lun_bytes(preflight, place) : 0;

		if (!place)
			return NULL;
		if (bytes < needed || bytes >= best_bytes)
			continue;
		best_bytes = bytes;
		g_clear_pointer(&best, place_free);
		best = g_steal_pointer(&place);
	}
	if (luns && !best) {
		g_autofree char *size = units_format_size(needed);

		g_set_error(
			error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			"no LUN of %s is free, empty and at least %s large: make one, or name one "
			"with --to",
			datastore->url->target, size);
	}
	return g_steal_pointer(&best);
}

/* ---- the checks ------------------------------------------------------------------------------ */

/* @there_bytes: of what the image needs, those that are at the destination already. */
static void check_room(struct preflight *preflight, guint64 there_bytes)
{
	const struct place *place = preflight->destination;
	guint64 total, needed = preflight->source_allocated;
	AUTO(url) folder = url_parent(place->url);
	g_autoptr(GError) failure = NULL;

	if (!place_space(folder, place->transport, &preflight->plan->free_bytes, &total,
			 &failure)) {
		preflight_obstacle(preflight, "the destination does not answer: %s",
				   failure->message);
		return;
	}
	if (needed == G_MAXUINT64)
		needed = preflight->job->content_bytes;
	needed -= MIN(needed, there_bytes);
	if (preflight->plan->free_bytes < needed) {
		g_autofree char *have = units_format_size(preflight->plan->free_bytes);
		g_autofree char *need = units_format_size(needed);

		preflight_obstacle(preflight,
				   "too little room at the destination: %s free (%" G_GUINT64_FORMAT
				   " bytes), %s needed (%" G_GUINT64_FORMAT " bytes)",
				   have, preflight->plan->free_bytes, need, needed);
	}
}

/* What is there and is no copy of ours must not be lost. */
static void check_foreign(struct preflight *preflight, struct handle *handle,
			  const struct image_info *info)
{
	const struct job *job = preflight->job;
	g_autofree char *url = url_format(preflight->destination->url);
	g_autofree char *have = units_format_size(info->size_bytes);
	g_autofree char *need = units_format_size(job_destination_bytes(job));

	if (holds_files(preflight->destination->url) && !info->is_device)
		preflight_obstacle(preflight, "%s exists already: name another file, or remove it",
				   url);
	else if (info->size_bytes < job_destination_bytes(job))
		preflight_obstacle(preflight,
				   "%s is too small: it has %" G_GUINT64_FORMAT
				   " bytes (%s), the image "
				   "needs %" G_GUINT64_FORMAT " (%s)",
				   url, info->size_bytes, have, job_destination_bytes(job), need);
	else if (!preflight->options->overwrite && image_looks_used(handle))
		preflight_obstacle(
			preflight,
			"%s is not empty: --overwrite says that what it holds may be lost", url);
}

static void check_existing(struct preflight *preflight, struct handle *handle)
{
	struct job *job = preflight->job;
	struct image_info info;
	g_autoptr(GError) failure = NULL;

	if (!handle_describe(handle, &info, &failure)) {
		preflight_obstacle(preflight, "%s", failure->message);
		return;
	}
	if (!job->taken_over)
		check_foreign(preflight, handle, &info);
	else if (!info.is_device)
		check_room(preflight, info.allocated_bytes);
	/* A device larger than the image would grow the guest's disk without a slice. */
	if (info.size_bytes > job->virtual_bytes && !job->data_offset && info.is_device)
		job->destination->source.slice_bytes = job->virtual_bytes;
}

static void check_overlays(struct preflight *preflight)
{
	struct job *job = preflight->job;
	g_autoptr(GError) failure = NULL;
	g_autofree char *blocker = NULL;
	g_autofree char *scratch =
		overlay_scratch(preflight->context, preflight->options, &failure);

	if (!scratch ||
	    !overlay_place(job, scratch, MIN(preflight->source_allocated, job->virtual_bytes),
			   &failure)) {
		preflight_obstacle(preflight, "%s", failure->message);
		return;
	}
	if (!overlay_reachable(scratch, job->qemu_uid, job->qemu_gid, &blocker))
		preflight_obstacle(
			preflight,
			"QEMU's user (uid %d) cannot reach the scratch folder %s: %s bars the "
			"way. chmod o+x it, or name another folder with --scratch",
			job->qemu_uid, scratch, blocker);
}

static void check_same(struct preflight *preflight)
{
	gboolean same = FALSE;
	g_autoptr(GError) failure = NULL;

	if (!place_same_image(preflight->source, preflight->destination, &same, &failure))
		preflight_obstacle(preflight, "%s", failure->message);
	else if (same)
		preflight_obstacle(preflight, "source and destination are the same image (%s)",
				   preflight->job->source_url);
}

static struct kept_search search_for(const struct preflight *preflight, const char *format)
{
	return (struct kept_search){
		.context = preflight->context,
		.options = preflight->options,
		.job = preflight->job,
		.format = format,
		.words = preflight->plan->warnings,
	};
}

static struct place *choose_place(struct preflight *preflight, const struct datastore *datastore,
				  GError **error)
{
	gboolean device = !holds_files(datastore->url);
	const char *format = choose_format(preflight, device);
	const struct kept_search search = search_for(preflight, format);
	struct place *place;

	if (!datastore->url->is_place)
		place = place_of_url(preflight->context->config, datastore->url, error);
	else
		place = kept_in(&search, datastore);
	if (!place && datastore->url->is_place)
		place = device ? smallest_lun(preflight, datastore, error)
			       : free_name(preflight, datastore, format, error);
	if (place)
		preflight->job->destination = layer_new(&place->source, format);
	return place;
}

/* A disk that its domain names as a pool's volume is named so at the destination too. */
static void name_as_volume(struct preflight *preflight)
{
	struct job *job = preflight->job;
	struct source *source = &job->destination->source;

	if (!job->source->source.pool)
		return;
	if (!volume_of_place(preflight->context->session, preflight->destination, &source->pool,
			     &source->volume, &source->volume_mode))
		preflight_warning(preflight,
				  "the domain names the disk as a volume of pool %s, and will name "
				  "it by its address: the destination is no pool of libvirt",
				  job->source->source.pool);
}

/* A block device that was named by its path takes what a LUN takes. */
static void settle_device(struct preflight *preflight, struct handle *handle)
{
	struct job *job = preflight->job;
	struct image_info info;

	if (!holds_files(preflight->destination->url) || !handle_describe(handle, &info, NULL) ||
	    !info.is_device)
		return;
	g_free(job->destination->format);
	job->destination->format = g_strdup(choose_format(preflight, TRUE));
	job->destination->source.type = SOURCE_BLOCK;
}

/* A datastore that is being emptied takes nothing new. */
static void check_maintenance(struct preflight *preflight)
{
	g_autoptr(GError) failure = NULL;
	g_autoptr(GPtrArray) all = ledger_maintenance_list(preflight->context->ledger, &failure);

	if (!all)
		preflight_obstacle(preflight, "%s", failure->message);
	for (guint i = 0; all && i < all->len; i++) {
		const struct ledger_maintenance *one = g_ptr_array_index(all, i);

		if (place_is_in(preflight->destination, one->place))
			preflight_obstacle(preflight,
					   "%s is being evacuated: choose another destination, or "
					   "end that with blockmig evacuate %s --end-maintenance",
					   one->name, one->name);
	}
}

/* A copy of ours at the very place that the user named. */
static void search_named(struct preflight *preflight)
{
	const struct kept_search search =
		search_for(preflight, preflight->job->destination->format);

	if (!preflight->datastore->url->is_place)
		kept_at(&search, preflight->destination);
}

static void check_place(struct preflight *preflight)
{
	struct job *job = preflight->job;
	const struct place *place = preflight->destination;
	g_autoptr(GError) failure = NULL;
	g_autofree char *user = usage_find(preflight->context, place, NULL, NULL, &failure);
	AUTO(handle) handle = NULL;

	job->destination_url = url_format(place->url);
	if (user)
		preflight_obstacle(preflight, "%s is in use: %s", job->destination_url, user);
	else if (failure)
		preflight_obstacle(preflight, "%s", failure->message);
	g_clear_error(&failure);
	handle = handle_open(place->url, place->transport, HANDLE_READ, &failure);
	if (handle) {
		settle_device(preflight, handle);
		search_named(preflight);
		check_same(preflight);
		check_existing(preflight, handle);
	} else if (error_is(failure, BLOCKMIG_ERROR_NOT_FOUND) && holds_files(place->url)) {
		job->destination_made = TRUE;
		check_room(preflight, 0);
	} else {
		preflight_obstacle(preflight, "the destination cannot be opened: %s",
				   failure->message);
	}
}

void preflight_target(struct preflight *preflight)
{
	g_autoptr(GError) failure = NULL;

	preflight->destination = choose_place(preflight, preflight->datastore, &failure);
	if (!preflight->destination) {
		preflight_obstacle(preflight, "%s",
				   failure ? failure->message : "no place was found");
		return;
	}
	name_as_volume(preflight);
	check_maintenance(preflight);
	check_place(preflight);
	check_overlays(preflight);
	if (preflight->job->destination->source.type == SOURCE_NFS)
		preflight_warning(
			preflight,
			"the guest will use QEMU's own NFS client, which can return wrong bytes "
			"after a lost connection: give the datastore a mounted path=");
}
