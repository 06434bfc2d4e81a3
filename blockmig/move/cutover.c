#include "blockmig/move/define.h"
#include "blockmig/move/layout.h"
#include "blockmig/move/overlay.h"
#include "blockmig/move/pace.h"
#include "blockmig/move/phases.h"

#include "blockmig/copy/endpoint.h"
#include "blockmig/vm/domain_load.h"
#include "blockmig/vm/image_tool.h"
#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { PIVOT_MS = 30 * 1000, PROBE_BYTES = 4096, PROBE_STALL_MS = 3000 };

/* ---- the destination, probed over our own connection ------------------------------------- */

static gboolean probe(const struct job *job, struct handle *handle, GError **error)
{
	void *block = transport_buffer_new(PROBE_BYTES);
	gsize count = MIN(PROBE_BYTES, handle->size_bytes);
	gboolean good = handle_read(handle, block, count, 0, error);

	transport_buffer_free(block);
	if (!good)
		g_prefix_error(error, "%s: the destination does not answer: ", job->disk);
	return good;
}

static struct handle *open_destination(struct move *move, GError **error)
{
	struct image_info info;

	if (move->destination->transport)
		move->probing = *move->destination->transport;
	/* The guest may be waiting for the answer. */
	move->probing.stall_ms = PROBE_STALL_MS;

	AUTO(handle) handle =
		endpoint_reopen(move->destination->url, &move->probing, HANDLE_READ, error);

	if (!handle || !handle_describe(handle, &info, error) || !probe(move->job, handle, error))
		return NULL;
	if (*move->job->destination_identity &&
	    !image_info_matches(&info, move->job->destination_identity, move->job->destination_url,
				error))
		return NULL;
	return g_steal_pointer(&handle);
}

/* ---- running or paused ---------------------------------------------------------------------- */

/* A failure before the pivot: the guest goes on as it was; the first error is told. */
static gboolean back_off(struct move *move, GError **error)
{
	g_autoptr(GError) failure = NULL;

	if (!cutover_resume(move, &failure)) {
		g_prefix_error(error, "the guest could not be resumed (%s): ", failure->message);
		if (error && *error && !error_may_pass(failure))
			(*error)->code = BLOCKMIG_ERROR_OPERATOR;
		return FALSE;
	}
	move_save(move, NULL);
	claim_update(move, NULL);
	return FALSE;
}

static gboolean has_ended(struct move *move)
{
	struct domain_state state;

	return !move->job->restoring &&
	       session_state(move->context.session, move->job->domain_uuid, &state, NULL) &&
	       state.run == RUN_OFF;
}

/*
 * The guest is suspended on the destination's chain, whose overlay is wrong or whose
 * layers do not answer: back onto the source, and the reason kept for the end.
 */
static gboolean go_back(struct move *move, gboolean answered, GError *reason, GError **error)
{
	gboolean good = putback_leave(move, answered, error);

	if (!good) {
		g_prefix_error(error, "%s; the guest stays suspended: ", reason->message);
		/* One that has ended just now is seen to by another look. */
		if (error && *error && !error_may_pass(*error) && !has_ended(move))
			(*error)->code = BLOCKMIG_ERROR_OPERATOR;
		move->may_pass = !answered;
		g_error_free(reason);
		return FALSE;
	}
	if (!cutover_resume(move, error)) {
		g_error_free(reason);
		return FALSE;
	}
	/* What cannot be written down the world will tell. */
	move_save(move, NULL);
	g_propagate_error(error, reason);
	return FALSE;
}

/* A connection that was cut says little; a destination that takes no new one is gone. */
static gboolean answers(struct move *move, struct handle *destination, GError **error)
{
	g_autoptr(GError) failure = NULL;

	if (probe(move->job, destination, &failure))
		return TRUE;
	if (!error_is_transient(failure)) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return FALSE;
	}
	AUTO(handle) again = open_destination(move, error);

	return again != NULL;
}

/*
 * Without the ledger a difference may be a wrong mirror, or what the guest wrote after a
 * resume that nobody remembers.
 */
static gboolean ask_operator(const struct job *job, const GError *reason, GError **error)
{
	g_set_error(
		error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_OPERATOR,
		"%s: the guest is paused on the destination (%s), which is not what its source "
		"(%s) is, and the ledger that knew why is lost: %s. Keep both; virsh resume lets "
		"it run on the destination, and blockmig resume %" G_GINT64_FORMAT
		" then finishes the move",
		job->disk, job->destination_overlay, job_active_overlay(job)->path, reason->message,
		job->id);
	return FALSE;
}

/* What was copied while the guest was off is proven as a whole; @compared: so is the rest. */
static gboolean accept_destination(struct move *move, gboolean compared, GError **error)
{
	struct job *job = move->job;

	if (job->suspended && !cutover_resume(move, error))
		return FALSE;
	job->cut_over = TRUE;
	if (!compared && !job->finished_cold && !job->guarantee) {
		job->guarantee = g_strdup("proven but for the last overlay, which was not "
					  "compared: the guest ran on before it could be");
	}
	return move_save(move, error);
}

/*
 * Whether somebody else resumed the guest that we hold suspended: what it wrote since is at
 * the destination alone.
 */
static gboolean runs_there(struct move *move)
{
	AUTO(world) world = world_look(move, NULL);

	return world && world->state.run == RUN_RUNNING && world_on_destination(world, move->job);
}

/* What another cutover left unknown is known now. */
static void forget_doubts(struct job *job)
{
	if (!job->adopted)
		g_clear_pointer(&job->guarantee, g_free);
}

static gboolean commit(struct move *move, GError **error)
{
	struct job *job = move->job;
	g_autoptr(GError) reason = NULL;

	/* The commit point, written down before the guest can write to the new place. */
	if (persist_early(move, &reason)) {
		job->cut_over = TRUE;
		forget_doubts(job);
		move_save(move, &reason);
	} else if (!error_is(reason, BLOCKMIG_ERROR_PERMANENT)) {
		/* Where libvirt does not answer there is no way back either; the next run looks. */
		g_propagate_error(error, g_steal_pointer(&reason));
		return FALSE;
	}
	if (reason) {
		job->cut_over = FALSE;
		g_prefix_error(&reason, "%s: the switch cannot be written down: ", job->disk);
		return go_back(move, TRUE, g_steal_pointer(&reason), error);
	}
	/* For whoever comes without the ledger; the guest does not wait for it, persist does. */
	claim_update(move, NULL);
	return cutover_resume(move, error) && move_save(move, error);
}

/* Suspended after the pivot: compare, then commit or go back. */
static gboolean judge(struct move *move, struct handle *destination, GError **error)
{
	struct job *job = move->job;
	g_autoptr(GError) reason = NULL;
	gboolean there = answers(move, destination, &reason);

	if (there && image_tool_compare_overlays(job_active_overlay(job)->path,
						 job->destination_overlay, &reason))
		return commit(move, error);
	if (there && error_is(reason, BLOCKMIG_ERROR_INTEGRITY))
		ended_note_wrong(move);
	if (runs_there(move))
		return accept_destination(move, FALSE, error);
	if (job->adopted)
		return ask_operator(job, reason, error);
	if (there)
		g_prefix_error(&reason, "%s: compare at the cutover: ", job->disk);
	return go_back(move, there, g_steal_pointer(&reason), error);
}

static gboolean suspend_and_pivot(struct move *move, const struct world *world, GError **error)
{
	struct job *job = move->job;
	struct session *session = move->context.session;
	g_autoptr(GError) failure = NULL;

	if (world->state.run == RUN_RUNNING &&
	    !session_suspend(session, job->domain_uuid, &failure)) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return back_off(move, error);
	}
	if (session_pivot(session, job->domain_uuid, job->disk, PIVOT_MS, &failure))
		return TRUE;
	AUTO(world) after = world_look(move, NULL);

	if (after && world_on_destination(after, job))
		return TRUE;
	if (after && !error_is(failure, BLOCKMIG_ERROR_UNKNOWN)) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return back_off(move, error);
	}
	move->may_pass = TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_OPERATOR,
		    "%s: whether QEMU switched to the destination is not known, so the guest stays "
		    "suspended: %s. It may finish by itself once the destination answers",
		    job->disk, failure->message);
	return FALSE;
}

/* Written down first: the suspend, and what it is to end in. */
static gboolean announce(struct move *move, GError **error)
{
	struct job *job = move->job;
	struct session *session = move->context.session;
	struct domain_state now;

	job->suspended = job->awaited = TRUE;
	job->finished_cold = FALSE;
	if (!session_state(session, job->domain_uuid, &now, error))
		return FALSE;
	/* Again where it was paused, or resumed, while we wrote. */
	do {
		job->return_to = now.run == RUN_PAUSED ? DISK_PAUSED : DISK_RUNNING;
		job->suspended_us = (guint64)g_get_monotonic_time();
		job->suspended_at_s = (guint64)g_get_real_time() / G_USEC_PER_SEC;
		if (!move_save(move, error) || !claim_update(move, error) ||
		    !session_state(session, job->domain_uuid, &now, error))
			return FALSE;
	} while (now.run != RUN_OFF && (now.run == RUN_PAUSED) != (job->return_to == DISK_PAUSED));
	return TRUE;
}

static gboolean cut_live(struct move *move, const struct world *world, GError **error)
{
	struct job *job = move->job;
	AUTO(handle) destination = open_destination(move, error);

	if (!destination || !claim_check(move, error))
		return FALSE;
	if (!cutover_guard(move, error))
		return FALSE;
	if (!job->suspended && !announce(move, error)) {
		job->suspended = job->awaited = FALSE;
		return FALSE;
	}
	if (!world_on_destination(world, job) && !suspend_and_pivot(move, world, error))
		return FALSE;
	return judge(move, destination, error);
}

/* ---- off ----------------------------------------------------------------------------- */

/*
 * QEMU refuses to start a guest on a file with this byte read-locked ("not to be shared
 * for writing"; QEMU's block/file-posix.c): nobody writes while we copy and define.
 */
static int guard_file(const char *path, GError **error)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 201, .l_len = 1};
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return fd;
	error_set_errno(error, errno, "lock %s", path);
	if (fd >= 0)
		close(fd);
	return -1;
}

static gboolean started_just_now(struct move *move, GError **error)
{
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT, "%s was started just now",
		    move->job->domain_name);
	return FALSE;
}

static gboolean define_destination(struct move *move, GError **error)
{
	struct job *job = move->job;
	g_autoptr(GPtrArray) chain = job_destination_chain(job, FALSE);

	if (source_is_volume(&job->destination->source))
		volume_refresh(move->context.session, move->destination);
	job->finished_cold = TRUE;
	job->return_to = DISK_OFF;
	if (!move_save(move, error) || !claim_update(move, error) ||
	    !define_chain(move, chain, chain->len > 1, error))
		return FALSE;
	AUTO(world) after = world_look(move, error);

	if (!after)
		return FALSE;
	if (!world_on_destination(after, job))
		return ended_define_back(move, error) && started_just_now(move, error);
	job->cut_over = TRUE;
	forget_doubts(job);
	return move_save(move, error);
}

/*
 * Copies what the guest, which may have run for a while, wrote to its last overlay.  That is
 * frozen first: the guest may be started again at any moment.
 */
static gboolean copy_last(struct move *move, GError **error)
{
	gboolean left;

	if (!rounds_left(move, &left, error))
		return FALSE;
	return !left || (freeze_again(move, error) && rounds_catch_up(move, error));
}

/* With the last overlay barred to QEMU. */
static gboolean finish_cold(struct move *move, GError **error)
{
	gboolean left;
	AUTO(world) world = world_look(move, error);

	if (!world || !claim_check(move, error))
		return FALSE;
	if (world->state.run != RUN_OFF)
		return started_just_now(move, error);
	if (!rounds_left(move, &left, error))
		return FALSE;
	if (left)
		return started_just_now(move, error);
	/* The guest will write to the destination itself: afterwards would be too late. */
	if (!attest_run(move, error))
		return FALSE;
	AUTO(handle) destination = open_destination(move, error);

	return destination && define_destination(move, error);
}

static gboolean cut_cold(struct move *move, GError **error)
{
	if (!copy_last(move, error))
		return FALSE;
	int guard = guard_file(job_active_overlay(move->job)->path, error);

	if (guard < 0)
		return FALSE;
	gboolean good = finish_cold(move, error);

	close(guard);
	return good;
}

/* ---- the phase ----------------------------------------------------------------------- */

/* The guest ended on the destination's overlay before the commit point. */
static gboolean settle_off(struct move *move, const struct world *world, GError **error)
{
	switch (ended_look(move, world, error)) {
	case ENDED_EQUAL:
		return accept_destination(move, TRUE, error);
	case ENDED_WRONG:
		if (ended_define_back(move, error))
			ended_tell_wrong(move, error);
		return FALSE;
	case ENDED_UNKNOWN:
		break;
	}
	return FALSE;
}

static gboolean cut(struct move *move, const struct world *world, GError **error)
{
	struct job *job = move->job;
	gboolean there = world_on_destination(world, job);

	if (there && world->state.run == RUN_OFF && !job->finished_cold)
		return settle_off(move, world, error);
	if (there && (job->finished_cold || world->state.run == RUN_RUNNING))
		return accept_destination(move, FALSE, error);
	if (!there && !rounds_catch_up(move, error))
		return FALSE;
	if (world->state.run == RUN_OFF)
		return cut_cold(move, error);
	return (there || mirror_run(move, error)) && cut_live(move, world, error);
}

static gboolean cut_until_done(struct move *move, GError **error)
{
	const struct job *job = move->job;

	if (job->cut_over)
		return (!job->suspended || cutover_resume(move, error)) && move_save(move, error);
	if (!putback_wake(move, error) || !putback_bring_home(move, error))
		return FALSE;
	return world_step(move, cut, error);
}

gboolean cutover_run(struct move *move, GError **error)
{
	gboolean good = cut_until_done(move, error);

	cutover_unguard(move);
	/* Nothing is copied any more that a slow guest would be good for. */
	return good && pace_restore(move, error);
}

/* The guest that is on the destination goes back, where nothing can have been written there. */
static gboolean leave_destination(struct move *move, const struct world *world, GError **error)
{
	struct job *job = move->job;

	if (world->state.run == RUN_OFF && !job->finished_cold)
		return ended_look(move, world, error) != ENDED_UNKNOWN &&
		       ended_define_back(move, error);
	if (world->state.run == RUN_PAUSED && job->suspended) {
		g_autoptr(GError) reason = NULL;

		if (job->adopted && !image_tool_compare_overlays(job_active_overlay(job)->path,
								 job->destination_overlay, &reason))
			return ask_operator(job, reason, error);
		return putback_leave(move, TRUE, error);
	}
	if (!accept_destination(move, FALSE, error))
		return FALSE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_OPERATOR,
		    "%s: the guest is on the destination already, and may have written to it: "
		    "blockmig resume %" G_GINT64_FORMAT
		    " finishes the move; move the disk back afterwards",
		    job->disk, job->id);
	return FALSE;
}

static gboolean undo(struct move *move, GError **error)
{
	struct job *job = move->job;

	if (!putback_wake(move, error))
		return FALSE;
	AUTO(world) world = world_look(move, error);

	if (!world || (world_on_destination(world, job) && !leave_destination(move, world, error)))
		return FALSE;
	if (!putback_bring_home(move, error))
		return FALSE;
	if (job->suspended && !cutover_resume(move, error))
		return FALSE;
	return move_save(move, error);
}

gboolean cutover_undo(struct move *move, GError **error)
{
	gboolean good = undo(move, error);

	cutover_unguard(move);
	return good;
}
