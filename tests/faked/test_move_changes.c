/* Guests that start and stop at any call of a move, there and back. */
#include "common/error.h"
#include "tests/faked/moves.h"

#include <check.h>
#include <stdlib.h>

static void shut_off(void *data)
{
	(void)data;
	if (fake_domain_run(FAKE_UUID) != RUN_OFF)
		fake_off(FAKE_UUID);
}

static void start(void *data)
{
	(void)data;
	if (fake_domain_run(FAKE_UUID) == RUN_OFF && fake_start(FAKE_UUID))
		scene_write(&scene, 60, 3, 0xa1);
}

/* The move may have to be resumed where the guest changed under it. */
static void finish(void)
{
	g_autoptr(GError) error = NULL;

	if (scene_move(&scene, &error))
		return;
	ck_assert_msg(error_exit_status(error) == 3 || error_exit_status(error) == 1, "exit %d: %s",
		      error_exit_status(error), error->message);
	scene_new_process(&scene);
	if (scene_result(&scene) == JOB_ROLLED_BACK) {
		scene_assert_home(&scene);
		moves_done();
	} else {
		moves_resume_done();
	}
}

static void at_call(int i, void (*hook)(void *))
{
	moves_at(NULL, (guint)i / 2 + 1, i % 2 ? FAKE_AFTER : FAKE_BEFORE, hook, NULL);
}

START_TEST(a_guest_may_be_shut_off_at_any_call)
{
	moves_open(moves_shape_of(_i), RUN_RUNNING);
	moves_at("snapshot", 1, FAKE_AFTER, moves_write_little, GUINT_TO_POINTER(0x22));
	at_call(_i, shut_off);
	finish();
	scene_assert_moved(&scene, moves_shape_of(_i)->gets);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_may_be_started_at_any_call)
{
	moves_open(moves_shape_of(_i), RUN_OFF);
	at_call(_i, start);
	finish();
	scene_assert_moved(&scene, moves_shape_of(_i)->gets);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_may_be_started_and_stopped_at_any_call)
{
	moves_open(moves_shape_of(_i), RUN_OFF);
	at_call(_i, moves_start_and_stop);
	finish();
	scene_assert_moved(&scene, moves_shape_of(_i)->gets);
	scene_close(&scene);
}
END_TEST

/* ---- the way back ---------------------------------------------------------------------------- */

START_TEST(a_guest_may_be_shut_off_at_any_call_of_an_abort)
{
	g_autoptr(GError) error = NULL;

	moves_hold_late(_i, RUN_RUNNING);
	at_call(_i, shut_off);
	if (!scene_abort(&scene, &error)) {
		scene_new_process(&scene);
		moves_abort_done();
	}
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_may_be_started_at_any_call_of_an_abort)
{
	g_autoptr(GError) error = NULL;

	moves_hold_late(_i, RUN_OFF);
	at_call(_i, start);
	if (!scene_abort(&scene, &error)) {
		scene_new_process(&scene);
		moves_abort_done();
	}
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move changes");
	TCase *changes = tcase_create("changes");
	const int calls_count = 2 * MOVES_CALLS_MOST;

	tcase_add_loop_test(changes, a_guest_may_be_shut_off_at_any_call, 0, calls_count);
	tcase_add_loop_test(changes, a_guest_may_be_started_at_any_call, 0, calls_count);
	tcase_add_loop_test(changes, a_guest_may_be_started_and_stopped_at_any_call, 0,
			    calls_count);
	tcase_add_loop_test(changes, a_guest_may_be_shut_off_at_any_call_of_an_abort, 0,
			    2 * MOVES_CALLS_BACK_MOST);
	tcase_add_loop_test(changes, a_guest_may_be_started_at_any_call_of_an_abort, 0,
			    2 * MOVES_CALLS_BACK_MOST);
	suite_add_tcase(suite, changes);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
