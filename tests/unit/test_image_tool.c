#include "blockmig/vm/image_tool.h"

#include "blockmig/vm/child.h"
#include "common/error.h"
#include "common/units.h"
#include "tests/unit/qemu_images.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static guint64 size_of(const char *path)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return (guint64)st.st_size;
}

/* ---- running ---------------------------------------------------------------------- */

START_TEST(a_failing_tool_says_why)
{
	const char *const argv[] = {"sh", "-c", "echo one >&2; echo two >&2; exit 3", NULL};
	g_autoptr(GError) error = NULL;

	ck_assert(!tool_run(argv, 10000, NULL, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_PERMANENT));
	ck_assert_str_eq(error->message, "sh -c: exit status 3: one; two");
}
END_TEST

START_TEST(a_tool_that_is_not_there_is_an_error)
{
	const char *const argv[] = {"blockmig-no-such-tool", NULL};
	g_autoptr(GError) error = NULL;

	ck_assert(!tool_run(argv, 10000, NULL, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_PERMANENT));
}
END_TEST

START_TEST(a_silent_tool_is_killed_and_a_talking_one_is_not)
{
	const char *const silent[] = {"sleep", "60", NULL};
	const char *const talking[] = {"sh", "-c",
				       "for i in 1 2 3 4 5 6; do echo $i; sleep 0.1; done", NULL};
	g_autoptr(GError) error = NULL;
	g_autofree char *output = NULL;

	ck_assert(!tool_run(silent, 50, NULL, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_UNKNOWN));
	ck_assert(tool_run(talking, 400, &output, NULL));
	ck_assert_str_eq(output, "1\n2\n3\n4\n5\n6\n");
}
END_TEST

/* ---- info and create ---------------------------------------------------------------- */

START_TEST(info_of_a_raw_file_is_exact)
{
	g_autofree char *path = qemu_images_raw("odd.img", "1000");
	AUTO(source) source = source_new(SOURCE_FILE, path);
	AUTO(image_format_info) info = image_tool_info(source, NULL, NULL);

	ck_assert_str_eq(info->format, "raw");
	ck_assert_uint_eq(info->file_bytes, 1000);
	ck_assert_uint_eq(info->virtual_bytes, 1024);
	ck_assert_ptr_null(info->backing_name);
}
END_TEST

START_TEST(a_header_is_not_believed_where_the_format_is_given)
{
	g_autofree char *path = qemu_images_overlay("guest-written", MiB);
	AUTO(source) source = source_new(SOURCE_FILE, path);
	AUTO(image_format_info) info = image_tool_info(source, "raw", NULL);

	ck_assert_str_eq(info->format, "raw");
	ck_assert_ptr_null(info->backing_name);
	ck_assert_uint_eq(info->virtual_bytes, units_round_up(info->file_bytes, 512));
}
END_TEST

START_TEST(an_image_that_is_held_open_can_be_looked_at)
{
	g_autofree char *path = qemu_images_overlay("held", MiB);
	g_autofree char *name =
		g_strdup_printf("json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\","
				"\"filename\":\"%s\"},\"backing\":null}",
				path);
	g_autofree char *socket_path = temp_path("held.sock");
	g_autofree char *socket = g_strconcat("--socket=", socket_path, NULL);
	const char *const argv[] = {"qemu-nbd", "--persistent", socket, name, NULL};
	AUTO(child_service) holder = child_service_start(argv, NULL);
	AUTO(source) source = source_new(SOURCE_FILE, path);
	AUTO(image_format_info) info = NULL;
	g_autofree char *messages = NULL;

	while (!g_file_test(socket_path, G_FILE_TEST_EXISTS)) {
		ck_assert(!child_service_ended(holder, &messages));
		g_usleep(2000);
	}
	info = image_tool_info(source, "qcow2", NULL);
	ck_assert_ptr_nonnull(info);
	ck_assert_str_eq(info->backing_format, "raw");
	ck_assert(!info->has_snapshots && !info->is_corrupt && !info->is_encrypted);
}
END_TEST

START_TEST(internal_snapshots_and_bitmaps_are_seen)
{
	g_autofree char *path = temp_path("full.qcow2");
	AUTO(source) source = source_new(SOURCE_FILE, path);
	AUTO(image_format_info) info = NULL;

	qemu_images_run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "compression_type=zstd",
			path, "1M");
	qemu_images_run("qemu-img", "snapshot", "-c", "s1", path);
	qemu_images_run("qemu-img", "bitmap", "--add", path, "b1");
	info = image_tool_info(source, NULL, NULL);
	ck_assert_str_eq(info->format, "qcow2");
	ck_assert(info->has_snapshots && info->has_bitmaps && info->has_compressed_type);
}
END_TEST

START_TEST(a_missing_image_is_named)
{
	AUTO(source) source = source_new(SOURCE_FILE, "/nonexistent/x.img");
	g_autoptr(GError) error = NULL;

	ck_assert_ptr_null(image_tool_info(source, "raw", &error));
	ck_assert(g_str_has_prefix(error->message, "/nonexistent/x.img: "));
	ck_assert_ptr_nonnull(strstr(error->message, "No such file"));
}
END_TEST

START_TEST(an_overlay_is_private_and_opens_nothing)
{
	g_autofree char *path = qemu_images_overlay("private.qcow2", 3 * MiB);
	AUTO(source) source = source_new(SOURCE_FILE, path);
	AUTO(image_format_info) info = image_tool_info(source, "qcow2", NULL);
	g_autoptr(GError) error = NULL;
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	ck_assert_uint_eq(info->virtual_bytes, 3 * MiB);
	ck_assert_str_eq(info->backing_name, "/nonexistent/base");
	ck_assert_str_eq(info->backing_format, "raw");
	ck_assert(!image_tool_create_overlay(path, source, "base.img", "raw", MiB, -1, -1, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_EXISTS));
}
END_TEST

START_TEST(a_backing_name_may_be_relative_or_json)
{
	g_autofree char *relative = temp_path("relative.qcow2");
	g_autofree char *sliced = temp_path("sliced.qcow2");
	AUTO(layer) base = qemu_images_layer("/nonexistent/a,b", "raw", MiB);
	AUTO(source) first = source_new(SOURCE_FILE, relative);
	AUTO(source) second = source_new(SOURCE_FILE, sliced);
	AUTO(image_format_info) one = NULL;
	AUTO(image_format_info) two = NULL;

	ck_assert(image_tool_create_overlay(relative, &base->source, "b,c.img", "raw", MiB, -1, -1,
					    NULL));
	ck_assert(image_tool_create_overlay(sliced, &base->source, NULL, "raw", MiB, -1, -1, NULL));
	one = image_tool_info(first, "qcow2", NULL);
	two = image_tool_info(second, "qcow2", NULL);
	ck_assert_str_eq(one->backing_name, "b,c.img");
	ck_assert(g_str_has_prefix(two->backing_name, "json:"));
}
END_TEST

/* ---- commit and check ------------------------------------------------------------------ */

static void commit_into(const char *base, const char *format, guint64 slice_bytes)
{
	g_autofree char *overlay = qemu_images_overlay("commit.qcow2", 4 * MiB);
	AUTO(layer) layer = qemu_images_layer(base, format, slice_bytes);
	g_autoptr(GError) error = NULL;
	guint64 bytes = size_of(base);

	qemu_images_io(overlay, "qcow2", "write -P 7 65536 100000");
	qemu_images_io(overlay, "qcow2", "write -z 1M 64k");
	ck_assert_msg(image_tool_commit(overlay, layer, &error), "%s", error ? error->message : "");
	qemu_images_io(base, format, "read -P 7 65536 100000");
	qemu_images_io(base, format, "read -P 0 1M 64k");
	qemu_images_io(base, format, "read -P 1 2M 64k");
	if (strcmp(format, "raw") == 0)
		ck_assert_uint_eq(size_of(base), bytes);
}

START_TEST(a_commit_goes_into_a_raw_image)
{
	g_autofree char *base = qemu_images_raw("commit.img", "4M");

	qemu_images_io(base, "raw", "write -P 1 0 4M");
	commit_into(base, "raw", 0);
}
END_TEST

START_TEST(a_commit_into_a_slice_leaves_the_rest_alone)
{
	g_autofree char *base = qemu_images_raw("lun.img", "8M");

	qemu_images_io(base, "raw", "write -P 1 0 8M");
	commit_into(base, "raw", 4 * MiB);
	qemu_images_io(base, "raw", "read -P 1 4M 4M");
}
END_TEST

START_TEST(a_commit_goes_into_a_qcow2_image)
{
	g_autofree char *base = temp_path("commit-base.qcow2");

	qemu_images_run("qemu-img", "create", "-q", "-f", "qcow2", base, "4M");
	qemu_images_io(base, "qcow2", "write -P 1 0 4M");
	commit_into(base, "qcow2", 0);
}
END_TEST

START_TEST(a_commit_fills_large_clusters_from_further_below)
{
	g_autofree char *template = qemu_images_raw("template.img", "4M");
	g_autofree char *base = temp_path("large-clusters.qcow2");
	g_autofree char *overlay = qemu_images_overlay("small-clusters.qcow2", 4 * MiB);
	AUTO(layer) layer = qemu_images_layer(base, "qcow2", 0);
	g_autoptr(GError) error = NULL;
	gboolean ok;

	qemu_images_io(template, "raw", "write -P 5 0 4M");
	qemu_images_run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", "-F",
			"raw", "-b", template, base);
	qemu_images_io(overlay, "qcow2", "write -P 7 64k 64k");
	ok = image_tool_commit(overlay, layer, &error);
	ck_assert_msg(ok, "%s", error ? error->message : "");
	qemu_images_run("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 5 0 64k", "-c",
			"read -P 7 64k 64k", "-c", "read -P 5 128k 3968k", base);
}
END_TEST

START_TEST(a_commit_never_grows_the_image_below)
{
	g_autofree char *base = qemu_images_raw("small.img", "1M");
	g_autofree char *overlay = qemu_images_overlay("large.qcow2", 2 * MiB);
	AUTO(layer) layer = qemu_images_layer(base, "raw", 0);
	g_autoptr(GError) error = NULL;

	ck_assert(!image_tool_commit(overlay, layer, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_PERMANENT));
	ck_assert_uint_eq(size_of(base), MiB);
}
END_TEST

START_TEST(check_finds_corruption_and_nothing_else)
{
	g_autofree char *path = qemu_images_overlay("check.qcow2", MiB);
	AUTO(source) source = source_new(SOURCE_FILE, path);
	g_autoptr(GError) error = NULL;
	guint64 nonsense = GUINT64_TO_BE(0x8000000000050000ull | 0x200);
	int fd;

	qemu_images_io(path, "qcow2", "write -P 7 0 64k");
	ck_assert(image_tool_check(source, "qcow2", NULL));
	/* The first L1 entry: a table that is not where tables are. */
	fd = open(path, O_WRONLY);
	ck_assert_int_eq(pwrite(fd, &nonsense, sizeof(nonsense), 3 * 65536), sizeof(nonsense));
	close(fd);
	ck_assert(!image_tool_check(source, "qcow2", &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_INTEGRITY));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("image_tool");
	TCase *cases = tcase_create("image_tool");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, cases);
	tcase_add_unchecked_fixture(cases, qemu_images_make, temp_remove);
	tcase_set_timeout(cases, 60);
	tcase_add_test(cases, a_failing_tool_says_why);
	tcase_add_test(cases, a_tool_that_is_not_there_is_an_error);
	tcase_add_test(cases, a_silent_tool_is_killed_and_a_talking_one_is_not);
	tcase_add_test(cases, info_of_a_raw_file_is_exact);
	tcase_add_test(cases, a_header_is_not_believed_where_the_format_is_given);
	tcase_add_test(cases, an_image_that_is_held_open_can_be_looked_at);
	tcase_add_test(cases, internal_snapshots_and_bitmaps_are_seen);
	tcase_add_test(cases, a_missing_image_is_named);
	tcase_add_test(cases, an_overlay_is_private_and_opens_nothing);
	tcase_add_test(cases, a_backing_name_may_be_relative_or_json);
	tcase_add_test(cases, a_commit_goes_into_a_raw_image);
	tcase_add_test(cases, a_commit_into_a_slice_leaves_the_rest_alone);
	tcase_add_test(cases, a_commit_goes_into_a_qcow2_image);
	tcase_add_test(cases, a_commit_fills_large_clusters_from_further_below);
	tcase_add_test(cases, a_commit_never_grows_the_image_below);
	tcase_add_test(cases, check_finds_corruption_and_nothing_else);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
