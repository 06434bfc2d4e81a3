/*
 * Whole copies whose zeros go to a LUN with WRITE SAME, over a target that fails at it.
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
	LUN_THIN = 2,
	CONTENT_BYTES = 4 * MiB,
	GET_LBA_STATUS = 0x9e, /* and READ CAPACITY(16) */
	MEDIUM_ERROR = 3,
	ILLEGAL_REQUEST = 5,
	UNIT_ATTENTION = 6,
};

static struct lun_copying mine;

static void begin(void)
{
	iscsi_server_start();
	iscsi_server_add_lun(LUN, 8 * MiB, 512, FALSE);
	iscsi_server_add_lun(LUN_THIN, 8 * MiB, 512, TRUE);
}

/* Zeros of two whole chunks, and some inside another one. */
static void begin_with_zeros(int lun)
{
	lun_copying_begin(&mine, lun, CONTENT_BYTES, FALSE);
	lun_copying_zero(&mine, MiB, 2 * MiB);
	lun_copying_zero(&mine, 3 * MiB + 128 * KiB, 256 * KiB);
}

static void spoil(enum proxy_act act, guint8 key, guint16 ascq, int times)
{
	const struct proxy_fault fault = {.act = act,
					  .pdu = PROXY_COMMAND,
					  .operation = LUN_WRITE_SAME,
					  .times = times,
					  .at = 17,
					  .status = key ? LUN_CHECK_CONDITION : 0,
					  .key = key,
					  .ascq = ascq};

	proxy_spoil(mine.proxy, &fault);
}

static void assert_ends_well(enum proxy_act act, guint8 key, guint16 ascq, int times,
			     void (*assert_well)(struct lun_copying *mine))
{
	static const int luns[] = {LUN, LUN_THIN};

	for (guint i = 0; i < G_N_ELEMENTS(luns); i++) {
		begin_with_zeros(luns[i]);
		spoil(act, key, ascq, times);
		assert_well(&mine);
		ck_assert_int_ge(proxy_spoiled(mine.proxy), act != PROXY_NOTHING);
		lun_copying_end(&mine);
	}
}

static void assert_copied_with(enum proxy_act act, guint8 key, guint16 ascq, int times)
{
	assert_ends_well(act, key, ascq, times, lun_copying_assert_copied);
}

START_TEST(zeros_reach_a_lun_that_held_something)
{
	assert_copied_with(PROXY_NOTHING, 0, 0, 0);
}
END_TEST

START_TEST(target_without_write_same_gets_zeros_written)
{
	assert_copied_with(PROXY_REFUSE, ILLEGAL_REQUEST, 0x2000, PROXY_FOR_EVER);
	assert_copied_with(PROXY_REFUSE, ILLEGAL_REQUEST, 0x2400, PROXY_FOR_EVER);
}
END_TEST

START_TEST(zeros_are_sent_again_after_a_lost_connection)
{
	assert_copied_with(PROXY_CUT, 0, 0, 1);
	assert_copied_with(PROXY_REFUSE, UNIT_ATTENTION, 0x2900, 1);
}
END_TEST

START_TEST(zeros_that_were_never_written_are_found)
{
	assert_ends_well(PROXY_REFUSE, 0, 0, 1, lun_copying_assert_mended);
	begin_with_zeros(LUN_THIN);
	spoil(PROXY_REFUSE, 0, 0, PROXY_FOR_EVER);
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_INTEGRITY, "sent 4 times");
	lun_copying_end(&mine);
}
END_TEST

/* The target tells that it did not get the block of zeros. */
static void answer_short(int times)
{
	const struct proxy_fault fault = {.act = PROXY_SHORT,
					  .pdu = PROXY_RESPONSE,
					  .operation = LUN_WRITE_SAME,
					  .times = times,
					  .bytes = 512};

	begin_with_zeros(LUN_THIN);
	proxy_spoil(mine.proxy, &fault);
}

START_TEST(zeros_that_were_short_are_sent_again)
{
	int calm;

	answer_short(0);
	lun_copying_prove(&mine, _i);
	lun_copying_assert_copied(&mine);
	calm = proxy_connections(mine.proxy);
	lun_copying_end(&mine);
	answer_short(1);
	lun_copying_prove(&mine, _i);
	lun_copying_assert_copied(&mine);
	ck_assert_int_eq(proxy_spoiled(mine.proxy), 1);
	ck_assert_int_gt(proxy_connections(mine.proxy), calm);
	lun_copying_end(&mine);
}
END_TEST

START_TEST(zeros_that_are_short_for_ever_end)
{
	answer_short(PROXY_FOR_EVER);
	mine.copying.spec.workers = 1;
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_TRANSIENT,
				 "(WRITE SAME) to 1048576 bytes at 1048576: the target did not "
				 "transfer all of it");
	ck_assert_ptr_nonnull(strstr(mine.copying.error->message, "iscsi://127.0.0.1:3261/"));
	lun_copying_end(&mine);
}
END_TEST

START_TEST(refused_zeros_stop_the_copy_with_their_place)
{
	begin_with_zeros(LUN_THIN);
	spoil(PROXY_REFUSE, MEDIUM_ERROR, 0x0c00, PROXY_FOR_EVER);
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_LATER, "(WRITE SAME) to ");
	ck_assert_ptr_nonnull(strstr(mine.copying.error->message, "0c/00"));
	lun_copying_end(&mine);
}
END_TEST

START_TEST(question_for_holes_is_asked_again_after_a_cut)
{
	const struct proxy_fault cut = {.act = PROXY_CUT,
					.pdu = PROXY_DATA_IN,
					.operation = GET_LBA_STATUS,
					.times = 1,
					.at = PROXY_HEADER_BYTES + 12};

	for (int skip = 0; skip < 6; skip++) {
		struct proxy_fault fault = cut;

		fault.skip = skip;
		begin_with_zeros(LUN_THIN);
		proxy_spoil(mine.proxy, &fault);
		lun_copying_assert_copied(&mine);
		ck_assert_int_eq(proxy_spoiled(mine.proxy), 1);
		lun_copying_end(&mine);
	}
}
END_TEST

/* ---- a report that is late ---------------------------------------------------------------- */

enum { LATE_AT = MiB, LATE_BYTES = 2 * MiB };

static int backing_open(void)
{
	g_autofree char *path = iscsi_server_backing(mine.lun);
	int fd = open(path, O_RDWR | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

/* Until the target flushes its cache, two chunks of data count as a hole. */
static void begin_late(void)
{
	lun_copying_begin(&mine, LUN_THIN, CONTENT_BYTES, TRUE);
	int fd = backing_open();

	ck_assert_int_eq(
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, LATE_AT, LATE_BYTES), 0);
	close(fd);
}

static void write_back(void *data G_GNUC_UNUSED)
{
	int fd = backing_open();

	ck_assert_int_eq(pwrite(fd, mine.content + LATE_AT, LATE_BYTES, LATE_AT), LATE_BYTES);
	close(fd);
}

START_TEST(a_hole_that_is_data_in_the_targets_cache_is_copied)
{
	const struct proxy_fault fault = {.act = PROXY_CALL,
					  .pdu = PROXY_COMMAND,
					  .operation = LUN_SYNCHRONIZE,
					  .times = 1,
					  .call = write_back};

	begin_late();
	proxy_spoil(mine.proxy, &fault);
	lun_copying_assert_copied(&mine);
	ck_assert_int_eq(proxy_spoiled(mine.proxy), 1);
	lun_copying_end(&mine);
}
END_TEST

/* A write-protected LUN, or one whose disk fails at it: its holes are not believed. */
START_TEST(a_target_that_cannot_flush_is_a_source_all_the_same)
{
	const struct proxy_fault fault = {.act = PROXY_REFUSE,
					  .pdu = PROXY_COMMAND,
					  .operation = LUN_SYNCHRONIZE,
					  .times = PROXY_FOR_EVER,
					  .status = LUN_CHECK_CONDITION,
					  .key = MEDIUM_ERROR,
					  .ascq = 0x0c00};

	begin_late();
	write_back(NULL);
	proxy_spoil(mine.proxy, &fault);
	lun_copying_assert_copied(&mine);
	ck_assert_int_ge(proxy_spoiled(mine.proxy), 1);
	lun_copying_end(&mine);
}
END_TEST

/* ---- a report that is wrong --------------------------------------------------------------- */

/* The target has data, and always calls it unmapped (descriptor, byte 12). */
static void begin_lying(gboolean from_lun)
{
	const struct proxy_fault fault = {.act = PROXY_FLIP,
					  .pdu = PROXY_DATA_IN,
					  .operation = GET_LBA_STATUS,
					  .times = PROXY_FOR_EVER,
					  .at = PROXY_HEADER_BYTES + 8 + 12};

	lun_copying_begin(&mine, LUN_THIN, CONTENT_BYTES, from_lun);
	proxy_spoil(mine.proxy, &fault);
}

START_TEST(data_that_the_target_calls_a_hole_is_copied)
{
	begin_lying(TRUE);
	lun_copying_prove(&mine, FALSE);
	lun_copying_assert_copied(&mine);
	ck_assert_int_ge(proxy_spoiled(mine.proxy), 2);
	lun_copying_end(&mine);
}
END_TEST

/* Taken for fresh, and nothing was written where the source has zeros. */
START_TEST(old_data_that_the_target_calls_a_hole_is_no_proof_of_zeros)
{
	begin_lying(FALSE);
	lun_copying_zero(&mine, MiB, 2 * MiB);
	mine.copying.spec.fresh = TRUE;
	lun_copying_assert_mended(&mine);
	lun_copying_end(&mine);
}
END_TEST

/* What decides whether a LUN is taken for empty; no later handle is led astray again. */
START_TEST(old_data_that_the_target_calls_a_hole_is_data)
{
	struct image_info info;

	begin_lying(FALSE);
	AUTO(handle) handle =
		handle_open(mine.copying.destination_url, &mine.config, HANDLE_WRITE, NULL);

	ck_assert(handle && handle_describe(handle, &info, NULL) && info.extents_trusted);
	AUTO(extents) extents = handle_extents(handle, CONTENT_BYTES, 0, NULL);

	ck_assert_uint_eq(extents_bytes(extents, EXTENT_DATA), CONTENT_BYTES);
	ck_assert(handle->holes_refuted);
	AUTO(handle) next =
		handle_open(mine.copying.destination_url, &mine.config, HANDLE_READ, NULL);

	ck_assert(next && handle_describe(next, &info, NULL) && !info.extents_trusted);
	ck_assert(next->holes_refuted);
	lun_copying_end(&mine);
}
END_TEST

static int run_tests(void)
{
	Suite *suite = suite_create("copies of zeros over iSCSI");
	TCase *tcase = tcase_create("zeros");

	tcase_add_unchecked_fixture(tcase, temp_make, temp_remove);
	tcase_add_checked_fixture(tcase, begin, iscsi_server_kill);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, zeros_reach_a_lun_that_held_something);
	tcase_add_test(tcase, target_without_write_same_gets_zeros_written);
	tcase_add_test(tcase, zeros_are_sent_again_after_a_lost_connection);
	tcase_add_test(tcase, zeros_that_were_never_written_are_found);
	tcase_add_loop_test(tcase, zeros_that_were_short_are_sent_again, 0, 2);
	tcase_add_test(tcase, zeros_that_are_short_for_ever_end);
	tcase_add_test(tcase, refused_zeros_stop_the_copy_with_their_place);
	tcase_add_test(tcase, question_for_holes_is_asked_again_after_a_cut);
	tcase_add_test(tcase, a_hole_that_is_data_in_the_targets_cache_is_copied);
	tcase_add_test(tcase, a_target_that_cannot_flush_is_a_source_all_the_same);
	tcase_add_test(tcase, data_that_the_target_calls_a_hole_is_copied);
	tcase_add_test(tcase, old_data_that_the_target_calls_a_hole_is_no_proof_of_zeros);
	tcase_add_test(tcase, old_data_that_the_target_calls_a_hole_is_data);
	suite_add_tcase(suite, tcase);
	return images_run(suite);
}

int main(void)
{
	return servers_run(run_tests);
}
