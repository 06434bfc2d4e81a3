/*
 * What the phases' probes answer after our death, wherever the world stands then: the
 * phase's work is not begun, half done, done, undone by somebody else, or nobody answers.
 * And that the move goes on from there.
 */
#include "blockmig/move/phases.h"
#include "common/error.h"
#include "tests/faked/disturb.h"
#include "tests/faked/undos.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum standing (*probe_function)(struct move *, GError **);

/* In the order of their phases. */
static const probe_function probes[] = {claim_probe, freeze_probe, mirror_probe};

enum { PROBES = G_N_ELEMENTS(probes) };

/* As a process that takes the job over asks. */
static enum standing ask(probe_function probe, GError **error)
{
	g_autoptr(GError) failure = NULL;
	AUTO(move) move = move_new(&scene.context, scene_job(&scene), &failure);

	ck_assert_msg(move != NULL, "%s", failure ? failure->message : "");
	return probe(move, error);
}

static void answers(probe_function probe, enum standing wanted)
{
	g_autoptr(GError) error = NULL;
	enum standing standing = ask(probe, &error);

	ck_assert_msg(standing == wanted && !error, "%d: %s", standing,
		      error ? error->message : "");
}

static void knows_nothing(probe_function probe, enum blockmig_error code, const char *words)
{
	g_autoptr(GError) error = NULL;

	ck_assert_int_eq(ask(probe, &error), STANDING_UNKNOWN);
	ck_assert_msg(error_is(error, code), "%s", error->message);
	ck_assert_msg(strstr(error->message, words) != NULL, "%s", error->message);
}

static void goes_on(enum domain_run run)
{
	moves_resume_done();
	scene_assert_moved(&scene, "raw");
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), run);
	scene_close(&scene);
}

static void resume_fails(int status, const char *words)
{
	g_autoptr(GError) error = NULL;

	ck_assert(!scene_resume(&scene, &error));
	ck_assert_msg(error_exit_status(error) == status, "exit %d: %s", error_exit_status(error),
		      error->message);
	ck_assert_msg(strstr(error->message, words) != NULL, "%s", error->message);
}

static void goes_back(void)
{
	moves_abort_done();
	scene_assert_home(&scene);
	ck_assert_int_eq(scene_result(&scene), JOB_ROLLED_BACK);
	scene_close(&scene);
}

/* ---- wherever we died ------------------------------------------------------------------------ */

static const struct {
	struct undos_death death;
	guint done; /* so many of the probes say so */
} deaths[] = {
	{{"metadata", FAKE_BEFORE, RUN_RUNNING, 1}, 0},
	{{"metadata", FAKE_AFTER, RUN_RUNNING, 1}, 1},
	{{"metadata", FAKE_BEFORE, RUN_OFF, 1}, 0},
	{{"metadata", FAKE_AFTER, RUN_OFF, 1}, 1},
	{{"create-overlay", FAKE_BEFORE, RUN_RUNNING, 1}, 1},
	{{"create-overlay", FAKE_AFTER, RUN_PAUSED, 1}, 1},
	{{"snapshot", FAKE_BEFORE, RUN_RUNNING, 1}, 1},
	{{"snapshot", FAKE_AFTER, RUN_RUNNING, 1}, 2},
	{{"define", FAKE_BEFORE, RUN_OFF, 1}, 1},
	{{"define", FAKE_AFTER, RUN_OFF, 1}, 2},
	{{"block-copy", FAKE_BEFORE, RUN_RUNNING, 1}, 2},
	{{"block-copy", FAKE_AFTER, RUN_RUNNING, 1}, 2},
	{{"ready", FAKE_AFTER, RUN_RUNNING, 1}, 3},
	{{"suspend", FAKE_AFTER, RUN_RUNNING, 1}, 3},
	{{"pivot", FAKE_AFTER, RUN_RUNNING, 1}, 3},
	{{"pivot", FAKE_AFTER, RUN_PAUSED, 1}, 3},
	{{"resume", FAKE_AFTER, RUN_RUNNING, 1}, 3},
};

START_TEST(each_probe_knows_where_we_died)
{
	undos_open(&deaths[_i].death);
	undos_killed();
	for (guint i = 0; i < PROBES; i++)
		answers(probes[i], i < deaths[_i].done ? STANDING_DONE : STANDING_NOT_DONE);
	goes_on(deaths[_i].death.run);
}
END_TEST

/* Whatever a mirror or an overlay was: with the guest its block job has ended, too. */
START_TEST(a_guest_that_was_shut_off_since_is_probed_as_it_is_defined)
{
	undos_die("ready", FAKE_AFTER, RUN_RUNNING);
	fake_off(FAKE_UUID);
	answers(claim_probe, STANDING_DONE);
	answers(freeze_probe, STANDING_DONE);
	answers(mirror_probe, STANDING_NOT_DONE);
	goes_on(RUN_OFF);
}
END_TEST

START_TEST(a_guest_that_was_started_since_is_probed_as_it_runs)
{
	undos_die("define", FAKE_AFTER, RUN_OFF);
	ck_assert(fake_start(FAKE_UUID));
	scene_write(&scene, 9, 2, 0x33);
	answers(claim_probe, STANDING_DONE);
	answers(freeze_probe, STANDING_DONE);
	answers(mirror_probe, STANDING_NOT_DONE);
	goes_on(RUN_RUNNING);
}
END_TEST

/* ---- undone, or done otherwise, by somebody else ------------------------------------------- */

START_TEST(an_element_that_somebody_removed_is_not_ours_any_more)
{
	undos_die("snapshot", FAKE_AFTER, RUN_RUNNING);
	ck_assert(session_metadata_set(scene.session, FAKE_UUID, NULL, TRUE, TRUE, NULL));
	answers(claim_probe, STANDING_NOT_DONE);
	resume_fails(75, "web lost this job's element");
	goes_back();
}
END_TEST

START_TEST(another_jobs_element_says_nothing_about_ours)
{
	g_autofree char *theirs = xml_metadata(99, "vda", "somebody-elses-nonce", "/a", "/b", "");

	undos_die("metadata", FAKE_BEFORE, RUN_RUNNING);
	ck_assert(session_metadata_set(scene.session, FAKE_UUID, theirs, TRUE, TRUE, NULL));
	knows_nothing(claim_probe, BLOCKMIG_ERROR_BUSY, "domain web carries another job's element");
	resume_fails(75, "somebody-elses-nonce");
	ck_assert(session_metadata_set(scene.session, FAKE_UUID, NULL, TRUE, TRUE, NULL));
	goes_on(RUN_RUNNING);
}
END_TEST

/* virsh blockcommit --active --pivot */
static void commit_by_hand(void)
{
	ck_assert(session_block_commit(scene.session, FAKE_UUID, "vda", "vda[1]", NULL, TRUE, 0,
				       NULL));
	session_events_wait(scene.session, FAKE_UUID, "vda", 0);
	ck_assert(session_pivot(scene.session, FAKE_UUID, "vda", 0, NULL));
}

START_TEST(a_freeze_that_somebody_undid_is_done_again)
{
	undos_die("snapshot", FAKE_AFTER, RUN_RUNNING);
	answers(freeze_probe, STANDING_DONE);
	commit_by_hand();
	answers(freeze_probe, STANDING_NOT_DONE);
	goes_on(RUN_RUNNING);
}
END_TEST

START_TEST(a_mirror_that_somebody_ended_is_started_again)
{
	undos_die("ready", FAKE_AFTER, RUN_RUNNING);
	answers(mirror_probe, STANDING_DONE);
	ck_assert(session_block_abort(scene.session, FAKE_UUID, "vda", NULL));
	answers(mirror_probe, STANDING_NOT_DONE);
	goes_on(RUN_RUNNING);
}
END_TEST

/* ---- somebody else's mirror ---------------------------------------------------------------- */

/* Before and after we had a place for our own; onto a file, and onto a device. */
START_TEST(somebody_elses_mirror_is_not_ours)
{
	static const char *const calls[] = {"snapshot", "block-copy"};
	static const enum source_type types[] = {SOURCE_FILE, SOURCE_BLOCK};

	undos_die(calls[_i % 2], _i % 2 ? FAKE_BEFORE : FAKE_AFTER, RUN_RUNNING);
	undos_copy_elsewhere(types[_i / 2]);
	session_events_wait(scene.session, FAKE_UUID, "vda", 0);
	answers(mirror_probe, STANDING_NOT_DONE);
	ck_assert(session_block_abort(scene.session, FAKE_UUID, "vda", NULL));
	goes_on(RUN_RUNNING);
}
END_TEST

/* ---- nobody answers ---------------------------------------------------------------------- */

enum { MOST_QUESTIONS = 2 };

/* At the first or the second question. */
START_TEST(a_libvirtd_that_is_away_is_no_answer)
{
	undos_die("ready", FAKE_AFTER, RUN_RUNNING);
	disturb_libvirtd_after((guint)_i / PROBES);
	knows_nothing(probes[_i % PROBES], BLOCKMIG_ERROR_TRANSIENT, "Connection refused");
	disturb_libvirtd();
	resume_fails(3, "Connection refused");
	ck_assert_int_eq(scene_result(&scene), JOB_OPEN);
	disturb_clear();
	goes_on(RUN_RUNNING);
}
END_TEST

START_TEST(a_disk_that_was_taken_away_is_no_answer)
{
	g_autofree char *with = NULL, *without = NULL;

	undos_die("snapshot", FAKE_AFTER, RUN_RUNNING);
	with = fake_domain_xml(FAKE_UUID, FALSE);
	without = undos_without_disk(with);
	fake_domain_set_xml(FAKE_UUID, FALSE, without);
	for (guint i = 1; i < PROBES; i++)
		knows_nothing(probes[i], BLOCKMIG_ERROR_PERMANENT, "web has no disk vda any more");
	answers(claim_probe, STANDING_DONE);
	fake_domain_set_xml(FAKE_UUID, FALSE, with);
	goes_on(RUN_RUNNING);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move probes");
	TCase *known = tcase_create("known");

	tcase_add_loop_test(known, each_probe_knows_where_we_died, 0, G_N_ELEMENTS(deaths));
	tcase_add_test(known, a_guest_that_was_shut_off_since_is_probed_as_it_is_defined);
	tcase_add_test(known, a_guest_that_was_started_since_is_probed_as_it_runs);
	tcase_add_test(known, an_element_that_somebody_removed_is_not_ours_any_more);
	tcase_add_test(known, another_jobs_element_says_nothing_about_ours);
	tcase_add_test(known, a_freeze_that_somebody_undid_is_done_again);
	tcase_add_test(known, a_mirror_that_somebody_ended_is_started_again);
	tcase_add_loop_test(known, somebody_elses_mirror_is_not_ours, 0, 4);
	tcase_add_loop_test(known, a_libvirtd_that_is_away_is_no_answer, 0,
			    MOST_QUESTIONS * PROBES);
	tcase_add_test(known, a_disk_that_was_taken_away_is_no_answer);
	suite_add_tcase(suite, known);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
