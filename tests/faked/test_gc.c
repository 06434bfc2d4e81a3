/* What is left over, and what only looks like it. */
#include "common/error.h"
#include "tests/faked/disturb.h"
#include "tests/faked/moves.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PLAIN = 0, ALL = 1, DRY = 2 };

/* What gc says of @name: "removed: why", "kept: why", or NULL; the caller frees. */
static char *gc_says(const char *name, int how)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) leftovers =
		move_gc(&scene.context, (how & ALL) != 0, (how & DRY) != 0, &error);
	char *says = NULL;

	ck_assert_msg(leftovers != NULL, "%s", error ? error->message : "");
	for (guint i = 0; i < leftovers->len; i++) {
		const struct move_leftover *leftover = g_ptr_array_index(leftovers, i);

		if (!says && g_str_has_suffix(leftover->name, name))
			says = g_strdup_printf("%s: %s", leftover->goes ? "removed" : "kept",
					       leftover->why);
	}
	return says;
}

static void assert_says(const char *name, int how, const char *wanted)
{
	g_autofree char *says = gc_says(name, how);

	ck_assert_msg(says && strstr(says, wanted), "%s: %s", name, says ? says : "(not listed)");
}

static void assert_there(const char *name, gboolean wanted)
{
	g_autofree char *path = fake_path(name);

	ck_assert_int_eq(g_file_test(path, G_FILE_TEST_EXISTS), wanted);
}

static void plant(const char *name, const char *backing)
{
	g_autofree char *path = fake_path(name);

	fake_image_create(path, "qcow2", SCENE_BYTES, backing, 0);
}

#define OVERLAY "disk.raw.blockmig-1-1.qcow2"

static void moved(void)
{
	moves_open_running();
	moves_done();
}

START_TEST(nothing_is_left_of_a_move_but_its_folder)
{
	moved();
	g_autoptr(GPtrArray) plain = move_gc(&scene.context, FALSE, FALSE, NULL);

	ck_assert_uint_eq(plain->len, 0);
	assert_says("jobs/1", ALL | DRY, "removed: its job ended");
	assert_there("state/jobs/1/inactive.xml", TRUE);
	assert_says("jobs/1", ALL, "removed: its job ended");
	assert_there("state/jobs/1", FALSE);
	scene_close(&scene);
}
END_TEST

START_TEST(an_overlay_of_a_job_that_ended_goes)
{
	moved();
	plant("src/" OVERLAY, NULL);
	plant("scratch/web-vda.blockmig-1-destination.qcow2", NULL);
	assert_says(OVERLAY, DRY, "removed: its job ended");
	assert_there("src/" OVERLAY, TRUE);
	assert_says(OVERLAY, PLAIN, "removed: its job ended");
	assert_there("src/" OVERLAY, FALSE);
	assert_there("scratch/web-vda.blockmig-1-destination.qcow2", FALSE);
	scene_close(&scene);
}
END_TEST

START_TEST(an_overlay_of_no_known_job_may_be_the_only_copy)
{
	moved();
	plant("src/disk.raw.blockmig-77-1.qcow2", NULL);
	assert_says("blockmig-77-1.qcow2", ALL, "kept: no job that ended well has it");
	assert_there("src/disk.raw.blockmig-77-1.qcow2", TRUE);
	scene_close(&scene);
}
END_TEST

START_TEST(what_a_domain_names_is_kept)
{
	g_autofree char *xml = NULL, *path = NULL;

	moved();
	plant("src/" OVERLAY, NULL);
	path = fake_path("snapshot.xml");
	xml = g_strdup_printf("<domainsnapshot><disk file='%s'/></domainsnapshot>", OVERLAY);
	ck_assert(g_file_set_contents(path, xml, -1, NULL));
	assert_says(OVERLAY, PLAIN, "kept: a domain names it");
	assert_there("src/" OVERLAY, TRUE);
	scene_close(&scene);
}
END_TEST

START_TEST(what_only_a_managed_save_names_is_kept)
{
	g_autofree char *now = NULL;

	moved();
	plant("src/" OVERLAY, NULL);
	now = fake_domain_xml(FAKE_UUID, FALSE);
	g_auto(GStrv) parts = g_strsplit(now, "disk.raw", -1);
	g_autofree char *older = g_strjoinv(OVERLAY, parts);

	fake_domain_set_xml(FAKE_UUID, FALSE, older);
	ck_assert(fake_managed_save(FAKE_UUID));
	assert_says(OVERLAY, PLAIN, "kept: a domain names it");
	scene_close(&scene);
}
END_TEST

START_TEST(what_lies_below_another_image_is_kept)
{
	moved();
	plant("src/" OVERLAY, NULL);
	plant("src/clone.qcow2", OVERLAY);
	assert_says(OVERLAY, PLAIN, "clone.qcow2 lies over it");
	scene_close(&scene);
}
END_TEST

START_TEST(what_may_lie_below_another_image_is_kept)
{
	moved();
	plant("src/" OVERLAY, NULL);
	/* Once to find it, and not again for who is over it. */
	disturb_folder("/src", 1);
	assert_says(OVERLAY, PLAIN, "kept: whether an image lies over it is not known: ");
	ck_assert_uint_gt(disturb_met(), 0);
	assert_there("src/" OVERLAY, TRUE);
	disturb_clear();
	assert_says(OVERLAY, PLAIN, "removed: its job ended");
	scene_close(&scene);
}
END_TEST

START_TEST(other_files_are_not_ours)
{
	moved();
	plant("src/web.qcow2", NULL);
	plant("src/web.blockmig-1-x.qcow2", NULL);
	plant("src/web.blockmig-1-1.qcow2.bak", NULL);
	g_autoptr(GPtrArray) found = move_gc(&scene.context, FALSE, FALSE, NULL);

	ck_assert_uint_eq(found->len, 0);
	scene_close(&scene);
}
END_TEST

START_TEST(an_open_job_keeps_what_it_has)
{
	g_autoptr(GError) error = NULL;

	moves_open_running();
	scene.options.retry_for_ms = 0;
	fake_fault(&(struct fake_fault){.call = "block-copy", .code = BLOCKMIG_ERROR_TRANSIENT});
	ck_assert(!scene_move(&scene, &error));
	plant("scratch/web-vda.blockmig-1-9.qcow2", NULL);
	assert_says(OVERLAY, ALL, "kept: a domain names it");
	assert_says("blockmig-1-9.qcow2", ALL, "kept: an open job needs it");
	scene_new_process(&scene);
	moves_resume_done();
	scene_close(&scene);
}
END_TEST

/* The lock of a process that is gone. */
static void lock_and_die(void)
{
	int status;
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		g_autofree char *state = fake_path("state");
		struct ledger *ledger = ledger_open(state, NULL);

		_exit(ledger_lock(ledger, "job:9", 9, NULL) ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}

START_TEST(locks_of_the_dead_go_and_those_of_the_living_stay)
{
	moves_open_running();
	lock_and_die();
	ck_assert(ledger_lock(scene.ledger, "job:8", 8, NULL));
	assert_says("job:9", DRY, "removed: the process that held it is dead");
	assert_says("job:9", PLAIN, "removed: the process that held it is dead");
	ck_assert_ptr_null(gc_says("job:9", PLAIN));
	ck_assert_ptr_null(gc_says("job:8", PLAIN));
	ck_assert_int_eq(ledger_lock_holder(scene.ledger, "job:8"), getpid());
	scene_close(&scene);
}
END_TEST

START_TEST(an_element_that_no_open_job_explains_is_told)
{
	g_autofree char *foreign = xml_metadata(99, "vda", "somebody-elses-nonce", "/a", "/b", "");
	g_autofree char *before = NULL, *after = NULL;

	moved();
	ck_assert(session_metadata_set(scene.session, FAKE_UUID, foreign, TRUE, TRUE, NULL));
	before = fake_domain_xml(FAKE_UUID, TRUE);
	assert_says("web", ALL, "kept: this ledger does not know its job");
	after = fake_domain_xml(FAKE_UUID, TRUE);
	ck_assert_str_eq(before, after);
	scene_close(&scene);
}
END_TEST

/* ---- partial copies ----------------------------------------------------------------- */

static void rolled_back(void)
{
	moves_open_running();
	scene.options.on_failure = ON_FAILURE_ROLLBACK;
	fake_fault(&(struct fake_fault){.call = "block-copy", .code = BLOCKMIG_ERROR_UNKNOWN});
	scene.options.retry_for_ms = 0;
	moves_fails(1);
	scene_new_process(&scene);
}

START_TEST(a_partial_copy_is_listed_and_removed_only_with_all)
{
	rolled_back();
	assert_says("dst/disk.raw", PLAIN, "kept: job 1 was rolled back: the next move");
	assert_there("dst/disk.raw", TRUE);
	assert_says("dst/disk.raw", ALL | DRY, "removed: job 1 was rolled back");
	assert_there("dst/disk.raw", TRUE);
	assert_says("dst/disk.raw", ALL, "removed: job 1 was rolled back");
	assert_there("dst/disk.raw", FALSE);
	g_autofree char *says = gc_says("dst/disk.raw", ALL);

	ck_assert_ptr_null(says);
	moves_done();
	scene_close(&scene);
}
END_TEST

START_TEST(what_took_the_place_of_a_partial_copy_stays)
{
	rolled_back();
	g_autofree char *path = fake_path("dst/disk.raw");
	g_autofree char *away = fake_path("away.raw");

	/* It exists still, so that its inode is not used again. */
	ck_assert_int_eq(rename(path, away), 0);
	plant("dst/disk.raw", NULL);
	assert_says("dst/disk.raw", ALL, "kept: another file has taken its place");
	assert_there("dst/disk.raw", TRUE);
	scene_close(&scene);
}
END_TEST

/* In place, so that it is another file with the same inode for whoever looks at that alone. */
START_TEST(what_has_the_inode_of_a_partial_copy_but_changed_stays)
{
	rolled_back();
	g_autofree char *path = fake_path("dst/disk.raw");

	/* Where no sample would show it. */
	moves_flip_byte(path, 3 * SCENE_CHUNK + 5);
	assert_says("dst/disk.raw", ALL, "kept: it was changed since");
	assert_there("dst/disk.raw", TRUE);
	scene_close(&scene);
}
END_TEST

/* What an older program kept, or what was kept while the peer was dead. */
START_TEST(a_partial_copy_without_a_stamp_goes_by_its_content)
{
	rolled_back();
	g_autofree char *path = fake_path("dst/disk.raw");

	moves_forget_stamp();
	if (_i)
		moves_flip_byte(path, 5);
	assert_says("dst/disk.raw", ALL, _i ? "kept: it was changed since" : "removed: ");
	assert_there("dst/disk.raw", _i);
	scene_close(&scene);
}
END_TEST

START_TEST(a_partial_copy_that_a_domain_names_stays)
{
	rolled_back();
	g_autofree char *path = fake_path("dst/disk.raw");
	g_autofree char *disk = fake_disk(path, "raw");

	fake_domain("other", "99999999-2222-3333-4444-555555555555", disk);
	assert_says("dst/disk.raw", ALL, "kept: domain other");
	assert_there("dst/disk.raw", TRUE);
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gc");
	TCase *gc = tcase_create("gc");

	tcase_add_test(gc, nothing_is_left_of_a_move_but_its_folder);
	tcase_add_test(gc, an_overlay_of_a_job_that_ended_goes);
	tcase_add_test(gc, an_overlay_of_no_known_job_may_be_the_only_copy);
	tcase_add_test(gc, what_a_domain_names_is_kept);
	tcase_add_test(gc, what_only_a_managed_save_names_is_kept);
	tcase_add_test(gc, what_lies_below_another_image_is_kept);
	tcase_add_test(gc, what_may_lie_below_another_image_is_kept);
	tcase_add_test(gc, other_files_are_not_ours);
	tcase_add_test(gc, an_open_job_keeps_what_it_has);
	tcase_add_test(gc, locks_of_the_dead_go_and_those_of_the_living_stay);
	tcase_add_test(gc, an_element_that_no_open_job_explains_is_told);
	tcase_add_test(gc, a_partial_copy_is_listed_and_removed_only_with_all);
	tcase_add_test(gc, what_took_the_place_of_a_partial_copy_stays);
	tcase_add_test(gc, what_has_the_inode_of_a_partial_copy_but_changed_stays);
	tcase_add_loop_test(gc, a_partial_copy_without_a_stamp_goes_by_its_content, 0, 2);
	tcase_add_test(gc, a_partial_copy_that_a_domain_names_stays);
	suite_add_tcase(suite, gc);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
