/*
 * The cells of tests/matrix/table that the fakes can show: a fault at every moment of a
 * row, the end that the table names, and what has to be true then.
 *
 *     MATRIX_RESULTS=FILE     a line for each cell that was as the table says
 *     MATRIX_ALL=1            every moment, not only the first two
 *     MATRIX_TELL=1           tells the endings on stderr
 */
#include "common/error.h"
#include "tests/faked/disturb.h"
#include "tests/faked/matrix.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOMENTS_MOST = 8, CELL_SECONDS = 120 };

static const char table_path[] = "tests/matrix/table";
static GPtrArray *cells; /* those of the fakes */

/* One fault at one moment, and what came of it. */
struct trial {
	const struct matrix_cell *cell;
	const struct matrix_fault *fault;
	guint number, moment;
	struct matrix_strike *strike;
	guint met;
	char outcome;
};

/* Behind the first moment; with MATRIX_ALL that one again. */
static guint moment_next(void)
{
	return getenv("MATRIX_ALL") ? 0 : 1;
}

static guint moment_last(void)
{
	return getenv("MATRIX_ALL") ? MOMENTS_MOST : 1;
}

static const char *gets(const struct trial *trial)
{
	return moves_shapes[trial->number % MOVES_SHAPES].gets;
}

static gboolean goes_home(const struct trial *trial)
{
	return g_str_has_prefix(trial->cell->row, "undo-") ||
	       g_str_equal(trial->cell->row, "put-back");
}

/* The guest writes on while nobody is at work on its disk.  One that we suspended cannot. */
static void look_and_write(void)
{
	if (fake_domain_run(FAKE_UUID) != RUN_RUNNING)
		return;
	scene_assert_content(&scene);
	scene_write(&scene, 90, 2, 0x99);
}

/* A guest whose memory was saved runs as it did when it is started.  FALSE: it was not. */
static gboolean wake_up(void)
{
	struct domain_state state;

	if (!session_state(scene.context.session, FAKE_UUID, &state, NULL) || !state.managed_save)
		return FALSE;
	ck_assert(fake_start(FAKE_UUID));
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	return TRUE;
}

static gboolean has_job(void)
{
	g_autoptr(GPtrArray) jobs = ledger_job_list(scene.ledger, FALSE, NULL);

	return jobs->len > 0;
}

/* Held, killed or left to a person: with the fault gone, resume brings it to its end. */
static char finish(const struct trial *trial, char forward, char back)
{
	g_autoptr(GError) error = NULL;

	look_and_write();
	if (!has_job()) {
		ck_assert(!goes_home(trial));
		if (wake_up())
			trial->strike->then = RUN_RUNNING;
		moves_done();
		return forward;
	}
	if (scene_resume(&scene, &error))
		return forward;
	if (error_exit_status(error) == 5)
		return 'p';
	ck_assert_msg(scene_result(&scene) == JOB_ROLLED_BACK, "exit %d: %s",
		      error_exit_status(error), error->message);
	return back;
}

static gboolean is_home(char outcome)
{
	return outcome == 'b' || outcome == 'l' || g_ascii_isupper(outcome);
}

static gboolean is_copy_left(void)
{
	g_autofree char *listing = fake_listing("dst");

	return *listing != '\0';
}

/* What a destination that did not answer kept: as an admin, or gc, would do later. */
static void remove_partial_copy(void)
{
	g_autofree char *listing = fake_listing("dst");
	g_auto(GStrv) names = g_strsplit(g_strchomp(listing), "\n", -1);

	for (guint i = 0; names[i]; i++) {
		g_autofree char *name = g_strconcat("dst/", names[i], NULL);
		g_autofree char *path = fake_path(name);

		ck_assert_int_eq(unlink(path), 0);
	}
}

/* It is in another process; here the test resumes the guest in its stead. */
static void assert_guardian_is_left(void)
{
	AUTO(job) job = scene_job(&scene);

	ck_assert(job->awaited);
	ck_assert_int_ge(fake_log_find("stand guard", -1), 0);
}

static char end_of(const struct trial *trial, int status)
{
	switch (status) {
	case 0:
		return 'd';
	case SCENE_KILLED:
		return finish(trial, 'k', 'K');
	case 3:
		if (fake_domain_run(FAKE_UUID) != trial->strike->then) {
			assert_guardian_is_left();
			return finish(trial, 'g', 'G');
		}
		return finish(trial, 'h', 'H');
	case 5:
		return finish(trial, 'o', 'O');
	case 1:
	case 4:
		if (!has_job())
			return finish(trial, 'x', 'x');
		ck_assert_int_eq(scene_result(&scene), JOB_ROLLED_BACK);
		return is_copy_left() ? 'l' : 'b';
	default:
		ck_abort_msg("exit %d", status);
	}
}

/* The job has ended: nothing is to be done about it any more. */
static void assert_resume_changes_nothing(void)
{
	g_autofree char *log = fake_log(), *live = fake_domain_xml(FAKE_UUID, FALSE);
	g_autofree char *inactive = fake_domain_xml(FAKE_UUID, TRUE);
	g_autoptr(GError) error = NULL;

	ck_assert(!scene_resume(&scene, &error));
	ck_assert_int_eq(error_exit_status(error), 2);
	g_autofree char *log_now = fake_log(), *live_now = fake_domain_xml(FAKE_UUID, FALSE);
	g_autofree char *inactive_now = fake_domain_xml(FAKE_UUID, TRUE);

	ck_assert_str_eq(log, log_now);
	ck_assert_str_eq(live, live_now);
	ck_assert_str_eq(inactive, inactive_now);
}

/* But for a copy that was rolled back, and waits for the next move. */
static void assert_gc_finds_nothing(const struct trial *trial)
{
	const gboolean is_a_year_later = g_str_equal(trial->cell->column, "clock");
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) leftovers = move_gc(&scene.context, FALSE, TRUE, &error);

	ck_assert_msg(leftovers != NULL, "%s", error ? error->message : "");
	for (guint i = 0; i < leftovers->len; i++) {
		const struct move_leftover *leftover = g_ptr_array_index(leftovers, i);

		if (is_a_year_later && g_str_equal(leftover->kind, "job folder"))
			continue;
		ck_assert_msg(g_str_equal(leftover->kind, "partial copy"), "%s %s: %s",
			      leftover->kind, leftover->name, leftover->why);
	}
}

static void assert_place(const struct trial *trial)
{
	if (is_home(trial->outcome))
		scene_assert_home(&scene);
	else
		scene_assert_moved(&scene, gets(trial));
}

static void assert_end(const struct trial *trial)
{
	if (trial->outcome == 'l')
		remove_partial_copy();
	assert_place(trial);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), trial->strike->then);
	assert_resume_changes_nothing();
	assert_gc_finds_nothing(trial);
	if (wake_up())
		assert_place(trial);
}

static void run_trial(struct trial *trial)
{
	matrix_open(trial->cell->row, trial->fault, trial->number);
	matrix_arm(trial->cell->row, trial->fault, trial->moment, trial->strike);
	int status = scene_apart(&scene, matrix_move);

	trial->met = disturb_met();
	disturb_clear();
	trial->outcome = end_of(trial, status);
	if (getenv("MATRIX_TELL"))
		fprintf(stderr, "%s %s %u: %s%c exit %d met %u run %d\n", trial->cell->row,
			trial->cell->column, trial->moment,
			trial->strike->done ? "" : "(not struck) ", trial->outcome, status,
			trial->met, fake_domain_run(FAKE_UUID));
	if (trial->outcome != 'p')
		assert_end(trial);
	scene_close(&scene);
}

static void note_result(const struct matrix_cell *cell)
{
	const char *path = getenv("MATRIX_RESULTS");

	if (!path)
		return;
	g_autofree char *line = g_strdup_printf("%s %s f\n", cell->row, cell->column);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, line, strlen(line)), (ssize_t)strlen(line));
	close(fd);
}

/* FALSE: the row has no such moment. */
static gboolean try_moment(struct trial *trial, guint moment)
{
	const struct matrix_cell *cell = trial->cell;

	trial->moment = moment;
	run_trial(trial);
	trial->number++;
	if (!trial->strike->done)
		return FALSE;
	ck_assert_msg(strchr(cell->outcomes, trial->outcome) != NULL,
		      "%s, %s, moment %u: it ended with %c, not one of %s", cell->row, cell->column,
		      moment, trial->outcome, cell->outcomes);
	return TRUE;
}

START_TEST(a_fault_ends_as_the_table_says)
{
	const struct matrix_cell *cell = cells->pdata[_i];
	struct trial trial = {.cell = cell, .fault = matrix_fault_find(cell->column)};
	guint met;

	ck_assert_msg(trial.fault != NULL, "the fakes have no fault %s", cell->column);
	trial.strike = mmap(NULL, sizeof *trial.strike, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	/* First with rounds that are written into the image, then with such that become layers. */
	ck_assert_msg(try_moment(&trial, 0), "the move never came to %s", cell->row);
	met = trial.met;
	trial.number = 2;
	for (guint moment = moment_next(); moment <= moment_last(); moment++) {
		if (!try_moment(&trial, moment))
			break;
		met += trial.met;
	}
	ck_assert_msg(met > 0 || !trial.fault->is_met, "%s, %s: blockmig never noticed", cell->row,
		      cell->column);
	note_result(cell);
}
END_TEST

static void take_cells(void)
{
	GPtrArray *all = matrix_read(table_path);

	cells = g_ptr_array_new();
	for (guint i = 0; i < all->len; i++)
		if (*((struct matrix_cell *)all->pdata[i])->outcomes)
			g_ptr_array_add(cells, all->pdata[i]);
}

int main(void)
{
	Suite *suite = suite_create("matrix");
	TCase *faults = tcase_create("faults");

	take_cells();
	tcase_set_timeout(faults, CELL_SECONDS);
	tcase_add_loop_test(faults, a_fault_ends_as_the_table_says, 0, (int)cells->len);
	suite_add_tcase(suite, faults);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
