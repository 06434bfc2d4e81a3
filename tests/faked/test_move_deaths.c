/* Our own death at any call of a move, and what abort makes of it; resume: test_move_steps.c. */
#include "common/error.h"
#include "tests/faked/moves.h"

#include <check.h>
#include <stdlib.h>

/* Aborted, or finished where it was too late for that. */
static void abort_after_death(const char *gets)
{
	g_autoptr(GError) error = NULL;

	if (scene_apart(&scene, scene_move) != SCENE_KILLED) {
		scene_assert_moved(&scene, gets);
	} else if (scene_abort(&scene, &error)) {
		scene_assert_home(&scene);
	} else {
		ck_assert_msg(error_exit_status(error) == 5, "%s", error->message);
		moves_resume_done();
		scene_assert_moved(&scene, gets);
	}
}

START_TEST(a_live_move_that_is_killed_is_aborted)
{
	moves_open(moves_shape_of(_i), RUN_RUNNING);
	moves_write_in_between();
	moves_disturb(_i, FAKE_KILL);
	abort_after_death(moves_shape_of(_i)->gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(a_cold_move_that_is_killed_is_aborted)
{
	moves_open(moves_shape_of(_i), RUN_OFF);
	moves_disturb(_i, FAKE_KILL);
	abort_after_death(moves_shape_of(_i)->gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_OFF);
	scene_close(&scene);
}
END_TEST

/* ---- the way back ---------------------------------------------------------------------------- */

/* How many calls of the way there come before the wrong mirror is found out. */
enum { CALLS_THERE = 13, CALLS_HOME_MOST = 16 };

START_TEST(a_wrong_mirror_is_survived_wherever_we_die_on_the_way_home)
{
	g_autoptr(GError) error = NULL;
	int status;

	moves_open_running();
	moves_at("snapshot", 1, FAKE_AFTER, moves_write_little, GUINT_TO_POINTER(0x22));
	fake_corrupt_mirror();
	fake_fault(&(struct fake_fault){.nth = (guint)_i / 2 + 1 + CALLS_THERE,
					.when = _i % 2 ? FAKE_AFTER : FAKE_BEFORE,
					.code = FAKE_KILL});
	status = scene_apart(&scene, scene_move);
	if (status == SCENE_KILLED)
		ck_assert_msg(scene_abort(&scene, &error), "%s", error ? error->message : "");
	else
		ck_assert_int_eq(status, 4);
	scene_assert_home(&scene);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(an_abort_that_is_killed_is_finished_by_another)
{
	enum domain_run run = _i / 2 / MOVES_CALLS_BACK_MOST ? RUN_OFF : RUN_RUNNING;

	moves_hold_late(_i, run);
	moves_disturb(_i % (2 * MOVES_CALLS_BACK_MOST), FAKE_KILL);
	if (scene_apart(&scene, scene_abort) == SCENE_KILLED)
		moves_abort_done();
	scene_assert_home(&scene);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), run);
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move deaths");
	TCase *deaths = tcase_create("deaths");
	const int calls_count = 2 * MOVES_CALLS_MOST;

	tcase_add_loop_test(deaths, a_live_move_that_is_killed_is_aborted, 0, calls_count);
	tcase_add_loop_test(deaths, a_cold_move_that_is_killed_is_aborted, 0, calls_count);
	tcase_add_loop_test(deaths, a_wrong_mirror_is_survived_wherever_we_die_on_the_way_home, 0,
			    2 * CALLS_HOME_MOST);
	tcase_add_loop_test(deaths, an_abort_that_is_killed_is_finished_by_another, 0,
			    4 * MOVES_CALLS_BACK_MOST);
	suite_add_tcase(suite, deaths);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
