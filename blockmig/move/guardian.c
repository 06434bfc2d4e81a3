#include "blockmig/move/guardian.h"

#include "blockmig/move/job.h"
#include "common/error.h"
#include "common/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct guardian {
	pid_t pid;
	int fd; /* write end */
};

enum { BUSY_TRIES = 100, BUSY_STATUS = 75, WAIT_FIRST_MS = 1000, WAIT_MOST_MS = 15 * 1000 };

/* Our own program, which may have been replaced on disk meanwhile. */
#define OURSELVES "/proc/self/exe"

static int spawn(pid_t *pid, int fd, char *const *argv, char *const *environment)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd, 3);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
	int failed = posix_spawn(pid, OURSELVES, &actions, &attributes, argv, environment);

	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return failed;
}

struct guardian *guardian_start(gint64 job, const char *uri, GError **error)
{
	g_autofree char *number = g_strdup_printf("%" G_GINT64_FORMAT, job);
	char *argv[] = {(char *)"blockmig", (char *)"guardian", (char *)"3", number, NULL};
	g_auto(GStrv) environment = g_get_environ();
	int ends[2];
	pid_t pid;

	/* The resume that it may run has to find the same libvirt. */
	if (uri)
		environment = g_environ_setenv(environment, "LIBVIRT_DEFAULT_URI", uri, TRUE);
	if (pipe2(ends, O_CLOEXEC) != 0) {
		error_set_errno(error, errno, "guardian");
		return NULL;
	}
	int failed = spawn(&pid, ends[0], argv, environment);

	close(ends[0]);
	if (failed) {
		close(ends[1]);
		error_set_errno(error, failed, "start the guardian");
		return NULL;
	}
	struct guardian *guardian = g_new0(struct guardian, 1);

	guardian->pid = pid;
	guardian->fd = ends[1];
	return guardian;
}

void guardian_dismiss(struct guardian *guardian)
{
	int status;

	while (write(guardian->fd, "x", 1) < 0 && errno == EINTR)
		;
	close(guardian->fd);
	while (waitpid(guardian->pid, &status, 0) < 0 && errno == EINTR)
		;
	g_free(guardian);
}

void guardian_leave(struct guardian *guardian)
{
	close(guardian->fd);
	g_free(guardian);
}

int guardian_pid(const struct guardian *guardian)
{
	return (int)guardian->pid;
}

char *guardian_key(gint64 job)
{
	return g_strdup_printf("guardian:%" G_GINT64_FORMAT, job);
}

/* ---- the guardian itself ------------------------------------------------------------- */

static int run_resume(gint64 job)
{
	g_autofree char *number = g_strdup_printf("%" G_GINT64_FORMAT, job);
	char *argv[] = {(char *)"blockmig", (char *)"resume", number, (char *)"--quiet", NULL};
	pid_t pid;
	int status;

	if (posix_spawn(&pid, OURSELVES, NULL, NULL, argv, environ) != 0)
		return 1;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* The pipe closes a moment before the locks of who died are free. */
static int resume_when_free(gint64 job)
{
	int status = BUSY_STATUS;

	for (guint tries = 0; tries < BUSY_TRIES && status == BUSY_STATUS; tries++) {
		if (tries)
			g_usleep(100 * 1000);
		status = run_resume(job);
	}
	return status;
}

/* Whether the guest stands still, and another try may change that. */
static gboolean is_awaited(struct ledger *ledger, gint64 id)
{
	AUTO(ledger_job) record = ledger_job_get(ledger, id, NULL);
	AUTO(job) job = record ? job_from_json(record->state, NULL) : NULL;

	return job && record->result == JOB_OPEN && job->awaited;
}

static int look_on(struct ledger *ledger, gint64 job)
{
	for (guint wait_ms = WAIT_FIRST_MS;; wait_ms = MIN(2 * wait_ms, (guint)WAIT_MOST_MS)) {
		int status = resume_when_free(job);

		if (!ledger || !is_awaited(ledger, job) || !stop_sleep(wait_ms, NULL))
			return status;
	}
}

/* Whoever reads what we were started with is not to wait for us. */
static void close_outputs(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int output = 0; fd >= 0 && output <= 2; output++)
		dup2(fd, output);
}

int guardian_wait(int fd, gint64 job, const char *state_folder)
{
	g_autofree char *key = guardian_key(job);
	g_autoptr(GError) failure = NULL;
	char byte;
	ssize_t got;

	fcntl(fd, F_SETFD, FD_CLOEXEC);
	do
		got = read(fd, &byte, 1);
	while (got < 0 && errno == EINTR);
	if (got == 1)
		return 0;
	close_outputs();
	/* Without a ledger that can be read, one try is better than none. */
	AUTO(ledger) ledger = ledger_open(state_folder, NULL);

	if (ledger && !ledger_lock(ledger, key, job, &failure) &&
	    error_is(failure, BLOCKMIG_ERROR_BUSY))
		return 0;
	int status = look_on(ledger, job);

	if (ledger)
		ledger_unlock_job(ledger, job, NULL);
	return status;
}
