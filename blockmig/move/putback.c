/*
 * The way back from a cutover: the guest is suspended on the destination's chain, and
 * either its overlay differs from the source's, or its layers do not answer.
 */
#include "blockmig/move/overlay.h"
#include "blockmig/move/phases.h"

#include "blockmig/vm/image_tool.h"
#include "common/error.h"

#include <unistd.h>

enum { PIVOT_MS = 30 * 1000, SAVE_MS = 5 * 60 * 1000 };

/*
 * Graft: a snapshot onto the source's own overlay file lays it over the destination's
 * chain, where it hides every cluster of the wrong overlay; the layers below are proven.
 */
gboolean putback_graft(struct move *move, GError **error)
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
	return move_save(move, error);
}

static gboolean resume_as_it_was(struct move *move, GError **error)
{
	struct job *job = move->job;

	if (job->return_to == DISK_RUNNING &&
	    !session_resume(move->context.session, job->domain_uuid, error))
		return FALSE;
	job->suspended = FALSE;
	return move_save(move, error);
}

/* The new overlay over the source's own layers, in the place of the grafted one. */
static gboolean home_overlay(struct move *move, GPtrArray *chain, GError **error)
{
	struct job *job = move->job;
	struct overlay *grafted = job_active_overlay(job);
	g_autofree char *path = g_strdup_printf("%s.home", grafted->path);
	g_autoptr(GPtrArray) below = job_source_chain(job, job->overlays->len - 1);
	struct source source = {.type = SOURCE_FILE, .path = path, .uid = -1, .gid = -1};

	g_ptr_array_add(chain, layer_new(&source, "qcow2"));
	for (guint i = 0; i < below->len; i++)
		g_ptr_array_add(chain, layer_copy(g_ptr_array_index(below, i)));
	return overlay_create(move, path, g_ptr_array_index(below, 0), NULL, error);
}

/* Suspended for the pivot and its compare, as at any cutover. */
static gboolean pivot_home(struct move *move, const char *home, GError **error)
{
	struct job *job = move->job;
	struct session *session = move->context.session;

	job->suspended = TRUE;
	if (!move_save(move, error) ||
	    (job->return_to == DISK_RUNNING &&
	     !session_suspend(session, job->domain_uuid, error)) ||
	    !session_pivot(session, job->domain_uuid, job->disk, PIVOT_MS, error))
		return FALSE;
	return image_tool_compare_overlays(job_active_overlay(job)->path, home, error);
}

gboolean putback_bring_home(struct move *move, GError **error)
{
	struct job *job = move->job;
	struct overlay *active = job_active_overlay(job);
	g_autoptr(GPtrArray) chain = g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);
	AUTO(world) world = world_look(move, error);

	if (!world)
		return FALSE;
	if (job->suspended && !resume_as_it_was(move, error))
		return FALSE;
	if (!home_overlay(move, chain, error) || !mirror_onto(move, chain, error))
		return FALSE;

	const struct layer *top = g_ptr_array_index(chain, 0);

	if (!pivot_home(move, top->source.path, error)) {
		g_prefix_error(error, "%s: on the way home: ", job->disk);
		return FALSE;
	}
	g_autofree char *grafted = g_strdup(active->path);

	g_free(active->path);
	active->path = g_strdup(top->source.path);
	job->grafted = FALSE;
	return move_save(move, error) && resume_as_it_was(move, error) &&
	       overlay_remove(grafted, error);
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

/* The guest's memory goes through a file, and wakes up on the source's chain. */
gboolean putback_restore(struct move *move, GError **error)
{
	struct job *job = move->job;
	struct session *session = move->context.session;
	g_autofree char *path = g_strdup_printf("%s.save", job->destination_overlay);
	g_autofree char *xml = source_xml(move, error);

	if (!xml || !session_save(session, job->domain_uuid, path, xml, SAVE_MS, error))
		return FALSE;
	if (!session_restore(session, path, xml, SAVE_MS, error)) {
		g_prefix_error(error, "the guest's memory is saved in %s: ", path);
		return FALSE;
	}
	unlink(path);

	/* The pivot had made the inactive XML name the destination. */
	g_autofree char *now = session_xml(session, job->domain_uuid, TRUE, error);

	if (!now)
		return FALSE;
	g_autoptr(GPtrArray) chain = job_source_chain(job, job->overlays->len);
	g_autofree char *wanted = xml_with_disk(now, job->disk, chain, TRUE, error);

	return wanted && session_define(session, wanted, error);
}
