/* What a file or a device of this host is known by. */
#include "common/units.h"
#include "tests/unit/files.h"
#include "tests/unit/images.h"
#include "tests/unit/loops.h"
#include "tests/unit/temp.h"
#include "transports/device.h"

#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* These stand in front of the libraries': where set, what they say instead of the kernel. */
static struct {
	int handle_errno;
	__fsword_t magic;
	const char *suffix, *text; /* of a file's path, and what is in it */
} said;

int name_to_handle_at(int folder, const char *name, struct file_handle *handle, int *mount_id,
		      int flags)
{
	if (said.handle_errno == 0)
		return (int)syscall(SYS_name_to_handle_at, folder, name, handle, mount_id, flags);
	errno = said.handle_errno;
	return -1;
}

int fstatfs(int fd, struct statfs *system)
{
	const int result = (int)syscall(SYS_fstatfs, fd, system);

	if (said.magic)
		system->f_type = said.magic;
	return result;
}

gboolean g_file_get_contents(const gchar *path, gchar **text, gsize *bytes, GError **error)
{
	__typeof__(&g_file_get_contents) next =
		(__typeof__(&g_file_get_contents))dlsym(RTLD_NEXT, "g_file_get_contents");

	if (!said.suffix || !g_str_has_suffix(path, said.suffix))
		return next(path, text, bytes, error);
	*text = g_strdup(said.text);
	return TRUE;
}

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

static struct stat identify(const char *path, char identity[IDENTITY_BYTES])
{
	AUTO(url) url = url_parse(path, NULL);
	AUTO(handle) handle = files_open(url, HANDLE_READ);
	struct image_info info;
	struct stat st;

	ck_assert(handle_describe(handle, &info, NULL));
	ck_assert_int_eq(stat(path, &st), 0);
	g_strlcpy(identity, info.identity, IDENTITY_BYTES);
	return st;
}

START_TEST(the_image_is_the_same_when_its_disk_has_another_number)
{
	g_autofree char *backing = temp_path("disk"), *folder = temp_path("mounted");
	g_autofree char *path = g_build_filename(folder, "image", NULL);
	char before[IDENTITY_BYTES], after[IDENTITY_BYTES];
	struct stat st_before, st_after;
	int first, second;

	loop_mounts_begin();
	loop_make_ext4(backing, NULL);
	first = loop_mount(backing, folder);
	ck_assert(g_file_set_contents(path, "", 0, NULL));
	st_before = identify(path, before);
	ck_assert_int_eq(umount(folder), 0);

	/* The first device is still open, so this one is another. */
	second = loop_mount(backing, folder);
	st_after = identify(path, after);
	ck_assert_uint_ne(st_before.st_dev, st_after.st_dev);
	ck_assert_str_eq(before, after);
	close(first);
	close(second);
}
END_TEST

START_TEST(another_image_in_a_freed_inode_is_another)
{
	g_autofree char *backing = temp_path("disk"), *folder = temp_path("mounted");
	g_autofree char *path = g_build_filename(folder, "image", NULL);
	AUTO(url) url = url_parse(path, NULL);
	char before[IDENTITY_BYTES], after[IDENTITY_BYTES];
	struct stat st_before, st_after;

	loop_mounts_begin();
	loop_make_ext4(backing, NULL);
	const int device = loop_mount(backing, folder);

	files_create(url, 0);
	st_before = identify(path, before);
	ck_assert(image_remove(url, NULL, NULL));
	files_create(url, 0);
	st_after = identify(path, after);
	ck_assert_uint_eq(st_before.st_ino, st_after.st_ino);
	ck_assert_str_ne(before, after);
	close(device);
}
END_TEST

/* What mkfs puts in has generation 0: the handles differ by nothing but the file system. */
START_TEST(an_image_with_the_same_handle_on_another_file_system_is_another)
{
	g_autofree char *content = temp_path("content");
	g_autofree char *image = g_build_filename(content, "image", NULL);
	char identities[2][IDENTITY_BYTES];
	struct stat st[2];

	loop_mounts_begin();
	ck_assert_int_eq(mkdir(content, 0700), 0);
	ck_assert(g_file_set_contents(image, "", 0, NULL));
	for (guint i = 0; i < 2; i++) {
		g_autofree char *backing = g_strdup_printf("%s.disk%u", content, i);
		g_autofree char *folder = g_strdup_printf("%s.mounted%u", content, i);
		g_autofree char *path = g_build_filename(folder, "image", NULL);

		loop_make_ext4(backing, content);
		const int device = loop_mount(backing, folder);

		st[i] = identify(path, identities[i]);
		close(device);
	}
	const char *handles[] = {strchr(identities[0], '.'), strchr(identities[1], '.')};

	ck_assert_uint_eq(st[0].st_ino, st[1].st_ino);
	ck_assert_str_eq(handles[0], handles[1]);
	ck_assert_str_ne(identities[0], identities[1]);
}
END_TEST

static void assert_known_by_device(const char *path)
{
	g_autofree char *wanted = NULL;
	char identity[IDENTITY_BYTES];
	struct stat st = identify(path, identity);

	wanted = g_strdup_printf("file:%lx:%lu", (gulong)st.st_dev, (gulong)st.st_ino);
	ck_assert_str_eq(identity, wanted);
}

START_TEST(an_image_on_fuse_is_known_by_its_device)
{
	AUTO(url) url = files_url("fuse");

	files_create(url, 0);
	said.magic = FUSE_SUPER_MAGIC;
	assert_known_by_device(url->path);
}
END_TEST

static const int no_handle[] = {EOPNOTSUPP, EOVERFLOW, ENOSYS, EPERM};

START_TEST(an_image_without_a_handle_is_known_by_its_device)
{
	AUTO(url) url = NULL;
	g_autofree char *name = g_strdup_printf("none%d", _i);

	url = files_url(name);
	files_create(url, 0);
	said.handle_errno = no_handle[_i];
	assert_known_by_device(url->path);
}
END_TEST

/* Else a copy begins with the one and is refused with the other. */
START_TEST(an_image_whose_handle_cannot_be_read_is_not_described)
{
	AUTO(url) url = NULL;
	AUTO(handle) handle = files_new("unread", 0, &url);
	g_autoptr(GError) error = NULL;
	struct image_info info;

	said.handle_errno = ESTALE;
	ck_assert(!handle_describe(handle, &info, &error));
	ck_assert_msg(strstr(error->message, ": describe: ") != NULL, "%s", error->message);
}
END_TEST

/* A new file as a loop device. */
static int attach_new(const char *name, guint64 size_bytes, char **path)
{
	AUTO(url) backing = files_url(name);

	files_create(backing, size_bytes);
	return loop_attach(backing->path, path);
}

/* Attached until the same number is given out: somebody else may have had it meanwhile. */
static int attach_again(int device, const char *backing, const char *path)
{
	g_autofree char *again = NULL;

	for (int attempt = 0; attempt < 50 && g_strcmp0(again, path) != 0; attempt++) {
		close(device);
		device = loop_attach(backing, &again);
	}
	ck_assert_str_eq(again, path);
	return device;
}

START_TEST(a_loop_device_that_is_attached_anew_is_another)
{
	AUTO(url) backing = files_url("attached");
	g_autofree char *path = NULL;
	char before[IDENTITY_BYTES], again[IDENTITY_BYTES], after[IDENTITY_BYTES];
	int device;

	files_create(backing, MiB);
	device = loop_attach(backing->path, &path);
	identify(path, before);
	identify(path, again);
	ck_assert_str_eq(before, again);
	device = attach_again(device, backing->path, path);
	identify(path, after);
	ck_assert_str_ne(before, after);
	close(device);
}
END_TEST

START_TEST(a_device_without_a_name_is_another_after_a_reboot)
{
	g_autofree char *path = NULL;
	char before[IDENTITY_BYTES], after[IDENTITY_BYTES], nameless[IDENTITY_BYTES];

	const int device = attach_new("rebooted", MiB, &path);

	identify(path, before);
	said.suffix = "/boot_id";
	said.text = "a8e8e5c2-6e0b-4d0a-9a0e-0123456789ab\n";
	identify(path, after);
	ck_assert_str_ne(before, after);
	said.text = "";
	identify(path, nameless);
	ck_assert_str_eq(nameless, "");
	close(device);
}
END_TEST

/* Arrays with metadata of another maker's have zeros, all of them. */
START_TEST(an_array_is_known_by_its_uuid_where_it_has_one)
{
	g_autofree char *path = NULL;
	char numbered[IDENTITY_BYTES], identity[IDENTITY_BYTES];

	const int device = attach_new("array", MiB, &path);

	identify(path, numbered);
	said.suffix = "/md/uuid";
	said.text = "7d9b4a4e-0f0e-4a5b-8d2f-5a1f0c1e2d3b\n";
	identify(path, identity);
	ck_assert_str_eq(identity, "md:7d9b4a4e-0f0e-4a5b-8d2f-5a1f0c1e2d3b");
	said.text = "00000000-0000-0000-0000-000000000000\n";
	identify(path, identity);
	ck_assert_str_eq(identity, numbered);
	close(device);
}
END_TEST

static void assert_name(const char *kind, const char *name, const char *wanted)
{
	g_autofree char *identity = device_name(kind, name);

	ck_assert_str_eq(identity, wanted);
}

START_TEST(a_lun_has_one_name_by_a_path_and_by_multipath)
{
	assert_name("scsi", "naa.600140512345", "scsi:3600140512345");
	assert_name("dm", "mpath-3600140512345", "scsi:3600140512345");
	assert_name("dm", "part12-mpath-3600140512345", "scsi:3600140512345-part12");
	assert_name("dm", "part1-LVM-abc", "dm:part1-LVM-abc");
	assert_name("dm", "LVM-abc", "dm:LVM-abc");
}
END_TEST

START_TEST(a_partition_is_named_after_its_disk)
{
	g_autofree char *path = NULL, *partition = NULL;
	struct image_info disk, info;
	int device;

	device = attach_new("partitioned", 8 * MiB, &path);
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

START_TEST(a_partition_whose_name_does_not_fit_has_none)
{
	g_autofree char *path = NULL, *partition = NULL;
	char identity[IDENTITY_BYTES];
	gsize length;
	struct stat st;

	const int device = attach_new("narrow", 8 * MiB, &path);

	partition = loop_add_partition(device, path, MiB, 2 * MiB);
	ck_assert_int_eq(stat(partition, &st), 0);
	device_identity(st.st_rdev, identity, sizeof identity);
	length = strlen(identity);
	device_identity(st.st_rdev, identity, length + 1);
	ck_assert_uint_eq(strlen(identity), length);
	device_identity(st.st_rdev, identity, length);
	ck_assert_str_eq(identity, "");
	close(device);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("identity");
	TCase *tcase = tcase_create("identity");

	suite_add_tcase(suite, tcase);
	tcase_add_unchecked_fixture(tcase, temp_make, temp_remove);
	tcase_add_test(tcase, the_image_is_the_same_by_any_name);
	tcase_add_test(tcase, the_image_is_the_same_when_its_disk_has_another_number);
	tcase_add_test(tcase, another_image_in_a_freed_inode_is_another);
	tcase_add_test(tcase, an_image_with_the_same_handle_on_another_file_system_is_another);
	tcase_add_test(tcase, an_image_on_fuse_is_known_by_its_device);
	tcase_add_loop_test(tcase, an_image_without_a_handle_is_known_by_its_device, 0,
			    G_N_ELEMENTS(no_handle));
	tcase_add_test(tcase, an_image_whose_handle_cannot_be_read_is_not_described);
	tcase_add_test(tcase, a_loop_device_that_is_attached_anew_is_another);
	tcase_add_test(tcase, a_device_without_a_name_is_another_after_a_reboot);
	tcase_add_test(tcase, an_array_is_known_by_its_uuid_where_it_has_one);
	tcase_add_test(tcase, a_lun_has_one_name_by_a_path_and_by_multipath);
	tcase_add_test(tcase, a_partition_is_named_after_its_disk);
	tcase_add_test(tcase, a_partition_whose_name_does_not_fit_has_none);
	return images_run(suite);
}
