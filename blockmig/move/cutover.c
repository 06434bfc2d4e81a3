#include "blockmig/move/guardian.h"
#include "blockmig/move/layout.h"
#include "blockmig/move/overlay.h"
#include "blockmig/move/phases.h"

#include "blockmig/vm/image_tool.h"
#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { PIVOT_MS = 30 * 1000, TRIES = 5, PROBE_BYTES = 4096 };

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
	AUTO(handle) handle = handle_open(move->destination->url, move->destination->transport,
					  HANDLE_READ, error);

	if (!handle || !handle_describe(handle, &info, error) || !probe(move->job, handle, error))
		return NULL;
	if (g_strcmp0(info.identity, move->job->destination_identity) != 0) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s is not the image that was proven (%s, it was %s)",
			    move->job->destination_url, info.identity,
			    move->job->destination_identity);
		return NULL;
	}
	return g_steal_pointer(&handle);
}

/* ---- running or paused ---------------------------------------------------------------------- */

static gboolean resume_guest(struct move *move, GError **error)
{
	struct job *job = move->job;

	if (job->return_to == DISK_RUNNING &&
	    !session_resume(move->context.session, job->domain_uuid, error))
		return FALSE;
	job->suspended = FALSE;
	return TRUE;
}

/* A failure before the pivot: the guest goes on as it was; the first error is told. */
static gboolean back_off(struct move *move, GError **error)
{
	g_autoptr(GError) failure = NULL;

	if (!resume_guest(move, &failure)) {
		g_prefix_error(error, "the guest could not be resumed (%s): ", failure->message);
		if (error && *error)
			(*error)->code = BLOCKMIG_ERROR_OPERATOR;
		return FALSE;
	}
	move_save(move, NULL);
	return FALSE;
}

/*
 * The guest is suspended on the destination's chain, whose overlay is wrong or whose
 * layers do not answer: back onto the source, and the reason kept for the end.
 */
static gboolean go_back(struct move *move, gboolean answers, GError *reason, GError **error)
{
	gboolean good = answers ? putback_graft(move, error) : putback_restore(move, error);

	if (!good) {
		g_prefix_error(error, "%s; the guest stays suspended: ", reason->message);
		if (error && *error)
			(*error)->code = BLOCKMIG_ERROR_OPERATOR;
		g_error_free(reason);
		return FALSE;
	}
	g_clear_error(&move->putback);
	move->putback = reason;
	if (!resume_guest(move, error) || !move_save(move, error))
		return FALSE;
	g_propagate_error(error, g_error_copy(reason));
	return FALSE;
}

/* Suspended after the pivot: compare, then commit or go back. */
static gboolean judge(struct move *move, struct handle *destination, GError **error)
{
	struct job *job = move->job;
	g_autoptr(GError) reason = NULL;

	if (!probe(job, destination, &reason)) {
		return go_back(move, FALSE, g_steal_pointer(&reason), error);
	}
	if (!image_tool_compare_overlays(job_active_overlay(job)->path, job->destination_overlay,
					 &reason)) {
		g_prefix_error(&reason, "%s: compare at the cutover: ", job->disk);
		return go_back(move, TRUE, g_steal_pointer(&reason), error);
	}
	/* The commit point, written down before the guest can write to the new place. */
	job->cut_over = TRUE;
	if (!move_save(move, error) || !resume_guest(move, error))
		return FALSE;
	job->downtime_ms = job->return_to == DISK_RUNNING
				   ? (g_get_monotonic_time() - (gint64)job->suspended_us) / 1000
				   : -1;
	return move_save(move, error);
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
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_OPERATOR,
		    "%s: whether QEMU switched to the destination is not known, so the guest stays "
		    "suspended: %s. It may finish by itself once the destination answers",
		    job->disk, failure->message);
	return FALSE;
}

static gboolean cut_live(struct move *move, const struct world *world, GError **error)
{
	struct job *job = move->job;
	AUTO(handle) destination = open_destination(move, error);

	if (!destination || !claim_check(move, error))
		return FALSE;
	AUTO(guardian) guardian = guardian_start(job->id, move->context.uri, error);

	if (!guardian)
		return FALSE;
	if (!job->suspended) {
		job->return_to = world->state.run == RUN_PAUSED ? DISK_PAUSED : DISK_RUNNING;
		job->suspended = TRUE;
		job->suspended_us = (guint64)g_get_monotonic_time();
		if (!move_save(move, error))
			return FALSE;
	}
	if (!world_on_destination(world, job) && !suspend_and_pivot(move, world, error))
		return FALSE;
	return judge(move, destination, error);
}

/* ---- off --------------------------------------------------------------------------------------
 */

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

static gboolean define_destination(struct move *move, GError **error)
{
	struct session *session = move->context.session;
	struct job *job = move->job;
	g_autofree char *now = session_xml(session, job->domain_uuid, TRUE, error);

	if (!now)
		return FALSE;
	g_autoptr(GPtrArray) chain = job_destination_chain(job, FALSE);
	g_autofree char *wanted = xml_with_disk(now, job->disk, chain, chain->len > 1, error);

	if (!wanted)
		return FALSE;
	job->finished_cold = TRUE;
	job->return_to = DISK_OFF;
	if (!move_save(move, error) || !session_define(session, wanted, error))
		return FALSE;
	job->cut_over = TRUE;
	return move_save(move, error);
}

/* Copies what the guest, which may have run for a while, wrote to its last overlay. */
static gboolean copy_last(struct move *move, GError **error)
{
	guint last = move->job->overlays->len - 1;

	if (job_overlay(move->job, last)->copied)
		return TRUE;
	return rounds_copy(move, last, error) && layout_finish(move, error);
}

static gboolean cut_cold(struct move *move, GError **error)
{
	struct job *job = move->job;
	int guard = guard_file(job_active_overlay(job)->path, error);

	if (guard < 0)
		return FALSE;
	AUTO(world) world = world_look(move, error);
	AUTO(handle) destination = NULL;
	gboolean good = world && claim_check(move, error);

	if (good && world->state.run != RUN_OFF) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT,
			    "%s was started just now", job->domain_name);
		good = FALSE;
	}
	good = good && copy_last(move, error);
	destination = good ? open_destination(move, error) : NULL;
	good = destination && define_destination(move, error);
	close(guard);
	return good;
}

/* ---- the phase ----------------------------------------------------------------------------------
 */

/* One look, and what it asks for; *again where the guest changed meanwhile. */
static gboolean attempt(struct move *move, gboolean *again, GError **error)
{
	struct job *job = move->job;
	AUTO(world) world = world_look(move, error);

	*again = FALSE;
	if (!world)
		return FALSE;
	if (world->state.run == RUN_OFF) {
		if (job->finished_cold && world_on_destination(world, job)) {
			job->cut_over = TRUE;
			return move_save(move, error);
		}
		*again = !cut_cold(move, error);
		return !*again;
	}
	if (!world_on_destination(world, job) && !mirror_run(move, error)) {
		AUTO(world) after = world_look(move, NULL);

		*again = after && after->state.run != world->state.run;
		return FALSE;
	}
	if (world_on_destination(world, job) && !job->suspended &&
	    world->state.run == RUN_RUNNING) {
		/* Somebody else resumed it: nothing can be compared any more. */
		job->cut_over = TRUE;
		g_free(job->guarantee);
		job->guarantee =
			g_strdup("proven but for the last overlay, which was not compared: "
				 "the guest ran on before it could be");
		return move_save(move, error);
	}
	return cut_live(move, world, error);
}

gboolean cutover_run(struct move *move, GError **error)
{
	struct job *job = move->job;

	if (job->cut_over) {
		gboolean good = !job->suspended || resume_guest(move, error);

		return good && move_save(move, error);
	}
	for (guint tries = 1;; tries++) {
		g_autoptr(GError) failure = NULL;
		gboolean again;

		if (attempt(move, &again, &failure))
			return TRUE;
		if (!again || tries == TRIES) {
			g_propagate_error(error, g_steal_pointer(&failure));
			return FALSE;
		}
	}
}

gboolean cutover_undo(struct move *move, GError **error)
{
	struct job *job = move->job;
	AUTO(world) world = world_look(move, error);

	if (!world)
		return FALSE;
	if (job->grafted && !putback_bring_home(move, error))
		return FALSE;
	if (!job->grafted && world->state.run != RUN_OFF && world_on_destination(world, job) &&
	    !(putback_graft(move, error) && putback_bring_home(move, error)))
		return FALSE;
	if (job->suspended && !resume_guest(move, error))
		return FALSE;
	return move_save(move, error);
}
