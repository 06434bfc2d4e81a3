#include "common/error.h"
#include "common/units.h"
#include "tests/unit/files.h"
#include "tests/unit/loops.h"
#include "tests/unit/temp.h"
#include "transports/transport.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- helpers ------------------------------------------------------------------ */

/* Writes a pattern, flushes, and reads it over another handle; tells whether it is it. */
static void check_round_trip(struct handle *writer, const struct url *url, gsize count,
			     guint64 offset, gsize skew)
{
	char *data = transport_buffer_new(count + TRANSPORT_ALIGN);
	char *got = transport_buffer_new(count + TRANSPORT_ALIGN);
	AUTO(handle) reader = files_open(url, HANDLE_READ);

	pattern_fill(data, count + TRANSPORT_ALIGN, (guint)offset + 1);
	ck_assert(handle_write(writer, data + skew, count, offset, NULL));
	ck_assert(handle_flush(writer, NULL));
	ck_assert(handle_read(reader, got + skew, count, offset, NULL));
	ck_assert(memcmp(got + skew, data + skew, count) == 0);
	transport_buffer_free(data);
	transport_buffer_free(got);
}

/* The pages of a file that the page cache holds. */
static guint cached_pages(const char *path, gsize size_bytes)
{
	gsize pages = (size_bytes + 4095) / 4096;
	g_autofree guint8 *resident = g_new0(guint8, pages);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *map = mmap(NULL, size_bytes, PROT_READ, MAP_SHARED, fd, 0);
	guint count = 0;

	ck_assert(map != MAP_FAILED && mincore(map, size_bytes, resident) == 0);
	for (gsize i = 0; i < pages; i++)
		count += resident[i] & 1;
	munmap(map, size_bytes);
	close(fd);
	return count;
}

/* ---- transfers ---------------------------------------------------------------- */

static const struct {
	gsize count;
	guint64 offset;
	gsize skew;
} transfers[] = {
	{4 * MiB, 0, 0},	{1, 0, 0},
	{4095, 1, 0},		{4097, 4095, 1},
	{4 * MiB + 1234, 0, 0}, {1234, 4 * MiB, 0},
	{1, 4 * MiB + 1233, 0}, {2 * MiB, 512, 0},
	{MiB + 7, 4096, 512},	{4 * MiB + 1233, 1, 1},
};

START_TEST(what_is_written_anywhere_is_read_again)
{
	AUTO(url) url = NULL;
	g_autofree char *name = g_strdup_printf("any-%d", _i);
	AUTO(handle) writer = files_new(name, 4 * MiB + 1234, &url);

	check_round_trip(writer, url, transfers[_i].count, transfers[_i].offset,
			 transfers[_i].skew);
}
END_TEST

START_TEST(a_flipped_byte_is_seen)
{
	AUTO(url) url = NULL;
	AUTO(handle) writer = files_new("flipped", 64 * KiB, &url);
	AUTO(handle) reader = NULL;
	char *data = transport_buffer_new(64 * KiB), *got = transport_buffer_new(64 * KiB);
	int fd = open(url->path, O_RDWR | O_CLOEXEC);
	char byte;

	pattern_fill(data, 64 * KiB, 9);
	ck_assert(handle_write(writer, data, 64 * KiB, 0, NULL) && handle_flush(writer, NULL));
	ck_assert_int_eq(pread(fd, &byte, 1, 40000), 1);
	byte ^= 1;
	ck_assert_int_eq(pwrite(fd, &byte, 1, 40000), 1);
	close(fd);
	reader = files_open(url, HANDLE_READ);
	ck_assert(handle_read(reader, got, 64 * KiB, 0, NULL));
	ck_assert(memcmp(got, data, 64 * KiB) != 0);
	transport_buffer_free(data);
	transport_buffer_free(got);
}
END_TEST

START_TEST(a_copy_leaves_nothing_in_the_page_cache)
{
	enum { BYTES = 8 << 20 };
	AUTO(url) url = NULL;
	AUTO(handle) writer = files_new("uncached", BYTES + 100, &url);
	char *data = transport_buffer_new(BYTES + 100);

	pattern_fill(data, BYTES + 100, 1);
	ck_assert(handle_write(writer, data, BYTES + 100, 0, NULL));
	ck_assert(handle_flush(writer, NULL));
	ck_assert_uint_eq(cached_pages(url->path, BYTES + 100), 0);

	AUTO(handle) reader = files_open(url, HANDLE_READ);
	ck_assert(handle_read(reader, data, BYTES, 0, NULL));
	ck_assert_uint_eq(cached_pages(url->path, BYTES), 0);
	transport_buffer_free(data);
}
END_TEST

/* Some pages in the cache and some not, and one of them newer than the disk. */
START_TEST(what_the_cache_holds_and_what_the_disk_holds_make_one_image)
{
	enum { BYTES = 8 << 20 };
	AUTO(url) url = NULL;
	AUTO(handle) writer = files_new("mixed", BYTES, &url);
	char *data = transport_buffer_new(BYTES), *got = transport_buffer_new(BYTES);
	int fd = open(url->path, O_RDWR | O_CLOEXEC);

	pattern_fill(data, BYTES, 1);
	ck_assert(handle_write(writer, data, BYTES, 0, NULL) && handle_flush(writer, NULL));
	ck_assert_int_eq(pread(fd, got, 64 * KiB, 0), 64 * KiB);
	ck_assert_int_eq(pread(fd, got, 64 * KiB, 5 * MiB), 64 * KiB);
	pattern_fill(data + 3 * MiB + 7, 100, 2);
	ck_assert_int_eq(pwrite(fd, data + 3 * MiB + 7, 100, 3 * MiB + 7), 100);
	close(fd);
	ck_assert(handle_read(writer, got, BYTES, 0, NULL));
	ck_assert(memcmp(got, data, BYTES) == 0);
	transport_buffer_free(data);
	transport_buffer_free(got);
}
END_TEST

START_TEST(a_file_that_was_cut_short_is_an_error)
{
	AUTO(url) url = NULL;
	AUTO(handle) handle = files_new("cut", MiB, &url);
	g_autoptr(GError) error = NULL;
	char *buffer = transport_buffer_new(MiB);

	ck_assert_int_eq(truncate(url->path, 4096), 0);
	ck_assert(!handle_read(handle, buffer, MiB, 0, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_PERMANENT));
	/* What is missing must not pass for a hole. */
	ck_assert_ptr_null(handle_extents(handle, MiB, 0, NULL));
	transport_buffer_free(buffer);
}
END_TEST

static void mount_small(const char *path, const char *options)
{
	ck_assert_int_eq(g_mkdir(path, 0700), 0);
	loop_mounts_begin();
	ck_assert_int_eq(mount("tmpfs", path, "tmpfs", 0, options), 0);
}

START_TEST(a_full_disk_is_named)
{
	g_autofree char *mounted = temp_path("full");
	AUTO(url) url = NULL;
	g_autoptr(GError) error = NULL;
	char *data = transport_buffer_new(2 * MiB);

	mount_small(mounted, "size=1m");
	AUTO(handle) handle = files_new("full/image", 2 * MiB, &url);
	pattern_fill(data, 2 * MiB, 1);
	ck_assert(!handle_write(handle, data, 2 * MiB, 0, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_FULL));
	ck_assert_ptr_nonnull(strstr(error->message, url->path));
	ck_assert_ptr_nonnull(strstr(error->message, g_strerror(ENOSPC)));
	transport_buffer_free(data);
}
END_TEST

/* tmpfs: RWF_NOWAIT and ZERO_RANGE are refused there. */
START_TEST(a_file_system_without_the_extras_works)
{
	g_autofree char *mounted = temp_path("plain");
	AUTO(url) url = NULL;

	mount_small(mounted, "size=8m");
	AUTO(handle) handle = files_new("plain/image", 2 * MiB + 5, &url);
	check_round_trip(handle, url, 2 * MiB + 5, 0, 0);
	ck_assert(handle_zero(handle, MiB, 3, NULL));
	check_round_trip(handle, url, 100, 2 * MiB - 95, 0);
}
END_TEST

/* In place of the C library's: fails as often as told, as a dying disk does. */
static guint failing_syncs;

int fdatasync(int fd)
{
	if (failing_syncs == 0)
		return fsync(fd);
	failing_syncs--;
	errno = EIO;
	return -1;
}

START_TEST(a_failed_flush_is_not_followed_by_a_successful_one)
{
	AUTO(url) url = NULL;
	AUTO(handle) handle = files_new("dying", 4096, &url);
	g_autoptr(GError) error = NULL;

	failing_syncs = 1;
	ck_assert(!handle_flush(handle, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_LATER));
	ck_assert_ptr_nonnull(strstr(error->message, g_strerror(EIO)));
	/* The kernel tells it once; what was lost is still lost. */
	ck_assert(!handle_flush(handle, NULL));
	AUTO(handle) fresh = files_open(url, HANDLE_WRITE);
	ck_assert(handle_flush(fresh, NULL));
}
END_TEST

/* ---- zeros and extents -------------------------------------------------------- */

static guint64 allocated(struct handle *handle)
{
	struct image_info info;

	ck_assert(handle_describe(handle, &info, NULL));
	return info.allocated_bytes;
}

START_TEST(a_zeroed_range_is_thin_and_reads_as_zeros)
{
	AUTO(url) url = NULL;
	AUTO(handle) handle = files_new("thin", 4 * MiB, &url);
	char *data = transport_buffer_new(4 * MiB), *got = transport_buffer_new(4 * MiB);

	pattern_fill(data, 4 * MiB, 1);
	ck_assert(handle_write(handle, data, 4 * MiB, 0, NULL) && handle_flush(handle, NULL));
	guint64 before = allocated(handle);
	ck_assert(handle_zero(handle, 2 * MiB + 10, MiB - 5, NULL) && handle_flush(handle, NULL));
	memset(data + MiB - 5, 0, 2 * MiB + 10);
	ck_assert_uint_le(allocated(handle) + 2 * MiB, before);
	ck_assert(handle_read(handle, got, 4 * MiB, 0, NULL));
	ck_assert(memcmp(got, data, 4 * MiB) == 0);

	AUTO(extents) extents = handle_extents(handle, 4 * MiB, 0, NULL);
	ck_assert_uint_eq(extents_count(extents), 3);
	ck_assert_uint_eq(extents_bytes(extents, EXTENT_ZERO), 2 * MiB);
	transport_buffer_free(data);
	transport_buffer_free(got);
}
END_TEST

START_TEST(extents_of_an_empty_tebibyte_take_no_time)
{
	AUTO(url) url = NULL;
	AUTO(handle) handle = files_new("huge", TiB, &url);
	char *data = transport_buffer_new(MiB);
	gint64 begin = g_get_monotonic_time();

	pattern_fill(data, MiB, 1);
	ck_assert(handle_write(handle, data, MiB, TiB / 2, NULL));
	AUTO(extents) extents = handle_extents(handle, TiB, 0, NULL);
	ck_assert_uint_eq(extents_count(extents), 3);
	ck_assert_uint_eq(extents_get(extents, 1)->offset_bytes, TiB / 2);
	ck_assert_uint_eq(extents_bytes(extents, EXTENT_DATA), MiB);
	ck_assert_int_lt(g_get_monotonic_time() - begin, 5 * G_TIME_SPAN_SECOND);

	AUTO(extents) part = handle_extents(handle, MiB, TiB / 2 + MiB / 2, NULL);
	ck_assert_uint_eq(extents_count(part), 2);
	ck_assert_uint_eq(extents_bytes(part, EXTENT_DATA), MiB / 2);
	transport_buffer_free(data);
}
END_TEST

/* ---- what an image is --------------------------------------------------------- */

START_TEST(what_is_no_image_is_refused)
{
	g_autofree char *folder = temp_path("folder"), *fifo = temp_path("fifo");
	const char *const paths[] = {folder, fifo, "/dev/null"};

	ck_assert_int_eq(g_mkdir(folder, 0700), 0);
	ck_assert_int_eq(mkfifo(fifo, 0600), 0);
	for (guint i = 0; i < G_N_ELEMENTS(paths); i++) {
		AUTO(url) url = url_parse(paths[i], NULL);
		g_autoptr(GError) error = NULL;
		ck_assert_ptr_null(handle_open(url, NULL, HANDLE_READ, &error));
		ck_assert(error_is(error, BLOCKMIG_ERROR_PERMANENT));
		ck_assert_ptr_nonnull(strstr(error->message, paths[i]));
	}
}
END_TEST

START_TEST(a_resized_image_has_its_new_bounds)
{
	AUTO(url) url = NULL;
	AUTO(handle) handle = files_new("resized", 4096, &url);

	ck_assert(!handle_zero(handle, 1, 8191, NULL));
	ck_assert(handle_resize(handle, 8192, NULL));
	ck_assert(handle_zero(handle, 1, 8191, NULL));
	ck_assert(handle_resize(handle, 100, NULL));
	ck_assert(!handle_zero(handle, 1, 100, NULL));
}
END_TEST

/* ---- block devices ------------------------------------------------------------ */

START_TEST(a_block_device_is_read_and_written_and_zeroed)
{
	AUTO(url) backing = files_url("backing");
	g_autofree char *path = NULL;
	struct image_info info;
	char *got = transport_buffer_new(MiB);

	files_create(backing, 8 * MiB);
	int device = loop_attach(backing->path, &path);
	AUTO(url) url = url_parse(path, NULL);
	AUTO(handle) handle = files_open(url, HANDLE_WRITE);

	ck_assert(handle_describe(handle, &info, NULL));
	ck_assert(info.is_device && !info.extents_trusted);
	ck_assert_uint_eq(info.size_bytes, 8 * MiB);
	ck_assert_uint_ge(info.block_bytes, 512);
	ck_assert(g_str_has_prefix(info.identity, "dev:7:"));

	check_round_trip(handle, url, 4 * MiB, 0, 0);
	check_round_trip(handle, url, MiB + 77, 4 * MiB + 5, 3);
	ck_assert(handle_zero(handle, MiB - 100, 50, NULL) && handle_flush(handle, NULL));
	ck_assert(handle_read(handle, got, MiB, 0, NULL));
	ck_assert(got[49] != 0 && got[50] == 0 && got[MiB - 51] == 0 && got[MiB - 50] != 0);

	AUTO(extents) extents = handle_extents(handle, 8 * MiB, 0, NULL);
	ck_assert_uint_eq(extents_bytes(extents, EXTENT_DATA), 8 * MiB);
	ck_assert(!handle_resize(handle, 4 * MiB, NULL));
	ck_assert(!image_remove(url, NULL, NULL));
	transport_buffer_free(got);
	close(device);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("file");
	TCase *tcase = tcase_create("file");
	SRunner *runner = srunner_create(suite);

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, 60);
	tcase_add_unchecked_fixture(tcase, temp_make, temp_remove);
	tcase_add_loop_test(tcase, what_is_written_anywhere_is_read_again, 0,
			    G_N_ELEMENTS(transfers));
	tcase_add_test(tcase, a_flipped_byte_is_seen);
	tcase_add_test(tcase, a_copy_leaves_nothing_in_the_page_cache);
	tcase_add_test(tcase, what_the_cache_holds_and_what_the_disk_holds_make_one_image);
	tcase_add_test(tcase, a_file_that_was_cut_short_is_an_error);
	tcase_add_test(tcase, a_full_disk_is_named);
	tcase_add_test(tcase, a_file_system_without_the_extras_works);
	tcase_add_test(tcase, a_failed_flush_is_not_followed_by_a_successful_one);
	tcase_add_test(tcase, a_zeroed_range_is_thin_and_reads_as_zeros);
	tcase_add_test(tcase, extents_of_an_empty_tebibyte_take_no_time);
	tcase_add_test(tcase, what_is_no_image_is_refused);
	tcase_add_test(tcase, a_resized_image_has_its_new_bounds);
	tcase_add_test(tcase, a_block_device_is_read_and_written_and_zeroed);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
