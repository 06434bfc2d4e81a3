#include "blockmig/ledger/ledger_private.h"

#include "common/boot.h"
#include "common/error.h"
#include "common/units.h"

#include <string.h>
#include <unistd.h>

/* A process, and not another one that was later given its number. */
struct holder {
	gint64 pid;
	gint64 started; /* clock ticks after the boot */
	char *boot;
};

static void holder_free(struct holder *holder)
{
	g_free(holder->boot);
	g_free(holder);
}
AUTO_DEFINE(holder, holder_free)

/*
 * The start time of a living process (field 22 of proc(5)'s stat), 0 where there is
 * none.  A zombie has closed all that it held.
 */
static gint64 process_started(gint64 pid)
{
	enum { STATE = 0, STARTED = 19, FIELDS = 20 }; /* counted from the field after "(name)" */
	g_autofree char *path = g_strdup_printf("/proc/%" G_GINT64_FORMAT "/stat", pid);
	g_autofree char *text = NULL;
	g_auto(GStrv) fields = NULL;
	const char *end;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return 0;
	end = strrchr(text, ')'); /* the name may hold anything, parentheses and spaces too */
	if (!end || end[1] != ' ')
		return 0;
	fields = g_strsplit(end + 2, " ", FIELDS + 1);
	if (g_strv_length(fields) < FIELDS || strchr("ZX", fields[STATE][0]))
		return 0;
	return g_ascii_strtoll(fields[STARTED], NULL, 10);
}

static struct holder *holder_self(void)
{
	struct holder *self = g_new(struct holder, 1);

	self->pid = getpid();
	self->started = process_started(self->pid);
	self->boot = boot_id();
	return self;
}

static gboolean holder_equal(const struct holder *a, const struct holder *b)
{
	return a->pid == b->pid && a->started == b->started && g_str_equal(a->boot, b->boot);
}

static gboolean holder_lives(const struct holder *holder, const struct holder *self)
{
	return g_str_equal(holder->boot, self->boot) &&
	       process_started(holder->pid) == holder->started;
}

/* NULL without error where nobody holds the lock; *job and *taken_s are set with it. */
static struct holder *lock_read(struct ledger *ledger, const char *key, gint64 *job,
				gint64 *taken_s, GError **error)
{
	sqlite3_stmt *row = ledger_query(
		ledger, error, "SELECT pid, started, boot, job, taken_s FROM lock WHERE key = ?",
		"s", key);
	struct holder *holder;

	if (!row || !ledger_next(ledger, row, error))
		return NULL;
	holder = g_new(struct holder, 1);
	holder->pid = sqlite3_column_int64(row, 0);
	holder->started = sqlite3_column_int64(row, 1);
	holder->boot = ledger_text(row, 2);
	*job = sqlite3_column_int64(row, 3);
	*taken_s = sqlite3_column_int64(row, 4);
	sqlite3_reset(row);
	return holder;
}

/* What the process was started as, in one line; "?" where that cannot be told. */
static char *process_command(gint64 pid)
{
	enum { COMMAND_BYTES = 200 };
	g_autofree char *path = g_strdup_printf("/proc/%" G_GINT64_FORMAT "/cmdline", pid);
	g_autofree char *text = NULL;
	gsize bytes = 0;

	g_file_get_contents(path, &text, &bytes, NULL);
	if (bytes == 0)
		return g_strdup("?");
	/* The words end with a NUL each; what else is not for a terminal goes with them. */
	for (gsize i = 0; i + 1 < bytes; i++)
		if (g_ascii_iscntrl(text[i]))
			text[i] = ' ';
	return g_utf8_make_valid(text, MIN((gssize)strlen(text), COMMAND_BYTES));
}

static char *clock_time(gint64 unix_s)
{
	g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(unix_s);

	return time ? g_date_time_format(time, "%F %T") : g_strdup("?");
}

static void set_busy(const char *key, const struct holder *holder, gint64 job, gint64 taken_s,
		     GError **error)
{
	g_autofree char *command = process_command(holder->pid);
	g_autofree char *since = clock_time(taken_s);
	const gint64 now_s = ledger_now_s();
	const gint64 age_s = now_s - CLAMP(taken_s, 0, now_s);
	g_autofree char *age = units_format_time((guint64)age_s * 1000);

	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_BUSY,
		    "%s: held by process %" G_GINT64_FORMAT " (%s) for job %" G_GINT64_FORMAT
		    " since %s (%s); wait for it, or stop it and try again",
		    key, holder->pid, command, job, since, age);
}

/* Inside a transaction: whether @self may take the lock for @job. */
static gboolean lock_is_free(struct ledger *ledger, const char *key, const struct holder *self,
			     gint64 job, GError **error)
{
	gint64 held_job = 0, taken_s = 0;
	GError *cause = NULL;
	AUTO(holder) holder = lock_read(ledger, key, &held_job, &taken_s, &cause);

	if (cause) {
		g_propagate_error(error, cause);
		return FALSE;
	}
	if (!holder || (holder_equal(holder, self) && held_job == job) ||
	    !holder_lives(holder, self))
		return TRUE;
	set_busy(key, holder, held_job, taken_s, error);
	return FALSE;
}

gboolean ledger_lock(struct ledger *ledger, const char *key, gint64 job, GError **error)
{
	AUTO(holder) self = holder_self();
	gboolean ok;

	if (!ledger_begin(ledger, error))
		return FALSE;
	ok = lock_is_free(ledger, key, self, job, error) &&
	     ledger_run(ledger, error,
			"INSERT OR REPLACE INTO lock (key, job, pid, started, boot, taken_s)"
			" VALUES (?, ?, ?, ?, ?, ?)",
			"siiisi", key, job, self->pid, self->started, self->boot, ledger_now_s());
	return ledger_end(ledger, ok, error);
}

gboolean ledger_unlock_job(struct ledger *ledger, gint64 job, GError **error)
{
	AUTO(holder) self = holder_self();

	if (!ledger_begin(ledger, error))
		return FALSE;
	return ledger_end(ledger,
			  ledger_run(ledger, error,
				     "DELETE FROM lock WHERE job = ? AND pid = ? AND started = ?"
				     " AND boot = ?",
				     "iiis", job, self->pid, self->started, self->boot),
			  error);
}

gboolean ledger_lock_check(struct ledger *ledger, const char *key, GError **error)
{
	LEDGER_READ(ledger);
	AUTO(holder) self = holder_self();

	return lock_is_free(ledger, key, self, 0, error);
}

int ledger_lock_holder(struct ledger *ledger, const char *key)
{
	LEDGER_READ(ledger);
	AUTO(holder) self = holder_self();
	gint64 job = 0, taken_s = 0;
	AUTO(holder) holder = lock_read(ledger, key, &job, &taken_s, NULL);

	return holder && holder_lives(holder, self) ? (int)holder->pid : 0;
}

GPtrArray *ledger_locks_stale(struct ledger *ledger, gboolean remove, GError **error)
{
	AUTO(holder) self = holder_self();
	g_autoptr(GPtrArray) keys = g_ptr_array_new_with_free_func(g_free);
	GError *cause = NULL;

	if (!ledger_begin(ledger, error))
		return NULL;
	sqlite3_stmt *row =
		ledger_query(ledger, &cause, "SELECT key, pid, started, boot FROM lock", "");

	while (row && ledger_next(ledger, row, &cause)) {
		AUTO(holder) holder = g_new(struct holder, 1);

		holder->pid = sqlite3_column_int64(row, 1);
		holder->started = sqlite3_column_int64(row, 2);
		holder->boot = ledger_text(row, 3);
		if (!holder_lives(holder, self))
			g_ptr_array_add(keys, ledger_text(row, 0));
	}
	for (guint i = 0; !cause && remove && i < keys->len; i++)
		ledger_run(ledger, &cause, "DELETE FROM lock WHERE key = ?", "s",
			   (const char *)g_ptr_array_index(keys, i));

	gboolean good = !cause;

	if (cause)
		g_propagate_error(error, cause);
	return ledger_end(ledger, good, error) ? g_steal_pointer(&keys) : NULL;
}
