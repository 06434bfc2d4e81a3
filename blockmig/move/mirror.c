#include "blockmig/move/overlay.h"
#include "blockmig/move/phases.h"
#include "blockmig/move/room.h"

#include "common/deadline.h"
#include "common/error.h"
#include "common/stop.h"

/* No progress of QEMU's job for so long is a failure. */
enum { JOB_STALL_MS = 60 * 1000, PIVOT_MS = 30 * 1000, GONE_MS = 30 * 1000, LOOK_MS = 500 };

/* What the block job of our disk does. */
enum job_look { LOOK_GONE, LOOK_RUNNING, LOOK_READY, LOOK_FAILED };

static enum job_look look(struct move *move, GError **error)
{
	AUTO(world) world = world_look(move, error);

	if (!world)
		return LOOK_FAILED;
	if (world->state.run == RUN_OFF || !world->disk->mirror.present)
		return LOOK_GONE;
	return g_strcmp0(world->disk->mirror.ready, "yes") == 0 ? LOOK_READY : LOOK_RUNNING;
}

/*
 * Waits until the job is ready; its progress moves the deadline on.  @watch: not at the
 * price of the room for the way back (which a commit back itself uses up).
 */
static gboolean wait_ready(struct move *move, const char *what, gboolean watch, GError **error)
{
	const struct job *job = move->job;
	struct session *session = move->context.session;
	guint64 seen = G_MAXUINT64;
	deadline_ms deadline = deadline_in(JOB_STALL_MS);

	for (;;) {
		struct block_job now = {0};
		enum job_look state = look(move, error);

		if (state == LOOK_READY)
			return TRUE;
		if (state == LOOK_FAILED || !stop_check(error) ||
		    (watch && !room_watch(move, error)))
			return FALSE;
		if (state == LOOK_GONE)
			break;
		if (session_block_job(session, job->domain_uuid, job->disk, &now, NULL) &&
		    now.current != seen) {
			seen = now.current;
			deadline = deadline_in(JOB_STALL_MS);
		}
		if (deadline_passed(deadline)) {
			g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT,
				    "%s: QEMU's %s made no progress for %d s", job->disk, what,
				    JOB_STALL_MS / 1000);
			return FALSE;
		}
		session_events_wait(session, job->domain_uuid, job->disk, LOOK_MS);
	}
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT,
		    "%s: QEMU's %s ended before it was ready (the guest stopped, or an I/O error: "
		    "see the domain's log)",
		    job->disk, what);
	return FALSE;
}

gboolean mirror_onto(struct move *move, GPtrArray *chain, GError **error)
{
	const struct job *job = move->job;
	struct session *session = move->context.session;
	const struct layer *to = g_ptr_array_index(chain, 0);
	g_autofree char *xml = xml_blockcopy(chain);
	g_autoptr(GError) failure = NULL;
	AUTO(world) world = world_look(move, error);

	if (!world)
		return FALSE;
	if (world->disk->mirror.present &&
	    source_equal(&world->disk->mirror.to.source, &to->source))
		return wait_ready(move, "mirror", TRUE, error);
	session_events_clear(session, job->domain_uuid, job->disk);
	if (!session_block_copy(session, job->domain_uuid, job->disk, xml, TRUE, 0, &failure) &&
	    !error_is(failure, BLOCKMIG_ERROR_UNKNOWN)) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return FALSE;
	}
	return wait_ready(move, "mirror", TRUE, error);
}

static gboolean is_ours(const struct world *world, const struct job *job)
{
	const struct mirror *mirror = &world->disk->mirror;

	return mirror->present && job->destination_overlay &&
	       mirror->to.source.type == SOURCE_FILE &&
	       g_strcmp0(mirror->to.source.path, job->destination_overlay) == 0;
}

enum standing mirror_probe(struct move *move, GError **error)
{
	AUTO(world) world = world_look(move, error);

	if (!world)
		return STANDING_UNKNOWN;
	if (world_on_destination(world, move->job))
		return STANDING_DONE;
	return is_ours(world, move->job) && g_strcmp0(world->disk->mirror.ready, "yes") == 0
		       ? STANDING_DONE
		       : STANDING_NOT_DONE;
}

static gboolean make_destination_overlay(struct move *move, GError **error)
{
	struct job *job = move->job;

	if (!job->destination_overlay) {
		g_autofree char *scratch = overlay_scratch(&move->context, &job->options, error);

		if (!scratch)
			return FALSE;
		job->destination_overlay = overlay_destination_path(job, scratch);
		if (!move_save(move, error))
			return FALSE;
	}
	g_clear_pointer(&job->wrong_sha256, g_free);
	g_autoptr(GPtrArray) below = job_destination_chain(job, FALSE);

	return overlay_create(move, job->destination_overlay, g_ptr_array_index(below, 0), NULL,
			      error);
}

/* Asks QEMU's job to end, and waits until it has. */
static gboolean end_job(struct move *move, GError **error)
{
	struct session *session = move->context.session;
	deadline_ms deadline = deadline_in(GONE_MS);

	if (!session_block_abort(session, move->job->domain_uuid, move->job->disk, error))
		return FALSE;
	while (!deadline_passed(deadline)) {
		enum job_look state = look(move, error);

		if (state == LOOK_FAILED)
			return FALSE;
		if (state == LOOK_GONE)
			return TRUE;
		session_events_wait(session, move->job->domain_uuid, move->job->disk, LOOK_MS);
	}
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_UNKNOWN,
		    "%s: QEMU still holds its mirror to %s; it ends when that answers again",
		    move->job->disk, move->job->destination_overlay);
	return FALSE;
}

/*
 * Whether the guest has written more than may be compared while it stands still, as after
 * a hold.  Twice the rounds' budget: they leave just less than that, and it grows on.
 */
static gboolean is_too_much(const struct job *job)
{
	return !job->suspended &&
	       overlay_allocated(job_active_overlay(job)->path) > 2 * rounds_budget(job);
}

static gboolean start_mirror(struct move *move, GError **error)
{
	if (!make_destination_overlay(move, error))
		return FALSE;
	g_autoptr(GPtrArray) chain = job_destination_chain(move->job, TRUE);

	return mirror_onto(move, chain, error);
}

static gboolean mirror_as_it_is(struct move *move, const struct world *world, GError **error)
{
	const struct job *job = move->job;
	gboolean is_there = is_ours(world, job);

	if (!claim_check(move, error))
		return FALSE;
	if (world->state.run == RUN_OFF)
		return TRUE;
	if (is_too_much(job))
		return (!is_there || end_job(move, error)) && rounds_run(move, error) &&
		       start_mirror(move, error);
	return is_there ? wait_ready(move, "mirror", TRUE, error) : start_mirror(move, error);
}

/* QEMU's job ends with a guest that is shut off: then the rest is copied without it. */
gboolean mirror_run(struct move *move, GError **error)
{
	return world_step(move, mirror_as_it_is, error);
}

gboolean mirror_undo(struct move *move, GError **error)
{
	struct job *job = move->job;
	AUTO(world) world = world_look(move, error);

	if (!world)
		return FALSE;
	if (is_ours(world, job) && !end_job(move, error))
		return FALSE;
	return !job->destination_overlay || overlay_remove(job->destination_overlay, error);
}

/* The pivot would end it where its owner did not ask for it. */
static gboolean other_job(const struct job *job, const struct mirror *mirror, GError **error)
{
	g_autofree char *to = source_text(&mirror->to.source);

	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "%s: somebody else's block job copies the disk to %s: end it with virsh "
		    "blockjob %s %s --abort",
		    job->disk, to, job->domain_name, job->disk);
	return FALSE;
}

gboolean mirror_commit(struct move *move, const struct source *base, GError **error)
{
	const struct job *job = move->job;
	struct session *session = move->context.session;
	AUTO(world) world = world_look(move, error);

	if (!world)
		return FALSE;
	int position = world_chain_position(world, base);

	if (position == 0)
		return TRUE;
	if (position < 0) {
		g_autofree char *wanted = source_text(base);

		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s: the guest's chain does not hold %s (any more)", job->disk, wanted);
		return FALSE;
	}
	if (world->disk->mirror.present && g_strcmp0(world->disk->mirror.job, "active-commit") != 0)
		return other_job(job, &world->disk->mirror, error);
	if (!world->disk->mirror.present) {
		/* The index is libvirt's id of the node, not a position. */
		g_autofree char *name = g_strdup_printf(
			"%s[%u]", job->disk, disk_layer(world->disk, (guint)position)->index);

		session_events_clear(session, job->domain_uuid, job->disk);
		if (!session_block_commit(session, job->domain_uuid, job->disk, name, NULL, TRUE, 0,
					  error))
			return FALSE;
	}
	return wait_ready(move, "commit", FALSE, error) &&
	       session_pivot(session, job->domain_uuid, job->disk, PIVOT_MS, error);
}
