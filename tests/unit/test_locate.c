/* Which datastore an image lies on, by whatever name a domain calls it. */
#include "blockmig/vm/datastore.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *folder;
static struct config *config;
static GPtrArray *datastores;

static void setup(void)
{
	g_autofree char *path = temp_path("blockmig.conf");
	g_autofree char *text = NULL;

	folder = g_mkdtemp(temp_path("images-XXXXXX"));
	text = g_strdup_printf("[datastore filer]\npath=/mnt/filer\nurl=nfs://localhost/vol1/\n"
			       "[datastore deep]\npath=/mnt/deep\nurl=nfs://localhost/vol1/deep/\n"
			       "[datastore array]\nurl=iscsi://127.0.0.1/iqn.x:t/\n"
			       "[datastore local]\npath=%s\n",
			       folder);
	ck_assert(g_file_set_contents(path, text, -1, NULL));
	config = config_load(path, NULL);
	ck_assert_ptr_nonnull(config);
	datastores = g_ptr_array_new();
	for (guint i = 0; i < config->datastores->len; i++)
		g_ptr_array_add(datastores, g_ptr_array_index(config->datastores, i));
}

static void teardown(void)
{
	g_clear_pointer(&datastores, g_ptr_array_unref);
	g_clear_pointer(&config, config_free);
	g_clear_pointer(&folder, g_free);
}

static void check_source(const struct source *source, const char *name, int lun)
{
	int found_lun = -2;
	const struct datastore *found = datastore_of_source(datastores, config, source, &found_lun);

	ck_assert_str_eq(found ? found->name : "none", name);
	ck_assert_int_eq(found_lun, lun);
}

static void check_file(const char *path, const char *name)
{
	AUTO(source) source = source_new(SOURCE_FILE, path);

	check_source(source, name, -1);
}

static void check_network(enum source_type type, const char *host, const char *path,
			  const char *name, int lun)
{
	AUTO(source) source = source_new(type, path);

	source->host = g_strdup(host);
	check_source(source, name, lun);
}

START_TEST(a_path_below_a_datastore_lies_on_it)
{
	check_file("/mnt/filer/web.qcow2", "filer");
	check_file("/mnt/filer/a/b/web.qcow2", "filer");
	check_file("/mnt/filer2/web.qcow2", "none");
	check_file("/mnt/deep/web.qcow2", "deep");
}
END_TEST

START_TEST(the_innermost_datastore_counts)
{
	check_file("/mnt/filer/deep/web.qcow2", "deep");
}
END_TEST

START_TEST(a_network_disk_lies_where_its_path_is_mounted)
{
	check_network(SOURCE_NFS, "localhost", "/vol1/web.raw", "filer", -1);
	check_network(SOURCE_NFS, "localhost", "/vol2/web.raw", "none", -1);
}
END_TEST

START_TEST(a_server_by_its_address_is_the_same_server)
{
	check_network(SOURCE_NFS, "127.0.0.1", "/vol1/web.raw", "filer", -1);
	check_network(SOURCE_NFS, "127.0.0.2", "/vol1/web.raw", "none", -1);
	check_network(SOURCE_ISCSI, "localhost", "iqn.x:t/3", "array", 3);
}
END_TEST

START_TEST(a_lun_lies_on_its_target)
{
	check_network(SOURCE_ISCSI, "127.0.0.1", "iqn.x:t/0", "array", 0);
	check_network(SOURCE_ISCSI, "127.0.0.1", "iqn.x:other/0", "none", -1);
}
END_TEST

START_TEST(a_link_to_the_folder_or_in_it_is_followed)
{
	g_autofree char *link = temp_path("link"), *beside = temp_path("beside");
	g_autofree char *through = g_build_filename(link, "web.raw", NULL);
	g_autofree char *image = g_build_filename(folder, "web.raw", NULL);

	ck_assert(g_file_set_contents(image, "x", 1, NULL));
	ck_assert_int_eq(symlink(folder, link), 0);
	ck_assert_int_eq(symlink(image, beside), 0);
	check_file(image, "local");
	check_file(through, "local");
	check_file(beside, "local");
	g_unlink(link);
	g_unlink(beside);
}
END_TEST

START_TEST(a_path_to_nothing_lies_where_its_folder_is)
{
	g_autofree char *gone = g_build_filename(folder, "gone.raw", NULL);

	check_file(gone, "local");
	check_file("/nowhere/gone.raw", "none");
}
END_TEST

START_TEST(what_is_no_image_lies_nowhere)
{
	AUTO(source) source = source_new(SOURCE_OTHER, NULL);

	source->other = g_strdup("rbd");
	check_source(source, "none", -1);
}
END_TEST

static gboolean overlap(const char *a, const char *b)
{
	const struct datastore *first = config_datastore(config, a, NULL, NULL);
	const struct datastore *second = config_datastore(config, b, NULL, NULL);

	return datastore_overlaps(first, second) && datastore_overlaps(second, first);
}

START_TEST(places_overlap_by_whatever_name)
{
	g_autofree char *inside = g_build_filename(folder, "inside/", NULL);

	ck_assert(overlap("filer", "deep"));
	ck_assert(overlap("filer", "nfs://127.0.0.1/vol1/other/"));
	ck_assert(overlap("local", inside));
	ck_assert(!overlap("filer", "array"));
	ck_assert(!overlap("local", "filer"));
	ck_assert(!overlap("array", "iscsi://127.0.0.1/iqn.x:other/"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("locate");
	TCase *cases = tcase_create("locate");
	SRunner *runner = srunner_create(suite);

	suite_add_tcase(suite, cases);
	tcase_add_unchecked_fixture(cases, temp_make, temp_remove);
	tcase_add_checked_fixture(cases, setup, teardown);
	tcase_add_test(cases, a_path_below_a_datastore_lies_on_it);
	tcase_add_test(cases, the_innermost_datastore_counts);
	tcase_add_test(cases, a_network_disk_lies_where_its_path_is_mounted);
	tcase_add_test(cases, a_server_by_its_address_is_the_same_server);
	tcase_add_test(cases, a_lun_lies_on_its_target);
	tcase_add_test(cases, a_link_to_the_folder_or_in_it_is_followed);
	tcase_add_test(cases, a_path_to_nothing_lies_where_its_folder_is);
	tcase_add_test(cases, what_is_no_image_lies_nowhere);
	tcase_add_test(cases, places_overlap_by_whatever_name);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
