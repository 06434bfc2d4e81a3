/*
 * Our death at any call of a move, and the ledger gone with us: the domain's element and its
 * chain have to be enough to put the guest onto a whole disk.
 */
#include "common/error.h"
#include "tests/faked/moves.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* No move or abort of these makes more calls. */
enum { CALLS_MOST = 31 };

/* On the destination it stays; anywhere else it is back on its source. */
static void assert_whole(int i, enum domain_run run)
{
	const char *gets = moves_shape_of(i)->gets;

	if (scene_is_moved(&scene, gets))
		scene_assert_lies(&scene, gets);
	else
		scene_assert_home(&scene);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), run);
}

static void goes_on(int i, gboolean (*adopt)(struct scene *, GError **), enum domain_run run)
{
	moves_go_on_without_ledger(adopt);
	assert_whole(i, run);
}

/* Rolled back, or finished. */
static void adopted_without_a_question(gboolean (*adopt)(struct scene *, GError **))
{
	g_autoptr(GError) error = NULL;

	if (!adopt(&scene, &error))
		ck_assert_msg(error_exit_status(error) == 1, "exit %d: %s",
			      error_exit_status(error), error->message);
}

static void die_in_a_live_move(int i)
{
	moves_open(moves_shape_of(i), RUN_RUNNING);
	moves_write_in_between();
	moves_disturb(i, FAKE_KILL);
	scene_apart(&scene, scene_move);
}

static void die_in_a_cold_move(int i)
{
	moves_open(moves_shape_of(i), RUN_OFF);
	moves_at("define", 1, FAKE_AFTER, moves_start_and_stop, NULL);
	moves_disturb(i, FAKE_KILL);
	scene_apart(&scene, scene_move);
}

START_TEST(a_live_move_without_its_ledger_is_resumed)
{
	die_in_a_live_move(_i);
	goes_on(_i, scene_adopt_and_resume, RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(a_live_move_without_its_ledger_is_aborted)
{
	die_in_a_live_move(_i);
	goes_on(_i, scene_adopt_and_abort, RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(a_cold_move_without_its_ledger_is_resumed)
{
	die_in_a_cold_move(_i);
	goes_on(_i, scene_adopt_and_resume, RUN_OFF);
	scene_close(&scene);
}
END_TEST

START_TEST(a_cold_move_without_its_ledger_is_aborted)
{
	die_in_a_cold_move(_i);
	goes_on(_i, scene_adopt_and_abort, RUN_OFF);
	scene_close(&scene);
}
END_TEST

/*
 * The host went down too: the guest is off, wherever it was.  That it had just begun to run on
 * the destination is in its metadata since before it did.
 */
START_TEST(a_move_whose_host_and_ledger_are_gone_is_resumed)
{
	die_in_a_live_move(_i);
	fake_off(FAKE_UUID);
	moves_lose_ledger();
	adopted_without_a_question(scene_adopt_and_resume);
	assert_whole(_i, RUN_OFF);
	scene_close(&scene);
}
END_TEST

/* ---- a pivot whose XML libvirt could not save ---------------------------------------------- */

static char *older;

static void note_inactive(void *data)
{
	(void)data;
	g_free(older);
	older = fake_domain_xml(FAKE_UUID, TRUE);
}

static void lose_inactive(void *data)
{
	(void)data;
	fake_domain_set_xml(FAKE_UUID, TRUE, older);
}

/* It logs a warning, and the guest would boot from its source still. */
static void open_with_a_full_disk_of_libvirts(const struct moves_shape *shape)
{
	moves_open(shape, RUN_RUNNING);
	moves_write_in_between();
	moves_at("pivot", 1, FAKE_BEFORE, note_inactive, NULL);
	moves_at("pivot", 1, FAKE_AFTER, lose_inactive, NULL);
}

/* What it wrote at the destination is there alone: it must not boot from the source. */
START_TEST(a_stale_inactive_xml_is_no_way_back_without_the_ledger)
{
	const gboolean off = _i % 2, abort = _i / 2 % 2;
	const int i = _i / 4;

	open_with_a_full_disk_of_libvirts(moves_shape_of(i));
	moves_disturb(i, FAKE_KILL);
	scene_apart(&scene, scene_move);
	if (off)
		fake_off(FAKE_UUID);
	goes_on(i, abort ? scene_adopt_and_abort : scene_adopt_and_resume,
		off ? RUN_OFF : RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(both_xmls_and_the_element_name_the_destination_before_the_guest_runs_there)
{
	const char *const order[] = {"pivot", "compare", "define", "metadata set", "resume"};
	int at = -1;

	open_with_a_full_disk_of_libvirts(&moves_shapes[_i]);
	moves_done();
	for (guint i = 0; i < G_N_ELEMENTS(order); i++) {
		at = fake_log_find(order[i], at);
		ck_assert_msg(at >= 0, "no %s in its place", order[i]);
	}
	scene_assert_moved(&scene, moves_shapes[_i].gets);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_that_would_boot_from_its_source_goes_back_to_it)
{
	open_with_a_full_disk_of_libvirts(&moves_shapes[_i]);
	fake_fault(&(struct fake_fault){.call = "define", .code = BLOCKMIG_ERROR_PERMANENT});
	moves_fails(1);
	scene_assert_home(&scene);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(an_abort_without_its_ledger_is_finished)
{
	enum domain_run run = _i / 2 / MOVES_CALLS_BACK_MOST ? RUN_OFF : RUN_RUNNING;

	moves_hold_late(_i, run);
	moves_disturb(_i % (2 * MOVES_CALLS_BACK_MOST), FAKE_KILL);
	scene_apart(&scene, scene_abort);
	goes_on(_i, scene_adopt_and_resume, run);
	scene_close(&scene);
}
END_TEST

/* ---- never a guess ------------------------------------------------------------------------- */

static void held_in_its_overlay(void)
{
	moves_open_running();
	moves_at("snapshot", 1, FAKE_AFTER, moves_write_little, GUINT_TO_POINTER(0x22));
	fake_fault(&(struct fake_fault){.call = "block-copy", .code = FAKE_KILL});
	ck_assert_int_eq(scene_apart(&scene, scene_move), SCENE_KILLED);
}

static void nothing_is_changed(const char *words)
{
	g_autofree char *live_before = fake_domain_xml(FAKE_UUID, FALSE);
	g_autoptr(GError) error = NULL;

	moves_lose_ledger();
	ck_assert(!scene_adopt_and_resume(&scene, &error));
	ck_assert_msg(error_exit_status(error) == 5, "%s", error->message);
	ck_assert_msg(strstr(error->message, words) != NULL, "%s", error->message);
	ck_assert_ptr_nonnull(strstr(error->message, "Nothing was changed"));

	g_autofree char *live = fake_domain_xml(FAKE_UUID, FALSE);

	ck_assert_str_eq(live, live_before);
	ck_assert_int_eq(fake_log_find("define", -1), -1);
	ck_assert_int_eq(fake_log_find("block-commit", -1), -1);
}

static void put_on(const char *path, const char *format)
{
	g_autofree char *xml = fake_domain_xml(FAKE_UUID, TRUE);
	AUTO(source) source = source_new(SOURCE_FILE, path);
	g_autoptr(GPtrArray) chain = g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);

	g_ptr_array_add(chain, layer_new(source, format));
	g_autofree char *wanted = xml_with_disk(xml, "vda", chain, FALSE, NULL);

	fake_domain_set_xml(FAKE_UUID, TRUE, wanted);
}

START_TEST(a_chain_that_the_element_does_not_explain_is_left_alone)
{
	held_in_its_overlay();
	g_autofree char *other = fake_path("other.raw");

	fake_off(FAKE_UUID);
	put_on(other, "raw");
	nothing_is_changed("other.raw");
	scene_close(&scene);
}
END_TEST

START_TEST(overlays_that_nobody_committed_are_not_removed)
{
	held_in_its_overlay();
	g_autofree char *overlay = fake_path("src/disk.raw.blockmig-1-1.qcow2");

	fake_off(FAKE_UUID);
	put_on(scene.source, "raw");
	nothing_is_changed("nobody committed");
	ck_assert(g_file_test(overlay, G_FILE_TEST_EXISTS));
	scene_close(&scene);
}
END_TEST

START_TEST(a_paused_guest_whose_sides_differ_is_a_persons_to_decide)
{
	g_autoptr(GError) error = NULL;

	moves_open_running();
	fake_fault(&(struct fake_fault){.call = "compare", .code = FAKE_KILL});
	ck_assert_int_eq(scene_apart(&scene, scene_move), SCENE_KILLED);
	/* It was resumed, wrote, and was paused by somebody. */
	fake_unpause(FAKE_UUID);
	scene_write(&scene, 5, 2, 0x77);
	fake_pause(FAKE_UUID);
	moves_lose_ledger();
	ck_assert(!scene_adopt_and_abort(&scene, &error));
	ck_assert_msg(error_exit_status(error) == 5, "%s", error->message);
	ck_assert_ptr_nonnull(strstr(error->message, "virsh resume"));
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_PAUSED);
	fake_unpause(FAKE_UUID);
	moves_resume_done();
	scene_assert_moved(&scene, "raw");
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_that_we_suspended_runs_again)
{
	moves_open_running();
	fake_fault(&(struct fake_fault){.call = "pivot", .when = _i, .code = FAKE_KILL});
	ck_assert_int_eq(scene_apart(&scene, scene_move), SCENE_KILLED);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_PAUSED);
	goes_on(0, scene_adopt_and_resume, RUN_RUNNING);
	AUTO(job) job = scene_job(&scene);

	/* It began with the suspend, which is no secret of the ledger's. */
	ck_assert_int_ge(job->downtime_ms, 0);
	ck_assert_int_lt(job->downtime_ms, 60 * 1000);
	scene_close(&scene);
}
END_TEST

/* ---- whose it is ---------------------------------------------------------------------------- */

static void is_elsewhere(const char *words)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) orphans = move_orphans(&scene.context, &error);
	gint64 job;

	ck_assert_uint_eq(orphans->len, 1);
	const struct move_orphan *orphan = g_ptr_array_index(orphans, 0);

	ck_assert_msg(orphan->elsewhere && strstr(orphan->elsewhere, words), "%s",
		      orphan->elsewhere);
	ck_assert(!move_adopt(&scene.context, orphan, &job, &error));
	ck_assert_int_eq(error_exit_status(error), 75);
}

START_TEST(a_job_of_another_ledger_is_not_taken)
{
	held_in_its_overlay();
	g_autofree char *other = fake_path("other-state");

	ledger_close(scene.ledger);
	scene.ledger = ledger_open(other, NULL);
	scene.context.ledger = scene.ledger;
	is_elsewhere("BLOCKMIG_STATE=");
	scene_close(&scene);
}
END_TEST

START_TEST(a_job_of_another_host_is_not_taken)
{
	g_autofree char *quoted = g_strdup_printf("&quot;%s&quot;", g_get_host_name());

	held_in_its_overlay();
	g_autofree char *xml = fake_domain_xml(FAKE_UUID, FALSE);
	g_auto(GStrv) parts = g_strsplit(xml, quoted, -1);
	g_autofree char *moved = g_strjoinv("&quot;another.example&quot;", parts);

	fake_domain_set_xml(FAKE_UUID, FALSE, moved);
	moves_lose_ledger();
	is_elsewhere("host another.example");
	scene_close(&scene);
}
END_TEST

START_TEST(a_job_keeps_its_number_where_that_is_free)
{
	g_autoptr(GPtrArray) orphans = NULL;
	struct ledger_job taken = {.kind = (char *)"copy",
				   .domain_uuid = (char *)"",
				   .domain_name = (char *)"",
				   .disk = (char *)"",
				   .source = (char *)"/a",
				   .destination = (char *)"/b",
				   .state = (char *)"{}",
				   .phase = (char *)"",
				   .message = (char *)""};
	gint64 job = 0;

	held_in_its_overlay();
	moves_lose_ledger();
	if (_i)
		ck_assert(ledger_job_add(scene.ledger, &taken, NULL));
	orphans = move_orphans(&scene.context, NULL);
	ck_assert(move_adopt(&scene.context, g_ptr_array_index(orphans, 0), &job, NULL));
	ck_assert_int_eq(job, _i ? 2 : 1);
	moves_abort_done();
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move orphans");
	TCase *live = tcase_create("live");
	TCase *cold = tcase_create("cold");
	TCase *back = tcase_create("back");
	TCase *stale = tcase_create("stale");
	TCase *doubts = tcase_create("doubts");
	const int calls_count = 2 * CALLS_MOST;

	tcase_add_loop_test(live, a_live_move_without_its_ledger_is_resumed, 0, calls_count);
	tcase_add_loop_test(live, a_live_move_without_its_ledger_is_aborted, 0, calls_count);
	tcase_add_loop_test(live, a_move_whose_host_and_ledger_are_gone_is_resumed, 0, calls_count);
	suite_add_tcase(suite, live);
	tcase_add_loop_test(stale, a_stale_inactive_xml_is_no_way_back_without_the_ledger, 0,
			    4 * calls_count);
	tcase_add_loop_test(
		stale, both_xmls_and_the_element_name_the_destination_before_the_guest_runs_there,
		0, MOVES_SHAPES);
	tcase_add_loop_test(stale, a_guest_that_would_boot_from_its_source_goes_back_to_it, 0,
			    MOVES_SHAPES);
	suite_add_tcase(suite, stale);
	tcase_add_loop_test(cold, a_cold_move_without_its_ledger_is_resumed, 0, calls_count);
	tcase_add_loop_test(cold, a_cold_move_without_its_ledger_is_aborted, 0, calls_count);
	suite_add_tcase(suite, cold);
	tcase_add_loop_test(back, an_abort_without_its_ledger_is_finished, 0,
			    4 * MOVES_CALLS_BACK_MOST);
	suite_add_tcase(suite, back);
	tcase_add_test(doubts, a_chain_that_the_element_does_not_explain_is_left_alone);
	tcase_add_test(doubts, overlays_that_nobody_committed_are_not_removed);
	tcase_add_test(doubts, a_paused_guest_whose_sides_differ_is_a_persons_to_decide);
	tcase_add_loop_test(doubts, a_guest_that_we_suspended_runs_again, FAKE_BEFORE,
			    FAKE_AFTER + 1);
	tcase_add_test(doubts, a_job_of_another_ledger_is_not_taken);
	tcase_add_test(doubts, a_job_of_another_host_is_not_taken);
	tcase_add_loop_test(doubts, a_job_keeps_its_number_where_that_is_free, 0, 2);
	suite_add_tcase(suite, doubts);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
