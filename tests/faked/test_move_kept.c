/* Partial copies that a rollback leaves, and the moves that carry on with them. */
#include "common/error.h"
#include "common/units.h"
#include "tests/faked/moves.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The file at the destination, after its format. */
static char *listing_of(const struct moves_shape *shape)
{
	return g_strdup_printf("disk.%s\n", shape->gets);
}

static char *copy_path(const struct moves_shape *shape)
{
	g_autofree char *name = g_strdup_printf("dst/disk.%s", shape->gets);

	return fake_path(name);
}

/* Rolled back once all but the cutover was done, rounds included, or with the copy alone. */
static void roll_back_late(const struct moves_shape *shape, enum domain_run run)
{
	moves_open(shape, run);
	moves_write_in_between();
	scene.options.on_failure = ON_FAILURE_ROLLBACK;
	fake_fault(&(struct fake_fault){.call = run == RUN_OFF ? "define" : "block-copy",
					.nth = run == RUN_OFF ? 2 : 1,
					.code = BLOCKMIG_ERROR_UNKNOWN});
	scene.options.retry_for_ms = 0;
	moves_fails(1);
	ck_assert_int_eq(scene_result(&scene), JOB_ROLLED_BACK);
	scene_new_process(&scene);
}

static guint kept_count(void)
{
	g_autoptr(GPtrArray) kept = ledger_kept_list(scene.ledger, NULL);

	ck_assert_ptr_nonnull(kept);
	return kept->len;
}

static void assert_warned(const char *text)
{
	ck_assert_msg(strstr(scene.warnings->str, text) != NULL, "no '%s' in:\n%s", text,
		      scene.warnings->str);
}

/* The last job carried on with the first one's copy, and there is nothing kept any more. */
static void assert_carried_on(void)
{
	AUTO(job) job = scene_job(&scene);

	ck_assert_uint_eq(job->taken_over, 1);
	ck_assert_uint_eq(kept_count(), 0);
}

static void assert_taken_over(void)
{
	assert_carried_on();
	assert_warned("is used: the source is hashed again");
}

static void assert_sent_at_most(guint64 bytes)
{
	AUTO(job) job = scene_job(&scene);

	ck_assert_msg(job->totals.bytes_sent <= bytes, "%" G_GUINT64_FORMAT " bytes were sent",
		      job->totals.bytes_sent);
}

/* ---- kept, and used ----------------------------------------------------------------------- */

START_TEST(a_copy_that_was_kept_is_used_by_the_next_move)
{
	const struct moves_shape *shape = &moves_shapes[_i / 2];
	enum domain_run run = _i % 2 ? RUN_RUNNING : RUN_OFF;
	g_autofree char *left = listing_of(shape);

	roll_back_late(shape, run);
	scene_assert_home_leaving(&scene, left);
	ck_assert_uint_eq(kept_count(), 1);
	assert_warned("the partial copy stays at");
	moves_write_in_between();
	moves_done();
	scene_assert_moved(&scene, shape->gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), run);
	assert_taken_over();
	scene_close(&scene);
}
END_TEST

START_TEST(only_what_changed_is_sent)
{
	moves_open(&moves_shapes[_i], RUN_OFF);
	scene.options.on_failure = ON_FAILURE_ROLLBACK;
	fake_fault(
		&(struct fake_fault){.call = "define", .nth = 2, .code = BLOCKMIG_ERROR_UNKNOWN});
	scene.options.retry_for_ms = 0;
	moves_fails(1);
	scene_new_process(&scene);
	ck_assert(fake_start(FAKE_UUID));
	scene_write(&scene, 40, 1, 0x99);
	fake_off(FAKE_UUID);
	moves_done();
	scene_assert_moved(&scene, moves_shapes[_i].gets);
	assert_taken_over();
	/* One chunk, and where the image keeps its own map the one with that. */
	assert_sent_at_most(2 * SCENE_CHUNK);
	scene_close(&scene);
}
END_TEST

START_TEST(an_abort_removes_the_copy_unless_it_is_to_stay)
{
	moves_open_running();
	moves_at("snapshot", 1, FAKE_AFTER, moves_write_little, GUINT_TO_POINTER(0x22));
	fake_fault(&(struct fake_fault){.call = "block-copy", .code = BLOCKMIG_ERROR_UNKNOWN});
	scene.options.retry_for_ms = 0;
	moves_fails(3);
	scene_new_process(&scene);
	scene.options.keep_partial = _i;
	moves_abort_done();
	scene_assert_home_leaving(&scene, _i ? "disk.raw\n" : "");
	ck_assert_uint_eq(kept_count(), (guint)_i);
	moves_done();
	scene_assert_moved(&scene, "raw");
	if (_i)
		assert_taken_over();
	scene_close(&scene);
}
END_TEST

START_TEST(a_copy_that_was_wrong_is_removed)
{
	moves_open_running();
	scene.options.on_failure = ON_FAILURE_ROLLBACK;
	scene.options.keep_partial = TRUE;
	moves_write_in_between();
	fake_corrupt_mirror();
	moves_fails(4);
	scene_assert_home(&scene);
	ck_assert_uint_eq(kept_count(), 0);
	scene_close(&scene);
}
END_TEST

START_TEST(a_refusal_for_good_removes_the_copy)
{
	moves_open_running();
	scene.options.on_failure = ON_FAILURE_ROLLBACK;
	fake_fault(&(struct fake_fault){.call = "block-copy", .code = BLOCKMIG_ERROR_PERMANENT});
	scene.options.retry_for_ms = 0;
	moves_fails(1);
	scene_assert_home(&scene);
	ck_assert_uint_eq(kept_count(), 0);
	scene_close(&scene);
}
END_TEST

/* Rolled back once more: before the copy was this job's, and after. */
START_TEST(a_copy_is_kept_over_several_rollbacks)
{
	static const char *const calls[] = {"metadata", "qemu-io", "snapshot", "block-copy"};
	g_autofree char *left = listing_of(&moves_shapes[_i / 4]);

	roll_back_late(&moves_shapes[_i / 4], RUN_RUNNING);
	fake_fault(&(struct fake_fault){.call = calls[_i % 4], .code = BLOCKMIG_ERROR_UNKNOWN});
	scene.options.retry_for_ms = 0;
	moves_fails(1);
	scene_new_process(&scene);
	scene_assert_home_leaving(&scene, left);
	ck_assert_uint_eq(kept_count(), 1);
	moves_done();
	scene_assert_moved(&scene, moves_shapes[_i / 4].gets);
	ck_assert_uint_eq(kept_count(), 0);
	scene_close(&scene);
}
END_TEST

START_TEST(a_move_that_is_killed_over_a_kept_copy_is_resumed)
{
	const struct moves_shape *shape = moves_shape_of(2 * _i);

	roll_back_late(shape, RUN_RUNNING);
	moves_write_in_between();
	moves_disturb(2 * _i + _i / MOVES_SHAPES % 2, FAKE_KILL);
	if (scene_apart(&scene, scene_move) == SCENE_KILLED)
		moves_done();
	scene_assert_moved(&scene, shape->gets);
	assert_carried_on();
	scene_close(&scene);
}
END_TEST

/* ---- what others did to it ------------------------------------------------------------------ */

/* A chunk that no sample looks at, and no clock tells of; the copy is used, and mended. */
START_TEST(what_others_changed_in_a_kept_copy_is_sent_again)
{
	const struct moves_shape *shape = &moves_shapes[_i];
	g_autofree char *path = NULL;

	roll_back_late(shape, RUN_OFF);
	AUTO(job) old = scene_job(&scene);

	path = copy_path(shape);
	moves_flip_byte(path, old->data_offset + 3 * SCENE_CHUNK + 5);
	moves_forget_stamp();
	moves_done();
	scene_assert_moved(&scene, shape->gets);
	assert_taken_over();
	AUTO(job) job = scene_job(&scene);

	ck_assert_uint_eq(job->totals.mismatches, 1);
	scene_close(&scene);
}
END_TEST

START_TEST(a_file_that_was_overwritten_is_no_copy_of_ours)
{
	g_autofree char *path = NULL;

	roll_back_late(&moves_shapes[0], RUN_OFF);
	path = copy_path(&moves_shapes[0]);
	moves_flip_byte(path, 5);
	moves_done();
	assert_warned("it is not used");
	g_autofree char *listing = fake_listing("dst");

	ck_assert_str_eq(listing, "disk.raw\nweb-vda.raw\n");
	scene_assert_content(&scene);
	scene_close(&scene);
}
END_TEST

/* Though it holds what the copy held, and has its inode. */
START_TEST(a_file_that_was_touched_since_is_not_written_to)
{
	g_autofree char *path = NULL, *before = NULL, *after = NULL;
	gsize count_before, count_after;

	roll_back_late(&moves_shapes[0], _i ? RUN_RUNNING : RUN_OFF);
	path = copy_path(&moves_shapes[0]);
	moves_flip_byte(path, 3 * SCENE_CHUNK + 5);
	ck_assert(g_file_get_contents(path, &before, &count_before, NULL));
	moves_done();
	assert_warned("was changed since job 1 left its partial copy there");
	g_autofree char *listing = fake_listing("dst");

	ck_assert_str_eq(listing, "disk.raw\nweb-vda.raw\n");
	ck_assert(g_file_get_contents(path, &after, &count_after, NULL));
	ck_assert_mem_eq(before, after, MIN(count_before, count_after));
	ck_assert_uint_eq(count_before, count_after);
	scene_assert_content(&scene);
	scene_close(&scene);
}
END_TEST

/* A file system that gives a freed inode out again at once. */
START_TEST(a_new_file_is_no_copy_of_ours_whatever_its_inode)
{
	g_autofree char *path = NULL, *bytes = NULL, *after = NULL;
	struct stat st;
	gsize count;

	roll_back_late(&moves_shapes[0], RUN_RUNNING);
	path = copy_path(&moves_shapes[0]);
	ck_assert(g_file_get_contents(path, &bytes, &count, NULL));
	ck_assert_int_eq(stat(path, &st), 0);
	const ino_t inode = st.st_ino;

	for (guint tries = 0; tries < 1000 && (!tries || st.st_ino != inode); tries++) {
		ck_assert_int_eq(unlink(path), 0);
		int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

		ck_assert_int_eq(write(fd, bytes, count), (gssize)count);
		ck_assert_int_eq(fstat(fd, &st), 0);
		close(fd);
	}
	moves_flip_byte(path, 3 * SCENE_CHUNK + 5);
	moves_done();
	g_autofree char *listing = fake_listing("dst");

	ck_assert_str_eq(listing, "disk.raw\nweb-vda.raw\n");
	ck_assert(g_file_get_contents(path, &after, NULL, NULL));
	bytes[3 * SCENE_CHUNK + 5] ^= 0x40;
	ck_assert_mem_eq(bytes, after, count);
	scene_close(&scene);
}
END_TEST

START_TEST(a_copy_that_is_gone_is_begun_anew)
{
	g_autofree char *path = NULL;

	roll_back_late(&moves_shapes[_i], RUN_RUNNING);
	path = copy_path(&moves_shapes[_i]);
	ck_assert_int_eq(unlink(path), 0);
	moves_done();
	scene_assert_moved(&scene, moves_shapes[_i].gets);
	assert_warned("is gone: the copy begins anew");
	ck_assert_uint_eq(kept_count(), 0);
	scene_close(&scene);
}
END_TEST

/* Another file of that name, though it holds the same, is somebody else's. */
START_TEST(a_file_that_took_its_place_is_left_alone)
{
	g_autofree char *path = NULL, *other = NULL, *bytes = NULL;
	gsize count;

	roll_back_late(&moves_shapes[0], RUN_RUNNING);
	path = copy_path(&moves_shapes[0]);
	other = fake_path("other");
	ck_assert(g_file_get_contents(path, &bytes, &count, NULL));
	ck_assert(g_file_set_contents(other, bytes, (gssize)count, NULL));
	ck_assert_int_eq(rename(other, path), 0);
	moves_done();
	assert_warned("is not the image any more");
	g_autofree char *listing = fake_listing("dst");

	ck_assert_str_eq(listing, "disk.raw\nweb-vda.raw\n");
	scene_assert_content(&scene);
	scene_close(&scene);
}
END_TEST

START_TEST(a_copy_in_other_chunks_is_of_no_use)
{
	roll_back_late(&moves_shapes[0], RUN_RUNNING);
	scene.options.chunk_bytes = 2 * SCENE_CHUNK;
	moves_done();
	assert_warned("is of no use here");
	/* It is still known to be there. */
	ck_assert_uint_eq(kept_count(), 1);
	scene_close(&scene);
}
END_TEST

/* ---- other places -------------------------------------------------------------------- */

static void open_lun(enum domain_run run)
{
	g_autofree char *lun = NULL;

	moves_open(&moves_shapes[0], run);
	lun = fake_path("luns/1");
	fake_image_create(lun, "raw", 2 * SCENE_BYTES, NULL, 0);
	scene_go_to(&scene, "iscsi://array/iqn.2026-01.com.example:t1/");
	scene.options.on_failure = ON_FAILURE_ROLLBACK;
	fake_fault(&(struct fake_fault){.call = run == RUN_OFF ? "define" : "block-copy",
					.nth = run == RUN_OFF ? 2 : 1,
					.code = BLOCKMIG_ERROR_UNKNOWN});
	scene.options.retry_for_ms = 0;
	moves_fails(1);
	scene_new_process(&scene);
}

/* However the LUN is named; without --overwrite, though it is not empty. */
START_TEST(a_copy_on_a_lun_is_used_again)
{
	static const char *const names[] = {"iscsi://array/iqn.2026-01.com.example:t1/",
					    "iscsi://array/iqn.2026-01.com.example:t1/1"};

	open_lun(_i / 2 ? RUN_RUNNING : RUN_OFF);
	scene_go_to(&scene, names[_i % 2]);
	moves_done();
	assert_taken_over();
	assert_sent_at_most(SCENE_CHUNK);
	scene_assert_content(&scene);
	scene_close(&scene);
}
END_TEST

START_TEST(a_lun_that_somebody_uses_by_now_is_not_lost)
{
	g_autofree char *lun = NULL;

	open_lun(RUN_OFF);
	scene_go_to(&scene, "iscsi://array/iqn.2026-01.com.example:t1/1");
	lun = fake_path("luns/1");
	moves_flip_byte(lun, 1000);
	scene.options.retry_for_ms = 0;
	moves_fails(1);
	assert_warned("it is not used");
	scene.options.overwrite = TRUE;
	moves_done();
	scene_assert_content(&scene);
	scene_close(&scene);
}
END_TEST

/* A round had written to its first chunk: whether it is still ours cannot be told. */
START_TEST(a_lun_whose_first_chunk_is_not_known_needs_overwrite)
{
	const struct ledger_unit stale = {.index = 0, .count = 1, .state = UNIT_SENT};
	gint64 pass;

	open_lun(RUN_OFF);
	scene_go_to(&scene, "iscsi://array/iqn.2026-01.com.example:t1/1");
	ck_assert(ledger_pass_find(scene.ledger, 1, "base", &pass, NULL));
	ck_assert(ledger_units_put(scene.ledger, pass, &stale, 1, NULL));
	scene.options.retry_for_ms = 0;
	moves_fails(1);
	scene.options.overwrite = TRUE;
	moves_done();
	assert_taken_over();
	scene_assert_content(&scene);
	scene_close(&scene);
}
END_TEST

/* Elsewhere, a copy here is of no interest. */
START_TEST(a_copy_at_another_place_is_left_there)
{
	g_autofree char *elsewhere = NULL;

	roll_back_late(&moves_shapes[0], RUN_RUNNING);
	g_string_truncate(scene.warnings, 0);
	elsewhere = fake_path("elsewhere/");
	ck_assert_int_eq(g_mkdir_with_parents(elsewhere, 0711), 0);
	scene_go_to(&scene, elsewhere);
	moves_done();
	ck_assert_str_eq(scene.warnings->str, "");
	ck_assert_uint_eq(kept_count(), 1);
	scene_assert_content(&scene);
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move kept");
	TCase *kept = tcase_create("kept");

	tcase_set_timeout(kept, 60);
	tcase_add_loop_test(kept, a_copy_that_was_kept_is_used_by_the_next_move, 0, 8);
	tcase_add_loop_test(kept, only_what_changed_is_sent, 0, 4);
	tcase_add_loop_test(kept, an_abort_removes_the_copy_unless_it_is_to_stay, 0, 2);
	tcase_add_test(kept, a_copy_that_was_wrong_is_removed);
	tcase_add_test(kept, a_refusal_for_good_removes_the_copy);
	tcase_add_loop_test(kept, a_copy_is_kept_over_several_rollbacks, 0, 16);
	tcase_add_loop_test(kept, a_move_that_is_killed_over_a_kept_copy_is_resumed, 0,
			    MOVES_CALLS_MOST);
	tcase_add_loop_test(kept, what_others_changed_in_a_kept_copy_is_sent_again, 0, 2);
	tcase_add_test(kept, a_file_that_was_overwritten_is_no_copy_of_ours);
	tcase_add_loop_test(kept, a_file_that_was_touched_since_is_not_written_to, 0, 2);
	tcase_add_test(kept, a_new_file_is_no_copy_of_ours_whatever_its_inode);
	tcase_add_loop_test(kept, a_copy_that_is_gone_is_begun_anew, 0, 4);
	tcase_add_test(kept, a_file_that_took_its_place_is_left_alone);
	tcase_add_test(kept, a_copy_in_other_chunks_is_of_no_use);
	tcase_add_loop_test(kept, a_copy_on_a_lun_is_used_again, 0, 4);
	tcase_add_test(kept, a_lun_that_somebody_uses_by_now_is_not_lost);
	tcase_add_test(kept, a_lun_whose_first_chunk_is_not_known_needs_overwrite);
	tcase_add_test(kept, a_copy_at_another_place_is_left_there);
	suite_add_tcase(suite, kept);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
