/* What a file or a device of this host is known by. */
#include "common/units.h"
#include "tests/unit/files.h"
#include "tests/unit/loops.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

START_TEST(the_image_is_the_same_by_any_name)
{
	AUTO(url) url = NULL;
	AUTO(handle) handle = files_new("name", 4096, &url);
	AUTO(url) linked = files_url("hard");
	AUTO(url) symbolic = files_url("soft");
	AUTO(url) other_url = NULL;
	AUTO(handle) other = files_new("other", 4096, &other_url);
	struct image_info info, info_other;

	ck_assert_int_eq(link(url->path, linked->path), 0);
	ck_assert_int_eq(symlink(url->path, symbolic->path), 0);
	AUTO(handle) hard = files_open(linked, HANDLE_READ);
	AUTO(handle) soft = files_open(symbolic, HANDLE_READ);

	ck_assert(handle_describe(handle, &info, NULL));
	ck_assert(g_str_has_prefix(info.identity, "file:"));
	ck_assert(info.extents_trusted && !info.is_device && info.block_bytes == 1);
	ck_assert(handle_describe(hard, &info_other, NULL));
	ck_assert_str_eq(info.identity, info_other.identity);
	ck_assert(handle_describe(soft, &info_other, NULL));
	ck_assert_str_eq(info.identity, info_other.identity);
	ck_assert(handle_describe(other, &info_other, NULL));
	ck_assert_str_ne(info.identity, info_other.identity);
}
END_TEST

/* The identity of @name in the folder, and the number of its file system. */
static dev_t identify(const char *folder, const char *name, char identity[IDENTITY_BYTES])
{
	g_autofree char *path = g_build_filename(folder, name, NULL);
	AUTO(url) url = url_parse(path, NULL);
	AUTO(handle) handle = files_open(url, HANDLE_READ);
	struct image_info info;
	struct stat st;

	ck_assert(handle_describe(handle, &info, NULL));
	ck_assert_int_eq(stat(path, &st), 0);
	g_strlcpy(identity, info.identity, IDENTITY_BYTES);
	return st.st_dev;
}

START_TEST(the_image_is_the_same_when_its_disk_has_another_number)
{
	g_autofree char *backing = temp_path("disk"), *folder = temp_path("mounted");
	g_autofree char *path = g_build_filename(folder, "image", NULL);
	char before[IDENTITY_BYTES], after[IDENTITY_BYTES];
	dev_t device_before, device_after;
	int first, second;

	loop_mounts_begin();
	loop_make_ext4(backing);
	first = loop_mount(backing, folder);
	ck_assert(g_file_set_contents(path, "", 0, NULL));
	device_before = identify(folder, "image", before);
	ck_assert_int_eq(umount(folder), 0);

	/* The first device is still open, so this one is another. */
	second = loop_mount(backing, folder);
	device_after = identify(folder, "image", after);
	ck_assert_uint_ne(device_before, device_after);
	ck_assert_str_eq(before, after);
	close(first);
	close(second);
}
END_TEST

START_TEST(another_image_in_a_freed_inode_is_another)
{
	AUTO(url) url = files_url("inode");
	g_autofree char *folder = g_path_get_dirname(url->path);
	char before[IDENTITY_BYTES], after[IDENTITY_BYTES];

	files_create(url, 0);
	identify(folder, "inode", before);
	ck_assert(image_remove(url, NULL, NULL));
	files_create(url, 0);
	identify(folder, "inode", after);
	ck_assert_str_ne(before, after);
}
END_TEST

START_TEST(a_partition_is_named_after_its_disk)
{
	AUTO(url) backing = files_url("partitioned");
	g_autofree char *path = NULL, *partition = NULL;
	struct image_info disk, info;
	int device;

	files_create(backing, 8 * MiB);
	device = loop_attach(backing->path, &path);
	partition = loop_add_partition(device, path, MiB, 2 * MiB);
	AUTO(url) url = url_parse(path, NULL);
	AUTO(url) url_of_partition = url_parse(partition, NULL);
	AUTO(handle) whole = files_open(url, HANDLE_READ);
	AUTO(handle) part = files_open(url_of_partition, HANDLE_READ);

	ck_assert(handle_describe(whole, &disk, NULL) && handle_describe(part, &info, NULL));
	ck_assert_uint_eq(info.size_bytes, 2 * MiB);
	g_strlcat(disk.identity, "-part1", IDENTITY_BYTES);
	ck_assert_str_eq(info.identity, disk.identity);
	close(device);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("identity");
	TCase *tcase = tcase_create("identity");
	SRunner *runner = srunner_create(suite);

	suite_add_tcase(suite, tcase);
	tcase_add_unchecked_fixture(tcase, temp_make, temp_remove);
	tcase_add_test(tcase, the_image_is_the_same_by_any_name);
	tcase_add_test(tcase, the_image_is_the_same_when_its_disk_has_another_number);
	tcase_add_test(tcase, another_image_in_a_freed_inode_is_another);
	tcase_add_test(tcase, a_partition_is_named_after_its_disk);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
