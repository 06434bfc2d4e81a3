#include "tests/faked/moves.h"

#include "common/error.h"

#include <check.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct scene scene;

const struct moves_shape moves_shapes[MOVES_SHAPES] = {
	{"raw", "keep", "raw"},
	{"raw", "qcow2", "qcow2"},
	{"qcow2", "keep", "qcow2"},
	{"qcow2", "raw", "raw"},
};

const struct moves_shape *moves_shape_of(int i)
{
	return &moves_shapes[i / 2 % MOVES_SHAPES];
}

void moves_open(const struct moves_shape *shape, enum domain_run run)
{
	scene_open(&scene, shape->had);
	scene_want_format(&scene, shape->option);
	/* What write_much writes is then more than a cutover compares. */
	scene.options.max_downtime_ms = 150;
	if (run != RUN_OFF)
		ck_assert(fake_start(FAKE_UUID));
	if (run == RUN_PAUSED)
		fake_pause(FAKE_UUID);
}

void moves_open_running(void)
{
	moves_open(&moves_shapes[0], RUN_RUNNING);
}

void moves_done(void)
{
	g_autoptr(GError) error = NULL;

	ck_assert_msg(scene_move(&scene, &error), "%s", error ? error->message : "");
}

void moves_resume_done(void)
{
	g_autoptr(GError) error = NULL;

	if (scene_result(&scene) == JOB_DONE)
		return;
	ck_assert_msg(scene_resume(&scene, &error), "%s", error ? error->message : "");
}

void moves_fails(int status)
{
	g_autoptr(GError) error = NULL;

	ck_assert(!scene_move(&scene, &error));
	ck_assert_msg(error_exit_status(error) == status, "exit %d: %s", error_exit_status(error),
		      error->message);
}

void moves_abort_done(void)
{
	g_autoptr(GError) error = NULL;

	ck_assert_msg(scene_abort(&scene, &error), "%s", error ? error->message : "");
}

void moves_lose_ledger(void)
{
	scene_lose_ledger(&scene);
	scene_new_process(&scene);
}

void moves_go_on_without_ledger(gboolean (*adopt)(struct scene *, GError **))
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GError) again = NULL;

	moves_lose_ledger();
	/* Rolled back, or behind the commit point: then an abort points forward. */
	if (!adopt(&scene, &error) && error_exit_status(error) != 1) {
		ck_assert_msg(error_exit_status(error) == 5, "exit %d: %s",
			      error_exit_status(error), error->message);
		if (scene_result(&scene) == JOB_OPEN)
			moves_resume_done();
	}
	ck_assert_msg(adopt(&scene, &again), "%s", again ? again->message : "");
}

/* ---- what the guest does meanwhile ----------------------------------------------------------- */

/* Enough for one more round. */
static void write_much(void *value)
{
	if (fake_domain_run(FAKE_UUID) == RUN_RUNNING)
		scene_write(&scene, 2, 80, (guint8)GPOINTER_TO_UINT(value));
}

void moves_write_little(void *value)
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

void moves_start_and_stop(void *data)
{
	(void)data;
	if (fake_domain_run(FAKE_UUID) != RUN_OFF || !fake_start(FAKE_UUID))
		return;
	scene_write(&scene, 70, 3, 0xb2);
	fake_off(FAKE_UUID);
}

/* ---- at which call --------------------------------------------------------------------------- */

void moves_at(const char *call, guint nth, enum fake_when when, void (*hook)(void *), void *data)
{
	fake_fault(&(struct fake_fault){.call = call,
					.nth = nth,
					.when = when,
					.code = FAKE_NO_ERROR,
					.hook = hook,
					.data = data});
}

void moves_disturb(int i, int code)
{
	fake_fault(&(struct fake_fault){
		.nth = (guint)i / 2 + 1, .when = i % 2 ? FAKE_AFTER : FAKE_BEFORE, .code = code});
}

void moves_write_in_between(void)
{
	moves_at("qemu-io", 1, FAKE_BEFORE, write_end, GUINT_TO_POINTER(0x11));
	moves_at("snapshot", 1, FAKE_AFTER, write_much, GUINT_TO_POINTER(0x22));
	moves_at("snapshot", 2, FAKE_AFTER, moves_write_little, GUINT_TO_POINTER(0x33));
	moves_at("block-copy", 1, FAKE_AFTER, moves_write_little, GUINT_TO_POINTER(0x44));
	moves_at("resume", 1, FAKE_AFTER, moves_write_little, GUINT_TO_POINTER(0x55));
	moves_at("block-commit", 1, FAKE_AFTER, moves_write_little, GUINT_TO_POINTER(0x66));
}

void moves_hold_late(int i, enum domain_run run)
{
	g_autoptr(GError) error = NULL;

	moves_open(moves_shape_of(i), run);
	moves_write_in_between();
	/* What fails once holds the job. */
	scene.options.retry_for_ms = 0;
	moves_at("define", 1, FAKE_AFTER, moves_start_and_stop, NULL);
	fake_fault(&(struct fake_fault){.call = run == RUN_OFF ? "define" : "pivot",
					.nth = run == RUN_OFF ? 2 : 1,
					.code = BLOCKMIG_ERROR_TRANSIENT});
	ck_assert(!scene_move(&scene, &error));
	ck_assert_int_eq(error_exit_status(error), 3);
	scene_new_process(&scene);
}

static gboolean is_same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

void moves_flip_byte(const char *path, guint64 offset)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat before, after;
	char byte;

	ck_assert_int_eq(fstat(fd, &before), 0);
	ck_assert_int_eq(pread(fd, &byte, 1, (off_t)offset), 1);
	byte ^= 0x40;
	do {
		ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)offset), 1);
		ck_assert_int_eq(fstat(fd, &after), 0);
	} while (is_same_time(&before.st_ctim, &after.st_ctim));
	close(fd);
}

void moves_forget_stamp(void)
{
	AUTO(job) job = scene_job(&scene);

	ck_assert_uint_ne(job->kept_ns, 0);
	job->kept_ns = 0;
	g_autofree char *text = job_to_json(job);

	ck_assert(ledger_job_save(scene.ledger, job->id, text, NULL));
}
