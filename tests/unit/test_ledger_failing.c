/*
 * Every statement of every call of the ledger fails once, when it is prepared and when it is
 * stepped: the call tells so, and the same call again finds nothing half done.
 *
 * sqlite3_step and the others here stand in front of the library's.
 */
#include "blockmig/ledger/ledger.h"
#include "common/error.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <dlfcn.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

enum fault { FAULT_STEP, FAULT_PREPARE, FAULTS };

static guint countdown[FAULTS]; /* to the one that fails; 0: none */
static gboolean struck;

static gboolean strikes(enum fault fault)
{
	if (!countdown[fault] || --countdown[fault] > 0)
		return FALSE;
	struck = TRUE;
	return TRUE;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int sqlite3_step(sqlite3_stmt *statement)
{
	return strikes(FAULT_STEP) ? SQLITE_IOERR : NEXT(sqlite3_step)(statement);
}

int sqlite3_prepare_v3(sqlite3 *database, const char *sql, int bytes, unsigned int flags,
		       sqlite3_stmt **statement, const char **tail)
{
	if (strikes(FAULT_PREPARE))
		return SQLITE_NOMEM;
	return NEXT(sqlite3_prepare_v3)(database, sql, bytes, flags, statement, tail);
}

/* ---- the calls --------------------------------------------------------------------------- */

static struct ledger *ledger;
static gint64 job_id, pass_id;

static struct ledger_job a_job(void)
{
	return (struct ledger_job){.kind = (char *)"migrate",
				   .domain_uuid = (char *)"uuid",
				   .domain_name = (char *)"vm",
				   .disk = (char *)"vda",
				   .source = (char *)"/a",
				   .destination = (char *)"/b",
				   .state = (char *)"{}"};
}

static gboolean job_add(GError **error)
{
	struct ledger_job job = a_job();

	return ledger_job_add(ledger, &job, error);
}

static gboolean job_get(GError **error)
{
	AUTO(ledger_job) job = ledger_job_get(ledger, job_id, error);

	return job != NULL;
}

static gboolean job_find(GError **error)
{
	AUTO(ledger_job) job = ledger_job_find(ledger, "uuid", "vda", error);

	return job != NULL;
}

static gboolean job_list(GError **error)
{
	g_autoptr(GPtrArray) jobs = ledger_job_list(ledger, TRUE, error);

	return jobs != NULL;
}

static gboolean job_save(GError **error)
{
	return ledger_job_save(ledger, job_id, "{}", error);
}

static gboolean job_end(GError **error)
{
	return ledger_job_end(ledger, job_id, JOB_DONE, "", error);
}

static gboolean job_note(GError **error)
{
	return ledger_job_note(ledger, job_id, "a word", error);
}

static gboolean phase_begin(GError **error)
{
	return ledger_phase_begin(ledger, job_id, "seed", FALSE, error);
}

static gboolean phase_end(GError **error)
{
	return ledger_phase_end(ledger, job_id, "seed", FALSE, "done", error);
}

static gboolean phase_list(GError **error)
{
	g_autoptr(GPtrArray) phases = ledger_phase_list(ledger, job_id, error);

	return phases != NULL;
}

static gboolean lock(GError **error)
{
	return ledger_lock(ledger, "job:1", job_id, error);
}

static gboolean unlock(GError **error)
{
	return ledger_unlock_job(ledger, job_id, error);
}

static gboolean pass_open(GError **error)
{
	return ledger_pass_open(ledger, job_id, "base", 1 << 20, 100, &pass_id, error);
}

static gboolean pass_open_another(GError **error)
{
	gint64 another;

	return ledger_pass_open(ledger, job_id, "round-1", 1 << 20, 10, &another, error);
}

/* Cuts a hole into the run of zeros. */
static gboolean units_put(GError **error)
{
	struct ledger_unit units[] = {
		{.index = 20, .count = 5, .state = UNIT_SENT},
		{.index = 30, .count = 1, .state = UNIT_PENDING},
	};

	return ledger_units_put(ledger, pass_id, units, G_N_ELEMENTS(units), error);
}

static gboolean see(const struct ledger_unit *unit, void *data)
{
	(void)unit;
	(void)data;
	return TRUE;
}

static gboolean units_each(GError **error)
{
	return ledger_units_each(ledger, pass_id, see, NULL, error);
}

static gboolean unit_get(GError **error)
{
	struct ledger_unit unit;

	return ledger_unit_get(ledger, pass_id, 50, &unit, error);
}

static gboolean pass_clear(GError **error)
{
	return ledger_pass_clear(ledger, pass_id, error);
}

static gboolean progress(GError **error)
{
	struct ledger_progress now;

	return ledger_job_progress(ledger, job_id, &now, error);
}

static gboolean (*const calls[])(GError **error) = {
	job_add,     job_get,	 job_find,   job_list,	 job_save, job_end,   job_note,
	phase_begin, phase_end,	 phase_list, lock,	 unlock,   pass_open, pass_open_another,
	units_put,   units_each, unit_get,   pass_clear, progress,
};

/* ---- the tests --------------------------------------------------------------------------- */

static void open_filled(void)
{
	g_autofree char *folder = temp_path("state");
	struct ledger_job job = a_job();
	struct ledger_unit zeros = {.count = 100, .state = UNIT_DONE, .is_zero = TRUE};
	g_autoptr(GError) error = NULL;

	ledger = ledger_open(folder, &error);
	ck_assert_msg(ledger != NULL, "%s", error ? error->message : "");
	ck_assert(ledger_job_add(ledger, &job, NULL));
	job_id = job.id;
	ck_assert(phase_begin(NULL) && pass_open(NULL));
	ck_assert(ledger_units_put(ledger, pass_id, &zeros, 1, NULL));
}

/* A ledger that has prepared nothing yet. */
static void reopen(void)
{
	g_autofree char *folder = g_strdup(ledger_folder(ledger));

	ledger_close(ledger);
	ledger = ledger_open(folder, NULL);
	ck_assert_ptr_nonnull(ledger);
}

/* FALSE: the call has no such statement. */
static gboolean fails_at(int call, enum fault fault, guint nth)
{
	g_autoptr(GError) error = NULL;

	reopen();
	struck = FALSE;
	countdown[fault] = nth;
	gboolean good = calls[call](&error);

	countdown[fault] = 0;
	if (!struck) {
		ck_assert_msg(good, "%s", error ? error->message : "");
		return FALSE;
	}
	ck_assert_msg(!good, "call %d: statement %u failed, and it said nothing", call, nth);
	ck_assert_msg(error_exit_status(error) == 1, "%s", error ? error->message : "no error");
	ck_assert(strstr(error->message, "ledger.db") != NULL);
	g_clear_error(&error);
	ck_assert_msg(calls[call](&error), "again: %s", error ? error->message : "");
	return TRUE;
}

START_TEST(a_statement_that_fails_is_told_and_leaves_nothing)
{
	int call = _i / FAULTS;
	guint nth = 1;

	temp_make();
	open_filled();
	while (fails_at(call, (enum fault)(_i % FAULTS), nth))
		nth++;
	ck_assert_uint_gt(nth, 1);
	ledger_close(ledger);
	temp_remove();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ledger failing");
	TCase *statements = tcase_create("statements");

	tcase_add_loop_test(statements, a_statement_that_fails_is_told_and_leaves_nothing, 0,
			    FAULTS * (int)G_N_ELEMENTS(calls));
	suite_add_tcase(suite, statements);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
