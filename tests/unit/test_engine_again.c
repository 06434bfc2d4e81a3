/*
 * The copy engine over a copy of an earlier job: nothing of it is believed, and only what
 * changed is sent.
 */
#include "common/error.h"
#include "common/units.h"
#include "tests/unit/copying.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

const struct transport transport_nbd = MEMORY_TRANSPORT;

static struct copying copying;

/* A whole copy, proven, that a new run is to look at again. */
static void begin_again(void)
{
	copying_begin_sparse(&copying);
	copying_assert_copied(&copying);
	copying.spec.rehash = TRUE;
	copying.spec.unattended = TRUE;
	copying.destination->calls[MEMORY_READ] = copying.destination->calls[MEMORY_WRITE] = 0;
}

static void mark(guint64 index, guint64 count, enum unit_state state)
{
	const struct ledger_unit unit = {.index = index, .count = count, .state = state};

	ck_assert(ledger_units_put(copying.ledger, copying.spec.pass, &unit, 1, NULL));
}

START_TEST(all_of_it_is_read_back_though_it_was_proven)
{
	begin_again();
	copying.destination->extents_trusted = _i;
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.bytes_sent, 0);
	/* Holes that the destination's own extents show need no reading. */
	ck_assert_uint_eq(copying.destination->calls[MEMORY_READ], _i ? 2 : 16);
	copying_end(&copying);
}
END_TEST

static void change_data(void)
{
	copying.destination->bytes[4 * MiB + 77] ^= 1;
	copying.destination->stable[4 * MiB + 77] ^= 1;
}

static void wipe_data(void)
{
	memset(copying.destination->bytes + 4 * MiB, 0, MiB);
	memset(copying.destination->stable + 4 * MiB, 0, MiB);
}

static void add_to_hole(void)
{
	memory_fill_random(copying.destination, 12 * MiB, 4096, 3);
}

/* As a guest does that trims a block of zeros and writes another: as much as before. */
static void move_a_block(void)
{
	copying.destination->allocated[(9 * MiB - 65536) / 4096] = 0;
	add_to_hole();
}

START_TEST(what_somebody_changed_at_the_destination_is_found_and_sent_again)
{
	static void (*const changes[])(void) = {change_data, wipe_data, add_to_hole, move_a_block};

	begin_again();
	changes[_i]();
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.mismatches, 1);
	copying_end(&copying);
}
END_TEST

/* What a round wrote there stays until its chunk is written, or zeroed, as a whole. */
START_TEST(what_a_round_touched_is_sent_again_or_zeroed)
{
	begin_again();
	copying.source->extents_trusted = TRUE;
	memory_fill_random(copying.destination, 4 * MiB, 4096, 8);
	memory_fill_random(copying.destination, 13 * MiB, 4096, 9);
	mark(4, 1, UNIT_SENT);
	mark(13, 1, UNIT_SENT);
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.mismatches, 0);
	ck_assert_uint_eq(copying.totals.bytes_sent, MiB);
	copying_end(&copying);
}
END_TEST

START_TEST(what_was_never_copied_is_sent_and_its_zeros_are_left_out)
{
	begin_again();
	mark(3, 8, UNIT_PENDING);
	memset(copying.destination->bytes + 3 * MiB, 0, 8 * MiB);
	memset(copying.destination->stable + 3 * MiB, 0, 8 * MiB);
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.bytes_sent, MiB + 65536);
	ck_assert_uint_eq(copying.totals.bytes_resent, 0);
	ck_assert_uint_eq(copying.destination->calls[MEMORY_ZERO], 0);
	copying_end(&copying);
}
END_TEST

/* The first write comes before the first half, which is there, was hashed. */
static gboolean count_reads(const struct memory_event *event, void *data, GError **error)
{
	guint *reads = data;

	(void)error;
	if (event->op == MEMORY_WRITE && !*reads)
		*reads = copying.source->calls[MEMORY_READ];
	return TRUE;
}

START_TEST(what_is_missing_does_not_wait_until_all_is_hashed)
{
	guint reads = 0;

	copying_begin_dense(&copying, 160 * MiB);
	copying_assert_copied(&copying);
	mark(80, 80, UNIT_PENDING);
	copying.spec.rehash = TRUE;
	copying.spec.workers = 1;
	copying.source->calls[MEMORY_READ] = 0;
	copying.destination->hook = count_reads;
	copying.destination->hook_data = &reads;
	copying_assert_copied(&copying);
	ck_assert_uint_gt(reads, 0);
	ck_assert_uint_lt(reads, 80);
	ck_assert_uint_eq(copying.totals.bytes_skipped, 80 * MiB);
	copying_end(&copying);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("engine again");
	TCase *tests = tcase_create("again");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, all_of_it_is_read_back_though_it_was_proven, 0, 2);
	tcase_add_loop_test(tests, what_somebody_changed_at_the_destination_is_found_and_sent_again,
			    0, 4);
	tcase_add_test(tests, what_a_round_touched_is_sent_again_or_zeroed);
	tcase_add_test(tests, what_was_never_copied_is_sent_and_its_zeros_are_left_out);
	tcase_add_test(tests, what_is_missing_does_not_wait_until_all_is_hashed);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
