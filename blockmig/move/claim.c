#include "blockmig/move/define.h"
#include "blockmig/move/phases.h"

#include "common/error.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* How often a guest may start or stop under one step. */
enum { TRIES = 5 };

static gboolean state_now(struct move *move, struct domain_state *state, GError **error)
{
	return session_state(move->context.session, move->job->domain_uuid, state, error);
}

/* 1: ours, 0: none, -1: not known or somebody else's. */
static int whose(struct move *move, GError **error)
{
	struct domain_state state;
	g_autoptr(GError) failure = NULL;

	if (!state_now(move, &state, error))
		return -1;

	g_autofree char *element = session_metadata_get(
		move->context.session, move->job->domain_uuid, state.run != RUN_OFF, &failure);

	if (failure) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return -1;
	}
	if (!element)
		return 0;
	if (strstr(element, move->job->nonce))
		return 1;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_BUSY,
		    "domain %s carries another job's element in its metadata: %s. Resume or abort "
		    "that job where its ledger is",
		    move->job->domain_name, element);
	return -1;
}

enum standing claim_probe(struct move *move, GError **error)
{
	int owner = whose(move, error);

	return owner == 1 ? STANDING_DONE : owner == 0 ? STANDING_NOT_DONE : STANDING_UNKNOWN;
}

/*
 * Does @step for the guest as it is now, and again where it was started or shut off
 * meanwhile: which XML counts has changed then.
 */
static gboolean while_it_stays(struct move *move,
			       gboolean (*step)(struct move *, const struct domain_state *,
						const void *, GError **),
			       const void *data, GError **error)
{
	for (guint tries = 1;; tries++) {
		struct domain_state before, after;
		g_autoptr(GError) failure = NULL;

		if (!state_now(move, &before, error))
			return FALSE;
		gboolean good = step(move, &before, data, &failure);

		if (tries == TRIES || !state_now(move, &after, NULL) || after.id == before.id) {
			if (!good)
				g_propagate_error(error, g_steal_pointer(&failure));
			return good;
		}
	}
}

static gboolean set_element(struct move *move, const struct domain_state *state,
			    const void *element, GError **error)
{
	if (state->run == RUN_OFF && state->managed_save && !move->job->overlays->len) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "domain %s was saved just now (virsh managedsave): start it, and try "
			    "again",
			    move->job->domain_name);
		return FALSE;
	}
	return session_metadata_set(move->context.session, move->job->domain_uuid, element,
				    state->run != RUN_OFF, state->persistent, error);
}

gboolean claim_update(struct move *move, GError **error)
{
	const struct job *job = move->job;
	g_autofree char *source = source_text(&job->source->source);
	g_autofree char *destination = source_text(&job->destination->source);
	g_autofree char *brief = job_to_brief(job);
	g_autofree char *element =
		xml_metadata(job->id, job->disk, job->nonce, source, destination, brief);

	return while_it_stays(move, set_element, element, error);
}

gboolean claim_run(struct move *move, GError **error)
{
	return claim_update(move, error) && claim_check(move, error);
}

gboolean claim_check(struct move *move, GError **error)
{
	int owner = whose(move, error);

	if (owner == 0)
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_BUSY,
			    "domain %s lost this job's element in its metadata: somebody else "
			    "changed the domain. Look at it, then resume or abort",
			    move->job->domain_name);
	return owner == 1;
}

/* @home: not NULL where the disk is to be as it was before. */
static gboolean release(struct move *move, const struct domain_state *state, const void *home,
			GError **error)
{
	g_autoptr(GError) failure = NULL;
	int owner = whose(move, &failure);

	if (owner < 0 && error_is(failure, BLOCKMIG_ERROR_BUSY)) {
		/* Its disk and its element are that job's now. */
		move_warn(move, "the domain's XML is left as it is: %s", failure->message);
		return TRUE;
	}
	if (owner < 0) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return FALSE;
	}
	if (owner == 1 && state->run != RUN_OFF &&
	    !session_metadata_set(move->context.session, move->job->domain_uuid, NULL, TRUE, FALSE,
				  error))
		return FALSE;
	return !state->persistent || define_released(move, home != NULL, error);
}

gboolean claim_release(struct move *move, GError **error)
{
	return while_it_stays(move, release, NULL, error);
}

gboolean claim_undo(struct move *move, GError **error)
{
	return while_it_stays(move, release, move->job->disk_element, error);
}

static gboolean save_file(const char *folder, const char *name, const char *text, GError **error)
{
	g_autofree char *path = g_build_filename(folder, name, NULL);

	if (g_file_test(path, G_FILE_TEST_EXISTS))
		return TRUE;
	return g_file_set_contents_full(
		path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600,
		error);
}

gboolean backup_run(struct move *move, GError **error)
{
	g_autofree char *number = g_strdup_printf("%" G_GINT64_FORMAT, move->job->id);
	g_autofree char *folder =
		g_build_filename(ledger_folder(move->context.ledger), "jobs", number, NULL);
	AUTO(world) world = world_look(move, error);

	if (!world)
		return FALSE;
	if (g_mkdir_with_parents(folder, 0700) != 0) {
		error_set_errno(error, errno, "create %s", folder);
		return FALSE;
	}
	if (world->state.run != RUN_OFF && !save_file(folder, "live.xml", world->xml, error))
		return FALSE;

	g_autofree char *inactive =
		session_xml(move->context.session, move->job->domain_uuid, TRUE, error);

	return inactive && save_file(folder, "inactive.xml", inactive, error);
}
