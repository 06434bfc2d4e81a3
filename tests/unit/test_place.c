#include "blockmig/vm/datastore_private.h"

#include "common/error.h"
#include "tests/unit/loops.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In place of the C library's: where set, every file lies on such a file system. */
static __fsword_t magic;

int statfs(const char *path, struct statfs *system)
{
	const int result = (int)syscall(SYS_statfs, path, system);

	if (magic)
		system->f_type = magic;
	return result;
}

/* And has the same handle there. */
int name_to_handle_at(int folder, const char *name, struct file_handle *handle, int *mount_id,
		      int flags)
{
	if (!magic)
		return (int)syscall(SYS_name_to_handle_at, folder, name, handle, mount_id, flags);
	handle->handle_bytes = 0;
	handle->handle_type = 1;
	return 0;
}

static char *temp_folder(void)
{
	g_autofree char *inside = temp_path("inside");

	return g_path_get_dirname(inside);
}

static char *write_file(const char *name, const char *text)
{
	char *path = temp_path(name);

	ck_assert(g_file_set_contents(path, text, -1, NULL));
	g_chmod(path, 0600);
	return path;
}

static struct config *load(void)
{
	g_autofree char *folder = temp_folder();
	g_autofree char *chap = write_file("chap", "user=u\npassword=p\n");
	g_autofree char *text = g_strdup_printf(
		"[datastore vol]\npath=/mnt/vol\nurl=nfs://filer:2050/export/vol/\n"
		"[datastore deep]\npath=/mnt/vol/deep\nurl=nfs://deep/d/?uid=7&gid=8\n"
		"[datastore net]\nurl=nfs://net/e/?uid=64055\n"
		"[datastore ports]\nurl=nfs://net/ports/?mountport=99\n"
		"[datastore san]\nurl=iscsi://array/iqn.x:t/\nchap-file=%s\n"
		"secret=guests\ninitiator=iqn.x:me\n"
		"[datastore nosecret]\nurl=iscsi://array/iqn.x:n/\nchap-file=%s\n"
		"[datastore lun]\nurl=iscsi://array:3261/iqn.x:l/5\n"
		"[datastore device]\npath=/dev/lun9\nurl=iscsi://array/iqn.x:d/9\n"
		"[datastore local]\npath=%s\n",
		chap, chap, folder);
	g_autofree char *path = write_file("blockmig.conf", text);
	g_autoptr(GError) error = NULL;
	struct config *config = config_load(path, &error);

	ck_assert_msg(config, "%s", error ? error->message : "");
	return config;
}

static void assert_url(const struct place *place, const char *wanted)
{
	g_autofree char *text = url_format(place->url);

	ck_assert_str_eq(text, wanted);
}

static struct place *of_file(struct config *config, const char *path)
{
	AUTO(source) source = source_new(SOURCE_FILE, path);

	return place_of_source(config, source, NULL);
}

static struct place *of_url(struct config *config, const char *text)
{
	AUTO(url) url = url_parse(text, NULL);

	ck_assert_ptr_nonnull(url);
	return place_of_url(config, url, NULL);
}

static struct place *in(struct config *config, const char *datastore, const char *name,
			gboolean for_guest, GError **error)
{
	return place_in_datastore(config, config_datastore(config, datastore, NULL, NULL), name,
				  for_guest, error);
}

START_TEST(the_longest_path_decides)
{
	AUTO(config) config = load();
	AUTO(place) shallow = of_file(config, "/mnt/vol/sub/a.img");
	AUTO(place) deep = of_file(config, "/mnt/vol/deep/a.img");
	AUTO(place) neither = of_file(config, "/mnt/vol2/a.img");

	assert_url(shallow, "nfs://filer:2050/export/vol/sub/a.img");
	ck_assert_str_eq(shallow->datastore->name, "vol");
	ck_assert_ptr_eq(shallow->transport, &shallow->datastore->transport);
	assert_url(deep, "nfs://deep/d/a.img?uid=7&gid=8");
	ck_assert_int_eq(neither->url->scheme, URL_FILE);
	ck_assert_str_eq(neither->url->path, "/mnt/vol2/a.img");
	ck_assert_ptr_null(neither->datastore);
	ck_assert_ptr_null(neither->transport);
}
END_TEST

START_TEST(network_disks_find_their_datastore)
{
	AUTO(config) config = load();
	AUTO(source) lun = source_new(SOURCE_ISCSI, "iqn.x:t/3");
	AUTO(source) nfs = source_new(SOURCE_NFS, "/e/a.img");
	AUTO(place) first = NULL;
	AUTO(place) second = NULL;

	lun->host = g_strdup("array");
	nfs->host = g_strdup("net");
	nfs->gid = 9;
	first = place_of_source(config, lun, NULL);
	second = place_of_source(config, nfs, NULL);
	assert_url(first, "iscsi://array/iqn.x:t/3");
	ck_assert_str_eq(first->transport->chap_user, "u");
	assert_url(second, "nfs://net/e/a.img?uid=64055&gid=9");
}
END_TEST

START_TEST(what_cannot_be_reached_is_refused)
{
	AUTO(config) config = load();
	AUTO(source) other = source_new(SOURCE_OTHER, NULL);
	g_autoptr(GError) error = NULL;

	other->other = g_strdup("a rados image");
	ck_assert_ptr_null(place_of_source(config, other, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_PERMANENT));
	ck_assert(g_str_has_prefix(error->message, "a rados image: "));
}
END_TEST

START_TEST(urls_have_a_guests_address)
{
	AUTO(config) config = load();
	AUTO(place) mounted = of_url(config, "nfs://filer:2050/export/vol/a b.img");
	AUTO(place) network = of_url(config, "nfs://net/e/a.img");
	AUTO(place) lun = of_url(config, "iscsi://array/iqn.x:t/3");
	AUTO(place) local = of_url(config, "/mnt/vol/x.img");
	AUTO(place) nbd = of_url(config, "nbd+unix:///?socket=/s");

	ck_assert_int_eq(mounted->source.type, SOURCE_FILE);
	ck_assert_str_eq(mounted->source.path, "/mnt/vol/a b.img");
	ck_assert_int_eq(network->source.type, SOURCE_NFS);
	ck_assert_str_eq(network->source.path, "/e/a.img");
	ck_assert_int_eq(network->source.uid, 64055);
	ck_assert_int_eq(network->source.gid, -1);
	ck_assert_int_eq(lun->source.type, SOURCE_ISCSI);
	ck_assert_str_eq(lun->source.path, "iqn.x:t/3");
	ck_assert_str_eq(lun->source.initiator, "iqn.x:me");
	ck_assert_str_eq(lun->source.auth_user, "u");
	ck_assert_str_eq(lun->source.auth_secret_usage, "guests");
	ck_assert_str_eq(local->source.path, "/mnt/vol/x.img");
	assert_url(local, "nfs://filer:2050/export/vol/x.img");
	ck_assert_int_eq(nbd->source.type, SOURCE_OTHER);
}
END_TEST

START_TEST(a_new_image_has_both_addresses)
{
	AUTO(config) config = load();
	AUTO(place) file = in(config, "vol", "n.img", TRUE, NULL);
	AUTO(place) lun = in(config, "san", "4", TRUE, NULL);
	AUTO(place) fixed = in(config, "lun", "anything", TRUE, NULL);
	AUTO(place) local = in(config, "local", "n.img", TRUE, NULL);

	ck_assert_str_eq(file->source.path, "/mnt/vol/n.img");
	assert_url(file, "nfs://filer:2050/export/vol/n.img");
	ck_assert_str_eq(lun->source.path, "iqn.x:t/4");
	ck_assert_str_eq(fixed->source.path, "iqn.x:l/5");
	ck_assert_int_eq(fixed->source.port, 3261);
	ck_assert_int_eq(local->source.type, SOURCE_FILE);
	ck_assert_str_eq(local->source.path, local->url->path);
}
END_TEST

START_TEST(a_lun_with_a_path_is_a_device_of_the_guest)
{
	AUTO(config) config = load();
	AUTO(place) chosen = in(config, "device", "", TRUE, NULL);
	AUTO(place) by_url = of_url(config, "iscsi://array/iqn.x:d/9");
	AUTO(source) source = source_new(SOURCE_BLOCK, "/dev/lun9");
	AUTO(place) by_path = place_of_source(config, source, NULL);

	ck_assert_int_eq(chosen->source.type, SOURCE_BLOCK);
	ck_assert_str_eq(chosen->source.path, "/dev/lun9");
	ck_assert(source_equal(&chosen->source, &by_url->source));
	assert_url(chosen, "iscsi://array/iqn.x:d/9");
	assert_url(by_path, "iscsi://array/iqn.x:d/9");
}
END_TEST

START_TEST(what_qemu_could_not_open_is_refused_for_a_guest_only)
{
	static const struct {
		const char *datastore, *name;
	} cases[] = {{"ports", "a.img"}, {"nosecret", "1"}};
	AUTO(config) config = load();

	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		AUTO(place) bare = in(config, cases[i].datastore, cases[i].name, FALSE, NULL);

		ck_assert_ptr_nonnull(bare);
		ck_assert_ptr_null(in(config, cases[i].datastore, cases[i].name, TRUE, &error));
		ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
	}
}
END_TEST

START_TEST(names_that_leave_the_datastore_are_refused)
{
	static const char *const names[] = {"", "..", "a/b", "."};
	AUTO(config) config = load();

	for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autoptr(GError) error = NULL;

		ck_assert_ptr_null(in(config, "vol", names[i], TRUE, &error));
		ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
	}
}
END_TEST

static void assert_mount(const char *table, const char *path, const char *wanted)
{
	AUTO(url) url = host_nfs_url(table, path);
	g_autofree char *text = url ? url_format(url) : NULL;

	ck_assert_msg(g_strcmp0(text, wanted) == 0, "%s: %s, not %s", path, text, wanted);
}

START_TEST(nfs_mounts_are_datastores_by_themselves)
{
	g_autofree char *table = write_file(
		"mountinfo",
		"22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
		"40 22 0:50 / /mnt/a rw shared:2 master:3 - nfs filer:/export rw,vers=3,port=0\n"
		"41 22 0:50 /sub /mnt/my\\040disks rw - nfs4 filer:/export rw,vers=4.2\n"
		"42 22 0:51 / /mnt/six rw - nfs [fe80::1]:/six rw,port=2050\n"
		"43 40 8:2 / /mnt/a/local rw - xfs /dev/sdb rw\n"
		"44 22 0:52 / /mnt/b rw - xfs /dev/sdc rw\n"
		"45 22 0:53 / /mnt/b rw - nfs other:/b rw\n"
		"broken line\n");

	assert_mount(table, "/mnt/a/x/y.img", "nfs://filer/export/x/y.img");
	assert_mount(table, "/mnt/a", "nfs://filer/export");
	assert_mount(table, "/mnt/my disks/z", "nfs://filer/export/sub/z");
	assert_mount(table, "/mnt/six/i", "nfs://[fe80::1]:2050/six/i");
	assert_mount(table, "/mnt/b/i", "nfs://other/b/i");
	assert_mount(table, "/mnt/a/local/i", NULL);
	assert_mount(table, "/mnt/ab/i", NULL);
	assert_mount("/nonexistent", "/mnt/a/i", NULL);
}
END_TEST

START_TEST(a_link_into_a_mount_is_followed)
{
	g_autofree char *folder = temp_folder();
	g_autofree char *table = g_strdup_printf("40 22 0:50 / %s/real rw - nfs f:/e rw\n", folder);
	g_autofree char *mounts = write_file("mountinfo", table);
	g_autofree char *real = write_file("real", "");
	g_autofree char *link = temp_path("link");

	ck_assert_int_eq(symlink(real, link), 0);
	assert_mount(mounts, link, "nfs://f/e");
}
END_TEST

START_TEST(iscsi_devices_are_found_by_their_links)
{
	static const struct {
		const char *link, *wanted;
	} cases[] = {
		{"ip-10.0.0.1:3260-iscsi-iqn.x:t-lun-3", "iscsi://10.0.0.1/iqn.x:t/3"},
		{"ip-[fe80::1]:3261-iscsi-iqn.x:a-lun-b-lun-0",
		 "iscsi://[fe80::1]:3261/iqn.x:a-lun-b/0"},
		{"ip-10.0.0.1:3260-iscsi-iqn.x:t-lun-3-part1", NULL},
		{"pci-0000:00:1f.2-ata-1", NULL},
	};
	g_autofree char *folder = temp_folder();

	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *name = g_strdup_printf("device%u", i);
		g_autofree char *device = write_file(name, "");
		g_autofree char *link = temp_path(cases[i].link);
		AUTO(url) url = NULL;
		g_autofree char *text = NULL;

		ck_assert_int_eq(symlink(device, link), 0);
		url = host_iscsi_url(folder, device);
		text = url ? url_format(url) : NULL;
		ck_assert_msg(g_strcmp0(text, cases[i].wanted) == 0, "%s", text);
		ck_assert_int_eq(g_unlink(link), 0);
	}
}
END_TEST

static gboolean same(const struct place *a, const struct place *b)
{
	g_autoptr(GError) error = NULL;
	gboolean result = FALSE;

	ck_assert_msg(place_same_image(a, b, &result, &error), "%s", error ? error->message : "");
	return result;
}

START_TEST(one_file_by_two_names_is_the_same)
{
	AUTO(config) config = load();
	g_autofree char *first = write_file("first", "1");
	g_autofree char *other = write_file("other", "1");
	g_autofree char *hard = temp_path("hard");
	g_autofree char *soft = temp_path("soft");
	g_autofree char *missing = temp_path("missing");
	AUTO(place) a = of_file(config, first);
	AUTO(place) b = of_file(config, other);
	AUTO(place) c = of_file(config, hard);
	AUTO(place) d = of_file(config, soft);
	AUTO(place) e = of_file(config, missing);

	ck_assert_int_eq(link(first, hard), 0);
	ck_assert_int_eq(symlink(first, soft), 0);
	ck_assert(same(a, a));
	ck_assert(!same(a, b));
	ck_assert(same(a, c));
	ck_assert(same(a, d));
	ck_assert(!same(a, e));
}
END_TEST

/* A snapshot of a volume has the same file handles; the kernel has it under another number. */
START_TEST(an_image_and_its_copy_in_a_snapshot_are_two)
{
	AUTO(config) config = load();
	g_autofree char *volume = temp_path("volume"), *snapshot = temp_path("snapshot");
	g_autofree char *one = temp_path("one"), *two = temp_path("two");
	g_autofree char *image = g_build_filename(one, "image", NULL);
	g_autofree char *frozen = g_build_filename(two, "image", NULL);
	g_autofree char *bytes = NULL;
	gsize count;
	int devices[2];

	loop_mounts_begin();
	loop_make_ext4(volume, NULL);
	devices[0] = loop_mount(volume, one);
	ck_assert(g_file_set_contents(image, "1", 1, NULL));
	ck_assert_int_eq(umount(one), 0);
	ck_assert(g_file_get_contents(volume, &bytes, &count, NULL));
	ck_assert(g_file_set_contents(snapshot, bytes, (gssize)count, NULL));
	close(devices[0]);
	devices[0] = loop_mount(volume, one);
	devices[1] = loop_mount(snapshot, two);

	AUTO(place) a = of_file(config, image);
	AUTO(place) b = of_file(config, frozen);

	ck_assert(same(a, a));
	ck_assert(!same(a, b));
	close(devices[0]);
	close(devices[1]);
}
END_TEST

/* Two files of one inode and handle, on file systems of which the numbers are no device's. */
static const struct {
	__fsword_t magic;
	gboolean same;
} unnumbered[] = {{NFS_SUPER_MAGIC, TRUE},
		  {BTRFS_SUPER_MAGIC, FALSE},
		  {0x2fc12fc1 /* ZFS */, FALSE},
		  {(__fsword_t)0xca451a4e /* bcachefs */, FALSE}};

START_TEST(images_on_two_subvolumes_are_two_and_on_two_mounts_of_nfs_may_be_one)
{
	AUTO(config) config = load();
	struct place *places[2];
	struct stat st[2];

	loop_mounts_begin();
	for (guint i = 0; i < 2; i++) {
		g_autofree char *name = g_strdup_printf("volume%d-%u", _i, i);
		g_autofree char *folder = temp_path(name);
		g_autofree char *path = g_build_filename(folder, "image", NULL);

		ck_assert_int_eq(g_mkdir(folder, 0700), 0);
		ck_assert_int_eq(mount("none", folder, "tmpfs", 0, "size=1m"), 0);
		ck_assert(g_file_set_contents(path, "1", 1, NULL));
		ck_assert_int_eq(stat(path, &st[i]), 0);
		places[i] = of_file(config, path);
	}
	ck_assert_uint_eq(st[0].st_ino, st[1].st_ino);
	magic = unnumbered[_i].magic;
	ck_assert_int_eq(same(places[0], places[1]), unnumbered[_i].same);
	place_free(places[0]);
	place_free(places[1]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("place");
	TCase *cases = tcase_create("place");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, cases);
	tcase_add_unchecked_fixture(cases, temp_make, temp_remove);
	tcase_add_test(cases, the_longest_path_decides);
	tcase_add_test(cases, network_disks_find_their_datastore);
	tcase_add_test(cases, what_cannot_be_reached_is_refused);
	tcase_add_test(cases, urls_have_a_guests_address);
	tcase_add_test(cases, a_new_image_has_both_addresses);
	tcase_add_test(cases, a_lun_with_a_path_is_a_device_of_the_guest);
	tcase_add_test(cases, what_qemu_could_not_open_is_refused_for_a_guest_only);
	tcase_add_test(cases, names_that_leave_the_datastore_are_refused);
	tcase_add_test(cases, nfs_mounts_are_datastores_by_themselves);
	tcase_add_test(cases, a_link_into_a_mount_is_followed);
	tcase_add_test(cases, iscsi_devices_are_found_by_their_links);
	tcase_add_test(cases, one_file_by_two_names_is_the_same);
	tcase_add_test(cases, an_image_and_its_copy_in_a_snapshot_are_two);
	tcase_add_loop_test(cases,
			    images_on_two_subvolumes_are_two_and_on_two_mounts_of_nfs_may_be_one, 0,
			    G_N_ELEMENTS(unnumbered));
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
