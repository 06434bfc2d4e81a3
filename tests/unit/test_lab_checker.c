/*
 * The laboratory's checker must find what it is there to find: each test gives it a
 * small history and a disk, most of them with one thing wrong.
 */
#include "tests/lab/stamp.h"

#include <check.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdlib.h>

enum { BLOCKS = 64, RUN = 7 };

static char *folder, *checker, *history_path, *disk_path, *before_path;
static struct stamp disk[BLOCKS];
static gsize disk_bytes;
static GString *history;

static void build_checker(void)
{
	g_autofree char *build = NULL;
	g_autoptr(GError) error = NULL;
	const char *argv[] = {"make", "-s", "-C", "tests/lab", NULL, NULL, NULL};
	int status;

	folder = g_dir_make_tmp("lab-checker-XXXXXX", NULL);
	ck_assert_ptr_nonnull(folder);
	checker = g_build_filename(folder, "checker", NULL);
	history_path = g_build_filename(folder, "history", NULL);
	disk_path = g_build_filename(folder, "disk", NULL);
	before_path = g_build_filename(folder, "before", NULL);
	build = g_strconcat("BUILD=", folder, NULL);
	argv[4] = build;
	argv[5] = checker;
	ck_assert_msg(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
				   NULL, &status, &error) &&
			      status == 0,
		      "the checker cannot be built (run it from the repository's folder)");
}

static void remove_checker(void)
{
	g_remove(checker);
	g_remove(history_path);
	g_remove(disk_path);
	g_remove(before_path);
	g_rmdir(folder);
	g_free(checker);
	g_free(history_path);
	g_free(disk_path);
	g_free(before_path);
	g_free(folder);
}

/* Writes 1, 2, 3 to blocks 10, 11, 12, all acknowledged and there. */
static void three_good_writes(void)
{
	memset(disk, 0, sizeof(disk));
	disk_bytes = sizeof(disk);
	history = g_string_new("vda B 7 64 1 random\n");
	for (guint i = 0; i < 3; i++) {
		g_string_append_printf(history, "vda w %u %u 1\nvda a %u %u 1 250\n", i + 1, 10 + i,
				       i + 1, 10 + i);
		stamp_fill(&disk[10 + i], RUN, stamp_disk("vda"), 10 + i, i + 1);
	}
}

static void free_history(void)
{
	g_string_free(history, TRUE);
}

/* The checker's status; @option may be NULL. */
static int check(char *option)
{
	char *argv[] = {checker, history_path, disk_path, option, NULL};
	g_autoptr(GError) error = NULL;
	int status;

	g_assert_true(g_file_set_contents(history_path, history->str, -1, NULL));
	g_assert_true(g_file_set_contents(disk_path, (const char *)disk, (gssize)disk_bytes, NULL));
	g_assert_true(g_spawn_sync(NULL, argv, NULL,
				   G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL, NULL,
				   NULL, NULL, NULL, &status, NULL));
	if (g_spawn_check_wait_status(status, &error))
		return 0;
	return error->domain == G_SPAWN_EXIT_ERROR ? error->code : -1;
}

static void put(guint64 block, guint64 sequence)
{
	stamp_fill(&disk[block], RUN, stamp_disk("vda"), block, sequence);
}

START_TEST(all_there_is_well)
{
	ck_assert_int_eq(check(NULL), 0);
}
END_TEST

START_TEST(one_flipped_bit_is_damage)
{
	((char *)&disk[11])[3000] ^= 1;
	ck_assert_int_eq(check(NULL), 1);
}
END_TEST

START_TEST(a_write_that_is_not_there_is_lost)
{
	memset(&disk[11], 0, sizeof(disk[11]));
	ck_assert_int_eq(check(NULL), 1);
}
END_TEST

START_TEST(an_older_write_in_its_place_is_lost)
{
	g_string_append(history, "vda w 4 10 1\nvda a 4 10 1 250\n");
	ck_assert_int_eq(check(NULL), 1);
	put(10, 4);
	ck_assert_int_eq(check(NULL), 0);
}
END_TEST

START_TEST(a_block_in_the_wrong_place_is_noticed)
{
	disk[20] = disk[11];
	ck_assert_int_eq(check(NULL), 1);
}
END_TEST

START_TEST(a_block_of_another_disk_is_lost)
{
	stamp_fill(&disk[11], RUN, stamp_disk("vdb"), 11, 2);
	ck_assert_int_eq(check(NULL), 1);
}
END_TEST

START_TEST(a_write_in_flight_may_be_there_or_not)
{
	g_string_append(history, "vda w 4 10 1\n");
	ck_assert_int_eq(check(NULL), 0);
	put(10, 4);
	ck_assert_int_eq(check(NULL), 0);
}
END_TEST

START_TEST(a_write_in_flight_may_not_hide_a_later_one)
{
	g_string_append(history, "vda w 4 10 1\nvda B 7 64 1003 random\n"
				 "vda w 1003 10 1\nvda a 1003 10 1 250\n");
	put(10, 4);
	ck_assert_int_eq(check(NULL), 1);
	put(10, 1003);
	ck_assert_int_eq(check(NULL), 0);
}
END_TEST

START_TEST(a_write_announced_elsewhere_is_not_in_flight)
{
	g_string_append(history, "vda w 4 30 1\nvda a 4 30 1 250\nvda w 5 31 1\n");
	put(30, 4);
	ck_assert_int_eq(check(NULL), 0);
	put(10, 4);
	ck_assert_int_eq(check(NULL), 1);
}
END_TEST

START_TEST(a_write_behind_the_end_of_the_log_is_in_flight)
{
	put(10, 9);
	ck_assert_int_eq(check(NULL), 0);
	g_string_append(history, "vda wvda B 7 64 1003 random\n");
	ck_assert_int_eq(check(NULL), 0);
}
END_TEST

START_TEST(zeros_are_right_only_after_a_discard)
{
	g_string_append(history, "vda d 4 10 2\nvda D 4 10 2 90\n");
	ck_assert_int_eq(check(NULL), 0);
	memset(&disk[10], 0, 2 * sizeof(disk[10]));
	ck_assert_int_eq(check(NULL), 0);
	memset(&disk[12], 0, sizeof(disk[12]));
	ck_assert_int_eq(check(NULL), 1);
}
END_TEST

START_TEST(a_write_after_a_discard_must_be_there)
{
	g_string_append(history, "vda d 4 10 2\nvda D 4 10 2 90\nvda w 5 10 1\nvda a 5 10 1 250\n");
	put(10, 5);
	ck_assert_int_eq(check(NULL), 0);
	memset(&disk[10], 0, sizeof(disk[10]));
	ck_assert_int_eq(check(NULL), 1);
}
END_TEST

START_TEST(an_error_in_the_guest_is_no_success)
{
	g_string_append(history, "vda w 4 10 1\nvda E 4 10 5\n");
	ck_assert_int_eq(check(NULL), 1);
}
END_TEST

START_TEST(a_wrong_read_in_the_guest_is_no_success)
{
	g_string_append(history, "vda R 2 11 1 0\n");
	ck_assert_int_eq(check(NULL), 1);
}
END_TEST

START_TEST(another_disks_lines_are_not_counted)
{
	g_string_append(history, "vdb B 7 64 1 random\nvdb E 4 10 5\n");
	ck_assert_int_eq(check(NULL), 0);
}
END_TEST

START_TEST(a_block_that_was_never_written_must_be_as_before)
{
	g_autofree char *option = g_strconcat("--before=", before_path, NULL);

	memset(&disk[40], 'x', sizeof(disk[40]));
	g_assert_true(
		g_file_set_contents(before_path, (const char *)disk, (gssize)sizeof(disk), NULL));
	ck_assert_int_eq(check(option), 0);
	((char *)&disk[40])[17] ^= 1;
	ck_assert_int_eq(check(option), 1);
}
END_TEST

START_TEST(a_disk_that_is_too_short_has_lost_its_end)
{
	g_string_append(history, "vda w 4 63 1\nvda a 4 63 1 250\n");
	put(63, 4);
	ck_assert_int_eq(check(NULL), 0);
	disk_bytes -= STAMP_BLOCK_BYTES;
	ck_assert_int_eq(check(NULL), 1);
}
END_TEST

START_TEST(no_history_is_no_success)
{
	g_string_truncate(history, 0);
	ck_assert_int_eq(check(NULL), 2);
	g_string_append(history, "vda B 7 64 1 random\n");
	ck_assert_int_eq(check(NULL), 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lab checker");
	TCase *tests = tcase_create("checker");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tests, 60);
	tcase_add_unchecked_fixture(tests, build_checker, remove_checker);
	tcase_add_checked_fixture(tests, three_good_writes, free_history);
	tcase_add_test(tests, all_there_is_well);
	tcase_add_test(tests, one_flipped_bit_is_damage);
	tcase_add_test(tests, a_write_that_is_not_there_is_lost);
	tcase_add_test(tests, an_older_write_in_its_place_is_lost);
	tcase_add_test(tests, a_block_in_the_wrong_place_is_noticed);
	tcase_add_test(tests, a_block_of_another_disk_is_lost);
	tcase_add_test(tests, a_write_in_flight_may_be_there_or_not);
	tcase_add_test(tests, a_write_in_flight_may_not_hide_a_later_one);
	tcase_add_test(tests, a_write_announced_elsewhere_is_not_in_flight);
	tcase_add_test(tests, a_write_behind_the_end_of_the_log_is_in_flight);
	tcase_add_test(tests, zeros_are_right_only_after_a_discard);
	tcase_add_test(tests, a_write_after_a_discard_must_be_there);
	tcase_add_test(tests, an_error_in_the_guest_is_no_success);
	tcase_add_test(tests, a_wrong_read_in_the_guest_is_no_success);
	tcase_add_test(tests, another_disks_lines_are_not_counted);
	tcase_add_test(tests, a_block_that_was_never_written_must_be_as_before);
	tcase_add_test(tests, a_disk_that_is_too_short_has_lost_its_end);
	tcase_add_test(tests, no_history_is_no_success);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
