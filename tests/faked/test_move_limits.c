/*
 * A guest that was slowed, and our death: it gets the limits that were set before us, with
 * the ledger or without.
 */
#include "common/error.h"
#include "tests/faked/fast.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS_MOST = 46 };

/* ---- our death ----------------------------------------------------------------------- */

static void open_doomed(int i)
{
	fast_open(i / 2, &fast_admins[i / 2 % FAST_ADMINS], FAST_DOCILE);
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
	fast_assert_limits(&fast_admins[_i / 2 % FAST_ADMINS]);
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
			fast_assert_limits(&fast_admins[_i / 2 % FAST_ADMINS]);
		moves_resume_done();
	}
	fast_assert_limits(&fast_admins[_i / 2 % FAST_ADMINS]);
	scene_close(&scene);
}
END_TEST

START_TEST(limits_that_an_admin_sets_after_our_death_stay)
{
	fast_open(0, &fast_admins[_i], FAST_DOCILE);
	fake_fault(&(struct fake_fault){
		.call = "snapshot", .nth = FAST_SLOWED_CALL, .code = FAKE_KILL});
	ck_assert_int_eq(scene_apart(&scene, scene_move), SCENE_KILLED);
	fast_set_others(NULL);
	moves_abort_done();
	scene_assert_home(&scene);
	fast_assert_limits(&fast_others);
	scene_close(&scene);
}
END_TEST

/* ---- our death, and the ledger gone with us -------------------------------------------- */

static gboolean (*const ways[])(struct scene *, GError **) = {scene_adopt_and_resume,
							      scene_adopt_and_abort};

enum { WAYS = G_N_ELEMENTS(ways) };

/* At every call: where the guest is slow, its metadata have what was set before. */
START_TEST(a_slow_guest_without_its_ledger_is_fast_again)
{
	open_doomed(_i / WAYS);
	if (scene_apart(&scene, scene_move) == SCENE_KILLED)
		moves_go_on_without_ledger(ways[_i % WAYS]);
	scene_assert_content(&scene);
	fast_assert_limits(&fast_admins[_i / WAYS / 2 % FAST_ADMINS]);
	scene_close(&scene);
}
END_TEST

static guint limits_lines(void)
{
	guint count = 0;

	for (int at = -1; (at = fake_log_find("limits", at)) >= 0;)
		count++;
	return count;
}

/* The first time, and where it was slowed already. */
START_TEST(what_was_set_is_in_the_metadata_before_a_guest_is_slowed)
{
	const struct block_limits *own = &fast_admins[_i / WAYS / 2 % FAST_ADMINS];
	struct block_limits slow;

	fast_open(0, own, FAST_STUBBORN);
	fake_fault(&(struct fake_fault){.call = "limits",
					.nth = (guint)_i / WAYS % 2 + 1,
					.when = FAKE_AFTER,
					.code = FAKE_KILL});
	ck_assert_int_eq(scene_apart(&scene, scene_move), SCENE_KILLED);
	ck_assert_uint_eq(limits_lines(), (guint)_i / WAYS % 2 + 1);
	fake_limits(FAKE_UUID, &slow);
	ck_assert_int_ne(memcmp(&slow, own, sizeof slow), 0);
	moves_go_on_without_ledger(ways[_i % WAYS]);
	scene_assert_home(&scene);
	fast_assert_limits(own);
	scene_close(&scene);
}
END_TEST

START_TEST(limits_that_an_admin_sets_after_the_ledger_is_lost_stay)
{
	fast_open(0, &fast_admins[1], FAST_DOCILE);
	fake_fault(&(struct fake_fault){.call = "limits", .when = FAKE_AFTER, .code = FAKE_KILL});
	ck_assert_int_eq(scene_apart(&scene, scene_move), SCENE_KILLED);
	fake_set_limits(FAKE_UUID, &fast_others);
	moves_go_on_without_ledger(ways[_i]);
	scene_assert_home(&scene);
	fast_assert_limits(&fast_others);
	scene_close(&scene);
}
END_TEST

/* Another job's element is not written over. */
static void take_the_element(void *data)
{
	g_autofree char *foreign = xml_metadata(99, "vda", "somebody-elses-nonce", "/a", "/b", "");

	(void)data;
	ck_assert(session_metadata_set(scene.session, FAKE_UUID, foreign, TRUE, TRUE, NULL));
}

START_TEST(another_jobs_element_is_not_written_over)
{
	fast_open(0, &fast_admins[0], FAST_DOCILE);
	moves_at("snapshot", FAST_SLOWED_CALL - 1, FAKE_AFTER, take_the_element, NULL);
	moves_fails(75);
	g_autofree char *xml = fake_domain_xml(FAKE_UUID, FALSE);

	ck_assert_ptr_nonnull(strstr(xml, "somebody-elses-nonce"));
	ck_assert_uint_eq(limits_lines(), 0);
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move limits");
	TCase *deaths = tcase_create("deaths"), *lost = tcase_create("lost");

	tcase_add_loop_test(deaths, a_slow_guest_is_fast_again_after_our_death_and_a_resume, 0,
			    2 * CALLS_MOST);
	tcase_add_loop_test(deaths, a_slow_guest_is_fast_again_after_our_death_and_an_abort, 0,
			    2 * CALLS_MOST);
	tcase_add_loop_test(deaths, limits_that_an_admin_sets_after_our_death_stay, 0, FAST_ADMINS);
	suite_add_tcase(suite, deaths);
	tcase_add_loop_test(lost, a_slow_guest_without_its_ledger_is_fast_again, 0,
			    2 * WAYS * CALLS_MOST);
	tcase_add_loop_test(lost, what_was_set_is_in_the_metadata_before_a_guest_is_slowed, 0,
			    2 * WAYS * FAST_ADMINS);
	tcase_add_loop_test(lost, limits_that_an_admin_sets_after_the_ledger_is_lost_stay, 0, WAYS);
	tcase_add_test(lost, another_jobs_element_is_not_written_over);
	suite_add_tcase(suite, lost);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
