#include "blockmig/vm/child.h"

#include "common/deadline.h"
#include "common/error.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long a killed child may take to go: one in an uninterruptible wait does not. */
enum { KILL_WAIT_MS = 5000 };

struct child {
	GPid pid;
	int pidfd;
	int out, err; /* -1: closed, or never asked for */
};

/* ---- starting ------------------------------------------------------------------- */

/* Between fork and exec: async-signal-safe calls only. */
static void tie_to_parent(gpointer parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != GPOINTER_TO_INT(parent))
		_exit(127);
	setsid();
}

static gboolean start(const char *const *argv, gboolean want_output, struct child *child,
		      GError **error)
{
	g_auto(GStrv) environment = g_environ_setenv(g_get_environ(), "LC_ALL", "C", TRUE);
	GSpawnFlags flags = G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_CLOEXEC_PIPES;
	g_autoptr(GError) cause = NULL;

	child->out = child->err = -1;
	if (!want_output)
		flags |= G_SPAWN_STDOUT_TO_DEV_NULL;
	if (!g_spawn_async_with_pipes(NULL, (char **)argv, environment, flags, tie_to_parent,
				      GINT_TO_POINTER(getpid()), &child->pid, NULL,
				      want_output ? &child->out : NULL, &child->err, &cause)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s: %s; it comes with qemu-utils or qemu-system-common", argv[0],
			    cause->message);
		return FALSE;
	}
	child->pidfd = pidfd_open(child->pid, 0);
	return TRUE;
}

static void close_child(struct child *child)
{
	int *const fds[] = {&child->pidfd, &child->out, &child->err};

	for (guint i = 0; i < G_N_ELEMENTS(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

/* ---- running to the end ------------------------------------------------------------ */

/* Appends what there is to read; closes the pipe at its end. */
static void drain(int *fd, GString *into)
{
	char buffer[16384];
	ssize_t count = TEMP_FAILURE_RETRY(read(*fd, buffer, sizeof(buffer)));

	if (count > 0) {
		g_string_append_len(into, buffer, count);
		return;
	}
	close(*fd);
	*fd = -1;
}

/* Reads both pipes until the child has ended; FALSE where it stalled. */
static gboolean follow(struct child *child, guint stall_ms, GString *out, GString *err)
{
	deadline_ms deadline = stall_ms ? deadline_in(stall_ms) : DEADLINE_NEVER;

	for (;;) {
		struct pollfd wait[] = {{.fd = child->out, .events = POLLIN},
					{.fd = child->err, .events = POLLIN},
					{.fd = child->pidfd, .events = POLLIN}};
		int ready = poll(wait, G_N_ELEMENTS(wait), deadline_left(deadline));

		if (ready == 0 && deadline_passed(deadline))
			return FALSE;
		if (ready <= 0)
			continue;
		if (wait[0].revents || wait[1].revents)
			deadline = stall_ms ? deadline_in(stall_ms) : DEADLINE_NEVER;
		if (wait[0].revents)
			drain(&child->out, out);
		if (wait[1].revents)
			drain(&child->err, err);
		if (child->out < 0 && child->err < 0 && wait[2].revents)
			return TRUE;
	}
}

/* Kills the child and waits a little; FALSE where the kernel does not let it go. */
static gboolean kill_child(struct child *child)
{
	struct pollfd gone = {.fd = child->pidfd, .events = POLLIN};

	kill(child->pid, SIGKILL);
	return poll(&gone, 1, KILL_WAIT_MS) > 0;
}

static int reap(const struct child *child)
{
	int status = 0;

	if (TEMP_FAILURE_RETRY(waitpid(child->pid, &status, 0)) < 0)
		return 127;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

gboolean child_run(const char *const *argv, guint stall_ms, struct child_result *result,
		   GError **error)
{
	GString *out, *err;
	struct child child;

	if (!start(argv, TRUE, &child, error))
		return FALSE;
	out = g_string_new(NULL);
	err = g_string_new(NULL);
	if (!follow(&child, stall_ms, out, err)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_UNKNOWN,
			    "%s %s: no progress for %u s, so it was killed: %s", argv[0],
			    argv[1] ? argv[1] : "", stall_ms / 1000, g_strchomp(err->str));
		if (kill_child(&child))
			reap(&child);
		close_child(&child);
		g_string_free(out, TRUE);
		g_string_free(err, TRUE);
		return FALSE;
	}
	result->status = reap(&child);
	close_child(&child);
	result->output = g_string_free(out, FALSE);
	result->messages = g_strchomp(g_string_free(err, FALSE));
	return TRUE;
}

void child_result_clear(struct child_result *result)
{
	g_clear_pointer(&result->output, g_free);
	g_clear_pointer(&result->messages, g_free);
}

/* ---- services ------------------------------------------------------------------------ */

struct child_service {
	char **argv;
	struct child child;
	GMutex lock;
	GCond changed;
	gboolean started, ended; /* ended: reaped, the PID is not ours any more */
	GError *failure;	 /* of the start */
	GString *messages;
};

static void service_clear(gpointer data)
{
	struct child_service *service = data;

	g_strfreev(service->argv);
	g_mutex_clear(&service->lock);
	g_cond_clear(&service->changed);
	g_clear_error(&service->failure);
	g_string_free(service->messages, TRUE);
}

static void announce(struct child_service *service, gboolean *what)
{
	g_mutex_lock(&service->lock);
	*what = TRUE;
	g_cond_broadcast(&service->changed);
	g_mutex_unlock(&service->lock);
}

/* Keeps the pipe empty, so that the child never blocks on its own complaints. */
static void keep_messages(struct child_service *service)
{
	g_autoptr(GString) piece = g_string_new(NULL);

	while (service->child.err >= 0) {
		g_string_truncate(piece, 0);
		drain(&service->child.err, piece);
		g_mutex_lock(&service->lock);
		if (service->messages->len < 65536)
			g_string_append(service->messages, piece->str);
		g_mutex_unlock(&service->lock);
	}
}

static gpointer keep(gpointer data)
{
	struct child_service *service = data;
	siginfo_t unused;

	if (!start((const char *const *)service->argv, FALSE, &service->child, &service->failure)) {
		service->ended = TRUE;
		announce(service, &service->started);
		g_atomic_rc_box_release_full(service, service_clear);
		return NULL;
	}
	announce(service, &service->started);
	keep_messages(service);
	/* Not reaped before the lock is held: the PID must stay ours while one may kill it. */
	TEMP_FAILURE_RETRY(waitid(P_PID, (id_t)service->child.pid, &unused, WEXITED | WNOWAIT));
	g_mutex_lock(&service->lock);
	reap(&service->child);
	service->ended = TRUE;
	g_cond_broadcast(&service->changed);
	g_mutex_unlock(&service->lock);
	close_child(&service->child);
	g_atomic_rc_box_release_full(service, service_clear);
	return NULL;
}

struct child_service *child_service_start(const char *const *argv, GError **error)
{
	struct child_service *service = g_atomic_rc_box_new0(struct child_service);

	service->argv = g_strdupv((char **)argv);
	service->messages = g_string_new(NULL);
	g_mutex_init(&service->lock);
	g_cond_init(&service->changed);
	g_thread_unref(g_thread_new("child", keep, g_atomic_rc_box_acquire(service)));

	g_mutex_lock(&service->lock);
	while (!service->started)
		g_cond_wait(&service->changed, &service->lock);
	g_mutex_unlock(&service->lock);
	if (service->failure) {
		g_propagate_error(error, g_steal_pointer(&service->failure));
		g_atomic_rc_box_release_full(service, service_clear);
		return NULL;
	}
	return service;
}

gboolean child_service_ended(struct child_service *service, char **messages)
{
	gboolean ended;

	g_mutex_lock(&service->lock);
	ended = service->ended;
	if (ended)
		*messages = g_strchomp(g_strdup(service->messages->str));
	g_mutex_unlock(&service->lock);
	return ended;
}

void child_service_stop(struct child_service *service)
{
	gint64 until = g_get_monotonic_time() + KILL_WAIT_MS * G_TIME_SPAN_MILLISECOND;

	g_mutex_lock(&service->lock);
	if (!service->ended)
		kill(service->child.pid, SIGKILL);
	while (!service->ended && g_cond_wait_until(&service->changed, &service->lock, until))
		;
	g_mutex_unlock(&service->lock);
	g_atomic_rc_box_release_full(service, service_clear);
}
