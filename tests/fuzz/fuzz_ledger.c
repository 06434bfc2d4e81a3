/*
 * A ledger whose rows were damaged: each is read as what it is or refused, never as a
 * chunk that is good.  The input is the rows of one pass.
 */
#include "blockmig/copy/engine_private.h"
#include "blockmig/ledger/ledger_private.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <unistd.h>

enum { UNITS = 64, UNIT_BYTES = 1 << 20, ROWS_MOST = 16, PASS = 1 };

static struct ledger *ledger;

static void close_ledger(void)
{
	g_autofree char *folder = g_strdup(ledger_folder(ledger));
	static const char *const names[] = {"ledger.db", "ledger.db-wal", "ledger.db-shm"};

	ledger_close(ledger);
	for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(folder, names[i], NULL);

		unlink(path);
	}
	rmdir(folder);
}

/* No sync: it is the reading that is looked at. */
static void open_ledger(void)
{
	g_autofree char *folder = g_dir_make_tmp("fuzz-ledger-XXXXXX", NULL);

	ledger = ledger_open(folder, NULL);
	fuzz_require(ledger != NULL);
	atexit(close_ledger);
	sqlite3_exec(ledger->database, "PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY",
		     NULL, NULL, NULL);
}

/* An integer, small more often than not, or something else. */
static void bind_value(sqlite3_stmt *row, int column, struct fuzz_input *input)
{
	const guint8 kind = fuzz_input_byte(input);
	guint8 bytes[40];

	if (kind < 128) {
		sqlite3_bind_int(row, column, kind);
	} else if (kind < 160) {
		sqlite3_bind_int64(row, column, (gint64)fuzz_input_u64(input));
	} else if (kind < 170) {
		sqlite3_bind_null(row, column);
	} else if (kind < 180) {
		sqlite3_bind_text(row, column, "text", -1, SQLITE_STATIC);
	} else {
		const int count = MIN(kind - 180, (int)sizeof(bytes));

		fuzz_input_take(input, bytes, (size_t)count);
		sqlite3_bind_blob(row, column, bytes, count, SQLITE_TRANSIENT);
	}
}

static void insert_rows(struct fuzz_input *input)
{
	sqlite3_stmt *row = NULL;

	sqlite3_exec(ledger->database, "DELETE FROM unit", NULL, NULL, NULL);
	sqlite3_prepare_v2(ledger->database,
			   "INSERT OR IGNORE INTO unit (pass, first, count, state, data_bytes, "
			   "digest) VALUES (1, ?, ?, ?, ?, ?)",
			   -1, &row, NULL);
	for (guint i = 0; i < ROWS_MOST && input->left > 0; i++) {
		for (int column = 1; column <= 5; column++)
			bind_value(row, column, input);
		sqlite3_step(row);
		sqlite3_reset(row);
	}
	sqlite3_finalize(row);
}

static gboolean check_unit(const struct ledger_unit *unit, void *data)
{
	fuzz_require(data == &ledger);
	fuzz_require(unit->state >= UNIT_SENT && unit->state <= UNIT_PROVEN);
	fuzz_require(unit->count > 0 && unit->index <= G_MAXINT64 - unit->count);
	fuzz_require(unit->count == 1 || unit->is_zero || unit->state == UNIT_SENT);
	return TRUE;
}

static void plan(void)
{
	guint8 map[UNITS] = {0};
	struct copy_end source = {0};
	const struct copy_spec spec = {.ledger = ledger,
				       .source = &source,
				       .pass = PASS,
				       .content_bytes = UNITS * (guint64)UNIT_BYTES,
				       .unit_bytes = UNIT_BYTES,
				       .prove = TRUE};
	struct engine engine = {.spec = &spec, .map = map, .units = UNITS};
	guint64 units = 0;

	engine.count[MAP_SEND] = UNITS;
	plan_make(&engine, NULL);
	for (guint i = 0; i < MAP_STATES; i++)
		units += engine.count[i];
	fuzz_require(units == UNITS);
}

static void write_over(struct fuzz_input *input)
{
	const struct ledger_unit zeros = {.index = fuzz_input_byte(input) % UNITS,
					  .count = 1 + fuzz_input_byte(input) % 8,
					  .state = UNIT_DONE,
					  .is_zero = TRUE};
	struct ledger_unit unit;

	if (!ledger_units_put(ledger, PASS, &zeros, 1, NULL))
		return;
	fuzz_require(ledger_unit_get(ledger, PASS, zeros.index + zeros.count - 1, &unit, NULL));
	fuzz_require(unit.index == zeros.index && unit.count == zeros.count && unit.is_zero);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct ledger_unit unit;
	struct digest root;

	if (!ledger)
		open_ledger();
	const guint8 wanted = fuzz_input_byte(&input);
	const guint8 first = fuzz_input_byte(&input), count = fuzz_input_byte(&input);
	struct fuzz_input written = {(const uint8_t[]){first, count}, 2};

	insert_rows(&input);
	ledger_units_each(ledger, PASS, check_unit, &ledger, NULL);
	ledger_unit_get(ledger, PASS, wanted, &unit, NULL);
	copy_root(ledger, PASS, UNITS * (guint64)UNIT_BYTES, UNIT_BYTES, &root, NULL);
	plan();
	write_over(&written);
	return 0;
}
