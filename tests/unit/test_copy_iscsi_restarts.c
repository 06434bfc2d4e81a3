/*
 * Whole copies over a target that restarts or is reset and loses what its cache held, and
 * over one that shows another LUN after a reconnect.
 */
#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/lun_copying.h"
#include "tests/unit/servers.h"
#include "tests/unit/temp.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum {
	LUN = 1,
	OTHER_LUN = 2,
	LUN_BYTES = 8 * MiB,
	CONTENT_BYTES = 3 * MiB,
	WRITES_OF_A_CHUNK = 2,
	MEDIUM_ERROR = 3,
	UNIT_ATTENTION = 6,
};

static struct lun_copying mine;

static void begin(gboolean from_lun)
{
	iscsi_server_start();
	iscsi_server_add_lun(LUN, LUN_BYTES, 512, FALSE);
	iscsi_server_add_lun(OTHER_LUN, LUN_BYTES, 512, FALSE);
	lun_copying_begin(&mine, LUN, CONTENT_BYTES, from_lun);
}

static void begin_to(void)
{
	begin(FALSE);
}

static void begin_from(void)
{
	begin(TRUE);
}

static void end(void)
{
	lun_copying_end(&mine);
	iscsi_server_kill();
}

/* ---- what the cache held is gone ---------------------------------------------------- */

static void start_again(guint64 lun_bytes)
{
	iscsi_server_start();
	iscsi_server_add_lun(LUN, lun_bytes, 512, FALSE);
}

/* What the cache held, all of it, is gone with the target. */
static void restart_and_forget(void *data G_GNUC_UNUSED)
{
	g_autofree char *backing = iscsi_server_backing(LUN);
	g_autofree char *zeros = g_malloc0(LUN_BYTES);

	iscsi_server_kill();
	ck_assert(g_file_set_contents(backing, zeros, LUN_BYTES, NULL));
	start_again(LUN_BYTES);
}

static void call_at(int operation, void (*call)(void *data))
{
	const struct proxy_fault fault = {.act = PROXY_CALL,
					  .pdu = PROXY_COMMAND,
					  .operation = operation,
					  .times = 1,
					  .call = call};

	proxy_spoil(mine.proxy, &fault);
}

START_TEST(target_restarted_before_the_flush_gets_all_again)
{
	lun_copying_prove(&mine, _i);
	mine.copying.spec.workers = 1;
	mine.copying.spec.retry_for_ms = 20000;
	call_at(LUN_SYNCHRONIZE, restart_and_forget);
	lun_copying_assert_copied(&mine);
	ck_assert_uint_eq(mine.copying.totals.bytes_resent, CONTENT_BYTES);
}
END_TEST

/* In place: the target has the file open. */
static void forget(void *data G_GNUC_UNUSED)
{
	g_autofree char *backing = iscsi_server_backing(LUN);
	g_autofree char *zeros = g_malloc0(LUN_BYTES);
	int fd = open(backing, O_WRONLY | O_CLOEXEC);

	g_assert(fd >= 0 && pwrite(fd, zeros, LUN_BYTES, 0) == LUN_BYTES);
	close(fd);
}

/* What the cache held, the first two chunks, is gone with the third one's attention. */
START_TEST(attention_at_a_write_has_what_was_not_flushed_sent_again)
{
	const struct proxy_fault fault = {.act = PROXY_REFUSE,
					  .pdu = PROXY_COMMAND,
					  .operation = LUN_WRITE,
					  .skip = 2 * WRITES_OF_A_CHUNK,
					  .times = 1,
					  .status = LUN_CHECK_CONDITION,
					  .key = UNIT_ATTENTION,
					  .ascq = 0x2900,
					  .call = forget};

	lun_copying_prove(&mine, _i);
	mine.copying.spec.workers = 1;
	proxy_spoil(mine.proxy, &fault);
	lun_copying_assert_copied(&mine);
	ck_assert_int_eq(proxy_spoiled(mine.proxy), 1);
	ck_assert_uint_eq(mine.copying.totals.bytes_resent, CONTENT_BYTES);
}
END_TEST

/* ---- away, and back ----------------------------------------------------------------- */

static void kill_for_good(void *data G_GNUC_UNUSED)
{
	iscsi_server_kill();
}

START_TEST(target_that_stays_away_ends_the_copy_and_it_can_be_resumed)
{
	call_at(LUN_SYNCHRONIZE, kill_for_good);
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_TRANSIENT, "target at 127.0.0.1:3261");
	lun_copying_assert_names_it(&mine);
	start_again(LUN_BYTES);
	lun_copying_assert_copied(&mine);
}
END_TEST

/* ---- another LUN after a reconnect --------------------------------------------------- */

static void swap_and_cut(void *data G_GNUC_UNUSED)
{
	const struct proxy_fault fault = {.act = PROXY_CUT,
					  .pdu = mine.from_lun ? PROXY_DATA_IN : PROXY_RESPONSE,
					  .operation = PROXY_ANY,
					  .times = 1,
					  .at = 30};

	proxy_swap_lun(mine.proxy, OTHER_LUN);
	proxy_spoil(mine.proxy, &fault);
}

static gboolean is_untouched(int lun)
{
	g_autofree char *backing = iscsi_server_backing(lun);
	g_autofree char *found = NULL;
	gsize bytes = 0;

	return g_file_get_contents(backing, &found, &bytes, NULL) && bytes == LUN_BYTES &&
	       found[0] == 0 && memcmp(found, found + 1, bytes - 1) == 0;
}

START_TEST(lun_swapped_under_a_reconnect_stops_the_copy)
{
	call_at(mine.from_lun ? LUN_READ : LUN_WRITE, swap_and_cut);
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_PERMANENT, "is not the image it was");
	lun_copying_assert_names_it(&mine);
	ck_assert(is_untouched(OTHER_LUN));
	ck_assert(!is_untouched(LUN));
}
END_TEST

START_TEST(lun_swapped_between_two_runs_stops_the_second)
{
	const struct proxy_fault refusal = {.act = PROXY_REFUSE,
					    .pdu = PROXY_COMMAND,
					    .operation = LUN_WRITE,
					    .skip = 1,
					    .times = 1,
					    .status = LUN_CHECK_CONDITION,
					    .key = MEDIUM_ERROR,
					    .ascq = 0x0c00};

	proxy_spoil(mine.proxy, &refusal);
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_LATER, "0c/00");
	proxy_swap_lun(mine.proxy, OTHER_LUN);
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_PERMANENT, "is not the image it was");
	ck_assert(is_untouched(OTHER_LUN));
}
END_TEST

static void restart_grown(void *data G_GNUC_UNUSED)
{
	iscsi_server_kill();
	start_again(2 * LUN_BYTES);
}

START_TEST(lun_that_has_grown_under_a_reconnect_stops_the_copy)
{
	mine.copying.spec.retry_for_ms = 20000;
	call_at(mine.from_lun ? LUN_READ : LUN_SYNCHRONIZE, restart_grown);
	ck_assert(!copying_run(&mine.copying));
	ck_assert(error_is(mine.copying.error, BLOCKMIG_ERROR_PERMANENT));
	lun_copying_assert_says(&mine, "its size is 16777216 now, and was 8388608");
	lun_copying_assert_names_it(&mine);
}
END_TEST

/* ---- the suite ----------------------------------------------------------------------- */

static int run_tests(void)
{
	Suite *suite = suite_create("copies over iSCSI that restarts");
	TCase *to = tcase_create("to"), *from = tcase_create("from");

	tcase_add_unchecked_fixture(to, temp_make, temp_remove);
	tcase_add_checked_fixture(to, begin_to, end);
	tcase_set_timeout(to, 120);
	tcase_add_loop_test(to, target_restarted_before_the_flush_gets_all_again, 0, 2);
	tcase_add_loop_test(to, attention_at_a_write_has_what_was_not_flushed_sent_again, 0, 2);
	tcase_add_test(to, target_that_stays_away_ends_the_copy_and_it_can_be_resumed);
	tcase_add_test(to, lun_swapped_under_a_reconnect_stops_the_copy);
	tcase_add_test(to, lun_swapped_between_two_runs_stops_the_second);
	tcase_add_test(to, lun_that_has_grown_under_a_reconnect_stops_the_copy);
	suite_add_tcase(suite, to);

	tcase_add_unchecked_fixture(from, temp_make, temp_remove);
	tcase_add_checked_fixture(from, begin_from, end);
	tcase_set_timeout(from, 120);
	tcase_add_test(from, lun_swapped_under_a_reconnect_stops_the_copy);
	tcase_add_test(from, lun_that_has_grown_under_a_reconnect_stops_the_copy);
	suite_add_tcase(suite, from);
	return images_run(suite);
}

int main(void)
{
	return servers_run(run_tests);
}
