#include "blockmig/ledger/ledger_private.h"

#include "common/error.h"

#include <errno.h>
#include <stdarg.h>

enum { BUSY_WAIT_MS = 10000, BUSY_PAUSE_MS = 5 };

/*
 * The steps from one version of the schema to the next.  A unit's row has neither rowid
 * nor names: about 50 bytes a chunk.  AUTOINCREMENT so that a number which the user has
 * seen never comes back as another job.
 */
static const char *const schema[] = {
	"CREATE TABLE job (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL,"
	" domain_uuid TEXT NOT NULL, domain_name TEXT NOT NULL, disk TEXT NOT NULL,"
	" source TEXT NOT NULL, destination TEXT NOT NULL, state TEXT NOT NULL,"
	" phase TEXT NOT NULL, phase_ended INTEGER NOT NULL, undoing INTEGER NOT NULL,"
	" result INTEGER NOT NULL, message TEXT NOT NULL,"
	" created_s INTEGER NOT NULL, updated_s INTEGER NOT NULL);"
	"CREATE INDEX job_by_disk ON job (domain_uuid, disk);"
	"CREATE TABLE phase (id INTEGER PRIMARY KEY, job INTEGER NOT NULL, name TEXT NOT NULL,"
	" undo INTEGER NOT NULL, begun_us INTEGER NOT NULL, ended_us INTEGER NOT NULL,"
	" outcome TEXT NOT NULL);"
	"CREATE INDEX phase_by_job ON phase (job);"
	"CREATE TABLE lock (key TEXT PRIMARY KEY, job INTEGER NOT NULL, pid INTEGER NOT NULL,"
	" started INTEGER NOT NULL, boot TEXT NOT NULL, taken_s INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE pass (id INTEGER PRIMARY KEY, job INTEGER NOT NULL, name TEXT NOT NULL,"
	" unit_bytes INTEGER NOT NULL, units INTEGER NOT NULL, UNIQUE (job, name));"
	"CREATE TABLE unit (pass INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL,"
	" state INTEGER NOT NULL, data_bytes INTEGER NOT NULL, digest BLOB,"
	" PRIMARY KEY (pass, first)) WITHOUT ROWID;"
	"PRAGMA user_version = 1;",

	"CREATE TABLE maintenance (place TEXT PRIMARY KEY, name TEXT NOT NULL,"
	" since_s INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE rate (source TEXT NOT NULL, destination TEXT NOT NULL,"
	" bytes INTEGER NOT NULL, milliseconds INTEGER NOT NULL,"
	" PRIMARY KEY (source, destination)) WITHOUT ROWID;"
	"PRAGMA user_version = 2;",
};

gint64 ledger_now_s(void)
{
	return g_get_real_time() / G_USEC_PER_SEC;
}

static void fail(struct ledger *ledger, GError **error)
{
	if ((sqlite3_errcode(ledger->database) & 0xff) == SQLITE_BUSY)
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_BUSY,
			    "%s: another process has kept it locked for %d s; try again",
			    ledger->path, BUSY_WAIT_MS / 1000);
	else
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT, "%s: %s", ledger->path,
			    sqlite3_errmsg(ledger->database));
}

static gboolean execute(struct ledger *ledger, const char *sql, GError **error)
{
	if (sqlite3_exec(ledger->database, sql, NULL, NULL, NULL) == SQLITE_OK)
		return TRUE;
	fail(ledger, error);
	return FALSE;
}

static void bind(sqlite3_stmt *statement, const char *types, va_list arguments)
{
	for (int i = 0; types[i]; i++) {
		const struct digest *digest;
		const char *text;

		switch (types[i]) {
		case 'i':
			sqlite3_bind_int64(statement, i + 1, va_arg(arguments, gint64));
			break;
		case 's':
			text = va_arg(arguments, const char *);
			sqlite3_bind_text(statement, i + 1, text ? text : "", -1, SQLITE_TRANSIENT);
			break;
		default:
			digest = va_arg(arguments, const struct digest *);
			if (digest)
				sqlite3_bind_blob(statement, i + 1, digest->bytes, DIGEST_BYTES,
						  SQLITE_TRANSIENT);
			else
				sqlite3_bind_null(statement, i + 1);
		}
	}
}

static sqlite3_stmt *prepare(struct ledger *ledger, const char *sql, const char *types,
			     va_list arguments, GError **error)
{
	sqlite3_stmt *statement = g_hash_table_lookup(ledger->statements, sql);

	if (!statement) {
		if (sqlite3_prepare_v3(ledger->database, sql, -1, SQLITE_PREPARE_PERSISTENT,
				       &statement, NULL) != SQLITE_OK) {
			fail(ledger, error);
			return NULL;
		}
		g_hash_table_insert(ledger->statements, (gpointer)sql, statement);
	}
	bind(statement, types, arguments);
	return statement;
}

sqlite3_stmt *ledger_query(struct ledger *ledger, GError **error, const char *sql,
			   const char *types, ...)
{
	sqlite3_stmt *statement;
	va_list arguments;

	va_start(arguments, types);
	statement = prepare(ledger, sql, types, arguments, error);
	va_end(arguments);
	return statement;
}

gboolean ledger_next(struct ledger *ledger, sqlite3_stmt *statement, GError **error)
{
	const int code = sqlite3_step(statement);

	if (code == SQLITE_ROW)
		return TRUE;
	if (code != SQLITE_DONE)
		fail(ledger, error);
	sqlite3_reset(statement);
	return FALSE;
}

gboolean ledger_run(struct ledger *ledger, GError **error, const char *sql, const char *types, ...)
{
	sqlite3_stmt *statement;
	va_list arguments;
	gboolean done;

	va_start(arguments, types);
	statement = prepare(ledger, sql, types, arguments, error);
	va_end(arguments);
	if (!statement)
		return FALSE;
	done = sqlite3_step(statement) == SQLITE_DONE;
	if (!done)
		fail(ledger, error);
	sqlite3_reset(statement);
	return done;
}

char *ledger_text(sqlite3_stmt *statement, int column)
{
	const char *text = (const char *)sqlite3_column_text(statement, column);

	return g_strdup(text ? text : "");
}

gboolean ledger_begin(struct ledger *ledger, GError **error)
{
	g_mutex_lock(&ledger->mutex);
	if (ledger_run(ledger, error, "BEGIN IMMEDIATE", ""))
		return TRUE;
	g_mutex_unlock(&ledger->mutex);
	return FALSE;
}

gboolean ledger_end(struct ledger *ledger, gboolean ok, GError **error)
{
	ok = ok && ledger_run(ledger, error, "COMMIT", "");
	/* Some errors roll back by themselves. */
	if (!ok && !sqlite3_get_autocommit(ledger->database))
		ledger_run(ledger, NULL, "ROLLBACK", "");
	g_mutex_unlock(&ledger->mutex);
	return ok;
}

static gboolean schema_version(struct ledger *ledger, gint64 *version, GError **error)
{
	sqlite3_stmt *statement = ledger_query(ledger, error, "PRAGMA user_version", "");

	if (!statement || !ledger_next(ledger, statement, error))
		return FALSE;
	*version = sqlite3_column_int64(statement, 0);
	sqlite3_reset(statement);
	return TRUE;
}

static gboolean schema_prepare(struct ledger *ledger, GError **error)
{
	gint64 version = 0;

	if (!schema_version(ledger, &version, error))
		return FALSE;
	if (version < 0 || version > (gint64)G_N_ELEMENTS(schema)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s: written by another version of blockmig (schema %" G_GINT64_FORMAT
			    ", this one knows %zu); use that one, or another state folder",
			    ledger->path, version, G_N_ELEMENTS(schema));
		return FALSE;
	}
	for (; version < (gint64)G_N_ELEMENTS(schema); version++)
		if (!execute(ledger, schema[version], error))
			return FALSE;
	return TRUE;
}

/*
 * Of two processes that do this to a new file at the same moment SQLite turns one away at
 * once, whatever the busy timeout says (measured: SQLITE_BUSY after 0 ms).
 */
static gboolean journal_prepare(struct ledger *ledger, GError **error)
{
	static const char sql[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL";
	const gint64 deadline_us = g_get_monotonic_time() + BUSY_WAIT_MS * 1000;
	int code;

	while ((code = sqlite3_exec(ledger->database, sql, NULL, NULL, NULL)) == SQLITE_BUSY &&
	       g_get_monotonic_time() < deadline_us)
		g_usleep(BUSY_PAUSE_MS * 1000);
	if (code == SQLITE_OK)
		return TRUE;
	fail(ledger, error);
	return FALSE;
}

/*
 * Whoever finds the schema as it should be need not wait for those who write.  Otherwise
 * a transaction around a second look and the creation: two processes may start at once.
 */
static gboolean prepare_file(struct ledger *ledger, GError **error)
{
	gint64 version = 0;

	sqlite3_busy_timeout(ledger->database, BUSY_WAIT_MS);
	if (!journal_prepare(ledger, error) || !schema_version(ledger, &version, error))
		return FALSE;
	if (version == (gint64)G_N_ELEMENTS(schema))
		return TRUE;
	return ledger_begin(ledger, error) &&
	       ledger_end(ledger, schema_prepare(ledger, error), error);
}

static void statement_free(gpointer statement)
{
	sqlite3_finalize(statement);
}

struct ledger *ledger_open(const char *folder, GError **error)
{
	AUTO(ledger) ledger = g_new0(struct ledger, 1);
	const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;

	g_mutex_init(&ledger->mutex);
	ledger->folder = g_strdup(folder);
	ledger->path = g_build_filename(folder, "ledger.db", NULL);
	ledger->statements = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, statement_free);
	if (g_mkdir_with_parents(folder, 0700) < 0) {
		error_set_errno(error, errno, "%s: create the state folder", folder);
		return NULL;
	}
	if (sqlite3_open_v2(ledger->path, &ledger->database, flags, NULL) != SQLITE_OK) {
		fail(ledger, error);
		return NULL;
	}
	if (!prepare_file(ledger, error))
		return NULL;
	return g_steal_pointer(&ledger);
}

void ledger_close(struct ledger *ledger)
{
	g_hash_table_destroy(ledger->statements);
	sqlite3_close(ledger->database);
	g_mutex_clear(&ledger->mutex);
	g_free(ledger->path);
	g_free(ledger->folder);
	g_free(ledger);
}

const char *ledger_folder(const struct ledger *ledger)
{
	return ledger->folder;
}
