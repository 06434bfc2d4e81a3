/*
 * A whole copy over iSCSI for every byte at which a connection can break: of one block,
 * which goes without immediate data, so that it needs an R2T and a Data-Out.
 */
#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/lun_copying.h"
#include "tests/unit/no_waits.h"
#include "tests/unit/servers.h"
#include "tests/unit/temp.h"

#include <string.h>

enum {
	LUN = 1,
	BLOCK_BYTES = 512,
	LONG_BYTES = 12 * KiB,
	LONG_STRIDE = 1021,
	QUICK_STALL_MS = 60,
	BUFFER_OFFSET_AT = 40
};

static struct lun_copying mine;

static void begin(gboolean from_lun, gsize content_bytes)
{
	iscsi_server_start();
	iscsi_server_add_lun(LUN, 8 * MiB, BLOCK_BYTES, FALSE);
	iscsi_server_set("ImmediateData", "No");
	lun_copying_begin(&mine, LUN, content_bytes, from_lun);
}

static void end(void)
{
	lun_copying_end(&mine);
	iscsi_server_kill();
}

static void cut_at(enum proxy_pdu pdu, int operation, gsize at)
{
	const struct proxy_fault fault = {
		.act = PROXY_CUT, .pdu = pdu, .operation = operation, .times = 1, .at = at};

	/* Every other one, but of those that the read-back sends. */
	lun_copying_prove(&mine, at % 2 || (operation == LUN_READ && !mine.from_lun));
	lun_copying_again(&mine, (guint)at + 2);
	proxy_spoil(mine.proxy, &fault);
	lun_copying_assert_copied(&mine);
	ck_assert_int_eq(proxy_spoiled(mine.proxy), 1);
}

static const struct pdu {
	gboolean from_lun;
	enum proxy_pdu pdu;
	int operation;
	gsize data_bytes;
} pdus[] = {
	{FALSE, PROXY_COMMAND, LUN_WRITE, 0},
	{FALSE, PROXY_R2T, LUN_WRITE, 0},
	{FALSE, PROXY_DATA_OUT, LUN_WRITE, BLOCK_BYTES},
	{FALSE, PROXY_RESPONSE, LUN_WRITE, 0},
	{FALSE, PROXY_COMMAND, LUN_SYNCHRONIZE, 0},
	{FALSE, PROXY_RESPONSE, LUN_SYNCHRONIZE, 0},
	{FALSE, PROXY_COMMAND, LUN_READ, 0},
	{FALSE, PROXY_DATA_IN, LUN_READ, BLOCK_BYTES},
	{TRUE, PROXY_COMMAND, LUN_READ, 0},
	{TRUE, PROXY_DATA_IN, LUN_READ, BLOCK_BYTES},
};
enum { TO_A_LUN = 8 }; /* so many of them */

START_TEST(a_cut_at_any_byte_of_a_pdu_is_survived)
{
	const struct pdu *pdu = &pdus[_i];

	begin(pdu->from_lun, BLOCK_BYTES);
	for (gsize at = 0; at <= PROXY_HEADER_BYTES + pdu->data_bytes; at++)
		cut_at(pdu->pdu, pdu->operation, at);
	end();
}
END_TEST

START_TEST(a_cut_in_a_long_pdu_is_survived)
{
	const struct pdu *pdu = &pdus[_i];

	begin(pdu->from_lun, LONG_BYTES);
	for (gsize at = 1; pdu->data_bytes && at < PROXY_HEADER_BYTES + 8 * KiB; at += LONG_STRIDE)
		cut_at(pdu->pdu, pdu->operation, at);
	end();
}
END_TEST

/*
 * Without digests, which not every target has.  What a target makes of a PDU that is not
 * what was sent is its own affair: it may refuse, and the copy ends in its words.  (tgt
 * takes a Data-Out's buffer offset as it comes, writes beyond its buffer and dies.)
 */
START_TEST(a_bit_flipped_at_any_byte_of_a_pdu_is_found_or_told)
{
	const struct pdu *pdu = &pdus[_i];
	const gsize end_at = pdu->pdu == PROXY_DATA_OUT ? BUFFER_OFFSET_AT : PROXY_HEADER_BYTES;

	begin(FALSE, BLOCK_BYTES);
	mine.config.stall_ms = QUICK_STALL_MS;
	for (gsize at = 0; at < end_at; at++) {
		const struct proxy_fault fault = {.act = PROXY_FLIP,
						  .pdu = pdu->pdu,
						  .operation = pdu->operation,
						  .times = 1,
						  .at = at};

		lun_copying_again(&mine, (guint)at + 2);
		proxy_spoil(mine.proxy, &fault);
		if (!copying_run(&mine.copying))
			ck_assert_msg(strstr(mine.copying.error->message, "iscsi://") != NULL, "%s",
				      mine.copying.error->message);
		ck_assert_int_eq(proxy_spoiled(mine.proxy), 1);
		lun_copying_assert_copied(&mine);
	}
	end();
}
END_TEST

START_TEST(a_cut_while_the_lun_is_looked_at_is_survived)
{
	static const int operations[] = {0x00, 0x12, 0x9e}; /* ready, inquiry, capacity */

	begin(FALSE, BLOCK_BYTES);
	for (guint i = 0; i < G_N_ELEMENTS(operations); i++) {
		cut_at(PROXY_RESPONSE, operations[0], 10 + i);
		cut_at(PROXY_COMMAND, operations[i], i * 20);
		cut_at(PROXY_DATA_IN, operations[1 + i % 2], 49 + i);
	}
	end();
}
END_TEST

static int run_tests(void)
{
	Suite *suite = suite_create("copies over iSCSI, cut");
	TCase *cuts = tcase_create("cuts");

	tcase_add_unchecked_fixture(cuts, temp_make, temp_remove);
	tcase_set_timeout(cuts, 120);
	tcase_add_loop_test(cuts, a_cut_at_any_byte_of_a_pdu_is_survived, 0, G_N_ELEMENTS(pdus));
	tcase_add_loop_test(cuts, a_cut_in_a_long_pdu_is_survived, 0, G_N_ELEMENTS(pdus));
	tcase_add_loop_test(cuts, a_bit_flipped_at_any_byte_of_a_pdu_is_found_or_told, 0, TO_A_LUN);
	tcase_add_test(cuts, a_cut_while_the_lun_is_looked_at_is_survived);
	suite_add_tcase(suite, cuts);
	return images_run(suite);
}

int main(void)
{
	return servers_run(run_tests);
}
