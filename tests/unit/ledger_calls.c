#include "tests/unit/ledger_calls.h"

#include "common/error.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <sqlite3.h>
#include <string.h>

/* ---- the calls --------------------------------------------------------------------------- */

struct ledger *ledger;

static gint64 job_id, other_id, pass_id;

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

static gboolean phase_end_unknown(GError **error)
{
	return ledger_phase_end(ledger, job_id, "seed", FALSE, "no route", error);
}

static gboolean lock(GError **error)
{
	return ledger_lock(ledger, "job:1", job_id, error);
}

static gboolean unlock(GError **error)
{
	return ledger_unlock_job(ledger, job_id, error);
}

static gboolean lock_check(GError **error)
{
	return ledger_lock_check(ledger, "image:dead", error);
}

static gboolean locks_stale(GError **error)
{
	g_autoptr(GPtrArray) keys = ledger_locks_stale(ledger, FALSE, error);

	return keys != NULL;
}

static gboolean locks_remove(GError **error)
{
	g_autoptr(GPtrArray) keys = ledger_locks_stale(ledger, TRUE, error);

	return keys != NULL;
}

static gboolean pass_open(GError **error)
{
	return ledger_pass_open(ledger, job_id, "base", 1 << 20, 100, &pass_id, error);
}

static gboolean pass_find(GError **error)
{
	gint64 found;

	return ledger_pass_find(ledger, job_id, "base", &found, error);
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

/* From the middle of the run to behind its end, and all of it. */
static gboolean units_put_over(GError **error)
{
	struct ledger_unit units[] = {
		{.index = 90, .count = 20, .state = UNIT_SENT},
		{.index = 0, .count = 200, .state = UNIT_DONE, .is_zero = TRUE},
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

static gboolean pass_doubt(GError **error)
{
	return ledger_pass_doubt(ledger, pass_id, error);
}

static gboolean pass_resize(GError **error)
{
	return ledger_pass_resize(ledger, pass_id, 60, error);
}

static gboolean kept_list(GError **error)
{
	g_autoptr(GPtrArray) jobs = ledger_kept_list(ledger, error);

	return jobs != NULL;
}

static gboolean kept_forget(GError **error)
{
	return ledger_kept_forget(ledger, job_id, error);
}

static gboolean kept_take(GError **error)
{
	return ledger_kept_take(ledger, job_id, other_id, "base", 60, error);
}

static gboolean maintenance_begin(GError **error)
{
	return ledger_maintenance_begin(ledger, "file:///b/", "b", error);
}

static gboolean maintenance_end(GError **error)
{
	return ledger_maintenance_end(ledger, "file:///a/", error);
}

static gboolean maintenance_list(GError **error)
{
	g_autoptr(GPtrArray) all = ledger_maintenance_list(ledger, error);

	return all != NULL;
}

static gboolean rate_add(GError **error)
{
	return ledger_rate_add(ledger, "a", "b", 1000, 1000, error);
}

static gboolean rate_get(GError **error)
{
	guint64 rate;

	return ledger_rate_get(ledger, "a", "b", &rate, error);
}

static gboolean progress(GError **error)
{
	struct ledger_progress now;

	return ledger_job_progress(ledger, job_id, &now, error);
}

static char *folder;

gboolean ledger_calls_reopen(GError **error)
{
	g_clear_pointer(&ledger, ledger_close);
	ledger = ledger_open(folder, error);
	return ledger != NULL;
}

gboolean (*const ledger_calls[])(GError **error) = {
	job_add,	job_get,	   job_find,	      job_list,
	job_save,	job_end,	   job_note,	      phase_begin,
	phase_end,	phase_end_unknown, phase_list,	      lock,
	unlock,		lock_check,	   locks_stale,	      locks_remove,
	pass_open,	pass_find,	   pass_open_another, units_put,
	units_put_over, units_each,	   unit_get,	      pass_clear,
	pass_doubt,	pass_resize,	   kept_list,	      kept_forget,
	kept_take,	maintenance_begin, maintenance_end,   maintenance_list,
	rate_add,	rate_get,	   progress,	      ledger_calls_reopen,
};

/* ---- what is in the ledger ----------------------------------------------------------------- */

static sqlite3 *database_open(void)
{
	g_autofree char *path = g_build_filename(folder, "ledger.db", NULL);
	sqlite3 *database;

	ck_assert_int_eq(sqlite3_open(path, &database), SQLITE_OK);
	return database;
}

static int add_row(void *data, int columns, char **values, char **names)
{
	(void)names;
	for (int i = 0; i < columns; i++)
		g_string_append_printf(data, "%s ", values[i] ? values[i] : "-");
	g_string_append_c(data, '\n');
	return 0;
}

char *ledger_calls_contents(void)
{
	sqlite3 *database = database_open();
	GString *text = g_string_new(NULL);

	ck_assert_int_eq(
		sqlite3_exec(database,
			     "SELECT id, kind, phase, phase_ended, undoing, state, result, message"
			     " FROM job; SELECT job, name, undo, outcome FROM phase;"
			     "SELECT key, job FROM lock; SELECT * FROM pass;"
			     "SELECT pass, first, count, state, hex(digest) FROM unit;"
			     "SELECT place, name FROM maintenance; SELECT * FROM rate",
			     add_row, text, NULL),
		SQLITE_OK);
	sqlite3_close(database);
	return g_string_free(text, FALSE);
}

void ledger_calls_open(void)
{
	struct ledger_job job = a_job(), other = a_job();

	temp_make();
	folder = temp_path("state");
	ck_assert(ledger_calls_reopen(NULL));
	ck_assert(ledger_job_add(ledger, &job, NULL) && ledger_job_add(ledger, &other, NULL));
	job_id = job.id;
	other_id = other.id;
	ck_assert(pass_open(NULL));
}

void ledger_calls_fill(void)
{
	g_autofree char *sql = g_strdup_printf(
		"BEGIN;"
		"UPDATE job SET phase = '', phase_ended = 0, undoing = 0, state = '{}', message = "
		"'',"
		" result = (id = %d) * %d; DELETE FROM job WHERE id > %d;"
		"DELETE FROM phase; DELETE FROM lock; DELETE FROM pass; DELETE FROM unit;"
		"DELETE FROM maintenance; DELETE FROM rate; DELETE FROM sqlite_sequence;"
		"INSERT INTO phase VALUES (1, %d, 'seed', 0, 1, 0, '');"
		"INSERT INTO lock VALUES ('image:dead', %d, 1, 1, 'an-earlier-boot', 1);"
		"INSERT INTO pass VALUES (%d, %d, 'base', 1 << 20, 100);"
		"INSERT INTO unit VALUES (%d, 0, 100, %d, 0, NULL);"
		"INSERT INTO maintenance VALUES ('file:///a/', 'a', 1);"
		"INSERT INTO rate VALUES ('a', 'b', 1, 1); COMMIT",
		(int)other_id, JOB_ROLLED_BACK, (int)other_id, (int)job_id, (int)job_id,
		(int)pass_id, (int)job_id, (int)pass_id, UNIT_DONE);
	sqlite3 *database = database_open();

	ck_assert_msg(sqlite3_exec(database, sql, NULL, NULL, NULL) == SQLITE_OK, "%s",
		      sqlite3_errmsg(database));
	sqlite3_close(database);
	ck_assert(ledger_calls_reopen(NULL));
}

void ledger_calls_close(void)
{
	g_clear_pointer(&ledger, ledger_close);
	g_free(folder);
	temp_remove();
}

void ledger_calls_assert_told(int call, const GError *error)
{
	ck_assert_msg(error_exit_status(error) == 1, "call %d: %s", call,
		      error ? error->message : "no error");
	ck_assert_msg(strstr(error->message, "ledger.db") != NULL, "%s", error->message);
}

const int ledger_calls_count = (int)G_N_ELEMENTS(ledger_calls);
