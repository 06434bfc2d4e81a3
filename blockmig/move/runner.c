#include "blockmig/move/room.h"
#include "blockmig/move/runner.h"

#include "blockmig/copy/endpoint.h"
#include "common/error.h"
#include "common/stop.h"

static guint phase_number(const struct phase *phases, const char *name)
{
	for (guint i = 0; phases[i].name; i++)
		if (g_str_equal(phases[i].name, name))
			return i;
	return 0;
}

static void tell(struct move *move, const char *phase, gboolean undo, gboolean begun)
{
	const struct move_reporter *reporter = move->context.reporter;

	if (reporter && reporter->phase)
		reporter->phase(move->job->id, phase, undo, begun, reporter->data);
}

/*
 * What tells that a try came further than the one before: what has been copied, and how
 * often the guest was frozen.
 */
static guint64 steps_done(const struct job *job)
{
	return job->totals.bytes_sent + job->rounds + job->overlays->len;
}

/* What a call of unknown outcome did is for the next run to find out. */
static gboolean may_try_again(struct backoff *backoff, GError **failure)
{
	return error_is(*failure, BLOCKMIG_ERROR_TRANSIENT) && endpoint_may_retry(backoff, failure);
}

/*
 * Before anything that may have to wait for a network: there is perhaps no time for that,
 * after a hold or between two tries.  A guest that is suspended writes nothing.
 */
static gboolean look_first(struct move *move, GError **error)
{
	return move->job->cut_over || move->job->suspended || room_watch(move, error);
}

/* What peers fail in is tried again, for as long as --retry-for says. */
static gboolean run_patiently(struct move *move, const struct phase *phase, GError **error)
{
	struct backoff backoff;
	guint64 done = steps_done(move->job);

	backoff_init(&backoff, move->job->options.retry_for_ms);
	for (;;) {
		g_autoptr(GError) failure = NULL;

		if (phase->run(move, &failure))
			return TRUE;
		if (steps_done(move->job) != done)
			backoff_success(&backoff);
		done = steps_done(move->job);
		if (!may_try_again(&backoff, &failure)) {
			g_propagate_error(error, g_steal_pointer(&failure));
			return FALSE;
		}
		if (!look_first(move, error))
			return FALSE;
		if (phase->probe && phase->probe(move, NULL) == STANDING_DONE)
			return TRUE;
	}
}

/* What cannot be written down now is found out by the next resume. */
static void note_failure(struct move *move, const struct phase *phase, gboolean undo,
			 const GError *failure)
{
	struct ledger *ledger = move->context.ledger;
	const char *outcome = error_is(failure, BLOCKMIG_ERROR_STOPPED) ? "interrupted" : "failed";

	ledger_phase_end(ledger, move->job->id, phase->name, undo, outcome, NULL);
	ledger_job_note(ledger, move->job->id, failure->message, NULL);
}

/* Runs or undoes one phase, with its begin and end in the ledger. */
static gboolean step(struct move *move, const struct phase *phase, gboolean undo, GError **error)
{
	struct ledger *ledger = move->context.ledger;
	gint64 job = move->job->id;
	g_autoptr(GError) failure = NULL;

	if (!ledger_phase_begin(ledger, job, phase->name, undo, error))
		return FALSE;
	tell(move, phase->name, undo, TRUE);
	gboolean good = undo ? phase->undo(move, &failure) : run_patiently(move, phase, &failure);

	if (good && !ledger_phase_end(ledger, job, phase->name, undo, "done", error))
		return FALSE;
	tell(move, phase->name, undo, FALSE);
	if (good)
		return TRUE;
	g_prefix_error(&failure, "%s: %s: ", undo ? "undoing" : "phase", phase->name);
	note_failure(move, phase, undo, failure);
	g_propagate_error(error, g_steal_pointer(&failure));
	return FALSE;
}

/* Whether the world has this phase's work already, as after a crash. */
static gboolean is_done(struct move *move, const struct phase *phase, gboolean *done,
			GError **error)
{
	enum standing standing = phase->probe ? phase->probe(move, error) : STANDING_NOT_DONE;

	*done = standing == STANDING_DONE;
	return standing != STANDING_UNKNOWN;
}

static gboolean run_phase(struct move *move, const struct phase *phase, GError **error)
{
	gboolean done;

	if (!stop_check(error) || !is_done(move, phase, &done, error))
		return FALSE;
	return done ? ledger_phase_begin(move->context.ledger, move->job->id, phase->name, FALSE,
					 error) &&
			       ledger_phase_end(move->context.ledger, move->job->id, phase->name,
						FALSE, "found done", error)
		    : step(move, phase, FALSE, error);
}

/* Undoes from phase number @from down to the first. */
static gboolean undo_from(struct move *move, const struct phase *phases, guint from, GError **error)
{
	for (guint i = from + 1; i-- > 0;)
		if (phases[i].undo && !step(move, &phases[i], TRUE, error))
			return FALSE;
	return TRUE;
}

/* Whether a failure before the commit point puts the guest back, or waits for resume. */
static gboolean undoes(const struct move *move, const GError *failure)
{
	if (error_is(failure, BLOCKMIG_ERROR_STOPPED) || error_is(failure, BLOCKMIG_ERROR_BUSY) ||
	    error_is(failure, BLOCKMIG_ERROR_OPERATOR))
		return FALSE;
	if (error_may_pass(failure))
		return move->job->options.on_failure == ON_FAILURE_ROLLBACK;
	return TRUE;
}

/* The words and the code with which the command ends once the guest is back. */
static void fail_rolled_back(struct move *move, const GError *failure, GError **error)
{
	ledger_job_end(move->context.ledger, move->job->id, JOB_ROLLED_BACK, failure->message,
		       NULL);
	g_set_error(error, BLOCKMIG_ERROR,
		    error_is(failure, BLOCKMIG_ERROR_INTEGRITY) ? BLOCKMIG_ERROR_INTEGRITY
								: BLOCKMIG_ERROR_PERMANENT,
		    "%s (rolled back: %s)", failure->message,
		    move->context.session ? "the guest is on its source, nothing is lost"
					  : "the source is as it was");
}

static void fail_forward(struct move *move, const GError *failure, GError **error)
{
	gboolean resumable = error_may_pass(failure) || error_is(failure, BLOCKMIG_ERROR_STOPPED);

	g_set_error(
		error, BLOCKMIG_ERROR, resumable ? BLOCKMIG_ERROR_STOPPED : BLOCKMIG_ERROR_OPERATOR,
		"%s (the guest %s on the destination already; blockmig resume %" G_GINT64_FORMAT
		" finishes the job once the cause is gone)",
		failure->message, move->job->suspended ? "stands still" : "runs", move->job->id);
}

static void fail_held(struct move *move, const GError *failure, GError **error)
{
	int code = error_may_pass(failure) ? BLOCKMIG_ERROR_STOPPED : failure->code;

	g_set_error(error, BLOCKMIG_ERROR, code,
		    "%s (blockmig resume %" G_GINT64_FORMAT
		    " carries on, blockmig abort %" G_GINT64_FORMAT " undoes it)",
		    failure->message, move->job->id, move->job->id);
}

static void fail_half_undone(struct move *move, const char *cause, const GError *problem,
			     GError **error)
{
	g_set_error(error, BLOCKMIG_ERROR,
		    error_is(problem, BLOCKMIG_ERROR_OPERATOR) ? BLOCKMIG_ERROR_OPERATOR
							       : BLOCKMIG_ERROR_STOPPED,
		    "%s; and the way back is not finished: %s (blockmig abort %" G_GINT64_FORMAT
		    " finishes it once the cause is gone)",
		    cause, problem->message, move->job->id);
}

static gboolean roll_back(struct move *move, const struct phase *phases, guint from,
			  const GError *cause, GError **error)
{
	g_autoptr(GError) problem = NULL;

	/* For the exit status of a resume that finishes the way back. */
	move->job->failure = cause->code;
	move_save(move, NULL);
	if (undo_from(move, phases, from, &problem)) {
		fail_rolled_back(move, cause, error);
		return FALSE;
	}
	fail_half_undone(move, cause->message, problem, error);
	return FALSE;
}

gboolean runner_run(struct move *move, const struct phase *phases, GError **error)
{
	AUTO(ledger_job) record = ledger_job_get(move->context.ledger, move->job->id, error);
	g_autoptr(GError) low = NULL;

	if (!record)
		return FALSE;
	guint at = phase_number(phases, record->phase);

	if (record->phase_ended && !record->undoing)
		at++;
	if (record->undoing && !move->job->cut_over) {
		g_autoptr(GError) cause =
			g_error_new_literal(BLOCKMIG_ERROR, move->job->failure, record->message);
		g_autoptr(GError) outcome = NULL;

		roll_back(move, phases, at, cause, &outcome);
		/* The way back may have found that there is only the way forward. */
		if (!move->job->cut_over) {
			g_propagate_error(error, g_steal_pointer(&outcome));
			return FALSE;
		}
	}
	if (!look_first(move, &low))
		return roll_back(move, phases, at, low, error);
	for (; phases[at].name; at++) {
		g_autoptr(GError) failure = NULL;

		if (run_phase(move, &phases[at], &failure))
			continue;
		if (move->job->cut_over)
			fail_forward(move, failure, error);
		else if (undoes(move, failure))
			return roll_back(move, phases, at, failure, error);
		else
			fail_held(move, failure, error);
		return FALSE;
	}
	return ledger_job_end(move->context.ledger, move->job->id, JOB_DONE, "", error);
}

/* The way back ends at the commit point: the guest's data are at the destination. */
static gboolean finish_instead(struct move *move, const struct phase *phases, GError **error)
{
	if (runner_run(move, phases, error))
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_OPERATOR,
			    "job %" G_GINT64_FORMAT " is past its commit point: the guest runs on "
			    "%s, so the move was finished instead of undone. Move the disk back "
			    "with blockmig migrate, where it is to be on its source again",
			    move->job->id, move->job->destination_url);
	return FALSE;
}

gboolean runner_abort(struct move *move, const struct phase *phases, GError **error)
{
	AUTO(ledger_job) record = ledger_job_get(move->context.ledger, move->job->id, error);
	g_autoptr(GError) problem = NULL;

	if (!record)
		return FALSE;
	if (move->job->cut_over)
		return finish_instead(move, phases, error);
	move->job->failure = BLOCKMIG_ERROR_STOPPED;
	move->job->options.keep_partial |=
		move->context.options && move->context.options->keep_partial;
	if (!move_save(move, error))
		return FALSE;
	if (undo_from(move, phases, phase_number(phases, record->phase), &problem))
		return ledger_job_end(move->context.ledger, move->job->id, JOB_ROLLED_BACK,
				      "aborted by the user", error);
	if (move->job->cut_over)
		return finish_instead(move, phases, error);
	fail_half_undone(move, "aborted by the user", problem, error);
	return FALSE;
}
