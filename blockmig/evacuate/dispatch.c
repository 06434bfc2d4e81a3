#include "blockmig/evacuate/dispatch.h"

#include "common/stop.h"
#include "common/units.h"

/* Exit statuses of `blockmig migrate`, by the table in README.md. */
enum {
	STATUS_DONE = 0,
	STATUS_HELD = 3,
	STATUS_OPERATOR = 5,
	STATUS_BUSY = 75,
	STATUS_SIGNAL = 128
};

/* A domain that is busy is asked for again after 5, 10, 20 … 60 s, for ten minutes in all. */
enum { RETRY_FIRST_S = 5, RETRY_MOST_S = 60, BUSY_TRIES = 14, KILLED_TRIES = 2 };

void dispatch_outcome_clear(struct dispatch_outcome *outcome)
{
	g_free(outcome->message);
	*outcome = (struct dispatch_outcome){.downtime_ms = -1};
}

/* ---- the lists --------------------------------------------------------------------------- */

static void target_free(gpointer pointer)
{
	struct dispatch_target *target = pointer;

	g_free(target->name);
	g_free(target->url);
	g_free(target->broken);
	g_free(target);
}

static void move_free(gpointer pointer)
{
	struct dispatch_move *move = pointer;

	g_free(move->domain);
	g_free(move->disk);
	g_free(move->host);
	g_free(move->source);
	g_free(move->to);
	g_free(move->reason);
	dispatch_outcome_clear(&move->outcome);
	g_free(move);
}

struct dispatch *dispatch_new(const struct dispatch_runner *runner, void *data)
{
	struct dispatch *dispatch = g_new0(struct dispatch, 1);

	dispatch->closes_s = dispatch->longest_s = G_MAXINT64;
	dispatch->targets = g_ptr_array_new_with_free_func(target_free);
	dispatch->moves = g_ptr_array_new_with_free_func(move_free);
	dispatch->running = g_ptr_array_new();
	dispatch->runner = runner;
	dispatch->data = data;
	return dispatch;
}

void dispatch_free(struct dispatch *dispatch)
{
	g_ptr_array_unref(dispatch->running);
	g_ptr_array_unref(dispatch->moves);
	g_ptr_array_unref(dispatch->targets);
	g_free(dispatch);
}

struct dispatch_target *dispatch_add_target(struct dispatch *dispatch, const char *name)
{
	for (guint i = 0; i < dispatch->targets->len; i++) {
		struct dispatch_target *target = g_ptr_array_index(dispatch->targets, i);

		if (g_str_equal(target->name, name))
			return target;
	}
	struct dispatch_target *target = g_new0(struct dispatch_target, 1);

	target->name = g_strdup(name);
	g_ptr_array_add(dispatch->targets, target);
	return target;
}

struct dispatch_move *dispatch_add_move(struct dispatch *dispatch, const char *domain,
					const char *disk, struct dispatch_target *target,
					const char *to)
{
	struct dispatch_move *move = g_new0(struct dispatch_move, 1);

	move->domain = g_strdup(domain);
	move->disk = g_strdup(disk);
	move->host = g_strdup("");
	move->source = g_strdup("");
	move->to = g_strdup(to);
	move->target = target;
	move->outcome.downtime_ms = -1;
	g_ptr_array_add(dispatch->moves, move);
	return move;
}

static struct dispatch_move *move_at(const struct dispatch *dispatch, guint i)
{
	return g_ptr_array_index(dispatch->moves, i);
}

guint dispatch_count(const struct dispatch *dispatch, enum dispatch_state state)
{
	guint count = 0;

	for (guint i = 0; i < dispatch->moves->len; i++)
		count += move_at(dispatch, i)->state == state;
	return count;
}

const char *dispatch_state_name(enum dispatch_state state)
{
	static const char *const names[] = {
		[DISPATCH_WAITING] = "waiting", [DISPATCH_RUNNING] = "running",
		[DISPATCH_MOVED] = "moved",	[DISPATCH_HELD] = "held",
		[DISPATCH_FAILED] = "failed",	[DISPATCH_ROLLED_BACK] = "rolled-back",
		[DISPATCH_UNSENT] = "unsent",	[DISPATCH_OPERATOR] = "operator",
	};

	return names[state];
}

static gint64 now_s(const struct dispatch *dispatch)
{
	return dispatch->runner->now_s(dispatch->data);
}

gboolean dispatch_is_over(const struct dispatch *dispatch)
{
	return stop_level() != STOP_NO || now_s(dispatch) >= dispatch->closes_s;
}

/* ---- who may begin ----------------------------------------------------------------------- */

/* All moves leave one datastore, so its limit is that of all. */
static gboolean is_full(const struct dispatch *dispatch)
{
	return dispatch->running->len >= dispatch->limits.per_datastore;
}

static gboolean has_slot(const struct dispatch *dispatch, const struct dispatch_move *move)
{
	guint of_host = 0;

	for (guint i = 0; i < dispatch->running->len; i++) {
		const struct dispatch_move *other = g_ptr_array_index(dispatch->running, i);

		of_host += g_str_equal(other->host, move->host);
		if (g_str_equal(other->domain, move->domain))
			return FALSE;
	}
	return of_host < dispatch->limits.per_host &&
	       move->target->running < dispatch->limits.per_target;
}

/* As many as can run at once: one of them must not become slower than it was taken for. */
static guint most_at_once(const struct dispatch *dispatch)
{
	g_autoptr(GHashTable) hosts = g_hash_table_new(g_str_hash, g_str_equal);
	guint left = 0;

	for (guint i = 0; i < dispatch->moves->len; i++) {
		struct dispatch_move *move = move_at(dispatch, i);

		if (move->state != DISPATCH_WAITING && move->state != DISPATCH_RUNNING)
			continue;
		left++;
		g_hash_table_add(hosts, move->host);
	}
	left = MIN(left, dispatch->limits.per_datastore);
	return MAX(1, MIN(left, dispatch->limits.per_host * g_hash_table_size(hosts)));
}

static guint64 rate_of(const struct dispatch *dispatch, const struct dispatch_move *move)
{
	guint64 measured = move->target->bytes_per_second;
	guint64 rate = measured ? measured : PLAN_RATE;

	return dispatch->limits.bwlimit ? MIN(rate, dispatch->least_share) : rate;
}

static gint64 needs_s(const struct dispatch *dispatch, const struct dispatch_move *move)
{
	return (gint64)(move->bytes / rate_of(dispatch, move)) + 1 + PLAN_FIXED_S;
}

static void set_aside(struct dispatch_move *move, enum dispatch_state state, char *reason)
{
	move->state = state;
	g_free(move->reason);
	move->reason = reason;
}

/* Never within any window, so that waiting for the next one would be in vain. */
static void give_up_too_long(struct dispatch *dispatch, struct dispatch_move *move)
{
	g_autofree char *takes = units_format_time((guint64)needs_s(dispatch, move) * 1000);
	g_autofree char *longest = units_format_time((guint64)dispatch->longest_s * 1000);

	set_aside(move, DISPATCH_UNSENT,
		  g_strdup_printf("takes about %s, and no window is longer than %s: give a longer "
				  "one, or let it go on over several nights with --at-end hold",
				  takes, longest));
}

/* Whether it ends in this window, as far as can be told, or goes on over several. */
static gboolean fits(struct dispatch *dispatch, struct dispatch_move *move)
{
	gint64 seconds = needs_s(dispatch, move);

	if (dispatch->closes_s == G_MAXINT64 || move->job ||
	    seconds <= dispatch->closes_s - now_s(dispatch))
		return TRUE;
	if (seconds <= dispatch->longest_s)
		return FALSE;
	if (dispatch->at_end == DISPATCH_HOLD)
		return TRUE;
	give_up_too_long(dispatch, move);
	return FALSE;
}

/* ---- bandwidth ----------------------------------------------------------------------------- */

static guint64 share(const struct dispatch *dispatch, guint moves)
{
	return dispatch->limits.bwlimit ? MAX(1, dispatch->limits.bwlimit / MAX(1, moves)) : 0;
}

static void divide(struct dispatch *dispatch, guint moves)
{
	if (!dispatch->limits.bwlimit)
		return;
	for (guint i = 0; i < dispatch->running->len; i++)
		dispatch->runner->set_rate(g_ptr_array_index(dispatch->running, i),
					   share(dispatch, moves), dispatch->data);
}

/* ---- beginnings and ends ------------------------------------------------------------- */

static void set_running(struct dispatch *dispatch, struct dispatch_move *move)
{
	move->state = DISPATCH_RUNNING;
	move->target->running++;
	g_ptr_array_add(dispatch->running, move);
}

static void begin(struct dispatch *dispatch, struct dispatch_move *move)
{
	guint moves = dispatch->running->len + 1;
	g_autoptr(GError) failure = NULL;

	/* The others first, so that the sum never exceeds the limit. */
	divide(dispatch, moves);
	move->begun_s = now_s(dispatch);
	if (dispatch->runner->start(move, share(dispatch, moves), dispatch->data, &failure)) {
		set_running(dispatch, move);
		return;
	}
	set_aside(move, DISPATCH_FAILED, g_strdup(failure->message));
	divide(dispatch, moves - 1);
}

static void begin_what_may(struct dispatch *dispatch)
{
	gint64 at_s = now_s(dispatch);

	dispatch->least_share = share(dispatch, most_at_once(dispatch));
	for (guint i = 0; i < dispatch->moves->len && !is_full(dispatch); i++) {
		struct dispatch_move *move = move_at(dispatch, i);

		if (move->state != DISPATCH_WAITING || move->not_before_s > at_s)
			continue;
		if (move->target->broken)
			set_aside(move, DISPATCH_UNSENT, g_strdup(move->target->broken));
		else if (has_slot(dispatch, move) && fits(dispatch, move))
			begin(dispatch, move);
	}
}

/* Whether it may be the destination's fault: a refusal is, where that one does not answer. */
static gboolean blames_target(struct dispatch *dispatch, const struct dispatch_move *move)
{
	return move->outcome.job || !dispatch->runner->answers(move->target, dispatch->data);
}

static void count_failure(struct dispatch *dispatch, struct dispatch_move *move)
{
	struct dispatch_target *target = move->target;

	if (target->broken || !blames_target(dispatch, move) ||
	    ++target->failures < DISPATCH_BREAKER_FAILURES)
		return;
	target->broken = g_strdup_printf(
		"nothing more is sent to %s: %u moves to it failed in a row, the last with: %s",
		target->name, target->failures, move->reason);
}

/* FALSE where it was tried often enough. */
static gboolean try_again(struct dispatch *dispatch, struct dispatch_move *move, guint most)
{
	gint64 wait_s = MIN((gint64)RETRY_FIRST_S << MIN(move->tries, 8), RETRY_MOST_S);

	if (++move->tries >= most)
		return FALSE;
	move->not_before_s = now_s(dispatch) + wait_s;
	move->state = DISPATCH_WAITING;
	return TRUE;
}

static void settle_done(struct dispatch *dispatch, struct dispatch_move *move)
{
	guint64 measured = dispatch->runner->measured(move, dispatch->data);

	set_aside(move, DISPATCH_MOVED, NULL);
	move->target->failures = 0;
	if (measured)
		move->target->bytes_per_second = measured;
}

static void settle_held(struct dispatch *dispatch, struct dispatch_move *move)
{
	g_autoptr(GError) failure = NULL;

	set_aside(move, DISPATCH_HELD, g_strdup(move->outcome.message));
	if (!dispatch_is_over(dispatch)) {
		count_failure(dispatch, move);
		return;
	}
	if (dispatch->at_end == DISPATCH_HOLD || stop_level() != STOP_NO || !move->job)
		return;
	move->rolling_back = TRUE;
	if (dispatch->runner->roll_back(move, dispatch->data, &failure))
		set_running(dispatch, move);
	else
		set_aside(move, DISPATCH_HELD, g_strdup(failure->message));
}

static void settle_rollback(struct dispatch_move *move)
{
	if (move->outcome.status == STATUS_DONE)
		set_aside(move, DISPATCH_ROLLED_BACK, g_strdup("the window closed"));
	else
		set_aside(move,
			  move->outcome.status == STATUS_OPERATOR ? DISPATCH_OPERATOR
								  : DISPATCH_HELD,
			  g_strdup(move->outcome.message));
}

static void settle_failed(struct dispatch *dispatch, struct dispatch_move *move)
{
	const int status = move->outcome.status;
	g_autofree char *killed = status > STATUS_SIGNAL
					  ? g_strdup_printf("its process was killed by signal %d",
							    status - STATUS_SIGNAL)
					  : NULL;
	const char *said = move->outcome.message ? move->outcome.message : "it said no reason";

	if (killed && try_again(dispatch, move, KILLED_TRIES))
		return;
	set_aside(move, killed && move->job ? DISPATCH_HELD : DISPATCH_FAILED,
		  g_strdup(killed ? killed : said));
	count_failure(dispatch, move);
}

/* @move has ended; its outcome is there. */
static void settle(struct dispatch *dispatch, struct dispatch_move *move)
{
	move->target->running--;
	g_ptr_array_remove(dispatch->running, move);
	move->ended_s = now_s(dispatch);
	if (move->outcome.job)
		move->job = move->outcome.job;
	if (move->rolling_back) {
		settle_rollback(move);
		return;
	}
	switch (move->outcome.status) {
	case STATUS_DONE:
		settle_done(dispatch, move);
		break;
	case STATUS_HELD:
		settle_held(dispatch, move);
		break;
	case STATUS_OPERATOR:
		set_aside(move, DISPATCH_OPERATOR, g_strdup(move->outcome.message));
		break;
	case STATUS_BUSY:
		if (!try_again(dispatch, move, BUSY_TRIES))
			set_aside(move, DISPATCH_FAILED, g_strdup(move->outcome.message));
		break;
	default:
		settle_failed(dispatch, move);
	}
}

/* ---- the loop ------------------------------------------------------------------------ */

/* Tells every running move, once for each level. */
static void stop_all(struct dispatch *dispatch, enum stop_level *told, enum stop_level level)
{
	if (*told >= level)
		return;
	*told = level;
	for (guint i = 0; i < dispatch->running->len; i++) {
		struct dispatch_move *move = g_ptr_array_index(dispatch->running, i);

		if (!move->rolling_back)
			dispatch->runner->stop(move, level == STOP_NOW, dispatch->data);
	}
}

/* When to look again though no move has ended; G_MAXINT64: never. */
static gint64 next_look_s(const struct dispatch *dispatch)
{
	gint64 at_s = now_s(dispatch), next_s = G_MAXINT64;

	for (guint i = 0; i < dispatch->moves->len; i++) {
		const struct dispatch_move *move = move_at(dispatch, i);

		if (move->state == DISPATCH_WAITING && move->not_before_s > at_s)
			next_s = MIN(next_s, move->not_before_s);
	}
	/* Where nothing runs and nobody is waited for, nor is the window's end. */
	if (dispatch->running->len || next_s != G_MAXINT64)
		next_s = MIN(next_s, dispatch->closes_s);
	return next_s;
}

void dispatch_run(struct dispatch *dispatch)
{
	enum stop_level told = STOP_NO;

	for (;;) {
		gboolean over = dispatch_is_over(dispatch);

		if (over)
			stop_all(dispatch, &told, MAX(stop_level(), STOP_CHECKPOINT));
		else
			begin_what_may(dispatch);

		gint64 until_s = over ? G_MAXINT64 : next_look_s(dispatch);

		if (!dispatch->running->len && until_s == G_MAXINT64)
			return;
		struct dispatch_move *ended = dispatch->runner->wait(until_s, dispatch->data);

		if (!ended)
			continue;
		settle(dispatch, ended);
		divide(dispatch, dispatch->running->len);
	}
}
