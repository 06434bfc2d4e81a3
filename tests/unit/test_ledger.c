#include "tests/unit/ledgers.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* As after the process died and another one came. */
static void reopen(void)
{
	ledger_close(ledger);
	ledger = ledger_open(folder, &error);
	ck_ok(ledger != NULL);
}

static gint64 add_job(const char *uuid, const char *disk)
{
	struct ledger_job job = {.kind = (char *)"migrate",
				 .domain_uuid = (char *)uuid,
				 .domain_name = (char *)"vm",
				 .disk = (char *)disk,
				 .source = (char *)"/a",
				 .destination = (char *)"nfs://x/b",
				 .state = (char *)"{}"};

	ck_ok(ledger_job_add(ledger, &job, &error));
	return job.id;
}

/* ---- jobs and phases -------------------------------------------------------------------- */

START_TEST(folder_is_private_and_named)
{
	struct stat status;

	ck_assert_int_eq(stat(folder, &status), 0);
	ck_assert_int_eq(status.st_mode & 0777, 0700);
	ck_assert_str_eq(ledger_folder(ledger), folder);
}
END_TEST

START_TEST(job_survives_the_process)
{
	const gint64 id = add_job("u1", "vda");

	ck_ok(ledger_job_save(ledger, id, "{\"a\":1}", &error));
	ck_ok(ledger_job_note(ledger, id, "no route", &error));
	reopen();
	AUTO(ledger_job) job = ledger_job_get(ledger, id, &error);
	ck_ok(job != NULL);
	ck_assert_str_eq(job->kind, "migrate");
	ck_assert_str_eq(job->domain_uuid, "u1");
	ck_assert_str_eq(job->domain_name, "vm");
	ck_assert_str_eq(job->disk, "vda");
	ck_assert_str_eq(job->source, "/a");
	ck_assert_str_eq(job->destination, "nfs://x/b");
	ck_assert_str_eq(job->state, "{\"a\":1}");
	ck_assert_str_eq(job->message, "no route");
	ck_assert_int_eq(job->result, JOB_OPEN);
	ck_assert_int_gt(job->created_s, 0);
}
END_TEST

START_TEST(open_job_is_found_by_its_disk_until_it_ends)
{
	const gint64 id = add_job("u1", "vda");

	add_job("u1", "vdb");
	{
		AUTO(ledger_job) job = ledger_job_find(ledger, "u1", "vda", &error);
		ck_ok(job != NULL);
		ck_assert_int_eq(job->id, id);
	}
	ck_ok(ledger_job_end(ledger, id, JOB_DONE, "", &error));
	AUTO(ledger_job) none = ledger_job_find(ledger, "u1", "vda", &error);
	ck_assert_ptr_null(none);
	ck_assert_ptr_null(error);

	g_autoptr(GPtrArray) all = ledger_job_list(ledger, FALSE, &error);
	g_autoptr(GPtrArray) open = ledger_job_list(ledger, TRUE, &error);
	ck_assert_uint_eq(all->len, 2);
	ck_assert_uint_eq(open->len, 1);
	ck_assert_int_eq(((struct ledger_job *)all->pdata[0])->result, JOB_DONE);
}
END_TEST

START_TEST(unknown_job_is_not_found)
{
	ck_assert_ptr_null(ledger_job_get(ledger, 77, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_NOT_FOUND));
	g_clear_error(&error);
	ck_assert(!ledger_job_save(ledger, 77, "", &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_NOT_FOUND));
}
END_TEST

START_TEST(phases_tell_the_time_line)
{
	const gint64 id = add_job("u1", "vda");

	ck_ok(ledger_phase_begin(ledger, id, "freeze", FALSE, &error));
	ck_ok(ledger_phase_end(ledger, id, "freeze", FALSE, "done", &error));
	ck_ok(ledger_phase_begin(ledger, id, "seed", FALSE, &error));
	ck_ok(ledger_phase_end(ledger, id, "seed", FALSE, "no route", &error));
	ck_ok(ledger_phase_begin(ledger, id, "freeze", TRUE, &error));
	reopen();
	g_autoptr(GPtrArray) phases = ledger_phase_list(ledger, id, &error);
	ck_assert_uint_eq(phases->len, 3);
	const struct ledger_phase *seed = phases->pdata[1], *undo = phases->pdata[2];
	ck_assert_str_eq(seed->name, "seed");
	ck_assert_str_eq(seed->outcome, "no route");
	ck_assert_int_ge(seed->ended_us, seed->begun_us);
	ck_assert(undo->undo);
	ck_assert_int_eq(undo->ended_us, 0);

	AUTO(ledger_job) job = ledger_job_get(ledger, id, &error);
	ck_assert_str_eq(job->phase, "freeze");
	ck_assert(job->undoing);
	ck_assert(!job->phase_ended);
}
END_TEST

START_TEST(a_failed_phase_has_not_ended)
{
	const gint64 id = add_job("u1", "vda");

	ck_ok(ledger_phase_begin(ledger, id, "seed", FALSE, &error));
	ck_ok(ledger_phase_end(ledger, id, "seed", FALSE, _i ? "done" : "no route", &error));
	AUTO(ledger_job) job = ledger_job_get(ledger, id, &error);
	ck_assert_int_eq(job->phase_ended, _i);
}
END_TEST

/* ---- units --------------------------------------------------------------------------- */

static gint64 open_pass(void)
{
	gint64 pass;

	ck_ok(ledger_pass_open(ledger, 1, "seed", 4096, 1000, &pass, &error));
	return pass;
}

static gint64 pass_named(gint64 job, const char *name)
{
	gint64 pass;

	ck_ok(ledger_pass_find(ledger, job, name, &pass, &error));
	return pass;
}

static void put_run(gint64 pass, guint64 first, guint64 count, enum unit_state state)
{
	const struct ledger_unit unit = {
		.index = first, .count = count, .state = state, .is_zero = TRUE};

	ck_ok(ledger_units_put(ledger, pass, &unit, 1, &error));
}

static gboolean show(const struct ledger_unit *unit, void *data)
{
	g_string_append_printf(data, "%d+%d:%c%s ", (int)unit->index, (int)unit->count,
			       "-sdp"[unit->state], unit -> is_zero ? "0" : "");
	return TRUE;
}

static char *shown(gint64 pass)
{
	GString *text = g_string_new(NULL);

	ck_ok(ledger_units_each(ledger, pass, show, text, &error));
	return g_string_free(text, FALSE);
}

START_TEST(putting_into_a_run_splits_it)
{
	static const struct {
		guint64 first, count;
		enum unit_state state;
		const char *expected;
	} cases[] = {
		{50, 1, UNIT_SENT, "10+40:d0 50+1:s 51+49:d0 "},
		{10, 1, UNIT_SENT, "10+1:s 11+89:d0 "},
		{99, 1, UNIT_SENT, "10+89:d0 99+1:s "},
		{5, 10, UNIT_PROVEN, "5+10:p0 15+85:d0 "},
		{95, 10, UNIT_PROVEN, "10+85:d0 95+10:p0 "},
		{0, 200, UNIT_PROVEN, "0+200:p0 "},
		{20, 30, UNIT_PENDING, "10+10:d0 50+50:d0 "},
		{200, 1, UNIT_DONE, "10+90:d0 200+1:d0 "},
	};
	const gint64 pass = open_pass();
	g_autofree char *text = NULL;

	put_run(pass, 10, 90, UNIT_DONE);
	put_run(pass, cases[_i].first, cases[_i].count, cases[_i].state);
	text = shown(pass);
	ck_assert_str_eq(text, cases[_i].expected);
}
END_TEST

static gboolean show_first(const struct ledger_unit *unit, void *data)
{
	show(unit, data);
	return FALSE;
}

START_TEST(a_visit_ends_where_it_is_told_to)
{
	const gint64 pass = open_pass();
	g_autoptr(GString) text = g_string_new(NULL);

	put_run(pass, 0, 5, UNIT_DONE);
	put_run(pass, 7, 5, UNIT_DONE);
	ck_ok(ledger_units_each(ledger, pass, show_first, text, &error));
	ck_assert_str_eq(text->str, "0+5:d0 ");
	/* And keeps nothing locked. */
	put_run(pass, 0, 20, UNIT_PROVEN);
}
END_TEST

START_TEST(nothing_put_is_nothing_changed)
{
	const gint64 pass = open_pass();
	g_autofree char *text = NULL;

	put_run(pass, 0, 5, UNIT_DONE);
	ck_ok(ledger_units_put(ledger, pass, NULL, 0, &error));
	text = shown(pass);
	ck_assert_str_eq(text, "0+5:d0 ");
}
END_TEST

START_TEST(unit_survives_with_its_digest)
{
	struct ledger_unit unit = {.index = 3, .count = 1, .state = UNIT_DONE, .data_bytes = 77};
	const gint64 pass = open_pass();
	struct ledger_unit found;

	digest_compute("x", 1, &unit.digest);
	ck_ok(ledger_units_put(ledger, pass, &unit, 1, &error));
	reopen();
	ck_assert_int_eq(pass_named(1, "seed"), pass);
	ck_ok(ledger_unit_get(ledger, pass, 3, &found, &error));
	ck_assert_int_eq(found.state, UNIT_DONE);
	ck_assert(!found.is_zero);
	ck_assert_uint_eq(found.data_bytes, 77);
	ck_assert(digest_equal(&found.digest, &unit.digest));
	ck_ok(ledger_unit_get(ledger, pass, 4, &found, &error));
	ck_assert_int_eq(found.state, UNIT_PENDING);
}
END_TEST

START_TEST(a_pass_keeps_its_number_of_chunks)
{
	gint64 again;

	open_pass();
	ck_assert(!ledger_pass_open(ledger, 1, "seed", 4096, 999, &again, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_PERMANENT));
	ck_assert_ptr_nonnull(strstr(error->message, "with 1000 chunks, and its source has 999 "));
	ck_assert_ptr_null(strstr(error->message, "chunk size"));
}
END_TEST

START_TEST(a_pass_keeps_its_chunk_size)
{
	const gint64 pass = open_pass();
	gint64 again;

	ck_ok(ledger_pass_open(ledger, 1, "seed", 4096, 1000, &again, &error));
	ck_assert_int_eq(again, pass);
	ck_assert(!ledger_pass_open(ledger, 1, "seed", 8192, 500, &again, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_PERMANENT));
	ck_assert_ptr_nonnull(strstr(error->message, "with chunks of 4 KiB, not of 8 KiB; give"));
	ck_assert_int_eq(pass_named(1, "round-1"), 0);
}
END_TEST

START_TEST(a_cleared_pass_has_no_rows)
{
	const gint64 pass = open_pass();
	g_autofree char *text = NULL;

	put_run(pass, 0, 10, UNIT_DONE);
	ck_ok(ledger_pass_clear(ledger, pass, &error));
	text = shown(pass);
	ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(a_pass_of_another_size_forgets_what_lies_behind)
{
	static const struct {
		guint64 units;
		const char *expected;
	} cases[] = {
		{2000, "10+90:d0 200+1:p0 "},
		{201, "10+90:d0 200+1:p0 "},
		{200, "10+90:d0 "},
		{50, "10+40:d0 "},
		{10, ""},
	};
	const gint64 pass = open_pass();
	gint64 again;
	g_autofree char *text = NULL;

	put_run(pass, 10, 90, UNIT_DONE);
	put_run(pass, 200, 1, UNIT_PROVEN);
	ck_ok(ledger_pass_resize(ledger, pass, cases[_i].units, &error));
	text = shown(pass);
	ck_assert_str_eq(text, cases[_i].expected);
	ck_ok(ledger_pass_open(ledger, 1, "seed", 4096, cases[_i].units, &again, &error));
	ck_assert_int_eq(again, pass);
}
END_TEST

/* ---- kept copies --------------------------------------------------------------------------- */

/* A job with two passes of which the first has rows. */
static gint64 add_copy(gint64 *pass)
{
	const gint64 job = add_job("u1", "vda");
	gint64 round;

	ck_ok(ledger_pass_open(ledger, job, "base", 4096, 1000, pass, &error));
	ck_ok(ledger_pass_open(ledger, job, "round-1", 4096, 3, &round, &error));
	put_run(*pass, 0, 10, UNIT_DONE);
	put_run(round, 0, 3, UNIT_DONE);
	return job;
}

static guint kept_count(void)
{
	g_autoptr(GPtrArray) kept = ledger_kept_list(ledger, &error);

	ck_ok(kept != NULL);
	return kept->len;
}

START_TEST(a_copy_is_kept_once_its_job_is_rolled_back)
{
	gint64 pass;
	const gint64 job = add_copy(&pass);

	ck_assert_uint_eq(kept_count(), 0);
	ck_ok(ledger_job_end(ledger, job, _i ? JOB_DONE : JOB_ROLLED_BACK, "", &error));
	ck_assert_uint_eq(kept_count(), _i ? 0 : 1);
	ck_ok(ledger_kept_forget(ledger, job, &error));
	ck_assert_uint_eq(kept_count(), 0);
	ck_assert_int_eq(pass_named(job, "base"), 0);
}
END_TEST

START_TEST(a_kept_copy_is_taken_over_by_one_job)
{
	gint64 pass, again;
	const gint64 old = add_copy(&pass), next = add_job("u1", "vda"),
		     late = add_job("u1", "vdb");
	g_autofree char *text = NULL;

	ck_ok(ledger_job_end(ledger, old, JOB_ROLLED_BACK, "", &error));
	ck_ok(ledger_kept_take(ledger, old, next, "base", 5, &error));
	reopen();
	ck_assert_uint_eq(kept_count(), 0);
	ck_assert_int_eq(pass_named(old, "round-1"), 0);
	ck_ok(ledger_pass_open(ledger, next, "base", 4096, 5, &again, &error));
	ck_assert_int_eq(again, pass);
	text = shown(pass);
	ck_assert_str_eq(text, "0+5:d0 ");
	ck_assert(!ledger_kept_take(ledger, old, late, "base", 5, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_NOT_FOUND));
}
END_TEST

START_TEST(a_chunk_costs_less_than_a_hundred_bytes)
{
	enum { UNITS = 20000, BATCH = 16 };
	struct ledger_unit units[BATCH];
	const gint64 pass = open_pass();
	g_autofree char *path = g_build_filename(folder, "ledger.db", NULL);
	struct stat status;

	for (guint64 first = 0; first < UNITS; first += BATCH) {
		for (guint i = 0; i < BATCH; i++) {
			units[i] = (struct ledger_unit){.index = first + i,
							.count = 1,
							.state = UNIT_PROVEN,
							.data_bytes = 4 << 20};
			digest_compute(&units[i].index, sizeof units[i].index, &units[i].digest);
		}
		ck_ok(ledger_units_put(ledger, pass, units, BATCH, &error));
	}
	reopen(); /* the last connection to close puts all into the file */
	ck_assert_int_eq(stat(path, &status), 0);
	ck_assert_int_lt(status.st_size, UNITS * 100);
}
END_TEST

/* ---- threads ------------------------------------------------------------------------- */

static gpointer put_many(gpointer data)
{
	const gint64 pass = *(gint64 *)data;

	for (guint i = 0; i < 50; i++)
		put_run(pass, i, 1, UNIT_DONE);
	return NULL;
}

START_TEST(threads_share_a_ledger)
{
	GThread *threads[4];
	gint64 passes[4];

	for (guint i = 0; i < 4; i++) {
		ck_ok(ledger_pass_open(ledger, i, "seed", 1, 50, &passes[i], &error));
		threads[i] = g_thread_new("putter", put_many, &passes[i]);
	}
	for (guint i = 0; i < 4; i++) {
		struct ledger_unit unit;

		g_thread_join(threads[i]);
		ck_ok(ledger_unit_get(ledger, passes[i], 49, &unit, &error));
		ck_assert_int_eq(unit.state, UNIT_DONE);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ledger");
	TCase *tests = tcase_create("ledger");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_set_timeout(tests, 60);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, folder_is_private_and_named);
	tcase_add_test(tests, job_survives_the_process);
	tcase_add_test(tests, open_job_is_found_by_its_disk_until_it_ends);
	tcase_add_test(tests, unknown_job_is_not_found);
	tcase_add_test(tests, phases_tell_the_time_line);
	tcase_add_loop_test(tests, a_failed_phase_has_not_ended, 0, 2);
	tcase_add_loop_test(tests, putting_into_a_run_splits_it, 0, 8);
	tcase_add_test(tests, a_visit_ends_where_it_is_told_to);
	tcase_add_test(tests, nothing_put_is_nothing_changed);
	tcase_add_test(tests, unit_survives_with_its_digest);
	tcase_add_test(tests, a_pass_keeps_its_chunk_size);
	tcase_add_test(tests, a_pass_keeps_its_number_of_chunks);
	tcase_add_test(tests, a_cleared_pass_has_no_rows);
	tcase_add_loop_test(tests, a_pass_of_another_size_forgets_what_lies_behind, 0, 5);
	tcase_add_loop_test(tests, a_copy_is_kept_once_its_job_is_rolled_back, 0, 2);
	tcase_add_test(tests, a_kept_copy_is_taken_over_by_one_job);
	tcase_add_test(tests, a_chunk_costs_less_than_a_hundred_bytes);
	tcase_add_test(tests, threads_share_a_ledger);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
