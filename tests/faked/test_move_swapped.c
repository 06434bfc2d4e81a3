/*
 * Another image answers where the source or the destination was: the array gave the LUN's
 * number to another, somebody put another file there.  It is nobody's to write to, or to erase.
 */
#include "tests/faked/moves.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char lun_url[] = "iscsi://array/iqn.2026-01.com.example:t1/1";

/* What took the place: as large, and full. */
static char *other_content;

static void put_another(const char *path)
{
	g_autofree char *aside = g_strconcat(path, ".was", NULL);
	g_autofree char *fresh = g_strconcat(path, ".new", NULL);

	g_free(other_content);
	other_content = g_strnfill(2 * SCENE_BYTES, 0x6e);
	ck_assert(g_file_set_contents(fresh, other_content, 2 * SCENE_BYTES, NULL));
	/* The old one keeps its inode: the new one has another. */
	ck_assert_int_eq(rename(path, aside), 0);
	ck_assert_int_eq(rename(fresh, path), 0);
}

static void put_another_hook(void *path)
{
	put_another(path);
}

static void assert_untouched(const char *path)
{
	g_autofree char *data = NULL;
	gsize bytes;

	ck_assert(g_file_get_contents(path, &data, &bytes, NULL));
	ck_assert_uint_eq(bytes, 2 * SCENE_BYTES);
	ck_assert_int_eq(memcmp(data, other_content, bytes), 0);
}

static void assert_told(const char *words)
{
	ck_assert_msg(strstr(scene.warnings->str, words) != NULL, "%s", scene.warnings->str);
}

/* ---- the destination ------------------------------------------------------------------------ */

static char *open_to_lun(void)
{
	char *lun;

	moves_open_running();
	lun = fake_path("luns/1");
	fake_image_create(lun, "raw", 2 * SCENE_BYTES, NULL, 0);
	scene_go_to(&scene, lun_url);
	scene.options.retry_for_ms = 0;
	return lun;
}

static void die_at(const char *call, enum fake_when when)
{
	fake_fault(&(struct fake_fault){.call = call, .when = when, .code = FAKE_KILL});
	ck_assert_int_eq(scene_apart(&scene, scene_move), SCENE_KILLED);
}

/* After the seed, and before it. */
static const struct {
	const char *call;
	enum fake_when when;
} deaths[] = {{"block-copy", FAKE_BEFORE}, {"snapshot", FAKE_AFTER}};

START_TEST(an_abort_does_not_empty_another_lun)
{
	g_autofree char *lun = open_to_lun();

	die_at(deaths[_i].call, deaths[_i].when);
	put_another(lun);
	moves_abort_done();
	assert_untouched(lun);
	assert_told(":t1/1 is left behind");
	assert_told("is not the image it was");
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

START_TEST(a_resume_does_not_write_to_another_lun)
{
	g_autofree char *lun = open_to_lun();
	g_autoptr(GError) error = NULL;

	die_at(deaths[_i].call, deaths[_i].when);
	put_another(lun);
	scene_new_process(&scene);
	ck_assert(!scene_resume(&scene, &error));
	ck_assert_msg(strstr(error->message, "is not the image it was") != NULL, "%s",
		      error->message);
	assert_untouched(lun);
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

/* Between the base and the first round, in one process. */
START_TEST(a_round_does_not_go_to_another_lun)
{
	g_autofree char *lun = open_to_lun();

	moves_write_in_between();
	moves_at("create-overlay", 2, FAKE_BEFORE, put_another_hook, lun);
	moves_fails(1);
	assert_untouched(lun);
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

/* ---- the source ----------------------------------------------------------------------------- */

START_TEST(a_file_that_took_the_sources_place_is_not_deleted)
{
	moves_open_running();
	scene.options.delete_source = TRUE;
	moves_at("pivot-commit", 1, FAKE_AFTER, put_another_hook, scene.source);
	moves_done();
	assert_untouched(scene.source);
	assert_told("the source is kept");
	scene_assert_content(&scene);
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move swapped");
	TCase *cases = tcase_create("swapped");

	tcase_add_loop_test(cases, an_abort_does_not_empty_another_lun, 0, G_N_ELEMENTS(deaths));
	tcase_add_loop_test(cases, a_resume_does_not_write_to_another_lun, 0, G_N_ELEMENTS(deaths));
	tcase_add_test(cases, a_round_does_not_go_to_another_lun);
	tcase_add_test(cases, a_file_that_took_the_sources_place_is_not_deleted);
	suite_add_tcase(suite, cases);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
