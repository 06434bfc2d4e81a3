#include "blockmig/ledger/ledger_private.h"

#include "common/error.h"

void ledger_job_free(struct ledger_job *job)
{
	g_free(job->kind);
	g_free(job->domain_uuid);
	g_free(job->domain_name);
	g_free(job->disk);
	g_free(job->source);
	g_free(job->destination);
	g_free(job->state);
	g_free(job->phase);
	g_free(job->message);
	g_free(job);
}

/* In the order of JOB_COLUMNS. */
static struct ledger_job *job_from_row(sqlite3_stmt *row)
{
	struct ledger_job *job = g_new0(struct ledger_job, 1);
	int column = 0;

	job->id = sqlite3_column_int64(row, column++);
	job->kind = ledger_text(row, column++);
	job->domain_uuid = ledger_text(row, column++);
	job->domain_name = ledger_text(row, column++);
	job->disk = ledger_text(row, column++);
	job->source = ledger_text(row, column++);
	job->destination = ledger_text(row, column++);
	job->state = ledger_text(row, column++);
	job->phase = ledger_text(row, column++);
	job->phase_ended = sqlite3_column_int(row, column++);
	job->undoing = sqlite3_column_int(row, column++);
	job->result = (enum job_result)sqlite3_column_int(row, column++);
	job->message = ledger_text(row, column++);
	job->created_s = sqlite3_column_int64(row, column++);
	job->updated_s = sqlite3_column_int64(row, column);
	return job;
}

gboolean ledger_job_add(struct ledger *ledger, struct ledger_job *job, GError **error)
{
	gboolean ok;

	job->created_s = job->updated_s = ledger_now_s();
	if (!ledger_begin(ledger, error))
		return FALSE;
	ok = ledger_run(
		ledger, error,
		"INSERT INTO job (id, kind, domain_uuid, domain_name, disk, source, destination,"
		" state, phase, phase_ended, undoing, result, message, created_s, updated_s)"
		" VALUES (NULLIF(?, 0), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		"issssssssiiisii", job->id, job->kind, job->domain_uuid, job->domain_name,
		job->disk, job->source, job->destination, job->state, job->phase,
		(gint64)job->phase_ended, (gint64)job->undoing, (gint64)job->result, job->message,
		job->created_s, job->updated_s);
	if (ok)
		job->id = sqlite3_last_insert_rowid(ledger->database);
	return ledger_end(ledger, ok, error);
}

struct ledger_job *ledger_job_get(struct ledger *ledger, gint64 id, GError **error)
{
	LEDGER_READ(ledger);
	sqlite3_stmt *row = ledger_query(ledger, error,
					 "SELECT " JOB_COLUMNS " FROM job WHERE id = ?", "i", id);
	struct ledger_job *job = NULL;
	GError *cause = NULL;

	if (!row)
		return NULL;
	if (ledger_next(ledger, row, &cause)) {
		job = job_from_row(row);
		sqlite3_reset(row);
	} else if (cause) {
		g_propagate_error(error, cause);
	} else {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_NOT_FOUND,
			    "job %" G_GINT64_FORMAT ": there is no such job in %s", id,
			    ledger->path);
	}
	return job;
}

GPtrArray *jobs_from_rows(struct ledger *ledger, sqlite3_stmt *row, GError **error)
{
	g_autoptr(GPtrArray) jobs = g_ptr_array_new_with_free_func((GDestroyNotify)ledger_job_free);
	GError *cause = NULL;

	if (!row)
		return NULL;
	while (ledger_next(ledger, row, &cause))
		g_ptr_array_add(jobs, job_from_row(row));
	if (cause) {
		g_propagate_error(error, cause);
		return NULL;
	}
	return g_steal_pointer(&jobs);
}

GPtrArray *ledger_job_list(struct ledger *ledger, gboolean only_open, GError **error)
{
	LEDGER_READ(ledger);

	return jobs_from_rows(ledger,
			      ledger_query(ledger, error,
					   "SELECT " JOB_COLUMNS
					   " FROM job WHERE result = ? OR NOT ? ORDER BY id",
					   "ii", (gint64)JOB_OPEN, (gint64)only_open),
			      error);
}

struct ledger_job *ledger_job_find(struct ledger *ledger, const char *domain_uuid, const char *disk,
				   GError **error)
{
	LEDGER_READ(ledger);
	sqlite3_stmt *row =
		ledger_query(ledger, error,
			     "SELECT " JOB_COLUMNS " FROM job WHERE domain_uuid = ? AND disk = ?"
			     " AND result = ? ORDER BY id DESC",
			     "ssi", domain_uuid, disk, (gint64)JOB_OPEN);
	struct ledger_job *job = NULL;

	if (row && ledger_next(ledger, row, error)) {
		job = job_from_row(row);
		sqlite3_reset(row);
	}
	return job;
}

/* Ends the transaction; an update that met no job is an error. */
static gboolean end_update(struct ledger *ledger, gint64 id, gboolean ok, GError **error)
{
	if (ok && sqlite3_changes(ledger->database) == 0) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_NOT_FOUND,
			    "job %" G_GINT64_FORMAT ": there is no such job in %s", id,
			    ledger->path);
		ok = FALSE;
	}
	return ledger_end(ledger, ok, error);
}

gboolean ledger_job_save(struct ledger *ledger, gint64 id, const char *state, GError **error)
{
	if (!ledger_begin(ledger, error))
		return FALSE;
	return end_update(ledger, id,
			  ledger_run(ledger, error,
				     "UPDATE job SET state = ?, updated_s = ? WHERE id = ?", "sii",
				     state, ledger_now_s(), id),
			  error);
}

gboolean ledger_job_end(struct ledger *ledger, gint64 id, enum job_result result,
			const char *message, GError **error)
{
	if (!ledger_begin(ledger, error))
		return FALSE;
	return end_update(ledger, id,
			  ledger_run(ledger, error, "DELETE FROM lock WHERE job = ?", "i", id) &&
				  ledger_run(ledger, error,
					     "UPDATE job SET result = ?, message = ?, updated_s = ?"
					     " WHERE id = ?",
					     "isii", (gint64)result, message, ledger_now_s(), id),
			  error);
}

gboolean ledger_job_note(struct ledger *ledger, gint64 id, const char *message, GError **error)
{
	if (!ledger_begin(ledger, error))
		return FALSE;
	return end_update(ledger, id,
			  ledger_run(ledger, error,
				     "UPDATE job SET message = ?, updated_s = ? WHERE id = ?",
				     "sii", message, ledger_now_s(), id),
			  error);
}
