#include "blockmig/move/pace.h"

#include "blockmig/move/phases.h"
#include "common/error.h"
#include "common/units.h"

#include <string.h>

void pace_mark(struct move *move, struct pace_mark *mark)
{
	mark->at_us = g_get_monotonic_time();
	if (!session_block_written(move->context.session, move->job->domain_uuid, move->job->disk,
				   &mark->written_bytes, NULL))
		mark->written_bytes = G_MAXUINT64;
}

guint64 pace_between(const struct pace_mark *from, const struct pace_mark *to)
{
	if (!from->at_us || to->at_us <= from->at_us || from->written_bytes == G_MAXUINT64 ||
	    to->written_bytes == G_MAXUINT64 || to->written_bytes < from->written_bytes)
		return G_MAXUINT64;
	return (guint64)((double)(to->written_bytes - from->written_bytes) * G_USEC_PER_SEC /
			 (double)(to->at_us - from->at_us));
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* Never more than the admin allows, and without bursts. */
static struct block_limits slow_limits(const struct block_limits *before, guint64 bytes)
{
	struct block_limits limits = {.read = before->read, .write = bytes};

	if (before->write)
		limits.write = MIN(bytes, before->write);
	/* QEMU has either a total, or reads and writes apart. */
	if (before->total) {
		limits.write = MIN(bytes, before->total / 2);
		limits.read = before->total - limits.write;
	}
	return limits;
}

static gboolean is_set(const struct job *job, const struct block_limits *now, guint64 bytes)
{
	struct block_limits wanted = slow_limits(&job->limits, bytes);

	return bytes && memcmp(&wanted, now, sizeof wanted) == 0;
}

static gboolean is_ours(const struct job *job, const struct block_limits *now)
{
	return is_set(job, now, job->pace_bytes) || is_set(job, now, job->pace_before_bytes);
}

/* Nothing is, or will be, set by us. */
static gboolean forget(struct move *move, gboolean give_up, GError **error)
{
	struct job *job = move->job;

	job->pace_bytes = job->pace_before_bytes = 0;
	job->pace_given_up = job->pace_given_up || give_up;
	return move_save(move, error);
}

static gboolean give_up(struct move *move, const char *why, GError **error)
{
	move_warn(move, "%s: the guest is not slowed: %s", move->job->disk, why);
	return forget(move, TRUE, error);
}

static gboolean is_gone(struct move *move, guint guest)
{
	struct domain_state state;

	return session_state(move->context.session, move->job->domain_uuid, &state, NULL) &&
	       state.id != guest;
}

/* ---- slower ---------------------------------------------------------------------------------- */

static gboolean apply(struct move *move, guint64 bytes, gboolean *slowed, GError **error)
{
	struct job *job = move->job;
	struct block_limits wanted = slow_limits(&job->limits, bytes);
	g_autoptr(GError) failure = NULL;
	g_autofree char *text = units_format_size(wanted.write);

	job->pace_before_bytes = job->pace_bytes;
	job->pace_bytes = bytes;
	/* Into the element, too: a guest whose job's ledger is lost is not to stay slow. */
	if (!move_save(move, error) || !claim_check(move, error) || !claim_update(move, error))
		return FALSE;
	*slowed = session_block_limits_set(move->context.session, job->domain_uuid, job->disk,
					   &wanted, &failure);
	if (*slowed) {
		move_warn(move, "%s: the guest writes faster than the copy: slowed to %s a second",
			  job->disk, text);
		return TRUE;
	}
	if (error_is(failure, BLOCKMIG_ERROR_PERMANENT) && !job->pace_before_bytes &&
	    !is_gone(move, job->pace_guest))
		return give_up(move, failure->message, error);
	g_propagate_error(error, g_steal_pointer(&failure));
	return FALSE;
}

/* What the guest may write at most; G_MAXUINT64: as much as it likes. */
static guint64 most(const struct block_limits *limits)
{
	return limits->write ? limits->write : limits->total ? limits->total : G_MAXUINT64;
}

/* @now: what libvirt says is set. */
static gboolean slow_from(struct move *move, const struct block_limits *now, guint64 bytes,
			  double share, gboolean *slowed, GError **error)
{
	struct job *job = move->job;

	if (job->pace_bytes && !is_ours(job, now))
		return give_up(move, "somebody else has set its I/O limits meanwhile", error);
	if (!job->pace_bytes)
		job->limits = *now;
	bytes = MIN(bytes, most(now));
	if (bytes == G_MAXUINT64)
		return give_up(move, "libvirt does not tell how much it writes", error);
	bytes = MAX((guint64)((double)bytes * share), PACE_FLOOR_BYTES);
	return bytes >= most(now) || apply(move, bytes, slowed, error);
}

gboolean pace_slow(struct move *move, guint64 bytes, double share, gboolean *slowed, GError **error)
{
	struct job *job = move->job;
	struct session *session = move->context.session;
	struct domain_state state;
	struct block_limits now;
	gboolean shared;
	g_autoptr(GError) failure = NULL;

	*slowed = FALSE;
	if (!session_state(session, job->domain_uuid, &state, error))
		return FALSE;
	if (job->pace_given_up || state.run == RUN_OFF)
		return TRUE;
	if (!session_block_limits(session, job->domain_uuid, job->disk, &now, &shared, &failure)) {
		if (error_is(failure, BLOCKMIG_ERROR_PERMANENT) && !is_gone(move, state.id))
			return give_up(move, failure->message, error);
		g_propagate_error(error, g_steal_pointer(&failure));
		return FALSE;
	}
	if (shared)
		return give_up(move, "other disks have its I/O limits, too", error);
	if (job->pace_bytes && state.id != job->pace_guest && !is_ours(job, &now))
		job->pace_bytes = job->pace_before_bytes = 0;
	job->pace_guest = state.id;
	return slow_from(move, &now, bytes, share, slowed, error);
}

/* ---- as before ------------------------------------------------------------------------------- */

static gboolean restore(struct move *move, GError **error)
{
	const struct job *job = move->job;
	struct session *session = move->context.session;
	struct block_limits now;
	gboolean shared;

	return session_block_limits(session, job->domain_uuid, job->disk, &now, &shared, error) &&
	       (!is_ours(job, &now) || session_block_limits_set(session, job->domain_uuid,
								job->disk, &job->limits, error));
}

gboolean pace_restore(struct move *move, GError **error)
{
	struct job *job = move->job;
	struct domain_state state;
	g_autoptr(GError) failure = NULL;

	if (!job->pace_bytes)
		return TRUE;
	if (!session_state(move->context.session, job->domain_uuid, &state, error))
		return FALSE;
	/* A guest that has ended took its limits along. */
	if (state.run == RUN_OFF || restore(move, &failure) || is_gone(move, state.id))
		return forget(move, FALSE, error);
	g_propagate_prefixed_error(error, g_steal_pointer(&failure),
				   "%s: the guest is still slowed: ", job->disk);
	return FALSE;
}
