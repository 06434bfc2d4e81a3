#include "blockmig/ledger/ledger_private.h"

#include "common/error.h"
#include "common/units.h"

#include <string.h>

#define UNIT_COLUMNS "first, count, state, data_bytes, digest"

gint64 pass_read(struct ledger *ledger, gint64 job, const char *name, guint64 *unit_bytes,
		 guint64 *units, GError **error)
{
	sqlite3_stmt *row = ledger_query(
		ledger, error, "SELECT id, unit_bytes, units FROM pass WHERE job = ? AND name = ?",
		"is", job, name);
	gint64 id;

	if (!row || !ledger_next(ledger, row, error))
		return 0;
	id = sqlite3_column_int64(row, 0);
	*unit_bytes = (guint64)sqlite3_column_int64(row, 1);
	*units = (guint64)sqlite3_column_int64(row, 2);
	sqlite3_reset(row);
	return id;
}

static gboolean pass_add(struct ledger *ledger, gint64 job, const char *name, guint64 unit_bytes,
			 guint64 units, gint64 *id, GError **error)
{
	if (!ledger_run(ledger, error,
			"INSERT INTO pass (job, name, unit_bytes, units) VALUES (?, ?, ?, ?)",
			"isii", job, name, (gint64)unit_bytes, (gint64)units))
		return FALSE;
	*id = sqlite3_last_insert_rowid(ledger->database);
	return TRUE;
}

static gboolean refuse_chunk_size(gint64 job, const char *name, guint64 known_bytes,
				  guint64 asked_bytes, GError **error)
{
	g_autofree char *known = units_format_size(known_bytes);
	g_autofree char *asked = units_format_size(asked_bytes);

	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "job %" G_GINT64_FORMAT
		    ": %s was begun with chunks of %s, not of %s; give the chunk size that it was "
		    "begun with",
		    job, name, known, asked);
	return FALSE;
}

static gboolean refuse_units(gint64 job, const char *name, guint64 known, guint64 asked,
			     GError **error)
{
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "job %" G_GINT64_FORMAT ": %s was begun with %" G_GUINT64_FORMAT
		    " chunks, and its source has %" G_GUINT64_FORMAT
		    " now: its size is not what it was; abort the job and begin it again",
		    job, name, known, asked);
	return FALSE;
}

static gboolean pass_find_or_add(struct ledger *ledger, gint64 job, const char *name,
				 guint64 unit_bytes, guint64 units, gint64 *id, GError **error)
{
	guint64 known_bytes = 0, known_units = 0;
	GError *cause = NULL;

	*id = pass_read(ledger, job, name, &known_bytes, &known_units, &cause);
	if (cause) {
		g_propagate_error(error, cause);
		return FALSE;
	}
	if (!*id)
		return pass_add(ledger, job, name, unit_bytes, units, id, error);
	if (known_bytes != unit_bytes)
		return refuse_chunk_size(job, name, known_bytes, unit_bytes, error);
	return known_units == units || refuse_units(job, name, known_units, units, error);
}

gboolean ledger_pass_open(struct ledger *ledger, gint64 job, const char *name, guint64 unit_bytes,
			  guint64 units, gint64 *id, GError **error)
{
	if (!ledger_begin(ledger, error))
		return FALSE;
	return ledger_end(ledger, pass_find_or_add(ledger, job, name, unit_bytes, units, id, error),
			  error);
}

gboolean ledger_pass_find(struct ledger *ledger, gint64 job, const char *name, gint64 *id,
			  GError **error)
{
	LEDGER_READ(ledger);
	guint64 unit_bytes, units;
	GError *cause = NULL;

	*id = pass_read(ledger, job, name, &unit_bytes, &units, &cause);
	if (!cause)
		return TRUE;
	g_propagate_error(error, cause);
	return FALSE;
}

gboolean ledger_pass_clear(struct ledger *ledger, gint64 pass, GError **error)
{
	if (!ledger_begin(ledger, error))
		return FALSE;
	return ledger_end(ledger,
			  ledger_run(ledger, error, "DELETE FROM unit WHERE pass = ?", "i", pass),
			  error);
}

gboolean ledger_pass_doubt(struct ledger *ledger, gint64 pass, GError **error)
{
	if (!ledger_begin(ledger, error))
		return FALSE;
	return ledger_end(ledger,
			  ledger_run(ledger, error,
				     "UPDATE unit SET state = ? WHERE pass = ? AND state = ?",
				     "iii", (gint64)UNIT_DONE, pass, (gint64)UNIT_PROVEN),
			  error);
}

/* Whether the row is one that unit_insert can have written. */
static gboolean is_sound(sqlite3_stmt *row)
{
	const gint64 first = sqlite3_column_int64(row, 0), count = sqlite3_column_int64(row, 1);
	const gint64 state = sqlite3_column_int64(row, 2);
	const int digest_type = sqlite3_column_type(row, 4);

	for (int column = 0; column < 4; column++)
		if (sqlite3_column_type(row, column) != SQLITE_INTEGER ||
		    sqlite3_column_int64(row, column) < 0)
			return FALSE;
	if (count == 0 || count > G_MAXINT64 - first || state < UNIT_SENT || state > UNIT_PROVEN)
		return FALSE;
	if (digest_type == SQLITE_NULL)
		return TRUE;
	return digest_type == SQLITE_BLOB && sqlite3_column_bytes(row, 4) == DIGEST_BYTES &&
	       count == 1 && state >= UNIT_DONE;
}

/*
 * In the order of UNIT_COLUMNS.  A row that was damaged is never taken for a chunk that
 * is good: one that lost its digest would read as zeros.
 */
static gboolean unit_from_row(struct ledger *ledger, sqlite3_stmt *row, struct ledger_unit *unit,
			      GError **error)
{
	memset(unit, 0, sizeof *unit);
	unit->index = (guint64)sqlite3_column_int64(row, 0);
	if (!is_sound(row)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s: what it has of chunk %" G_GUINT64_FORMAT
			    " is damaged; abort the job and begin it again",
			    ledger->path, unit->index);
		return FALSE;
	}
	unit->count = (guint64)sqlite3_column_int64(row, 1);
	unit->state = (enum unit_state)sqlite3_column_int(row, 2);
	unit->data_bytes = (guint64)sqlite3_column_int64(row, 3);
	unit->is_zero = unit->state >= UNIT_DONE && sqlite3_column_type(row, 4) == SQLITE_NULL;
	if (sqlite3_column_type(row, 4) == SQLITE_BLOB)
		memcpy(unit->digest.bytes, sqlite3_column_blob(row, 4), DIGEST_BYTES);
	return TRUE;
}

static gboolean unit_insert(struct ledger *ledger, gint64 pass, const struct ledger_unit *unit,
			    GError **error)
{
	const gboolean has_digest = unit->state >= UNIT_DONE && !unit->is_zero;

	return ledger_run(ledger, error,
			  "INSERT INTO unit (pass, " UNIT_COLUMNS ") VALUES (?, ?, ?, ?, ?, ?)",
			  "iiiiid", pass, (gint64)unit->index, (gint64)unit->count,
			  (gint64)unit->state, (gint64)unit->data_bytes,
			  has_digest ? &unit->digest : NULL);
}

/* The row that covers @index.  FALSE with no error where there is none. */
static gboolean unit_covering(struct ledger *ledger, gint64 pass, guint64 index,
			      struct ledger_unit *unit, GError **error)
{
	sqlite3_stmt *row = ledger_query(ledger, error,
					 "SELECT " UNIT_COLUMNS " FROM unit WHERE pass = ?"
					 " AND first <= ? ORDER BY first DESC LIMIT 1",
					 "ii", pass, (gint64)index);

	if (!row || !ledger_next(ledger, row, error))
		return FALSE;
	const gboolean sound = unit_from_row(ledger, row, unit, error);

	sqlite3_reset(row);
	return sound && index < unit->index + unit->count;
}

/* What a run of rows keeps on both sides of the hole that is cut into it. */
static gboolean unit_keep(struct ledger *ledger, gint64 pass, const struct ledger_unit *old,
			  guint64 first, guint64 end, GError **error)
{
	struct ledger_unit rest = *old;

	if (first >= end)
		return TRUE;
	rest.index = first;
	rest.count = end - first;
	return unit_insert(ledger, pass, &rest, error);
}

/* Removes what is known about units first..end-1, shortening the runs that overlap. */
static gboolean units_cut(struct ledger *ledger, gint64 pass, guint64 first, guint64 end,
			  GError **error)
{
	struct ledger_unit head, tail;
	GError *cause = NULL;
	const gboolean has_head = unit_covering(ledger, pass, first, &head, &cause);
	const gboolean has_tail = !cause && unit_covering(ledger, pass, end - 1, &tail, &cause);

	if (cause) {
		g_propagate_error(error, cause);
		return FALSE;
	}
	if (!ledger_run(ledger, error,
			"DELETE FROM unit WHERE pass = ? AND first >= ? AND first < ?", "iii", pass,
			(gint64)(has_head ? head.index : first), (gint64)end))
		return FALSE;
	return (!has_head || unit_keep(ledger, pass, &head, head.index, first, error)) &&
	       (!has_tail || unit_keep(ledger, pass, &tail, end, tail.index + tail.count, error));
}

gboolean pass_resize(struct ledger *ledger, gint64 pass, guint64 units, GError **error)
{
	return ledger_run(ledger, error, "UPDATE pass SET units = ? WHERE id = ?", "ii",
			  (gint64)units, pass) &&
	       units_cut(ledger, pass, units, G_MAXINT64, error);
}

gboolean ledger_pass_resize(struct ledger *ledger, gint64 pass, guint64 units, GError **error)
{
	if (!ledger_begin(ledger, error))
		return FALSE;
	return ledger_end(ledger, pass_resize(ledger, pass, units, error), error);
}

static gboolean units_put(struct ledger *ledger, gint64 pass, const struct ledger_unit *units,
			  guint count, GError **error)
{
	for (guint i = 0; i < count; i++) {
		const struct ledger_unit *unit = &units[i];

		if (!units_cut(ledger, pass, unit->index, unit->index + unit->count, error))
			return FALSE;
		if (unit->state != UNIT_PENDING && !unit_insert(ledger, pass, unit, error))
			return FALSE;
	}
	return TRUE;
}

gboolean ledger_units_put(struct ledger *ledger, gint64 pass, const struct ledger_unit *units,
			  guint count, GError **error)
{
	if (count == 0)
		return TRUE;
	if (!ledger_begin(ledger, error))
		return FALSE;
	return ledger_end(ledger, units_put(ledger, pass, units, count, error), error);
}

gboolean ledger_units_each(struct ledger *ledger, gint64 pass, ledger_unit_visit visit, void *data,
			   GError **error)
{
	LEDGER_READ(ledger);
	GError *cause = NULL;
	sqlite3_stmt *row = ledger_query(
		ledger, &cause, "SELECT " UNIT_COLUMNS " FROM unit WHERE pass = ? ORDER BY first",
		"i", pass);
	struct ledger_unit unit;

	while (row && ledger_next(ledger, row, &cause)) {
		if (!unit_from_row(ledger, row, &unit, &cause) || !visit(&unit, data)) {
			sqlite3_reset(row);
			break;
		}
	}
	if (cause) {
		g_propagate_error(error, cause);
		return FALSE;
	}
	return TRUE;
}

gboolean ledger_unit_get(struct ledger *ledger, gint64 pass, guint64 index,
			 struct ledger_unit *unit, GError **error)
{
	LEDGER_READ(ledger);
	GError *cause = NULL;

	if (unit_covering(ledger, pass, index, unit, &cause))
		return TRUE;
	if (cause) {
		g_propagate_error(error, cause);
		return FALSE;
	}
	memset(unit, 0, sizeof *unit);
	unit->index = index;
	unit->count = 1;
	return TRUE;
}
