/*
 * Bare copies to an NFS server that answers again before it has its exports, or the file
 * systems in them: between two runs, and while one is undone.
 */
#include "common/error.h"
#include "common/stop.h"
#include "common/units.h"
#include "tests/faked/scene.h"
#include "tests/unit/nfs_script.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <nfsc/libnfs-raw-mount.h>

enum { CONTENT = NFS_SCRIPT_BYTES };

static struct scene scene;
static struct nfs_script *script;
static char *source, *destination;

static void setup(void)
{
	g_autofree char *content = g_strnfill(CONTENT, 'x');

	scene_open(&scene, "raw");
	scene.context.session = NULL;
	scene.options.from_format = g_strdup("raw");
	scene.options.retry_for_ms = 5000;
	source = fake_path("src/small.raw");
	ck_assert(g_file_set_contents(source, content, CONTENT, NULL));
	script = nfs_script_start();
	script->size_bytes = CONTENT;
	script->exists = FALSE;
	destination = nfs_script_url(script);
}

static void teardown(void)
{
	g_free(destination);
	g_free(source);
	scene_close(&scene);
}

/* The exit status. */
static int copy(void)
{
	struct move_summary *summary = NULL;
	g_autoptr(GError) error = NULL;

	image_copy_start(&scene.context, source, destination, &summary, &error);
	if (summary)
		move_summary_free(summary);
	if (error)
		g_string_append_printf(scene.warnings, "%s\n", error->message);
	return error_exit_status(error);
}

static void stop_soon(gint64 job G_GNUC_UNUSED, const char *phase G_GNUC_UNUSED,
		      guint round G_GNUC_UNUSED, const struct copy_progress *progress,
		      void *data G_GNUC_UNUSED)
{
	if (progress->bytes_done)
		stop_request();
}

static void interrupt(void)
{
	scene.options.bwlimit = MiB;
	scene.reporter.progress = stop_soon;
	ck_assert_msg(copy() == 3, "%s", scene.warnings->str);
	scene.reporter.progress = NULL;
	scene.options.bwlimit = 0;
	scene_new_process(&scene);
}

static void assert_copied(void)
{
	g_autofree char *content = g_strnfill(CONTENT, 'x');

	ck_assert_msg(copy() == 0, "%s", scene.warnings->str);
	ck_assert_int_eq(memcmp(script->durable, content, CONTENT), 0);
}

START_TEST(an_export_that_is_not_back_yet_is_waited_for_by_the_next_run)
{
	interrupt();
	script->mount_status = MNT3ERR_ACCES;
	script->mount_times = 6;
	assert_copied();
	ck_assert_uint_eq(script->mount_times, 0);
	AUTO(job) job = scene_job(&scene);

	ck_assert_int_eq(job->id, 1);
}
END_TEST

START_TEST(a_run_that_meets_nobody_still_tells_what_is_there)
{
	interrupt();
	AUTO(job) before = scene_job(&scene);

	ck_assert_uint_gt(before->partial.bytes_data, 0);
	scene.options.retry_for_ms = 50;
	script->mount_status = MNT3ERR_ACCES;
	script->mount_times = G_MAXUINT;
	ck_assert_msg(copy() == 3, "%s", scene.warnings->str);
	AUTO(job) after = scene_job(&scene);

	ck_assert_mem_eq(&after->partial, &before->partial, sizeof after->partial);
	script->mount_times = 0;
	assert_copied();
}
END_TEST

START_TEST(a_copy_that_is_not_there_as_it_is_undone_stays_known)
{
	g_autoptr(GError) error = NULL;

	interrupt();
	script->exists = FALSE;
	ck_assert_msg(scene_abort(&scene, &error), "%s", error ? error->message : "");
	ck_assert_msg(strstr(scene.warnings->str, "gone, or left behind") != NULL, "%s",
		      scene.warnings->str);
	script->exists = TRUE;
	assert_copied();
	AUTO(job) job = scene_job(&scene);

	ck_assert_uint_eq(job->taken_over, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("copy over nfs, away");
	TCase *away = tcase_create("away");

	tcase_set_timeout(away, 60);
	tcase_add_checked_fixture(away, setup, teardown);
	tcase_add_test(away, an_export_that_is_not_back_yet_is_waited_for_by_the_next_run);
	tcase_add_test(away, a_run_that_meets_nobody_still_tells_what_is_there);
	tcase_add_test(away, a_copy_that_is_not_there_as_it_is_undone_stays_known);
	suite_add_tcase(suite, away);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
