/*
 * What an admin, libvirtd and the host do at any call of a move: pause, resume, power cycle,
 * calls whose outcome nobody knows, a reset of the host.
 */
#include "common/error.h"
#include "tests/faked/moves.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* No live move of these makes more calls. */
enum { CALLS_MOST = 32 };

static void pause_guest(void *data)
{
	(void)data;
	if (fake_domain_run(FAKE_UUID) == RUN_RUNNING)
		fake_pause(FAKE_UUID);
}

/* It writes at once to whatever it is on. */
static void unpause_guest(void *data)
{
	(void)data;
	if (fake_domain_run(FAKE_UUID) != RUN_PAUSED)
		return;
	fake_unpause(FAKE_UUID);
	scene_write(&scene, 40, 2, 0xd4);
}

static void power_cycle(void *data)
{
	(void)data;
	if (fake_domain_run(FAKE_UUID) == RUN_OFF)
		return;
	fake_off(FAKE_UUID);
	if (fake_start(FAKE_UUID))
		scene_write(&scene, 50, 2, 0xe5);
}

static void at_call(int i, void (*hook)(void *))
{
	moves_at(NULL, (guint)i + 1, i % 2 ? FAKE_AFTER : FAKE_BEFORE, hook, NULL);
}

static void open_live(int i, enum domain_run run)
{
	moves_open(&moves_shapes[i % MOVES_SHAPES], run);
	if (run == RUN_RUNNING)
		moves_at("snapshot", 1, FAKE_AFTER, moves_write_little, GUINT_TO_POINTER(0x22));
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
			moves_done();
		}
		moves_resume_done();
	}
	scene_assert_moved(&scene, moves_shapes[i % MOVES_SHAPES].gets);
}

START_TEST(a_guest_may_be_paused_at_any_call)
{
	open_live(_i, RUN_RUNNING);
	at_call(_i, pause_guest);
	finish(_i);
	/* Unless that came between our look and our own suspend, it is as the admin wants it. */
	ck_assert_int_ne(fake_domain_run(FAKE_UUID), RUN_OFF);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_that_is_paused_before_the_cutover_stays_paused)
{
	open_live(_i, RUN_RUNNING);
	moves_at("snapshot", 1, FAKE_AFTER, pause_guest, NULL);
	finish(_i);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_PAUSED);
	scene_close(&scene);
}
END_TEST

START_TEST(a_paused_guest_may_be_resumed_at_any_call)
{
	open_live(_i, RUN_PAUSED);
	at_call(_i, unpause_guest);
	finish(_i);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_that_we_hold_suspended_may_be_resumed_by_others)
{
	static const struct {
		const char *call;
		enum fake_when when;
	} moments[] = {{"suspend", FAKE_AFTER},	 {"pivot", FAKE_BEFORE},  {"pivot", FAKE_AFTER},
		       {"compare", FAKE_BEFORE}, {"compare", FAKE_AFTER}, {"resume", FAKE_BEFORE}};

	open_live(_i, RUN_RUNNING);
	moves_at(moments[_i].call, 1, moments[_i].when, unpause_guest, NULL);
	finish(_i);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_may_be_power_cycled_at_any_call)
{
	open_live(_i, RUN_RUNNING);
	at_call(_i, power_cycle);
	finish(_i);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

/* As where libvirtd is started anew in the middle of a call. */
START_TEST(the_outcome_of_any_call_may_be_unknown)
{
	open_live(_i, RUN_RUNNING);
	moves_at("snapshot", 1, FAKE_AFTER, moves_write_little, GUINT_TO_POINTER(0x22));
	fake_fault(&(struct fake_fault){.nth = (guint)_i / 2 + 1,
					.when = _i % 2 ? FAKE_AFTER : FAKE_BEFORE,
					.code = BLOCKMIG_ERROR_UNKNOWN});
	g_autoptr(GError) error = NULL;

	if (!scene_move(&scene, &error)) {
		scene_new_process(&scene);
		if (scene_result(&scene) != JOB_OPEN)
			moves_done();
		moves_resume_done();
	}
	scene_assert_moved(&scene, moves_shapes[_i % MOVES_SHAPES].gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

/* All domains are off then, with their overlays where they were. */
START_TEST(a_host_may_reset_at_any_call)
{
	g_autoptr(GPtrArray) jobs = NULL;

	moves_open(moves_shape_of(_i), RUN_RUNNING);
	moves_write_in_between();
	moves_disturb(_i, FAKE_KILL);
	scene_apart(&scene, scene_move);
	fake_off(FAKE_UUID);
	jobs = ledger_job_list(scene.ledger, FALSE, NULL);
	if (!jobs->len)
		moves_done();
	moves_resume_done();
	scene_assert_moved(&scene, moves_shape_of(_i)->gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_OFF);
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move events");
	TCase *events = tcase_create("events");

	tcase_add_loop_test(events, a_guest_may_be_paused_at_any_call, 0, CALLS_MOST);
	tcase_add_loop_test(events, a_guest_that_is_paused_before_the_cutover_stays_paused, 0,
			    MOVES_SHAPES);
	tcase_add_loop_test(events, a_paused_guest_may_be_resumed_at_any_call, 0, CALLS_MOST);
	tcase_add_loop_test(events, a_guest_that_we_hold_suspended_may_be_resumed_by_others, 0, 6);
	tcase_add_loop_test(events, a_guest_may_be_power_cycled_at_any_call, 0, CALLS_MOST);
	tcase_add_loop_test(events, the_outcome_of_any_call_may_be_unknown, 0, 2 * CALLS_MOST);
	tcase_add_loop_test(events, a_host_may_reset_at_any_call, 0, 2 * CALLS_MOST);
	suite_add_tcase(suite, events);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
