/*
 * Bare copies that were interrupted, and what became of their source meanwhile; and those
 * over a file that holds something.
 */
#include "common/error.h"
#include "common/stop.h"
#include "common/units.h"
#include "tests/faked/disturb.h"
#include "tests/faked/scene.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct scene scene;
static char *destination;

static void setup(void)
{
	scene_open(&scene, "raw");
	scene.context.session = NULL;
	destination = fake_path("dst/copy");
}

static void teardown(void)
{
	g_free(destination);
	scene_close(&scene);
}

/* The exit status. */
static int copy(void)
{
	struct move_summary *summary = NULL;
	g_autoptr(GError) error = NULL;
	gboolean good =
		image_copy_start(&scene.context, scene.source, destination, &summary, &error);

	ck_assert_int_eq(good, error == NULL);
	if (summary)
		move_summary_free(summary);
	if (error)
		g_string_append_printf(scene.warnings, "%s\n", error->message);
	return error_exit_status(error);
}

/* Some of it is there, and most of it is not. */
static void stop_soon(gint64 job, const char *phase, guint round,
		      const struct copy_progress *progress, void *data)
{
	(void)job;
	(void)phase;
	(void)round;
	(void)data;
	if (progress->bytes_done)
		stop_request();
}

/* The first chunk and more of it are there. */
static void stop_later(gint64 job, const char *phase, guint round,
		       const struct copy_progress *progress, void *data)
{
	if (progress->bytes_done > SCENE_CHUNK)
		stop_soon(job, phase, round, progress, data);
}

static void interrupt_by(__typeof__(&stop_soon) progress)
{
	scene.options.bwlimit = MiB;
	scene.reporter.progress = progress;
	ck_assert_int_eq(copy(), 3);
	scene.reporter.progress = NULL;
	scene_new_process(&scene);
}

static void interrupt(void)
{
	interrupt_by(stop_soon);
}

static void write_source(guint64 offset, char value, gsize count)
{
	g_autofree char *bytes = g_strnfill(count, value);
	int fd = open(scene.source, O_WRONLY | O_CLOEXEC);

	ck_assert_int_eq(pwrite(fd, bytes, count, (off_t)offset), (gssize)count);
	close(fd);
}

static void assert_equal(void)
{
	g_autofree char *one = NULL, *two = NULL;
	gsize count, size;

	ck_assert(g_file_get_contents(scene.source, &one, &count, NULL));
	ck_assert(g_file_get_contents(destination, &two, &size, NULL));
	ck_assert_uint_eq(count, size);
	ck_assert(memcmp(one, two, count) == 0);
}

static guint jobs(void)
{
	g_autoptr(GPtrArray) list = ledger_job_list(scene.ledger, FALSE, NULL);

	return list->len;
}

START_TEST(an_image_that_was_booted_meanwhile_is_copied_as_it_is_now)
{
	interrupt();
	write_source(100, 'x', 1000);
	write_source(7 * MiB, 'y', 1000);
	ck_assert_int_eq(copy(), 0);
	ck_assert_uint_eq(jobs(), 1);
	assert_equal();
	AUTO(job) job = scene_job(&scene);

	ck_assert_uint_gt(job->totals.bytes_skipped, 0);
	ck_assert_uint_lt(job->totals.bytes_sent, SCENE_BYTES + 2 * SCENE_CHUNK);
}
END_TEST

/* As the message says: once there is room, the same command carries on. */
START_TEST(a_full_destination_holds_the_copy)
{
	disturb_images(&(struct disturb){DISTURB_DESTINATION, DISTURB_WRITE, .errnum = ENOSPC});
	ck_assert_int_eq(copy(), 3);
	disturb_clear();
	scene_new_process(&scene);
	ck_assert_int_eq(copy(), 0);
	ck_assert_uint_eq(jobs(), 1);
	assert_equal();
}
END_TEST

START_TEST(an_image_that_changed_its_size_meanwhile_is_copied_whole)
{
	static const guint64 sizes[] = {SCENE_BYTES + 3 * MiB + 4096, SCENE_BYTES + 512,
					3 * MiB + 512, SCENE_BYTES - 512};

	interrupt();
	ck_assert_int_eq(truncate(scene.source, (off_t)sizes[_i]), 0);
	write_source(sizes[_i] - 100, 'z', 100);
	ck_assert_int_eq(copy(), 0);
	ck_assert_uint_eq(jobs(), 1);
	assert_equal();
	AUTO(job) job = scene_job(&scene);

	ck_assert_str_eq(job->sha256 ? "root" : "", "root");
	ck_assert_uint_eq(job->totals.bytes_total, sizes[_i]);
}
END_TEST

/* The layout of a qcow2 is made for one size. */
START_TEST(a_layout_for_another_size_is_begun_anew)
{
	scene_want_format(&scene, "qcow2");
	interrupt();
	ck_assert_int_eq(truncate(scene.source, SCENE_BYTES + MiB), 0);
	ck_assert_int_eq(copy(), 1);
	ck_assert_msg(strstr(scene.warnings->str, "begins anew") != NULL, "%s",
		      scene.warnings->str);
	ck_assert(!g_file_test(destination, G_FILE_TEST_EXISTS));
	ck_assert_int_eq(copy(), 0);
	ck_assert_uint_eq(jobs(), 2);
}
END_TEST

/* As QEMU locks an image that it may write to (byte 100 + 1). */
START_TEST(an_image_that_a_guest_writes_to_is_waited_for)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};
	int fd;

	interrupt();
	fd = open(scene.source, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &lock), 0);
	ck_assert_int_eq(copy(), 75);
	ck_assert_int_eq(scene_result(&scene), JOB_OPEN);
	close(fd);
	ck_assert_int_eq(copy(), 0);
	assert_equal();
}
END_TEST

START_TEST(a_copy_that_was_aborted_is_removed_unless_it_is_to_stay)
{
	g_autoptr(GError) error = NULL;

	interrupt();
	scene.options.keep_partial = _i;
	ck_assert(scene_abort(&scene, &error));
	ck_assert_int_eq(g_file_test(destination, G_FILE_TEST_EXISTS), _i);
	write_source(100, 'x', 1000);
	ck_assert_int_eq(copy(), 0);
	ck_assert_uint_eq(jobs(), 2);
	assert_equal();
	AUTO(job) job = scene_job(&scene);

	ck_assert_uint_eq(job->taken_over, (guint)_i);
	ck_assert_int_eq(job->totals.bytes_skipped > 0, _i);
}
END_TEST

/* ---- a LUN, which keeps its size ------------------------------------------------------------ */

static char *lun;

/* Nobody reads back what was written to it. */
static void go_to_lun(gboolean is_used)
{
	lun = fake_path("luns/1");
	fake_image_create(lun, "raw", 2 * SCENE_BYTES, NULL, 0);
	if (is_used) {
		g_autofree char *bytes = g_strnfill(2 * SCENE_BYTES, 'o');

		ck_assert(g_file_set_contents(lun, bytes, 2 * SCENE_BYTES, NULL));
	}
	g_free(destination);
	destination = g_strdup("iscsi://array/iqn.2026-01.com.example:t1/1");
	scene.options.overwrite = is_used;
	scene.options.verify = FALSE;
}

static void assert_lun_begins_with_source(void)
{
	g_autofree char *one = NULL, *two = NULL;
	gsize count, size;

	ck_assert(g_file_get_contents(scene.source, &one, &count, NULL));
	ck_assert(g_file_get_contents(lun, &two, &size, NULL));
	ck_assert_uint_eq(size, 2 * SCENE_BYTES);
	ck_assert(memcmp(one, two, count) == 0);
	g_free(lun);
}

/* The last chunk, a short one of zeros, was done before the run was cut off. */
static void finish_last_chunk(guint64 offset, gsize count)
{
	const struct ledger_unit row = {
		.index = offset / SCENE_CHUNK, .count = 1, .state = UNIT_DONE, .is_zero = TRUE};
	g_autofree char *zeros = g_malloc0(count);
	AUTO(job) job = scene_job(&scene);
	gint64 pass;
	int fd = open(lun, O_WRONLY | O_CLOEXEC);

	ck_assert_int_eq(pwrite(fd, zeros, count, (off_t)offset), (gssize)count);
	close(fd);
	ck_assert(ledger_pass_find(scene.ledger, job->id, "base", &pass, NULL));
	ck_assert(ledger_units_put(scene.ledger, pass, &row, 1, NULL));
}

START_TEST(what_a_last_chunk_of_zeros_grew_by_is_zeroed)
{
	go_to_lun(TRUE);
	ck_assert_int_eq(truncate(scene.source, SCENE_BYTES + 4096), 0);
	interrupt();
	finish_last_chunk(SCENE_BYTES, 4096);
	ck_assert_int_eq(truncate(scene.source, SCENE_BYTES + 65536), 0);
	scene.options.bwlimit = 0;
	ck_assert_int_eq(copy(), 0);
	assert_lun_begins_with_source();
}
END_TEST

START_TEST(what_a_longer_source_had_left_is_no_zeros_for_the_next)
{
	const struct disturb dead = {
		.end = DISTURB_SOURCE, .operations = DISTURB_READ, .errnum = ETIMEDOUT};

	go_to_lun(FALSE);
	interrupt_by(stop_later);
	ck_assert_int_eq(truncate(scene.source, 512), 0);
	disturb_images(&dead);
	ck_assert_int_eq(copy(), 3);
	ck_assert_uint_gt(disturb_met(), 0);
	disturb_clear();
	scene_new_process(&scene);
	ck_assert_int_eq(truncate(scene.source, SCENE_BYTES), 0);
	ck_assert_int_eq(copy(), 0);
	assert_lun_begins_with_source();
}
END_TEST

/* ---- a file that is overwritten ------------------------------------------------------------ */

/* Larger than the source, and not a zero in it. */
static void make_destination(void)
{
	g_autofree char *bytes = g_strnfill(SCENE_BYTES + MiB, 'o');

	ck_assert(g_file_set_contents(destination, bytes, SCENE_BYTES + MiB, NULL));
	scene.options.overwrite = TRUE;
}

static gboolean destination_is(guint64 offset, guint64 count, char value)
{
	g_autofree char *bytes = NULL;
	gsize size;

	ck_assert(g_file_get_contents(destination, &bytes, &size, NULL));
	ck_assert_uint_le(offset + count, size);
	for (guint64 at = offset; at < offset + count; at++)
		if (bytes[at] != value)
			return FALSE;
	return TRUE;
}

START_TEST(a_file_that_is_overwritten_is_emptied_first)
{
	make_destination();
	interrupt();
	AUTO(job) job = scene_job(&scene);

	ck_assert(job->destination_fresh && !job->destination_made);
	ck_assert(destination_is(SCENE_BYTES - 4096, 4096, 0));
	ck_assert_int_eq(copy(), 0);
	assert_equal();
}
END_TEST

START_TEST(a_file_that_was_overwritten_is_empty_once_that_is_aborted)
{
	g_autoptr(GError) error = NULL;
	struct stat status;

	make_destination();
	interrupt();
	ck_assert(scene_abort(&scene, &error));
	ck_assert_int_eq(stat(destination, &status), 0);
	ck_assert_int_eq(status.st_size, SCENE_BYTES);
	ck_assert_int_eq(status.st_blocks, 0);
}
END_TEST

/* As QEMU locks an image that it may write to. */
START_TEST(a_refused_destination_stays_as_it_was)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};
	struct stat status;
	int fd;

	make_destination();
	fd = open(destination, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &lock), 0);
	ck_assert_int_eq(copy(), 1);
	ck_assert_int_eq(fstat(fd, &status), 0);
	ck_assert_int_eq(status.st_size, SCENE_BYTES + MiB);
	ck_assert(destination_is(0, SCENE_BYTES + MiB, 'o'));
	close(fd);
}
END_TEST

/* The job was begun, and nothing of it has run. */
static void begin_only(void)
{
	stop_request();
	ck_assert_int_eq(copy(), 3);
	scene_new_process(&scene);
}

START_TEST(a_guest_that_was_started_on_the_destination_meanwhile_keeps_it)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};
	int fd;

	make_destination();
	begin_only();
	fd = open(destination, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &lock), 0);
	ck_assert_int_eq(copy(), 75);
	ck_assert(destination_is(0, SCENE_BYTES + MiB, 'o'));
	close(fd);
	ck_assert_int_eq(copy(), 0);
	assert_equal();
}
END_TEST

/* As where the source is read over NFS, and the destination is the export's file. */
START_TEST(what_may_be_the_source_itself_is_not_emptied)
{
	struct stat status;

	make_destination();
	begin_only();
	AUTO(job) job = scene_job(&scene);

	ck_assert_int_eq(stat(destination, &status), 0);
	g_free(job->source_identity);
	job->source_identity = g_strdup_printf("nfs:1:%lu", (unsigned long)status.st_ino);
	g_autofree char *text = job_to_json(job);

	ck_assert(ledger_job_save(scene.ledger, job->id, text, NULL));
	ck_assert_int_eq(copy(), 1);
	ck_assert(destination_is(0, SCENE_BYTES, 'o'));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("copy");
	TCase *copies = tcase_create("copies");

	tcase_set_timeout(copies, 60);
	tcase_add_checked_fixture(copies, setup, teardown);
	tcase_add_test(copies, an_image_that_was_booted_meanwhile_is_copied_as_it_is_now);
	tcase_add_test(copies, a_full_destination_holds_the_copy);
	tcase_add_loop_test(copies, an_image_that_changed_its_size_meanwhile_is_copied_whole, 0, 4);
	tcase_add_test(copies, a_layout_for_another_size_is_begun_anew);
	tcase_add_test(copies, an_image_that_a_guest_writes_to_is_waited_for);
	tcase_add_loop_test(copies, a_copy_that_was_aborted_is_removed_unless_it_is_to_stay, 0, 2);
	tcase_add_test(copies, what_a_last_chunk_of_zeros_grew_by_is_zeroed);
	tcase_add_test(copies, what_a_longer_source_had_left_is_no_zeros_for_the_next);
	tcase_add_test(copies, a_file_that_is_overwritten_is_emptied_first);
	tcase_add_test(copies, a_file_that_was_overwritten_is_empty_once_that_is_aborted);
	tcase_add_test(copies, a_refused_destination_stays_as_it_was);
	tcase_add_test(copies, a_guest_that_was_started_on_the_destination_meanwhile_keeps_it);
	tcase_add_test(copies, what_may_be_the_source_itself_is_not_emptied);
	suite_add_tcase(suite, copies);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
