/*
 * What becomes of the copy where a move is undone: it is removed, or left behind and told; a
 * destination that does not let go of it never keeps the guest from its source.
 */
#include "common/error.h"
#include "tests/faked/disturb.h"
#include "tests/faked/moves.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void die_at(const char *call, enum fake_when when)
{
	fake_fault(&(struct fake_fault){.call = call, .when = when, .code = FAKE_KILL});
	ck_assert_int_eq(scene_apart(&scene, scene_move), SCENE_KILLED);
}

static void die(const char *call, enum fake_when when)
{
	moves_open_running();
	die_at(call, when);
}

/* @words: NULL: nothing is left behind. */
static void aborts_with(const char *words)
{
	moves_abort_done();
	ck_assert_int_eq(scene_result(&scene), JOB_ROLLED_BACK);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	const char *told = strstr(scene.warnings->str, "left behind");

	ck_assert_msg(words ? told && strstr(scene.warnings->str, words) : !told, "%s",
		      scene.warnings->str);
	disturb_clear();
}

static guint kept_count(void)
{
	g_autoptr(GPtrArray) kept = ledger_kept_list(scene.ledger, NULL);

	ck_assert_ptr_nonnull(kept);
	return kept->len;
}

/* ---- a file ------------------------------------------------------------------------------- */

static const struct {
	guint operation;
	int errnum;
	const char *words;
} refusals[] = {
	{DISTURB_OPEN, EACCES, "Permission denied"},
	{DISTURB_OPEN, ETIMEDOUT, "Connection timed out"},
	{DISTURB_REMOVE, EROFS, "Read-only file system"},
	{DISTURB_REMOVE, ETIMEDOUT, "Connection timed out"},
};

START_TEST(a_copy_that_cannot_be_removed_is_left_behind_and_known)
{
	die("block-copy", FAKE_BEFORE);
	disturb_images(&(struct disturb){.end = DISTURB_DESTINATION,
					 .operations = refusals[_i].operation,
					 .errnum = refusals[_i].errnum});
	aborts_with(refusals[_i].words);
	ck_assert_ptr_nonnull(strstr(scene.warnings->str, "/dst/disk.raw is left behind"));
	ck_assert_uint_eq(kept_count(), 1);
	scene_assert_home_leaving(&scene, "disk.raw\n");
	scene_close(&scene);
}
END_TEST

START_TEST(a_copy_whose_connection_is_cut_is_removed_over_another)
{
	die("block-copy", FAKE_BEFORE);
	scene.options.retry_for_ms = 1000;
	disturb_images(&(struct disturb){.end = DISTURB_DESTINATION,
					 .operations = DISTURB_ANY,
					 .times = 1,
					 .errnum = ECONNRESET});
	aborts_with(NULL);
	ck_assert_uint_eq(kept_count(), 0);
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

static void put_file(gsize bytes)
{
	g_autofree char *path = fake_path("dst/disk.raw");
	g_autofree char *text = g_strnfill(bytes, 'x');

	/* The old one is held, or the new one might get its number. */
	g_autofree char *old = fake_path("old");

	rename(path, old);
	ck_assert(g_file_set_contents(path, text, (gssize)bytes, NULL));
}

static void break_destination(void *errnum)
{
	disturb_images(&(struct disturb){DISTURB_DESTINATION, DISTURB_WRITE,
					 .errnum = GPOINTER_TO_INT(errnum)});
}

/* One would take the room that is missing; the other disk may be mended. */
START_TEST(a_copy_stays_where_its_disk_failed_and_goes_where_it_was_full)
{
	static const struct {
		int errnum;
		const char *left;
	} failures[] = {{ENOSPC, ""}, {EDQUOT, ""}, {EIO, "disk.raw\n"}};

	moves_open_running();
	scene.options.on_failure = ON_FAILURE_ROLLBACK;
	moves_at("snapshot", 1, FAKE_AFTER, break_destination,
		 GINT_TO_POINTER(failures[_i].errnum));
	moves_fails(1);
	disturb_clear();
	scene_assert_home_leaving(&scene, failures[_i].left);
	ck_assert_uint_eq(kept_count(), *failures[_i].left ? 1 : 0);
	moves_done();
	scene_assert_moved(&scene, "raw");
	ck_assert_uint_eq(kept_count(), 0);
	scene_close(&scene);
}
END_TEST

START_TEST(a_file_that_took_the_copys_place_is_left_alone)
{
	die("block-copy", FAKE_BEFORE);
	put_file(100);
	aborts_with("it is not the file that job 1 made");
	scene_assert_home_leaving(&scene, "disk.raw\n");
	scene_close(&scene);
}
END_TEST

/* We died before we could say that we made it: it is told by its size, and that it is empty. */
START_TEST(a_file_that_was_made_as_we_died_is_removed)
{
	die("create", FAKE_AFTER);
	aborts_with(NULL);
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

START_TEST(a_file_that_is_not_as_we_make_it_is_left_alone)
{
	static const gsize sizes[] = {100, SCENE_BYTES};

	die("create", FAKE_BEFORE);
	put_file(sizes[_i]);
	aborts_with("it is not the file that job 1 made");
	scene_assert_home_leaving(&scene, "disk.raw\n");
	scene_close(&scene);
}
END_TEST

START_TEST(a_copy_that_is_gone_already_is_not_missed)
{
	g_autofree char *path = NULL;

	die("block-copy", FAKE_BEFORE);
	path = fake_path("dst/disk.raw");
	ck_assert_int_eq(unlink(path), 0);
	aborts_with(NULL);
	ck_assert_uint_eq(kept_count(), 0);
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

/* ---- rounds that became layers -------------------------------------------------------------- */

static void die_with_a_round(void)
{
	g_autofree char *listing = NULL;

	moves_open(&moves_shapes[2], RUN_RUNNING);
	moves_write_in_between();
	die_at("block-copy", FAKE_BEFORE);
	listing = fake_listing("dst");
	ck_assert_msg(strstr(listing, "disk.qcow2.blockmig-1-") != NULL, "%s", listing);
}

START_TEST(rounds_that_became_layers_are_removed_with_the_copy)
{
	die_with_a_round();
	aborts_with(NULL);
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

START_TEST(rounds_that_cannot_be_removed_are_left_behind)
{
	g_autofree char *listing = NULL;

	die_with_a_round();
	listing = fake_listing("dst");
	disturb_images(&(struct disturb){
		.end = DISTURB_DESTINATION, .operations = DISTURB_REMOVE, .errnum = EROFS});
	aborts_with("Read-only file system");
	scene_assert_home_leaving(&scene, listing);
	scene_close(&scene);
}
END_TEST

/* ---- a LUN -------------------------------------------------------------------------------- */

static char *open_lun(guint8 value)
{
	char *lun;

	moves_open_running();
	lun = fake_path("luns/1");
	fake_image_create(lun, "raw", SCENE_BYTES, NULL, 0);
	if (value) {
		g_autofree char *data = g_strnfill(FAKE_CLUSTER, (char)value);

		fake_image_write(lun, "raw", FAKE_CLUSTER, data, FAKE_CLUSTER);
		scene.options.overwrite = TRUE;
	}
	scene_go_to(&scene, "iscsi://array/iqn.2026-01.com.example:t1/1");
	return lun;
}

static gboolean is_zero(const char *path)
{
	g_autofree char *data = NULL;
	gsize bytes;

	ck_assert(g_file_get_contents(path, &data, &bytes, NULL));
	ck_assert_uint_eq(bytes, SCENE_BYTES);
	for (gsize i = 0; i < bytes; i++)
		if (data[i])
			return FALSE;
	return TRUE;
}

START_TEST(a_lun_that_was_empty_is_empty_again)
{
	g_autofree char *lun = open_lun(0);

	die_at("block-copy", FAKE_BEFORE);
	ck_assert(!is_zero(lun));
	aborts_with(NULL);
	ck_assert(is_zero(lun));
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

START_TEST(a_lun_that_cannot_be_emptied_is_told)
{
	static const guint operations[] = {DISTURB_OPEN, DISTURB_WRITE, DISTURB_FLUSH};
	g_autofree char *lun = open_lun(0);

	die_at("block-copy", FAKE_BEFORE);
	disturb_images(&(struct disturb){
		.end = DISTURB_DESTINATION, .operations = operations[_i], .errnum = EIO});
	aborts_with("Input/output error");
	ck_assert_ptr_nonnull(strstr(scene.warnings->str, ":t1/1 is left behind"));
	/* Zeros that may not be stable are none. */
	ck_assert(operations[_i] == DISTURB_FLUSH || !is_zero(lun));
	ck_assert_uint_eq(kept_count(), 1);
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

START_TEST(a_lun_that_is_gone_is_not_missed)
{
	g_autofree char *lun = open_lun(0);

	die_at("block-copy", FAKE_BEFORE);
	ck_assert_int_eq(unlink(lun), 0);
	aborts_with(NULL);
	ck_assert_uint_eq(kept_count(), 0);
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

/* What it held before, nobody can give back. */
START_TEST(a_lun_that_was_overwritten_stays_as_it_is)
{
	g_autofree char *lun = open_lun(0x5a);

	die_at("block-copy", FAKE_BEFORE);
	aborts_with(NULL);
	ck_assert(!is_zero(lun));
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

/* But for its first block, where we had just looked whether QEMU reads what we write. */
START_TEST(a_lun_that_nothing_was_copied_to_is_not_touched)
{
	g_autofree char *lun = open_lun(0x5a);
	g_autofree char *before = NULL, *after = NULL;
	gsize bytes;

	ck_assert(g_file_get_contents(lun, &before, &bytes, NULL));
	die_at("qemu-io", FAKE_BEFORE);
	aborts_with(NULL);
	ck_assert(g_file_get_contents(lun, &after, NULL, NULL));
	ck_assert_int_eq(memcmp(before + 4096, after + 4096, bytes - 4096), 0);
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move undo copy");
	TCase *copy = tcase_create("copy");

	tcase_add_loop_test(copy, a_copy_that_cannot_be_removed_is_left_behind_and_known, 0,
			    G_N_ELEMENTS(refusals));
	tcase_add_test(copy, a_copy_whose_connection_is_cut_is_removed_over_another);
	tcase_add_loop_test(copy, a_copy_stays_where_its_disk_failed_and_goes_where_it_was_full, 0,
			    3);
	tcase_add_test(copy, a_file_that_took_the_copys_place_is_left_alone);
	tcase_add_test(copy, a_file_that_was_made_as_we_died_is_removed);
	tcase_add_loop_test(copy, a_file_that_is_not_as_we_make_it_is_left_alone, 0, 2);
	tcase_add_test(copy, a_copy_that_is_gone_already_is_not_missed);
	tcase_add_test(copy, rounds_that_became_layers_are_removed_with_the_copy);
	tcase_add_test(copy, rounds_that_cannot_be_removed_are_left_behind);
	tcase_add_test(copy, a_lun_that_was_empty_is_empty_again);
	tcase_add_loop_test(copy, a_lun_that_cannot_be_emptied_is_told, 0, 3);
	tcase_add_test(copy, a_lun_that_is_gone_is_not_missed);
	tcase_add_test(copy, a_lun_that_was_overwritten_stays_as_it_is);
	tcase_add_test(copy, a_lun_that_nothing_was_copied_to_is_not_touched);
	suite_add_tcase(suite, copy);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
