/*
 * Against a real qemu-nbd over temporary qcow2 images.
 */
#include "common/deadline.h"
#include "common/error.h"
#include "common/units.h"
#include "tests/unit/temp.h"
#include "transports/transport.h"

#include <check.h>
#include <gio/gio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { STALL_MS = 400, START_MS = 20000 };

static const struct transport_config config = {.stall_ms = STALL_MS};

/* ---- helpers ------------------------------------------------------------------ */

/* Check kills what a test started with the test. */
static GPid spawn(const char *const *argv, gboolean wait)
{
	GSpawnFlags flags =
		G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL;
	g_autoptr(GError) error = NULL;
	GPid pid = 0;
	int status = 0;

	if (wait)
		flags &= ~(GSpawnFlags)G_SPAWN_DO_NOT_REAP_CHILD;
	else /* it complains about every connection that a test breaks */
		flags |= G_SPAWN_STDERR_TO_DEV_NULL;
	gboolean good =
		wait ? g_spawn_sync(NULL, (char **)argv, NULL, flags, NULL, NULL, NULL, NULL,
				    &status, &error) &&
				g_spawn_check_wait_status(status, &error)
		     : g_spawn_async(NULL, (char **)argv, NULL, flags, NULL, NULL, &pid, &error);
	ck_assert_msg(good, "%s: %s", argv[0], error ? error->message : "");
	return pid;
}

static char *image_new(const char *name, const char *size, const char *backing)
{
	char *path = temp_path(name);
	const char *const plain[] = {"qemu-img", "create", "-q", "-f", "qcow2", path, size, NULL};
	const char *const layered[] = {"qemu-img", "create", "-q",    "-f", "qcow2", "-b",
				       backing,	   "-F",     "qcow2", path, size,    NULL};

	spawn(backing ? layered : plain, TRUE);
	return path;
}

static void image_io(const char *path, const char *command)
{
	const char *const argv[] = {"qemu-io", "-f", "qcow2", "-c", command, path, NULL};

	spawn(argv, TRUE);
}

static gboolean is_connectable(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	gboolean connected = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	close(fd);
	return connected;
}

struct server {
	GPid pid;
	char *socket;
};

/* @option: one more for qemu-nbd. */
static struct server serve(const char *path, const char *option)
{
	g_autofree char *name = g_strdup_printf("nbd-%d", getpid());
	struct server server = {.socket = temp_path(name)};
	const char *const argv[] = {"qemu-nbd",	      "--persistent", "--shared=8",
				    "--format=qcow2", "--socket",     server.socket,
				    option,	      path,	      NULL};
	deadline_ms deadline = deadline_in(START_MS);

	server.pid = spawn(argv, FALSE);
	while (!is_connectable(server.socket)) {
		ck_assert_msg(!deadline_passed(deadline), "qemu-nbd does not answer");
		g_usleep(2000);
	}
	return server;
}

static void stop(struct server *server)
{
	kill(server->pid, SIGKILL);
	g_spawn_close_pid(server->pid);
	g_clear_pointer(&server->socket, g_free);
}

static struct url *url_of(const struct server *server, const char *arguments)
{
	g_autofree char *text =
		g_strdup_printf("nbd+unix:///?socket=%s%s", server->socket, arguments);

	return url_parse(text, NULL);
}

static struct handle *open_server(const struct server *server, const char *arguments,
				  enum handle_mode mode)
{
	AUTO(url) url = url_of(server, arguments);
	g_autoptr(GError) error = NULL;
	struct handle *handle = handle_open(url, &config, mode, &error);

	ck_assert_msg(handle, "%s", error ? error->message : "");
	return handle;
}

/* ---- transfers ---------------------------------------------------------------- */

START_TEST(what_is_written_is_read_over_another_connection)
{
	enum { BYTES = (40 << 20) + 13, OFFSET = (1 << 20) + 5 };
	g_autofree char *path = image_new("transfer", "64M", NULL);
	struct server server = serve(path, "--allocation-depth");
	AUTO(handle) writer = open_server(&server, "", HANDLE_WRITE);
	AUTO(handle) reader = open_server(&server, "", HANDLE_READ);
	char *data = transport_buffer_new(BYTES), *got = transport_buffer_new(BYTES);

	ck_assert_uint_eq(writer->size_bytes, 64 * MiB);
	pattern_fill(data, BYTES, 1);
	ck_assert(handle_write(writer, data, BYTES, OFFSET, NULL));
	ck_assert(handle_flush(writer, NULL));
	ck_assert(handle_read(reader, got, BYTES, OFFSET, NULL));
	ck_assert(memcmp(got, data, BYTES) == 0);

	/* The twin: one other byte, and it is seen. */
	char other = (char)(data[BYTES / 2] ^ 1);
	ck_assert(handle_write(writer, &other, 1, OFFSET + BYTES / 2, NULL));
	ck_assert(handle_read(reader, got, BYTES, OFFSET, NULL));
	ck_assert(memcmp(got, data, BYTES) != 0);
	transport_buffer_free(data);
	transport_buffer_free(got);
	stop(&server);
}
END_TEST

START_TEST(a_zeroed_range_reads_as_zeros)
{
	g_autofree char *path = image_new("zeroed", "128M", NULL);
	image_io(path, "write -P 7 0 128M");
	struct server server = serve(path, "--discard=unmap");
	AUTO(handle) handle = open_server(&server, "", HANDLE_WRITE);
	char byte[4];

	ck_assert(handle_zero(handle, 100 * MiB, MiB + 1, NULL));
	ck_assert(handle_read(handle, byte, 1, MiB, NULL));
	ck_assert(handle_read(handle, byte + 1, 1, MiB + 1, NULL));
	ck_assert(handle_read(handle, byte + 2, 1, 101 * MiB, NULL));
	ck_assert(handle_read(handle, byte + 3, 1, 101 * MiB + 1, NULL));
	ck_assert(byte[0] == 7 && byte[1] == 0 && byte[2] == 0 && byte[3] == 7);
	AUTO(extents) extents = handle_extents(handle, 128 * MiB, 0, NULL);
	ck_assert_uint_ge(extents_bytes(extents, EXTENT_ZERO), 99 * MiB);
	stop(&server);
}
END_TEST

/* ---- extents ------------------------------------------------------------------ */

struct expected {
	guint64 length_bytes;
	enum extent_kind kind;
};

static void check_extents(struct handle *handle, const struct expected *expected, guint count)
{
	AUTO(extents) extents = handle_extents(handle, handle->size_bytes, 0, NULL);

	ck_assert_ptr_nonnull(extents);
	ck_assert_uint_eq(extents_count(extents), count);
	for (guint i = 0; i < count; i++) {
		ck_assert_uint_eq(extents_get(extents, i)->length_bytes, expected[i].length_bytes);
		ck_assert_int_eq(extents_get(extents, i)->kind, expected[i].kind);
	}
}

/* The top layer holds data and zeros; the base data below both and beside them. */
static char *layered_image(void)
{
	g_autofree char *base = image_new("base", "4M", NULL);
	char *top = image_new("top", "4M", base);

	image_io(base, "write -P 1 0 2M");
	image_io(top, "write -P 2 512k 64k");
	image_io(top, "write -z 1M 128k");
	image_io(top, "discard 3M 64k");
	return top;
}

START_TEST(extents_of_a_chain_are_what_the_guest_sees)
{
	static const struct expected expected[] = {{MiB, EXTENT_DATA},
						   {128 * KiB, EXTENT_ZERO},
						   {MiB - 128 * KiB, EXTENT_DATA},
						   {2 * MiB, EXTENT_ZERO}};
	g_autofree char *path = layered_image();
	struct server server = serve(path, "--allocation-depth");
	AUTO(handle) handle = open_server(&server, "", HANDLE_READ);
	struct image_info info;

	ck_assert(handle_describe(handle, &info, NULL));
	ck_assert(info.extents_trusted);
	ck_assert_str_eq(info.identity, "");
	check_extents(handle, expected, G_N_ELEMENTS(expected));
	stop(&server);
}
END_TEST

START_TEST(extents_of_the_top_layer_leave_out_what_lies_below)
{
	static const struct expected expected[] = {
		{512 * KiB, EXTENT_UNKNOWN},	       {64 * KiB, EXTENT_DATA},
		{448 * KiB, EXTENT_UNKNOWN},	       {128 * KiB, EXTENT_ZERO},
		{2 * MiB - 128 * KiB, EXTENT_UNKNOWN}, {64 * KiB, EXTENT_ZERO},
		{MiB - 64 * KiB, EXTENT_UNKNOWN}};
	g_autofree char *path = layered_image();
	struct server server = serve(path, "--allocation-depth");
	AUTO(handle) handle = open_server(&server, "&layer=top", HANDLE_READ);
	char byte = 0;

	check_extents(handle, expected, G_N_ELEMENTS(expected));
	/* It reads through the chain all the same. */
	ck_assert(handle_read(handle, &byte, 1, 0, NULL));
	ck_assert_int_eq(byte, 1);
	stop(&server);
}
END_TEST

START_TEST(a_server_that_cannot_tell_layers_is_refused)
{
	g_autofree char *path = image_new("flat", "1M", NULL);
	struct server server = serve(path, "--read-only");
	AUTO(url) url = url_of(&server, "&layer=top");
	g_autoptr(GError) error = NULL;

	ck_assert_ptr_null(handle_open(url, &config, HANDLE_READ, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_PERMANENT));
	stop(&server);
}
END_TEST

START_TEST(extents_of_an_empty_tebibyte_take_no_time)
{
	g_autofree char *path = image_new("huge", "1T", NULL);
	struct server server = serve(path, "--allocation-depth");
	AUTO(handle) handle = open_server(&server, "", HANDLE_READ);
	static const struct expected expected[] = {{TiB, EXTENT_ZERO}};

	check_extents(handle, expected, G_N_ELEMENTS(expected));
	stop(&server);
}
END_TEST

/* ---- failures ----------------------------------------------------------------- */

START_TEST(a_server_that_stands_still_is_given_up)
{
	g_autofree char *path = image_new("still", "4M", NULL);
	struct server server = serve(path, "--allocation-depth");
	AUTO(handle) handle = open_server(&server, "", HANDLE_READ);
	g_autoptr(GError) error = NULL;
	char *buffer = transport_buffer_new(4 * MiB);
	gint64 begin = g_get_monotonic_time();

	kill(server.pid, SIGSTOP);
	ck_assert(!handle_read(handle, buffer, 4 * MiB, 0, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_TRANSIENT));
	ck_assert_int_ge(g_get_monotonic_time() - begin, STALL_MS * 1000);
	/* Nothing more comes into the buffer, and the handle stays spent. */
	memset(buffer, 5, 4 * MiB);
	kill(server.pid, SIGCONT);
	ck_assert(!handle_read(handle, buffer, 1, 0, NULL));
	AUTO(handle) fresh = open_server(&server, "", HANDLE_READ);
	ck_assert(buffer[0] == 5 && handle_read(fresh, buffer, 4 * MiB, 0, NULL));
	transport_buffer_free(buffer);
	stop(&server);
}
END_TEST

START_TEST(a_server_that_died_is_a_lost_connection)
{
	g_autofree char *path = image_new("dead", "4M", NULL);
	struct server server = serve(path, "--allocation-depth");
	AUTO(url) url = url_of(&server, "");
	AUTO(handle) handle = open_server(&server, "", HANDLE_WRITE);
	g_autoptr(GError) error = NULL;
	g_autoptr(GError) error_again = NULL;
	char *buffer = transport_buffer_new(4 * MiB);

	kill(server.pid, SIGKILL);
	pattern_fill(buffer, 4 * MiB, 1);
	ck_assert(!handle_write(handle, buffer, 4 * MiB, 0, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_TRANSIENT));
	ck_assert_ptr_nonnull(strstr(error->message, server.socket));
	ck_assert_ptr_null(handle_open(url, &config, HANDLE_READ, &error_again));
	ck_assert(error_is(error_again, BLOCKMIG_ERROR_TRANSIENT));
	transport_buffer_free(buffer);
	stop(&server);
}
END_TEST

START_TEST(a_read_only_export_is_not_opened_for_writing)
{
	g_autofree char *path = image_new("read-only", "1M", NULL);
	struct server server = serve(path, "--read-only");
	AUTO(url) url = url_of(&server, "");
	g_autoptr(GError) error = NULL;

	ck_assert_ptr_null(handle_open(url, &config, HANDLE_WRITE, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_PERMANENT));
	stop(&server);
}
END_TEST

START_TEST(an_export_that_is_not_there_is_not_found)
{
	g_autofree char *path = image_new("export", "1M", NULL);
	struct server server = serve(path, "--read-only");
	g_autofree char *text = g_strdup_printf("nbd+unix:///other?socket=%s", server.socket);
	AUTO(url) url = url_parse(text, NULL);
	g_autoptr(GError) error = NULL;

	ck_assert_ptr_null(handle_open(url, &config, HANDLE_READ, &error));
	ck_assert_msg(error_is(error, BLOCKMIG_ERROR_NOT_FOUND), "%s", error->message);
	stop(&server);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("nbd");
	TCase *tcase = tcase_create("nbd");
	SRunner *runner = srunner_create(suite);

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, 60);
	tcase_add_unchecked_fixture(tcase, temp_make, temp_remove);
	tcase_add_test(tcase, what_is_written_is_read_over_another_connection);
	tcase_add_test(tcase, a_zeroed_range_reads_as_zeros);
	tcase_add_test(tcase, extents_of_a_chain_are_what_the_guest_sees);
	tcase_add_test(tcase, extents_of_the_top_layer_leave_out_what_lies_below);
	tcase_add_test(tcase, a_server_that_cannot_tell_layers_is_refused);
	tcase_add_test(tcase, extents_of_an_empty_tebibyte_take_no_time);
	tcase_add_test(tcase, a_server_that_stands_still_is_given_up);
	tcase_add_test(tcase, a_server_that_died_is_a_lost_connection);
	tcase_add_test(tcase, a_read_only_export_is_not_opened_for_writing);
	tcase_add_test(tcase, an_export_that_is_not_there_is_not_found);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
