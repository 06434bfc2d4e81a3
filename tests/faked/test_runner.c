/* The phase runner, over a table of phases that do what the test says. */
#include "blockmig/move/runner.h"
#include "blockmig/move/start.h"
#include "common/error.h"
#include "common/stop.h"
#include "tests/faked/disturb.h"
#include "tests/faked/scene.h"

#include <check.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static struct scene scene;
static struct move *move;

static struct {
	GString *steps;	 /* "+a-b": a was run, b undone */
	const char *run; /* this phase's run fails */
	int run_code;
	guint run_times;  /* so often, then no more; 0: always */
	const char *undo; /* this phase's undo fails */
	int undo_code;
	const char *full;	/* the ledger's disk is full from this phase's run on */
	const char *stop;	/* this phase's run asks for a stop */
	gboolean commits;	/* phase c is the commit point */
	gboolean advances;	/* each run that fails has copied something */
	gulong takes_us;	/* each run that fails */
	enum standing standing; /* what b's probe says */
	gboolean done_when_run; /* it says DONE once b was run */
} script;

static gboolean fails(const char *name, const char *culprit, int code, GError **error)
{
	if (g_strcmp0(name, culprit) != 0)
		return FALSE;
	g_set_error(error, BLOCKMIG_ERROR, code, "the cause");
	return TRUE;
}

static gboolean run(const char *name, GError **error)
{
	g_string_append_printf(script.steps, "+%s", name);
	if (g_strcmp0(name, script.stop) == 0)
		stop_request();
	if (g_strcmp0(name, script.full) == 0)
		disturb_ledger(SQLITE_FULL);
	if (!fails(name, script.run, script.run_code, error))
		return TRUE;
	move->job->totals.bytes_sent += script.advances;
	g_usleep(script.takes_us);
	if (script.run_times && --script.run_times == 0)
		script.run = NULL;
	return FALSE;
}

static gboolean undo(const char *name, GError **error)
{
	g_string_append_printf(script.steps, "-%s", name);
	return !fails(name, script.undo, script.undo_code, error);
}

#define PHASE(name)                                                                                \
	static gboolean run_##name(struct move *its, GError **error)                               \
	{                                                                                          \
		ck_assert_ptr_eq(its, move);                                                       \
		return run(#name, error);                                                          \
	}                                                                                          \
	static gboolean undo_##name(struct move *its, GError **error)                              \
	{                                                                                          \
		ck_assert_ptr_eq(its, move);                                                       \
		return undo(#name, error);                                                         \
	}

PHASE(a)
PHASE(b)
PHASE(d)

static enum standing probe_b(struct move *its, GError **error)
{
	(void)its;
	if (script.standing == STANDING_UNKNOWN)
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT, "nobody answers");
	return script.done_when_run && strstr(script.steps->str, "+b") ? STANDING_DONE
								       : script.standing;
}

static gboolean run_c(struct move *its, GError **error)
{
	its->job->cut_over = script.commits;
	return run("c", error);
}

/* c has nothing to undo. */
static const struct phase table[] = {
	{.name = "a", .run = run_a, .undo = undo_a},
	{.name = "b", .run = run_b, .undo = undo_b, .probe = probe_b},
	{.name = "c", .run = run_c},
	{.name = "d", .run = run_d, .undo = undo_d},
	{.name = NULL},
};

static void open_job(void)
{
	struct job *job = job_new();
	g_autoptr(GError) error = NULL;

	scene_open(&scene, "raw");
	memset(&script, 0, sizeof script);
	script.steps = g_string_new(NULL);
	job->options.retry_for_ms = 0;
	job->domain_uuid = g_strdup(FAKE_UUID);
	job->domain_name = g_strdup("web");
	job->disk = g_strdup("vda");
	job->source_url = g_strconcat("file://", scene.source, NULL);
	job->destination_url = g_strconcat("file://", scene.source, ".new", NULL);
	ck_assert_msg(start_add(&scene.context, "migrate", job, NULL, &error), "%s",
		      error ? error->message : "");
	move = move_new(&scene.context, job, &error);
	ck_assert_msg(move != NULL, "%s", error ? error->message : "");
}

static void close_job(void)
{
	g_clear_pointer(&move, move_free);
	g_string_free(script.steps, TRUE);
	scene_close(&scene);
}

/* @status 0: it succeeds. */
static void expect(gboolean (*drive)(struct move *, const struct phase *, GError **), int status,
		   const char *steps, enum job_result result)
{
	g_autoptr(GError) error = NULL;

	g_string_truncate(script.steps, 0);
	gboolean good = drive(move, table, &error);

	ck_assert_int_eq(good, status == 0);
	ck_assert_msg(error_exit_status(error) == status, "exit %d: %s", error_exit_status(error),
		      error ? error->message : "");
	ck_assert_str_eq(script.steps->str, steps);
	ck_assert_int_eq(scene_result(&scene), result);
}

static const char names[] = "abcd";

static char *name_of(int i)
{
	return g_strdup_printf("%c", names[i]);
}

/* ---- forward --------------------------------------------------------------------------- */

START_TEST(phases_run_in_order_and_are_written_down)
{
	open_job();
	expect(runner_run, 0, "+a+b+c+d", JOB_DONE);
	g_autoptr(GPtrArray) phases = ledger_phase_list(scene.ledger, move->job->id, NULL);

	ck_assert_uint_eq(phases->len, 4);
	for (guint i = 0; i < phases->len; i++) {
		const struct ledger_phase *phase = g_ptr_array_index(phases, i);

		ck_assert_int_eq(phase->name[0], names[i]);
		ck_assert_str_eq(phase->outcome, "done");
		ck_assert(!phase->undo);
		ck_assert(phase->ended_us >= phase->begun_us);
	}
	close_job();
}
END_TEST

START_TEST(what_the_world_has_already_is_not_done_again)
{
	open_job();
	script.standing = STANDING_DONE;
	expect(runner_run, 0, "+a+c+d", JOB_DONE);
	close_job();
}
END_TEST

START_TEST(a_world_that_does_not_answer_holds_the_job)
{
	open_job();
	script.standing = STANDING_UNKNOWN;
	expect(runner_run, 3, "+a", JOB_OPEN);
	script.standing = STANDING_NOT_DONE;
	expect(runner_run, 0, "+b+c+d", JOB_DONE);
	close_job();
}
END_TEST

START_TEST(a_stop_ends_between_two_phases)
{
	open_job();
	script.stop = "b";
	expect(runner_run, 3, "+a+b", JOB_OPEN);
	stop_reset();
	script.stop = NULL;
	expect(runner_run, 0, "+c+d", JOB_DONE);
	close_job();
}
END_TEST

/* ---- back -------------------------------------------------------------------------------- */

static const char *const forward[] = {"+a", "+a+b", "+a+b+c", "+a+b+c+d"};
static const char *const backward[] = {"-a", "-b-a", "-b-a", "-d-b-a"};
static const char *const rest[] = {"+a+b+c+d", "+b+c+d", "+c+d", "+d"};

START_TEST(a_refusal_undoes_in_reverse)
{
	g_autofree char *name = name_of(_i);
	g_autofree char *steps = g_strconcat(forward[_i], backward[_i], NULL);

	open_job();
	script.run = name;
	script.run_code = BLOCKMIG_ERROR_PERMANENT;
	expect(runner_run, 1, steps, JOB_ROLLED_BACK);
	close_job();
}
END_TEST

START_TEST(wrong_data_undoes_and_tells_so)
{
	g_autofree char *name = name_of(_i);
	g_autofree char *steps = g_strconcat(forward[_i], backward[_i], NULL);

	open_job();
	script.run = name;
	script.run_code = BLOCKMIG_ERROR_INTEGRITY;
	expect(runner_run, 4, steps, JOB_ROLLED_BACK);
	close_job();
}
END_TEST

START_TEST(what_may_pass_is_held_and_resumed_at_its_phase)
{
	g_autofree char *name = name_of(_i);

	open_job();
	script.run = name;
	script.run_code = BLOCKMIG_ERROR_TRANSIENT;
	expect(runner_run, 3, forward[_i], JOB_OPEN);
	script.run = NULL;
	expect(runner_run, 0, rest[_i], JOB_DONE);
	close_job();
}
END_TEST

START_TEST(what_may_pass_is_undone_where_asked)
{
	g_autofree char *name = name_of(_i);
	g_autofree char *steps = g_strconcat(forward[_i], backward[_i], NULL);

	open_job();
	move->job->options.on_failure = ON_FAILURE_ROLLBACK;
	script.run = name;
	script.run_code = BLOCKMIG_ERROR_TRANSIENT;
	expect(runner_run, 1, steps, JOB_ROLLED_BACK);
	close_job();
}
END_TEST

START_TEST(what_a_person_must_decide_is_held)
{
	static const struct {
		int code, status;
	} held[] = {{BLOCKMIG_ERROR_STOPPED, 3},
		    {BLOCKMIG_ERROR_BUSY, 75},
		    {BLOCKMIG_ERROR_OPERATOR, 5}};

	open_job();
	move->job->options.on_failure = ON_FAILURE_ROLLBACK;
	script.run = "b";
	script.run_code = held[_i].code;
	expect(runner_run, held[_i].status, "+a+b", JOB_OPEN);
	close_job();
}
END_TEST

START_TEST(a_way_back_that_is_barred_is_carried_on)
{
	open_job();
	script.run = "d";
	script.run_code = BLOCKMIG_ERROR_PERMANENT;
	script.undo = "b";
	script.undo_code = BLOCKMIG_ERROR_TRANSIENT;
	expect(runner_run, 3, "+a+b+c+d-d-b", JOB_OPEN);
	/* Never forward again: what is undone is gone. */
	expect(runner_run, 3, "-b", JOB_OPEN);
	script.undo = NULL;
	expect(runner_run, 1, "-b-a", JOB_ROLLED_BACK);
	close_job();
}
END_TEST

START_TEST(an_abort_undoes_what_was_begun)
{
	open_job();
	script.run = "b";
	script.run_code = BLOCKMIG_ERROR_TRANSIENT;
	expect(runner_run, 3, "+a+b", JOB_OPEN);
	expect(runner_abort, 0, "-b-a", JOB_ROLLED_BACK);
	close_job();
}
END_TEST

START_TEST(an_abort_that_is_barred_is_held)
{
	open_job();
	script.run = "b";
	script.run_code = BLOCKMIG_ERROR_TRANSIENT;
	expect(runner_run, 3, "+a+b", JOB_OPEN);
	script.undo = "a";
	script.undo_code = BLOCKMIG_ERROR_TRANSIENT;
	expect(runner_abort, 3, "-b-a", JOB_OPEN);
	script.undo = NULL;
	expect(runner_abort, 0, "-a", JOB_ROLLED_BACK);
	close_job();
}
END_TEST

/* ---- behind the commit point ---------------------------------------------------------------- */

START_TEST(behind_the_commit_point_it_goes_only_forward)
{
	static const struct {
		int code, status;
	} failures[] = {
		{BLOCKMIG_ERROR_PERMANENT, 5}, {BLOCKMIG_ERROR_INTEGRITY, 5},
		{BLOCKMIG_ERROR_OPERATOR, 5},  {BLOCKMIG_ERROR_TRANSIENT, 3},
		{BLOCKMIG_ERROR_UNKNOWN, 3},   {BLOCKMIG_ERROR_STOPPED, 3},
	};

	open_job();
	move->job->options.on_failure = ON_FAILURE_ROLLBACK;
	script.commits = TRUE;
	script.run = "d";
	script.run_code = failures[_i].code;
	expect(runner_run, failures[_i].status, "+a+b+c+d", JOB_OPEN);
	expect(runner_abort, failures[_i].status, "+d", JOB_OPEN);
	script.run = NULL;
	expect(runner_abort, 5, "+d", JOB_DONE);
	close_job();
}
END_TEST

/* ---- peers that come back ------------------------------------------------------------ */

static void open_failing(const char *phase, int code, guint times)
{
	open_job();
	move->job->options.retry_for_ms = 1000;
	script.run = phase;
	script.run_code = code;
	script.run_times = times;
}

START_TEST(what_peers_failed_in_is_tried_again)
{
	static const char *const steps[] = {"+a+a+a+b+c+d", "+a+b+b+b+c+d", "+a+b+c+c+c+d",
					    "+a+b+c+d+d+d"};
	g_autofree char *name = name_of(_i);

	open_failing(name, BLOCKMIG_ERROR_TRANSIENT, 2);
	expect(runner_run, 0, steps[_i], JOB_DONE);
	close_job();
}
END_TEST

/* LATER is what was tried for long enough, or a guest that writes faster than the copy. */
START_TEST(what_no_other_try_would_change_is_not_tried_again)
{
	static const int codes[] = {BLOCKMIG_ERROR_UNKNOWN, BLOCKMIG_ERROR_LATER};

	open_failing("d", codes[_i], 2);
	expect(runner_run, 3, "+a+b+c+d", JOB_OPEN);
	close_job();
}
END_TEST

START_TEST(a_suspended_guest_waits_for_another_try)
{
	open_failing("d", BLOCKMIG_ERROR_TRANSIENT, 2);
	move->job->suspended = TRUE;
	expect(runner_run, 0, "+a+b+c+d+d+d", JOB_DONE);
	close_job();
}
END_TEST

START_TEST(what_the_world_has_after_all_is_not_tried_again)
{
	open_failing("b", BLOCKMIG_ERROR_TRANSIENT, 0);
	script.done_when_run = TRUE;
	expect(runner_run, 0, "+a+b+c+d", JOB_DONE);
	close_job();
}
END_TEST

/* Two connections that were cut in one long phase, each after some work, are no lasting failure. */
START_TEST(a_try_that_came_further_begins_the_patience_anew)
{
	open_failing("d", BLOCKMIG_ERROR_TRANSIENT, 3);
	move->job->options.retry_for_ms = 300;
	script.takes_us = 400 * 1000;
	script.advances = _i;
	if (_i)
		expect(runner_run, 0, "+a+b+c+d+d+d+d", JOB_DONE);
	else
		expect(runner_run, 3, "+a+b+c+d+d", JOB_OPEN);
	close_job();
}
END_TEST

START_TEST(a_stop_ends_the_patience)
{
	open_failing("d", BLOCKMIG_ERROR_TRANSIENT, 2);
	script.stop = "d";
	expect(runner_run, 3, "+a+b+c+d", JOB_OPEN);
	close_job();
}
END_TEST

/* ---- a ledger that takes nothing ------------------------------------------------------------- */

START_TEST(a_phase_that_cannot_be_written_down_is_run_again)
{
	g_autofree char *name = name_of(_i);

	open_job();
	script.full = name;
	expect(runner_run, 3, forward[_i], JOB_OPEN);
	disturb_clear();
	script.full = NULL;
	expect(runner_run, 0, rest[_i], JOB_DONE);
	close_job();
}
END_TEST

START_TEST(a_job_that_the_ledger_does_not_have_is_an_error)
{
	g_autoptr(GError) error = NULL;

	open_job();
	gint64 id = move->job->id;

	move->job->id = id + 1;
	ck_assert(!runner_run(move, table, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_NOT_FOUND));
	g_clear_error(&error);
	ck_assert(!runner_abort(move, table, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_NOT_FOUND));
	ck_assert_str_eq(script.steps->str, "");
	move->job->id = id;
	close_job();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("runner");
	TCase *phases = tcase_create("phases");

	tcase_add_test(phases, phases_run_in_order_and_are_written_down);
	tcase_add_test(phases, what_the_world_has_already_is_not_done_again);
	tcase_add_test(phases, a_world_that_does_not_answer_holds_the_job);
	tcase_add_test(phases, a_stop_ends_between_two_phases);
	tcase_add_loop_test(phases, a_refusal_undoes_in_reverse, 0, 4);
	tcase_add_loop_test(phases, wrong_data_undoes_and_tells_so, 0, 4);
	tcase_add_loop_test(phases, what_may_pass_is_held_and_resumed_at_its_phase, 0, 4);
	tcase_add_loop_test(phases, what_may_pass_is_undone_where_asked, 0, 4);
	tcase_add_loop_test(phases, what_a_person_must_decide_is_held, 0, 3);
	tcase_add_test(phases, a_way_back_that_is_barred_is_carried_on);
	tcase_add_test(phases, an_abort_undoes_what_was_begun);
	tcase_add_test(phases, an_abort_that_is_barred_is_held);
	tcase_add_loop_test(phases, behind_the_commit_point_it_goes_only_forward, 0, 6);
	tcase_add_loop_test(phases, what_peers_failed_in_is_tried_again, 0, 4);
	tcase_add_loop_test(phases, what_no_other_try_would_change_is_not_tried_again, 0, 2);
	tcase_add_test(phases, a_suspended_guest_waits_for_another_try);
	tcase_add_test(phases, what_the_world_has_after_all_is_not_tried_again);
	tcase_add_loop_test(phases, a_try_that_came_further_begins_the_patience_anew, 0, 2);
	tcase_add_test(phases, a_stop_ends_the_patience);
	tcase_add_loop_test(phases, a_phase_that_cannot_be_written_down_is_run_again, 0, 4);
	tcase_add_test(phases, a_job_that_the_ledger_does_not_have_is_an_error);
	suite_add_tcase(suite, phases);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
