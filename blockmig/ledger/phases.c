#include "blockmig/ledger/ledger_private.h"

void ledger_phase_free(struct ledger_phase *phase)
{
	g_free(phase->name);
	g_free(phase->outcome);
	g_free(phase);
}

gboolean ledger_phase_begin(struct ledger *ledger, gint64 job, const char *phase, gboolean undo,
			    GError **error)
{
	gboolean ok;

	if (!ledger_begin(ledger, error))
		return FALSE;
	ok = ledger_run(ledger, error,
			"INSERT INTO phase (job, name, undo, begun_us, ended_us, outcome)"
			" VALUES (?, ?, ?, ?, 0, '')",
			"isii", job, phase, (gint64)undo, g_get_real_time()) &&
	     ledger_run(ledger, error,
			"UPDATE job SET phase = ?, phase_ended = 0, undoing = ?, updated_s = ?"
			" WHERE id = ?",
			"siii", phase, (gint64)undo, ledger_now_s(), job);
	return ledger_end(ledger, ok, error);
}

/*
 * A phase that failed stays open in the job's row: whoever resumes has to ask the
 * world where it stands, and must not take it for done.
 */
gboolean ledger_phase_end(struct ledger *ledger, gint64 job, const char *phase, gboolean undo,
			  const char *outcome, GError **error)
{
	const gboolean done = g_strcmp0(outcome, "done") == 0;
	gboolean ok;

	if (!ledger_begin(ledger, error))
		return FALSE;
	ok = ledger_run(ledger, error,
			"UPDATE phase SET ended_us = ?, outcome = ? WHERE id ="
			" (SELECT max(id) FROM phase WHERE job = ? AND name = ? AND undo = ?"
			" AND ended_us = 0)",
			"isisi", g_get_real_time(), outcome, job, phase, (gint64)undo) &&
	     ledger_run(ledger, error,
			"UPDATE job SET phase_ended = ?, updated_s = ?"
			" WHERE id = ? AND phase = ? AND undoing = ?",
			"iiisi", (gint64)done, ledger_now_s(), job, phase, (gint64)undo);
	return ledger_end(ledger, ok, error);
}

GPtrArray *ledger_phase_list(struct ledger *ledger, gint64 job, GError **error)
{
	LEDGER_READ(ledger);
	g_autoptr(GPtrArray) phases =
		g_ptr_array_new_with_free_func((GDestroyNotify)ledger_phase_free);
	GError *cause = NULL;
	sqlite3_stmt *row = ledger_query(ledger, &cause,
					 "SELECT name, undo, begun_us, ended_us, outcome"
					 " FROM phase WHERE job = ? ORDER BY id",
					 "i", job);

	while (row && ledger_next(ledger, row, &cause)) {
		struct ledger_phase *phase = g_new0(struct ledger_phase, 1);

		phase->name = ledger_text(row, 0);
		phase->undo = sqlite3_column_int(row, 1);
		phase->begun_us = sqlite3_column_int64(row, 2);
		phase->ended_us = sqlite3_column_int64(row, 3);
		phase->outcome = ledger_text(row, 4);
		g_ptr_array_add(phases, phase);
	}
	if (cause) {
		g_propagate_error(error, cause);
		return NULL;
	}
	return g_steal_pointer(&phases);
}
