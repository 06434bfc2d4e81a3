/*
 * A unit that is found different throws doubt on all that was proven before: in the map, and
 * in the ledger.
 */
#include "common/units.h"
#include "tests/unit/copying.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <sqlite3.h>
#include <stdlib.h>

static gint closes_slowly; /* atomic: the next one does */

static void close_slowly(struct handle *handle)
{
	if (g_atomic_int_compare_and_exchange(&closes_slowly, TRUE, FALSE))
		g_usleep(G_USEC_PER_SEC / 5);
	memory_close(handle);
}

const struct transport transport_nbd =
	MEMORY_TRANSPORT_WITH(close_slowly, memory_pwrite, memory_flush, memory_extents);

static struct copying copying;

/*
 * The first read-back of every fourth unit; whoever finds it closes his handle before he tells
 * the ledger, and takes his time.
 */
static gboolean flip_once(const struct memory_event *event, void *data, GError **error)
{
	guint8 *flipped = data;
	const guint64 unit = event->offset / MiB;

	(void)error;
	if (event->op == MEMORY_READ && event->mode == HANDLE_READ && unit % 4 == 3 &&
	    !flipped[unit]) {
		flipped[unit] = TRUE;
		event->buffer[0] ^= 1;
		g_atomic_int_set(&closes_slowly, TRUE);
	}
	return TRUE;
}

START_TEST(what_is_proven_is_so_in_the_ledger_whatever_was_doubted_meanwhile)
{
	guint8 flipped[32] = {FALSE};

	copying_begin_dense(&copying, 32 * MiB);
	copying.destination->hook = flip_once;
	copying.destination->hook_data = flipped;
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.mismatches, 8);
	for (guint64 unit = 0; unit < 32; unit++)
		ck_assert_int_eq(copying_state(&copying, unit), UNIT_PROVEN);
	copying_end(&copying);
}
END_TEST

/* Each row that was proven and makes room for another one is remembered. */
static void note_rows_taken_back(sqlite3 *database)
{
	g_autofree char *sql =
		g_strdup_printf("CREATE TABLE taken_back (first);"
				"CREATE TRIGGER note BEFORE DELETE ON unit WHEN old.state = %d "
				"BEGIN INSERT INTO taken_back VALUES (old.first); END",
				UNIT_PROVEN);

	ck_assert_int_eq(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
}

static int count_row(void *data, int columns, char **values, char **names)
{
	(void)columns;
	(void)names;
	*(int *)data = atoi(values[0]);
	return 0;
}

/* A run may die at any moment, and the next one believes what the ledger has. */
START_TEST(the_ledger_never_has_for_proven_what_is_doubted)
{
	guint8 flipped[32] = {FALSE};
	sqlite3 *database;
	int count = -1;

	copying_begin_dense(&copying, 32 * MiB);
	g_autofree char *path = g_build_filename(copying.folder, "ledger.db", NULL);

	ck_assert_int_eq(sqlite3_open(path, &database), SQLITE_OK);
	note_rows_taken_back(database);
	copying.destination->hook = flip_once;
	copying.destination->hook_data = flipped;
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.mismatches, 8);
	ck_assert_int_eq(
		sqlite3_exec(database, "SELECT count(*) FROM taken_back", count_row, &count, NULL),
		SQLITE_OK);
	ck_assert_int_eq(count, 0);
	sqlite3_close(database);
	copying_end(&copying);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("engine-doubts");
	TCase *tests = tcase_create("doubts");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(
		tests, what_is_proven_is_so_in_the_ledger_whatever_was_doubted_meanwhile, 0, 4);
	tcase_add_loop_test(tests, the_ledger_never_has_for_proven_what_is_doubted, 0, 4);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
