#include "common/stop.h"

#include "common/deadline.h"
#include "common/error.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

static atomic_int level = STOP_NO;
static atomic_int event_fd = -1;

/* Made by whoever comes first; a signal handler comes after stop_install(). */
static int event_fd_get(void)
{
	int fd = atomic_load(&event_fd);
	if (fd >= 0)
		return fd;

	int fresh = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fresh < 0)
		g_error("eventfd: %s", g_strerror(errno));
	int expected = -1;
	if (!atomic_compare_exchange_strong(&event_fd, &expected, fresh)) {
		close(fresh);
		return expected;
	}
	return fresh;
}

/* Runs in signal handlers: atomics and write(2) only. */
static void raise_level(int fd)
{
	static const guint64 one = 1;
	int now = atomic_load(&level);

	while (now < STOP_NOW && !atomic_compare_exchange_weak(&level, &now, now + 1))
		;
	/* It can fail only where the counter is full, and then the descriptor is readable. */
	ssize_t written = write(fd, &one, sizeof(one));
	(void)written;
}

static void on_signal(int number)
{
	int saved_errno = errno;

	(void)number;
	raise_level(atomic_load(&event_fd));
	errno = saved_errno;
}

void stop_install(void)
{
	struct sigaction stop = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	event_fd_get();
	sigemptyset(&stop.sa_mask);
	sigemptyset(&ignore.sa_mask);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
}

enum stop_level stop_level(void)
{
	return (enum stop_level)atomic_load(&level);
}

void stop_request(void)
{
	raise_level(event_fd_get());
}

void stop_reset(void)
{
	guint64 count;

	atomic_store(&level, STOP_NO);
	/* Not readable is as good: nothing to take back. */
	ssize_t taken = read(event_fd_get(), &count, sizeof(count));
	(void)taken;
}

int stop_fd(void)
{
	return event_fd_get();
}

gboolean stop_check(GError **error)
{
	if (stop_level() == STOP_NO)
		return TRUE;
	g_set_error_literal(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_STOPPED,
			    "stopped as asked; `blockmig resume` carries on");
	return FALSE;
}

gboolean stop_sleep_unless(guint milliseconds, int wake_fd, GError **error)
{
	struct pollfd fds[] = {{.fd = stop_fd(), .events = POLLIN},
			       {.fd = wake_fd, .events = POLLIN}};
	deadline_ms deadline = deadline_in(milliseconds);

	while (stop_check(error) && !fds[1].revents) {
		if (deadline_passed(deadline))
			return TRUE;
		poll(fds, G_N_ELEMENTS(fds), deadline_left(deadline));
	}
	return FALSE;
}

gboolean stop_sleep(guint milliseconds, GError **error)
{
	return stop_sleep_unless(milliseconds, -1, error);
}
