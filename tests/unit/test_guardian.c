/*
 * The guardian as a process.  It runs its own program: this one, which is told by its first
 * argument whether it is the guardian, or the resume that the guardian runs.
 */
#include "blockmig/move/guardian.h"
#include "blockmig/move/job.h"
#include "tests/unit/ledgers.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATE	 "TEST_GUARDIAN_STATE"
#define STATUSES "TEST_GUARDIAN_STATUSES"

enum { WAIT_S = 60, BUSY = 75 };

/* ---- the resume ---------------------------------------------------------------------- */

static char *runs_path(void)
{
	return g_build_filename(g_getenv(STATE), "runs", NULL);
}

/* How often it was run. */
static guint runs(void)
{
	g_autofree char *path = runs_path();
	GStatBuf entry;

	return g_stat(path, &entry) == 0 ? (guint)entry.st_size : 0;
}

static void note_run(void)
{
	g_autofree char *path = runs_path();
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, "x", 1) != 1)
		abort();
	close(fd);
}

static void set_awaited(struct ledger *its, gint64 id, gboolean awaited)
{
	AUTO(job) job = job_new();
	struct source source = {.type = SOURCE_FILE, .path = (char *)"/x", .uid = -1, .gid = -1};

	job->source = layer_new(&source, "raw");
	job->destination = layer_new(&source, "raw");
	job->source_url = g_strdup("file:///x");
	job->destination_url = g_strdup("file:///x");
	job->awaited = awaited;
	g_autofree char *state = job_to_json(job);

	if (!ledger_job_save(its, id, state, NULL))
		abort();
}

/* Ends with one status of the list after the other; the last is that of a guest that runs. */
static int resume(const char *number)
{
	g_auto(GStrv) statuses = g_strsplit(g_getenv(STATUSES), " ", -1);
	guint run = runs();

	note_run();
	if (run + 1 == g_strv_length(statuses)) {
		AUTO(ledger) its = ledger_open(g_getenv(STATE), NULL);

		set_awaited(its, g_ascii_strtoll(number, NULL, 10), FALSE);
	}
	return atoi(statuses[MIN(run, g_strv_length(statuses) - 1)]);
}

/* ---- the tests ----------------------------------------------------------------------- */

static gint64 id;

/* A job of which a resume ends with @statuses. */
static void open_job(const char *statuses, gboolean awaited)
{
	char none[] = "", document[] = "{}";
	struct ledger_job record = {.kind = none,
				    .domain_uuid = none,
				    .domain_name = none,
				    .disk = none,
				    .source = none,
				    .destination = none,
				    .state = document,
				    .phase = none,
				    .message = none};

	setup();
	g_setenv(STATE, folder, TRUE);
	g_setenv(STATUSES, statuses, TRUE);
	ck_ok(ledger_job_add(ledger, &record, &error));
	id = record.id;
	set_awaited(ledger, id, awaited);
}

static void close_job(void)
{
	g_autofree char *path = runs_path();

	g_unlink(path);
	teardown();
}

static struct guardian *start(void)
{
	struct guardian *guardian = guardian_start(id, NULL, &error);

	ck_ok(guardian != NULL);
	return guardian;
}

/* Its exit status, when it has ended by itself. */
static int leave(struct guardian *guardian)
{
	pid_t pid = guardian_pid(guardian);
	int status;

	guardian_leave(guardian);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(one_that_is_dismissed_does_nothing)
{
	open_job("0", TRUE);
	guardian_dismiss(start());
	ck_assert_uint_eq(runs(), 0);
	close_job();
}
END_TEST

START_TEST(one_that_is_left_resumes_the_job)
{
	open_job("0", TRUE);
	ck_assert_int_eq(leave(start()), 0);
	ck_assert_uint_eq(runs(), 1);
	close_job();
}
END_TEST

/* Libvirt that is not there, a destination that does not answer, a pivot that is under way. */
START_TEST(it_tries_again_for_as_long_as_the_guest_waits)
{
	open_job("1 3 5 0", TRUE);
	ck_assert_int_eq(leave(start()), 0);
	ck_assert_uint_eq(runs(), 4);
	close_job();
}
END_TEST

START_TEST(what_a_person_must_decide_is_not_tried_again)
{
	open_job("5 0", FALSE);
	ck_assert_int_eq(leave(start()), 5);
	ck_assert_uint_eq(runs(), 1);
	close_job();
}
END_TEST

START_TEST(a_job_that_has_ended_is_left_alone)
{
	open_job("1 0", TRUE);
	ck_ok(ledger_job_end(ledger, id, JOB_DONE, "", &error));
	ck_assert_int_eq(leave(start()), 1);
	ck_assert_uint_eq(runs(), 1);
	close_job();
}
END_TEST

START_TEST(a_job_that_is_still_locked_is_waited_for)
{
	open_job("75 75 0", FALSE);
	ck_assert_int_eq(leave(start()), 0);
	ck_assert_uint_eq(runs(), 3);
	close_job();
}
END_TEST

START_TEST(one_of_several_looks_on)
{
	open_job("0", TRUE);
	g_autofree char *key = guardian_key(id);

	ck_ok(ledger_lock(ledger, key, id, &error));
	ck_assert_int_eq(leave(start()), 0);
	ck_assert_uint_eq(runs(), 0);
	ck_ok(ledger_unlock_job(ledger, id, &error));
	ck_assert_int_eq(leave(start()), 0);
	ck_assert_uint_eq(runs(), 1);
	ck_assert_int_eq(ledger_lock_holder(ledger, key), 0);
	close_job();
}
END_TEST

/* As of `blockmig migrate ... | tee log`, which is to end with the command. */
START_TEST(it_keeps_nobodys_output_open)
{
	int ends[2], kept = dup(STDOUT_FILENO), status;
	char byte;

	open_job("3 3 3 0", TRUE);
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(dup2(ends[1], STDOUT_FILENO), STDOUT_FILENO);
	struct guardian *guardian = start();
	pid_t pid = guardian_pid(guardian);

	dup2(kept, STDOUT_FILENO);
	close(kept);
	close(ends[1]);
	guardian_leave(guardian);
	ck_assert_int_eq(read(ends[0], &byte, 1), 0);
	ck_assert_int_eq(waitpid(pid, &status, WNOHANG), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_uint_eq(runs(), 4);
	close(ends[0]);
	close_job();
}
END_TEST

static Suite *suite(void)
{
	Suite *guardian = suite_create("guardian");
	TCase *tests = tcase_create("guardian");

	tcase_set_timeout(tests, WAIT_S);
	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_add_test(tests, one_that_is_dismissed_does_nothing);
	tcase_add_test(tests, one_that_is_left_resumes_the_job);
	tcase_add_test(tests, it_tries_again_for_as_long_as_the_guest_waits);
	tcase_add_test(tests, what_a_person_must_decide_is_not_tried_again);
	tcase_add_test(tests, a_job_that_has_ended_is_left_alone);
	tcase_add_test(tests, a_job_that_is_still_locked_is_waited_for);
	tcase_add_test(tests, one_of_several_looks_on);
	tcase_add_test(tests, it_keeps_nobodys_output_open);
	suite_add_tcase(guardian, tests);
	return guardian;
}

int main(int argc, char **argv)
{
	if (argc > 3 && g_str_equal(argv[1], "guardian"))
		return guardian_wait(atoi(argv[2]), atoi(argv[3]), g_getenv(STATE));
	if (argc > 2 && g_str_equal(argv[1], "resume"))
		return resume(argv[2]);

	SRunner *runner = srunner_create(suite());

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
