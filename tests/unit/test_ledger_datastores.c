#include "blockmig/ledger/ledger.h"
#include "tests/unit/copying.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <sqlite3.h>

static char *folder;
static struct ledger *ledger;
static GError *error;

#define ck_ok(condition) ck_assert_msg(condition, "%s", error ? error->message : "?")

static void setup(void)
{
	folder = folder_make("datastores");
	ledger = ledger_open(folder, &error);
	ck_ok(ledger != NULL);
}

static void teardown(void)
{
	g_clear_error(&error);
	ledger_close(ledger);
	folder_remove(folder);
	g_free(folder);
}

static void reopen(void)
{
	ledger_close(ledger);
	ledger = ledger_open(folder, &error);
	ck_ok(ledger != NULL);
}

static guint64 rate(const char *source, const char *destination)
{
	guint64 bytes_per_second;

	ck_ok(ledger_rate_get(ledger, source, destination, &bytes_per_second, &error));
	return bytes_per_second;
}

START_TEST(maintenance_survives_the_process_and_keeps_its_beginning)
{
	ck_ok(ledger_maintenance_begin(ledger, "nfs://filer/b/", "filer", &error));
	ck_ok(ledger_maintenance_begin(ledger, "file:///a/", "local", &error));
	reopen();
	ck_ok(ledger_maintenance_begin(ledger, "nfs://filer/b/", "renamed", &error));
	g_autoptr(GPtrArray) all = ledger_maintenance_list(ledger, &error);

	ck_ok(all != NULL);
	ck_assert_int_eq(all->len, 2);
	const struct ledger_maintenance *first = all->pdata[0], *second = all->pdata[1];

	ck_assert_str_eq(first->place, "file:///a/");
	ck_assert_str_eq(second->name, "filer");
	ck_assert_int_gt(second->since_s, 0);
}
END_TEST

START_TEST(maintenance_that_ended_is_not_listed)
{
	ck_ok(ledger_maintenance_begin(ledger, "file:///a/", "local", &error));
	ck_ok(ledger_maintenance_end(ledger, "file:///a/", &error));
	ck_ok(ledger_maintenance_end(ledger, "file:///never/", &error));
	g_autoptr(GPtrArray) all = ledger_maintenance_list(ledger, &error);

	ck_ok(all != NULL);
	ck_assert_int_eq(all->len, 0);
}
END_TEST

START_TEST(a_rate_is_that_of_its_pair)
{
	ck_ok(ledger_rate_add(ledger, "a", "b", 1000, 2000, &error));
	ck_ok(ledger_rate_add(ledger, "b", "a", 1000, 4000, &error));
	reopen();
	ck_assert_uint_eq(rate("a", "b"), 500);
	ck_assert_uint_eq(rate("b", "a"), 250);
	ck_assert_uint_eq(rate("a", "c"), 0);
}
END_TEST

/* A network that has become ten times slower is known as such after a few jobs. */
START_TEST(newer_jobs_count_for_more)
{
	ck_ok(ledger_rate_add(ledger, "a", "b", 100000, 1000, &error));
	for (int i = 0; i < 5; i++)
		ck_ok(ledger_rate_add(ledger, "a", "b", 100000, 10000, &error));
	ck_assert_uint_ge(rate("a", "b"), 10000);
	ck_assert_uint_lt(rate("a", "b"), 10400);
}
END_TEST

/* As the first version wrote it: what that one lacks is added, and nothing lost. */
START_TEST(a_ledger_of_the_first_version_is_brought_up_to_date)
{
	g_autofree char *path = g_build_filename(folder, "ledger.db", NULL);
	struct ledger_job job = {.kind = (char *)"copy", .source = (char *)"/a"};
	sqlite3 *database;

	ck_ok(ledger_job_add(ledger, &job, &error));
	ledger_close(ledger);
	ck_assert_int_eq(sqlite3_open(path, &database), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(database,
				      "DROP TABLE maintenance; DROP TABLE rate;"
				      "PRAGMA user_version = 1",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(database);
	ledger = ledger_open(folder, &error);
	ck_ok(ledger != NULL);

	AUTO(ledger_job) kept = ledger_job_get(ledger, job.id, &error);

	ck_ok(kept != NULL);
	ck_assert_uint_eq(rate("a", "b"), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ledger_datastores");
	TCase *tests = tcase_create("ledger_datastores");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, maintenance_survives_the_process_and_keeps_its_beginning);
	tcase_add_test(tests, maintenance_that_ended_is_not_listed);
	tcase_add_test(tests, a_rate_is_that_of_its_pair);
	tcase_add_test(tests, newer_jobs_count_for_more);
	tcase_add_test(tests, a_ledger_of_the_first_version_is_brought_up_to_date);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
