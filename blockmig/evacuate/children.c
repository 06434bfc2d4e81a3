#include "blockmig/evacuate/children.h"

#include "blockmig/evacuate/child_words.h"
#include "common/error.h"
#include "common/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Our own program, which may have been replaced on disk meanwhile. */
#define OURSELVES "/proc/self/exe"

/* RATE_FD: of the child.  How often the stop flag is looked at once it was raised. */
enum { RATE_FD = 3, STOP_LOOK_MS = 200 };

struct child {
	struct dispatch_move *move;
	GPid pid;
	int pidfd, out, err; /* out, err: -1 at their end */
	int rate;	     /* -1: it takes none */
	guint signals;	     /* that it was sent: one stops, two stop at once */
	struct child_words words;
};

struct children {
	struct children_options options;
	GPtrArray *running;   /* of struct child * */
	enum stop_level seen; /* of the user's stops, those that the caller knows of */
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void child_free(gpointer pointer)
{
	struct child *child = pointer;

	close_fd(&child->pidfd);
	close_fd(&child->out);
	close_fd(&child->err);
	close_fd(&child->rate);
	child_words_clear(&child->words);
	g_free(child);
}

struct children *children_new(const struct children_options *options)
{
	struct children *children = g_new0(struct children, 1);

	children->options = *options;
	children->running = g_ptr_array_new_with_free_func(child_free);
	return children;
}

void children_free(struct children *children)
{
	for (guint i = 0; i < children->running->len; i++) {
		struct child *child = g_ptr_array_index(children->running, i);

		kill(child->pid, SIGKILL);
		waitpid(child->pid, NULL, 0);
	}
	g_ptr_array_unref(children->running);
	g_free(children);
}

static struct child *child_of(struct children *children, const struct dispatch_move *move)
{
	for (guint i = 0; i < children->running->len; i++) {
		struct child *child = g_ptr_array_index(children->running, i);

		if (child->move == move)
			return child;
	}
	return NULL;
}

/* ---- starting --------------------------------------------------------------------------- */

/* Between fork and exec: async-signal-safe calls only. */
static void tie_to_parent(gpointer parent)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != GPOINTER_TO_INT(parent))
		_exit(127);
	setsid();
}

/* @rate_fd -1: none.  @argv[0] is the file, @argv[1] its name for itself. */
static gboolean spawn(struct child *child, char **argv, int rate_fd, GError **error)
{
	const GSpawnFlags flags =
		G_SPAWN_FILE_AND_ARGV_ZERO | G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_CLOEXEC_PIPES;
	const int target = RATE_FD;
	g_autoptr(GError) cause = NULL;

	if (!g_spawn_async_with_pipes_and_fds(NULL, (const char *const *)argv, NULL, flags,
					      tie_to_parent, GINT_TO_POINTER(getpid()), -1, -1, -1,
					      &rate_fd, &target, rate_fd < 0 ? 0 : 1, &child->pid,
					      NULL, &child->out, &child->err, &cause)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT, "start %s %s: %s",
			    argv[1], argv[2], cause->message);
		return FALSE;
	}
	child->pidfd = pidfd_open(child->pid, 0);
	fcntl(child->out, F_SETFL, O_NONBLOCK);
	fcntl(child->err, F_SETFL, O_NONBLOCK);
	return TRUE;
}

static void add_all(GPtrArray *argv, const char *const *words)
{
	for (; words && *words; words++)
		g_ptr_array_add(argv, (gpointer)*words);
}

static GPtrArray *argv_new(const struct children *children, const char *command)
{
	const char *program = children->options.program;
	GPtrArray *argv = g_ptr_array_new();

	g_ptr_array_add(argv, (gpointer)(program ? program : OURSELVES));
	g_ptr_array_add(argv, (gpointer) "blockmig");
	g_ptr_array_add(argv, (gpointer)command);
	g_ptr_array_add(argv, (gpointer) "--json");
	add_all(argv, children->options.common);
	return argv;
}

/* Takes @argv's words as they are, @rate_fds (both -1: none) in any case. */
static gboolean add_child(struct children *children, struct dispatch_move *move, GPtrArray *argv,
			  const int *rate_fds, GError **error)
{
	struct child *child = g_new0(struct child, 1);

	g_ptr_array_add(argv, NULL);
	child->move = move;
	child->pidfd = child->out = child->err = -1;
	child->rate = rate_fds[1];
	child_words_init(&child->words, &move->outcome);

	gboolean started = spawn(child, (char **)argv->pdata, rate_fds[0], error);

	if (rate_fds[0] >= 0)
		close(rate_fds[0]);
	if (started)
		g_ptr_array_add(children->running, child);
	else
		child_free(child);
	return started;
}

gboolean children_start(struct children *children, struct dispatch_move *move, guint64 rate,
			GError **error)
{
	g_autoptr(GPtrArray) argv = argv_new(children, "migrate");
	g_autofree char *fd = g_strdup_printf("--bwlimit-fd=%d", RATE_FD);
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0) {
		error_set_errno(error, errno, "start the move of %s", move->domain);
		return FALSE;
	}
	fcntl(ends[1], F_SETFL, O_NONBLOCK);
	add_all(argv, children->options.migrate);
	g_ptr_array_add(argv, fd);
	g_ptr_array_add(argv, (gpointer) "--to");
	g_ptr_array_add(argv, move->to);
	g_ptr_array_add(argv, (gpointer) "--");
	g_ptr_array_add(argv, move->domain);
	g_ptr_array_add(argv, move->disk);
	if (!add_child(children, move, argv, ends, error))
		return FALSE;
	children_set_rate(children, move, rate);
	return TRUE;
}

gboolean children_roll_back(struct children *children, struct dispatch_move *move, GError **error)
{
	g_autoptr(GPtrArray) argv = argv_new(children, "abort");
	g_autofree char *number = g_strdup_printf("%" G_GINT64_FORMAT, move->job);

	g_ptr_array_add(argv, number);
	return add_child(children, move, argv, (const int[]){-1, -1}, error);
}

void children_set_rate(struct children *children, struct dispatch_move *move, guint64 rate)
{
	struct child *child = child_of(children, move);
	g_autofree char *line = g_strdup_printf("%" G_GUINT64_FORMAT "\n", rate);

	/* A child that has just ended takes no rate any more; nor need it. */
	if (child && child->rate >= 0 && write(child->rate, line, strlen(line)) < 0)
		close_fd(&child->rate);
}

void children_stop(struct children *children, struct dispatch_move *move, gboolean now)
{
	struct child *child = child_of(children, move);

	while (child && child->signals < (now ? 2 : 1)) {
		/* Not reaped yet, so the number is still its own. */
		kill(child->pid, SIGINT);
		child->signals++;
	}
}

/* ---- listening --------------------------------------------------------------------------- */

struct told {
	struct children *children;
	struct child *child;
};

static void on_line(const char *text, void *data)
{
	struct told *told = data;
	struct dispatch_move *move = told->child->move;

	if (move->outcome.job)
		move->job = move->outcome.job;
	if (told->children->options.line)
		told->children->options.line(move, text, told->children->options.data);
}

/* Takes what there is to read; closes the pipe at its end. */
static void drain(struct children *children, struct child *child, int *fd)
{
	struct told told = {children, child};
	char buffer[16384];
	ssize_t count;

	while (*fd >= 0 && (count = TEMP_FAILURE_RETRY(read(*fd, buffer, sizeof buffer))) != 0) {
		if (count < 0 && errno == EAGAIN)
			return;
		if (count < 0)
			break;
		if (fd == &child->out)
			child_words_take(&child->words, buffer, (gsize)count, on_line, &told);
		else
			child_words_complain(&child->words, buffer, (gsize)count);
	}
	close_fd(fd);
}

/*
 * The child is gone.  Its pipes need not be: a guardian of it may live on, so what is in
 * them now is all that is waited for.
 */
static struct dispatch_move *reap(struct children *children, struct child *child)
{
	struct dispatch_move *move = child->move;
	int status = 0;

	drain(children, child, &child->out);
	drain(children, child, &child->err);
	child_words_end(&child->words);
	if (TEMP_FAILURE_RETRY(waitpid(child->pid, &status, 0)) < 0)
		status = 127 << 8;
	move->outcome.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	g_ptr_array_remove(children->running, child);
	return move;
}

static void add_poll(GArray *fds, int fd)
{
	const struct pollfd wait = {.fd = fd, .events = POLLIN};

	g_array_append_val(fds, wait);
}

static int wait_ms(gint64 until_us)
{
	gint64 left_ms = (until_us - g_get_monotonic_time() + 999) / 1000;

	return (int)CLAMP(left_ms, 0, stop_level() == STOP_NO ? G_MAXINT : STOP_LOOK_MS);
}

/* One poll; a child that has ended, or NULL. */
static struct child *listen_once(struct children *children, gint64 until_us)
{
	g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
	struct child *ended = NULL;

	/* Once raised it stays readable. */
	add_poll(fds, stop_level() == STOP_NO ? stop_fd() : -1);
	for (guint i = 0; i < children->running->len; i++) {
		const struct child *child = g_ptr_array_index(children->running, i);

		add_poll(fds, child->pidfd);
		add_poll(fds, child->out);
		add_poll(fds, child->err);
	}
	if (poll((struct pollfd *)(void *)fds->data, fds->len, wait_ms(until_us)) <= 0)
		return NULL;
	for (guint i = 0; i < children->running->len; i++) {
		struct child *child = g_ptr_array_index(children->running, i);
		const struct pollfd *own = &g_array_index(fds, struct pollfd, 1 + 3 * i);

		if (own[1].revents)
			drain(children, child, &child->out);
		if (own[2].revents)
			drain(children, child, &child->err);
		if (own[0].revents && !ended)
			ended = child;
	}
	return ended;
}

struct dispatch_move *children_wait(struct children *children, gint64 until_us)
{
	while (stop_level() == children->seen) {
		struct child *ended = listen_once(children, until_us);

		if (ended)
			return reap(children, ended);
		if (g_get_monotonic_time() >= until_us)
			return NULL;
	}
	/* It may have come before the wait; the caller looks after each. */
	children->seen = stop_level();
	return NULL;
}
