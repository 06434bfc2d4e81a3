/* The room that the guest's overlays need: watched, told, and a reason to go back. */
#include "blockmig/move/room.h"
#include "common/error.h"
#include "common/units.h"
#include "tests/faked/disturb.h"
#include "tests/faked/moves.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static void run_low(void *data)
{
	(void)data;
	disturb_room_left(17 * MiB);
}

static void assert_low_water(const GError *error)
{
	ck_assert_int_eq(error_exit_status(error), 1);
	ck_assert_ptr_nonnull(strstr(error->message, "low water"));
	ck_assert_ptr_nonnull(strstr(error->message, "rolled back"));
	ck_assert_int_eq(scene_result(&scene), JOB_ROLLED_BACK);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_assert_home(&scene);
}

/* What the guest wrote while it was frozen is more than the room for it. */
static void open_writing(void)
{
	moves_open_running();
	moves_write_in_between();
}

START_TEST(at_the_low_water_mark_a_move_goes_back)
{
	static const char *const calls[] = {"snapshot", "block-copy"};
	g_autoptr(GError) error = NULL;

	open_writing();
	moves_at(calls[_i], 1, FAKE_AFTER, run_low, NULL);
	ck_assert(!scene_move(&scene, &error));
	assert_low_water(error);
	ck_assert_int_eq(fake_log_find("suspend", -1), -1);
	scene_close(&scene);
}
END_TEST

/* As QEMU does at a write for which an overlay has no room. */
static void stop_at_an_error(void *data)
{
	run_low(data);
	fake_pause(FAKE_UUID);
	fake_domain_set(FAKE_UUID, "paused_by_error", TRUE);
}

/* Before the cutover, on the way back; and behind it, on the way on. */
START_TEST(a_guest_that_its_overlay_stopped_goes_on)
{
	g_autoptr(GError) error = NULL;

	open_writing();
	if (_i == 0) {
		moves_at("snapshot", 1, FAKE_AFTER, stop_at_an_error, NULL);
		ck_assert(!scene_move(&scene, &error));
		assert_low_water(error);
	} else {
		moves_at("block-commit", 1, FAKE_AFTER, stop_at_an_error, NULL);
		ck_assert_msg(scene_move(&scene, &error), "%s", error ? error->message : "");
		ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
		scene_assert_moved(&scene, "raw");
	}
	scene_close(&scene);
}
END_TEST

/* While the first copy is still under way. */
START_TEST(a_copy_that_takes_long_is_watched)
{
	g_autoptr(GError) error = NULL;

	open_writing();
	scene.options.bwlimit = 1 * MiB;
	moves_at("snapshot", 1, FAKE_AFTER, run_low, NULL);
	ck_assert(!scene_move(&scene, &error));
	assert_low_water(error);
	ck_assert_ptr_nonnull(strstr(error->message, "phase: seed"));
	scene_close(&scene);
}
END_TEST

/* The guest's disk can be switched at any moment, but for a peer that does not answer. */
START_TEST(a_job_that_waits_to_try_again_is_watched)
{
	g_autoptr(GError) error = NULL;

	open_writing();
	scene.options.retry_for_ms = 20000;
	fake_fault(&(struct fake_fault){.call = "suspend",
					.lasting = TRUE,
					.code = BLOCKMIG_ERROR_TRANSIENT,
					.hook = run_low});
	ck_assert(!scene_move(&scene, &error));
	assert_low_water(error);
	scene_close(&scene);
}
END_TEST

/* ---- held ---------------------------------------------------------------------------- */

/* Held behind the seed, with the overlay full of what the guest wrote. */
static void hold(void)
{
	open_writing();
	scene.options.retry_for_ms = 0;
	fake_fault(&(struct fake_fault){.call = "block-copy", .code = BLOCKMIG_ERROR_TRANSIENT});
	moves_fails(3);
	scene_new_process(&scene);
}

/* Nothing is tried at the destination first, which may be away. */
START_TEST(a_held_job_goes_back_as_soon_as_it_is_looked_at)
{
	g_autoptr(GError) error = NULL;
	int last;

	hold();
	run_low(NULL);
	fake_log_clear();
	ck_assert(!scene_resume(&scene, &error));
	assert_low_water(error);
	last = fake_log_find("block-commit", -1);
	ck_assert_int_ge(last, 0);
	ck_assert_int_eq(fake_log_find("serve", -1), -1);
	ck_assert_int_eq(fake_log_find("create-overlay", -1), -1);
	scene_close(&scene);
}
END_TEST

/* What it holds has nothing to do with how fast it grows. */
START_TEST(a_held_job_with_room_goes_on)
{
	hold();
	disturb_room_left(40 * MiB);
	moves_resume_done();
	scene_assert_moved(&scene, "raw");
	scene_close(&scene);
}
END_TEST

/* As if the document had been written @seconds ago, when the overlays held nothing. */
static void held_for(guint seconds)
{
	AUTO(job) job = scene_job(&scene);
	g_autoptr(GPtrArray) jobs = ledger_job_list(scene.ledger, TRUE, NULL);
	const struct ledger_job *record = g_ptr_array_index(jobs, 0);

	job->stamp_us -= (guint64)seconds * G_USEC_PER_SEC;
	job->stamp_bytes = 0;
	g_autofree char *text = job_to_json(job);

	ck_assert(ledger_job_save(scene.ledger, record->id, text, NULL));
}

static struct room *room_now(void)
{
	g_autoptr(GPtrArray) jobs = ledger_job_list(scene.ledger, FALSE, NULL);

	return room_of_record(g_ptr_array_index(jobs, 0));
}

START_TEST(how_long_the_room_lasts_is_told)
{
	hold();
	disturb_room_left(1 * GiB);
	held_for(100);
	AUTO(room) room = room_now();
	g_autofree char *text = room_text(room);

	ck_assert_uint_gt(room->held_bytes, 5 * MiB);
	ck_assert_uint_eq(room->free_bytes, 1 * GiB);
	ck_assert_uint_le(room->bytes_per_second, room->held_bytes / 100);
	ck_assert_uint_ge(room->bytes_per_second, room->held_bytes / 110);
	ck_assert_uint_eq(room->lasts_ms, room->free_bytes / room->bytes_per_second * 1000);
	ck_assert_msg(strstr(text, "1 GiB free in ") != NULL, "%s", text);
	ck_assert_msg(strstr(text, "enough for ") != NULL, "%s", text);
	moves_abort_done();
	scene_close(&scene);
}
END_TEST

START_TEST(what_is_not_known_is_not_told)
{
	hold();
	AUTO(room) room = room_now();
	g_autofree char *text = room_text(room);

	ck_assert_uint_eq(room->bytes_per_second, G_MAXUINT64);
	ck_assert_uint_eq(room->lasts_ms, G_MAXUINT64);
	ck_assert_msg(strstr(text, "not known yet") != NULL, "%s", text);
	/* Whoever is left with a held job is told, too. */
	ck_assert_ptr_nonnull(strstr(scene.warnings->str, "in overlays"));
	moves_abort_done();
	ck_assert_ptr_null(room_now());
	scene_close(&scene);
}
END_TEST

/* At the rate at which the overlay grew, the commit back would take more than is free. */
START_TEST(a_held_job_whose_guest_writes_fast_goes_back_in_time)
{
	g_autoptr(GError) error = NULL;

	hold();
	held_for(5);
	disturb_room_left(24 * MiB);
	ck_assert(!scene_resume(&scene, &error));
	assert_low_water(error);
	scene_close(&scene);
}
END_TEST

START_TEST(a_resume_at_low_water_that_is_killed_is_finished_by_another)
{
	hold();
	run_low(NULL);
	moves_disturb(_i, FAKE_KILL);
	if (scene_apart(&scene, scene_resume) == SCENE_KILLED) {
		g_autoptr(GError) error = NULL;

		ck_assert(!scene_resume(&scene, &error));
	}
	ck_assert_int_eq(scene_result(&scene), JOB_ROLLED_BACK);
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move room");
	TCase *room = tcase_create("room");

	tcase_add_loop_test(room, at_the_low_water_mark_a_move_goes_back, 0, 2);
	tcase_add_loop_test(room, a_guest_that_its_overlay_stopped_goes_on, 0, 2);
	tcase_add_test(room, a_copy_that_takes_long_is_watched);
	tcase_add_test(room, a_job_that_waits_to_try_again_is_watched);
	tcase_add_test(room, a_held_job_goes_back_as_soon_as_it_is_looked_at);
	tcase_add_test(room, a_held_job_with_room_goes_on);
	tcase_add_test(room, how_long_the_room_lasts_is_told);
	tcase_add_test(room, what_is_not_known_is_not_told);
	tcase_add_test(room, a_held_job_whose_guest_writes_fast_goes_back_in_time);
	tcase_add_loop_test(room, a_resume_at_low_water_that_is_killed_is_finished_by_another, 0,
			    2 * 8);
	suite_add_tcase(suite, room);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
