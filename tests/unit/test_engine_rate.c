/* The copy engine under a limit of its rate: what it holds back, and how. */
#include "common/error.h"
#include "common/units.h"
#include "tests/unit/copying.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <stdlib.h>

const struct transport transport_nbd = MEMORY_TRANSPORT;

static struct copying copying;

/* ---- zeros that have to be written --------------------------------------------------------- */

/* A used destination that can only be written to. */
static void begin_written_zeros(gboolean are_holes)
{
	copying_begin_sparse(&copying);
	copying.source->extents_trusted = are_holes;
	copying.destination->cannot_zero = TRUE;
	copying.destination->zero_deallocates = TRUE;
	copying.spec.fresh = FALSE;
	memory_fill_random(copying.destination, 0, 16 * MiB, 7);
}

START_TEST(zeros_that_are_written_count_as_sent)
{
	begin_written_zeros(_i);
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.bytes_sent, 16 * MiB);
	ck_assert_uint_eq(copying.totals.bytes_resent, 0);
	ck_assert_uint_eq(copying.totals.bytes_data, MiB + 65536);
	copying_end(&copying);
}
END_TEST

START_TEST(zeros_that_are_written_keep_the_rate)
{
	AUTO(throttle) throttle = throttle_new(32 * MiB);
	const gint64 from_us = g_get_monotonic_time();

	begin_written_zeros(_i);
	copying.spec.throttle = throttle;
	copying_assert_copied(&copying);
	ck_assert_int_ge(g_get_monotonic_time() - from_us, G_USEC_PER_SEC * 3 / 10);
	copying_end(&copying);
}
END_TEST

START_TEST(zeros_that_the_destination_makes_itself_are_not_sent)
{
	begin_written_zeros(_i);
	copying.destination->cannot_zero = FALSE;
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.bytes_sent, MiB + 65536);
	copying_end(&copying);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("engine-rate");
	TCase *tests = tcase_create("rate");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, zeros_that_are_written_count_as_sent, 0, 2);
	tcase_add_loop_test(tests, zeros_that_are_written_keep_the_rate, 0, 2);
	tcase_add_loop_test(tests, zeros_that_the_destination_makes_itself_are_not_sent, 0, 2);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
