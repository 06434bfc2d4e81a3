#include "blockmig/ledger/ledger_private.h"

#include "common/error.h"

GPtrArray *ledger_kept_list(struct ledger *ledger, GError **error)
{
	LEDGER_READ(ledger);

	return jobs_from_rows(
		ledger,
		ledger_query(ledger, error,
			     "SELECT " JOB_COLUMNS " FROM job WHERE result = ? AND EXISTS"
			     " (SELECT 1 FROM pass WHERE pass.job = job.id) ORDER BY id DESC",
			     "i", (gint64)JOB_ROLLED_BACK),
		error);
}

/* Inside a transaction: the job's passes but @except. */
static gboolean passes_forget(struct ledger *ledger, gint64 job, const char *except, GError **error)
{
	return ledger_run(ledger, error,
			  "DELETE FROM unit WHERE pass IN"
			  " (SELECT id FROM pass WHERE job = ? AND name != ?)",
			  "is", job, except) &&
	       ledger_run(ledger, error, "DELETE FROM pass WHERE job = ? AND name != ?", "is", job,
			  except);
}

gboolean ledger_kept_forget(struct ledger *ledger, gint64 job, GError **error)
{
	if (!ledger_begin(ledger, error))
		return FALSE;
	return ledger_end(ledger, passes_forget(ledger, job, "", error), error);
}

static gboolean take(struct ledger *ledger, gint64 from, gint64 to, const char *name, guint64 units,
		     GError **error)
{
	guint64 known_bytes, known_units;
	GError *cause = NULL;
	const gint64 pass = pass_read(ledger, from, name, &known_bytes, &known_units, &cause);

	if (cause) {
		g_propagate_error(error, cause);
		return FALSE;
	}
	if (!pass) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_NOT_FOUND,
			    "job %" G_GINT64_FORMAT " has no partial copy (any more)", from);
		return FALSE;
	}
	return passes_forget(ledger, from, name, error) &&
	       ledger_run(ledger, error, "UPDATE pass SET job = ? WHERE id = ?", "ii", to, pass) &&
	       pass_resize(ledger, pass, units, error);
}

gboolean ledger_kept_take(struct ledger *ledger, gint64 from, gint64 to, const char *name,
			  guint64 units, GError **error)
{
	if (!ledger_begin(ledger, error))
		return FALSE;
	return ledger_end(ledger, take(ledger, from, to, name, units, error), error);
}
