/* The copy engine between real files: sparse ones, and a process killed in the middle. */
#include "blockmig/copy/compare.h"
#include "common/error.h"
#include "common/units.h"
#include "tests/unit/resuming.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char *folder, *source, *destination;
static struct copying copying;

#define ck_ok(condition)                                                                           \
	ck_assert_msg(condition, "%s", copying.error ? copying.error->message : "?")

static void setup(void)
{
	folder = folder_make("resume");
	source = g_build_filename(folder, "source", NULL);
	destination = g_build_filename(folder, "destination", NULL);
}

static void teardown(void)
{
	folder_remove(folder);
	g_free(destination);
	g_free(source);
	g_free(folder);
}

static void make_file(const char *path, guint64 size_bytes)
{
	const int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size_bytes), 0);
	close(fd);
}

static void fill_file(const char *path, guint64 offset_bytes, guint64 length_bytes)
{
	const int fd = open(path, O_WRONLY);
	g_autofree guint8 *data = g_malloc(MiB);
	g_autoptr(GRand) random = g_rand_new_with_seed((guint32)offset_bytes + 1);

	for (guint64 at = 0; at < length_bytes; at += MiB) {
		const gsize piece = MIN(MiB, length_bytes - at);

		for (gsize i = 0; i < MiB; i += 4)
			*(guint32 *)(void *)(data + i) = g_rand_int(random);
		ck_assert_int_eq(pwrite(fd, data, piece, (off_t)(offset_bytes + at)),
				 (gssize)piece);
	}
	close(fd);
}

static void begin(guint64 content_bytes)
{
	copying_begin_urls(&copying, url_parse(source, NULL), url_parse(destination, NULL),
			   content_bytes);
}

static void assert_equal_images(void)
{
	struct compare_totals totals;

	ck_ok(compare_images(&copying.source_end, &copying.destination_end,
			     copying.spec.content_bytes, copying.spec.unit_bytes, NULL, 0, 0, NULL,
			     NULL, &totals, &copying.error));
}

START_TEST(a_killed_copy_carries_on_and_sends_a_window_again_at_most)
{
	const guint64 size = 160 * MiB + 4096 + 512;
	pid_t child;

	make_file(source, size);
	fill_file(source, 0, size);
	make_file(destination, size);
	begin(size);
	ledger_close(copying.ledger);
	child = resuming_start_child(&copying, 32 * MiB);
	resuming_wait_until_done(&copying, 24);
	resuming_kill(child);

	resuming_open_ledger(&copying);
	ck_ok(copying_run(&copying));
	ck_assert_uint_ge(copying.totals.bytes_skipped, MiB);
	ck_assert_uint_le(copying.totals.bytes_resent, COPY_WINDOW_BYTES);
	ck_assert_uint_eq(copying.totals.bytes_skipped + copying.totals.bytes_sent, size);
	ck_assert_uint_eq(copying.totals.units_proven, copying.totals.units_total);
	assert_equal_images();
	copying_end(&copying);
}
END_TEST

START_TEST(a_sparse_tebibyte_takes_time_by_its_data)
{
	const gint64 from_us = g_get_monotonic_time();
	struct stat status;

	make_file(source, TiB);
	for (guint i = 0; i < 10; i++)
		fill_file(source, i * 100 * GiB + 12345 * 512, 2 * MiB);
	make_file(destination, TiB);
	begin(TiB);
	copying.spec.unit_bytes = COPY_UNIT_DEFAULT;
	ck_ok(copying_run(&copying));
	ck_assert_uint_eq(copying.totals.units_proven, copying.totals.units_total);
	ck_assert_uint_ge(copying.totals.bytes_data, 20 * MiB);
	ck_assert_uint_le(copying.totals.bytes_sent, 22 * MiB);
	ck_assert_int_eq(stat(destination, &status), 0);
	ck_assert_int_le(status.st_blocks * 512, 24 * MiB);
	assert_equal_images();
	ck_assert_int_lt(g_get_monotonic_time() - from_us, 30 * G_USEC_PER_SEC);
	copying_end(&copying);
}
END_TEST

START_TEST(the_largest_sparse_file_is_resumed_at_once_and_in_little_memory)
{
	const guint64 end = LARGEST_BYTES / COPY_UNIT_DEFAULT;

	make_file(source, LARGEST_BYTES);
	fill_file(source, 0, 64 * MiB);
	fill_file(source, (end - 1) * COPY_UNIT_DEFAULT, 2 * MiB);
	make_file(destination, LARGEST_BYTES);
	begin(LARGEST_BYTES);
	copying.spec.unit_bytes = COPY_UNIT_DEFAULT;
	resuming_assert_largest(&copying);
	assert_equal_images();
	copying_end(&copying);
}
END_TEST

START_TEST(a_used_file_is_overwritten_and_stays_thin)
{
	struct stat status;

	make_file(source, 32 * MiB);
	fill_file(source, 8 * MiB, MiB);
	make_file(destination, 32 * MiB);
	fill_file(destination, 0, 32 * MiB);
	begin(32 * MiB);
	copying.spec.fresh = FALSE;
	ck_ok(copying_run(&copying));
	assert_equal_images();
	ck_assert_int_eq(stat(destination, &status), 0);
	ck_assert_int_le(status.st_blocks * 512, 2 * MiB);
	copying_end(&copying);
}
END_TEST

START_TEST(a_flipped_byte_of_a_copied_file_is_found)
{
	struct compare_totals totals;
	int fd;

	make_file(source, 4 * MiB);
	fill_file(source, 0, 3 * MiB);
	make_file(destination, 4 * MiB);
	begin(4 * MiB);
	ck_ok(copying_run(&copying));
	fd = open(destination, O_WRONLY);
	ck_assert_int_eq(pwrite(fd, "x", 1, _i ? MiB + 17 : 3 * MiB + 600), 1);
	close(fd);
	ck_assert(!compare_images(&copying.source_end, &copying.destination_end, 4 * MiB, MiB, NULL,
				  0, 0, NULL, NULL, &totals, &copying.error));
	ck_assert(error_is(copying.error, BLOCKMIG_ERROR_INTEGRITY));
	copying_end(&copying);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("resume");
	TCase *tests = tcase_create("resume");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_set_timeout(tests, 120);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, a_killed_copy_carries_on_and_sends_a_window_again_at_most);
	tcase_add_test(tests, a_sparse_tebibyte_takes_time_by_its_data);
	tcase_add_test(tests, the_largest_sparse_file_is_resumed_at_once_and_in_little_memory);
	tcase_add_test(tests, a_used_file_is_overwritten_and_stays_thin);
	tcase_add_loop_test(tests, a_flipped_byte_of_a_copied_file_is_found, 0, 2);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
