#include "blockmig/vm/image_tool.h"

#include "blockmig/vm/child.h"
#include "common/error.h"
#include "common/units.h"
#include "transports/transport.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char *folder;

static void run(const char *first, ...)
{
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	g_autoptr(GError) error = NULL;
	va_list rest;

	va_start(rest, first);
	for (const char *word = first; word; word = va_arg(rest, const char *))
		g_ptr_array_add(argv, (char *)word);
	va_end(rest);
	g_ptr_array_add(argv, NULL);
	ck_assert_msg(tool_run((const char *const *)argv->pdata, 60000, NULL, &error), "%s",
		      error ? error->message : "");
}

/* Unchecked: runs in the parent, so also after a test that failed. */
static void setup(void)
{
	folder = g_dir_make_tmp("blockmig-test-XXXXXX", NULL);
	/* Sockets of a test that was killed go with the folder. */
	g_setenv("XDG_RUNTIME_DIR", folder, TRUE);
}

static void teardown(void)
{
	run("rm", "-rf", folder, NULL);
	g_free(folder);
}

static char *in_folder(const char *name)
{
	return g_build_filename(folder, name, NULL);
}

/* A fresh file of that name, so that tests run in any order. */
static char *raw_image(const char *name, const char *size)
{
	char *path = in_folder(name);

	unlink(path);
	run("truncate", "-s", size, path, NULL);
	return path;
}

static char *overlay_image(const char *name, guint64 bytes)
{
	AUTO(source) nowhere = source_new(SOURCE_FILE, "/nonexistent/base");
	g_autoptr(GError) error = NULL;
	char *path = in_folder(name);

	unlink(path);
	ck_assert_msg(image_tool_create_overlay(path, nowhere, NULL, "raw", bytes, (int)getuid(),
						(int)getgid(), &error),
		      "%s", error ? error->message : "");
	return path;
}

/* qemu-io on the file alone. */
static void io(const char *path, const char *format, const char *command)
{
	gboolean raw = strcmp(format, "raw") == 0;
	g_autofree char *alone =
		g_strdup_printf("json:{\"driver\":\"%s\",\"file\":{\"driver\":\"file\","
				"\"filename\":\"%s\"}%s}",
				format, path, raw ? "" : ",\"backing\":null");

	run("qemu-io", "-c", command, alone, NULL);
}

static GPtrArray *layers_new(void)
{
	return g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);
}

static struct layer *file_layer(const char *path, const char *format, guint64 slice_bytes)
{
	AUTO(source) source = source_new(SOURCE_FILE, path);

	source->slice_bytes = slice_bytes;
	return layer_new(source, format);
}

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
	g_autofree char *path = raw_image("odd.img", "1000");
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
	g_autofree char *path = overlay_image("guest-written", MiB);
	AUTO(source) source = source_new(SOURCE_FILE, path);
	AUTO(image_format_info) info = image_tool_info(source, "raw", NULL);

	ck_assert_str_eq(info->format, "raw");
	ck_assert_ptr_null(info->backing_name);
	ck_assert_uint_eq(info->virtual_bytes, units_round_up(info->file_bytes, 512));
}
END_TEST

START_TEST(an_image_that_is_held_open_can_be_looked_at)
{
	g_autofree char *path = overlay_image("held", MiB);
	g_autofree char *name =
		g_strdup_printf("json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\","
				"\"filename\":\"%s\"},\"backing\":null}",
				path);
	g_autofree char *socket = g_strdup_printf("--socket=%s/held.sock", folder);
	g_autofree char *socket_path = in_folder("held.sock");
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
	g_autofree char *path = in_folder("full.qcow2");
	AUTO(source) source = source_new(SOURCE_FILE, path);
	AUTO(image_format_info) info = NULL;

	run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "compression_type=zstd", path, "1M",
	    NULL);
	run("qemu-img", "snapshot", "-c", "s1", path, NULL);
	run("qemu-img", "bitmap", "--add", path, "b1", NULL);
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
	g_autofree char *path = overlay_image("private.qcow2", 3 * MiB);
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
	g_autofree char *relative = in_folder("relative.qcow2");
	g_autofree char *sliced = in_folder("sliced.qcow2");
	AUTO(layer) base = file_layer("/nonexistent/a,b", "raw", MiB);
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
	g_autofree char *overlay = overlay_image("commit.qcow2", 4 * MiB);
	AUTO(layer) layer = file_layer(base, format, slice_bytes);
	g_autoptr(GError) error = NULL;
	guint64 bytes = size_of(base);

	io(overlay, "qcow2", "write -P 7 65536 100000");
	io(overlay, "qcow2", "write -z 1M 64k");
	ck_assert_msg(image_tool_commit(overlay, layer, &error), "%s", error ? error->message : "");
	io(base, format, "read -P 7 65536 100000");
	io(base, format, "read -P 0 1M 64k");
	io(base, format, "read -P 1 2M 64k");
	if (strcmp(format, "raw") == 0)
		ck_assert_uint_eq(size_of(base), bytes);
}

START_TEST(a_commit_goes_into_a_raw_image)
{
	g_autofree char *base = raw_image("commit.img", "4M");

	io(base, "raw", "write -P 1 0 4M");
	commit_into(base, "raw", 0);
}
END_TEST

START_TEST(a_commit_into_a_slice_leaves_the_rest_alone)
{
	g_autofree char *base = raw_image("lun.img", "8M");

	io(base, "raw", "write -P 1 0 8M");
	commit_into(base, "raw", 4 * MiB);
	io(base, "raw", "read -P 1 4M 4M");
}
END_TEST

START_TEST(a_commit_goes_into_a_qcow2_image)
{
	g_autofree char *base = in_folder("commit-base.qcow2");

	run("qemu-img", "create", "-q", "-f", "qcow2", base, "4M", NULL);
	io(base, "qcow2", "write -P 1 0 4M");
	commit_into(base, "qcow2", 0);
}
END_TEST

START_TEST(a_commit_never_grows_the_image_below)
{
	g_autofree char *base = raw_image("small.img", "1M");
	g_autofree char *overlay = overlay_image("large.qcow2", 2 * MiB);
	AUTO(layer) layer = file_layer(base, "raw", 0);
	g_autoptr(GError) error = NULL;

	ck_assert(!image_tool_commit(overlay, layer, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_PERMANENT));
	ck_assert_uint_eq(size_of(base), MiB);
}
END_TEST

START_TEST(check_finds_corruption_and_nothing_else)
{
	g_autofree char *path = overlay_image("check.qcow2", MiB);
	AUTO(source) source = source_new(SOURCE_FILE, path);
	g_autoptr(GError) error = NULL;
	guint64 nonsense = GUINT64_TO_BE(0x8000000000050000ull | 0x200);
	int fd;

	io(path, "qcow2", "write -P 7 0 64k");
	ck_assert(image_tool_check(source, "qcow2", NULL));
	/* The first L1 entry: a table that is not where tables are. */
	fd = open(path, O_WRONLY);
	ck_assert_int_eq(pwrite(fd, &nonsense, sizeof(nonsense), 3 * 65536), sizeof(nonsense));
	close(fd);
	ck_assert(!image_tool_check(source, "qcow2", &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_INTEGRITY));
}
END_TEST

/* ---- server ------------------------------------------------------------------------------- */

static struct image_server *serve_chain(void)
{
	g_autofree char *base = raw_image("chain-base.img", "1M");
	g_autofree char *overlay = overlay_image("chain-top.qcow2", MiB);
	g_autoptr(GPtrArray) layers = layers_new();
	g_autoptr(GError) error = NULL;
	struct image_server *server;

	io(base, "raw", "write -P 1 0 512k");
	io(overlay, "qcow2", "write -P 2 64k 64k");
	io(overlay, "qcow2", "write -z 128k 64k");
	g_ptr_array_add(layers, file_layer(overlay, "qcow2", 0));
	g_ptr_array_add(layers, file_layer(base, "raw", 0));
	server = image_server_start(layers, FALSE, &error);
	ck_assert_msg(server, "%s", error ? error->message : "");
	return server;
}

START_TEST(a_chain_is_served_by_its_sources)
{
	AUTO(image_server) server = serve_chain();
	AUTO(handle) handle = handle_open(image_server_url(server), NULL, HANDLE_READ, NULL);
	guint8 bytes[3];

	ck_assert_ptr_nonnull(handle);
	ck_assert_uint_eq(handle->size_bytes, MiB);
	for (guint i = 0; i < G_N_ELEMENTS(bytes); i++)
		ck_assert(handle_read(handle, bytes + i, 1, i * 65536, NULL));
	ck_assert_uint_eq(bytes[0], 1);
	ck_assert_uint_eq(bytes[1], 2);
	ck_assert_uint_eq(bytes[2], 0);
}
END_TEST

START_TEST(the_top_url_tells_what_the_overlay_itself_holds)
{
	static const enum extent_kind wanted[] = {EXTENT_UNKNOWN, EXTENT_DATA, EXTENT_ZERO,
						  EXTENT_UNKNOWN};
	AUTO(image_server) server = serve_chain();
	AUTO(handle) handle = handle_open(image_server_top_url(server), NULL, HANDLE_READ, NULL);
	AUTO(extents) extents = handle_extents(handle, MiB, 0, NULL);

	ck_assert_uint_eq(extents_count(extents), G_N_ELEMENTS(wanted));
	for (guint i = 0; i < G_N_ELEMENTS(wanted); i++)
		ck_assert_int_eq(extents_get(extents, i)->kind, wanted[i]);
}
END_TEST

START_TEST(a_server_that_cannot_open_says_why_and_leaves_nothing)
{
	g_autofree char *runtime = in_folder("runtime");
	g_autoptr(GPtrArray) layers = layers_new();
	g_autoptr(GError) error = NULL;
	g_autoptr(GDir) left = NULL;

	ck_assert_int_eq(g_mkdir_with_parents(runtime, 0700), 0);
	g_setenv("XDG_RUNTIME_DIR", runtime, TRUE);
	g_ptr_array_add(layers, file_layer("/nonexistent/y", "qcow2", 0));
	ck_assert_ptr_null(image_server_start(layers, TRUE, &error));
	ck_assert_ptr_nonnull(strstr(error->message, "No such file"));
	left = g_dir_open(runtime, 0, NULL);
	ck_assert_ptr_null(g_dir_read_name(left));
}
END_TEST

static gboolean answers(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	gboolean ok;

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	ok = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	close(fd);
	return ok;
}

static gpointer serve_in_thread(gpointer unused)
{
	(void)unused;
	return serve_chain();
}

START_TEST(a_server_outlives_the_thread_that_asked_for_it)
{
	AUTO(image_server) server = g_thread_join(g_thread_new("short", serve_in_thread, NULL));

	g_usleep(50000);
	ck_assert(answers(image_server_url(server)->socket));
}
END_TEST

START_TEST(a_server_does_not_outlive_us)
{
	char path[256] = "";
	int pipes[2], status;
	pid_t child;

	ck_assert_int_eq(pipe(pipes), 0);
	child = fork();
	if (child == 0) {
		struct image_server *server = serve_chain();
		const char *socket = image_server_url(server)->socket;

		if (write(pipes[1], socket, strlen(socket) + 1) > 0)
			pause();
		_exit(1);
	}
	ck_assert_int_gt(read(pipes[0], path, sizeof(path) - 1), 0);
	ck_assert(answers(path));
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	while (answers(path)) /* Check's time limit ends a wait in vain */
		g_usleep(2000);
	/* What it left is swept away by the next. */
	ck_assert(g_file_test(path, G_FILE_TEST_EXISTS));
	image_server_stop(serve_chain());
	ck_assert(!g_file_test(path, G_FILE_TEST_EXISTS));
	*strrchr(path, '/') = '\0';
	ck_assert(!g_file_test(path, G_FILE_TEST_EXISTS));
}
END_TEST

START_TEST(servers_of_the_living_are_not_swept_away)
{
	AUTO(image_server) first = serve_chain();
	AUTO(image_server) second = serve_chain();

	ck_assert(answers(image_server_url(first)->socket));
	ck_assert(answers(image_server_url(second)->socket));
}
END_TEST

/* ---- compare --------------------------------------------------------------------------------- */

struct pair {
	char *a, *b;
};

/* Two overlays that hold the same. */
static struct pair twins(void)
{
	struct pair pair = {overlay_image("twin-a.qcow2", 8 * MiB),
			    overlay_image("twin-b.qcow2", 8 * MiB)};
	const char *const paths[] = {pair.a, pair.b};

	for (guint i = 0; i < G_N_ELEMENTS(paths); i++) {
		io(paths[i], "qcow2", "write -P 3 1M 3M");
		io(paths[i], "qcow2", "write -z 5M 128k");
		io(paths[i], "qcow2", "write -P 4 8323072 64k");
	}
	return pair;
}

/* Compares twins of which b was changed by @command; the error's text must have @words. */
static void compare(const char *command, const char *words)
{
	struct pair pair = twins();
	g_autofree char *a = pair.a;
	g_autofree char *b = pair.b;
	g_autoptr(GError) error = NULL;
	gboolean equal;

	if (command)
		io(b, "qcow2", command);
	equal = image_tool_compare_overlays(a, b, &error);
	if (!words) {
		ck_assert_msg(equal, "%s", error ? error->message : "");
		return;
	}
	ck_assert(!equal);
	ck_assert_msg(error_is(error, BLOCKMIG_ERROR_INTEGRITY), "%s", error->message);
	ck_assert_msg(strstr(error->message, words), "%s", error->message);
}

START_TEST(equal_overlays_are_equal)
{
	compare(NULL, NULL);
}
END_TEST

START_TEST(one_flipped_byte_is_found)
{
	compare("write -P 9 3000001 1", "at offset 3000001: their bytes");
}
END_TEST

START_TEST(one_cluster_too_many_is_found)
{
	compare("write -P 3 0 64k", "at offset 0: only one");
}
END_TEST

START_TEST(one_cluster_missing_is_found)
{
	struct pair pair = twins();
	g_autofree char *a = pair.a;
	g_autofree char *b = pair.b;
	g_autoptr(GError) error = NULL;

	io(a, "qcow2", "write -P 0 6M 64k");
	ck_assert(!image_tool_compare_overlays(a, b, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_INTEGRITY));
	ck_assert_ptr_nonnull(strstr(error->message, "at offset 6291456: only one"));
}
END_TEST

START_TEST(a_zero_cluster_that_hides_the_layer_below_is_found)
{
	compare("write -z 6M 64k", "at offset 6291456: only one");
}
END_TEST

START_TEST(zeros_are_equal_however_they_are_kept)
{
	compare("write -P 0 5M 128k", NULL);
}
END_TEST

START_TEST(overlays_of_different_size_differ)
{
	g_autofree char *a = overlay_image("long.qcow2", 2 * MiB);
	g_autofree char *b = overlay_image("short.qcow2", MiB);
	g_autoptr(GError) error = NULL;

	ck_assert(!image_tool_compare_overlays(a, b, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_INTEGRITY));
}
END_TEST

static TCase *tools(void)
{
	TCase *cases = tcase_create("tools");

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
	tcase_add_test(cases, a_commit_never_grows_the_image_below);
	tcase_add_test(cases, check_finds_corruption_and_nothing_else);
	return cases;
}

static TCase *servers(void)
{
	TCase *cases = tcase_create("servers");

	tcase_add_test(cases, a_chain_is_served_by_its_sources);
	tcase_add_test(cases, the_top_url_tells_what_the_overlay_itself_holds);
	tcase_add_test(cases, a_server_that_cannot_open_says_why_and_leaves_nothing);
	tcase_add_test(cases, a_server_outlives_the_thread_that_asked_for_it);
	tcase_add_test(cases, a_server_does_not_outlive_us);
	tcase_add_test(cases, servers_of_the_living_are_not_swept_away);
	tcase_add_test(cases, equal_overlays_are_equal);
	tcase_add_test(cases, one_flipped_byte_is_found);
	tcase_add_test(cases, one_cluster_too_many_is_found);
	tcase_add_test(cases, one_cluster_missing_is_found);
	tcase_add_test(cases, a_zero_cluster_that_hides_the_layer_below_is_found);
	tcase_add_test(cases, zeros_are_equal_however_they_are_kept);
	tcase_add_test(cases, overlays_of_different_size_differ);
	return cases;
}

int main(void)
{
	TCase *const cases[] = {tools(), servers()};
	Suite *suite = suite_create("image_tool");
	SRunner *runner = srunner_create(suite);
	int failed;

	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		tcase_add_unchecked_fixture(cases[i], setup, teardown);
		tcase_set_timeout(cases[i], 60);
		suite_add_tcase(suite, cases[i]);
	}
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
