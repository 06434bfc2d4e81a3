/*
 * Our own death just before and just after every durable step of a move: each commit of
 * the ledger, each call to libvirt that changes something, each flush of the destination,
 * each image that is made or removed.  A run that nobody disturbs counts them.
 */
#include "tests/faked/moves.h"

#include <check.h>
#include <stdlib.h>
#include <sys/mman.h>

/* The moves that are disturbed: rounds that are written into the image, and such that become
 * layers. */
static const struct {
	enum domain_run run;
	int shape;
} moves[] = {
	{RUN_RUNNING, 0},
	{RUN_RUNNING, 2},
	{RUN_OFF, 0},
	{RUN_OFF, 2},
};

static void open_move(int which)
{
	moves_open(&moves_shapes[moves[which].shape], moves[which].run);
	moves_write_in_between();
	/* Two chunks are as good as eight. */
	scene.options.chunk_bytes = SCENE_BYTES / 2;
	moves_at("define", 1, FAKE_AFTER, moves_start_and_stop, NULL);
}

/* ---- counting ---------------------------------------------------------------------------- */

static guint *counted; /* steps of each move, in shared memory */

static void count(void *which)
{
	g_atomic_int_inc(&counted[GPOINTER_TO_INT(which)]);
}

START_TEST(a_move_that_nobody_disturbs)
{
	open_move(_i);
	fake_fault(&(struct fake_fault){.call = FAKE_ANY_STEP,
					.lasting = TRUE,
					.code = FAKE_NO_ERROR,
					.hook = count,
					.data = GINT_TO_POINTER(_i)});
	moves_done();
	scene_close(&scene);
}
END_TEST

/* ---- dying --------------------------------------------------------------------------------- */

/* Step @i / 2, before (even) and after (odd) it. */
static void die_at(int i)
{
	fake_fault(&(struct fake_fault){.call = FAKE_ANY_STEP,
					.nth = (guint)i / 2 + 1,
					.when = i % 2 ? FAKE_AFTER : FAKE_BEFORE,
					.code = FAKE_KILL});
}

static void survive(int which, int i)
{
	enum domain_run run = moves[which].run;

	open_move(which);
	die_at(i);
	if (scene_apart(&scene, scene_move) == SCENE_KILLED) {
		g_autoptr(GPtrArray) jobs = ledger_job_list(scene.ledger, FALSE, NULL);

		scene_assert_content(&scene);
		if (!jobs->len)
			moves_done();
		else if (scene_result(&scene) == JOB_OPEN)
			moves_resume_done();
	}
	scene_assert_moved(&scene, moves_shapes[moves[which].shape].gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), run);
	scene_close(&scene);
}

START_TEST(a_live_move_of_a_raw_image_survives)
{
	survive(0, _i);
}
END_TEST

START_TEST(a_live_move_of_layers_survives)
{
	survive(1, _i);
}
END_TEST

START_TEST(a_cold_move_of_a_raw_image_survives)
{
	survive(2, _i);
}
END_TEST

START_TEST(a_cold_move_of_layers_survives)
{
	survive(3, _i);
}
END_TEST

static int run_suite(Suite *suite)
{
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed;
}

/* The loops of the second suite are as long as the first one counted. */
int main(void)
{
	Suite *counting = suite_create("move steps, counted");
	Suite *dying = suite_create("move steps");
	TCase *undisturbed = tcase_create("undisturbed");
	TCase *steps = tcase_create("steps");

	counted = mmap(NULL, sizeof *counted * G_N_ELEMENTS(moves), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	tcase_add_loop_test(undisturbed, a_move_that_nobody_disturbs, 0, G_N_ELEMENTS(moves));
	suite_add_tcase(counting, undisturbed);
	if (run_suite(counting) > 0)
		return EXIT_FAILURE;
	tcase_add_loop_test(steps, a_live_move_of_a_raw_image_survives, 0, 2 * (int)counted[0]);
	tcase_add_loop_test(steps, a_live_move_of_layers_survives, 0, 2 * (int)counted[1]);
	tcase_add_loop_test(steps, a_cold_move_of_a_raw_image_survives, 0, 2 * (int)counted[2]);
	tcase_add_loop_test(steps, a_cold_move_of_layers_survives, 0, 2 * (int)counted[3]);
	suite_add_tcase(dying, steps);
	return run_suite(dying) > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
