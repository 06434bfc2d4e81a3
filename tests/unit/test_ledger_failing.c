/*
 * Every statement of every call of the ledger fails once, when it is prepared and when it is
 * stepped: the call tells so, nothing of it is in the ledger, and the same call again
 * succeeds.
 *
 * sqlite3_step and the others here stand in front of the library's.
 */
#include "tests/unit/ledger_calls.h"

#include <check.h>
#include <dlfcn.h>
#include <sqlite3.h>
#include <stdlib.h>

enum fault { FAULT_STEP, FAULT_PREPARE, FAULTS };

static guint countdown[FAULTS]; /* to the one that fails; 0: none */
static gboolean struck, in_exec;

static gboolean strikes(enum fault fault)
{
	if (!countdown[fault] || in_exec || --countdown[fault] > 0)
		return FALSE;
	struck = TRUE;
	return TRUE;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int sqlite3_step(sqlite3_stmt *statement)
{
	return strikes(FAULT_STEP) ? SQLITE_IOERR : NEXT(sqlite3_step)(statement);
}

/* It looks at its statements' own state, not at what their steps return; and calls itself. */
int sqlite3_exec(sqlite3 *database, const char *sql, int (*row)(void *, int, char **, char **),
		 void *data, char **words)
{
	const gboolean was_in_exec = in_exec;

	in_exec = TRUE;
	int code = NEXT(sqlite3_exec)(database, sql, row, data, words);

	in_exec = was_in_exec;
	return code;
}

int sqlite3_prepare_v3(sqlite3 *database, const char *sql, int bytes, unsigned int flags,
		       sqlite3_stmt **statement, const char **tail)
{
	if (strikes(FAULT_PREPARE))
		return SQLITE_NOMEM;
	return NEXT(sqlite3_prepare_v3)(database, sql, bytes, flags, statement, tail);
}

/* FALSE: the call has no such statement. */
static gboolean fails_at(int call, enum fault fault, guint nth)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *before = NULL, *after = NULL;

	ledger_calls_fill();
	before = ledger_calls_contents();
	struck = FALSE;
	countdown[fault] = nth;
	gboolean good = ledger_calls[call](&error);

	countdown[fault] = 0;
	if (!struck) {
		ck_assert_msg(good, "%s", error ? error->message : "");
		return FALSE;
	}
	ck_assert_msg(!good, "call %d: statement %u failed, and it said nothing", call, nth);
	ledger_calls_assert_told(call, error);
	g_clear_error(&error);
	after = ledger_calls_contents();
	ck_assert_str_eq(before, after);
	ck_assert_msg(ledger_calls[call](&error), "again: %s", error ? error->message : "");
	return TRUE;
}

START_TEST(a_statement_that_fails_is_told_and_leaves_nothing)
{
	int call = _i / FAULTS;
	guint nth = 1;

	ledger_calls_open();
	while (fails_at(call, (enum fault)(_i % FAULTS), nth))
		nth++;
	ck_assert_uint_gt(nth, 1);
	ledger_calls_close();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ledger failing");
	TCase *tests = tcase_create("ledger");

	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, a_statement_that_fails_is_told_and_leaves_nothing, 0,
			    FAULTS * ledger_calls_count);
	suite_add_tcase(suite, tests);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
