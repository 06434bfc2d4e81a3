/* Moves as processes, with a script in place of blockmig. */
#include "blockmig/evacuate/children.h"
#include "common/stop.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char *program, *log_path;
static struct dispatch *dispatch;
static struct dispatch_move *move;
static struct children *children;
static GString *lines;

static void on_line(const struct dispatch_move *of, const char *text, void *data)
{
	(void)data;
	ck_assert_ptr_eq(of, move);
	g_string_append_printf(lines, "%s|", text);
}

/* @body runs with $log as a file of its own, and the arguments of blockmig. */
static void script(const char *body)
{
	static const char *const migrate[] = {"--on-failure=rollback", NULL};
	static const char *const common[] = {"--connect=test:///x", NULL};
	g_autofree char *text = g_strdup_printf("#!/bin/bash\nlog=%s\n%s\n", log_path, body);
	const struct children_options options = {program, migrate, common, on_line, NULL};

	ck_assert(g_file_set_contents_full(program, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0700,
					   NULL));
	children = children_new(&options);
}

static void setup(void)
{
	static guint number;

	stop_install();
	program = temp_path("program");
	log_path = g_strdup_printf("%s.%d.%u", program, getpid(), number++);
	lines = g_string_new(NULL);
	dispatch = dispatch_new(NULL, NULL);
	move = dispatch_add_move(dispatch, "web", "vda", dispatch_add_target(dispatch, "filer"),
				 "filer");
}

static void teardown(void)
{
	children_free(children);
	dispatch_free(dispatch);
	g_string_free(lines, TRUE);
	g_free(log_path);
	g_free(program);
	stop_reset();
}

static void start(guint64 rate)
{
	GError *error = NULL;

	ck_assert_msg(children_start(children, move, rate, &error), "%s",
		      error ? error->message : "");
}

/* Until the child has ended; it must within a minute. */
static void ends(int status)
{
	ck_assert_ptr_eq(children_wait(children, g_get_monotonic_time() + 60 * G_USEC_PER_SEC),
			 move);
	ck_assert_msg(move->outcome.status == status, "%d: %s", move->outcome.status,
		      move->outcome.message);
}

static char *logged(void)
{
	char *text = NULL;

	ck_assert(g_file_get_contents(log_path, &text, NULL, NULL));
	return g_strchomp(text);
}

static void wait_logged(const char *wanted)
{
	for (;;) {
		g_autofree char *text = NULL;

		if (g_file_get_contents(log_path, &text, NULL, NULL) && strstr(text, wanted))
			return;
		g_usleep(2000);
	}
}

START_TEST(its_words_are_the_moves_outcome)
{
	script("echo \"$@\" >$log\n"
	       "printf '{\"type\":\"phase\",\"job\":7,\"phase\":\"seed\"}\\nno JSON\\n'\n"
	       "printf '{\"type\":\"summary\",\"job\":7,\"bytes_sent\":4096,\"bytes_res'\n"
	       "sleep 0.05\n"
	       "printf "
	       "'ent\":512,\"downtime_ms\":84,\"phases\":[{\"name\":\"claim\",\"seconds\":9},"
	       "{\"name\":\"seed\",\"seconds\":1.5},{\"name\":\"rounds\",\"seconds\":0.5}]}\\n'");
	start(0);
	ends(0);
	g_autofree char *arguments = logged();

	ck_assert_str_eq(arguments, "migrate --json --connect=test:///x --on-failure=rollback "
				    "--bwlimit-fd=3 --to filer -- web vda");
	ck_assert_int_eq(move->job, 7);
	ck_assert_uint_eq(move->outcome.bytes_sent, 4096);
	ck_assert_uint_eq(move->outcome.bytes_resent, 512);
	ck_assert_uint_eq(move->outcome.copy_ms, 2000);
	ck_assert_int_eq(move->outcome.downtime_ms, 84);
	ck_assert_ptr_nonnull(strstr(lines->str, "|no JSON|{\"type\":\"summary\""));
}
END_TEST

START_TEST(its_error_is_the_reason)
{
	script("echo 'something else' >&2\n"
	       "echo '{\"type\":\"error\",\"job\":3,\"message\":\"no space\"}'\nexit 1");
	start(0);
	ends(1);
	ck_assert_str_eq(move->outcome.message, "no space");
}
END_TEST

/* A crash speaks no JSON; and it may say more than anybody wants to keep. */
START_TEST(without_one_its_complaints_are)
{
	script("yes 'cannot open shared object' | head -c 1000000 >&2\nexit 127");
	start(0);
	ends(127);
	ck_assert(g_str_has_prefix(move->outcome.message, "cannot open shared object"));
	ck_assert_uint_le(strlen(move->outcome.message), 4096);
}
END_TEST

START_TEST(a_signal_is_told_apart_from_a_status)
{
	script("kill -KILL $$");
	start(0);
	ends(128 + SIGKILL);
}
END_TEST

START_TEST(rates_arrive_on_its_descriptor)
{
	script("read a <&3; echo $a >>$log; read b <&3; echo $b >>$log");
	start(1000);
	wait_logged("1000");
	children_set_rate(children, move, 0);
	ends(0);
	g_autofree char *rates = logged();

	ck_assert_str_eq(rates, "1000\n0");
	children_set_rate(children, move, 5);
}
END_TEST

START_TEST(one_signal_stops_and_a_second_stops_at_once)
{
	script("n=0; trap 'n=$((n + 1)); echo int$n >>$log' INT\n"
	       "echo ready >>$log; while [ $n -lt 2 ]; do sleep 0.01; done; exit 3");
	start(0);
	wait_logged("ready");
	children_stop(children, move, FALSE);
	children_stop(children, move, FALSE);
	wait_logged("int1");
	children_stop(children, move, TRUE);
	ends(3);
	g_autofree char *text = logged();

	ck_assert_str_eq(text, "ready\nint1\nint2");
}
END_TEST

START_TEST(a_rollback_aborts_the_job)
{
	script("echo \"$@\" >$log");
	move->job = 12;
	ck_assert(children_roll_back(children, move, NULL));
	ends(0);
	g_autofree char *arguments = logged();

	ck_assert_str_eq(arguments, "abort --json --connect=test:///x 12");
}
END_TEST

/* A guardian outlives a child that was killed, and has its stdout. */
START_TEST(who_holds_its_pipes_is_not_waited_for)
{
	script("sleep 50 & echo $! >$log; exit 1");
	start(0);
	ends(1);
	g_autofree char *pid = logged();

	ck_assert_int_eq(kill(atoi(pid), SIGKILL), 0);
}
END_TEST

START_TEST(a_stop_ends_the_wait)
{
	script("exec sleep 50");
	start(0);
	stop_request();
	ck_assert_ptr_null(children_wait(children, G_MAXINT64));
	g_autoptr(GThread) again = g_thread_new("again", (GThreadFunc)stop_request, NULL);

	ck_assert_ptr_null(children_wait(children, G_MAXINT64));
	g_thread_join(g_steal_pointer(&again));
	ck_assert_int_eq(stop_level(), STOP_NOW);
}
END_TEST

START_TEST(a_program_that_is_not_there_is_named)
{
	g_autoptr(GError) error = NULL;
	const struct children_options options = {.program = "/nowhere/blockmig"};

	children = children_new(&options);
	ck_assert(!children_start(children, move, 0, &error));
	ck_assert_ptr_nonnull(strstr(error->message, "/nowhere/blockmig"));
}
END_TEST

/* However the evacuation ends: its children stop at their checkpoints by themselves. */
START_TEST(it_is_asked_to_stop_when_its_parent_is_killed)
{
	script("trap 'echo stopped >>$log; exit 3' TERM\n"
	       "echo ready >>$log; while :; do sleep 0.01; done");
	pid_t parent = fork();

	if (parent == 0) {
		start(0);
		for (;;)
			pause();
	}
	wait_logged("ready");
	ck_assert_int_eq(kill(parent, SIGKILL), 0);
	ck_assert_int_eq(waitpid(parent, NULL, 0), parent);
	wait_logged("stopped");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("children");
	TCase *tests = tcase_create("children");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, its_words_are_the_moves_outcome);
	tcase_add_test(tests, its_error_is_the_reason);
	tcase_add_test(tests, without_one_its_complaints_are);
	tcase_add_test(tests, a_signal_is_told_apart_from_a_status);
	tcase_add_test(tests, rates_arrive_on_its_descriptor);
	tcase_add_test(tests, one_signal_stops_and_a_second_stops_at_once);
	tcase_add_test(tests, a_rollback_aborts_the_job);
	tcase_add_test(tests, who_holds_its_pipes_is_not_waited_for);
	tcase_add_test(tests, a_stop_ends_the_wait);
	tcase_add_test(tests, a_program_that_is_not_there_is_named);
	tcase_add_test(tests, it_is_asked_to_stop_when_its_parent_is_killed);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
