/*
 * Who holds a lock, and who holds none any more.
 *
 * g_file_get_contents here stands in front of GLib's, for a /proc that has little to tell.
 */
#include "tests/unit/ledgers.h"

#include <dlfcn.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
	const char *suffix; /* of the file's path; NULL: /proc is as it is */
	const char *text;   /* NULL: it cannot be read */
} proc;

gboolean g_file_get_contents(const gchar *path, gchar **text, gsize *bytes, GError **cause)
{
	__typeof__(&g_file_get_contents) next =
		(__typeof__(&g_file_get_contents))dlsym(RTLD_NEXT, "g_file_get_contents");

	if (!proc.suffix || !g_str_has_suffix(path, proc.suffix))
		return next(path, text, bytes, cause);
	*text = g_strdup(proc.text);
	if (bytes)
		*bytes = proc.text ? strlen(proc.text) : 0;
	return proc.text != NULL;
}

/* A child that takes the lock, and holds it until its pipe closes; *pid is set. */
static int child_with_lock(const char *key, pid_t *pid)
{
	int ready[2], hold[2];
	char byte;

	ck_assert_int_eq(pipe(ready), 0);
	ck_assert_int_eq(pipe(hold), 0);
	*pid = fork();
	if (*pid == 0) {
		struct ledger *own = ledger_open(folder, NULL);
		const gboolean locked = own && ledger_lock(own, key, 1, NULL);

		close(hold[1]);
		if (write(ready[1], locked ? "y" : "n", 1) != 1 || read(hold[0], &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(ready[1]);
	close(hold[0]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	ck_assert_int_eq(byte, 'y');
	close(ready[0]);
	return hold[1];
}

/* Process, command, job, and since when. */
static void assert_names_holder(pid_t child)
{
	g_autofree char *program = g_file_read_link("/proc/self/exe", NULL);
	g_autofree char *name = g_path_get_basename(program);
	g_autofree char *process = g_strdup_printf("process %d (", child);
	g_autoptr(GDateTime) now = g_date_time_new_now_local();
	g_autofree char *year = g_date_time_format(now, "since %Y-");

	ck_assert(error_is(error, BLOCKMIG_ERROR_BUSY));
	ck_assert_msg(strstr(error->message, process) && strstr(error->message, name) &&
			      strstr(error->message, "for job 1 ") && strstr(error->message, year),
		      "%s", error->message);
}

START_TEST(a_living_process_keeps_its_lock)
{
	pid_t child;
	const int hold = child_with_lock("job:7", &child);

	ck_assert(_i ? !ledger_lock_check(ledger, "job:7", &error)
		     : !ledger_lock(ledger, "job:7", 1, &error));
	assert_names_holder(child);
	ck_assert_int_eq(ledger_lock_holder(ledger, "job:7"), child);
	close(hold);
	waitpid(child, NULL, 0);
}
END_TEST

START_TEST(a_dead_process_loses_its_lock)
{
	pid_t child;
	const int hold = child_with_lock("job:7", &child);

	kill(child, SIGKILL);
	if (_i) /* else a zombie that nobody has waited for */
		waitpid(child, NULL, 0);
	else
		waitid(P_PID, (id_t)child, &(siginfo_t){.si_pid = 0}, WEXITED | WNOWAIT);
	close(hold);
	ck_assert_int_eq(ledger_lock_holder(ledger, "job:7"), 0);
	ck_ok(ledger_lock(ledger, "job:7", 1, &error));
	ck_assert_int_eq(ledger_lock_holder(ledger, "job:7"), getpid());
	waitpid(child, NULL, 0);
}
END_TEST

START_TEST(own_lock_is_taken_again_by_the_same_job_only)
{
	ck_ok(ledger_lock(ledger, "image:x", 1, &error));
	ck_ok(ledger_lock(ledger, "image:x", 1, &error));
	ck_assert(!ledger_lock(ledger, "image:x", 2, NULL));
	ck_ok(ledger_unlock_job(ledger, 1, &error));
	ck_assert_int_eq(ledger_lock_holder(ledger, "image:x"), 0);
	ck_ok(ledger_lock(ledger, "image:x", 2, &error));
}
END_TEST

/* What a lock's row says of its holder is changed, as time does it. */
static void change_holder(const char *setting)
{
	g_autofree char *path = g_build_filename(folder, "ledger.db", NULL);
	g_autofree char *sql = g_strdup_printf("UPDATE lock SET %s", setting);
	sqlite3 *database;

	ck_assert_int_eq(sqlite3_open(path, &database), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(database);
}

/* A living process has the number, but it is another one. */
START_TEST(a_number_that_was_given_again_holds_no_lock)
{
	static const char *const changes[] = {"started = started - 1", "boot = 'an-earlier-one'"};
	pid_t child;
	const int hold = child_with_lock("job:7", &child);

	change_holder(changes[_i]);
	ck_ok(ledger_lock_check(ledger, "job:7", &error));
	ck_assert_int_eq(ledger_lock_holder(ledger, "job:7"), 0);
	ck_ok(ledger_lock(ledger, "job:7", 2, &error));
	ck_assert_int_eq(ledger_lock_holder(ledger, "job:7"), getpid());
	close(hold);
	waitpid(child, NULL, 0);
}
END_TEST

/* The number is even our own. */
START_TEST(an_earlier_process_of_our_number_holds_no_lock)
{
	static const char *const changes[] = {"started = started - 1", "boot = 'an-earlier-one'"};

	ck_ok(ledger_lock(ledger, "job:7", 1, &error));
	change_holder(changes[_i]);
	ck_assert_int_eq(ledger_lock_holder(ledger, "job:7"), 0);
	ck_ok(ledger_lock(ledger, "job:7", 2, &error));
	ck_assert_int_eq(ledger_lock_holder(ledger, "job:7"), getpid());
}
END_TEST

/* proc(5) puts the name between parentheses, and it may hold anything. */
START_TEST(a_holder_may_be_called_anything)
{
	ck_assert_int_eq(prctl(PR_SET_NAME, "x) Z 1 1 (y"), 0);
	ck_ok(ledger_lock(ledger, "job:7", 1, &error));
	ck_assert_int_eq(ledger_lock_holder(ledger, "job:7"), getpid());
	ck_assert(!ledger_lock(ledger, "job:7", 2, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_BUSY));
}
END_TEST

START_TEST(a_process_of_which_nothing_is_known_holds_no_lock)
{
	static const char *const said[] = {NULL,
					   "",
					   "7 (name",
					   "7 (name)",
					   "7 (name) S 1 7",
					   "7 (name) X 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"};
	pid_t child;
	const int hold = child_with_lock("job:7", &child);
	g_autofree char *suffix = g_strdup_printf("/%d/stat", child);

	proc.suffix = suffix;
	proc.text = said[_i];
	ck_assert_int_eq(ledger_lock_holder(ledger, "job:7"), 0);
	ck_ok(ledger_lock(ledger, "job:7", 2, &error));
	ck_assert_int_eq(ledger_lock_holder(ledger, "job:7"), getpid());
	close(hold);
	waitpid(child, NULL, 0);
}
END_TEST

/* Where the kernel names no boot, number and start have to do. */
START_TEST(without_a_boot_id_a_living_process_keeps_its_lock)
{
	pid_t child;

	proc.suffix = "/boot_id";
	const int hold = child_with_lock("job:7", &child);

	ck_assert_int_eq(ledger_lock_holder(ledger, "job:7"), child);
	ck_assert(!ledger_lock(ledger, "job:7", 2, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_BUSY));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(hold);
	ck_assert_int_eq(ledger_lock_holder(ledger, "job:7"), 0);
}
END_TEST

/* The message goes to terminals and into reports: one short line without control codes. */
START_TEST(the_holders_command_is_shown_in_one_short_line)
{
	static const struct {
		const char *said, *shown;
	} cases[] = {
		{NULL, " (?) for job 1 "},
		{"", " (?) for job 1 "},
		{"blockmig\n\033[31mmigrate\t-v", " (blockmig  [31mmigrate -v) for job 1 "},
	};
	g_autofree char *endless = g_strnfill(1000, 'x');
	pid_t child;
	const int hold = child_with_lock("job:7", &child);

	proc.suffix = "/cmdline";
	proc.text = _i < (int)G_N_ELEMENTS(cases) ? cases[_i].said : endless;
	ck_assert(!ledger_lock_check(ledger, "job:7", &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_BUSY));
	if (_i < (int)G_N_ELEMENTS(cases))
		ck_assert_msg(strstr(error->message, cases[_i].shown) != NULL, "%s",
			      error->message);
	else
		ck_assert_uint_eq(strspn(strchr(error->message, '(') + 1, "x"), 200);
	close(hold);
	waitpid(child, NULL, 0);
}
END_TEST

/* The clock went back since, or the row is damaged. */
START_TEST(a_lock_of_an_impossible_time_is_a_lock)
{
	static const struct {
		const char *change, *words;
	} cases[] = {
		{"taken_s = taken_s + 100000", " (0 ms); wait"},
		{"taken_s = 9223372036854775807", " since ? ("},
		{"taken_s = -9223372036854775807 - 1", " since ? ("},
	};
	pid_t child;
	const int hold = child_with_lock("job:7", &child);

	change_holder(cases[_i].change);
	ck_assert(!ledger_lock(ledger, "job:7", 2, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_BUSY));
	ck_assert_msg(strstr(error->message, cases[_i].words) != NULL, "%s", error->message);
	close(hold);
	waitpid(child, NULL, 0);
}
END_TEST

START_TEST(dead_holders_locks_are_listed_and_then_removed)
{
	pid_t child;

	ck_ok(ledger_lock(ledger, "image:dead", 1, &error));
	change_holder("started = started - 1");
	const int hold = child_with_lock("job:7", &child);

	for (int remove = 0; remove <= 2; remove++) {
		g_autoptr(GPtrArray) keys = ledger_locks_stale(ledger, remove > 0, &error);

		ck_ok(keys != NULL);
		ck_assert_uint_eq(keys->len, remove < 2 ? 1 : 0);
		if (keys->len)
			ck_assert_str_eq(keys->pdata[0], "image:dead");
	}
	ck_assert_int_eq(ledger_lock_holder(ledger, "job:7"), child);
	close(hold);
	waitpid(child, NULL, 0);
}
END_TEST

START_TEST(a_free_lock_is_only_looked_at)
{
	ck_ok(ledger_lock_check(ledger, "job:7", &error));
	ck_assert_int_eq(ledger_lock_holder(ledger, "job:7"), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ledger locks");
	TCase *tests = tcase_create("ledger");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_set_timeout(tests, 60);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, a_living_process_keeps_its_lock, 0, 2);
	tcase_add_loop_test(tests, a_dead_process_loses_its_lock, 0, 2);
	tcase_add_loop_test(tests, a_number_that_was_given_again_holds_no_lock, 0, 2);
	tcase_add_loop_test(tests, an_earlier_process_of_our_number_holds_no_lock, 0, 2);
	tcase_add_test(tests, a_holder_may_be_called_anything);
	tcase_add_loop_test(tests, a_process_of_which_nothing_is_known_holds_no_lock, 0, 6);
	tcase_add_test(tests, without_a_boot_id_a_living_process_keeps_its_lock);
	tcase_add_loop_test(tests, the_holders_command_is_shown_in_one_short_line, 0, 4);
	tcase_add_loop_test(tests, a_lock_of_an_impossible_time_is_a_lock, 0, 3);
	tcase_add_test(tests, dead_holders_locks_are_listed_and_then_removed);
	tcase_add_test(tests, a_free_lock_is_only_looked_at);
	tcase_add_test(tests, own_lock_is_taken_again_by_the_same_job_only);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
