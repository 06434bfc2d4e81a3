/*
 * The way back from a cutover: the guest is suspended on the destination's chain, and
 * either its overlay differs from the source's, or its layers do not answer.
 */
#include "blockmig/move/define.h"
#include "blockmig/move/overlay.h"
#include "blockmig/move/phases.h"

#include "blockmig/vm/image_tool.h"
#include "common/error.h"

enum { PIVOT_MS = 30 * 1000, SAVE_MS = 5 * 60 * 1000 };

/*
 * Graft: a snapshot onto the source's own overlay file lays it over the destination's
 * chain, where it hides every cluster of the wrong overlay; the layers below are proven.
 */
static gboolean graft(struct move *move, GError **error)
{
	struct job *job = move->job;
	const struct overlay *active = job_active_overlay(job);
	gboolean quiesced;
	AUTO(world) world = world_look(move, error);

	if (!world)
		return FALSE;
	if (!world_on_path(world, active->path)) {
		g_autofree char *xml = xml_snapshot(world->domain, job->disk, active->path);

		if (!session_snapshot(move->context.session, job->domain_uuid, xml, FALSE,
				      &quiesced, error))
			return FALSE;
	}
	job->grafted = TRUE;
	/* Where the ledger has no room the world tells, see is_grafted. */
	move_save(move, NULL);
	return TRUE;
}

static gboolean resume_as_it_was(struct move *move, GError **error)
{
	return cutover_resume(move, error) && move_save(move, error);
}

/* The new overlay over the source's own layers, in the place of the grafted one. */
static gboolean mirror_home(struct move *move, const struct world *world, const char *home,
			    GError **error)
{
	struct job *job = move->job;
	g_autoptr(GPtrArray) chain = job_source_chain(job, job->overlays->len - 1);
	struct source source = {.type = SOURCE_FILE, .path = (char *)home, .uid = -1, .gid = -1};

	/* A mirror that is there is that of a run that died: its file is in use. */
	if (!world->disk->mirror.present &&
	    !overlay_create(move, home, g_ptr_array_index(chain, 0), NULL, error))
		return FALSE;
	g_ptr_array_insert(chain, 0, layer_new(&source, "qcow2"));
	return mirror_onto(move, chain, error);
}

/* Suspended for the pivot and its compare, as at any cutover. */
static gboolean pivot_home(struct move *move, const char *home, GError **error)
{
	struct job *job = move->job;
	struct session *session = move->context.session;
	g_autoptr(GError) failure = NULL;
	struct domain_state now;

	/* Somebody else may have paused it on the way. */
	if (!session_state(session, job->domain_uuid, &now, error))
		return FALSE;
	if (now.run == RUN_PAUSED)
		job->return_to = DISK_PAUSED;
	job->suspended = job->awaited = TRUE;
	job->suspended_us = (guint64)g_get_monotonic_time();
	if (!move_save(move, error))
		return FALSE;
	if ((job->return_to != DISK_RUNNING ||
	     session_suspend(session, job->domain_uuid, &failure)) &&
	    session_pivot(session, job->domain_uuid, job->disk, PIVOT_MS, &failure))
		return TRUE;
	AUTO(world) after = world_look(move, NULL);

	if (after && world_on_path(after, home))
		return TRUE;
	if (after && !error_is(failure, BLOCKMIG_ERROR_UNKNOWN))
		resume_as_it_was(move, NULL);
	g_propagate_error(error, g_steal_pointer(&failure));
	return FALSE;
}

/*
 * A second wrong mirror.  The guest has not run on it, so the grafted overlay has all; but
 * QEMU cannot be brought back to it while it runs.
 */
static gboolean ask_operator(struct move *move, const char *home, const GError *difference,
			     GError **error)
{
	const struct job *job = move->job;
	AUTO(world) world = world_look(move, error);
	g_autofree char *path = world ? ended_write_way_back(move, world, error) : NULL;

	if (!path)
		return FALSE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_OPERATOR,
		    "%s: on the way home the copy %s of the guest's overlay is wrong, too (%s). "
		    "The overlay itself, %s, has all that the guest wrote. See in virsh domstate "
		    "%s that the guest is paused still; then, as by a power cut, virsh destroy %s, "
		    "virsh define %s, blockmig resume %" G_GINT64_FORMAT ", virsh start %s",
		    job->disk, home, difference->message, job_active_overlay(job)->path,
		    job->domain_name, job->domain_name, path, job->id, job->domain_name);
	return FALSE;
}

/*
 * The guest is on @home, which is the source's overlay from now on.  @compare: nobody has
 * resumed it there, so both overlays have to be equal.
 */
static gboolean arrive(struct move *move, const char *home, gboolean compare, GError **error)
{
	struct job *job = move->job;
	struct overlay *active = job_active_overlay(job);
	g_autoptr(GError) failure = NULL;

	if (compare && !image_tool_compare_overlays(active->path, home, &failure)) {
		if (error_is(failure, BLOCKMIG_ERROR_INTEGRITY))
			return ask_operator(move, home, failure, error);
		g_propagate_prefixed_error(error, g_steal_pointer(&failure),
					   "%s: on the way home: ", job->disk);
		return FALSE;
	}
	g_autofree char *grafted = g_steal_pointer(&active->path);

	active->path = g_strdup(home);
	job->grafted = FALSE;
	gboolean written = move_save(move, error);

	/* A ledger without room is no reason to keep the guest waiting: it is home. */
	return resume_as_it_was(move, written ? error : NULL) && written &&
	       overlay_remove(grafted, error);
}

/* A guest that is off has all it wrote in the grafted overlay: its XML is enough. */
static gboolean define_on_source(struct move *move, const char *home, GError **error)
{
	struct job *job = move->job;
	g_autoptr(GPtrArray) chain = job_source_chain(job, job->overlays->len);

	/* A mirror that ended with the guest leaves its file. */
	if (!define_chain(move, chain, TRUE, error) || !overlay_remove(home, error))
		return FALSE;
	job->grafted = job->suspended = job->awaited = FALSE;
	return move_save(move, error);
}

/* The graft may be there though we died before we could say so. */
static gboolean is_grafted(const struct world *world, const struct job *job)
{
	return world_on_path(world, job_active_overlay(job)->path) &&
	       world_chain_position(world, &job->destination->source) > 0;
}

gboolean putback_bring_home(struct move *move, GError **error)
{
	struct job *job = move->job;
	g_autofree char *home = overlay_home_path(job_active_overlay(job)->path);
	AUTO(world) world = world_look(move, error);

	if (!world)
		return FALSE;
	if (!job->grafted && !is_grafted(world, job))
		return TRUE;
	if (world_on_path(world, home))
		return arrive(move, home, world->state.run != RUN_RUNNING, error);
	if (world->state.run == RUN_OFF)
		return define_on_source(move, home, error);
	if ((job->suspended && !resume_as_it_was(move, error)) ||
	    !mirror_home(move, world, home, error))
		return FALSE;
	return cutover_guard(move, error) && pivot_home(move, home, error) &&
	       arrive(move, home, TRUE, error);
}

/* The migratable XML with our disk on the source's chain. */
static char *source_xml(struct move *move, GError **error)
{
	const struct job *job = move->job;
	g_autofree char *now =
		session_xml_migratable(move->context.session, job->domain_uuid, error);

	if (!now)
		return NULL;
	g_autoptr(GPtrArray) chain = job_source_chain(job, job->overlays->len);

	return xml_with_disk(now, job->disk, chain, TRUE, error);
}

char *putback_save_path(const struct job *job)
{
	return g_strdup_printf("%s.save", job->destination_overlay);
}

static gboolean save_guest(struct move *move, const char *path, GError **error)
{
	struct job *job = move->job;
	g_autofree char *xml = source_xml(move, error);

	if (!xml)
		return FALSE;
	job->restoring = TRUE;
	return move_save(move, error) &&
	       session_save(move->context.session, job->domain_uuid, path, xml, SAVE_MS, error);
}

gboolean putback_wake(struct move *move, GError **error)
{
	struct job *job = move->job;
	struct session *session = move->context.session;
	g_autofree char *path = putback_save_path(job);
	AUTO(world) world = job->restoring ? world_look(move, error) : NULL;

	if (!job->restoring)
		return TRUE;
	if (!world)
		return FALSE;
	if (world->state.run == RUN_OFF && g_file_test(path, G_FILE_TEST_EXISTS) &&
	    !session_restore(session, path, NULL, SAVE_MS, error)) {
		g_prefix_error(error, "the guest's memory is saved in %s: ", path);
		return FALSE;
	}
	gboolean never_saved = world->state.run != RUN_OFF && world_on_destination(world, job);
	g_autoptr(GPtrArray) chain = job_source_chain(job, job->overlays->len);

	/* The pivot had made the inactive XML name the destination. */
	if ((!never_saved && !define_chain(move, chain, TRUE, error)) ||
	    !overlay_remove(path, error))
		return FALSE;
	job->restoring = FALSE;
	return move_save(move, error);
}

/* The guest's memory goes through a file, and wakes up on the source's chain. */
static gboolean restore(struct move *move, GError **error)
{
	g_autofree char *path = putback_save_path(move->job);

	return save_guest(move, path, error) && putback_wake(move, error);
}

gboolean putback_leave(struct move *move, gboolean answers, GError **error)
{
	const struct job *job = move->job;

	/* What the wrong overlay holds beyond the source's would show through a graft. */
	if (answers &&
	    image_tool_overlay_hides(job_active_overlay(job)->path, job->destination_overlay, NULL))
		return graft(move, error);
	return restore(move, error);
}
