/*
 * A guest that ended between the pivot and the commit point: its inactive XML (or its saved
 * one) names the destination's overlay.
 *
 * All that it was told is stable is in the source's overlays, as it was suspended before
 * the pivot; unless somebody has started it since, when what it wrote is at the
 * destination alone.  Where both overlays are equal that is the same.  Where they differ
 * it ran there, or the mirror was wrong.  A wrong mirror is known by what it held while
 * the guest stood still on it: as long as it holds that, nobody has written to it.
 */
#include "blockmig/move/define.h"
#include "blockmig/move/phases.h"

#include "blockmig/vm/image_tool.h"
#include "common/error.h"

void ended_note_wrong(struct move *move)
{
	struct job *job = move->job;
	struct domain_state state;
	g_autofree char *held = image_tool_overlay_digest(job->destination_overlay, NULL);

	/* It may have been resumed, or have ended, while we read. */
	if (!held || !session_state(move->context.session, job->domain_uuid, &state, NULL) ||
	    state.run != RUN_PAUSED)
		return;
	g_free(job->wrong_sha256);
	job->wrong_sha256 = g_steal_pointer(&held);
	/* Without a ledger that takes it a person has to look, should the guest end now. */
	move_save(move, NULL);
}

static gboolean is_as_noted(const struct job *job)
{
	g_autofree char *held = job->wrong_sha256
					? image_tool_overlay_digest(job->destination_overlay, NULL)
					: NULL;

	return held && g_str_equal(held, job->wrong_sha256);
}

gboolean ended_define_back(struct move *move, GError **error)
{
	struct job *job = move->job;
	g_autoptr(GPtrArray) chain = job_source_chain(job, job->overlays->len);

	job->finished_cold = FALSE;
	return define_chain(move, chain, TRUE, error) && move_save(move, error);
}

void ended_tell_wrong(const struct move *move, GError **error)
{
	const struct job *job = move->job;

	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_INTEGRITY,
		    "%s: compare at the cutover: %s was not what the guest's own overlay %s is",
		    job->disk, job->destination_overlay, job_active_overlay(job)->path);
}

/* ---- what a person has to find out --------------------------------------------------- */

char *ended_write_way_back(struct move *move, const struct world *world, GError **error)
{
	const struct job *job = move->job;
	g_autofree char *number = g_strdup_printf("%" G_GINT64_FORMAT, job->id);
	g_autofree char *folder =
		g_build_filename(ledger_folder(move->context.ledger), "jobs", number, NULL);
	g_autofree char *path = g_build_filename(folder, "on-source.xml", NULL);
	g_autoptr(GPtrArray) chain = job_source_chain(job, job->overlays->len);
	g_autofree char *xml = xml_with_disk(world->xml, job->disk, chain, TRUE, error);

	if (!xml || g_mkdir_with_parents(folder, 0700) != 0 ||
	    !g_file_set_contents_full(path, xml, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, error))
		return NULL;
	return g_steal_pointer(&path);
}

static char *time_of_suspend(const struct job *job)
{
	g_autoptr(GDateTime) time = g_date_time_new_from_unix_local((gint64)job->suspended_at_s);

	return job->suspended_at_s && time ? g_date_time_format(time, "%F %T")
					   : g_strdup("its cutover");
}

static void ask(struct move *move, const struct world *world, const GError *difference,
		GError **error)
{
	const struct job *job = move->job;
	g_autofree char *path = ended_write_way_back(move, world, error);
	g_autofree char *since = time_of_suspend(job);
	g_autofree char *define =
		world->state.managed_save
			? g_strdup_printf("virsh managedsave-define %s %s", job->domain_name, path)
			: g_strdup_printf("virsh define %s", path);

	if (!path)
		return;
	g_set_error(
		error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_OPERATOR,
		"%s: the guest is off, and its XML names the destination's overlay, which is not "
		"what its source's is: it ran there since, or the mirror was wrong (%s). See "
		"whether it was started after %s (its log in /var/log/libvirt/qemu tells). If it "
		"was, what it wrote is at the destination: virsh start %s, then blockmig resume "
		"%" G_GINT64_FORMAT " finishes the move. If it was not, its source is right: %s, "
		"then blockmig resume %" G_GINT64_FORMAT " moves it from there",
		job->disk, difference->message, since, job->domain_name, job->id, define, job->id);
}

/* ---- which side is right ------------------------------------------------------------- */

enum ended ended_look(struct move *move, const struct world *world, GError **error)
{
	struct job *job = move->job;
	g_autoptr(GError) difference = NULL;

	if (image_tool_compare_overlays(job_active_overlay(job)->path, job->destination_overlay,
					&difference))
		return ENDED_EQUAL;
	if (!error_is(difference, BLOCKMIG_ERROR_INTEGRITY)) {
		g_propagate_prefixed_error(error, g_steal_pointer(&difference), "%s: ", job->disk);
		return ENDED_UNKNOWN;
	}
	if (is_as_noted(job))
		return ENDED_WRONG;
	g_free(job->guarantee);
	job->guarantee = g_strdup("proven but for the last overlay, which was not the source's any "
				  "more when it could be compared");
	move_save(move, NULL);
	ask(move, world, difference, error);
	return ENDED_UNKNOWN;
}
