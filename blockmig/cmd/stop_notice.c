#include "blockmig/cmd/stop_notice.h"

#include "common/stop.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct stop_notice {
	struct reporter *reporter;
	int end_fd;
	GThread *thread;
};

static void *watch(void *data)
{
	struct stop_notice *notice = data;
	struct pollfd fds[] = {
		{.fd = stop_fd(), .events = POLLIN},
		{.fd = notice->end_fd, .events = POLLIN},
	};

	while (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno == EINTR)
		;
	if (fds[0].revents)
		reporter_note(notice->reporter, 0,
			      "stopping at the next checkpoint; again to stop at once");
	return NULL;
}

struct stop_notice *stop_notice_start(struct reporter *reporter)
{
	struct stop_notice *notice = g_new0(struct stop_notice, 1);

	notice->reporter = reporter;
	notice->end_fd = eventfd(0, EFD_CLOEXEC);
	if (notice->end_fd < 0)
		g_error("eventfd: %s", g_strerror(errno));
	notice->thread = g_thread_new("stop-notice", watch, notice);
	return notice;
}

void stop_notice_end(struct stop_notice *notice)
{
	eventfd_write(notice->end_fd, 1);
	g_thread_join(notice->thread);
	close(notice->end_fd);
	g_free(notice);
}
