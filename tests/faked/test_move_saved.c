/*
 * Guests whose memory goes to a managed save image at any call of a move, as when their host
 * goes down: it wins over the XML at the next start, and has to lead to the right disk.
 */
#include "common/error.h"
#include "tests/faked/moves.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* No move or abort of these makes more calls. */
enum { CALLS_MOST = 30 };

static void save(void *data)
{
	(void)data;
	fake_managed_save(FAKE_UUID);
}

static void wake(void *data)
{
	(void)data;
	if (fake_domain_run(FAKE_UUID) == RUN_OFF && fake_start(FAKE_UUID) &&
	    fake_domain_run(FAKE_UUID) == RUN_RUNNING)
		scene_write(&scene, 90, 3, 0xc3);
}

static void save_and_wake(void *data)
{
	save(data);
	wake(data);
}

static void at_call(int i, void (*hook)(void *))
{
	moves_at(NULL, (guint)i + 1, i % 2 ? FAKE_AFTER : FAKE_BEFORE, hook, NULL);
}

static void open_running(int i)
{
	moves_open(&moves_shapes[i % MOVES_SHAPES], RUN_RUNNING);
	moves_at("snapshot", 1, FAKE_AFTER, moves_write_little, GUINT_TO_POINTER(0x22));
}

static void is_moved(int i)
{
	scene_assert_moved(&scene, moves_shapes[i % MOVES_SHAPES].gets);
}

/* What the guest wakes up on is what its XML says, and it runs as it did. */
static void wakes_up(void)
{
	if (fake_domain_run(FAKE_UUID) == RUN_OFF)
		ck_assert(fake_start(FAKE_UUID));
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
}

static void finish(int i)
{
	g_autoptr(GError) error = NULL;

	if (!scene_move(&scene, &error)) {
		ck_assert_msg(error_exit_status(error) == 3 || error_exit_status(error) == 1,
			      "exit %d: %s", error_exit_status(error), error->message);
		scene_new_process(&scene);
		if (scene_result(&scene) == JOB_ROLLED_BACK) {
			scene_assert_home(&scene);
			wakes_up();
			scene_assert_home(&scene);
			return;
		}
		moves_resume_done();
	}
	is_moved(i);
	wakes_up();
	is_moved(i);
}

START_TEST(a_guest_may_be_saved_at_any_call)
{
	open_running(_i);
	at_call(_i, save);
	finish(_i);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_may_be_saved_and_woken_at_any_call)
{
	open_running(_i);
	at_call(_i, save_and_wake);
	finish(_i);
	scene_close(&scene);
}
END_TEST

/* Saved at one call, woken at the next that has to do with where its disk is. */
START_TEST(a_guest_that_was_saved_may_be_woken_at_any_call)
{
	open_running(_i);
	moves_at("snapshot", 1, FAKE_AFTER, save, NULL);
	at_call(_i + 5, wake);
	finish(_i);
	scene_close(&scene);
}
END_TEST

/* A host that goes down: we are killed, the guest is saved. */
static gboolean dies_and_is_saved(int i)
{
	open_running(i);
	moves_disturb(i, FAKE_KILL);
	if (scene_apart(&scene, scene_move) != SCENE_KILLED)
		return FALSE;
	save(NULL);
	return TRUE;
}

START_TEST(a_move_whose_host_goes_down_is_resumed)
{
	if (dies_and_is_saved(_i)) {
		g_autoptr(GPtrArray) jobs = ledger_job_list(scene.ledger, TRUE, NULL);
		g_autoptr(GError) error = NULL;

		/* Before the freeze a guest that is saved is refused. */
		if (jobs->len && !scene_resume(&scene, &error)) {
			ck_assert_msg(error_exit_status(error) == 1, "%s", error->message);
			scene_assert_home(&scene);
			wakes_up();
			scene_close(&scene);
			return;
		}
		if (!jobs->len) {
			wakes_up();
			if (scene_result(&scene) != JOB_DONE)
				moves_done();
		}
	}
	is_moved(_i);
	wakes_up();
	is_moved(_i);
	scene_close(&scene);
}
END_TEST

START_TEST(a_move_whose_host_goes_down_is_aborted)
{
	g_autoptr(GError) error = NULL;

	if (!dies_and_is_saved(_i)) {
		is_moved(_i);
	} else if (scene_abort(&scene, &error)) {
		scene_assert_home(&scene);
		wakes_up();
		scene_assert_home(&scene);
	} else {
		ck_assert_msg(error_exit_status(error) == 5, "%s", error->message);
		moves_resume_done();
		is_moved(_i);
		wakes_up();
		is_moved(_i);
	}
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_may_be_saved_at_any_call_of_an_abort)
{
	g_autoptr(GError) error = NULL;

	moves_hold_late(_i, RUN_RUNNING);
	at_call(_i / 2, _i % 2 ? save_and_wake : save);
	if (!scene_abort(&scene, &error)) {
		scene_new_process(&scene);
		moves_abort_done();
	}
	scene_assert_home(&scene);
	wakes_up();
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

/* A saved image that cannot be rewritten would lead to the old disk: the job holds. */
START_TEST(a_saved_guest_whose_image_cannot_be_rewritten_holds_the_job)
{
	g_autoptr(GError) error = NULL;

	open_running(0);
	moves_at("snapshot", 1, FAKE_AFTER, save, NULL);
	fake_fault(&(struct fake_fault){
		.call = "saved-define", .lasting = TRUE, .code = BLOCKMIG_ERROR_PERMANENT});
	ck_assert(!scene_move(&scene, &error));
	ck_assert_msg(error_exit_status(error) == 3, "%s", error->message);
	ck_assert_ptr_nonnull(strstr(error->message, "managed save"));
	ck_assert_int_eq(scene_result(&scene), JOB_OPEN);
	scene_new_process(&scene);
	moves_abort_done();
	scene_assert_home(&scene);
	wakes_up();
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move saved");
	TCase *saved = tcase_create("saved");

	tcase_add_loop_test(saved, a_guest_may_be_saved_at_any_call, 0, CALLS_MOST);
	tcase_add_loop_test(saved, a_guest_may_be_saved_and_woken_at_any_call, 0, CALLS_MOST);
	tcase_add_loop_test(saved, a_guest_that_was_saved_may_be_woken_at_any_call, 0,
			    CALLS_MOST / 2);
	tcase_add_loop_test(saved, a_move_whose_host_goes_down_is_resumed, 0, 2 * CALLS_MOST);
	tcase_add_loop_test(saved, a_move_whose_host_goes_down_is_aborted, 0, 2 * CALLS_MOST);
	tcase_add_loop_test(saved, a_guest_may_be_saved_at_any_call_of_an_abort, 0, CALLS_MOST);
	tcase_add_test(saved, a_saved_guest_whose_image_cannot_be_rewritten_holds_the_job);
	suite_add_tcase(suite, saved);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
