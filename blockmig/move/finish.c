/*
 * Behind the commit point: only forward.
 */
#include "blockmig/move/define.h"
#include "blockmig/move/overlay.h"
#include "blockmig/move/phases.h"
#include "blockmig/move/usage.h"

#include "blockmig/vm/domain_load.h"
#include "blockmig/vm/image_tool.h"
#include "common/error.h"

enum { TRIES = 5 };

/* Whether the guest would boot from the destination. */
static gboolean boots_there(struct move *move, gboolean *there, GError **error)
{
	g_autofree char *xml =
		session_xml(move->context.session, move->job->domain_uuid, TRUE, error);
	AUTO(domain) domain = xml ? domain_parse(xml, error) : NULL;
	struct world inactive = {.domain = domain};

	if (!domain)
		return FALSE;
	inactive.disk = domain_disk(domain, move->job->disk);
	*there = inactive.disk && world_on_destination(&inactive, move->job);
	return TRUE;
}

gboolean persist_early(struct move *move, GError **error)
{
	g_autoptr(GPtrArray) chain = job_destination_chain(move->job, TRUE);
	gboolean there;

	return boots_there(move, &there, error) &&
	       (there || define_chain(move, chain, TRUE, error));
}

gboolean persist_run(struct move *move, GError **error)
{
	struct job *job = move->job;
	AUTO(world) world = world_look(move, error);

	if (!world || !claim_check(move, error))
		return FALSE;
	if (!world_on_destination(world, job)) {
		const struct layer *top = disk_layer(world->disk, 0);
		g_autofree char *now = top ? source_text(&top->source) : g_strdup("nothing");

		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_OPERATOR,
			    "%s: the guest should be on %s, but it is on %s. Find out who changed "
			    "it before you start or stop the guest",
			    job->disk, job->destination_url, now);
		return FALSE;
	}
	/* From here on the element alone says that there is no way back. */
	if (!claim_update(move, error))
		return FALSE;
	if (job->finished_cold)
		return TRUE;
	/* Merged already, where this phase is run again. */
	if (source_equal(&disk_layer(world->disk, 0)->source, &job->destination->source))
		return TRUE;

	g_autoptr(GPtrArray) chain = job_destination_chain(job, TRUE);

	return define_chain(move, chain, TRUE, error);
}

/* ---- merge ---------------------------------------------------------------------------------- */

static gboolean merge_offline(struct move *move, GError **error)
{
	struct job *job = move->job;
	g_autoptr(GPtrArray) chain = job_destination_chain(job, !job->finished_cold);

	for (guint i = 0; i + 1 < chain->len; i++) {
		const struct layer *layer = g_ptr_array_index(chain, i);

		if (layer->source.type != SOURCE_FILE) {
			g_autofree char *text = source_text(&layer->source);

			g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_OPERATOR,
				    "%s cannot be merged while the guest is off: start the guest, "
				    "then blockmig resume %" G_GINT64_FORMAT,
				    text, job->id);
			return FALSE;
		}
		if (!image_tool_commit(layer->source.path, g_ptr_array_index(chain, i + 1), error))
			return FALSE;
	}
	g_autoptr(GPtrArray) last = g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);

	g_ptr_array_add(last, layer_copy(job->destination));
	return define_chain(move, last, FALSE, error);
}

static gboolean is_merged(const struct world *world, const struct job *job)
{
	const struct layer *top = disk_layer(world->disk, 0);

	return top && source_equal(&top->source, &job->destination->source) &&
	       !world->disk->mirror.present &&
	       (world->state.run != RUN_OFF || world->disk->layers->len == 1);
}

/* What landed at the destination as a layer of its own is in its base now. */
static gboolean remove_landed(struct move *move, GError **error)
{
	const struct job *job = move->job;
	AUTO(url) folder = url_parent(move->destination->url);

	for (guint i = 0; i < job->overlays->len; i++) {
		g_autoptr(GError) failure = NULL;

		if (!job_overlay(job, i)->landed)
			continue;
		AUTO(url) landed = url_child(folder, job_overlay(job, i)->landed);

		if (!image_remove(landed, move->destination->transport, &failure) &&
		    !error_is(failure, BLOCKMIG_ERROR_NOT_FOUND)) {
			g_propagate_error(error, g_steal_pointer(&failure));
			return FALSE;
		}
	}
	return !job->destination_overlay || overlay_remove(job->destination_overlay, error);
}

gboolean merge_run(struct move *move, GError **error)
{
	struct job *job = move->job;
	gboolean merged = FALSE, stopped = FALSE;

	for (guint tries = 0; !merged; tries++) {
		g_autoptr(GError) failure = NULL;
		AUTO(world) world = world_look(move, error);

		if (!world)
			return FALSE;
		stopped = world->state.paused_by_error;
		merged = is_merged(world, job);
		if (merged)
			break;
		gboolean good = world->state.run == RUN_OFF
					? merge_offline(move, &failure)
					: mirror_commit(move, &job->destination->source, &failure);

		if (tries < TRIES && (good || world_changed(move, world, failure)))
			continue;
		if (good)
			g_set_error(&failure, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT,
				    "%s: the guest does not stay on %s", job->disk,
				    job->destination_url);
		g_propagate_error(error, g_steal_pointer(&failure));
		return FALSE;
	}
	g_autoptr(GPtrArray) chain = g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);

	g_ptr_array_add(chain, layer_copy(job->destination));
	/* A guest cannot start from a volume that its pool does not know yet. */
	volume_refresh(move->context.session, move->destination);
	if (!define_chain(move, chain, FALSE, error) || !remove_landed(move, error))
		return FALSE;
	if (stopped)
		wake_stopped(move);
	return TRUE;
}

/* ---- retire --------------------------------------------------------------------------------- */

/* Who still needs the source, in words; NULL where nobody does. */
static char *source_user(struct move *move, GError **error)
{
	g_autoptr(GError) failure = NULL;
	gboolean same = TRUE;
	char *user;

	if (!place_same_image(move->source, move->destination, &same, error))
		return NULL;
	if (same)
		return g_strdup("the guest (it is the destination's image, too)");
	user = usage_find(&move->context, move->source, NULL, NULL, &failure);
	if (!user && !failure)
		user = usage_beside(move->source, &failure);
	if (failure)
		g_propagate_error(error, g_steal_pointer(&failure));
	return user;
}

/*
 * A LUN or device cannot be removed: it is emptied, so that it is free for another.  What
 * took the source's place meanwhile is somebody else's, and stays.
 */
static gboolean erase_source(struct move *move, GError **error)
{
	const enum source_type type = move->job->source->source.type;
	const gboolean is_device = type == SOURCE_BLOCK || type == SOURCE_ISCSI;
	g_autoptr(GError) other = NULL;
	struct image_info info;
	AUTO(handle) handle = handle_open(move->source->url, move->source->transport,
					  is_device ? HANDLE_WRITE : HANDLE_READ, error);

	if (!handle || !handle_describe(handle, &info, error))
		return FALSE;
	if (!image_info_matches(&info, move->job->source_identity, handle->name, &other)) {
		move_warn(move, "the source is kept: %s", other->message);
		return TRUE;
	}
	if (is_device)
		return handle_zero(handle, handle->size_bytes, 0, error) &&
		       handle_flush(handle, error);
	return image_remove(move->source->url, move->source->transport, error);
}

static gboolean delete_source(struct move *move, GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autofree char *user = source_user(move, &failure);

	if (failure) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return FALSE;
	}
	if (user) {
		move_warn(move, "%s is kept, as it is in use: %s", move->job->source_url, user);
		return TRUE;
	}
	if (erase_source(move, &failure) || error_is(failure, BLOCKMIG_ERROR_NOT_FOUND))
		return TRUE;
	g_propagate_error(error, g_steal_pointer(&failure));
	return FALSE;
}

gboolean retire_run(struct move *move, GError **error)
{
	struct job *job = move->job;
	AUTO(world) world = world_look(move, error);

	if (!world)
		return FALSE;
	for (guint i = job->overlays->len; i-- > 0;) {
		const struct overlay *overlay = job_overlay(job, i);
		struct source source = {
			.type = SOURCE_FILE, .path = overlay->path, .uid = -1, .gid = -1};

		if (world_chain_position(world, &source) >= 0) {
			g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_OPERATOR,
				    "%s is in the guest's chain still", overlay->path);
			return FALSE;
		}
		if (!overlay_forget(overlay, error))
			return FALSE;
	}
	if (job->options.delete_source && !delete_source(move, error))
		return FALSE;
	if (job->options.delete_source)
		volume_refresh(move->context.session, move->source);
	return claim_release(move, error);
}
