#include "blockmig/copy/endpoint.h"
#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/servers.h"
#include "transports/iscsi_login.h"

#include <string.h>

enum { STALL_MS = 1500, LUN = 1, LUN_4K = 2, LUN_THIN = 3, LUN_MISSING = 9 };

static const struct transport_config config = {.stall_ms = STALL_MS};

/* ---- helpers ------------------------------------------------------------------ */

static struct url *url_of(int lun)
{
	g_autofree char *text = iscsi_server_url(lun);
	g_autoptr(GError) error = NULL;
	struct url *url = url_parse(text, &error);

	ck_assert_msg(url != NULL, "%s", error ? error->message : text);
	return url;
}

static struct handle *open_with(int lun, const struct transport_config *how, GError **error)
{
	AUTO(url) url = url_of(lun);

	return handle_open(url, how, HANDLE_WRITE, error);
}

static struct handle *open_lun(int lun)
{
	g_autoptr(GError) error = NULL;
	struct handle *handle = open_with(lun, &config, &error);

	assert_good(handle != NULL, error);
	return handle;
}

static void start(void)
{
	iscsi_server_start();
	iscsi_server_add_lun(LUN, 96 * MiB + 512, 512, FALSE);
	iscsi_server_add_lun(LUN_4K, 16 * MiB, 4096, FALSE);
	iscsi_server_add_lun(LUN_THIN, 64 * MiB, 512, TRUE);
}

/* ---- CHAP --------------------------------------------------------------------- */

static char in_user[] = "initiator", in_password[] = "initiator-pass";
static char out_user[] = "target", out_password[] = "target-passwd", wrong[] = "wrong-password";

static void start_with_chap(void)
{
	start();
	iscsi_server_require_chap(in_user, in_password, out_user, out_password);
}

START_TEST(right_secrets_are_let_in)
{
	struct transport_config one_way = {
		.stall_ms = STALL_MS, .chap_user = in_user, .chap_password = in_password};
	struct transport_config mutual = one_way;
	g_autoptr(GError) error = NULL;

	AUTO(handle) first = open_with(LUN, &one_way, &error);
	assert_good(first != NULL, error);
	mutual.mutual_user = out_user;
	mutual.mutual_password = out_password;
	AUTO(handle) second = open_with(LUN, &mutual, &error);
	assert_good(second != NULL, error);
}
END_TEST

static void assert_refused(const struct transport_config *how)
{
	g_autoptr(GError) error = NULL;

	ck_assert_ptr_null(open_with(LUN, how, &error));
	assert_code(error, BLOCKMIG_ERROR_PERMANENT);
	ck_assert_ptr_null(strstr(error->message, wrong));
	ck_assert_ptr_null(strstr(error->message, in_password));
	ck_assert_ptr_null(strstr(error->message, out_password));
}

START_TEST(wrong_secrets_are_refused_without_naming_them)
{
	struct transport_config none = {.stall_ms = STALL_MS};
	struct transport_config bad = {
		.stall_ms = STALL_MS, .chap_user = in_user, .chap_password = wrong};
	struct transport_config bad_target = {.stall_ms = STALL_MS,
					      .chap_user = in_user,
					      .chap_password = in_password,
					      .mutual_user = out_user,
					      .mutual_password = wrong};

	assert_refused(&none);
	assert_refused(&bad);
	assert_refused(&bad_target);
}
END_TEST

/* ---- a server that fails ------------------------------------------------------ */

static gpointer kill_soon(gpointer after_ms)
{
	g_usleep(GPOINTER_TO_UINT(after_ms) * 1000);
	iscsi_server_kill();
	return NULL;
}

START_TEST(server_killed_in_mid_write_is_transient_and_a_new_handle_works)
{
	gsize bytes = 64 * MiB;
	guint8 *data = images_noise(bytes, 3);
	g_autoptr(GError) error = NULL;

	AUTO(handle) handle = open_lun(LUN);
	GThread *killer = g_thread_new("killer", kill_soon, GUINT_TO_POINTER(30));
	while (handle_write(handle, data, bytes, 0, &error))
		;
	g_thread_join(killer);
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
	g_clear_error(&error);
	ck_assert(!handle_flush(handle, &error));
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
	g_clear_error(&error);
	start();
	AUTO(handle) fresh = open_lun(LUN);
	assert_good(handle_write(fresh, data, bytes, 0, &error), error);
	assert_good(handle_flush(fresh, &error), error);
	ck_assert(images_hold(fresh, data, bytes, 0));
	transport_buffer_free(data);
}
END_TEST

START_TEST(server_that_restarts_before_the_flush_makes_it_fail)
{
	guint8 *data = images_noise(MiB, 2);
	g_autoptr(GError) error = NULL;

	AUTO(handle) handle = open_lun(LUN);
	assert_good(handle_write(handle, data, MiB, 0, &error), error);
	iscsi_server_kill();
	start();
	ck_assert(!handle_flush(handle, &error));
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
	transport_buffer_free(data);
}
END_TEST

START_TEST(server_that_stands_still_is_given_up_after_the_stall_limit)
{
	gsize bytes = 16 * MiB;
	guint8 *data = images_noise(bytes, 4);
	g_autoptr(GError) error = NULL;

	AUTO(handle) handle = open_lun(LUN);
	iscsi_server_freeze();
	gint64 begin = g_get_monotonic_time();
	ck_assert(!handle_write(handle, data, bytes, 0, &error));
	gint64 took_ms = (g_get_monotonic_time() - begin) / 1000;
	iscsi_server_thaw();
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
	ck_assert_int_ge(took_ms, STALL_MS - 50);
	ck_assert_int_le(took_ms, STALL_MS * 2);
	transport_buffer_free(data);
}
END_TEST

START_TEST(open_of_a_server_that_stands_still_ends_too)
{
	g_autoptr(GError) error = NULL;

	iscsi_server_freeze();
	gint64 begin = g_get_monotonic_time();
	ck_assert_ptr_null(open_with(LUN, &config, &error));
	gint64 took_ms = (g_get_monotonic_time() - begin) / 1000;
	iscsi_server_thaw();
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
	ck_assert_int_le(took_ms, STALL_MS * 2);
}
END_TEST

START_TEST(dead_target_is_transient)
{
	g_autoptr(GError) error = NULL;

	iscsi_server_kill();
	ck_assert_ptr_null(open_with(LUN, &config, &error));
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
}
END_TEST

START_TEST(handle_opened_after_a_stall_takes_the_session_over)
{
	gsize bytes = 16 * MiB;
	guint8 *data = images_noise(bytes, 5);
	g_autoptr(GError) error = NULL;

	struct handle *handle = open_lun(LUN);
	iscsi_server_freeze();
	ck_assert(!handle_write(handle, data, bytes, 0, &error));
	iscsi_server_thaw();
	handle_close(handle);
	g_clear_error(&error);
	AUTO(handle) fresh = open_lun(LUN);
	assert_good(handle_write(fresh, data, bytes, 0, &error), error);
	assert_good(handle_flush(fresh, &error), error);
	ck_assert(images_hold(fresh, data, bytes, 0));
	transport_buffer_free(data);
}
END_TEST

START_TEST(header_digest_is_taken_where_the_target_has_it)
{
	gsize bytes = 5 * MiB;
	guint8 *data = images_noise(bytes, 6);
	g_autoptr(GError) error = NULL;

	iscsi_server_set("HeaderDigest", "CRC32C");
	AUTO(handle) handle = open_lun(LUN);
	assert_good(handle_write(handle, data, bytes, 0, &error), error);
	assert_good(handle_flush(handle, &error), error);
	ck_assert(images_hold(handle, data, bytes, 0));
	transport_buffer_free(data);
}
END_TEST

/* Sends a task management function as another initiator would. */
static void reset_lun(void)
{
	AUTO(url) url = url_of(LUN);
	g_autoptr(GError) error = NULL;
	AUTO(iscsi_session) session = iscsi_session_open(url, LUN, &config, &error);

	assert_good(session != NULL, error);
	ck_assert_int_eq(iscsi_task_mgmt_lun_reset_sync(session->iscsi, LUN), 0);
}

START_TEST(reset_between_write_and_flush_makes_the_flush_fail)
{
	guint8 *data = images_noise(MiB, 6);
	g_autoptr(GError) error = NULL;

	AUTO(handle) handle = open_lun(LUN);
	assert_good(handle_write(handle, data, MiB, 0, &error), error);
	reset_lun();
	ck_assert(!handle_flush(handle, &error));
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
	ck_assert_ptr_nonnull(strstr(error->message, "UNIT"));
	AUTO(handle) fresh = open_lun(LUN);
	g_clear_error(&error);
	assert_good(handle_write(fresh, data, MiB, 0, &error), error);
	assert_good(handle_flush(fresh, &error), error);
	transport_buffer_free(data);
}
END_TEST

START_TEST(write_protected_lun_is_permanent_and_says_so)
{
	guint8 *data = images_noise(4 * MiB, 6);
	g_autoptr(GError) error = NULL;

	iscsi_server_set_readonly(LUN);
	AUTO(handle) handle = open_lun(LUN);
	ck_assert(!handle_write(handle, data, 4 * MiB, 0, &error));
	assert_code(error, BLOCKMIG_ERROR_PERMANENT);
	ck_assert_ptr_nonnull(strstr(error->message, "27/00"));
	g_clear_error(&error);
	assert_good(handle_read(handle, data, 4 * MiB, 0, &error), error);
	transport_buffer_free(data);
}
END_TEST

START_TEST(a_lun_that_was_there_and_is_gone_is_waited_for)
{
	AUTO(url) url = url_of(LUN_MISSING);
	struct copy_end end = {.url = url, .config = &config};
	struct endpoint endpoint = {.end = &end, .mode = HANDLE_READ};
	g_autoptr(GError) error = NULL;

	ck_assert(!endpoint_open(&endpoint, &error));
	assert_code(error, BLOCKMIG_ERROR_NOT_FOUND);
	g_clear_error(&error);
	endpoint.is_known = TRUE;
	ck_assert(!endpoint_open(&endpoint, &error));
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("iscsi, failing");
	TCase *chap = tcase_create("chap");
	TCase *failing = tcase_create("failing");

	tcase_add_checked_fixture(chap, start_with_chap, iscsi_server_kill);
	tcase_set_timeout(chap, 60);
	tcase_add_test(chap, right_secrets_are_let_in);
	tcase_add_test(chap, wrong_secrets_are_refused_without_naming_them);
	suite_add_tcase(suite, chap);

	tcase_add_checked_fixture(failing, start, iscsi_server_kill);
	tcase_set_timeout(failing, 60);
	tcase_add_test(failing, server_killed_in_mid_write_is_transient_and_a_new_handle_works);
	tcase_add_test(failing, server_that_restarts_before_the_flush_makes_it_fail);
	tcase_add_test(failing, server_that_stands_still_is_given_up_after_the_stall_limit);
	tcase_add_test(failing, open_of_a_server_that_stands_still_ends_too);
	tcase_add_test(failing, dead_target_is_transient);
	tcase_add_test(failing, handle_opened_after_a_stall_takes_the_session_over);
	tcase_add_test(failing, header_digest_is_taken_where_the_target_has_it);
	tcase_add_test(failing, reset_between_write_and_flush_makes_the_flush_fail);
	tcase_add_test(failing, write_protected_lun_is_permanent_and_says_so);
	tcase_add_test(failing, a_lun_that_was_there_and_is_gone_is_waited_for);
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
