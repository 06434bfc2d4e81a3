/*
 * Inside the ledger: the connection, its cached statements and transactions.
 *
 * Everything here is called with the mutex held, except ledger_begin and ledger_read,
 * which take it.  A writer is
 *
 *     if (!ledger_begin(ledger, error))
 *             return FALSE;
 *     return ledger_end(ledger, ledger_run(ledger, error, "UPDATE ...", "i", id), error);
 */
#ifndef LEDGER_LEDGER_PRIVATE_H
#define LEDGER_LEDGER_PRIVATE_H

#include "blockmig/ledger/ledger.h"

#include <sqlite3.h>

struct ledger {
	GMutex mutex;
	char *folder;
	char *path;
	sqlite3 *database;
	GHashTable *statements; /* SQL text (a literal) -> sqlite3_stmt */
};

/* Takes the mutex and begins a transaction that may write. */
gboolean ledger_begin(struct ledger *ledger, GError **error);
/* Commits where @ok, else rolls back (error is set already); releases the mutex. */
gboolean ledger_end(struct ledger *ledger, gboolean ok, GError **error);
/* Holds the mutex for a scope that only reads. */
#define LEDGER_READ(ledger)                                                                        \
	G_GNUC_UNUSED g_autoptr(GMutexLocker) ledger_locker = g_mutex_locker_new(&(ledger)->mutex)

/*
 * Arguments of a statement, one letter each: i gint64, s const char * (NULL reads as
 * ""), d const struct digest * or NULL.
 */
gboolean ledger_run(struct ledger *ledger, GError **error, const char *sql, const char *types, ...);
/* The statement, ready for ledger_next; NULL on error.  Owned by the ledger. */
sqlite3_stmt *ledger_query(struct ledger *ledger, GError **error, const char *sql,
			   const char *types, ...);
/*
 * TRUE where there is a row.  FALSE at the end and on error; the statement is then
 * done with.  Whoever leaves earlier calls sqlite3_reset.
 */
gboolean ledger_next(struct ledger *ledger, sqlite3_stmt *statement, GError **error);
/* A copy of a text column. */
char *ledger_text(sqlite3_stmt *statement, int column);

gint64 ledger_now_s(void);

/* jobs.c: the columns of a job's row, and the jobs of a query for them (NULL: it failed). */
#define JOB_COLUMNS                                                                                \
	"id, kind, domain_uuid, domain_name, disk, source, destination, state, phase,"             \
	" phase_ended, undoing, result, message, created_s, updated_s"
GPtrArray *jobs_from_rows(struct ledger *ledger, sqlite3_stmt *row, GError **error);

/* units.c.  0 with no error where there is no such pass. */
gint64 pass_read(struct ledger *ledger, gint64 job, const char *name, guint64 *unit_bytes,
		 guint64 *units, GError **error);
/* Inside a transaction: as ledger_pass_resize. */
gboolean pass_resize(struct ledger *ledger, gint64 pass, guint64 units, GError **error);

#endif
