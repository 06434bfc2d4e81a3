/*
 * Aborts of moves that were cut off around the cutover: the guest is suspended, on the
 * destination, or its memory is in a file.  It goes back as long as it cannot have written
 * anything at the destination, and else forward.
 */
#include "common/error.h"
#include "tests/faked/disturb.h"
#include "tests/faked/refusal.h"
#include "tests/faked/undos.h"

#include <check.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

static void refuse(const char *call, int code)
{
	fake_fault(&(struct fake_fault){.call = call, .code = code});
}

/* ---- suspended ----------------------------------------------------------------------------- */

START_TEST(a_suspended_guest_that_cannot_be_resumed_is_resumed_by_the_next_abort)
{
	undos_die("pivot", FAKE_BEFORE, RUN_RUNNING);
	fake_fault(&(struct fake_fault){.call = "resume", .code = BLOCKMIG_ERROR_TRANSIENT});
	undos_held("undoing: cutover|resume: a fault before it");
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_PAUSED);
	undos_done(RUN_RUNNING);
}
END_TEST

static void truncate_destination(void *data)
{
	g_autofree char *path = fake_path("dst/disk.raw");

	(void)data;
	ck_assert_int_eq(truncate(path, 0), 0);
}

START_TEST(a_guest_whose_memory_is_in_a_file_is_woken_by_an_abort)
{
	moves_open_running();
	scene.options.retry_for_ms = 0;
	moves_at("pivot", 1, FAKE_AFTER, truncate_destination, NULL);
	fake_fault(&(struct fake_fault){
		.call = "restore", .nth = 1, .code = BLOCKMIG_ERROR_TRANSIENT});
	moves_fails(3);
	scene_new_process(&scene);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_OFF);
	fake_fault(&(struct fake_fault){.call = "restore", .code = BLOCKMIG_ERROR_TRANSIENT});
	undos_fails(3, "undoing: cutover|the guest's memory is saved in|.save|a fault before it");
	undos_done(RUN_RUNNING);
}
END_TEST

START_TEST(a_graft_that_is_refused_is_made_by_the_next_abort)
{
	undos_die("pivot", FAKE_AFTER, RUN_RUNNING);
	refuse("snapshot", BLOCKMIG_ERROR_TRANSIENT);
	undos_held("undoing: cutover|snapshot: a fault before it");
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_PAUSED);
	undos_done(RUN_RUNNING);
}
END_TEST

/* Where a graft would not hide all; that it was not even begun shows in where the guest is. */
START_TEST(a_save_that_is_refused_leaves_the_guest_to_the_next_abort)
{
	undos_die("pivot", FAKE_AFTER, RUN_RUNNING);
	refuse("hides", BLOCKMIG_ERROR_INTEGRITY);
	refuse("save", BLOCKMIG_ERROR_TRANSIENT);
	undos_held("undoing: cutover|save: a fault before it");
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_PAUSED);
	undos_done(RUN_RUNNING);
}
END_TEST

/* ---- off, on the destination --------------------------------------------------------------- */

static void reset_after_the_pivot(void)
{
	undos_die("compare", FAKE_BEFORE, RUN_RUNNING);
	fake_off(FAKE_UUID);
}

START_TEST(a_step_back_from_the_destination_that_fails_is_made_by_the_next_abort)
{
	static const char *const calls[] = {"compare", "define"};
	g_autofree char *words =
		g_strdup_printf("undoing: cutover|%s: a fault before it", calls[_i]);

	reset_after_the_pivot();
	refuse(calls[_i], BLOCKMIG_ERROR_TRANSIENT);
	undos_held(words);
	undos_done(RUN_OFF);
}
END_TEST

static void fill_ledger(void)
{
	disturb_ledger(SQLITE_FULL);
}

static void fill_ledger_at_call(void *data)
{
	(void)data;
	fill_ledger();
}

START_TEST(a_step_back_from_the_destination_that_is_not_written_down_is_made_again)
{
	reset_after_the_pivot();
	moves_at("define", 1, FAKE_AFTER, fill_ledger_at_call, NULL);
	undos_held("undoing: cutover|disk is full");
	undos_done(RUN_OFF);
}
END_TEST

static void abort_goes_forward(enum domain_run run)
{
	g_autoptr(GError) error = NULL;

	ck_assert(!scene_abort(&scene, &error));
	ck_assert_int_eq(error_exit_status(error), 5);
	refusal_assert_words(error->message, "job 1 is past its commit point|/dst/disk.raw");
	scene_assert_moved(&scene, "raw");
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), run);
	scene_close(&scene);
}

START_TEST(a_guest_that_ran_on_the_destination_and_is_off_is_not_put_back)
{
	reset_after_the_pivot();
	ck_assert(fake_start(FAKE_UUID));
	scene_write(&scene, 5, 2, 0x77);
	fake_off(FAKE_UUID);
	undos_fails(5, "vda: the guest is off, and its XML names the destination|virsh start web");
	ck_assert(fake_start(FAKE_UUID));
	abort_goes_forward(RUN_RUNNING);
}
END_TEST

static void start(void)
{
	ck_assert(fake_start(FAKE_UUID));
	scene_write(&scene, 5, 2, 0x77);
}

/* Moved while it was off: whoever started it since, it has its disk there. */
START_TEST(a_guest_that_was_moved_while_it_was_off_is_not_put_back)
{
	static const enum domain_run runs[] = {RUN_OFF, RUN_RUNNING, RUN_PAUSED};

	undos_open(&(struct undos_death){"define", FAKE_AFTER, RUN_OFF, 2});
	undos_killed();
	if (runs[_i] != RUN_OFF)
		start();
	if (runs[_i] == RUN_PAUSED)
		fake_pause(FAKE_UUID);
	abort_goes_forward(runs[_i]);
}
END_TEST

START_TEST(a_ledger_without_room_does_not_put_back_what_is_on_the_destination)
{
	undos_open(&(struct undos_death){"define", FAKE_AFTER, RUN_OFF, 2});
	undos_killed();
	undos_at("cutover", fill_ledger);
	undos_fails(5, "disk is full|the guest runs on the destination already");
	disturb_clear();
	abort_goes_forward(RUN_OFF);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move undo cutover");
	TCase *cutover = tcase_create("cutover");

	tcase_add_test(cutover,
		       a_suspended_guest_that_cannot_be_resumed_is_resumed_by_the_next_abort);
	tcase_add_test(cutover, a_guest_whose_memory_is_in_a_file_is_woken_by_an_abort);
	tcase_add_test(cutover, a_graft_that_is_refused_is_made_by_the_next_abort);
	tcase_add_test(cutover, a_save_that_is_refused_leaves_the_guest_to_the_next_abort);
	tcase_add_loop_test(cutover,
			    a_step_back_from_the_destination_that_fails_is_made_by_the_next_abort,
			    0, 2);
	tcase_add_test(cutover,
		       a_step_back_from_the_destination_that_is_not_written_down_is_made_again);
	tcase_add_test(cutover, a_guest_that_ran_on_the_destination_and_is_off_is_not_put_back);
	tcase_add_loop_test(cutover, a_guest_that_was_moved_while_it_was_off_is_not_put_back, 0, 3);
	tcase_add_test(cutover, a_ledger_without_room_does_not_put_back_what_is_on_the_destination);
	suite_add_tcase(suite, cutover);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
