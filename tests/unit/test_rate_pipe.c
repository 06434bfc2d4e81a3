#include "blockmig/cmd/rate_pipe.h"
#include "common/error.h"

#include <check.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int ends[2];
static struct rate_pipe rates;

static void setup(void)
{
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert(rate_pipe_open(&rates, ends[0], NULL));
}

static void teardown(void)
{
	close(ends[0]);
	close(ends[1]);
}

static void say(const char *text)
{
	ck_assert_int_eq(write(ends[1], text, strlen(text)), (int)strlen(text));
}

START_TEST(nobody_waits_for_a_rate)
{
	guint64 rate = 7;

	ck_assert(!rate_pipe_read(&rate, &rates));
	ck_assert_uint_eq(rate, 7);
}
END_TEST

START_TEST(the_last_line_counts)
{
	guint64 rate;

	say("100\n0\n209715200\n");
	ck_assert(rate_pipe_read(&rate, &rates));
	ck_assert_uint_eq(rate, 209715200);
	ck_assert(!rate_pipe_read(&rate, &rates));
}
END_TEST

START_TEST(half_a_line_is_kept_for_its_end)
{
	guint64 rate;

	say("12");
	ck_assert(!rate_pipe_read(&rate, &rates));
	say("34\n5");
	ck_assert(rate_pipe_read(&rate, &rates));
	ck_assert_uint_eq(rate, 1234);
	say("\n");
	ck_assert(rate_pipe_read(&rate, &rates));
	ck_assert_uint_eq(rate, 5);
}
END_TEST

START_TEST(the_last_rate_holds_when_the_evacuation_is_gone)
{
	guint64 rate;

	close(ends[1]);
	ck_assert(!rate_pipe_read(&rate, &rates));
	ends[1] = dup(ends[0]);
}
END_TEST

START_TEST(a_number_that_is_no_descriptor_is_refused)
{
	struct rate_pipe none;
	g_autoptr(GError) error = NULL;

	ck_assert(!rate_pipe_open(&none, 999, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("rate_pipe");
	TCase *tests = tcase_create("rate_pipe");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, nobody_waits_for_a_rate);
	tcase_add_test(tests, the_last_line_counts);
	tcase_add_test(tests, half_a_line_is_kept_for_its_end);
	tcase_add_test(tests, the_last_rate_holds_when_the_evacuation_is_gone);
	tcase_add_test(tests, a_number_that_is_no_descriptor_is_refused);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
