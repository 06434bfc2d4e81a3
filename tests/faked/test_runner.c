/* The phase runner, over a table of phases that do what the test says. */
#include "common/error.h"
#include "common/stop.h"
#include "tests/faked/disturb.h"
#include "tests/faked/script.h"

#include <check.h>
#include <sqlite3.h>
#include <stdlib.h>

static const char names[] = "abcd";

static char *name_of(int i)
{
	return g_strdup_printf("%c", names[i]);
}

/* ---- forward --------------------------------------------------------------------------- */

START_TEST(phases_run_in_order_and_are_written_down)
{
	script_open();
	script_expect(runner_run, 0, "+a+b+c+d", JOB_DONE);
	g_autoptr(GPtrArray) phases = ledger_phase_list(scene.ledger, move->job->id, NULL);

	ck_assert_uint_eq(phases->len, 4);
	for (guint i = 0; i < phases->len; i++) {
		const struct ledger_phase *phase = g_ptr_array_index(phases, i);

		ck_assert_int_eq(phase->name[0], names[i]);
		ck_assert_str_eq(phase->outcome, "done");
		ck_assert(!phase->undo);
		ck_assert(phase->ended_us >= phase->begun_us);
	}
	script_close();
}
END_TEST

START_TEST(what_the_world_has_already_is_not_done_again)
{
	script_open();
	script.standing = STANDING_DONE;
	script_expect(runner_run, 0, "+a+c+d", JOB_DONE);
	script_close();
}
END_TEST

START_TEST(what_is_found_done_and_cannot_be_written_down_is_looked_at_again)
{
	script_open();
	script.standing = STANDING_DONE;
	if (_i)
		script.full = "probe";
	else /* a: begin and end, b: begin */
		fake_fault(&(struct fake_fault){
			.call = "commit", .nth = 4, .code = BLOCKMIG_ERROR_TRANSIENT});
	script_expect(runner_run, 3, "+a", JOB_OPEN);
	disturb_clear();
	fake_faults_clear();
	script.full = NULL;
	script_expect(runner_run, 0, "+c+d", JOB_DONE);
	script_close();
}
END_TEST

static void note_phase(gint64 job, const char *phase, gboolean undo, gboolean begun, void *data)
{
	ck_assert_int_eq(job, move->job->id);
	g_string_append_printf(data, "%c%s%c ", begun ? '<' : '.', phase, undo ? '-' : '+');
}

START_TEST(each_step_is_told_when_it_begins_and_when_it_ends)
{
	g_autoptr(GString) told = g_string_new(NULL);
	struct move_reporter reporter = {.phase = note_phase, .data = told};

	script_open();
	move->context.reporter = &reporter;
	script.run = "c";
	script.run_code = BLOCKMIG_ERROR_PERMANENT;
	script_expect(runner_run, 1, "+a+b+c-b-a", JOB_ROLLED_BACK);
	ck_assert_str_eq(told->str, "<a+ .a+ <b+ .b+ <c+ .c+ <b- .b- <a- .a- ");
	script_close();
}
END_TEST

START_TEST(nobody_has_to_be_told)
{
	script_open();
	move->context.reporter = NULL;
	script_expect(runner_run, 0, "+a+b+c+d", JOB_DONE);
	script_close();
}
END_TEST

START_TEST(the_time_line_tells_how_each_step_ended)
{
	static const char *const outcomes[][6] = {
		{"a+ done", "b+ done", "c+ failed", "b- done", "a- done"},
		{"a+ done", "b+ done", "c+ interrupted"},
	};
	static const int codes[] = {BLOCKMIG_ERROR_PERMANENT, BLOCKMIG_ERROR_STOPPED};
	gint64 before_us = g_get_real_time();

	script_open();
	script.run = "c";
	script.run_code = codes[_i];
	script_expect(runner_run, _i ? 3 : 1, _i ? "+a+b+c" : "+a+b+c-b-a",
		      _i ? JOB_OPEN : JOB_ROLLED_BACK);
	g_autoptr(GPtrArray) steps = ledger_phase_list(scene.ledger, move->job->id, NULL);

	ck_assert_uint_eq(steps->len, g_strv_length((char **)outcomes[_i]));
	for (guint i = 0; i < steps->len; i++) {
		const struct ledger_phase *step = g_ptr_array_index(steps, i);
		g_autofree char *said = g_strdup_printf("%s%c %s", step->name,
							step->undo ? '-' : '+', step->outcome);

		ck_assert_str_eq(said, outcomes[_i][i]);
		ck_assert_int_ge(step->begun_us, before_us);
		ck_assert_int_ge(step->ended_us, step->begun_us);
		before_us = step->ended_us;
	}
	script_close();
}
END_TEST

START_TEST(a_world_that_does_not_answer_holds_the_job)
{
	script_open();
	script.standing = STANDING_UNKNOWN;
	script_expect(runner_run, 3, "+a", JOB_OPEN);
	script.standing = STANDING_NOT_DONE;
	script_expect(runner_run, 0, "+b+c+d", JOB_DONE);
	script_close();
}
END_TEST

START_TEST(a_stop_ends_between_two_phases)
{
	script_open();
	script.stop = "b";
	script_expect(runner_run, 3, "+a+b", JOB_OPEN);
	stop_reset();
	script.stop = NULL;
	script_expect(runner_run, 0, "+c+d", JOB_DONE);
	script_close();
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

	script_open();
	script.run = name;
	script.run_code = BLOCKMIG_ERROR_PERMANENT;
	script_expect(runner_run, 1, steps, JOB_ROLLED_BACK);
	script_close();
}
END_TEST

START_TEST(wrong_data_undoes_and_tells_so)
{
	g_autofree char *name = name_of(_i);
	g_autofree char *steps = g_strconcat(forward[_i], backward[_i], NULL);

	script_open();
	script.run = name;
	script.run_code = BLOCKMIG_ERROR_INTEGRITY;
	script_expect(runner_run, 4, steps, JOB_ROLLED_BACK);
	script_close();
}
END_TEST

START_TEST(what_may_pass_is_held_and_resumed_at_its_phase)
{
	g_autofree char *name = name_of(_i);

	script_open();
	script.run = name;
	script.run_code = BLOCKMIG_ERROR_TRANSIENT;
	script_expect(runner_run, 3, forward[_i], JOB_OPEN);
	script.run = NULL;
	script_expect(runner_run, 0, rest[_i], JOB_DONE);
	script_close();
}
END_TEST

START_TEST(what_may_pass_is_undone_where_asked)
{
	g_autofree char *name = name_of(_i);
	g_autofree char *steps = g_strconcat(forward[_i], backward[_i], NULL);

	script_open();
	move->job->options.on_failure = ON_FAILURE_ROLLBACK;
	script.run = name;
	script.run_code = BLOCKMIG_ERROR_TRANSIENT;
	script_expect(runner_run, 1, steps, JOB_ROLLED_BACK);
	script_close();
}
END_TEST

START_TEST(what_a_person_must_decide_is_held)
{
	static const struct {
		int code, status;
	} held[] = {{BLOCKMIG_ERROR_STOPPED, 3},
		    {BLOCKMIG_ERROR_BUSY, 75},
		    {BLOCKMIG_ERROR_OPERATOR, 5}};

	script_open();
	move->job->options.on_failure = ON_FAILURE_ROLLBACK;
	script.run = "b";
	script.run_code = held[_i].code;
	script_expect(runner_run, held[_i].status, "+a+b", JOB_OPEN);
	script_close();
}
END_TEST

START_TEST(a_way_back_that_is_barred_is_carried_on)
{
	script_open();
	script.run = "d";
	script.run_code = BLOCKMIG_ERROR_PERMANENT;
	script.undo = "b";
	script.undo_code = BLOCKMIG_ERROR_TRANSIENT;
	script_expect(runner_run, 3, "+a+b+c+d-d-b", JOB_OPEN);
	/* Never forward again: what is undone is gone. */
	script_expect(runner_run, 3, "-b", JOB_OPEN);
	script.undo = NULL;
	script_expect(runner_run, 1, "-b-a", JOB_ROLLED_BACK);
	script_close();
}
END_TEST

/* Killed between two steps back: the one that ended is undone again, which finds nothing. */
START_TEST(a_way_back_that_ended_between_two_steps_is_carried_on)
{
	script_open();
	script.run = "c";
	script.run_code = BLOCKMIG_ERROR_PERMANENT;
	script.lost = "b";
	script_expect(runner_run, 3, "+a+b+c-b", JOB_OPEN);
	AUTO(ledger_job) record = ledger_job_get(scene.ledger, move->job->id, NULL);

	ck_assert_str_eq(record->phase, "b");
	ck_assert(record->undoing && record->phase_ended);
	script.lost = NULL;
	script_expect(runner_run, 1, "-b-a", JOB_ROLLED_BACK);
	script_close();
}
END_TEST

START_TEST(an_abort_keeps_the_partial_copy_where_asked)
{
	struct move_options options = {.keep_partial = _i == 2};

	script_open();
	move->context.options = _i ? &options : NULL;
	script.run = "b";
	script.run_code = BLOCKMIG_ERROR_TRANSIENT;
	script_expect(runner_run, 3, "+a+b", JOB_OPEN);
	script_expect(runner_abort, 0, "-b-a", JOB_ROLLED_BACK);
	ck_assert_int_eq(move->job->options.keep_partial, _i == 2);
	script_close();
}
END_TEST

/* What is to become of the copy would be forgotten. */
START_TEST(an_abort_that_cannot_be_written_down_undoes_nothing)
{
	script_open();
	script.run = "b";
	script.run_code = BLOCKMIG_ERROR_TRANSIENT;
	script_expect(runner_run, 3, "+a+b", JOB_OPEN);
	disturb_ledger(SQLITE_FULL);
	script_expect(runner_abort, 1, "", JOB_OPEN);
	disturb_clear();
	script_expect(runner_abort, 0, "-b-a", JOB_ROLLED_BACK);
	script_close();
}
END_TEST

START_TEST(an_abort_undoes_what_was_begun)
{
	script_open();
	script.run = "b";
	script.run_code = BLOCKMIG_ERROR_TRANSIENT;
	script_expect(runner_run, 3, "+a+b", JOB_OPEN);
	script_expect(runner_abort, 0, "-b-a", JOB_ROLLED_BACK);
	script_close();
}
END_TEST

START_TEST(an_abort_that_is_barred_is_held)
{
	script_open();
	script.run = "b";
	script.run_code = BLOCKMIG_ERROR_TRANSIENT;
	script_expect(runner_run, 3, "+a+b", JOB_OPEN);
	script.undo = "a";
	script.undo_code = BLOCKMIG_ERROR_TRANSIENT;
	script_expect(runner_abort, 3, "-b-a", JOB_OPEN);
	script.undo = NULL;
	script_expect(runner_abort, 0, "-a", JOB_ROLLED_BACK);
	script_close();
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

	script_open();
	move->job->options.on_failure = ON_FAILURE_ROLLBACK;
	script.commits = TRUE;
	script.run = "d";
	script.run_code = failures[_i].code;
	script_expect(runner_run, failures[_i].status, "+a+b+c+d", JOB_OPEN);
	script_expect(runner_abort, failures[_i].status, "+d", JOB_OPEN);
	script.run = NULL;
	script_expect(runner_abort, 5, "+d", JOB_DONE);
	script_close();
}
END_TEST

/* ---- peers that come back ------------------------------------------------------------ */

static void open_failing(const char *phase, int code, guint times)
{
	script_open();
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
	script_expect(runner_run, 0, steps[_i], JOB_DONE);
	script_close();
}
END_TEST

/* LATER is what was tried for long enough, or a guest that writes faster than the copy. */
START_TEST(what_no_other_try_would_change_is_not_tried_again)
{
	static const int codes[] = {BLOCKMIG_ERROR_UNKNOWN, BLOCKMIG_ERROR_LATER};

	open_failing("d", codes[_i], 2);
	script_expect(runner_run, 3, "+a+b+c+d", JOB_OPEN);
	script_close();
}
END_TEST

START_TEST(a_suspended_guest_waits_for_another_try)
{
	open_failing("d", BLOCKMIG_ERROR_TRANSIENT, 2);
	move->job->suspended = TRUE;
	script_expect(runner_run, 0, "+a+b+c+d+d+d", JOB_DONE);
	script_close();
}
END_TEST

START_TEST(what_the_world_has_after_all_is_not_tried_again)
{
	open_failing("b", BLOCKMIG_ERROR_TRANSIENT, 0);
	script.done_when_run = TRUE;
	script_expect(runner_run, 0, "+a+b+c+d", JOB_DONE);
	script_close();
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
		script_expect(runner_run, 0, "+a+b+c+d+d+d+d", JOB_DONE);
	else
		script_expect(runner_run, 3, "+a+b+c+d+d", JOB_OPEN);
	script_close();
}
END_TEST

START_TEST(a_stop_ends_the_patience)
{
	open_failing("d", BLOCKMIG_ERROR_TRANSIENT, 2);
	script.stop = "d";
	script_expect(runner_run, 3, "+a+b+c+d", JOB_OPEN);
	script_close();
}
END_TEST

/* ---- a ledger that takes nothing ------------------------------------------------------------- */

START_TEST(a_phase_that_cannot_be_written_down_is_run_again)
{
	g_autofree char *name = name_of(_i);

	script_open();
	script.full = name;
	script_expect(runner_run, 3, forward[_i], JOB_OPEN);
	disturb_clear();
	script.full = NULL;
	script_expect(runner_run, 0, rest[_i], JOB_DONE);
	script_close();
}
END_TEST

START_TEST(a_job_that_the_ledger_does_not_have_is_an_error)
{
	g_autoptr(GError) error = NULL;

	script_open();
	gint64 id = move->job->id;

	move->job->id = id + 1;
	ck_assert(!runner_run(move, script_table, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_NOT_FOUND));
	g_clear_error(&error);
	ck_assert(!runner_abort(move, script_table, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_NOT_FOUND));
	ck_assert_str_eq(script.steps->str, "");
	move->job->id = id;
	script_close();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("runner");
	TCase *phases = tcase_create("phases");

	tcase_add_test(phases, phases_run_in_order_and_are_written_down);
	tcase_add_test(phases, what_the_world_has_already_is_not_done_again);
	tcase_add_loop_test(phases,
			    what_is_found_done_and_cannot_be_written_down_is_looked_at_again, 0, 2);
	tcase_add_test(phases, each_step_is_told_when_it_begins_and_when_it_ends);
	tcase_add_test(phases, nobody_has_to_be_told);
	tcase_add_loop_test(phases, the_time_line_tells_how_each_step_ended, 0, 2);
	tcase_add_test(phases, a_world_that_does_not_answer_holds_the_job);
	tcase_add_test(phases, a_stop_ends_between_two_phases);
	tcase_add_loop_test(phases, a_refusal_undoes_in_reverse, 0, 4);
	tcase_add_loop_test(phases, wrong_data_undoes_and_tells_so, 0, 4);
	tcase_add_loop_test(phases, what_may_pass_is_held_and_resumed_at_its_phase, 0, 4);
	tcase_add_loop_test(phases, what_may_pass_is_undone_where_asked, 0, 4);
	tcase_add_loop_test(phases, what_a_person_must_decide_is_held, 0, 3);
	tcase_add_test(phases, a_way_back_that_is_barred_is_carried_on);
	tcase_add_test(phases, a_way_back_that_ended_between_two_steps_is_carried_on);
	tcase_add_loop_test(phases, an_abort_keeps_the_partial_copy_where_asked, 0, 3);
	tcase_add_test(phases, an_abort_that_cannot_be_written_down_undoes_nothing);
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
