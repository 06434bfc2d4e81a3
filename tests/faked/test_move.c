/* Whole moves of a guest's disk over a fake libvirt and fake images. */
#include "blockmig/copy/compare.h"
#include "common/error.h"
#include "common/stop.h"
#include "tests/faked/scene.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct scene scene;

static const struct shape {
	const char *had, *option, *gets;
} shapes[] = {
	{"raw", "keep", "raw"},
	{"raw", "qcow2", "qcow2"},
	{"qcow2", "keep", "qcow2"},
	{"qcow2", "raw", "raw"},
};

static void open_shape(const struct shape *shape, enum domain_run run)
{
	scene_open(&scene, shape->had);
	g_free(scene.options.format);
	scene.options.format = g_strdup(shape->option);
	if (run != RUN_OFF)
		ck_assert(fake_start(FAKE_UUID));
	if (run == RUN_PAUSED)
		fake_pause(FAKE_UUID);
}

static void open_running(void)
{
	open_shape(&shapes[0], RUN_RUNNING);
}

static void move_done(void)
{
	g_autoptr(GError) error = NULL;

	ck_assert_msg(scene_move(&scene, &error), "%s", error ? error->message : "");
}

static void resume_done(void)
{
	g_autoptr(GError) error = NULL;

	ck_assert_msg(scene_resume(&scene, &error), "%s", error ? error->message : "");
}

static void move_fails(int status)
{
	g_autoptr(GError) error = NULL;

	ck_assert(!scene_move(&scene, &error));
	ck_assert_msg(error_exit_status(error) == status, "exit %d: %s", error_exit_status(error),
		      error->message);
}

/* ---- what the guest does meanwhile ------------------------------------------------------ */

/* Enough for one more round. */
static void write_much(void *value)
{
	if (fake_domain_run(FAKE_UUID) == RUN_RUNNING)
		scene_write(&scene, 2, 80, (guint8)GPOINTER_TO_UINT(value));
}

static void write_little(void *value)
{
	if (fake_domain_run(FAKE_UUID) == RUN_RUNNING)
		scene_write(&scene, 100, 2, (guint8)GPOINTER_TO_UINT(value));
}

/* The last cluster is one that the source does not hold: its file grows. */
static void write_end(void *value)
{
	if (fake_domain_run(FAKE_UUID) == RUN_RUNNING)
		scene_write(&scene, SCENE_BYTES / FAKE_CLUSTER - 1, 1,
			    (guint8)GPOINTER_TO_UINT(value));
}

static void shut_off(void *data)
{
	(void)data;
	if (fake_domain_run(FAKE_UUID) != RUN_OFF)
		fake_off(FAKE_UUID);
}

static void start(void *data)
{
	(void)data;
	if (fake_domain_run(FAKE_UUID) == RUN_OFF && fake_start(FAKE_UUID))
		scene_write(&scene, 60, 3, 0xa1);
}

static void start_and_stop(void *data)
{
	(void)data;
	if (fake_domain_run(FAKE_UUID) != RUN_OFF || !fake_start(FAKE_UUID))
		return;
	scene_write(&scene, 70, 3, 0xb2);
	fake_off(FAKE_UUID);
}

static void stop_move(void *data)
{
	(void)data;
	stop_request();
}

static void at(const char *call, guint nth, enum fake_when when, void (*hook)(void *), void *data)
{
	fake_fault(&(struct fake_fault){.call = call,
					.nth = nth,
					.when = when,
					.code = FAKE_NO_ERROR,
					.hook = hook,
					.data = data});
}

/* ---- the reference move ---------------------------------------------------------------- */

static void write_in_between(void)
{
	at("qemu-io", 1, FAKE_BEFORE, write_end, GUINT_TO_POINTER(0x11));
	at("snapshot", 1, FAKE_AFTER, write_much, GUINT_TO_POINTER(0x22));
	at("snapshot", 2, FAKE_AFTER, write_little, GUINT_TO_POINTER(0x33));
	at("block-copy", 1, FAKE_AFTER, write_little, GUINT_TO_POINTER(0x44));
	at("resume", 1, FAKE_AFTER, write_little, GUINT_TO_POINTER(0x55));
	at("block-commit", 1, FAKE_AFTER, write_little, GUINT_TO_POINTER(0x66));
}

START_TEST(a_running_guest_that_writes_moves)
{
	open_shape(&shapes[_i], RUN_RUNNING);
	write_in_between();
	move_done();
	scene_assert_moved(&scene, shapes[_i].gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(a_paused_guest_moves_and_stays_paused)
{
	open_shape(&shapes[_i], RUN_PAUSED);
	move_done();
	scene_assert_moved(&scene, shapes[_i].gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_PAUSED);
	ck_assert_int_eq(fake_log_find("resume", -1), -1);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_that_is_off_moves_and_stays_off)
{
	open_shape(&shapes[_i], RUN_OFF);
	move_done();
	scene_assert_moved(&scene, shapes[_i].gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_OFF);
	ck_assert_int_eq(fake_log_find("snapshot", -1), -1);
	scene_close(&scene);
}
END_TEST

/* A LUN larger than the image keeps the guest's disk as large as it was. */
START_TEST(a_guest_moves_to_a_lun)
{
	g_autofree char *lun = NULL;
	g_autofree char *xml = NULL;

	open_shape(&shapes[_i / 2 ? 2 : 0], _i % 2 ? RUN_RUNNING : RUN_OFF);
	lun = fake_path("luns/1");
	fake_image_create(lun, "raw", 2 * SCENE_BYTES, NULL, 0);
	g_free(scene.to);
	scene.to = g_strdup("iscsi://array/iqn.2026-01.com.example:t1/");
	write_in_between();
	move_done();
	xml = fake_domain_xml(FAKE_UUID, FALSE);
	ck_assert_msg(strstr(xml, "name='iqn.2026-01.com.example:t1/1'") != NULL, "%s", xml);
	ck_assert_msg(strstr(xml, "<slice type='storage' offset='0' size='8388608'/>") != NULL,
		      "%s", xml);
	scene_assert_content(&scene);
	scene_close(&scene);
}
END_TEST

/* ---- order ------------------------------------------------------------------------------ */

static gboolean is_proven(const struct ledger_unit *unit, void *data)
{
	gboolean *all = data;

	*all = *all && unit->state == UNIT_PROVEN;
	return TRUE;
}

/* Before QEMU hears of the destination, every byte of it has been read back. */
static void assert_proven(void *data)
{
	AUTO(ledger_job) record = ledger_job_find(scene.ledger, FAKE_UUID, "vda", NULL);
	gint64 pass = ledger_pass_find(scene.ledger, record->id, "base");
	gboolean all = TRUE;

	(void)data;
	ck_assert_int_ne(pass, 0);
	ck_assert(ledger_units_each(scene.ledger, pass, is_proven, &all, NULL));
	ck_assert(all);
}

static void assert_cut_over(void *data)
{
	AUTO(job) job = scene_job(&scene);

	(void)data;
	ck_assert(job->cut_over);
	ck_assert(job->suspended);
}

static void assert_not_cut_over(void *data)
{
	AUTO(job) job = scene_job(&scene);

	(void)data;
	ck_assert(!job->cut_over);
	ck_assert(job->suspended);
}

static void assert_source_there(void *data)
{
	(void)data;
	ck_assert(g_file_test(scene.source, G_FILE_TEST_EXISTS));
}

/* The lines stand in the log in this order. */
static void assert_order(const char *const *lines)
{
	int last = -1;
	g_autofree char *log = fake_log();

	for (guint i = 0; lines[i]; i++) {
		last = fake_log_find(lines[i], last);
		ck_assert_msg(last >= 0, "no %s in its place in:\n%s", lines[i], log);
	}
}

START_TEST(a_move_keeps_its_order)
{
	static const char *const order[] = {
		"metadata set",	  "qemu-io",	  "create-overlay",  "snapshot",
		"create-overlay", "block-copy",	  "guard",	     "suspend",
		"pivot",	  "compare",	  "resume",	     "unguard",
		"block-commit",	  "pivot-commit", "metadata remove", NULL};

	open_running();
	scene.options.delete_source = TRUE;
	at("block-copy", 1, FAKE_BEFORE, assert_proven, NULL);
	at("suspend", 1, FAKE_BEFORE, assert_not_cut_over, NULL);
	at("compare", 1, FAKE_BEFORE, assert_not_cut_over, NULL);
	at("resume", 1, FAKE_BEFORE, assert_cut_over, NULL);
	at("pivot-commit", 1, FAKE_AFTER, assert_source_there, NULL);
	move_done();
	assert_order(order);
	ck_assert(!g_file_test(scene.source, G_FILE_TEST_EXISTS));
	scene_assert_content(&scene);
	scene_close(&scene);
}
END_TEST

/* ---- faults ------------------------------------------------------------------------------ */

static const char *const faulty[] = {"metadata",   "qemu-io", "create-overlay", "snapshot",
				     "block-copy", "guard",   "suspend",	"pivot"};

static void open_faulty(int i, int code)
{
	open_running();
	at("snapshot", 1, FAKE_AFTER, write_little, GUINT_TO_POINTER(0x22));
	fake_fault(&(struct fake_fault){
		.call = faulty[i / 2], .when = i % 2 ? FAKE_AFTER : FAKE_BEFORE, .code = code});
}

START_TEST(a_refusal_before_the_commit_point_rolls_back)
{
	g_autoptr(GError) error = NULL;

	open_faulty(_i, BLOCKMIG_ERROR_PERMANENT);
	if (scene_move(&scene, &error)) {
		scene_assert_moved(&scene, "raw");
	} else {
		ck_assert_int_eq(error_exit_status(error), 1);
		ck_assert_int_eq(scene_result(&scene), JOB_ROLLED_BACK);
		scene_assert_home(&scene);
	}
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(a_fault_that_passes_is_held_and_the_same_command_carries_on)
{
	g_autoptr(GError) error = NULL;

	open_faulty(_i, BLOCKMIG_ERROR_TRANSIENT);
	if (!scene_move(&scene, &error)) {
		ck_assert_msg(error_exit_status(error) == 3, "%s", error->message);
		ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
		scene_new_process(&scene);
		move_done();
	}
	scene_assert_moved(&scene, "raw");
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(a_call_of_unknown_outcome_is_looked_into)
{
	g_autoptr(GError) error = NULL;

	open_faulty(_i, BLOCKMIG_ERROR_UNKNOWN);
	if (!scene_move(&scene, &error)) {
		scene_new_process(&scene);
		resume_done();
	}
	scene_assert_moved(&scene, "raw");
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(an_abort_of_a_held_job_puts_everything_back)
{
	g_autoptr(GError) error = NULL;

	open_faulty(_i, BLOCKMIG_ERROR_TRANSIENT);
	if (!scene_move(&scene, &error)) {
		g_autoptr(GError) problem = NULL;

		scene_new_process(&scene);
		ck_assert_msg(scene_abort(&scene, &problem), "%s", problem ? problem->message : "");
		scene_assert_home(&scene);
	}
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(an_abort_of_a_cold_job_puts_everything_back)
{
	g_autoptr(GError) error = NULL;

	open_shape(&shapes[_i], RUN_OFF);
	at("define", 1, FAKE_AFTER, start_and_stop, NULL);
	fake_fault(
		&(struct fake_fault){.call = "define", .nth = 2, .code = BLOCKMIG_ERROR_TRANSIENT});
	ck_assert(!scene_move(&scene, &error));
	scene_new_process(&scene);
	g_clear_error(&error);
	ck_assert_msg(scene_abort(&scene, &error), "%s", error ? error->message : "");
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

START_TEST(a_stop_holds_the_job)
{
	open_running();
	at("snapshot", 1, FAKE_AFTER, stop_move, NULL);
	move_fails(3);
	scene_new_process(&scene);
	resume_done();
	scene_assert_moved(&scene, "raw");
	scene_close(&scene);
}
END_TEST

/* ---- a wrong mirror, a destination that is gone -------------------------------------------- */

START_TEST(a_wrong_mirror_brings_the_guest_home)
{
	open_shape(&shapes[_i], RUN_RUNNING);
	write_in_between();
	fake_corrupt_mirror();
	move_fails(4);
	scene_assert_home(&scene);
	ck_assert_int_eq(scene_result(&scene), JOB_ROLLED_BACK);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

static void truncate_destination(void *data)
{
	g_autofree char *path = fake_path("dst/disk.raw");

	(void)data;
	ck_assert_int_eq(truncate(path, 0), 0);
}

START_TEST(a_destination_that_is_gone_after_the_pivot_wakes_the_guest_on_its_source)
{
	open_running();
	at("snapshot", 1, FAKE_AFTER, write_little, GUINT_TO_POINTER(0x22));
	at("pivot", 1, FAKE_AFTER, truncate_destination, NULL);
	move_fails(1);
	ck_assert_int_ge(fake_log_find("restore", fake_log_find("save", -1)), 0);
	scene_assert_home(&scene);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

/* ---- two at once ---------------------------------------------------------------------------- */

/* What another process gets that moves the same disk, to @to. */
static void move_elsewhere(void *to)
{
	int status;
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		g_autofree char *state = fake_path("state");
		g_autoptr(GError) error = NULL;
		struct move_summary *summary = NULL;

		scene.context.ledger = ledger_open(state, NULL);
		move_start(&scene.context, "web", "vda", to, &summary, &error);
		_exit(error_exit_status(error));
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(WEXITSTATUS(status), 75);
}

START_TEST(a_second_start_of_the_same_move_is_busy)
{
	open_running();
	at("snapshot", 1, FAKE_AFTER, move_elsewhere, scene.to);
	move_done();
	scene_assert_moved(&scene, "raw");
	scene_close(&scene);
}
END_TEST

START_TEST(a_second_start_to_another_place_is_busy)
{
	open_running();
	at("snapshot", 1, FAKE_AFTER, move_elsewhere, (void *)"/elsewhere/");
	move_done();
	scene_assert_moved(&scene, "raw");
	scene_close(&scene);
}
END_TEST

START_TEST(another_jobs_element_is_respected)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *foreign = xml_metadata(99, "vda", "somebody-elses-nonce", "/a", "/b", "");

	open_running();
	ck_assert(session_metadata_set(scene.session, FAKE_UUID, foreign, TRUE, TRUE, NULL));
	g_autofree char *before = fake_domain_xml(FAKE_UUID, TRUE);

	move_fails(75);
	ck_assert(scene_abort(&scene, &error));
	g_autofree char *after = fake_domain_xml(FAKE_UUID, TRUE);

	ck_assert_str_eq(before, after);
	scene_close(&scene);
}
END_TEST

static void put_a_file(void *path)
{
	g_autofree char *text = g_strnfill(2 << 20, 'x');

	ck_assert(g_file_set_contents(path, text, 2 << 20, NULL));
}

START_TEST(a_file_that_appears_at_the_destination_is_left_alone)
{
	g_autofree char *path = NULL;

	open_running();
	path = fake_path("dst/disk.raw");
	at("metadata", 1, FAKE_AFTER, put_a_file, path);
	move_fails(1);
	ck_assert(g_file_test(path, G_FILE_TEST_EXISTS));
	unlink(path);
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

/* ---- guests that start and stop ----------------------------------------------------------------
 */

/* The move may have to be resumed where the guest changed under it. */
static void finish(void)
{
	g_autoptr(GError) error = NULL;

	if (scene_move(&scene, &error))
		return;
	ck_assert_msg(error_exit_status(error) == 3 || error_exit_status(error) == 1, "exit %d: %s",
		      error_exit_status(error), error->message);
	scene_new_process(&scene);
	if (scene_result(&scene) == JOB_ROLLED_BACK) {
		scene_assert_home(&scene);
		move_done();
	} else {
		resume_done();
	}
}

/* A move makes no more calls than this that change something. */
enum { CALLS_MOST = 40 };

/* Before and after each call, over all shapes in turn. */
static const struct shape *shape_of(int i)
{
	return &shapes[i / 2 % 4];
}

static void at_call(int i, void (*hook)(void *))
{
	at(NULL, (guint)i / 2 + 1, i % 2 ? FAKE_AFTER : FAKE_BEFORE, hook, NULL);
}

START_TEST(a_guest_may_be_shut_off_at_any_call)
{
	open_shape(shape_of(_i), RUN_RUNNING);
	at("snapshot", 1, FAKE_AFTER, write_little, GUINT_TO_POINTER(0x22));
	at_call(_i, shut_off);
	finish();
	scene_assert_moved(&scene, shape_of(_i)->gets);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_may_be_started_at_any_call)
{
	open_shape(shape_of(_i), RUN_OFF);
	at_call(_i, start);
	finish();
	scene_assert_moved(&scene, shape_of(_i)->gets);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_may_be_started_and_stopped_at_any_call)
{
	open_shape(shape_of(_i), RUN_OFF);
	at_call(_i, start_and_stop);
	finish();
	scene_assert_moved(&scene, shape_of(_i)->gets);
	scene_close(&scene);
}
END_TEST

/* ---- our own death
 * -------------------------------------------------------------------------------- */

static void kill_at(int i)
{
	fake_fault(&(struct fake_fault){.nth = (guint)i / 2 + 1,
					.when = i % 2 ? FAKE_AFTER : FAKE_BEFORE,
					.code = FAKE_KILL});
}

static void resume_after_death(const char *gets)
{
	g_autoptr(GPtrArray) jobs = NULL;

	if (scene_apart(&scene, scene_move) == SCENE_KILLED) {
		jobs = ledger_job_list(scene.ledger, TRUE, NULL);
		if (jobs->len)
			resume_done();
		else
			move_done();
	}
	scene_assert_moved(&scene, gets);
}

START_TEST(a_live_move_that_is_killed_is_resumed)
{
	open_shape(shape_of(_i), RUN_RUNNING);
	write_in_between();
	kill_at(_i);
	resume_after_death(shape_of(_i)->gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(a_cold_move_that_is_killed_is_resumed)
{
	open_shape(shape_of(_i), RUN_OFF);
	kill_at(_i);
	resume_after_death(shape_of(_i)->gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_OFF);
	scene_close(&scene);
}
END_TEST

/* Aborted, or finished where it was too late for that. */
static void abort_after_death(const char *gets)
{
	g_autoptr(GError) error = NULL;

	if (scene_apart(&scene, scene_move) != SCENE_KILLED) {
		scene_assert_moved(&scene, gets);
	} else if (scene_abort(&scene, &error)) {
		scene_assert_home(&scene);
	} else {
		ck_assert_msg(error_exit_status(error) == 5, "%s", error->message);
		resume_done();
		scene_assert_moved(&scene, gets);
	}
}

START_TEST(a_live_move_that_is_killed_is_aborted)
{
	open_shape(shape_of(_i), RUN_RUNNING);
	write_in_between();
	kill_at(_i);
	abort_after_death(shape_of(_i)->gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

START_TEST(a_cold_move_that_is_killed_is_aborted)
{
	open_shape(shape_of(_i), RUN_OFF);
	kill_at(_i);
	abort_after_death(shape_of(_i)->gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_OFF);
	scene_close(&scene);
}
END_TEST

/* Between the pivot and the commit point, then the guest runs where it is. */
START_TEST(a_guest_that_ran_on_the_destination_is_not_put_back)
{
	g_autoptr(GError) error = NULL;

	open_running();
	fake_fault(&(struct fake_fault){.call = "compare", .code = FAKE_KILL});
	ck_assert_int_eq(scene_apart(&scene, scene_move), SCENE_KILLED);
	fake_unpause(FAKE_UUID);
	scene_write(&scene, 5, 2, 0x77);
	ck_assert(!scene_abort(&scene, &error));
	ck_assert_int_eq(error_exit_status(error), 5);
	resume_done();
	scene_assert_moved(&scene, "raw");
	scene_close(&scene);
}
END_TEST

/* How many calls of the way there come before the wrong mirror is found out. */
enum { CALLS_THERE = 11, CALLS_HOME_MOST = 16 };

START_TEST(a_wrong_mirror_is_survived_wherever_we_die_on_the_way_home)
{
	g_autoptr(GError) error = NULL;
	int status;

	open_running();
	at("snapshot", 1, FAKE_AFTER, write_little, GUINT_TO_POINTER(0x22));
	fake_corrupt_mirror();
	fake_fault(&(struct fake_fault){.nth = (guint)_i / 2 + 1 + CALLS_THERE,
					.when = _i % 2 ? FAKE_AFTER : FAKE_BEFORE,
					.code = FAKE_KILL});
	status = scene_apart(&scene, scene_move);
	if (status == SCENE_KILLED)
		ck_assert_msg(scene_abort(&scene, &error), "%s", error ? error->message : "");
	else
		ck_assert_int_eq(status, 4);
	scene_assert_home(&scene);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

/* ---- the way back, disturbed --------------------------------------------------------------------
 */

static void hold_late(int i, enum domain_run run)
{
	g_autoptr(GError) error = NULL;

	open_shape(shape_of(i), run);
	write_in_between();
	at("define", 1, FAKE_AFTER, start_and_stop, NULL);
	fake_fault(&(struct fake_fault){.call = run == RUN_OFF ? "define" : "pivot",
					.nth = run == RUN_OFF ? 2 : 1,
					.code = BLOCKMIG_ERROR_TRANSIENT});
	ck_assert(!scene_move(&scene, &error));
	ck_assert_int_eq(error_exit_status(error), 3);
	scene_new_process(&scene);
}

enum { CALLS_BACK_MOST = 16 };

static void disturb(int i, int code)
{
	fake_fault(&(struct fake_fault){
		.nth = (guint)i / 2 + 1, .when = i % 2 ? FAKE_AFTER : FAKE_BEFORE, .code = code});
}

static void abort_done(void)
{
	g_autoptr(GError) error = NULL;

	ck_assert_msg(scene_abort(&scene, &error), "%s", error ? error->message : "");
}

START_TEST(an_abort_that_fails_is_finished_by_another)
{
	g_autoptr(GError) error = NULL;
	enum domain_run run = _i / 2 / CALLS_BACK_MOST ? RUN_OFF : RUN_RUNNING;

	hold_late(_i, run);
	disturb(_i % (2 * CALLS_BACK_MOST), BLOCKMIG_ERROR_UNKNOWN);
	if (!scene_abort(&scene, &error)) {
		ck_assert_msg(error_exit_status(error) == 3, "%s", error->message);
		scene_new_process(&scene);
		abort_done();
	}
	scene_assert_home(&scene);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), run);
	scene_close(&scene);
}
END_TEST

START_TEST(an_abort_that_is_killed_is_finished_by_another)
{
	enum domain_run run = _i / 2 / CALLS_BACK_MOST ? RUN_OFF : RUN_RUNNING;

	hold_late(_i, run);
	disturb(_i % (2 * CALLS_BACK_MOST), FAKE_KILL);
	if (scene_apart(&scene, scene_abort) == SCENE_KILLED)
		abort_done();
	scene_assert_home(&scene);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), run);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_may_be_shut_off_at_any_call_of_an_abort)
{
	g_autoptr(GError) error = NULL;

	hold_late(_i, RUN_RUNNING);
	at_call(_i, shut_off);
	if (!scene_abort(&scene, &error)) {
		scene_new_process(&scene);
		abort_done();
	}
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

START_TEST(a_guest_may_be_started_at_any_call_of_an_abort)
{
	g_autoptr(GError) error = NULL;

	hold_late(_i, RUN_OFF);
	at_call(_i, start);
	if (!scene_abort(&scene, &error)) {
		scene_new_process(&scene);
		abort_done();
	}
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

/* ---- the way forward, disturbed
 * ------------------------------------------------------------------ */

START_TEST(a_fault_behind_the_commit_point_is_finished_by_resume)
{
	static const char *const calls[] = {"resume", "block-commit", "pivot-commit", "metadata",
					    "define"};
	static const int codes[] = {BLOCKMIG_ERROR_TRANSIENT, BLOCKMIG_ERROR_UNKNOWN,
				    BLOCKMIG_ERROR_PERMANENT};
	g_autoptr(GError) error = NULL;
	int which = _i / 2 % 5;

	open_shape(&shapes[_i % 4], RUN_RUNNING);
	write_in_between();
	fake_fault(&(struct fake_fault){.call = calls[which],
					.nth = which == 3 ? 2 : 1,
					.when = _i % 2 ? FAKE_AFTER : FAKE_BEFORE,
					.code = codes[_i / 10]});
	if (!scene_move(&scene, &error)) {
		ck_assert_msg(error_exit_status(error) == 3 || error_exit_status(error) == 5, "%s",
			      error->message);
		scene_new_process(&scene);
		resume_done();
	}
	scene_assert_moved(&scene, shapes[_i % 4].gets);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), RUN_RUNNING);
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("move");
	TCase *whole = tcase_create("whole");
	TCase *faults = tcase_create("faults");
	TCase *changes = tcase_create("changes");
	TCase *deaths = tcase_create("deaths");
	const int faults_count = 2 * (int)G_N_ELEMENTS(faulty);
	const int calls_count = 2 * CALLS_MOST;

	tcase_add_loop_test(whole, a_running_guest_that_writes_moves, 0, 4);
	tcase_add_loop_test(whole, a_paused_guest_moves_and_stays_paused, 0, 4);
	tcase_add_loop_test(whole, a_guest_that_is_off_moves_and_stays_off, 0, 4);
	tcase_add_loop_test(whole, a_guest_moves_to_a_lun, 0, 4);
	tcase_add_test(whole, a_move_keeps_its_order);
	suite_add_tcase(suite, whole);

	tcase_add_loop_test(faults, a_refusal_before_the_commit_point_rolls_back, 0, faults_count);
	tcase_add_loop_test(faults, a_fault_that_passes_is_held_and_the_same_command_carries_on, 0,
			    faults_count);
	tcase_add_loop_test(faults, a_call_of_unknown_outcome_is_looked_into, 0, faults_count);
	tcase_add_loop_test(faults, an_abort_of_a_held_job_puts_everything_back, 0, faults_count);
	tcase_add_loop_test(faults, an_abort_that_fails_is_finished_by_another, 0,
			    4 * CALLS_BACK_MOST);
	tcase_add_loop_test(faults, a_fault_behind_the_commit_point_is_finished_by_resume, 0, 30);
	tcase_add_loop_test(faults, an_abort_of_a_cold_job_puts_everything_back, 0, 4);
	tcase_add_test(faults, a_stop_holds_the_job);
	tcase_add_loop_test(faults, a_wrong_mirror_brings_the_guest_home, 0, 4);
	tcase_add_test(faults,
		       a_destination_that_is_gone_after_the_pivot_wakes_the_guest_on_its_source);
	tcase_add_test(faults, a_second_start_of_the_same_move_is_busy);
	tcase_add_test(faults, a_second_start_to_another_place_is_busy);
	tcase_add_test(faults, another_jobs_element_is_respected);
	tcase_add_test(faults, a_file_that_appears_at_the_destination_is_left_alone);
	tcase_add_test(faults, a_guest_that_ran_on_the_destination_is_not_put_back);
	suite_add_tcase(suite, faults);

	tcase_add_loop_test(changes, a_guest_may_be_shut_off_at_any_call, 0, calls_count);
	tcase_add_loop_test(changes, a_guest_may_be_started_at_any_call, 0, calls_count);
	tcase_add_loop_test(changes, a_guest_may_be_started_and_stopped_at_any_call, 0,
			    calls_count);
	tcase_add_loop_test(changes, a_guest_may_be_shut_off_at_any_call_of_an_abort, 0,
			    2 * CALLS_BACK_MOST);
	tcase_add_loop_test(changes, a_guest_may_be_started_at_any_call_of_an_abort, 0,
			    2 * CALLS_BACK_MOST);
	suite_add_tcase(suite, changes);

	tcase_add_loop_test(deaths, a_live_move_that_is_killed_is_resumed, 0, calls_count);
	tcase_add_loop_test(deaths, a_cold_move_that_is_killed_is_resumed, 0, calls_count);
	tcase_add_loop_test(deaths, a_live_move_that_is_killed_is_aborted, 0, calls_count);
	tcase_add_loop_test(deaths, a_cold_move_that_is_killed_is_aborted, 0, calls_count);
	tcase_add_loop_test(deaths, a_wrong_mirror_is_survived_wherever_we_die_on_the_way_home, 0,
			    2 * CALLS_HOME_MOST);
	tcase_add_loop_test(deaths, an_abort_that_is_killed_is_finished_by_another, 0,
			    4 * CALLS_BACK_MOST);
	suite_add_tcase(suite, deaths);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
