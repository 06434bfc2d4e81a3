#include "tests/faked/matrix.h"

#include "blockmig/move/runner.h"
#include "common/error.h"
#include "tests/faked/disturb.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

/* ---- the table ------------------------------------------------------------------------------- */

/* Rows that are no phase of the table: before the first, and what one phase is made of. */
static const char *const other_rows[] = {"inspect", "pivoted", "put-back", NULL};

static char *undo_row(const struct phase *phase)
{
	return g_strconcat("undo-", phase->name, NULL);
}

static gboolean is_row(const char *name)
{
	for (const struct phase *phase = seeded_phases; phase->name; phase++) {
		g_autofree char *undo = undo_row(phase);

		if (g_str_equal(name, phase->name) || (phase->undo && g_str_equal(name, undo)))
			return TRUE;
	}
	return g_strv_contains(other_rows, name);
}

static void need_row(GHashTable *rows, const char *name)
{
	if (!g_hash_table_contains(rows, name))
		g_error("the fault matrix has no row '%s'", name);
}

/* A phase that nobody thought of is no phase that was tested. */
static void check_rows(GHashTable *rows)
{
	GHashTableIter iter;
	gpointer name;

	for (const struct phase *phase = seeded_phases; phase->name; phase++) {
		g_autofree char *undo = undo_row(phase);

		need_row(rows, phase->name);
		if (phase->undo)
			need_row(rows, undo);
	}
	for (guint i = 0; other_rows[i]; i++)
		need_row(rows, other_rows[i]);
	g_hash_table_iter_init(&iter, rows);
	while (g_hash_table_iter_next(&iter, &name, NULL))
		if (!is_row(name))
			g_error("the fault matrix has a row '%s', which is no phase", (char *)name);
}

/* "f=dh", "R=d,f=h", "b": see the table's head. */
static struct matrix_cell *cell_new(const char *row, const char *column, const char *text)
{
	struct matrix_cell *cell = g_new0(struct matrix_cell, 1);
	g_auto(GStrv) parts = g_strsplit(text, ",", -1);

	cell->row = g_strdup(row);
	cell->column = g_strdup(column);
	cell->is_void = !strchr(text, '=');
	for (guint i = 0; parts[i]; i++)
		if (g_str_has_prefix(parts[i], "f="))
			cell->outcomes = g_strdup(parts[i] + 2);
	if (!cell->outcomes)
		cell->outcomes = g_strdup("");
	return cell;
}

/* The words of a line, without the empty ones between several blanks. */
static GPtrArray *words_of(const char *line)
{
	g_auto(GStrv) parts = g_strsplit_set(line, " \t", -1);
	GPtrArray *words = g_ptr_array_new_with_free_func(g_free);

	for (guint i = 0; parts[i]; i++)
		if (*parts[i])
			g_ptr_array_add(words, g_strdup(parts[i]));
	return words;
}

GPtrArray *matrix_read(const char *path)
{
	g_autofree char *text = NULL;
	g_autoptr(GHashTable) rows = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autoptr(GPtrArray) columns = NULL;
	GPtrArray *cells = g_ptr_array_new();

	if (!g_file_get_contents(path, &text, NULL, NULL))
		g_error("%s cannot be read; the tests run in the repository's folder", path);
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	for (guint i = 0; lines[i]; i++) {
		g_autoptr(GPtrArray) words = words_of(lines[i]);

		if (!words->len || *lines[i] == '#')
			continue;
		if (!columns) {
			columns = g_steal_pointer(&words);
			continue;
		}
		const char *row = words->pdata[0];

		if (words->len != columns->len)
			g_error("the fault matrix has %u cells for %s, not %u", words->len - 1, row,
				columns->len - 1);
		g_hash_table_add(rows, g_strdup(row));
		for (guint column = 1; column < words->len; column++)
			g_ptr_array_add(
				cells, cell_new(row, columns->pdata[column], words->pdata[column]));
	}
	check_rows(rows);
	return cells;
}

/* ---- faults -------------------------------------------------------------------------- */

static void kill_us(void)
{
	kill(getpid(), SIGKILL);
}

static void shut_off(void)
{
	if (fake_domain_run(FAKE_UUID) != RUN_OFF)
		fake_off(FAKE_UUID);
}

static void start(void)
{
	if (fake_domain_run(FAKE_UUID) == RUN_OFF && fake_start(FAKE_UUID))
		scene_write(&scene, 60, 3, 0xa1);
}

static void pause_guest(void)
{
	if (fake_domain_run(FAKE_UUID) == RUN_RUNNING)
		fake_pause(FAKE_UUID);
}

/* Libvirt takes none while QEMU has a job of ours. */
static void save_guest(void)
{
	fake_managed_save(FAKE_UUID);
}

static void cut_connection(void)
{
	disturb_images(&(struct disturb){DISTURB_DESTINATION, DISTURB_ANY, .times = 1, ECONNRESET});
}

static void say_nothing(void)
{
	disturb_images(&(struct disturb){DISTURB_DESTINATION, DISTURB_ANY, .errnum = ETIMEDOUT});
}

/* The connection is cut, and the first tries to make another are refused. */
static void restart_server(void)
{
	disturb_images(
		&(struct disturb){DISTURB_DESTINATION, DISTURB_ANY, .times = 3, ECONNREFUSED});
}

static void fill_destination(void)
{
	disturb_images(&(struct disturb){DISTURB_DESTINATION, DISTURB_WRITE, .errnum = ENOSPC});
}

static void break_source(void)
{
	disturb_images(&(struct disturb){DISTURB_SOURCE, DISTURB_READ, .errnum = EIO});
}

static void break_destination(void)
{
	disturb_images(&(struct disturb){DISTURB_DESTINATION, DISTURB_WRITE | DISTURB_FLUSH,
					 .errnum = EIO});
}

static void fill_ledger(void)
{
	disturb_ledger(SQLITE_FULL);
}

/* What a file system that was remounted read-only gives to who has the file open. */
static void bar_ledger(void)
{
	disturb_ledger(SQLITE_IOERR_WRITE);
}

/* A year back: what was to happen in a minute would happen in a year. */
static void set_clock(void)
{
	disturb_clock(-365 * 24 * 3600);
}

static const struct matrix_fault faults[] = {
	{"kill", RUN_RUNNING, FALSE, FALSE, kill_us},
	{"libvirtd", RUN_RUNNING, FALSE, TRUE, disturb_libvirtd},
	{"shutdown", RUN_RUNNING, FALSE, FALSE, shut_off},
	{"start", RUN_OFF, FALSE, FALSE, start},
	{"pause", RUN_RUNNING, FALSE, FALSE, pause_guest},
	{"save", RUN_RUNNING, FALSE, FALSE, save_guest},
	{"reset", RUN_RUNNING, TRUE, TRUE, cut_connection},
	{"blackhole", RUN_RUNNING, FALSE, TRUE, say_nothing},
	{"restart", RUN_RUNNING, TRUE, TRUE, restart_server},
	{"full", RUN_RUNNING, FALSE, TRUE, fill_destination},
	{"read", RUN_RUNNING, FALSE, TRUE, break_source},
	{"write", RUN_RUNNING, FALSE, TRUE, break_destination},
	{"ledger-full", RUN_RUNNING, FALSE, TRUE, fill_ledger},
	{"ledger-ro", RUN_RUNNING, FALSE, TRUE, bar_ledger},
	{"overlay", RUN_RUNNING, FALSE, TRUE, disturb_room},
	{"clock", RUN_RUNNING, FALSE, FALSE, set_clock},
};

const struct matrix_fault *matrix_fault_find(const char *name)
{
	for (guint i = 0; i < G_N_ELEMENTS(faults); i++)
		if (g_str_equal(faults[i].name, name))
			return &faults[i];
	return NULL;
}

/* ---- where the move is --------------------------------------------------------------- */

static struct {
	const char *row;
	const struct matrix_fault *fault;
	guint moment;
	struct matrix_strike *strike;
	char *now;
	guint calls;
} armed;

/* What a guest is to be afterwards: as the fault left it, but for what we suspended. */
static void strike_here(void)
{
	enum domain_run before;

	if (armed.strike->done || !g_str_equal(armed.now, armed.row) || armed.calls != armed.moment)
		return;
	before = fake_domain_run(FAKE_UUID);
	armed.strike->done = TRUE;
	armed.fault->strike();
	armed.strike->then = before == RUN_PAUSED && fake_domain_run(FAKE_UUID) == RUN_PAUSED
				     ? RUN_RUNNING
				     : fake_domain_run(FAKE_UUID);
}

static void enter(const char *row)
{
	g_free(armed.now);
	armed.now = g_strdup(row);
	armed.calls = 0;
	strike_here();
}

static void on_phase(gint64 job, const char *phase, gboolean undo, gboolean begun, void *data)
{
	g_autofree char *row = undo ? g_strconcat("undo-", phase, NULL) : g_strdup(phase);

	(void)job;
	(void)data;
	/* The way home from a wrong mirror ends with this undo. */
	if (begun && !(g_str_equal(row, "undo-cutover") && g_str_equal(armed.now, "put-back")))
		enter(row);
}

/* The second definition of a guest that is off is what the pivot is to one that runs. */
static gboolean is_pivot(const char *call)
{
	return g_str_equal(armed.now, "cutover") &&
	       g_str_equal(call, armed.fault->from == RUN_OFF ? "define" : "pivot");
}

static void on_call(void *data)
{
	(void)data;
	if (is_pivot(fake_current())) {
		enter("pivoted");
	} else if (g_str_equal(fake_current(), "hides") && g_str_equal(armed.now, "pivoted")) {
		enter("put-back");
	} else {
		armed.calls++;
		strike_here();
	}
}

void matrix_open(const char *row, const struct matrix_fault *fault, guint number)
{
	moves_open(&moves_shapes[number % MOVES_SHAPES], fault->from);
	moves_write_in_between();
	disturb_clear();
	/* Long enough for what comes back; what does not is not waited for. */
	scene.options.retry_for_ms = fault->comes_back ? 3000 : 200;
	if (g_str_equal(row, "put-back"))
		fake_corrupt_mirror();
	if (g_str_has_prefix(row, "undo-"))
		fake_fault(&(struct fake_fault){.call = fault->from == RUN_OFF ? "define" : "pivot",
						.nth = fault->from == RUN_OFF ? 2 : 1,
						.code = BLOCKMIG_ERROR_PERMANENT});
}

void matrix_arm(const char *row, const struct matrix_fault *fault, guint moment,
		struct matrix_strike *strike)
{
	armed.row = row;
	armed.fault = fault;
	armed.moment = moment;
	armed.strike = strike;
	*strike = (struct matrix_strike){.then = fault->from};
}

gboolean matrix_move(struct scene *its, GError **error)
{
	fake_fault(&(struct fake_fault){
		.lasting = TRUE, .when = FAKE_AFTER, .code = FAKE_NO_ERROR, .hook = on_call});
	its->reporter.phase = on_phase;
	enter("inspect");
	return scene_move(its, error);
}
