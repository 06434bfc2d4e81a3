/*
 * Whole copies to and from a LUN whose connection is cut for ever, falls silent, or changes
 * what it carries.
 */
#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/lun_copying.h"
#include "tests/unit/servers.h"
#include "tests/unit/temp.h"

#include <string.h>

/* Data in the command itself takes 8 KiB: the rest needs an R2T and its Data-Outs. */
enum { LUN = 1, SMALL_BYTES = 12 * KiB, TRICKLE_BYTES = 512 * KiB, SHORT_BYTES = 512 };

static struct lun_copying mine;

static void begin(gboolean from_lun)
{
	iscsi_server_start();
	iscsi_server_add_lun(LUN, 8 * MiB, 512, FALSE);
	lun_copying_begin(&mine, LUN, SMALL_BYTES, from_lun);
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

/* ---- for ever --------------------------------------------------------------------------- */

static void assert_gives_up(enum proxy_act act, enum proxy_pdu pdu, int operation,
			    const char *words)
{
	const struct proxy_fault fault = {
		.act = act,
		.pdu = pdu,
		.operation = operation,
		.times = PROXY_FOR_EVER,
		.at = act == PROXY_PING ? 0 : 20,
		.ping_ms = LUN_STALL_MS / 3,
		.bytes = SHORT_BYTES,
	};

	lun_copying_again(&mine, 7);
	proxy_spoil(mine.proxy, &fault);
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_TRANSIENT, words);
	lun_copying_assert_names_it(&mine);
	ck_assert_int_ge(proxy_spoiled(mine.proxy), 2);
}

START_TEST(writes_cut_for_ever_end_within_the_time_for_tries)
{
	assert_gives_up(PROXY_CUT, PROXY_DATA_OUT, LUN_WRITE, "write of 12288 bytes at 0");
	assert_gives_up(PROXY_CUT, PROXY_R2T, LUN_WRITE, "write of 12288 bytes at 0");
	assert_gives_up(PROXY_CUT, PROXY_RESPONSE, LUN_WRITE, "write of 12288 bytes at 0");
	assert_gives_up(PROXY_CUT, PROXY_RESPONSE, LUN_SYNCHRONIZE, "flush (SYNCHRONIZE CACHE)");
	ck_assert(lun_copying_is_equal(&mine)); /* and yet nothing called it proven */
	assert_gives_up(PROXY_CUT, PROXY_DATA_IN, LUN_READ, "read of 12288 bytes at 0");
}
END_TEST

START_TEST(reads_cut_for_ever_end_within_the_time_for_tries)
{
	assert_gives_up(PROXY_CUT, PROXY_DATA_IN, LUN_READ, "read of 12288 bytes at 0");
	ck_assert(!lun_copying_is_equal(&mine));
}
END_TEST

/* ---- silence ------------------------------------------------------------------------------ */

/* Before the PDU, inside its header, and behind it. */
static void swallow_once(enum proxy_pdu pdu, int operation)
{
	static const gsize ats[] = {0, 20, PROXY_HEADER_BYTES};
	struct proxy_fault fault = {
		.act = PROXY_BLACKHOLE, .pdu = pdu, .operation = operation, .times = 1};

	for (guint i = 0; i < G_N_ELEMENTS(ats); i++) {
		fault.at = ats[i];
		lun_copying_again(&mine, (guint)pdu + i);
		proxy_spoil(mine.proxy, &fault);
		lun_copying_assert_copied(&mine);
		ck_assert_int_eq(proxy_spoiled(mine.proxy), 1);
	}
}

START_TEST(silence_in_mid_write_is_given_up_and_sent_again)
{
	mine.config.stall_ms = 300;
	lun_copying_prove(&mine, _i);
	swallow_once(PROXY_COMMAND, LUN_WRITE);
	swallow_once(PROXY_R2T, LUN_WRITE);
	swallow_once(PROXY_DATA_OUT, LUN_WRITE);
	swallow_once(PROXY_RESPONSE, LUN_WRITE);
	swallow_once(PROXY_RESPONSE, LUN_SYNCHRONIZE);
	if (_i)
		swallow_once(PROXY_DATA_IN, LUN_READ);
}
END_TEST

START_TEST(silence_in_mid_read_is_given_up_and_read_again)
{
	mine.config.stall_ms = 300;
	swallow_once(PROXY_COMMAND, LUN_READ);
	swallow_once(PROXY_DATA_IN, LUN_READ);
}
END_TEST

START_TEST(silence_for_ever_ends)
{
	assert_gives_up(PROXY_BLACKHOLE, PROXY_COMMAND, LUN_SYNCHRONIZE, "no answer for 1000 ms");
	assert_gives_up(PROXY_BLACKHOLE, PROXY_DATA_OUT, LUN_WRITE, "no answer for 1000 ms");
	assert_gives_up(PROXY_BLACKHOLE, PROXY_RESPONSE, 0, "wait until the LUN is ready");
	assert_gives_up(PROXY_BLACKHOLE, PROXY_LOGIN_RESPONSE, PROXY_ANY, "log in");
}
END_TEST

/* A hung disk behind a target that lives: its pings, and our answers, are no progress. */
START_TEST(pings_of_a_target_that_answers_no_write_do_not_keep_the_copy)
{
	assert_gives_up(PROXY_PING, PROXY_COMMAND, LUN_WRITE, "no answer for 1000 ms");
	assert_gives_up(PROXY_PING, PROXY_R2T, LUN_WRITE, "no answer for 1000 ms");
	assert_gives_up(PROXY_PING, PROXY_DATA_OUT, LUN_WRITE, "no answer for 1000 ms");
	assert_gives_up(PROXY_PING, PROXY_COMMAND, LUN_SYNCHRONIZE, "no answer for 1000 ms");
	assert_gives_up(PROXY_PING, PROXY_RESPONSE, 0, "wait until the LUN is ready");
}
END_TEST

START_TEST(pings_of_a_target_that_answers_no_read_do_not_keep_the_copy)
{
	assert_gives_up(PROXY_PING, PROXY_COMMAND, LUN_READ, "no answer for 1000 ms");
	assert_gives_up(PROXY_PING, PROXY_DATA_IN, LUN_READ, "no answer for 1000 ms");
}
END_TEST

static void pause_shortly(void *data G_GNUC_UNUSED)
{
	g_usleep(LUN_STALL_MS / 2 * 1000);
}

START_TEST(pause_below_the_stall_limit_needs_no_new_connection)
{
	const struct proxy_fault fault = {.act = PROXY_CALL,
					  .pdu = PROXY_DATA_OUT,
					  .operation = LUN_WRITE,
					  .times = 1,
					  .call = pause_shortly};
	proxy_spoil(mine.proxy, &(struct proxy_fault){0});
	lun_copying_assert_copied(&mine);
	const int calm = proxy_connections(mine.proxy);

	lun_copying_again(&mine, 3);
	proxy_spoil(mine.proxy, &fault);
	lun_copying_assert_copied(&mine);
	ck_assert_int_eq(proxy_spoiled(mine.proxy), 1);
	ck_assert_int_eq(proxy_connections(mine.proxy), 2 * calm);
}
END_TEST

static void trickle(void *data G_GNUC_UNUSED)
{
	g_usleep(LUN_STALL_MS * 3 / 5 * 1000);
}

/* A READ's answer comes long after the stall limit, its data in PDUs of 256 KiB. */
START_TEST(data_that_trickles_in_is_waited_for)
{
	const struct proxy_fault fault = {.act = PROXY_CALL,
					  .pdu = PROXY_DATA_IN,
					  .operation = LUN_READ,
					  .times = PROXY_FOR_EVER,
					  .call = trickle};

	lun_copying_end(&mine);
	lun_copying_begin(&mine, LUN, TRICKLE_BYTES, TRUE);
	lun_copying_assert_copied(&mine);
	const int calm = proxy_connections(mine.proxy);

	lun_copying_again(&mine, 3);
	proxy_spoil(mine.proxy, &fault);
	lun_copying_assert_copied(&mine);
	ck_assert_int_eq(proxy_spoiled(mine.proxy), 2);
	ck_assert_int_eq(proxy_connections(mine.proxy), 2 * calm);
}
END_TEST

/* ---- an answer that is good and short ------------------------------------------------------ */

static void answer_short_once(enum proxy_pdu pdu, int operation)
{
	const struct proxy_fault fault = {.act = PROXY_SHORT,
					  .pdu = pdu,
					  .operation = operation,
					  .times = 1,
					  .bytes = SHORT_BYTES};
	int calm;

	lun_copying_assert_copied(&mine);
	calm = proxy_connections(mine.proxy);
	lun_copying_again(&mine, 3);
	proxy_spoil(mine.proxy, &fault);
	lun_copying_assert_copied(&mine);
	ck_assert_int_eq(proxy_spoiled(mine.proxy), 1);
	ck_assert_int_gt(proxy_connections(mine.proxy), 2 * calm);
}

START_TEST(short_write_is_sent_again)
{
	lun_copying_prove(&mine, _i);
	answer_short_once(PROXY_RESPONSE, LUN_WRITE);
	ck_assert_uint_eq(mine.copying.totals.bytes_resent, SMALL_BYTES);
}
END_TEST

/* Of the source, or of what is read back. */
START_TEST(short_read_is_read_again)
{
	answer_short_once(PROXY_DATA_IN, LUN_READ);
	ck_assert_uint_eq(mine.copying.totals.bytes_resent, 0);
}
END_TEST

START_TEST(short_writes_for_ever_end)
{
	assert_gives_up(PROXY_SHORT, PROXY_RESPONSE, LUN_WRITE,
			"write of 12288 bytes at 0: the target did not transfer all of it");
}
END_TEST

START_TEST(short_reads_for_ever_end)
{
	assert_gives_up(PROXY_SHORT, PROXY_DATA_IN, LUN_READ,
			"read of 12288 bytes at 0: the target did not transfer all of it");
}
END_TEST

/* ---- a bit that changes on the way ----------------------------------------------------------- */

static void flip(enum proxy_pdu pdu, int operation, int times)
{
	const struct proxy_fault fault = {.act = PROXY_FLIP,
					  .pdu = pdu,
					  .operation = operation,
					  .times = times,
					  .at = PROXY_HEADER_BYTES + 1000};

	lun_copying_again(&mine, (guint)pdu + (guint)times);
	proxy_spoil(mine.proxy, &fault);
}

START_TEST(bit_flipped_on_the_way_out_is_found_and_sent_again)
{
	flip(PROXY_DATA_OUT, LUN_WRITE, 1);
	lun_copying_assert_mended(&mine);
	ck_assert_uint_eq(mine.copying.totals.mismatches, 1);
}
END_TEST

START_TEST(bit_flipped_in_the_read_back_is_no_proof)
{
	flip(PROXY_DATA_IN, LUN_READ, 1);
	lun_copying_assert_mended(&mine);
	ck_assert_uint_eq(mine.copying.totals.mismatches, 1);
}
END_TEST

START_TEST(bits_flipped_for_ever_are_an_integrity_failure)
{
	flip(PROXY_DATA_OUT, LUN_WRITE, PROXY_FOR_EVER);
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_INTEGRITY, "chunk 0, sent 4 times");
	ck_assert(!lun_copying_is_equal(&mine));
	flip(PROXY_DATA_IN, LUN_READ, PROXY_FOR_EVER);
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_INTEGRITY, "at offset 0");
}
END_TEST

/* ---- the suite ------------------------------------------------------------------------------- */

static Suite *suite(void)
{
	Suite *suite = suite_create("copies over iSCSI that is cut");
	TCase *to = tcase_create("to a LUN"), *from = tcase_create("from a LUN");

	tcase_add_unchecked_fixture(to, temp_make, temp_remove);
	tcase_add_checked_fixture(to, begin_to, end);
	tcase_set_timeout(to, 120);
	tcase_add_test(to, writes_cut_for_ever_end_within_the_time_for_tries);
	tcase_add_loop_test(to, silence_in_mid_write_is_given_up_and_sent_again, 0, 2);
	tcase_add_test(to, silence_for_ever_ends);
	tcase_add_test(to, pings_of_a_target_that_answers_no_write_do_not_keep_the_copy);
	tcase_add_test(to, pings_of_a_target_that_answers_no_read_do_not_keep_the_copy);
	tcase_add_test(to, pause_below_the_stall_limit_needs_no_new_connection);
	tcase_add_loop_test(to, short_write_is_sent_again, 0, 2);
	tcase_add_test(to, short_read_is_read_again);
	tcase_add_test(to, short_writes_for_ever_end);
	tcase_add_test(to, short_reads_for_ever_end);
	tcase_add_test(to, bit_flipped_on_the_way_out_is_found_and_sent_again);
	tcase_add_test(to, bit_flipped_in_the_read_back_is_no_proof);
	tcase_add_test(to, bits_flipped_for_ever_are_an_integrity_failure);
	suite_add_tcase(suite, to);

	tcase_add_unchecked_fixture(from, temp_make, temp_remove);
	tcase_add_checked_fixture(from, begin_from, end);
	tcase_set_timeout(from, 120);
	tcase_add_test(from, reads_cut_for_ever_end_within_the_time_for_tries);
	tcase_add_test(from, pings_of_a_target_that_answers_no_read_do_not_keep_the_copy);
	tcase_add_test(from, data_that_trickles_in_is_waited_for);
	tcase_add_test(from, silence_in_mid_read_is_given_up_and_read_again);
	tcase_add_test(from, short_read_is_read_again);
	tcase_add_test(from, short_reads_for_ever_end);
	suite_add_tcase(suite, from);
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
