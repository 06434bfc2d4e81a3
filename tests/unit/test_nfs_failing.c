#include "tests/unit/images.h"
#include "tests/unit/servers.h"
#include "common/units.h"

#include <string.h>

enum { STALL_MS = 1500 };

static const struct transport_config config = {.stall_ms = STALL_MS};

/* ---- helpers ------------------------------------------------------------------ */

static struct url *url_of(const char *name)
{
	g_autofree char *text = nfs_server_url(name);
	g_autoptr(GError) error = NULL;
	struct url *url = url_parse(text, &error);

	ck_assert_msg(url != NULL, "%s", error ? error->message : text);
	return url;
}

static void create(const char *name, guint64 size_bytes)
{
	AUTO(url) url = url_of(name);
	struct image_create wanted = {.size_bytes = size_bytes, .mode = 0600, .uid = -1, .gid = -1};
	g_autoptr(GError) error = NULL;

	assert_good(image_create(url, &config, &wanted, &error), error);
}

static struct handle *open_image(const char *name)
{
	AUTO(url) url = url_of(name);
	g_autoptr(GError) error = NULL;
	struct handle *handle = handle_open(url, &config, HANDLE_WRITE, &error);

	assert_good(handle != NULL, error);
	return handle;
}

/* ---- a server that fails ------------------------------------------------------ */

START_TEST(server_that_restarts_before_the_flush_makes_it_fail)
{
	guint8 *data = images_noise(MiB, 2);
	g_autoptr(GError) error = NULL;

	create("forgetful", MiB);
	AUTO(handle) handle = open_image("forgetful");
	assert_good(handle_write(handle, data, MiB, 0, &error), error);
	nfs_server_kill();
	nfs_server_start();
	ck_assert(!handle_flush(handle, &error));
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
	AUTO(handle) fresh = open_image("forgetful");
	g_clear_error(&error);
	assert_good(handle_write(fresh, data, MiB, 0, &error), error);
	assert_good(handle_flush(fresh, &error), error);
	ck_assert(images_hold(fresh, data, MiB, 0));
	transport_buffer_free(data);
}
END_TEST

/* Ends the server while the test's own thread is in a call. */
static gpointer kill_soon(gpointer after_ms)
{
	g_usleep(GPOINTER_TO_UINT(after_ms) * 1000);
	nfs_server_kill();
	return NULL;
}

START_TEST(server_killed_in_mid_write_is_transient_and_a_new_handle_works)
{
	gsize bytes = 64 * MiB;
	guint8 *data = images_noise(bytes, 3);
	g_autoptr(GError) error = NULL;

	create("killed", bytes);
	AUTO(handle) handle = open_image("killed");
	GThread *killer = g_thread_new("killer", kill_soon, GUINT_TO_POINTER(30));
	while (handle_write(handle, data, bytes, 0, &error))
		;
	g_thread_join(killer);
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
	g_clear_error(&error);
	ck_assert(!handle_read(handle, data, MiB, 0, &error));
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
	g_clear_error(&error);
	nfs_server_start();
	AUTO(handle) fresh = open_image("killed");
	assert_good(handle_write(fresh, data, bytes, 0, &error), error);
	assert_good(handle_flush(fresh, &error), error);
	ck_assert(images_hold(fresh, data, bytes, 0));
	transport_buffer_free(data);
}
END_TEST

START_TEST(server_that_stands_still_is_given_up_after_the_stall_limit)
{
	guint8 *data = images_noise(MiB, 4);
	g_autoptr(GError) error = NULL;

	create("frozen", MiB);
	AUTO(handle) handle = open_image("frozen");
	nfs_server_freeze();
	gint64 start = g_get_monotonic_time();
	ck_assert(!handle_write(handle, data, MiB, 0, &error));
	gint64 took_ms = (g_get_monotonic_time() - start) / 1000;
	nfs_server_thaw();
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
	ck_assert_int_ge(took_ms, STALL_MS - 50);
	ck_assert_int_le(took_ms, STALL_MS * 2);
	transport_buffer_free(data);
}
END_TEST

START_TEST(open_of_a_server_that_stands_still_ends_too)
{
	AUTO(url) url = url_of("x");
	g_autoptr(GError) error = NULL;

	nfs_server_freeze();
	gint64 start = g_get_monotonic_time();
	ck_assert_ptr_null(handle_open(url, &config, HANDLE_READ, &error));
	gint64 took_ms = (g_get_monotonic_time() - start) / 1000;
	nfs_server_thaw();
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
	ck_assert_int_le(took_ms, STALL_MS * 2);
}
END_TEST

START_TEST(dead_server_is_transient)
{
	AUTO(url) url = url_of("x");
	g_autoptr(GError) error = NULL;

	nfs_server_kill();
	ck_assert_ptr_null(handle_open(url, &config, HANDLE_READ, &error));
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("nfs, failing");
	TCase *failing = tcase_create("failing");

	tcase_add_checked_fixture(failing, nfs_server_start, nfs_server_kill);
	tcase_set_timeout(failing, 60);
	tcase_add_test(failing, server_that_restarts_before_the_flush_makes_it_fail);
	tcase_add_test(failing, server_killed_in_mid_write_is_transient_and_a_new_handle_works);
	tcase_add_test(failing, server_that_stands_still_is_given_up_after_the_stall_limit);
	tcase_add_test(failing, open_of_a_server_that_stands_still_ends_too);
	tcase_add_test(failing, dead_server_is_transient);
	suite_add_tcase(suite, failing);
	return suite;
}

static int run_tests(void)
{
	return images_run(suite());
}

int main(void)
{
	return servers_run(run_tests);
}
