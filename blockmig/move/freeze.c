#include "blockmig/move/define.h"
#include "blockmig/move/overlay.h"
#include "blockmig/move/pace.h"
#include "blockmig/move/phases.h"

#include "blockmig/vm/image_tool.h"
#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* How often a guest may start or stop under an undo before we let it be. */
enum { UNDO_TRIES = 5 };

gboolean freeze_sync(const struct source *source, GError **error)
{
	if (source->type != SOURCE_FILE && source->type != SOURCE_BLOCK)
		return TRUE;
	int fd = open(source->path, O_RDONLY | O_CLOEXEC);
	gboolean good = fd >= 0 && fsync(fd) == 0;

	if (!good)
		error_set_errno(error, errno, "sync %s", source->path);
	if (fd >= 0)
		close(fd);
	return good;
}

static gboolean snapshot(struct move *move, const struct world *world, const char *path,
			 GError **error)
{
	struct job *job = move->job;
	gboolean quiesced = FALSE;
	g_autofree char *xml = xml_snapshot(world->domain, job->disk, path);
	gboolean quiesce = job->options.quiesce && world->state.run == RUN_RUNNING;

	if (!session_snapshot(move->context.session, job->domain_uuid, xml, quiesce, &quiesced,
			      error))
		return FALSE;
	if (quiesce && !quiesced)
		move_warn(move,
			  "%s: the guest's file systems were not quiesced: its agent did "
			  "not answer in time; the image is crash-consistent",
			  job->domain_name);
	return TRUE;
}

/* A guest that was started as it was defined onto the overlay would boot it the next time. */
static gboolean define_below(struct move *move, const struct overlay *last, GPtrArray *below,
			     GError **error)
{
	const struct job *job = move->job;
	g_autofree char *xml = session_xml(move->context.session, job->domain_uuid, TRUE, error);
	AUTO(domain) domain = xml ? domain_parse(xml, error) : NULL;

	if (!domain)
		return FALSE;
	struct world inactive = {.disk = domain_disk(domain, job->disk)};

	return !inactive.disk || !world_on_path(&inactive, last->path) ||
	       define_chain(move, below, TRUE, error);
}

gboolean freeze_drop_unused(struct move *move, const struct world *world, GError **error)
{
	const struct layer *top = disk_layer(world->disk, 0);
	struct overlay *last = job_active_overlay(move->job);

	if (!last)
		return TRUE;
	g_autoptr(GPtrArray) below = job_source_chain(move->job, move->job->overlays->len - 1);
	const struct layer *frozen = g_ptr_array_index(below, 0);

	if (!source_equal(&top->source, &frozen->source))
		return TRUE;
	if (!define_below(move, last, below, error) || !overlay_forget(last, error))
		return FALSE;
	g_ptr_array_remove_index(move->job->overlays, move->job->overlays->len - 1);
	return TRUE;
}

static gboolean freeze_as_it_is(struct move *move, const struct world *world, GError **error)
{
	struct job *job = move->job;

	if (!claim_check(move, error) || !freeze_drop_unused(move, world, error))
		return FALSE;

	g_autoptr(GPtrArray) below = job_source_chain(job, job->overlays->len);
	const struct layer *frozen = g_ptr_array_index(below, 0);
	g_autofree char *path = overlay_path(job, job->overlays->len + 1);
	g_autofree char *relative =
		job->overlay_beside ? g_path_get_basename(frozen->source.path) : NULL;

	job_add_overlay(job, path);
	if (!move_save(move, error) || !overlay_create(move, path, frozen, relative, error))
		return FALSE;
	if (world->state.run == RUN_OFF) {
		g_autoptr(GPtrArray) chain = job_source_chain(job, job->overlays->len);

		if (!define_chain(move, chain, TRUE, error))
			return FALSE;
	} else if (!snapshot(move, world, path, error)) {
		return FALSE;
	}
	AUTO(world) after = world_look(move, error);

	if (!after)
		return FALSE;
	if (!world_on_path(after, path)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT,
			    "%s: the guest is not on its overlay %s (was it started or stopped "
			    "just now?)",
			    job->disk, path);
		return FALSE;
	}
	return TRUE;
}

/* A guest that was started or shut off meanwhile is frozen in the other way. */
gboolean freeze_again(struct move *move, GError **error)
{
	return world_step(move, freeze_as_it_is, error);
}

enum standing freeze_probe(struct move *move, GError **error)
{
	const struct overlay *first = move->job->overlays->len ? job_overlay(move->job, 0) : NULL;
	AUTO(world) world = world_look(move, error);
	struct source source = {.type = SOURCE_FILE, .uid = -1, .gid = -1};

	if (!world)
		return STANDING_UNKNOWN;
	source.path = first ? first->path : NULL;
	if (first &&
	    (world_chain_position(world, &source) >= 0 || world_on_destination(world, move->job)))
		return STANDING_DONE;
	return STANDING_NOT_DONE;
}

gboolean freeze_run(struct move *move, GError **error)
{
	return freeze_again(move, error);
}

/* Whether the guest's chain holds none of our overlays any more. */
static gboolean is_home(const struct world *world, const struct job *job)
{
	return source_equal(&disk_layer(world->disk, 0)->source, &job->source->source);
}

/*
 * A guest that was started before it was defined home runs on its overlays, and where it is
 * shut off again before they are committed, that is where it has to wake up.
 */
static gboolean define_where_it_runs(struct move *move, GError **error)
{
	const struct job *job = move->job;
	AUTO(world) world = world_look(move, error);

	if (!world)
		return FALSE;
	if (is_home(world, job))
		return TRUE;
	g_autoptr(GPtrArray) chain = job_source_chain(job, job->overlays->len);

	return define_chain(move, chain, TRUE, error);
}

/* The overlays' content goes down layer by layer; each step can be done twice. */
static gboolean commit_offline(struct move *move, GError **error)
{
	struct job *job = move->job;

	for (guint count = job->overlays->len; count > 0; count--) {
		g_autoptr(GPtrArray) chain = job_source_chain(job, count);

		if (!image_tool_commit(job_overlay(job, count - 1)->path,
				       g_ptr_array_index(chain, 1), error))
			return FALSE;
	}
	return define_home(move, error) && define_where_it_runs(move, error);
}

gboolean freeze_undo(struct move *move, GError **error)
{
	struct job *job = move->job;
	gboolean stopped = FALSE;

	/* The rounds that it was slowed for are over. */
	if (!pace_restore(move, error))
		return FALSE;
	if (job->overlays->len && !job->going_back) {
		job->going_back = TRUE;
		if (!move_save(move, error) || !claim_update(move, error))
			return FALSE;
	}
	for (guint tries = 0;; tries++) {
		g_autoptr(GError) failure = NULL;
		AUTO(world) world = world_look(move, error);

		if (!world || !freeze_drop_unused(move, world, error))
			return FALSE;
		stopped = world->state.paused_by_error;
		if (is_home(world, job))
			break;
		gboolean good = world->state.run == RUN_OFF
					? commit_offline(move, &failure)
					: mirror_commit(move, &job->source->source, &failure);

		if (tries < UNDO_TRIES)
			continue;
		if (good)
			g_set_error(&failure, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT,
				    "%s: the guest does not stay on its source %s", job->disk,
				    job->source_url);
		g_propagate_error(error, g_steal_pointer(&failure));
		return FALSE;
	}
	/* Their names stay in the list: prepare's undo finds by them what landed. */
	for (guint i = 0; i < job->overlays->len; i++)
		if (!overlay_forget(job_overlay(job, i), error))
			return FALSE;
	if (stopped)
		wake_stopped(move);
	return TRUE;
}
