#include "blockmig/move/guardian.h"

#include "blockmig/move/move.h"
#include "common/error.h"

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

enum { BUSY_TRIES = 100, BUSY_STATUS = 75 };

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

int guardian_wait(int fd, gint64 job)
{
	char byte;
	ssize_t got;
	int status = BUSY_STATUS;

	fcntl(fd, F_SETFD, FD_CLOEXEC);
	do
		got = read(fd, &byte, 1);
	while (got < 0 && errno == EINTR);
	if (got == 1)
		return 0;
	/* The pipe closes a moment before the dead one's locks are free. */
	for (guint tries = 0; tries < BUSY_TRIES; tries++) {
		status = run_resume(job);
		if (status != BUSY_STATUS)
			break;
		g_usleep(100 * 1000);
	}
	return status;
}
