#include "blockmig/copy/throttle.h"
#include "common/error.h"
#include "common/stop.h"
#include "common/units.h"

#include <check.h>

static double seconds_to_take(struct throttle *throttle, guint64 bytes, guint64 piece)
{
	const gint64 from_us = g_get_monotonic_time();

	for (guint64 taken = 0; taken < bytes; taken += piece)
		ck_assert(throttle_take(throttle, piece, NULL));
	return (double)(g_get_monotonic_time() - from_us) / G_USEC_PER_SEC;
}

START_TEST(no_rate_is_no_limit)
{
	AUTO(throttle) throttle = throttle_new(0);

	ck_assert_double_lt(seconds_to_take(throttle, 1000 * GiB, GiB), 1);
}
END_TEST

/* All but the quarter of a second in the bucket and the last piece has to be waited for. */
START_TEST(the_rate_is_kept)
{
	AUTO(throttle) throttle = throttle_new(100 * MiB);

	ck_assert_double_ge(seconds_to_take(throttle, 80 * MiB, MiB), 0.54);
}
END_TEST

/* What was waited for is paid for: no tokens are lost however the time is cut up. */
START_TEST(no_token_is_lost)
{
	AUTO(throttle) throttle = throttle_new(64 * MiB);

	seconds_to_take(throttle, 64 * MiB, 64 * KiB);
	ck_assert_double_lt(seconds_to_take(throttle, 16 * MiB, 64 * KiB), 2);
}
END_TEST

START_TEST(a_request_larger_than_the_bucket_is_paid_for_by_the_next)
{
	AUTO(throttle) throttle = throttle_new(100 * MiB);

	g_usleep(50000);
	ck_assert_double_lt(seconds_to_take(throttle, 50 * MiB, 50 * MiB), 0.3);
	ck_assert_double_ge(seconds_to_take(throttle, 1, 1), 0.2);
}
END_TEST

START_TEST(a_slice_is_a_quarter_of_a_second)
{
	AUTO(throttle) throttle = throttle_new(64 * MiB);

	ck_assert_uint_eq(throttle_slice(throttle), 16 * MiB);
	throttle_set(throttle, 1);
	ck_assert_uint_eq(throttle_slice(throttle), 0);
	throttle_set(throttle, 0);
	ck_assert_uint_eq(throttle_slice(throttle), G_MAXUINT64);
}
END_TEST

static gpointer take_slowly(gpointer throttle)
{
	GError *error = NULL;

	throttle_take(throttle, 1, NULL);
	throttle_take(throttle, 1, NULL);
	throttle_take(throttle, 1, &error);
	return error;
}

START_TEST(a_new_rate_wakes_who_waits_for_the_old_one)
{
	AUTO(throttle) throttle = throttle_new(1);
	GThread *thread = g_thread_new("taker", take_slowly, throttle);

	throttle_set(throttle, 0);
	ck_assert_ptr_null(g_thread_join(thread));
}
END_TEST

START_TEST(only_a_stop_at_once_ends_the_wait)
{
	AUTO(throttle) throttle = throttle_new(1);
	GThread *thread = g_thread_new("taker", take_slowly, throttle);
	GError *error;

	stop_request();
	stop_request();
	error = g_thread_join(thread);
	ck_assert(error_is(error, BLOCKMIG_ERROR_STOPPED));
	g_error_free(error);
	stop_reset();

	throttle_set(throttle, 0);
	stop_request();
	ck_assert(throttle_take(throttle, 1, NULL));
	stop_reset();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("throttle");
	TCase *tests = tcase_create("throttle");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tests, 30);
	tcase_add_test(tests, no_rate_is_no_limit);
	tcase_add_test(tests, the_rate_is_kept);
	tcase_add_test(tests, no_token_is_lost);
	tcase_add_test(tests, a_request_larger_than_the_bucket_is_paid_for_by_the_next);
	tcase_add_test(tests, a_slice_is_a_quarter_of_a_second);
	tcase_add_test(tests, a_new_rate_wakes_who_waits_for_the_old_one);
	tcase_add_test(tests, only_a_stop_at_once_ends_the_wait);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
