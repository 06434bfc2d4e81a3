/*
 * Ways back that are barred at one of their steps: the job is held, the guest runs on with all
 * it has written, the message tells what is in the way; and once that is gone, the next abort
 * finishes it.
 */
#include "common/error.h"
#include "tests/faked/disturb.h"
#include "tests/faked/undos.h"

#include <check.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the ledger, and libvirtd -------------------------------------------------------------- */

static const char *const undone[] = {"cutover", "mirror", "freeze", "prepare", "claim"};

static void fill_ledger(void)
{
	disturb_ledger(SQLITE_FULL);
}

START_TEST(a_ledger_without_room_holds_the_way_back)
{
	undos_die("pivot", FAKE_BEFORE, RUN_RUNNING);
	undos_at(undone[_i], fill_ledger);
	undos_held("aborted by the user|the way back is not finished|disk is full");
	undos_done(RUN_RUNNING);
}
END_TEST

static const struct undos_death deaths[] = {
	{"metadata", FAKE_AFTER, RUN_RUNNING, 1},   {"create-overlay", FAKE_AFTER, RUN_RUNNING, 1},
	{"snapshot", FAKE_BEFORE, RUN_RUNNING, 1},  {"snapshot", FAKE_AFTER, RUN_RUNNING, 1},
	{"block-copy", FAKE_AFTER, RUN_RUNNING, 1}, {"pivot", FAKE_BEFORE, RUN_RUNNING, 1},
	{"pivot", FAKE_AFTER, RUN_RUNNING, 1},	    {"pivot", FAKE_AFTER, RUN_PAUSED, 1},
	{"metadata", FAKE_AFTER, RUN_OFF, 1},	    {"define", FAKE_AFTER, RUN_OFF, 1},
	{"define", FAKE_BEFORE, RUN_OFF, 2},
};

/* It answers @answers questions more.  FALSE: the abort asked no more than that. */
static gboolean abort_is_cut_off(const struct undos_death *death, guint answers)
{
	g_autoptr(GError) error = NULL;

	undos_open(death);
	undos_killed();
	disturb_clear();
	disturb_libvirtd_after(answers);
	gboolean good = scene_abort(&scene, &error);
	gboolean cut_off = disturb_met() > 0;

	disturb_clear();
	ck_assert(good || cut_off);
	if (!good) {
		ck_assert_msg(error_exit_status(error) == 3 || error_exit_status(error) == 5,
			      "%u: exit %d: %s", answers, error_exit_status(error), error->message);
		ck_assert_msg(strstr(error->message, "Connection refused") != NULL, "%s",
			      error->message);
		scene_assert_content(&scene);
		scene_new_process(&scene);
		moves_abort_done();
	}
	scene_assert_home(&scene);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), death->run);
	scene_close(&scene);
	return cut_off;
}

START_TEST(libvirtd_may_go_away_at_any_question_of_the_way_back)
{
	guint answers = 0;

	while (abort_is_cut_off(&deaths[_i], answers))
		answers++;
	ck_assert_uint_gt(answers, 5);
}
END_TEST

/* ---- mirror -------------------------------------------------------------------------------- */

START_TEST(a_mirror_that_cannot_be_ended_holds_the_way_back)
{
	undos_die("ready", FAKE_AFTER, RUN_RUNNING);
	fake_fault(&(struct fake_fault){.call = "block-abort", .code = BLOCKMIG_ERROR_PERMANENT});
	undos_held("undoing: mirror|block-abort: a fault before it");
	undos_done(RUN_RUNNING);
}
END_TEST

START_TEST(a_mirror_that_does_not_end_in_time_holds_the_way_back)
{
	undos_die("ready", FAKE_AFTER, RUN_RUNNING);
	undos_at("mirror", disturb_deadlines);
	undos_held("undoing: mirror|vda: QEMU still holds its mirror to|destination.qcow2");
	undos_done(RUN_RUNNING);
}
END_TEST

/* What cannot be unlinked. */
static char *barred;

static void bar(void)
{
	unlink(barred);
	ck_assert_int_eq(mkdir(barred, 0700), 0);
}

static void bar_at_call(void *data)
{
	(void)data;
	bar();
}

static void unbar(void)
{
	ck_assert_int_eq(rmdir(barred), 0);
	g_clear_pointer(&barred, g_free);
}

START_TEST(a_mirrors_overlay_that_cannot_be_removed_holds_the_way_back)
{
	undos_die("ready", FAKE_AFTER, RUN_RUNNING);
	AUTO(job) job = scene_job(&scene);

	barred = g_strdup(job->destination_overlay);
	undos_at("mirror", bar);
	undos_held("undoing: mirror|destination.qcow2: Is a directory");
	unbar();
	undos_done(RUN_RUNNING);
}
END_TEST

/* ---- freeze -------------------------------------------------------------------------------- */

static void refuse_claim(void)
{
	fake_fault(&(struct fake_fault){.call = "metadata", .code = BLOCKMIG_ERROR_TRANSIENT});
}

/* Never pivoted for them. */
START_TEST(somebody_elses_block_job_holds_the_way_back)
{
	undos_die("snapshot", FAKE_AFTER, RUN_RUNNING);
	undos_copy_elsewhere(SOURCE_FILE);
	undos_held(
		"undoing: freeze|vda: somebody else's block job|/theirs|blockjob web vda --abort");
	ck_assert_int_eq(fake_log_find("pivot", -1), -1);
	ck_assert(session_block_abort(scene.session, FAKE_UUID, "vda", NULL));
	undos_done(RUN_RUNNING);
}
END_TEST

START_TEST(somebody_elses_block_job_does_not_matter_to_a_guest_that_is_home)
{
	undos_die("snapshot", FAKE_BEFORE, RUN_RUNNING);
	undos_copy_elsewhere(SOURCE_FILE);
	moves_abort_done();
	ck_assert_int_eq(fake_log_find("block-abort", -1), -1);
	ck_assert(session_block_abort(scene.session, FAKE_UUID, "vda", NULL));
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

/* The guest's element says that its overlays go down, before they do. */
START_TEST(an_element_that_cannot_be_written_holds_the_way_back)
{
	undos_die("snapshot", FAKE_AFTER, RUN_RUNNING);
	fake_log_clear();
	undos_at("freeze", refuse_claim);
	undos_held("undoing: freeze|metadata: a fault before it");
	ck_assert_int_eq(fake_log_find("block-commit", -1), -1);
	undos_done(RUN_RUNNING);
}
END_TEST

START_TEST(a_commit_that_fails_again_and_again_holds_the_way_back)
{
	static const struct {
		const char *died, *call;
		enum domain_run run;
	} commits[] = {{"snapshot", "block-commit", RUN_RUNNING},
		       {"snapshot", "pivot-commit", RUN_RUNNING},
		       {"define", "commit-offline", RUN_OFF}};
	g_autofree char *words =
		g_strdup_printf("undoing: freeze|%s: a fault before it", commits[_i].call);

	undos_die(commits[_i].died, FAKE_AFTER, commits[_i].run);
	fake_fault(&(struct fake_fault){
		.call = commits[_i].call, .lasting = TRUE, .code = BLOCKMIG_ERROR_PERMANENT});
	undos_held(words);
	undos_done(commits[_i].run);
}
END_TEST

static void start(void *data)
{
	(void)data;
	ck_assert(fake_start(FAKE_UUID));
	scene_write(&scene, 7, 2, 0x44);
}

/* Between the commit and the definition; shut off again before the next commit could be made. */
START_TEST(a_guest_that_is_started_as_it_is_put_back_keeps_what_it_writes)
{
	undos_die("define", FAKE_AFTER, RUN_OFF);
	moves_at("define", 1, FAKE_BEFORE, start, NULL);
	fake_fault(&(struct fake_fault){
		.call = "block-commit", .lasting = TRUE, .code = BLOCKMIG_ERROR_TRANSIENT});
	undos_held("undoing: freeze|block-commit: a fault before it");
	fake_off(FAKE_UUID);
	scene_assert_content(&scene);
	undos_done(RUN_OFF);
}
END_TEST

static void define_again(void *xml)
{
	fake_domain_set_xml(FAKE_UUID, TRUE, xml);
}

/* As a tool does that keeps domains as it knows them. */
START_TEST(a_guest_that_somebody_puts_onto_its_overlay_again_and_again_is_held)
{
	g_autofree char *xml = NULL;

	undos_die("define", FAKE_AFTER, RUN_OFF);
	xml = fake_domain_xml(FAKE_UUID, TRUE);
	fake_fault(&(struct fake_fault){.call = "define",
					.when = FAKE_AFTER,
					.lasting = TRUE,
					.code = FAKE_NO_ERROR,
					.hook = define_again,
					.data = xml});
	undos_held("undoing: freeze|vda: the guest does not stay on its source|disk.raw");
	undos_done(RUN_OFF);
}
END_TEST

START_TEST(an_overlay_that_cannot_be_removed_holds_the_way_back)
{
	undos_die("snapshot", FAKE_AFTER, RUN_RUNNING);
	AUTO(job) job = scene_job(&scene);

	barred = g_strdup(job_overlay(job, 0)->path);
	moves_at("pivot-commit", 1, FAKE_AFTER, bar_at_call, NULL);
	undos_held("undoing: freeze|-1.qcow2: Is a directory");
	unbar();
	undos_done(RUN_RUNNING);
}
END_TEST

/* Of several overlays, the first. */
START_TEST(an_older_overlay_that_cannot_be_removed_holds_the_way_back)
{
	moves_open_running();
	moves_write_in_between();
	fake_fault(&(struct fake_fault){.call = "block-copy", .code = FAKE_KILL});
	undos_killed();
	AUTO(job) job = scene_job(&scene);

	ck_assert_uint_gt(job->overlays->len, 1);
	barred = g_strdup(job_overlay(job, 0)->path);
	moves_at("pivot-commit", 1, FAKE_AFTER, bar_at_call, NULL);
	undos_held("undoing: freeze|-1.qcow2: Is a directory");
	unbar();
	undos_done(RUN_RUNNING);
}
END_TEST

/* As by virsh edit. */
static void remove_element(void *data)
{
	(void)data;
	for (gboolean inactive = FALSE; inactive <= TRUE; inactive++) {
		g_autofree char *xml = fake_domain_xml(FAKE_UUID, inactive);
		g_autofree char *bare = xml_without_metadata(xml, NULL);

		fake_domain_set_xml(FAKE_UUID, inactive, bare);
	}
}

START_TEST(a_freeze_that_was_refused_has_nothing_to_undo)
{
	moves_open_running();
	moves_at("metadata", 2, FAKE_AFTER, remove_element, NULL);
	moves_fails(75);
	scene_new_process(&scene);
	fake_log_clear();
	moves_abort_done();
	ck_assert_int_eq(fake_log_find("metadata set", -1), -1);
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

/* The guest never got onto it: the same where nothing was frozen. */
START_TEST(an_unused_overlay_that_cannot_be_removed_holds_the_way_back)
{
	undos_die("snapshot", FAKE_BEFORE, RUN_RUNNING);
	AUTO(job) job = scene_job(&scene);

	barred = g_strdup(job_overlay(job, 0)->path);
	undos_at("freeze", bar);
	undos_held("undoing: freeze|-1.qcow2: Is a directory");
	unbar();
	undos_done(RUN_RUNNING);
}
END_TEST

/* It runs on its source, and would boot the overlay the next time. */
static void die_as_it_starts(void)
{
	undos_open(&(struct undos_death){"define", FAKE_AFTER, RUN_OFF, 1});
	moves_at("define", 1, FAKE_BEFORE, start, NULL);
	undos_killed();
}

static void refuse_define(void)
{
	fake_fault(&(struct fake_fault){.call = "define", .code = BLOCKMIG_ERROR_TRANSIENT});
}

START_TEST(a_guest_that_would_boot_its_overlay_is_defined_home_first)
{
	die_as_it_starts();
	AUTO(job) job = scene_job(&scene);

	undos_at("freeze", refuse_define);
	undos_held("undoing: freeze|define: a fault before it");
	ck_assert(g_file_test(job_overlay(job, 0)->path, G_FILE_TEST_EXISTS));
	undos_done(RUN_RUNNING);
}
END_TEST

/* virsh detach-disk --config */
START_TEST(a_disk_that_the_next_start_will_not_have_is_put_back_where_it_runs)
{
	g_autofree char *with = NULL, *without = NULL;

	undos_die("snapshot", FAKE_BEFORE, RUN_RUNNING);
	with = fake_domain_xml(FAKE_UUID, TRUE);
	without = undos_without_disk(with);
	fake_domain_set_xml(FAKE_UUID, TRUE, without);
	undos_held("undoing: claim|vda");
	fake_domain_set_xml(FAKE_UUID, TRUE, with);
	undos_done(RUN_RUNNING);
}
END_TEST

/* virsh undefine */
START_TEST(a_guest_that_has_no_definition_any_more_is_put_back_where_it_runs)
{
	g_autofree char *live = NULL;

	undos_die("snapshot", FAKE_AFTER, RUN_RUNNING);
	fake_domain_set(FAKE_UUID, "persistent", FALSE);
	fake_log_clear();
	moves_abort_done();
	ck_assert_int_eq(scene_result(&scene), JOB_ROLLED_BACK);
	ck_assert_int_eq(fake_log_find("define", -1), -1);
	live = fake_domain_xml(FAKE_UUID, FALSE);
	AUTO(domain) domain = domain_parse(live, NULL);
	const struct disk *disk = domain_disk(domain, "vda");

	ck_assert_ptr_null(domain->metadata);
	ck_assert_uint_eq(disk->layers->len, 1);
	ck_assert_str_eq(disk_layer(disk, 0)->source.path, scene.source);
	scene_assert_content(&scene);
	scene_close(&scene);
}
END_TEST

/* ---- a guest that was slowed --------------------------------------------------------------- */

static void write_fast(void *data)
{
	struct block_limits now;

	(void)data;
	fake_limits(FAKE_UUID, &now);
	scene_write(&scene, 2, now.write ? 3 : 80, 0x66);
}

static void die_slowed(void)
{
	moves_open_running();
	/* The least budget of a cutover: 4 MiB. */
	scene.options.max_downtime_ms = 1;
	fake_fault(&(struct fake_fault){.call = "snapshot",
					.when = FAKE_AFTER,
					.lasting = TRUE,
					.code = FAKE_NO_ERROR,
					.hook = write_fast});
	fake_fault(&(struct fake_fault){.call = "limits", .when = FAKE_AFTER, .code = FAKE_KILL});
	undos_killed();
}

static guint64 limit(void)
{
	struct block_limits now;

	fake_limits(FAKE_UUID, &now);
	return now.write;
}

START_TEST(a_guest_that_cannot_be_made_fast_again_is_held)
{
	die_slowed();
	ck_assert_uint_gt(limit(), 0);
	fake_fault(&(struct fake_fault){
		.call = "limits", .lasting = TRUE, .code = BLOCKMIG_ERROR_TRANSIENT});
	undos_held("undoing: freeze|vda: the guest is still slowed: limits: a fault before it");
	ck_assert_int_eq(fake_log_find("block-commit", -1), -1);
	ck_assert_uint_gt(limit(), 0);
	undos_finished(RUN_RUNNING);
	ck_assert_uint_eq(limit(), 0);
	scene_close(&scene);
}
END_TEST

/* That it is still slow is no reason to wait: the end of the undo, or of the move, sees to it. */
START_TEST(limits_that_cannot_be_lifted_at_first_hold_nobody)
{
	die_slowed();
	fake_fault(&(struct fake_fault){.call = "limits", .code = BLOCKMIG_ERROR_TRANSIENT});
	if (_i) {
		moves_resume_done();
		scene_assert_moved(&scene, "raw");
	} else {
		moves_abort_done();
		scene_assert_home(&scene);
	}
	ck_assert_uint_eq(limit(), 0);
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move undos");
	TCase *peers = tcase_create("peers"), *steps = tcase_create("steps");

	tcase_add_loop_test(peers, a_ledger_without_room_holds_the_way_back, 0,
			    G_N_ELEMENTS(undone));
	tcase_add_loop_test(peers, libvirtd_may_go_away_at_any_question_of_the_way_back, 0,
			    G_N_ELEMENTS(deaths));
	tcase_set_timeout(peers, 60);
	tcase_add_test(steps, a_mirror_that_cannot_be_ended_holds_the_way_back);
	tcase_add_test(steps, a_mirror_that_does_not_end_in_time_holds_the_way_back);
	tcase_add_test(steps, a_mirrors_overlay_that_cannot_be_removed_holds_the_way_back);
	tcase_add_test(steps, somebody_elses_block_job_holds_the_way_back);
	tcase_add_test(steps, somebody_elses_block_job_does_not_matter_to_a_guest_that_is_home);
	tcase_add_test(steps, an_element_that_cannot_be_written_holds_the_way_back);
	tcase_add_loop_test(steps, a_commit_that_fails_again_and_again_holds_the_way_back, 0, 3);
	tcase_add_test(steps, a_guest_that_is_started_as_it_is_put_back_keeps_what_it_writes);
	tcase_add_test(steps, a_guest_that_somebody_puts_onto_its_overlay_again_and_again_is_held);
	tcase_add_test(steps, an_overlay_that_cannot_be_removed_holds_the_way_back);
	tcase_add_test(steps, an_older_overlay_that_cannot_be_removed_holds_the_way_back);
	tcase_add_test(steps, a_freeze_that_was_refused_has_nothing_to_undo);
	tcase_add_test(steps, an_unused_overlay_that_cannot_be_removed_holds_the_way_back);
	tcase_add_test(steps, a_guest_that_would_boot_its_overlay_is_defined_home_first);
	tcase_add_test(steps, a_disk_that_the_next_start_will_not_have_is_put_back_where_it_runs);
	tcase_add_test(steps, a_guest_that_has_no_definition_any_more_is_put_back_where_it_runs);
	tcase_add_test(steps, a_guest_that_cannot_be_made_fast_again_is_held);
	tcase_add_loop_test(steps, limits_that_cannot_be_lifted_at_first_hold_nobody, 0, 2);
	suite_add_tcase(suite, peers);
	suite_add_tcase(suite, steps);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
