#include "blockmig/move/converge.h"

#include "blockmig/move/room.h"
#include "common/error.h"
#include "common/stop.h"
#include "common/units.h"

/* More rounds than this in one run do not make the last overlay smaller. */
enum { ROUNDS_MOST = 30, ROUNDS_WITHOUT_GAIN = 4, ROUNDS_BEFORE_SLOWING = 2 };

/* Each round is a layer more until the move ends; libvirt takes 200. */
enum { LAYERS_MOST = 100 };

enum { PAUSE_LEAST_S = 3, PAUSE_MOST_S = 300 };

static gboolean is_endless(const struct move *move, const struct converge *converge)
{
	return move->job->overlays->len >= LAYERS_MOST ||
	       (converge->rounds >= ROUNDS_MOST && move->job->options.converge != CONVERGE_WAIT);
}

/* Both overlays grew in about the time of one round: the guest wrote, and we copied. */
static double share_to_keep_up(const struct converge *converge, guint64 left_bytes)
{
	double share = (double)converge->copied_bytes / (double)MAX(left_bytes, 1) / 2;

	return MIN(share, 0.5);
}

static gboolean fail(struct move *move, const struct converge *converge, guint64 left_bytes,
		     GError **error)
{
	const struct job *job = move->job;
	gboolean is_final = job->options.converge == CONVERGE_FAIL;
	g_autofree char *left = units_format_size(left_bytes);

	g_set_error(
		error, BLOCKMIG_ERROR, is_final ? BLOCKMIG_ERROR_PERMANENT : BLOCKMIG_ERROR_LATER,
		"%s: the guest writes faster than the rounds copy: %s are left after %u of "
		"them%s. Allow a longer pause with --max-downtime, %stry at a quieter time",
		job->disk, left, converge->rounds, job->pace_bytes ? ", though it was slowed" : "",
		job->options.converge == CONVERGE_WAIT ? "or " : "let --converge wait, or ");
	return FALSE;
}

/* ---- throttle ------------------------------------------------------------------------ */

static gboolean slow_down(struct move *move, struct converge *converge, guint64 pace,
			  guint64 left_bytes, gboolean *slowed, GError **error)
{
	if (!pace_slow(move, pace, share_to_keep_up(converge, left_bytes), slowed, error))
		return FALSE;
	if (*slowed) {
		converge->without_gain = 0;
		converge->smallest = left_bytes;
	}
	return TRUE;
}

/* ---- wait ---------------------------------------------------------------------------- */

/* One pause, watched; *quiet: the guest wrote no more than @wanted bytes a second in it. */
static gboolean pause_once(struct move *move, struct converge *converge, guint64 wanted,
			   gboolean *quiet, GError **error)
{
	struct pace_mark now;

	pace_mark(move, &converge->mark);
	for (guint i = 0; i < converge->pause_s; i++)
		if (!stop_sleep(1000, error) || !room_watch(move, error))
			return FALSE;
	pace_mark(move, &now);
	guint64 pace = pace_between(&converge->mark, &now);

	/* Not known, as of a guest that is off: the next round will tell. */
	*quiet = pace == G_MAXUINT64 || pace <= wanted;
	return TRUE;
}

static gboolean wait_for_quiet(struct move *move, struct converge *converge, guint64 pace,
			       guint64 left_bytes, GError **error)
{
	static const char words[] = "the guest writes faster than the copy: waiting for a quieter "
				    "time (Ctrl-C keeps the job for blockmig resume)";
	gint64 job = move->job->id;
	guint64 wanted = pace == G_MAXUINT64
				 ? G_MAXUINT64
				 : (guint64)((double)pace * share_to_keep_up(converge, left_bytes));
	gboolean quiet = FALSE, good = TRUE;

	/* Each round that was of no use is a reason to wait longer for the next. */
	converge->pause_s = CLAMP(2 * converge->pause_s, PAUSE_LEAST_S, PAUSE_MOST_S);
	move_warn(move, "%s: %s", move->job->disk, words);
	ledger_job_note(move->context.ledger, job, words, NULL);
	while (good && !quiet)
		good = pause_once(move, converge, wanted, &quiet, error);
	if (good)
		ledger_job_note(move->context.ledger, job, "", NULL);
	converge->smallest = 0;
	return good;
}

/* ---- all of them --------------------------------------------------------------------- */

static gboolean decide(struct move *move, struct converge *converge, guint64 pace,
		       guint64 left_bytes, GError **error)
{
	gboolean slowed = FALSE;

	if (is_endless(move, converge))
		return fail(move, converge, left_bytes, error);
	/* Once slowed, a guest that is still too fast will not become slower by itself. */
	guint patience = move->job->pace_bytes ? 1 : ROUNDS_BEFORE_SLOWING;

	if (move->job->options.converge == CONVERGE_THROTTLE &&
	    converge->without_gain >= patience &&
	    !slow_down(move, converge, pace, left_bytes, &slowed, error))
		return FALSE;
	if (slowed || converge->without_gain < ROUNDS_WITHOUT_GAIN)
		return TRUE;
	if (move->job->options.converge == CONVERGE_WAIT) {
		converge->without_gain = 0;
		return wait_for_quiet(move, converge, pace, left_bytes, error);
	}
	return fail(move, converge, left_bytes, error);
}

gboolean converge_check(struct move *move, struct converge *converge, guint64 left_bytes,
			GError **error)
{
	struct pace_mark now;

	pace_mark(move, &now);
	guint64 pace = pace_between(&converge->mark, &now);
	/* Less by a little is no gain: that way it would take a night. */
	gboolean gained =
		!converge->smallest || left_bytes < converge->smallest - converge->smallest / 8;

	converge->without_gain = gained ? 0 : converge->without_gain + 1;
	converge->smallest = converge->smallest ? MIN(converge->smallest, left_bytes) : left_bytes;
	if (!decide(move, converge, pace, left_bytes, error))
		return FALSE;
	converge->rounds++;
	converge->copied_bytes = left_bytes;
	pace_mark(move, &converge->mark);
	return TRUE;
}
