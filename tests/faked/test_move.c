/* Whole moves of a guest's disk over a fake libvirt and fake images. */
#include "tests/faked/moves.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

START_TEST(a_running_guest_that_writes_moves)
{
	moves_open(&moves_shapes[_i], RUN_RUNNING);
	moves_write_in_between();
	moves_done();
	scene_assert_moved(&scene, moves_shapes[_i].gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(a_paused_guest_moves_and_stays_paused)
{
	moves_open(&moves_shapes[_i], RUN_PAUSED);
	moves_done();
	scene_assert_moved(&scene, moves_shapes[_i].gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_PAUSED);
	ck_assert_int_eq(fake_log_find("resume", -1), -1);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_that_is_off_moves_and_stays_off)
{
	moves_open(&moves_shapes[_i], RUN_OFF);
	moves_done();
	scene_assert_moved(&scene, moves_shapes[_i].gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_OFF);
	ck_assert_int_eq(fake_log_find("snapshot", -1), -1);
	scene_close(&scene);
}
END_TEST

/* A LUN larger than the image keeps the guest's disk as large as it was. */
START_TEST(a_guest_moves_to_a_lun)
{
	g_autofree char *lun = NULL;
	g_autofree char *xml = NULL;

	moves_open(&moves_shapes[_i / 2 ? 2 : 0], _i % 2 ? RUN_RUNNING : RUN_OFF);
	lun = fake_path("luns/1");
	fake_image_create(lun, "raw", 2 * SCENE_BYTES, NULL, 0);
	scene_go_to(&scene, "iscsi://array/iqn.2026-01.com.example:t1/");
	moves_write_in_between();
	moves_done();
	xml = fake_domain_xml(FAKE_UUID, FALSE);
	ck_assert_msg(strstr(xml, "name='iqn.2026-01.com.example:t1/1'") != NULL, "%s", xml);
	ck_assert_msg(strstr(xml, "<slice type='storage' offset='0' size='8388608'/>") != NULL,
		      "%s", xml);
	scene_assert_content(&scene);
	scene_close(&scene);
}
END_TEST

/* The number of the question that is answered, and how many were asked. */
struct rates {
	guint answered, asked;
};

static gboolean no_limit_any_more(guint64 *rate, void *data)
{
	struct rates *rates = data;

	*rate = 0;
	return ++rates->asked == rates->answered;
}

/* As it begins, or while it copies: by the job's own rate this would take hours. */
START_TEST(a_new_rate_holds_at_once)
{
	struct rates rates = {.answered = 1 + (guint)_i};

	moves_open_running();
	scene.options.bwlimit = 64;
	scene.context.new_rate = no_limit_any_more;
	scene.context.new_rate_data = &rates;
	moves_done();
	ck_assert_uint_ge(rates.asked, rates.answered);
	scene_assert_moved(&scene, "raw");
	scene_close(&scene);
}
END_TEST

/* ---- order ------------------------------------------------------------------------------ */

static gboolean is_proven(const struct ledger_unit *unit, void *data)
{
	gboolean *all = data;

	*all = *all && unit->state == UNIT_PROVEN;
	return TRUE;
}

/* Before QEMU hears of the destination, every byte of it has been read back. */
static void assert_proven(void *data)
{
	AUTO(ledger_job) record = ledger_job_find(scene.ledger, FAKE_UUID, "vda", NULL);
	gint64 pass;
	gboolean all = TRUE;

	(void)data;
	ck_assert(ledger_pass_find(scene.ledger, record->id, "base", &pass, NULL));
	ck_assert_int_ne(pass, 0);
	ck_assert(ledger_units_each(scene.ledger, pass, is_proven, &all, NULL));
	ck_assert(all);
}

static void assert_cut_over(void *data)
{
	AUTO(job) job = scene_job(&scene);

	(void)data;
	ck_assert(job->cut_over);
	ck_assert(job->suspended);
}

static void assert_not_cut_over(void *data)
{
	AUTO(job) job = scene_job(&scene);

	(void)data;
	ck_assert(!job->cut_over);
	ck_assert(job->suspended);
}

static void assert_source_there(void *data)
{
	(void)data;
	ck_assert(g_file_test(scene.source, G_FILE_TEST_EXISTS));
}

/* The lines stand in the log in this order. */
static void assert_order(const char *const *lines)
{
	int last = -1;
	g_autofree char *log = fake_log();

	for (guint i = 0; lines[i]; i++) {
		last = fake_log_find(lines[i], last);
		ck_assert_msg(last >= 0, "no %s in its place in:\n%s", lines[i], log);
	}
}

START_TEST(a_move_keeps_its_order)
{
	static const char *const order[] = {
		"metadata set",	   "qemu-io", "create-overlay", "snapshot",	"create-overlay",
		"block-copy",	   "guard",   "suspend",	"pivot",	"compare",
		"metadata set",	   "resume",  "unguard",	"block-commit", "pivot-commit",
		"metadata remove", NULL};

	moves_open_running();
	scene.options.delete_source = TRUE;
	moves_at("block-copy", 1, FAKE_BEFORE, assert_proven, NULL);
	moves_at("suspend", 1, FAKE_BEFORE, assert_not_cut_over, NULL);
	moves_at("compare", 1, FAKE_BEFORE, assert_not_cut_over, NULL);
	moves_at("resume", 1, FAKE_BEFORE, assert_cut_over, NULL);
	moves_at("pivot-commit", 1, FAKE_AFTER, assert_source_there, NULL);
	moves_done();
	assert_order(order);
	ck_assert(!g_file_test(scene.source, G_FILE_TEST_EXISTS));
	scene_assert_content(&scene);
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move");
	TCase *whole = tcase_create("whole");

	tcase_add_loop_test(whole, a_running_guest_that_writes_moves, 0, 4);
	tcase_add_loop_test(whole, a_paused_guest_moves_and_stays_paused, 0, 4);
	tcase_add_loop_test(whole, a_guest_that_is_off_moves_and_stays_off, 0, 4);
	tcase_add_loop_test(whole, a_guest_moves_to_a_lun, 0, 4);
	tcase_add_loop_test(whole, a_new_rate_holds_at_once, 0, 2);
	tcase_add_test(whole, a_move_keeps_its_order);
	suite_add_tcase(suite, whole);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
