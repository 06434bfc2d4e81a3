/* What is malformed is refused in words, and never taken for something good. */
#include "blockmig/ledger/ledger.h"
#include "blockmig/move/job.h"
#include "blockmig/vm/datastore.h"
#include "common/error.h"
#include "tests/unit/temp.h"
#include "transports/url.h"

#include <check.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

enum { PASS = 1 };

static void assert_refused(const GError *error, enum blockmig_error code, const char *words)
{
	ck_assert_ptr_nonnull(error);
	ck_assert_msg(error_is(error, code), "%s", error->message);
	ck_assert_msg(strstr(error->message, words) != NULL, "%s", error->message);
}

/* ---- the ledger's rows ------------------------------------------------------------------- */

static const char *const damaged_rows[] = {
	"0, 1, 2, 0, x''", /* would read as zeros */
	"0, 1, 2, 0, x'00'",
	"0, 1, 3, 0, zeroblob(31)",
	"0, 1, 3, 0, zeroblob(33)",
	"0, 1, 2, 0, 'thirty-two characters of a text!'",
	"0, 1, 1, 0, zeroblob(32)",
	"0, 2, 2, 0, zeroblob(32)",
	"0, 1, 0, 0, NULL",
	"0, 1, 4, 0, NULL",
	"0, 1, -1, 0, NULL",
	"0, 0, 2, 0, NULL",
	"0, -1, 2, 0, NULL",
	"-1, 9, 2, 0, NULL",
	"0, 9223372036854775807, 2, -1, NULL",
	"0, 1, 2, 'x', NULL",
	"1, 9223372036854775807, 2, 0, NULL",
};

static struct ledger *ledger_with(const char *row)
{
	g_autofree char *folder = temp_path("ledger");
	g_autofree char *path = g_build_filename(folder, "ledger.db", NULL);
	g_autofree char *sql =
		g_strdup_printf("DELETE FROM unit; INSERT INTO unit VALUES (%d, %s)", PASS, row);
	struct ledger *ledger = ledger_open(folder, NULL);
	sqlite3 *database = NULL;

	ck_assert_ptr_nonnull(ledger);
	ck_assert_int_eq(sqlite3_open(path, &database), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(database);
	return ledger;
}

static gboolean count_row(const struct ledger_unit *unit, void *data)
{
	(void)unit;
	++*(guint *)data;
	return TRUE;
}

START_TEST(a_damaged_row_is_no_chunk)
{
	AUTO(ledger) ledger = ledger_with(damaged_rows[_i]);
	g_autoptr(GError) error = NULL;
	struct ledger_unit unit;
	guint rows = 0;

	ck_assert(!ledger_units_each(ledger, PASS, count_row, &rows, &error));
	ck_assert_uint_eq(rows, 0);
	assert_refused(error, BLOCKMIG_ERROR_PERMANENT, "is damaged");
	g_clear_error(&error);
	ck_assert(!ledger_unit_get(ledger, PASS, 1, &unit, &error));
	assert_refused(error, BLOCKMIG_ERROR_PERMANENT, "is damaged");
}
END_TEST

START_TEST(a_sound_row_is_read)
{
	AUTO(ledger) ledger = ledger_with("0, 1, 3, 512, zeroblob(32)");
	struct ledger_unit unit;

	ck_assert(ledger_unit_get(ledger, PASS, 0, &unit, NULL));
	ck_assert_int_eq(unit.state, UNIT_PROVEN);
	ck_assert(!unit.is_zero);
	ck_assert_uint_eq(unit.data_bytes, 512);
}
END_TEST

/* ---- the job's document ---------------------------------------------------------------------- */

START_TEST(an_overlay_without_a_path_is_refused)
{
	g_autoptr(GError) error = NULL;

	ck_assert_ptr_null(job_from_json("{\"overlays\":[{\"copied\":true}]}", &error));
	assert_refused(error, BLOCKMIG_ERROR_PERMANENT, "overlay without a path");
}
END_TEST

START_TEST(a_job_without_both_ends_is_refused)
{
	g_autoptr(GError) error = NULL;

	ck_assert_ptr_null(job_from_json("{\"source_url\":\"/a\",\"destination_url\":\"/b\","
					 "\"source\":{\"source\":\"{\\\"type\\\":\\\"file\\\"}\"},"
					 "\"destination\":null}",
					 &error));
	assert_refused(error, BLOCKMIG_ERROR_PERMANENT, "source or its destination");
}
END_TEST

/* ---- the configuration --------------------------------------------------------------- */

START_TEST(a_value_that_cannot_be_decoded_is_refused)
{
	static const char *const texts[] = {
		"[blockmig]\nscratch=/a\\q\n",
		"[blockmig]\nbwlimit=\\q\n",
		"[blockmig]\nworkers=\xff\n",
		"[datastore a]\npath=/a\nchap-file=/\\q\n",
	};
	g_autofree char *path = temp_path("blockmig.conf");
	g_autoptr(GError) error = NULL;

	ck_assert(g_file_set_contents(path, texts[_i], -1, NULL));
	ck_assert_ptr_null(config_load(path, &error));
	assert_refused(error, BLOCKMIG_ERROR_USAGE, "not UTF-8");
}
END_TEST

/* ---- URLs ---------------------------------------------------------------------------- */

START_TEST(brackets_hold_an_address_with_colons)
{
	g_autoptr(GError) error = NULL;

	ck_assert_ptr_null(url_parse("nfs://[fe80%251]/vol/disk", &error));
	assert_refused(error, BLOCKMIG_ERROR_USAGE, "no valid host");
}
END_TEST

/* They would be lost in the job's document. */
START_TEST(names_that_are_not_utf8_are_refused)
{
	static const char *const texts[] = {"/images/\xff.img", "file:///images/%ff.img",
					    "nfs://filer/vol/%e4.img", "iscsi://host/iqn.\xff/1",
					    "nbd+unix:///?socket=/run/%ff"};
	g_autoptr(GError) error = NULL;

	ck_assert_ptr_null(url_parse(texts[_i], &error));
	assert_refused(error, BLOCKMIG_ERROR_USAGE, "not UTF-8");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("malformed");
	TCase *tests = tcase_create("malformed");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_add_loop_test(tests, a_damaged_row_is_no_chunk, 0, (int)G_N_ELEMENTS(damaged_rows));
	tcase_add_test(tests, a_sound_row_is_read);
	tcase_add_test(tests, an_overlay_without_a_path_is_refused);
	tcase_add_test(tests, a_job_without_both_ends_is_refused);
	tcase_add_loop_test(tests, a_value_that_cannot_be_decoded_is_refused, 0, 4);
	tcase_add_loop_test(tests, names_that_are_not_utf8_are_refused, 0, 5);
	tcase_add_test(tests, brackets_hold_an_address_with_colons);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
