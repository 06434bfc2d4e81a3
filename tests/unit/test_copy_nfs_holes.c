/*
 * Copies from an NFS server that reports no holes, of an image that this host has as a
 * file too: what the file says is used where it is the same image, and never otherwise.
 */
#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/resuming.h"
#include "tests/unit/servers.h"
#include "tests/unit/temp.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALL_BYTES = 6 * MiB, STALL_MS = 1000 };

static struct copying copying;
static struct transport_config config = {.stall_ms = STALL_MS};
static char *path, *target;

static void file_make(const char *name, guint64 size_bytes)
{
	int fd = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size_bytes), 0);
	close(fd);
}

/* Of a size and place that fit no chunk. */
static void file_fill(const char *name, guint64 offset, gsize count)
{
	g_autofree guint8 *data = g_malloc(count);
	int fd = open(name, O_WRONLY | O_CLOEXEC);

	pattern_fill(data, count, (guint)(offset / 512) + 1);
	ck_assert_int_eq(pwrite(fd, data, count, (off_t)offset), (gssize)count);
	close(fd);
}

static void assert_holds(const char *name, guint64 offset, gsize count)
{
	g_autofree guint8 *wanted = g_malloc(count), *found = g_malloc(count);
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	pattern_fill(wanted, count, (guint)(offset / 512) + 1);
	ck_assert_int_eq(pread(fd, found, count, (off_t)offset), (gssize)count);
	ck_assert_int_eq(memcmp(found, wanted, count), 0);
	close(fd);
}

static void begin(guint64 size_bytes)
{
	g_autofree char *text = nfs_server_url("disk");

	path = g_build_filename(nfs_server_folder(), "disk", NULL);
	target = temp_path("target");
	unlink(path);
	unlink(target);
	file_make(path, size_bytes);
	file_make(target, size_bytes);
	copying_begin_urls(&copying, url_parse(text, NULL), url_parse(target, NULL), size_bytes);
	copying.source_end.config = &config;
	copying.spec.unit_bytes = COPY_UNIT_DEFAULT;
}

static void end(void)
{
	copying_end(&copying);
	unlink(path);
	unlink(target);
	g_free(path);
	g_free(target);
}

static void copy(void)
{
	ck_assert_msg(copying_run(&copying), "%s", copying.error->message);
	ck_assert_uint_eq(copying.totals.units_proven, copying.totals.units_total);
}

/* It would be hours if the holes were read. */
START_TEST(the_largest_sparse_image_takes_time_by_its_data)
{
	static const guint64 places[] = {0, 5 * TiB + 512, LARGEST_BYTES - 3 * MiB};
	struct stat status;

	begin(LARGEST_BYTES);
	for (guint i = 0; i < G_N_ELEMENTS(places); i++)
		file_fill(path, places[i], 3 * MiB);
	copying.source_end.path = path;
	copy();
	for (guint i = 0; i < G_N_ELEMENTS(places); i++)
		assert_holds(target, places[i], 3 * MiB);
	ck_assert_int_eq(stat(target, &status), 0);
	ck_assert_int_le(status.st_blocks * 512, 10 * MiB);
	end();
}
END_TEST

START_TEST(the_largest_sparse_image_is_resumed_at_once_and_in_little_memory)
{
	const guint64 last_data = (LARGEST_BYTES / COPY_UNIT_DEFAULT - 1) * COPY_UNIT_DEFAULT;

	begin(LARGEST_BYTES);
	file_fill(path, 0, 64 * MiB);
	file_fill(path, last_data, 2 * MiB);
	copying.source_end.path = path;
	resuming_assert_largest(&copying);
	assert_holds(target, 0, 64 * MiB);
	assert_holds(target, last_data, 2 * MiB);
	end();
}
END_TEST

/* The same size, and all hole: a mount of something else. */
START_TEST(a_path_that_is_another_file_is_not_believed)
{
	g_autofree char *other = g_build_filename(nfs_server_folder(), "other", NULL);

	begin(SMALL_BYTES);
	file_fill(path, 0, SMALL_BYTES);
	unlink(other);
	file_make(other, SMALL_BYTES);
	copying.source_end.path = other;
	copy();
	assert_holds(target, 0, SMALL_BYTES);
	unlink(other);
	end();
}
END_TEST

START_TEST(a_path_that_is_not_there_is_none)
{
	begin(SMALL_BYTES);
	file_fill(path, 0, SMALL_BYTES);
	copying.source_end.path = "/nowhere/at/all";
	copy();
	assert_holds(target, 0, SMALL_BYTES);
	end();
}
END_TEST

/* A file system whose server never answers. */
static int mount_that_hangs(const char *folder)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	g_autofree char *options = g_strdup_printf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(mount("hang", folder, "fuse", 0, options), 0);
	return fd;
}

START_TEST(a_path_that_hangs_is_left_alone)
{
	if (access("/dev/fuse", R_OK | W_OK) < 0)
		return; /* this host cannot show it */

	const gint64 from_us = g_get_monotonic_time();
	g_autofree char *folder = folder_make("hang");
	int fd = mount_that_hangs(folder);
	g_autofree char *inside = g_build_filename(folder, "disk", NULL);

	begin(SMALL_BYTES);
	file_fill(path, 0, SMALL_BYTES);
	copying.source_end.path = inside;
	copy();
	assert_holds(target, 0, SMALL_BYTES);
	ck_assert_int_ge(g_get_monotonic_time() - from_us, (gint64)STALL_MS * 1000);
	close(fd); /* ends what hangs */
	umount2(folder, MNT_DETACH);
	end();
}
END_TEST

static int run_tests(void)
{
	Suite *suite = suite_create("copies of holes from NFS");
	TCase *tests = tcase_create("holes");

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_add_checked_fixture(tests, nfs_server_start, nfs_server_kill);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, the_largest_sparse_image_takes_time_by_its_data);
	tcase_add_test(tests, the_largest_sparse_image_is_resumed_at_once_and_in_little_memory);
	tcase_add_test(tests, a_path_that_is_another_file_is_not_believed);
	tcase_add_test(tests, a_path_that_is_not_there_is_none);
	tcase_add_test(tests, a_path_that_hangs_is_left_alone);
	suite_add_tcase(suite, tests);
	return images_run(suite);
}

int main(void)
{
	return servers_run(run_tests);
}
