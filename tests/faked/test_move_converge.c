/* A guest that writes faster than the rounds copy: slowed, waited for, or put back. */
#include "blockmig/move/pace.h"
#include "common/error.h"
#include "common/stop.h"
#include "common/units.h"
#include "tests/faked/moves.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS_MOST = 44, SLOWED_CALL = 4 /* the snapshot that comes when the guest is slow */ };

/* What an admin may have set before. */
static const struct block_limits admins[] = {
	{0},
	{.total = 40 * MiB, .total_burst = 80 * MiB, .total_burst_s = 3},
	{.write = 30 * MiB, .read = 20 * MiB},
	{.read = 10 * MiB, .read_burst = 20 * MiB, .read_burst_s = 1},
};

enum { ADMINS = G_N_ELEMENTS(admins) };

/* Whether it heeds the limits. */
enum eagerness { DOCILE, STUBBORN };

/* A round more than the cutover's budget where nobody slows it. */
static void write_fast(void *eagerness)
{
	static guint8 value;
	struct block_limits now;

	if (fake_domain_run(FAKE_UUID) != RUN_RUNNING)
		return;
	fake_limits(FAKE_UUID, &now);
	gboolean slow = GPOINTER_TO_INT(eagerness) == DOCILE && now.write && now.write != 30 * MiB;

	scene_write(&scene, 2, slow ? 3 : 80, ++value);
}

static void open_fast(int shape, const struct block_limits *limits, enum eagerness eagerness)
{
	moves_open(&moves_shapes[shape % MOVES_SHAPES], RUN_RUNNING);
	fake_set_limits(FAKE_UUID, limits);
	/* The least budget of a cutover: 4 MiB. */
	scene.options.max_downtime_ms = 1;
	fake_fault(&(struct fake_fault){.call = "snapshot",
					.when = FAKE_AFTER,
					.lasting = TRUE,
					.code = FAKE_NO_ERROR,
					.hook = write_fast,
					.data = GINT_TO_POINTER(eagerness)});
}

static void assert_limits(const struct block_limits *wanted)
{
	struct block_limits now;

	fake_limits(FAKE_UUID, &now);
	ck_assert_msg(memcmp(&now, wanted, sizeof now) == 0,
		      "the limits are total %d read %d write %d", (int)now.total, (int)now.read,
		      (int)now.write);
}

static void assert_warned(const char *words)
{
	ck_assert_msg(strstr(scene.warnings->str, words) != NULL, "no '%s' in: %s", words,
		      scene.warnings->str);
}

/* ---- throttle ------------------------------------------------------------------------ */

START_TEST(a_guest_that_is_too_fast_is_slowed_for_a_while)
{
	open_fast(_i / ADMINS, &admins[_i % ADMINS], DOCILE);
	moves_done();
	scene_assert_moved(&scene, moves_shapes[_i / ADMINS].gets);
	ck_assert_int_ge(fake_log_find("limits write", -1), 0);
	/* Before the mirror, and until the guest is there. */
	ck_assert_int_lt(fake_log_find("limits write", -1), fake_log_find("block-copy", -1));
	ck_assert_int_ge(fake_log_find("limits write", fake_log_find("resume", -1)), 0);
	assert_limits(&admins[_i % ADMINS]);
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
	open_fast(0, &admins[0], STUBBORN);
	moves_fails(3);
	ck_assert_uint_gt(assert_above_the_floor(), 1);
	assert_limits(&admins[0]);
	ck_assert_int_eq(scene_result(&scene), JOB_OPEN);
	scene_new_process(&scene);
	moves_abort_done();
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

START_TEST(a_stop_does_not_leave_a_guest_slow)
{
	open_fast(0, &admins[1], DOCILE);
	moves_at("snapshot", SLOWED_CALL, FAKE_BEFORE, (void (*)(void *))stop_request, NULL);
	moves_fails(3);
	ck_assert_int_ge(fake_log_find("limits write", -1), 0);
	assert_limits(&admins[1]);
	scene_new_process(&scene);
	moves_resume_done();
	assert_limits(&admins[1]);
	scene_close(&scene);
}
END_TEST

/* ---- our death ----------------------------------------------------------------------- */

static void open_doomed(int i)
{
	open_fast(i / 2, &admins[i / 2 % ADMINS], DOCILE);
	moves_disturb(i, FAKE_KILL);
}

START_TEST(a_slow_guest_is_fast_again_after_our_death_and_a_resume)
{
	open_doomed(_i);
	if (scene_apart(&scene, scene_move) == SCENE_KILLED) {
		g_autoptr(GPtrArray) jobs = ledger_job_list(scene.ledger, TRUE, NULL);

		if (jobs->len)
			moves_resume_done();
		else
			moves_done();
	} else {
		/* The loop goes beyond the last call. */
		ck_assert_int_gt(_i, CALLS_MOST);
	}
	scene_assert_moved(&scene, moves_shapes[_i / 2 % MOVES_SHAPES].gets);
	assert_limits(&admins[_i / 2 % ADMINS]);
	scene_close(&scene);
}
END_TEST

START_TEST(a_slow_guest_is_fast_again_after_our_death_and_an_abort)
{
	g_autoptr(GError) error = NULL;

	open_doomed(_i);
	if (scene_apart(&scene, scene_move) != SCENE_KILLED) {
		scene_assert_moved(&scene, moves_shapes[_i / 2 % MOVES_SHAPES].gets);
	} else if (scene_abort(&scene, &error)) {
		scene_assert_home(&scene);
	} else {
		ck_assert_msg(error_exit_status(error) == 5, "%s", error->message);
		/* The refusal alone gives the guest its speed back, unless it is suspended. */
		if (fake_domain_run(FAKE_UUID) == RUN_RUNNING)
			assert_limits(&admins[_i / 2 % ADMINS]);
		moves_resume_done();
	}
	assert_limits(&admins[_i / 2 % ADMINS]);
	scene_close(&scene);
}
END_TEST

/* ---- others -------------------------------------------------------------------------- */

static const struct block_limits others = {.write = 7 * MiB};

static void set_others(void *data)
{
	(void)data;
	fake_set_limits(FAKE_UUID, &others);
}

START_TEST(limits_that_an_admin_sets_meanwhile_stay)
{
	open_fast(0, &admins[_i], STUBBORN);
	moves_at("snapshot", SLOWED_CALL, FAKE_BEFORE, set_others, NULL);
	moves_fails(3);
	assert_limits(&others);
	assert_warned("somebody else");
	scene_new_process(&scene);
	moves_resume_done();
	assert_limits(&others);
	scene_close(&scene);
}
END_TEST

/* After our death, too. */
START_TEST(limits_that_an_admin_sets_after_our_death_stay)
{
	open_fast(0, &admins[_i], DOCILE);
	fake_fault(&(struct fake_fault){.call = "snapshot", .nth = SLOWED_CALL, .code = FAKE_KILL});
	ck_assert_int_eq(scene_apart(&scene, scene_move), SCENE_KILLED);
	set_others(NULL);
	moves_abort_done();
	scene_assert_home(&scene);
	assert_limits(&others);
	scene_close(&scene);
}
END_TEST

static void start_anew(void *data)
{
	(void)data;
	fake_off(FAKE_UUID);
	ck_assert(fake_start(FAKE_UUID));
	set_others(NULL);
}

/* Its limits are those of its XML then, and it may have to be slowed again. */
START_TEST(a_guest_that_was_started_anew_has_nothing_to_be_restored)
{
	g_autoptr(GError) error = NULL;

	open_fast(0, &admins[_i], DOCILE);
	moves_at("snapshot", SLOWED_CALL, FAKE_BEFORE, start_anew, NULL);
	if (!scene_move(&scene, &error)) {
		scene_new_process(&scene);
		moves_resume_done();
	}
	scene_assert_moved(&scene, "raw");
	assert_limits(&others);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_whose_limits_are_shared_is_not_slowed)
{
	open_fast(0, &admins[2], DOCILE);
	fake_domain_set(FAKE_UUID, "limits_shared", TRUE);
	moves_fails(3);
	ck_assert_int_eq(fake_log_find("limits", -1), -1);
	assert_warned("other disks");
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_that_cannot_be_slowed_is_held)
{
	open_fast(0, &admins[0], DOCILE);
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

	open_fast(0, &admins[1], DOCILE);
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
	assert_limits(&admins[1]);
	scene_close(&scene);
}
END_TEST

/* ---- fail, and wait ------------------------------------------------------------------ */

START_TEST(a_move_that_is_to_fail_rolls_back)
{
	g_autoptr(GError) error = NULL;

	open_fast(_i, &admins[0], DOCILE);
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
	open_fast(0, &admins[0], DOCILE);
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
	TCase *slow = tcase_create("slow"), *deaths = tcase_create("deaths"),
	      *waits = tcase_create("waits");

	tcase_add_loop_test(slow, a_guest_that_is_too_fast_is_slowed_for_a_while, 0,
			    MOVES_SHAPES * ADMINS);
	tcase_add_test(slow, a_guest_that_keeps_up_is_left_alone);
	tcase_add_test(slow, a_guest_is_not_slowed_below_the_floor);
	tcase_add_test(slow, a_stop_does_not_leave_a_guest_slow);
	tcase_add_loop_test(slow, limits_that_an_admin_sets_meanwhile_stay, 0, ADMINS);
	tcase_add_loop_test(slow, limits_that_an_admin_sets_after_our_death_stay, 0, ADMINS);
	tcase_add_loop_test(slow, a_guest_that_was_started_anew_has_nothing_to_be_restored, 0,
			    ADMINS);
	tcase_add_test(slow, a_guest_whose_limits_are_shared_is_not_slowed);
	tcase_add_test(slow, a_guest_that_cannot_be_slowed_is_held);
	tcase_add_loop_test(slow, limits_that_cannot_be_set_now_are_set_by_the_next_run, 0, 8);
	tcase_add_loop_test(deaths, a_slow_guest_is_fast_again_after_our_death_and_a_resume, 0,
			    2 * CALLS_MOST);
	tcase_add_loop_test(deaths, a_slow_guest_is_fast_again_after_our_death_and_an_abort, 0,
			    2 * CALLS_MOST);
	tcase_add_loop_test(waits, a_move_that_is_to_fail_rolls_back, 0, MOVES_SHAPES);
	tcase_add_test(waits, a_quieter_time_is_waited_for);
	tcase_add_test(waits, a_wait_can_be_stopped);
	tcase_set_timeout(waits, 30);
	suite_add_tcase(suite, slow);
	suite_add_tcase(suite, deaths);
	suite_add_tcase(suite, waits);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
