#include "blockmig/ledger/ledger_private.h"

void ledger_maintenance_free(struct ledger_maintenance *maintenance)
{
	g_free(maintenance->place);
	g_free(maintenance->name);
	g_free(maintenance);
}

gboolean ledger_maintenance_begin(struct ledger *ledger, const char *place, const char *name,
				  GError **error)
{
	if (!ledger_begin(ledger, error))
		return FALSE;
	return ledger_end(ledger,
			  ledger_run(ledger, error,
				     "INSERT OR IGNORE INTO maintenance (place, name, since_s)"
				     " VALUES (?, ?, ?)",
				     "ssi", place, name, ledger_now_s()),
			  error);
}

gboolean ledger_maintenance_end(struct ledger *ledger, const char *place, GError **error)
{
	if (!ledger_begin(ledger, error))
		return FALSE;
	return ledger_end(
		ledger,
		ledger_run(ledger, error, "DELETE FROM maintenance WHERE place = ?", "s", place),
		error);
}

GPtrArray *ledger_maintenance_list(struct ledger *ledger, GError **error)
{
	LEDGER_READ(ledger);
	g_autoptr(GPtrArray) all =
		g_ptr_array_new_with_free_func((GDestroyNotify)ledger_maintenance_free);
	GError *cause = NULL;
	sqlite3_stmt *row = ledger_query(
		ledger, &cause, "SELECT place, name, since_s FROM maintenance ORDER BY place", "");

	while (row && ledger_next(ledger, row, &cause)) {
		struct ledger_maintenance *one = g_new0(struct ledger_maintenance, 1);

		one->place = ledger_text(row, 0);
		one->name = ledger_text(row, 1);
		one->since_s = sqlite3_column_int64(row, 2);
		g_ptr_array_add(all, one);
	}
	if (cause) {
		g_propagate_error(error, cause);
		return NULL;
	}
	return g_steal_pointer(&all);
}

/* What was measured before counts half, so that a network that was changed is soon known. */
gboolean ledger_rate_add(struct ledger *ledger, const char *source, const char *destination,
			 guint64 bytes, guint64 milliseconds, GError **error)
{
	if (!ledger_begin(ledger, error))
		return FALSE;
	return ledger_end(ledger,
			  ledger_run(ledger, error,
				     "INSERT INTO rate (source, destination, bytes, milliseconds)"
				     " VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
				     " bytes = bytes / 2 + excluded.bytes,"
				     " milliseconds = milliseconds / 2 + excluded.milliseconds",
				     "ssii", source, destination, (gint64)bytes,
				     (gint64)milliseconds),
			  error);
}

gboolean ledger_rate_get(struct ledger *ledger, const char *source, const char *destination,
			 guint64 *bytes_per_second, GError **error)
{
	LEDGER_READ(ledger);
	GError *cause = NULL;
	sqlite3_stmt *row = ledger_query(ledger, &cause,
					 "SELECT bytes * 1000 / max(milliseconds, 1) FROM rate"
					 " WHERE source = ? AND destination = ?",
					 "ss", source, destination);

	*bytes_per_second = 0;
	if (row && ledger_next(ledger, row, &cause)) {
		*bytes_per_second = (guint64)sqlite3_column_int64(row, 0);
		sqlite3_reset(row);
	}
	if (!cause)
		return TRUE;
	g_propagate_error(error, cause);
	return FALSE;
}
