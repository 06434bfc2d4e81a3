/*
 * One live move that is interrupted fifty times: killed, or refused a call for now, at
 * random.  BLOCKMIG_SEED=N repeats one that failed.
 */
#include "common/error.h"
#include "common/units.h"
#include "tests/faked/moves.h"

#include <check.h>
#include <stdlib.h>
#include <unistd.h>

enum { INTERRUPTIONS = 50, SEEDS = 4 };

static guint32 seed_of(int i)
{
	const char *given = g_getenv("BLOCKMIG_SEED");

	return given ? (guint32)g_ascii_strtoull(given, NULL, 10) : (guint32)(i + 1);
}

/*
 * At one of the next few calls, whichever they are; at the gate at the latest, so that
 * the first fifty are spread over the phases before the cutover.
 */
static void plan_interruption(GRand *random, guint number)
{
	static const char *const gates[] = {"qemu-io", "snapshot", "serve", "block-copy"};
	const guint open = number * G_N_ELEMENTS(gates) / INTERRUPTIONS;
	static const int codes[] = {FAKE_KILL, FAKE_KILL, BLOCKMIG_ERROR_TRANSIENT,
				    BLOCKMIG_ERROR_UNKNOWN};

	fake_fault(&(struct fake_fault){
		.nth = (guint)g_rand_int_range(random, 1, 4),
		.when = g_rand_boolean(random) ? FAKE_BEFORE : FAKE_AFTER,
		.code = codes[g_rand_int_range(random, 0, G_N_ELEMENTS(codes))],
	});
	for (guint i = open; i < G_N_ELEMENTS(gates); i++)
		fake_fault(&(struct fake_fault){.call = gates[i], .code = BLOCKMIG_ERROR_UNKNOWN});
}

START_TEST(a_move_that_is_interrupted_fifty_times_arrives)
{
	const guint32 seed = seed_of(_i);
	g_autoptr(GRand) random = g_rand_new_with_seed(seed);
	const struct moves_shape *shape = &moves_shapes[seed % MOVES_SHAPES];
	guint interruptions = 0;
	int status = SCENE_KILLED;

	moves_open(shape, RUN_RUNNING);
	/* Each fault is to end the command. */
	scene.options.retry_for_ms = 0;
	while (status != 0 && interruptions < 2 * INTERRUPTIONS) {
		moves_write_in_between();
		plan_interruption(random, interruptions);
		status = scene_apart(&scene, scene_move);
		/* 5: a pivot of unknown outcome, which the next run looks into. */
		ck_assert_msg(status == SCENE_KILLED || status == 0 || status == 3 || status == 5,
			      "seed %u: exit status %d", seed, status);
		interruptions += status != 0;
	}
	ck_assert_msg(interruptions >= INTERRUPTIONS, "seed %u: arrived after %u", seed,
		      interruptions);
	if (status != 0)
		moves_done();
	scene_assert_moved(&scene, shape->gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

/* As a path, by a link, or named in full. */
START_TEST(the_same_place_in_other_words_carries_on)
{
	static const char *const names[] = {"dst/", "link/", "dst/disk.raw"};
	g_autofree char *folder = NULL, *other = NULL, *name = NULL;

	moves_open_running();
	folder = fake_path("dst");
	other = fake_path("link");
	name = fake_path(names[_i]);
	ck_assert_int_eq(symlink(folder, other), 0);
	scene.options.delete_source = TRUE;
	fake_fault(&(struct fake_fault){.call = "block-copy", .code = FAKE_KILL});
	ck_assert_int_eq(scene_apart(&scene, scene_move), SCENE_KILLED);
	scene_go_to(&scene, name);
	moves_done();
	ck_assert_int_eq(scene_result(&scene), JOB_DONE);
	ck_assert(!g_file_test(scene.source, G_FILE_TEST_EXISTS));
	scene_assert_content(&scene);
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move interrupted");
	TCase *fifty = tcase_create("fifty");

	tcase_set_timeout(fifty, 120);
	tcase_add_loop_test(fifty, a_move_that_is_interrupted_fifty_times_arrives, 0, SEEDS);
	tcase_add_loop_test(fifty, the_same_place_in_other_words_carries_on, 0, 3);
	suite_add_tcase(suite, fifty);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
