#include "common/deadline.h"
#include "common/error.h"
#include "common/stop.h"

#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- deadlines ---------------------------------------------------------------- */

START_TEST(a_deadline_passes_when_its_time_has_come)
{
	deadline_ms soon = deadline_in(20), later = deadline_in(60000);

	ck_assert(deadline_passed(deadline_in(0)));
	while (!deadline_passed(soon))
		g_usleep(1000);
	ck_assert_int_eq(deadline_left(soon), 0);
	ck_assert(!deadline_passed(later));
	ck_assert_int_le(deadline_left(later), 60000);
	ck_assert_int_gt(deadline_left(later), 50000);
}
END_TEST

START_TEST(never_does_not_pass_and_fits_poll)
{
	ck_assert(!deadline_passed(DEADLINE_NEVER));
	ck_assert_int_eq(deadline_left(DEADLINE_NEVER), G_MAXINT);
	ck_assert_int_eq(deadline_in(G_MAXUINT64), DEADLINE_NEVER);
	ck_assert_int_eq(deadline_in(G_MAXINT64), DEADLINE_NEVER);
}
END_TEST

START_TEST(tries_end_with_their_span_and_a_success_begins_a_new_one)
{
	struct backoff backoff;
	g_autoptr(GError) error = NULL;
	guint tries = 0;

	backoff_init(&backoff, 250);
	deadline_ms begin = deadline_in(0);
	while (backoff_wait(&backoff, &error))
		tries++;
	ck_assert_ptr_null(error);
	/* 50 to 100 ms, 100 to 200 ms, and what is left of 250 ms. */
	ck_assert_uint_ge(tries, 2);
	ck_assert_int_ge(deadline_in(0) - begin, 249);

	backoff_success(&backoff);
	ck_assert(backoff_wait(&backoff, &error));
}
END_TEST

START_TEST(no_span_is_no_second_try)
{
	struct backoff backoff;

	backoff_init(&backoff, 0);
	ck_assert(!backoff_wait(&backoff, NULL));
}
END_TEST

START_TEST(a_stop_ends_the_wait_for_another_try)
{
	struct backoff backoff;
	g_autoptr(GError) error = NULL;

	backoff_init(&backoff, 60000);
	stop_request();
	ck_assert(!backoff_wait(&backoff, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_STOPPED));
}
END_TEST

static gpointer wake_from_a_thread(gpointer fd)
{
	ck_assert_int_eq(eventfd_write(GPOINTER_TO_INT(fd), 1), 0);
	return NULL;
}

START_TEST(whoever_is_not_waited_for_any_more_does_not_try_again)
{
	struct backoff backoff;
	g_autoptr(GError) error = NULL;

	backoff_init(&backoff, G_MAXUINT32);
	backoff.wake_fd = eventfd(0, EFD_CLOEXEC);
	ck_assert(backoff_wait(&backoff, &error));
	GThread *thread =
		g_thread_new("wake", wake_from_a_thread, GINT_TO_POINTER(backoff.wake_fd));

	while (backoff_wait(&backoff, &error))
		;
	ck_assert_ptr_null(error);
	ck_assert(!backoff_wait(&backoff, &error));
	g_thread_join(thread);
	close(backoff.wake_fd);
}
END_TEST

/* ---- stop --------------------------------------------------------------------- */

static gboolean is_readable(int fd)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};

	return poll(&poller, 1, 0) == 1;
}

START_TEST(each_signal_raises_the_level_up_to_now)
{
	stop_install();
	ck_assert_int_eq(stop_level(), STOP_NO);
	ck_assert(!is_readable(stop_fd()));
	raise(SIGTERM);
	ck_assert_int_eq(stop_level(), STOP_CHECKPOINT);
	ck_assert(is_readable(stop_fd()));
	raise(SIGINT);
	ck_assert_int_eq(stop_level(), STOP_NOW);
	raise(SIGINT);
	ck_assert_int_eq(stop_level(), STOP_NOW);
}
END_TEST

START_TEST(a_broken_pipe_does_not_kill)
{
	stop_install();
	raise(SIGPIPE);
	ck_assert_int_eq(stop_level(), STOP_NO);
}
END_TEST

START_TEST(a_reset_takes_everything_back)
{
	stop_request();
	stop_request();
	stop_reset();
	ck_assert_int_eq(stop_level(), STOP_NO);
	ck_assert(!is_readable(stop_fd()));
	ck_assert(stop_check(NULL));
	ck_assert(stop_sleep(1, NULL));
}
END_TEST

static gpointer request_from_a_thread(gpointer unused)
{
	stop_request();
	return unused;
}

START_TEST(a_sleeper_wakes_when_a_stop_is_asked_for)
{
	g_autoptr(GError) error = NULL;
	GThread *thread = g_thread_new("stop", request_from_a_thread, NULL);

	ck_assert(!stop_sleep(60000, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_STOPPED));
	g_thread_join(thread);
}
END_TEST

START_TEST(an_undisturbed_sleep_takes_its_time)
{
	deadline_ms end = deadline_in(30);

	ck_assert(stop_sleep(30, NULL));
	ck_assert(deadline_passed(end));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("deadline");
	TCase *deadline = tcase_create("deadline"), *stop = tcase_create("stop");
	SRunner *runner = srunner_create(suite);

	suite_add_tcase(suite, deadline);
	tcase_add_test(deadline, a_deadline_passes_when_its_time_has_come);
	tcase_add_test(deadline, never_does_not_pass_and_fits_poll);
	tcase_add_test(deadline, tries_end_with_their_span_and_a_success_begins_a_new_one);
	tcase_add_test(deadline, no_span_is_no_second_try);
	tcase_add_test(deadline, a_stop_ends_the_wait_for_another_try);
	tcase_add_test(deadline, whoever_is_not_waited_for_any_more_does_not_try_again);
	suite_add_tcase(suite, stop);
	tcase_add_test(stop, each_signal_raises_the_level_up_to_now);
	tcase_add_test(stop, a_broken_pipe_does_not_kill);
	tcase_add_test(stop, a_reset_takes_everything_back);
	tcase_add_test(stop, a_sleeper_wakes_when_a_stop_is_asked_for);
	tcase_add_test(stop, an_undisturbed_sleep_takes_its_time);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
