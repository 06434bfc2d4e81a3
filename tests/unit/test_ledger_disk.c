/*
 * A disk that fails under the ledger: each access of each call to SQLite's files fails, once
 * or from then on.  The call tells so, and the ledger that is opened afterwards has all of it
 * or nothing.
 */
#include "tests/unit/ledger_calls.h"
#include "tests/unit/sqlite_files.h"

#include <check.h>
#include <sqlite3.h>
#include <stdlib.h>

static gboolean struck;
static guint accesses; /* to the one that fails; 0: none */
static gboolean lasting;

static int ask_disk(enum sqlite_file_access access)
{
	static const int codes[] = {SQLITE_IOERR_READ, SQLITE_FULL, SQLITE_IOERR_FSYNC};

	if (!accesses || --accesses > 0)
		return SQLITE_OK;
	accesses = lasting ? 1 : 0;
	struck = TRUE;
	return codes[access];
}

static char *contents_after(int call)
{
	ledger_calls_fill();
	ck_assert(ledger_calls[call](NULL));
	return ledger_calls_contents();
}

/*
 * FALSE: the call has no such access.  What did not reach the log is not there; what did, and
 * could not be made sure of, may be: the caller was told that it does not know.
 */
static gboolean disk_fails_at(int call, guint nth, const char *whole)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *before = NULL, *after = NULL;

	ledger_calls_fill();
	before = ledger_calls_contents();
	struck = FALSE;
	accesses = nth;
	gboolean good = ledger_calls[call](&error);

	if (!good)
		ledger_calls_assert_told(call, error);
	g_clear_error(&error);
	g_clear_pointer(&ledger, ledger_close); /* the disk still fails where it lasts */
	accesses = 0;
	ck_assert_msg(ledger_calls_reopen(&error), "%s", error ? error->message : "");
	after = ledger_calls_contents();
	ck_assert_msg(g_str_equal(after, whole) || (!good && g_str_equal(after, before)),
		      "call %d, access %u, good %d: %s", call, nth, good, after);
	ck_assert_msg(!g_str_equal(after, before) || ledger_calls[call](&error), "again: %s",
		      error ? error->message : "");
	return struck;
}

START_TEST(a_disk_that_fails_is_told_and_leaves_all_or_nothing)
{
	int call = _i / 2;
	guint nth = 1;

	sqlite_files_watch(ask_disk);
	ledger_calls_open();
	g_autofree char *whole = contents_after(call);

	lasting = _i % 2;
	while (disk_fails_at(call, nth, whole))
		nth++;
	ck_assert_uint_gt(nth, 1);
	ledger_calls_close();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ledger disk");
	TCase *tests = tcase_create("ledger");

	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, a_disk_that_fails_is_told_and_leaves_all_or_nothing, 0,
			    2 * ledger_calls_count);
	suite_add_tcase(suite, tests);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
