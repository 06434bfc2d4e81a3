/*
 * The destination's file, where its making is cut off between its creation and its size, and
 * where somebody else has made a file of its name.
 */
#include "common/error.h"
#include "tests/faked/moves.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The file has its name, and nothing else yet. */
static void cut_off(void *name)
{
	g_autofree char *path = fake_path(name);

	ck_assert_int_eq(truncate(path, 0), 0);
}

static void cut_off_at(guint nth, int code, char *name)
{
	fake_fault(&(struct fake_fault){.call = "create",
					.nth = nth,
					.when = FAKE_AFTER,
					.code = code,
					.hook = cut_off,
					.data = name});
}

static void die_cut_off(void)
{
	moves_open_running();
	cut_off_at(0, FAKE_KILL, (char[]){"dst/disk.raw"});
	ck_assert_int_eq(scene_apart(&scene, scene_move), SCENE_KILLED);
}

/* ---- ours ------------------------------------------------------------------------------------ */

START_TEST(a_creation_that_is_cut_off_is_made_whole_by_the_next_try)
{
	moves_open_running();
	scene.options.retry_for_ms = 1000;
	cut_off_at(0, BLOCKMIG_ERROR_TRANSIENT, (char[]){"dst/disk.raw"});
	moves_done();
	scene_assert_moved(&scene, "raw");
	scene_close(&scene);
}
END_TEST

START_TEST(a_file_that_has_no_size_as_we_died_is_made_whole_by_resume)
{
	die_cut_off();
	moves_resume_done();
	scene_assert_moved(&scene, "raw");
	scene_close(&scene);
}
END_TEST

START_TEST(a_file_that_has_no_size_as_we_died_is_removed_by_abort)
{
	die_cut_off();
	moves_abort_done();
	ck_assert_msg(!strstr(scene.warnings->str, "left behind"), "%s", scene.warnings->str);
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

/* The layer's name has the job's number, and that of the round. */
static void cut_layer_off(void *data)
{
	g_autofree char *listing = fake_listing("dst");
	g_auto(GStrv) names = g_strsplit(listing, "\n", -1);
	char **last = data;

	for (char **name = names; *name; name++)
		if (strstr(*name, ".blockmig-")) {
			*last = g_strconcat("dst/", *name, NULL);
			cut_off(*last);
		}
}

START_TEST(a_round_whose_layer_is_cut_off_is_made_whole_by_the_next_try)
{
	g_autofree char *layer = NULL;

	moves_open(&moves_shapes[2], RUN_RUNNING);
	scene.options.retry_for_ms = 1000;
	moves_write_in_between();
	fake_fault(&(struct fake_fault){.call = "create",
					.nth = 2,
					.when = FAKE_AFTER,
					.code = BLOCKMIG_ERROR_TRANSIENT,
					.hook = cut_layer_off,
					.data = &layer});
	moves_done();
	ck_assert_ptr_nonnull(layer);
	scene_assert_moved(&scene, "qcow2");
	scene_close(&scene);
}
END_TEST

/* ---- somebody else's ------------------------------------------------------------------------- */

static const gsize sizes[] = {0, 100, SCENE_BYTES};

static void put_file(void *size)
{
	g_autofree char *path = fake_path("dst/disk.raw");

	ck_assert(g_file_set_contents(path, "", 0, NULL));
	ck_assert_int_eq(truncate(path, *(const off_t *)size), 0);
}

static void assert_left_alone(const char *words)
{
	g_autoptr(GError) error = NULL;

	ck_assert(!scene_move(&scene, &error));
	ck_assert_msg(strstr(error->message, words) != NULL, "%s", error->message);
	scene_assert_home_leaving(&scene, "disk.raw\n");
	scene_close(&scene);
}

START_TEST(a_file_that_was_there_before_is_left_alone)
{
	g_autofree char *path = NULL;
	off_t size = (off_t)sizes[_i];

	moves_open_running();
	path = fake_path("dst/disk.raw");
	scene_go_to(&scene, path);
	put_file(&size);
	assert_left_alone("exists");
}
END_TEST

/* Even one that looks as we make them. */
START_TEST(a_file_that_comes_just_before_ours_is_left_alone)
{
	off_t size = (off_t)sizes[_i];

	moves_open_running();
	moves_at("create", 0, FAKE_BEFORE, put_file, &size);
	assert_left_alone("File exists");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move create");
	TCase *create = tcase_create("create");

	tcase_add_test(create, a_creation_that_is_cut_off_is_made_whole_by_the_next_try);
	tcase_add_test(create, a_file_that_has_no_size_as_we_died_is_made_whole_by_resume);
	tcase_add_test(create, a_file_that_has_no_size_as_we_died_is_removed_by_abort);
	tcase_add_test(create, a_round_whose_layer_is_cut_off_is_made_whole_by_the_next_try);
	tcase_add_loop_test(create, a_file_that_was_there_before_is_left_alone, 0,
			    G_N_ELEMENTS(sizes));
	tcase_add_loop_test(create, a_file_that_comes_just_before_ours_is_left_alone, 0,
			    G_N_ELEMENTS(sizes));
	suite_add_tcase(suite, create);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
