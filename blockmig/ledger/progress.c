#include "blockmig/ledger/ledger_private.h"

gboolean ledger_job_progress(struct ledger *ledger, gint64 job, struct ledger_progress *progress,
			     GError **error)
{
	LEDGER_READ(ledger);
	GError *cause = NULL;
	sqlite3_stmt *row = ledger_query(ledger, &cause,
					 "SELECT units,"
					 " (SELECT coalesce(sum(count), 0) FROM unit WHERE "
					 "unit.pass = pass.id AND state >= ?),"
					 " (SELECT coalesce(sum(count), 0) FROM unit WHERE "
					 "unit.pass = pass.id AND state >= ?)"
					 " FROM pass WHERE job = ? ORDER BY id DESC LIMIT 1",
					 "iii", (gint64)UNIT_DONE, (gint64)UNIT_PROVEN, job);

	*progress = (struct ledger_progress){0};
	if (row && ledger_next(ledger, row, &cause)) {
		progress->units_total = (guint64)sqlite3_column_int64(row, 0);
		progress->units_done = (guint64)sqlite3_column_int64(row, 1);
		progress->units_proven = (guint64)sqlite3_column_int64(row, 2);
		sqlite3_reset(row);
	}
	if (!cause)
		return TRUE;
	g_propagate_error(error, cause);
	return FALSE;
}
