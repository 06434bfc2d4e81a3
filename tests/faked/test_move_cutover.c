/* Cutovers that are cut off: resets of the host, a guest that wrote on in a hold, downtime. */
#include "common/error.h"
#include "common/units.h"
#include "tests/faked/moves.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* The host is reset between the pivot and the commit point. */
static void reset_after_the_pivot(void)
{
	moves_open_running();
	moves_write_in_between();
	fake_fault(&(struct fake_fault){.call = "compare", .code = FAKE_KILL});
	ck_assert_int_eq(scene_apart(&scene, scene_move), SCENE_KILLED);
	fake_off(FAKE_UUID);
}

static void assert_guarantee(const char *words)
{
	AUTO(job) job = scene_job(&scene);

	ck_assert_msg(words ? job->guarantee && strstr(job->guarantee, words) : !job->guarantee,
		      "the guarantee is %s", job->guarantee);
}

START_TEST(after_a_reset_equal_overlays_prove_the_destination)
{
	reset_after_the_pivot();
	moves_resume_done();
	scene_assert_moved(&scene, "raw");
	assert_guarantee(NULL);
	scene_close(&scene);
}
END_TEST

START_TEST(after_a_reset_equal_overlays_let_the_guest_go_back)
{
	reset_after_the_pivot();
	moves_abort_done();
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

/* As by an autostart: nobody can tell any more what was mirrored. */
START_TEST(after_a_reset_a_guest_that_runs_again_is_not_called_proven)
{
	reset_after_the_pivot();
	ck_assert(fake_start(FAKE_UUID));
	scene_write(&scene, 5, 2, 0x77);
	moves_resume_done();
	scene_assert_moved(&scene, "raw");
	assert_guarantee("was not compared");
	scene_close(&scene);
}
END_TEST

START_TEST(after_a_reset_overlays_that_differ_need_a_person)
{
	g_autoptr(GError) error = NULL;

	reset_after_the_pivot();
	ck_assert(fake_start(FAKE_UUID));
	scene_write(&scene, 5, 2, 0x77);
	fake_off(FAKE_UUID);
	ck_assert(!scene_resume(&scene, &error));
	ck_assert_int_eq(error_exit_status(error), 5);
	ck_assert(fake_start(FAKE_UUID));
	moves_resume_done();
	scene_assert_moved(&scene, "raw");
	assert_guarantee("was not the source's any more");
	scene_close(&scene);
}
END_TEST

/* ---- a wrong mirror, and a guest that ends on it ---------------------------------------- */

/* It ends when it is known that the mirror is wrong, or before; so do we. */
static void end_on_a_wrong_mirror(const char *call)
{
	moves_open_running();
	moves_write_in_between();
	fake_corrupt_mirror();
	fake_fault(&(struct fake_fault){.call = call, .code = FAKE_KILL});
	ck_assert_int_eq(scene_apart(&scene, scene_move), SCENE_KILLED);
	fake_off(FAKE_UUID);
}

START_TEST(a_guest_that_never_ran_on_the_wrong_mirror_goes_home_by_itself)
{
	end_on_a_wrong_mirror("hides");
	if (_i) {
		moves_abort_done();
	} else {
		g_autoptr(GError) error = NULL;

		ck_assert(!scene_resume(&scene, &error));
		ck_assert_int_eq(error_exit_status(error), 4);
		ck_assert_int_eq(scene_result(&scene), JOB_ROLLED_BACK);
	}
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

static void resume_asks_a_person(GError **error)
{
	g_autofree char *before = fake_domain_xml(FAKE_UUID, TRUE);

	ck_assert(!scene_resume(&scene, error));
	ck_assert_int_eq(error_exit_status(*error), 5);
	g_autofree char *after = fake_domain_xml(FAKE_UUID, TRUE);

	ck_assert_str_eq(before, after);
}

START_TEST(a_guest_that_ran_on_the_wrong_mirror_is_for_a_person)
{
	g_autoptr(GError) error = NULL;

	end_on_a_wrong_mirror("hides");
	ck_assert(fake_start(FAKE_UUID));
	fake_guest_write(FAKE_UUID, 0, FAKE_CLUSTER, 0x77);
	fake_off(FAKE_UUID);
	resume_asks_a_person(&error);
	ck_assert_ptr_nonnull(strstr(error->message, "virsh start web"));
	scene_close(&scene);
}
END_TEST

/* The command that the message names, and whose file it has. */
static void define_as_told(const GError *error)
{
	const char *path = error ? strstr(error->message, "virsh define ") : NULL;
	g_autofree char *xml = NULL;

	ck_assert_msg(path != NULL, "%s", error ? error->message : "it succeeded");
	path += strlen("virsh define ");
	g_autofree char *file = g_strndup(path, strcspn(path, ","));

	ck_assert(g_file_get_contents(file, &xml, NULL, NULL));
	ck_assert(session_define(scene.session, xml, NULL));
}

/* The log of the domain had no start of it. */
START_TEST(a_person_may_say_that_the_source_is_right)
{
	g_autoptr(GError) error = NULL;

	end_on_a_wrong_mirror("compare");
	resume_asks_a_person(&error);
	define_as_told(error);
	if (_i) {
		moves_abort_done();
		scene_assert_home(&scene);
	} else {
		moves_resume_done();
		scene_assert_moved(&scene, "raw");
		assert_guarantee(NULL);
	}
	scene_close(&scene);
}
END_TEST

static void corrupt_again(void *data)
{
	(void)data;
	fake_corrupt_mirror();
}

/* Nothing was written to it: the guest goes home by what the message says. */
START_TEST(a_second_wrong_mirror_on_the_way_home_is_for_a_person)
{
	g_autoptr(GError) error = NULL, outcome = NULL;

	moves_open_running();
	moves_write_in_between();
	fake_corrupt_mirror();
	moves_at("block-copy", 2, FAKE_AFTER, corrupt_again, NULL);
	ck_assert(!scene_move(&scene, &error));
	ck_assert_int_eq(error_exit_status(error), 5);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_PAUSED);
	ck_assert_int_lt(fake_log_find("stand guard", -1), 0);
	scene_new_process(&scene);
	fake_off(FAKE_UUID);
	define_as_told(error);
	ck_assert(!scene_resume(&scene, &outcome));
	ck_assert_int_eq(scene_result(&scene), JOB_ROLLED_BACK);
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

/* ---- a hold -------------------------------------------------------------------------- */

/* More than the cutover's budget, twice. */
static void write_all(void)
{
	scene_write(&scene, 0, SCENE_BYTES / FAKE_CLUSTER, 0x42);
}

START_TEST(what_a_guest_wrote_in_a_hold_is_copied_before_it_is_suspended)
{
	static const char *const calls[] = {"block-copy", "suspend"};
	int again;

	moves_open(&moves_shapes[_i / 2], RUN_RUNNING);
	scene.options.max_downtime_ms = 1;
	fake_fault(&(struct fake_fault){
		.call = calls[_i % 2], .lasting = TRUE, .code = BLOCKMIG_ERROR_TRANSIENT});
	moves_fails(3);
	scene_new_process(&scene);
	write_all();
	fake_log_clear();
	moves_resume_done();
	again = fake_log_find("snapshot", -1);
	ck_assert_int_ge(again, 0);
	ck_assert_int_lt(again, fake_log_find("suspend", -1));
	scene_assert_moved(&scene, moves_shapes[_i / 2].gets);
	scene_close(&scene);
}
END_TEST

/* ---- downtime ------------------------------------------------------------------------ */

static gint64 downtime_ms(void)
{
	AUTO(job) job = scene_job(&scene);

	return job->downtime_ms;
}

static void take_a_while(void *data)
{
	(void)data;
	g_usleep(20 * 1000);
}

START_TEST(the_time_that_a_guest_stood_still_is_told_whatever_came_of_it)
{
	moves_open(&moves_shapes[_i / 2], RUN_RUNNING);
	moves_at("suspend", 1, FAKE_AFTER, take_a_while, NULL);
	if (_i % 2)
		fake_corrupt_mirror();
	if (_i % 2)
		moves_fails(4);
	else
		moves_done();
	ck_assert_int_ge(downtime_ms(), 20);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_that_was_not_suspended_has_no_downtime)
{
	moves_open(&moves_shapes[0], _i ? RUN_OFF : RUN_PAUSED);
	moves_done();
	ck_assert_int_eq(downtime_ms(), -1);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_that_is_left_suspended_is_told)
{
	moves_open_running();
	fake_fault(&(struct fake_fault){.call = "pivot", .code = BLOCKMIG_ERROR_UNKNOWN});
	moves_fails(5);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_PAUSED);
	ck_assert_ptr_nonnull(strstr(scene.warnings->str, "stands still; process 1 carries on"));
	ck_assert_int_ge(fake_log_find("stand guard", -1), 0);
	scene_new_process(&scene);
	moves_resume_done();
	scene_assert_moved(&scene, "raw");
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move cutover");
	TCase *cutover = tcase_create("cutover");

	tcase_add_test(cutover, after_a_reset_equal_overlays_prove_the_destination);
	tcase_add_test(cutover, after_a_reset_equal_overlays_let_the_guest_go_back);
	tcase_add_test(cutover, after_a_reset_a_guest_that_runs_again_is_not_called_proven);
	tcase_add_test(cutover, after_a_reset_overlays_that_differ_need_a_person);
	tcase_add_loop_test(cutover, a_guest_that_never_ran_on_the_wrong_mirror_goes_home_by_itself,
			    0, 2);
	tcase_add_test(cutover, a_guest_that_ran_on_the_wrong_mirror_is_for_a_person);
	tcase_add_loop_test(cutover, a_person_may_say_that_the_source_is_right, 0, 2);
	tcase_add_test(cutover, a_second_wrong_mirror_on_the_way_home_is_for_a_person);
	tcase_add_loop_test(cutover, what_a_guest_wrote_in_a_hold_is_copied_before_it_is_suspended,
			    0, 2 * MOVES_SHAPES);
	tcase_add_loop_test(cutover, the_time_that_a_guest_stood_still_is_told_whatever_came_of_it,
			    0, 2 * MOVES_SHAPES);
	tcase_add_loop_test(cutover, a_guest_that_was_not_suspended_has_no_downtime, 0, 2);
	tcase_add_test(cutover, a_guest_that_is_left_suspended_is_told);
	suite_add_tcase(suite, cutover);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
