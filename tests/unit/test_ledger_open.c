/*
 * Ledgers that cannot be opened: each is refused with its name and the cause, and what lies
 * there stays as it is.
 *
 * sqlite3_busy_timeout, g_usleep and g_get_monotonic_time here stand in front of the
 * libraries': nobody waits for ten seconds.
 */
#include "tests/unit/ledgers.h"

#include <dlfcn.h>
#include <errno.h>
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

enum { NOBODY = 65534 };

int sqlite3_busy_timeout(sqlite3 *database, int milliseconds)
{
	ck_assert_int_eq(milliseconds, 10000);
	return ((__typeof__(&sqlite3_busy_timeout))dlsym(RTLD_NEXT, "sqlite3_busy_timeout"))(
		database, 20);
}

static sqlite3 *reader; /* is closed in the third pause, if there is one */
static guint pauses;
static gint64 paused_us;

void g_usleep(gulong microseconds)
{
	paused_us += 100 * (gint64)microseconds; /* time flies */
	if (++pauses == 3)
		ck_assert_int_eq(sqlite3_close(g_steal_pointer(&reader)), SQLITE_OK);
}

gint64 g_get_monotonic_time(void)
{
	return ((__typeof__(&g_get_monotonic_time))dlsym(RTLD_NEXT, "g_get_monotonic_time"))() +
	       paused_us;
}

static char *file_of_ledger(void)
{
	return g_build_filename(folder, "ledger.db", NULL);
}

static sqlite3 *database_open(void)
{
	g_autofree char *path = file_of_ledger();
	sqlite3 *database;

	ck_assert_int_eq(sqlite3_open(path, &database), SQLITE_OK);
	return database;
}

static void execute(const char *sql)
{
	sqlite3 *database = database_open();

	ck_assert_msg(sqlite3_exec(database, sql, NULL, NULL, NULL) == SQLITE_OK, "%s",
		      sqlite3_errmsg(database));
	sqlite3_close(database);
}

static gint64 add_job(void)
{
	struct ledger_job job = {.kind = (char *)"copy", .source = (char *)"/a"};

	ck_ok(ledger_job_add(ledger, &job, &error));
	return job.id;
}

static void close_it(void)
{
	g_clear_pointer(&ledger, ledger_close);
}

static void refused(const char *place, int code, const char *object, const char *cause)
{
	g_autoptr(GError) failure = NULL;
	struct ledger *none = ledger_open(place, &failure);

	ck_assert_ptr_null(none);
	ck_assert_msg(error_is(failure, (enum blockmig_error)code), "%s", failure->message);
	ck_assert_msg(strstr(failure->message, object) && strstr(failure->message, cause), "%s",
		      failure->message);
}

/* It can be opened again, and has the job. */
static void is_whole(gint64 job)
{
	ledger = ledger_open(folder, &error);
	ck_ok(ledger != NULL);
	AUTO(ledger_job) record = ledger_job_get(ledger, job, &error);

	ck_ok(record != NULL);
	ck_assert_str_eq(record->source, "/a");
}

/* Who is not root is nobody already. */
static void become_nobody(void)
{
	g_autofree char *temp = temp_path("");

	if (geteuid() != 0)
		return;
	ck_assert_int_eq(g_chmod(temp, 0711), 0);
	ck_assert_int_eq(g_chmod(parent, 0755), 0);
	ck_assert_int_eq(seteuid(NOBODY), 0);
}

static void become_self(void)
{
	ck_assert_int_eq(seteuid(getuid()), 0);
}

/* ---- the folder ------------------------------------------------------------------------- */

START_TEST(a_folder_below_a_file_is_refused)
{
	g_autofree char *file = file_of_ledger();
	g_autofree char *below = g_build_filename(file, "state", NULL);

	refused(below, BLOCKMIG_ERROR_PERMANENT, below, g_strerror(ENOTDIR));
}
END_TEST

/* As a user who may not write there. */
START_TEST(a_folder_of_somebody_else_is_refused)
{
	g_autofree char *inside = g_build_filename(parent, "theirs", NULL);

	ck_assert_int_eq(g_chmod(parent, 0500), 0);
	become_nobody();
	refused(inside, BLOCKMIG_ERROR_PERMANENT, inside, g_strerror(EACCES));
	become_self();
	ck_assert_int_eq(g_chmod(parent, 0700), 0);
	ck_assert(!g_file_test(inside, G_FILE_TEST_EXISTS));
}
END_TEST

/* As on a file system that has become read-only: SQLite opens such a file only to read it. */
START_TEST(a_ledger_that_cannot_be_written_is_refused)
{
	const gint64 job = add_job();
	g_autofree char *path = file_of_ledger();

	close_it();
	ck_assert_int_eq(g_chmod(folder, 0755), 0);
	ck_assert_int_eq(g_chmod(path, 0444), 0);
	become_nobody();
	refused(folder, BLOCKMIG_ERROR_PERMANENT, path, "readonly");
	become_self();
	ck_assert_int_eq(g_chmod(path, 0644), 0);
	is_whole(job);
}
END_TEST

START_TEST(a_folder_where_the_file_should_be_is_refused)
{
	g_autofree char *place = g_build_filename(parent, "other", NULL);
	g_autofree char *path = g_build_filename(place, "ledger.db", NULL);

	ck_assert_int_eq(g_mkdir_with_parents(path, 0700), 0);
	refused(place, BLOCKMIG_ERROR_PERMANENT, path, "unable to open database file");
	ck_assert_int_eq(g_rmdir(path), 0);
	ck_assert_int_eq(g_rmdir(place), 0);
}
END_TEST

/* ---- what lies in the file ----------------------------------------------------------------- */

START_TEST(a_schema_that_is_not_known_is_refused)
{
	static const char *const versions[] = {"99", "3", "-1"};
	g_autofree char *sql = g_strdup_printf("PRAGMA user_version = %s", versions[_i]);
	g_autofree char *words = g_strdup_printf("(schema %s, this one knows 2)", versions[_i]);
	g_autofree char *path = file_of_ledger();
	const gint64 job = add_job();

	close_it();
	execute(sql);
	refused(folder, BLOCKMIG_ERROR_PERMANENT, path, words);
	execute("PRAGMA user_version = 2");
	is_whole(job);
}
END_TEST

START_TEST(a_file_that_is_no_database_is_refused)
{
	g_autofree char *path = file_of_ledger(), *text = NULL;

	close_it();
	ck_assert(g_file_set_contents(path, "certainly no SQLite database", -1, NULL));
	refused(folder, BLOCKMIG_ERROR_PERMANENT, path, "file is not a database");
	ck_assert(g_file_get_contents(path, &text, NULL, NULL));
	ck_assert_str_eq(text, "certainly no SQLite database");
}
END_TEST

/* A step of the schema that has been done by somebody else: nothing of it is kept. */
START_TEST(a_schema_that_cannot_be_brought_up_to_date_is_refused)
{
	g_autofree char *path = file_of_ledger();
	const gint64 job = add_job();

	close_it();
	execute("DROP TABLE maintenance; PRAGMA user_version = 1");
	refused(folder, BLOCKMIG_ERROR_PERMANENT, path, "table rate already exists");
	execute("DROP TABLE rate"); /* fails where the refused one left maintenance behind */
	is_whole(job);
	ck_ok(ledger_maintenance_begin(ledger, "file:///a/", "a", &error));
}
END_TEST

/* Text that somebody took away, behind the schema's back, is no text. */
START_TEST(a_row_without_its_text_is_read)
{
	const gint64 job = add_job();

	close_it();
	execute("PRAGMA writable_schema = ON;"
		"UPDATE sqlite_schema SET sql = replace(sql, 'TEXT NOT NULL', 'TEXT')"
		" WHERE name = 'job'");
	execute("UPDATE job SET message = NULL, phase = NULL");
	is_whole(job);
	AUTO(ledger_job) record = ledger_job_get(ledger, job, &error);

	ck_assert_str_eq(record->message, "");
	ck_assert_str_eq(record->phase, "");
}
END_TEST

/* ---- others ----------------------------------------------------------------------------- */

static const char *const holds[] = {"BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"};

/* `blockmig status` answers whatever another one is stuck in. */
START_TEST(a_file_that_another_process_writes_is_read)
{
	const gint64 job = add_job();
	sqlite3 *other;

	close_it();
	other = database_open();
	ck_assert_int_eq(sqlite3_exec(other, holds[_i], NULL, NULL, NULL), SQLITE_OK);
	is_whole(job);
	sqlite3_close(other);
}
END_TEST

START_TEST(a_new_file_that_another_process_keeps_is_busy)
{
	g_autofree char *path = file_of_ledger();
	sqlite3 *other;

	close_it();
	ck_assert_int_eq(g_remove(path), 0);
	other = database_open();
	ck_assert_int_eq(sqlite3_exec(other, holds[_i], NULL, NULL, NULL), SQLITE_OK);
	refused(folder, BLOCKMIG_ERROR_BUSY, path, "another process has kept it locked for 10 s");
	ck_assert_int_ge(paused_us, 9 * G_USEC_PER_SEC);
	sqlite3_close(other);
}
END_TEST

/*
 * As when two begin at the same moment: SQLite does not wait where it would change the
 * journal of a file that another one reads.
 */
START_TEST(a_new_file_that_another_process_has_for_a_moment_is_waited_for)
{
	g_autofree char *path = file_of_ledger();

	close_it();
	ck_assert_int_eq(g_remove(path), 0);
	execute("CREATE TABLE theirs (a)");
	reader = database_open();
	ck_assert_int_eq(sqlite3_exec(reader, "BEGIN; SELECT * FROM theirs", NULL, NULL, NULL),
			 SQLITE_OK);
	ledger = ledger_open(folder, &error);
	ck_ok(ledger != NULL);
	ck_assert_uint_eq(pauses, 3);
}
END_TEST

START_TEST(a_write_waits_for_another_process_and_then_is_busy)
{
	const gint64 job = add_job();
	g_autofree char *path = file_of_ledger();
	sqlite3 *other = database_open();

	ck_assert_int_eq(sqlite3_exec(other, holds[_i], NULL, NULL, NULL), SQLITE_OK);
	ck_assert(!ledger_job_note(ledger, job, "lost?", &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_BUSY));
	ck_assert(strstr(error->message, path) != NULL);
	ck_assert_int_eq(error_exit_status(error), 75);
	g_clear_error(&error);
	sqlite3_close(other);
	ck_ok(ledger_job_note(ledger, job, "kept", &error));
	AUTO(ledger_job) record = ledger_job_get(ledger, job, &error);

	ck_assert_str_eq(record->message, "kept");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ledger open");
	TCase *tests = tcase_create("ledger");

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, a_folder_below_a_file_is_refused);
	tcase_add_test(tests, a_folder_of_somebody_else_is_refused);
	tcase_add_test(tests, a_ledger_that_cannot_be_written_is_refused);
	tcase_add_test(tests, a_folder_where_the_file_should_be_is_refused);
	tcase_add_loop_test(tests, a_schema_that_is_not_known_is_refused, 0, 3);
	tcase_add_test(tests, a_file_that_is_no_database_is_refused);
	tcase_add_test(tests, a_schema_that_cannot_be_brought_up_to_date_is_refused);
	tcase_add_test(tests, a_row_without_its_text_is_read);
	tcase_add_loop_test(tests, a_file_that_another_process_writes_is_read, 0, 2);
	tcase_add_loop_test(tests, a_new_file_that_another_process_keeps_is_busy, 0, 2);
	tcase_add_test(tests, a_new_file_that_another_process_has_for_a_moment_is_waited_for);
	tcase_add_loop_test(tests, a_write_waits_for_another_process_and_then_is_busy, 0, 2);
	suite_add_tcase(suite, tests);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? 1 : 0;
}
