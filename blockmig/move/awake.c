/*
 * The end of a suspend: the guest is as it was before, however it is now.
 */
#include "blockmig/move/define.h"
#include "blockmig/move/guardian.h"
#include "blockmig/move/phases.h"

#include "common/error.h"

gboolean cutover_guard(struct move *move, GError **error)
{
	if (!move->guardian)
		move->guardian = guardian_start(move->job->id, move->context.uri, error);
	return move->guardian != NULL;
}

void cutover_unguard(struct move *move)
{
	if (!move->job->suspended)
		g_clear_pointer(&move->guardian, guardian_dismiss);
}

/* How long the guest has stood still since we suspended it; 0 after a reboot. */
static gint64 suspended_ms(const struct job *job)
{
	return MAX(0, (g_get_monotonic_time() - (gint64)job->suspended_us) / 1000);
}

/* Somebody else may have resumed it first. */
static gboolean wake(struct move *move, GError **error)
{
	struct session *session = move->context.session;
	g_autoptr(GError) failure = NULL;
	struct domain_state state;

	if (session_resume(session, move->job->domain_uuid, &failure))
		return TRUE;
	if (failure->code == BLOCKMIG_ERROR_PERMANENT &&
	    session_state(session, move->job->domain_uuid, &state, NULL) &&
	    state.run == RUN_RUNNING)
		return TRUE;
	g_propagate_error(error, g_steal_pointer(&failure));
	return FALSE;
}

void wake_stopped(struct move *move)
{
	const char *name = move->job->domain_name;
	g_autoptr(GError) failure = NULL;

	if (wake(move, &failure))
		move_warn(move,
			  "%s: QEMU had stopped the guest at an I/O error, as where an overlay "
			  "has no room left; it goes on now",
			  name);
	else
		move_warn(move,
			  "%s: QEMU has stopped the guest at an I/O error; virsh resume %s once "
			  "that is mended: %s",
			  name, name, failure->message);
}

gboolean cutover_resume(struct move *move, GError **error)
{
	struct job *job = move->job;
	struct domain_state state;

	if (!session_state(move->context.session, job->domain_uuid, &state, error))
		return FALSE;
	/* libvirt refuses to resume what runs, as it may after a call of unknown outcome. */
	if (job->return_to == DISK_RUNNING && state.run == RUN_PAUSED && !wake(move, error))
		return FALSE;
	if (job->return_to == DISK_RUNNING && !define_awake(move, error))
		return FALSE;
	/* Each time counts, as on a way home. */
	if (job->suspended && job->return_to == DISK_RUNNING && state.run != RUN_OFF)
		job->downtime_ms = MAX(0, job->downtime_ms) + suspended_ms(job);
	job->suspended = job->awaited = FALSE;
	return TRUE;
}
