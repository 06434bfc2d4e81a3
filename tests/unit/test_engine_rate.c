/* The copy engine under a limit of its rate: what it holds back, and how. */
#include "common/error.h"
#include "common/stop.h"
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

/* ---- a slow destination is written to all the while ---------------------------------------- */

enum { SLOW_BYTES = 16 * MiB };

static void begin_slow(struct throttle *throttle, gboolean used)
{
	copying_begin_dense(&copying, 8 * MiB + 12345);
	copying.spec.unit_bytes = 8 * MiB;
	copying.spec.throttle = throttle;
	copying.spec.fresh = !used;
}

/* No write is waited for longer than a quarter of a second. */
START_TEST(a_limited_run_is_written_in_slices)
{
	AUTO(throttle) throttle = throttle_new(SLOW_BYTES);
	guint64 written = 0;

	begin_slow(throttle, _i);
	copying_assert_copied(&copying);
	for (guint i = 0; i < copying.destination->log->len; i++) {
		const struct memory_event *event =
			&g_array_index(copying.destination->log, struct memory_event, i);

		if (event->op != MEMORY_WRITE)
			continue;
		ck_assert_uint_le(event->count, SLOW_BYTES / 4);
		ck_assert_uint_eq(event->offset % TRANSPORT_ALIGN, 0);
		written += event->count;
	}
	ck_assert_uint_eq(written, 8 * MiB + 12345);
	ck_assert_uint_eq(copying.totals.bytes_sent, written);
	copying_end(&copying);
}
END_TEST

START_TEST(a_run_without_a_limit_is_one_write)
{
	AUTO(throttle) throttle = throttle_new(0);

	begin_slow(_i ? throttle : NULL, FALSE);
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.destination->calls[MEMORY_WRITE], 2);
	copying_end(&copying);
}
END_TEST

/* As the user does who has seen enough of it. */
static gboolean lift_limit(const struct memory_event *event, void *data, GError **error)
{
	(void)error;
	if (event->op == MEMORY_WRITE)
		throttle_set(data, 0);
	return TRUE;
}

START_TEST(the_rest_of_a_run_goes_out_at_once_when_the_limit_is_lifted)
{
	AUTO(throttle) throttle = throttle_new(SLOW_BYTES);

	begin_slow(throttle, FALSE);
	copying.spec.workers = 1;
	copying.destination->hook = lift_limit;
	copying.destination->hook_data = throttle;
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.destination->calls[MEMORY_WRITE], 3);
	copying_end(&copying);
}
END_TEST

static gboolean stop_at_first(const struct memory_event *event, void *data, GError **error)
{
	(void)data;
	(void)error;
	if (event->op == MEMORY_WRITE && stop_level() == STOP_NO)
		stop_request();
	return TRUE;
}

/* It would take four minutes. */
START_TEST(the_unit_in_hand_goes_out_at_once_when_the_copy_is_to_end)
{
	AUTO(throttle) throttle = throttle_new(32 * KiB);

	begin_slow(throttle, FALSE);
	copying.spec.workers = 1;
	copying.destination->hook = stop_at_first;
	copying_assert_fails(&copying, BLOCKMIG_ERROR_STOPPED, "checkpoint");
	ck_assert_int_eq(copying_state(&copying, 0), UNIT_DONE);
	ck_assert_uint_eq(copying.destination->calls[MEMORY_WRITE], 2);
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
	tcase_add_loop_test(tests, a_limited_run_is_written_in_slices, 0, 2);
	tcase_add_loop_test(tests, a_run_without_a_limit_is_one_write, 0, 2);
	tcase_add_test(tests, the_rest_of_a_run_goes_out_at_once_when_the_limit_is_lifted);
	tcase_add_test(tests, the_unit_in_hand_goes_out_at_once_when_the_copy_is_to_end);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
