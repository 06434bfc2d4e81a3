/*
 * Whole copies to and from a LUN that answers with check conditions, or is busy.
 */
#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/lun_copying.h"
#include "tests/unit/servers.h"
#include "tests/unit/temp.h"

#include <string.h>

enum {
	LUN = 1,
	LUN_BYTES = 8 * MiB,
	CONTENT_BYTES = 3 * MiB,
	RESERVATION_CONFLICT = 0x18,
	TASK_ABORTED = 0x40,
	BUFFER_OFFSET_AT = 42, /* in a Data-In, counted in 256 bytes */
	NOT_READY = 2,
	MEDIUM_ERROR = 3,
	HARDWARE_ERROR = 4,
	UNIT_ATTENTION = 6,
	DATA_PROTECT = 7,
	ABORTED_COMMAND = 11,
};

static struct lun_copying mine;

static void begin(gboolean from_lun)
{
	iscsi_server_start();
	iscsi_server_add_lun(LUN, LUN_BYTES, 512, FALSE);
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

struct answer {
	guint8 status, key;
	guint16 ascq;
	gboolean deferred;
	const char *words;
};

static void answer_with(const struct answer *answer, int operation, int times)
{
	static guint seed = 10;
	const struct proxy_fault fault = {.act = PROXY_REFUSE,
					  .pdu = PROXY_COMMAND,
					  .operation = operation,
					  .skip = operation == LUN_SYNCHRONIZE ? 0 : 1,
					  .times = times,
					  .status = answer->status,
					  .key = answer->key,
					  .ascq = answer->ascq,
					  .deferred = answer->deferred};

	lun_copying_again(&mine, seed++);
	proxy_spoil(mine.proxy, &fault);
}

/* ---- answers after which a new session is the way on ------------------------------------ */

static const struct answer passing[] = {
	{LUN_CHECK_CONDITION, UNIT_ATTENTION, 0x2900, FALSE, "29/00"}, /* power on, or reset */
	{LUN_CHECK_CONDITION, UNIT_ATTENTION, 0x2a09, FALSE, "2a/09"}, /* capacity has changed */
	{LUN_CHECK_CONDITION, UNIT_ATTENTION, 0x3f0e, FALSE, "3f/0e"}, /* LUNs have changed */
	{LUN_CHECK_CONDITION, ABORTED_COMMAND, 0x4700, FALSE, "47/00"},
	{LUN_CHECK_CONDITION, NOT_READY, 0x0401, FALSE, "04/01"}, /* becoming ready */
	{LUN_CHECK_CONDITION, MEDIUM_ERROR, 0x0c00, TRUE, "a write before it failed"},
	{LUN_CHECK_CONDITION, NOT_READY, 0x04ee, FALSE, ", unknown (sense key 2"},
	{TASK_ABORTED, 0, 0, FALSE, "TASK ABORTED"},
};

static void assert_passes(int operation)
{
	for (guint i = 0; i < G_N_ELEMENTS(passing); i++) {
		answer_with(&passing[i], operation, 1);
		lun_copying_assert_copied(&mine);
		ck_assert_int_eq(proxy_spoiled(mine.proxy), 1);
		if (operation == LUN_SYNCHRONIZE)
			ck_assert_uint_gt(mine.copying.totals.bytes_resent, 0);
	}
}

/* Every other one, from @first on: each is for ever at one operation at least. */
static void assert_passing_ends(int operation, guint first, const char *what)
{
	for (guint i = first; i < G_N_ELEMENTS(passing); i += 2) {
		answer_with(&passing[i], operation, PROXY_FOR_EVER);
		lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_TRANSIENT, passing[i].words);
		lun_copying_assert_says(&mine, what);
		lun_copying_assert_names_it(&mine);
	}
}

START_TEST(attention_at_a_write_has_it_sent_again)
{
	lun_copying_prove(&mine, _i);
	assert_passes(LUN_WRITE);
}
END_TEST

START_TEST(attention_at_the_flush_has_all_sent_again)
{
	lun_copying_prove(&mine, _i);
	assert_passes(LUN_SYNCHRONIZE);
}
END_TEST

START_TEST(attention_at_a_read_has_it_read_again)
{
	assert_passes(LUN_READ);
}
END_TEST

START_TEST(attention_at_every_write_ends_with_the_targets_words)
{
	assert_passing_ends(LUN_WRITE, 0, "write of 524288 bytes at ");
}
END_TEST

START_TEST(attention_at_every_flush_ends_with_the_targets_words)
{
	assert_passing_ends(LUN_SYNCHRONIZE, 1, "flush (SYNCHRONIZE CACHE)");
}
END_TEST

START_TEST(attention_at_every_read_ends_with_the_targets_words)
{
	assert_passing_ends(LUN_READ, mine.from_lun, "read of ");
}
END_TEST

/* ---- answers that a new session does not change ------------------------------------------- */

static const struct answer lasting[] = {
	{LUN_CHECK_CONDITION, MEDIUM_ERROR, 0x0c00, FALSE, "0c/00"},
	{LUN_CHECK_CONDITION, HARDWARE_ERROR, 0x4400, FALSE, "44/00"},
	{LUN_CHECK_CONDITION, DATA_PROTECT, 0x2700, FALSE, "27/00"},
	{LUN_CHECK_CONDITION, DATA_PROTECT, 0x2707, FALSE, "thin pool is full"},
	{RESERVATION_CONFLICT, 0, 0, FALSE, "another host holds a reservation"},
};

static const enum blockmig_error lasting_codes[] = {
	BLOCKMIG_ERROR_LATER, BLOCKMIG_ERROR_LATER,	BLOCKMIG_ERROR_PERMANENT,
	BLOCKMIG_ERROR_FULL,  BLOCKMIG_ERROR_PERMANENT,
};

/* Once the cause is gone the same job carries on. */
static void assert_stops_and_resumes(int operation, const char *what)
{
	for (guint i = 0; i < G_N_ELEMENTS(lasting); i++) {
		answer_with(&lasting[i], operation, 1);
		lun_copying_assert_fails(&mine, lasting_codes[i], lasting[i].words);
		lun_copying_assert_says(&mine, what);
		lun_copying_assert_names_it(&mine);
		lun_copying_assert_copied(&mine);

		answer_with(&lasting[i], operation, PROXY_FOR_EVER);
		for (guint run = 0; run < 2; run++)
			lun_copying_assert_fails(&mine, lasting_codes[i], lasting[i].words);
	}
}

START_TEST(refused_write_stops_the_copy_and_it_can_be_resumed)
{
	assert_stops_and_resumes(LUN_WRITE, "write of ");
}
END_TEST

START_TEST(refused_flush_stops_the_copy_and_it_can_be_resumed)
{
	assert_stops_and_resumes(LUN_SYNCHRONIZE, "flush (SYNCHRONIZE CACHE)");
}
END_TEST

START_TEST(refused_read_stops_the_copy_and_it_can_be_resumed)
{
	assert_stops_and_resumes(LUN_READ, "read of ");
}
END_TEST

/* ---- a target that says good ---------------------------------------------------------- */

static const struct answer good = {0, 0, 0, FALSE, ""};

START_TEST(write_that_was_never_done_is_found_and_sent_again)
{
	answer_with(&good, LUN_WRITE, 1);
	lun_copying_assert_mended(&mine);
	answer_with(&good, LUN_WRITE, PROXY_FOR_EVER);
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_INTEGRITY, "sent 4 times");
}
END_TEST

START_TEST(read_that_brings_no_data_is_read_again)
{
	answer_with(&good, LUN_READ, 1);
	lun_copying_assert_copied(&mine);
	answer_with(&good, LUN_READ, PROXY_FOR_EVER);
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_TRANSIENT, "called it good");
	lun_copying_assert_names_it(&mine);
}
END_TEST

START_TEST(read_with_a_hole_in_its_data_is_read_again)
{
	struct proxy_fault fault = {.act = PROXY_DROP,
				    .pdu = PROXY_DATA_IN,
				    .operation = LUN_READ,
				    .skip = 4,
				    .times = 1};

	proxy_spoil(mine.proxy, &fault);
	lun_copying_assert_copied(&mine);
	ck_assert_int_eq(proxy_spoiled(mine.proxy), 1);
	lun_copying_again(&mine, 70);
	fault = (struct proxy_fault){.act = PROXY_FLIP,
				     .pdu = PROXY_DATA_IN,
				     .operation = LUN_READ,
				     .skip = 4,
				     .times = 1,
				     .at = BUFFER_OFFSET_AT};
	proxy_spoil(mine.proxy, &fault);
	lun_copying_assert_copied(&mine);
	ck_assert_int_eq(proxy_spoiled(mine.proxy), 1);
}
END_TEST

/* ---- busy ------------------------------------------------------------------------------------ */

static const struct answer busy[] = {
	{LUN_BUSY, 0, 0, FALSE, "busy for the whole stall limit"},
	{LUN_TASK_SET_FULL, 0, 0, FALSE, "busy for the whole stall limit"},
};

START_TEST(busy_target_is_asked_again_over_the_same_connection)
{
	static const int operations[] = {LUN_WRITE, LUN_SYNCHRONIZE, LUN_READ};
	int calm;

	lun_copying_assert_copied(&mine);
	calm = proxy_connections(mine.proxy);
	for (guint i = 0; i < G_N_ELEMENTS(busy) * G_N_ELEMENTS(operations); i++) {
		const int before = proxy_connections(mine.proxy);

		answer_with(&busy[i % 2], operations[i / 2], 3);
		lun_copying_assert_copied(&mine);
		ck_assert_int_eq(proxy_connections(mine.proxy) - before, calm);
	}
}
END_TEST

START_TEST(busy_for_ever_ends)
{
	static const int operations[] = {LUN_WRITE, LUN_SYNCHRONIZE, LUN_READ};

	for (guint i = 0; i < G_N_ELEMENTS(operations); i++) {
		answer_with(&busy[i % 2], operations[i], PROXY_FOR_EVER);
		lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_TRANSIENT, busy[i % 2].words);
		lun_copying_assert_names_it(&mine);
	}
}
END_TEST

/* ---- the suite ----------------------------------------------------------------------- */

static void add_to(Suite *suite)
{
	TCase *to = tcase_create("to a LUN");

	tcase_add_unchecked_fixture(to, temp_make, temp_remove);
	tcase_add_checked_fixture(to, begin_to, end);
	tcase_set_timeout(to, 120);
	tcase_add_loop_test(to, attention_at_a_write_has_it_sent_again, 0, 2);
	tcase_add_loop_test(to, attention_at_the_flush_has_all_sent_again, 0, 2);
	tcase_add_test(to, attention_at_a_read_has_it_read_again);
	tcase_add_test(to, attention_at_every_write_ends_with_the_targets_words);
	tcase_add_test(to, attention_at_every_flush_ends_with_the_targets_words);
	tcase_add_test(to, refused_write_stops_the_copy_and_it_can_be_resumed);
	tcase_add_test(to, refused_flush_stops_the_copy_and_it_can_be_resumed);
	tcase_add_test(to, refused_read_stops_the_copy_and_it_can_be_resumed);
	tcase_add_test(to, write_that_was_never_done_is_found_and_sent_again);
	tcase_add_test(to, read_that_brings_no_data_is_read_again);
	tcase_add_test(to, read_with_a_hole_in_its_data_is_read_again);
	tcase_add_test(to, busy_target_is_asked_again_over_the_same_connection);
	tcase_add_test(to, busy_for_ever_ends);
	suite_add_tcase(suite, to);
}

static void add_from(Suite *suite)
{
	TCase *from = tcase_create("from a LUN");

	tcase_add_unchecked_fixture(from, temp_make, temp_remove);
	tcase_add_checked_fixture(from, begin_from, end);
	tcase_set_timeout(from, 120);
	tcase_add_test(from, attention_at_a_read_has_it_read_again);
	tcase_add_test(from, attention_at_every_read_ends_with_the_targets_words);
	tcase_add_test(from, read_that_brings_no_data_is_read_again);
	tcase_add_test(from, read_with_a_hole_in_its_data_is_read_again);
	tcase_add_test(from, refused_read_stops_the_copy_and_it_can_be_resumed);
	suite_add_tcase(suite, from);
}

static int run_tests(void)
{
	Suite *suite = suite_create("copies over iSCSI that refuses");

	add_to(suite);
	add_from(suite);
	return images_run(suite);
}

int main(void)
{
	return servers_run(run_tests);
}
