#include "blockmig/vm/image_tool.h"

#include "common/error.h"
#include "common/units.h"
#include "tests/unit/qemu_images.h"
#include "tests/unit/temp.h"
#include "transports/transport.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- server ------------------------------------------------------------------------------- */

static struct image_server *serve_chain(void)
{
	g_autofree char *base = qemu_images_raw("chain-base.img", "1M");
	g_autofree char *overlay = qemu_images_overlay("chain-top.qcow2", MiB);
	g_autoptr(GPtrArray) layers = qemu_images_layers();
	g_autoptr(GError) error = NULL;
	struct image_server *server;

	qemu_images_io(base, "raw", "write -P 1 0 512k");
	qemu_images_io(overlay, "qcow2", "write -P 2 64k 64k");
	qemu_images_io(overlay, "qcow2", "write -z 128k 64k");
	g_ptr_array_add(layers, qemu_images_layer(overlay, "qcow2", 0));
	g_ptr_array_add(layers, qemu_images_layer(base, "raw", 0));
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
	g_autofree char *runtime = temp_path("runtime");
	g_autoptr(GPtrArray) layers = qemu_images_layers();
	g_autoptr(GError) error = NULL;
	g_autoptr(GDir) left = NULL;

	ck_assert_int_eq(g_mkdir_with_parents(runtime, 0700), 0);
	g_setenv("XDG_RUNTIME_DIR", runtime, TRUE);
	g_ptr_array_add(layers, qemu_images_layer("/nonexistent/y", "qcow2", 0));
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
	struct pair pair = {qemu_images_overlay("twin-a.qcow2", 8 * MiB),
			    qemu_images_overlay("twin-b.qcow2", 8 * MiB)};
	const char *const paths[] = {pair.a, pair.b};

	for (guint i = 0; i < G_N_ELEMENTS(paths); i++) {
		qemu_images_io(paths[i], "qcow2", "write -P 3 1M 3M");
		qemu_images_io(paths[i], "qcow2", "write -z 5M 128k");
		qemu_images_io(paths[i], "qcow2", "write -P 4 8323072 64k");
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
		qemu_images_io(b, "qcow2", command);
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

	qemu_images_io(a, "qcow2", "write -P 0 6M 64k");
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
	g_autofree char *a = qemu_images_overlay("long.qcow2", 2 * MiB);
	g_autofree char *b = qemu_images_overlay("short.qcow2", MiB);
	g_autoptr(GError) error = NULL;

	ck_assert(!image_tool_compare_overlays(a, b, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_INTEGRITY));
}
END_TEST

/* The twins hold the same clusters; then one of them gets one more. */
static gboolean hides_with(gboolean upper_has_more, GError **error)
{
	struct pair pair = twins();
	g_autofree char *a = pair.a;
	g_autofree char *b = pair.b;

	qemu_images_io(upper_has_more ? a : b, "qcow2", "write -P 9 6M 64k");
	return image_tool_overlay_hides(a, b, error);
}

START_TEST(an_overlay_that_holds_more_hides_the_other)
{
	g_autoptr(GError) error = NULL;

	ck_assert_msg(hides_with(TRUE, &error), "%s", error ? error->message : "");
}
END_TEST

START_TEST(what_would_show_through_a_graft_is_found)
{
	g_autoptr(GError) error = NULL;

	ck_assert(!hides_with(FALSE, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_INTEGRITY));
	ck_assert_ptr_nonnull(strstr(error->message, "at offset 6291456: "));
}
END_TEST

/* As a wrong mirror that somebody has, or has not, written to since. */
static gboolean digest_changes_with(const char *command)
{
	g_autofree char *path = qemu_images_overlay("digested.qcow2", 8 * MiB);
	g_autofree char *before = NULL, *after = NULL;
	g_autoptr(GError) error = NULL;

	qemu_images_io(path, "qcow2", "write -P 3 1M 3M");
	before = image_tool_overlay_digest(path, &error);
	ck_assert_msg(before != NULL, "%s", error ? error->message : "");
	qemu_images_io(path, "qcow2", command);
	after = image_tool_overlay_digest(path, NULL);
	ck_assert_int_eq(unlink(path), 0);
	return !g_str_equal(before, after);
}

START_TEST(what_is_written_to_an_overlay_changes_its_digest)
{
	static const char *const writes[] = {
		"write -P 9 3000001 1", "write -P 0 6M 64k", "write -z 6M 64k",
		"write -z 1M 64k",	"discard 1M 64k",
	};

	ck_assert(digest_changes_with(writes[_i]));
}
END_TEST

START_TEST(an_overlay_that_was_only_opened_keeps_its_digest)
{
	static const char *const commands[] = {"read 1M 64k", "flush", "write -P 3 1M 64k"};

	ck_assert(!digest_changes_with(commands[_i]));
}
END_TEST

START_TEST(an_overlay_that_is_not_there_has_no_digest)
{
	g_autofree char *path = temp_path("nowhere.qcow2");
	g_autoptr(GError) error = NULL;

	ck_assert_ptr_null(image_tool_overlay_digest(path, &error));
	ck_assert_ptr_nonnull(error);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("image_server");
	TCase *cases = tcase_create("image_server");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, cases);
	tcase_add_unchecked_fixture(cases, qemu_images_make, temp_remove);
	tcase_set_timeout(cases, 60);
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
	tcase_add_test(cases, an_overlay_that_holds_more_hides_the_other);
	tcase_add_test(cases, what_would_show_through_a_graft_is_found);
	tcase_add_loop_test(cases, what_is_written_to_an_overlay_changes_its_digest, 0, 5);
	tcase_add_loop_test(cases, an_overlay_that_was_only_opened_keeps_its_digest, 0, 3);
	tcase_add_test(cases, an_overlay_that_is_not_there_has_no_digest);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
