/* Moves that fail on the way: calls refused, for now or for good, a wrong mirror, a rival. */
#include "common/error.h"
#include "common/stop.h"
#include "tests/faked/disturb.h"
#include "tests/faked/moves.h"

#include <check.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const faulty[] = {"metadata",   "qemu-io", "create-overlay", "snapshot",
				     "block-copy", "guard",   "suspend",	"pivot"};

static void open_faulty(int i, int code)
{
	moves_open_running();
	moves_at("snapshot", 1, FAKE_AFTER, moves_write_little, GUINT_TO_POINTER(0x22));
	fake_fault(&(struct fake_fault){
		.call = faulty[i / 2], .when = i % 2 ? FAKE_AFTER : FAKE_BEFORE, .code = code});
}

START_TEST(a_refusal_before_the_commit_point_rolls_back)
{
	g_autoptr(GError) error = NULL;

	open_faulty(_i, BLOCKMIG_ERROR_PERMANENT);
	if (scene_move(&scene, &error)) {
		scene_assert_moved(&scene, "raw");
	} else {
		ck_assert_int_eq(error_exit_status(error), 1);
		ck_assert_int_eq(scene_result(&scene), JOB_ROLLED_BACK);
		scene_assert_home(&scene);
	}
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

/*
 * A ledger that cannot be read is not one that has nothing: no layout without data, no chunk
 * that is not hashed again.  Nothing but the error may come of it.
 */
static gboolean fails_at_look(const struct moves_shape *shape, guint nth)
{
	g_autoptr(GError) error = NULL;

	moves_open(shape, RUN_RUNNING);
	moves_at("snapshot", 1, FAKE_AFTER, moves_write_little, GUINT_TO_POINTER(0x22));
	disturb_clear();
	disturb_ledger_look(nth);
	gboolean good = scene_move(&scene, &error);
	gboolean met = disturb_met() > 0;

	ck_assert_int_eq(good, !met);
	disturb_clear();
	if (met && scene_result(&scene) == JOB_OPEN)
		moves_resume_done();
	else if (met)
		scene_assert_home(&scene);
	if (good || scene_result(&scene) == JOB_DONE)
		scene_assert_moved(&scene, shape->gets);
	scene_close(&scene);
	return met;
}

START_TEST(a_look_into_the_ledger_that_fails_ends_the_move)
{
	guint nth = 1;

	while (fails_at_look(&moves_shapes[_i], nth))
		nth++;
	ck_assert_uint_gt(nth, 3);
}
END_TEST

/* Whether there is a copy to remove, or one to keep, is not known then. */
static gboolean undo_fails_at_look(guint nth)
{
	g_autoptr(GError) error = NULL;

	moves_open_running();
	fake_fault(&(struct fake_fault){.call = "suspend", .code = BLOCKMIG_ERROR_PERMANENT});
	disturb_clear();
	disturb_ledger_look(nth);
	ck_assert(!scene_move(&scene, &error));
	g_clear_error(&error);
	gboolean met = disturb_met() > 0;

	disturb_clear();
	if (scene_result(&scene) == JOB_OPEN) {
		ck_assert(!scene_resume(&scene, &error));
		ck_assert_int_eq(error_exit_status(error), 1);
	}
	ck_assert_int_eq(scene_result(&scene), JOB_ROLLED_BACK);
	scene_assert_home(&scene);
	scene_close(&scene);
	return met;
}

START_TEST(a_look_that_fails_on_the_way_back_is_made_again)
{
	guint nth = 1;

	while (undo_fails_at_look(nth))
		nth++;
	ck_assert_uint_gt(nth, 2);
}
END_TEST

START_TEST(a_fault_that_passes_is_held_and_the_same_command_carries_on)
{
	g_autoptr(GError) error = NULL;

	open_faulty(_i, BLOCKMIG_ERROR_TRANSIENT);
	if (!scene_move(&scene, &error)) {
		ck_assert_msg(error_exit_status(error) == 3, "%s", error->message);
		ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
		scene_new_process(&scene);
		moves_done();
	}
	scene_assert_moved(&scene, "raw");
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(a_call_of_unknown_outcome_is_looked_into)
{
	g_autoptr(GError) error = NULL;

	open_faulty(_i, BLOCKMIG_ERROR_UNKNOWN);
	if (!scene_move(&scene, &error)) {
		scene_new_process(&scene);
		moves_resume_done();
	}
	scene_assert_moved(&scene, "raw");
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(an_abort_of_a_held_job_puts_everything_back)
{
	g_autoptr(GError) error = NULL;

	open_faulty(_i, BLOCKMIG_ERROR_TRANSIENT);
	if (!scene_move(&scene, &error)) {
		g_autoptr(GError) problem = NULL;

		scene_new_process(&scene);
		ck_assert_msg(scene_abort(&scene, &problem), "%s", problem ? problem->message : "");
		scene_assert_home(&scene);
	}
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(an_abort_of_a_cold_job_puts_everything_back)
{
	g_autoptr(GError) error = NULL;

	moves_open(&moves_shapes[_i], RUN_OFF);
	scene.options.retry_for_ms = 0;
	moves_at("define", 1, FAKE_AFTER, moves_start_and_stop, NULL);
	fake_fault(
		&(struct fake_fault){.call = "define", .nth = 2, .code = BLOCKMIG_ERROR_TRANSIENT});
	ck_assert(!scene_move(&scene, &error));
	scene_new_process(&scene);
	g_clear_error(&error);
	ck_assert_msg(scene_abort(&scene, &error), "%s", error ? error->message : "");
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

static void stop_move(void *data)
{
	(void)data;
	stop_request();
}

START_TEST(a_stop_holds_the_job)
{
	moves_open_running();
	moves_at("snapshot", 1, FAKE_AFTER, stop_move, NULL);
	moves_fails(3);
	scene_new_process(&scene);
	moves_resume_done();
	scene_assert_moved(&scene, "raw");
	scene_close(&scene);
}
END_TEST

/* ---- the way back, disturbed ----------------------------------------------------------------- */

START_TEST(an_abort_that_fails_is_finished_by_another)
{
	g_autoptr(GError) error = NULL;
	enum domain_run run = _i / 2 / MOVES_CALLS_BACK_MOST ? RUN_OFF : RUN_RUNNING;

	moves_hold_late(_i, run);
	moves_disturb(_i % (2 * MOVES_CALLS_BACK_MOST), BLOCKMIG_ERROR_UNKNOWN);
	if (!scene_abort(&scene, &error)) {
		ck_assert_msg(error_exit_status(error) == 3, "%s", error->message);
		scene_new_process(&scene);
		moves_abort_done();
	}
	scene_assert_home(&scene);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), run);
	scene_close(&scene);
}
END_TEST

/* ---- the way forward, disturbed -------------------------------------------------------------- */

START_TEST(a_fault_behind_the_commit_point_is_finished_by_resume)
{
	static const char *const calls[] = {"resume", "block-commit", "pivot-commit", "metadata",
					    "define"};
	static const int codes[] = {BLOCKMIG_ERROR_TRANSIENT, BLOCKMIG_ERROR_UNKNOWN,
				    BLOCKMIG_ERROR_PERMANENT};
	g_autoptr(GError) error = NULL;
	int which = _i / 2 % 5;

	moves_open(&moves_shapes[_i % 4], RUN_RUNNING);
	moves_write_in_between();
	fake_fault(&(struct fake_fault){.call = calls[which],
					.nth = which == 3 ? 5 : 1,
					.when = _i % 2 ? FAKE_AFTER : FAKE_BEFORE,
					.code = codes[_i / 10]});
	if (!scene_move(&scene, &error)) {
		ck_assert_msg(error_exit_status(error) == 3 || error_exit_status(error) == 5, "%s",
			      error->message);
		scene_new_process(&scene);
		moves_resume_done();
	}
	scene_assert_moved(&scene, moves_shapes[_i % 4].gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

/* ---- a wrong mirror, a destination that is gone ---------------------------------------------- */

START_TEST(a_wrong_mirror_brings_the_guest_home)
{
	moves_open(&moves_shapes[_i], RUN_RUNNING);
	moves_write_in_between();
	fake_corrupt_mirror();
	moves_fails(4);
	scene_assert_home(&scene);
	ck_assert_int_eq(scene_result(&scene), JOB_ROLLED_BACK);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

static void truncate_destination(void *data)
{
	g_autofree char *path = fake_path("dst/disk.raw");

	(void)data;
	ck_assert_int_eq(truncate(path, 0), 0);
}

START_TEST(a_destination_that_is_gone_after_the_pivot_wakes_the_guest_on_its_source)
{
	moves_open_running();
	moves_at("snapshot", 1, FAKE_AFTER, moves_write_little, GUINT_TO_POINTER(0x22));
	moves_at("pivot", 1, FAKE_AFTER, truncate_destination, NULL);
	moves_fails(1);
	ck_assert_int_ge(fake_log_find("restore", fake_log_find("save", -1)), 0);
	scene_assert_home(&scene);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

/* Between the pivot and the commit point, then the guest runs where it is. */
START_TEST(a_guest_that_ran_on_the_destination_is_not_put_back)
{
	g_autoptr(GError) error = NULL;

	moves_open_running();
	fake_fault(&(struct fake_fault){.call = "compare", .code = FAKE_KILL});
	ck_assert_int_eq(scene_apart(&scene, scene_move), SCENE_KILLED);
	fake_unpause(FAKE_UUID);
	scene_write(&scene, 5, 2, 0x77);
	ck_assert(!scene_abort(&scene, &error));
	ck_assert_int_eq(error_exit_status(error), 5);
	moves_resume_done();
	scene_assert_moved(&scene, "raw");
	scene_close(&scene);
}
END_TEST

/* ---- two at once ----------------------------------------------------------------------------- */

/* What another process gets that moves the same disk, to @to. */
static void move_elsewhere(void *to)
{
	int status;
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		g_autofree char *state = fake_path("state");
		g_autoptr(GError) error = NULL;
		struct move_summary *summary = NULL;

		scene.context.ledger = ledger_open(state, NULL);
		move_start(&scene.context, "web", "vda", to, &summary, &error);
		_exit(error_exit_status(error));
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(WEXITSTATUS(status), 75);
}

START_TEST(a_second_start_of_the_same_move_is_busy)
{
	moves_open_running();
	moves_at("snapshot", 1, FAKE_AFTER, move_elsewhere, scene.to);
	moves_done();
	scene_assert_moved(&scene, "raw");
	scene_close(&scene);
}
END_TEST

START_TEST(a_second_start_to_another_place_is_busy)
{
	moves_open_running();
	moves_at("snapshot", 1, FAKE_AFTER, move_elsewhere, (void *)"/elsewhere/");
	moves_done();
	scene_assert_moved(&scene, "raw");
	scene_close(&scene);
}
END_TEST

START_TEST(another_jobs_element_is_respected)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *foreign = xml_metadata(99, "vda", "somebody-elses-nonce", "/a", "/b", "");

	moves_open_running();
	ck_assert(session_metadata_set(scene.session, FAKE_UUID, foreign, TRUE, TRUE, NULL));
	g_autofree char *before = fake_domain_xml(FAKE_UUID, TRUE);

	moves_fails(75);
	ck_assert(scene_abort(&scene, &error));
	g_autofree char *after = fake_domain_xml(FAKE_UUID, TRUE);

	ck_assert_str_eq(before, after);
	scene_close(&scene);
}
END_TEST

static void put_a_file(void *path)
{
	g_autofree char *text = g_strnfill(2 << 20, 'x');

	ck_assert(g_file_set_contents(path, text, 2 << 20, NULL));
}

START_TEST(a_file_that_appears_at_the_destination_is_left_alone)
{
	g_autofree char *path = NULL;

	moves_open_running();
	path = fake_path("dst/disk.raw");
	moves_at("metadata", 1, FAKE_AFTER, put_a_file, path);
	moves_fails(1);
	ck_assert(g_file_test(path, G_FILE_TEST_EXISTS));
	unlink(path);
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move faults");
	TCase *faults = tcase_create("faults");
	const int faults_count = 2 * (int)G_N_ELEMENTS(faulty);

	tcase_add_test(faults, a_look_that_fails_on_the_way_back_is_made_again);
	tcase_add_loop_test(faults, a_look_into_the_ledger_that_fails_ends_the_move, 0,
			    MOVES_SHAPES);
	tcase_add_loop_test(faults, a_refusal_before_the_commit_point_rolls_back, 0, faults_count);
	tcase_add_loop_test(faults, a_fault_that_passes_is_held_and_the_same_command_carries_on, 0,
			    faults_count);
	tcase_add_loop_test(faults, a_call_of_unknown_outcome_is_looked_into, 0, faults_count);
	tcase_add_loop_test(faults, an_abort_of_a_held_job_puts_everything_back, 0, faults_count);
	tcase_add_loop_test(faults, an_abort_that_fails_is_finished_by_another, 0,
			    4 * MOVES_CALLS_BACK_MOST);
	tcase_add_loop_test(faults, a_fault_behind_the_commit_point_is_finished_by_resume, 0, 30);
	tcase_add_loop_test(faults, an_abort_of_a_cold_job_puts_everything_back, 0, 4);
	tcase_add_test(faults, a_stop_holds_the_job);
	tcase_add_loop_test(faults, a_wrong_mirror_brings_the_guest_home, 0, 4);
	tcase_add_test(faults,
		       a_destination_that_is_gone_after_the_pivot_wakes_the_guest_on_its_source);
	tcase_add_test(faults, a_second_start_of_the_same_move_is_busy);
	tcase_add_test(faults, a_second_start_to_another_place_is_busy);
	tcase_add_test(faults, another_jobs_element_is_respected);
	tcase_add_test(faults, a_file_that_appears_at_the_destination_is_left_alone);
	tcase_add_test(faults, a_guest_that_ran_on_the_destination_is_not_put_back);
	suite_add_tcase(suite, faults);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
