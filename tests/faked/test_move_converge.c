/* A guest that writes faster than the rounds copy: slowed, waited for, or put back. */
#include "blockmig/move/pace.h"
#include "common/error.h"
#include "common/stop.h"
#include "common/units.h"
#include "tests/faked/fast.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void assert_warned(const char *words)
{
	ck_assert_msg(strstr(scene.warnings->str, words) != NULL, "no '%s' in: %s", words,
		      scene.warnings->str);
}

/* ---- throttle ------------------------------------------------------------------------ */

START_TEST(a_guest_that_is_too_fast_is_slowed_for_a_while)
{
	fast_open(_i / FAST_ADMINS, &fast_admins[_i % FAST_ADMINS], FAST_DOCILE);
	moves_done();
	scene_assert_moved(&scene, moves_shapes[_i / FAST_ADMINS].gets);
	ck_assert_int_ge(fake_log_find("limits write", -1), 0);
	/* Before the mirror, and until the guest is there. */
	ck_assert_int_lt(fake_log_find("limits write", -1), fake_log_find("block-copy", -1));
	ck_assert_int_ge(fake_log_find("limits write", fake_log_find("resume", -1)), 0);
	fast_assert_limits(&fast_admins[_i % FAST_ADMINS]);
	assert_warned("slowed to");
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_that_keeps_up_is_left_alone)
{
	moves_open_running();
	moves_write_in_between();
	moves_done();
	ck_assert_int_eq(fake_log_find("limits", -1), -1);
	scene_close(&scene);
}
END_TEST

/* Every limit in the log, and that none is below the floor; returns how many there are. */
static guint assert_above_the_floor(void)
{
	g_autofree char *log = fake_log();
	g_auto(GStrv) lines = g_strsplit(log, "\n", -1);
	guint64 last = G_MAXUINT64;
	guint count = 0;

	for (guint i = 0; lines[i]; i++) {
		guint64 now;

		if (sscanf(lines[i], "limits write %" G_GUINT64_FORMAT, &now) != 1 || !now)
			continue;
		ck_assert_uint_ge(now, PACE_FLOOR_BYTES);
		ck_assert_uint_lt(now, last);
		last = now;
		count++;
	}
	return count;
}

START_TEST(a_guest_is_not_slowed_below_the_floor)
{
	fast_open(0, &fast_admins[0], FAST_STUBBORN);
	moves_fails(3);
	ck_assert_uint_gt(assert_above_the_floor(), 1);
	fast_assert_limits(&fast_admins[0]);
	ck_assert_int_eq(scene_result(&scene), JOB_OPEN);
	scene_new_process(&scene);
	moves_abort_done();
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

START_TEST(a_stop_does_not_leave_a_guest_slow)
{
	fast_open(0, &fast_admins[1], FAST_DOCILE);
	moves_at("snapshot", FAST_SLOWED_CALL, FAKE_BEFORE, (void (*)(void *))stop_request, NULL);
	moves_fails(3);
	ck_assert_int_ge(fake_log_find("limits write", -1), 0);
	fast_assert_limits(&fast_admins[1]);
	scene_new_process(&scene);
	moves_resume_done();
	fast_assert_limits(&fast_admins[1]);
	scene_close(&scene);
}
END_TEST

/* ---- others -------------------------------------------------------------------------- */

START_TEST(limits_that_an_admin_sets_meanwhile_stay)
{
	fast_open(0, &fast_admins[_i], FAST_STUBBORN);
	moves_at("snapshot", FAST_SLOWED_CALL, FAKE_BEFORE, fast_set_others, NULL);
	moves_fails(3);
	fast_assert_limits(&fast_others);
	assert_warned("somebody else");
	scene_new_process(&scene);
	moves_resume_done();
	fast_assert_limits(&fast_others);
	scene_close(&scene);
}
END_TEST

static void start_anew(void *data)
{
	(void)data;
	fake_off(FAKE_UUID);
	ck_assert(fake_start(FAKE_UUID));
	fast_set_others(NULL);
}

/* Its limits are those of its XML then, and it may have to be slowed again. */
START_TEST(a_guest_that_was_started_anew_has_nothing_to_be_restored)
{
	g_autoptr(GError) error = NULL;

	fast_open(0, &fast_admins[_i], FAST_DOCILE);
	moves_at("snapshot", FAST_SLOWED_CALL, FAKE_BEFORE, start_anew, NULL);
	if (!scene_move(&scene, &error)) {
		scene_new_process(&scene);
		moves_resume_done();
	}
	scene_assert_moved(&scene, "raw");
	fast_assert_limits(&fast_others);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_whose_limits_are_shared_is_not_slowed)
{
	fast_open(0, &fast_admins[2], FAST_DOCILE);
	fake_domain_set(FAKE_UUID, "limits_shared", TRUE);
	moves_fails(3);
	ck_assert_int_eq(fake_log_find("limits", -1), -1);
	assert_warned("other disks");
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_that_cannot_be_slowed_is_held)
{
	fast_open(0, &fast_admins[0], FAST_DOCILE);
	fake_fault(&(struct fake_fault){
		.call = "limits", .lasting = TRUE, .code = BLOCKMIG_ERROR_PERMANENT});
	moves_fails(3);
	assert_warned("not slowed");
	scene_new_process(&scene);
	moves_resume_done();
	scene_assert_moved(&scene, "raw");
	scene_close(&scene);
}
END_TEST

START_TEST(limits_that_cannot_be_set_now_are_set_by_the_next_run)
{
	static const int codes[] = {BLOCKMIG_ERROR_TRANSIENT, BLOCKMIG_ERROR_UNKNOWN};
	g_autoptr(GError) error = NULL;

	fast_open(0, &fast_admins[1], FAST_DOCILE);
	fake_fault(&(struct fake_fault){.call = "limits",
					.nth = (guint)_i / 4 + 1,
					.when = _i % 2 ? FAKE_AFTER : FAKE_BEFORE,
					.code = codes[_i / 2 % 2]});
	if (!scene_move(&scene, &error)) {
		ck_assert_msg(error_exit_status(error) == 3, "%s", error->message);
		scene_new_process(&scene);
		moves_resume_done();
	}
	scene_assert_moved(&scene, "raw");
	fast_assert_limits(&fast_admins[1]);
	scene_close(&scene);
}
END_TEST

/* ---- fail, and wait ------------------------------------------------------------------ */

START_TEST(a_move_that_is_to_fail_rolls_back)
{
	g_autoptr(GError) error = NULL;

	fast_open(_i, &fast_admins[0], FAST_DOCILE);
	scene.options.converge = CONVERGE_FAIL;
	ck_assert(!scene_move(&scene, &error));
	ck_assert_int_eq(error_exit_status(error), 1);
	ck_assert_ptr_nonnull(strstr(error->message, "writes faster"));
	ck_assert_ptr_nonnull(strstr(error->message, "rolled back"));
	ck_assert_int_eq(fake_log_find("limits", -1), -1);
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

/* One that writes on while we wait, and one that asks to stop. */
static gpointer be_busy_for_a_while(gpointer stops)
{
	for (guint i = 0; i < 20; i++) {
		g_usleep(100 * 1000);
		fake_guest_write(FAKE_UUID, 0, FAKE_CLUSTER, 0x99);
	}
	if (stops)
		stop_request();
	return NULL;
}

static void fill_first_cluster(void)
{
	memset(scene.content, 0x99, FAKE_CLUSTER);
}

static GThread *busy;

static void wait_begins(gint64 job, const char *text, void *data)
{
	(void)job;
	g_string_append(scene.warnings, text);
	if (!strstr(text, "quieter"))
		return;
	/* The rounds to come are those of a guest that writes little. */
	fake_faults_clear();
	fill_first_cluster();
	busy = g_thread_new("busy", be_busy_for_a_while, *(gpointer *)data);
}

static void open_waiting(gpointer *stops)
{
	fast_open(0, &fast_admins[0], FAST_DOCILE);
	scene.options.converge = CONVERGE_WAIT;
	scene.reporter.warning = wait_begins;
	scene.reporter.data = stops;
}

START_TEST(a_quieter_time_is_waited_for)
{
	gpointer stops = NULL;

	open_waiting(&stops);
	moves_done();
	g_thread_join(busy);
	assert_warned("quieter");
	ck_assert_int_eq(fake_log_find("limits", -1), -1);
	scene_assert_moved(&scene, "raw");
	scene_close(&scene);
}
END_TEST

START_TEST(a_wait_can_be_stopped)
{
	gpointer stops = (gpointer) "yes";

	open_waiting(&stops);
	moves_fails(3);
	g_thread_join(busy);
	scene_new_process(&scene);
	moves_resume_done();
	scene_assert_moved(&scene, "raw");
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move converge");
	TCase *slow = tcase_create("slow"), *waits = tcase_create("waits");

	tcase_add_loop_test(slow, a_guest_that_is_too_fast_is_slowed_for_a_while, 0,
			    MOVES_SHAPES * FAST_ADMINS);
	tcase_add_test(slow, a_guest_that_keeps_up_is_left_alone);
	tcase_add_test(slow, a_guest_is_not_slowed_below_the_floor);
	tcase_add_test(slow, a_stop_does_not_leave_a_guest_slow);
	tcase_add_loop_test(slow, limits_that_an_admin_sets_meanwhile_stay, 0, FAST_ADMINS);
	tcase_add_loop_test(slow, a_guest_that_was_started_anew_has_nothing_to_be_restored, 0,
			    FAST_ADMINS);
	tcase_add_test(slow, a_guest_whose_limits_are_shared_is_not_slowed);
	tcase_add_test(slow, a_guest_that_cannot_be_slowed_is_held);
	tcase_add_loop_test(slow, limits_that_cannot_be_set_now_are_set_by_the_next_run, 0, 8);
	tcase_add_loop_test(waits, a_move_that_is_to_fail_rolls_back, 0, MOVES_SHAPES);
	tcase_add_test(waits, a_quieter_time_is_waited_for);
	tcase_add_test(waits, a_wait_can_be_stopped);
	tcase_set_timeout(waits, 30);
	suite_add_tcase(suite, slow);
	suite_add_tcase(suite, waits);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
