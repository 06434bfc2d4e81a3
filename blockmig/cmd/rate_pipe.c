#include "blockmig/cmd/rate_pipe.h"

#include "common/error.h"

#include <fcntl.h>
#include <unistd.h>

gboolean rate_pipe_open(struct rate_pipe *pipe, int fd, GError **error)
{
	int flags = fcntl(fd, F_GETFL);

	*pipe = (struct rate_pipe){.fd = fd};
	/* Not for our own children: they would keep it open. */
	if (flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
	    fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
		    "--bwlimit-fd %d: no open descriptor has that number", fd);
	return FALSE;
}

gboolean rate_pipe_read(guint64 *rate, void *data)
{
	struct rate_pipe *pipe = data;
	gboolean found = FALSE;
	char buffer[256];
	ssize_t count;

	while ((count = TEMP_FAILURE_RETRY(read(pipe->fd, buffer, sizeof buffer))) > 0) {
		for (ssize_t i = 0; i < count; i++) {
			if (g_ascii_isdigit(buffer[i])) {
				pipe->rate = pipe->rate * 10 + (guint64)(buffer[i] - '0');
				continue;
			}
			*rate = pipe->rate;
			pipe->rate = 0;
			found = TRUE;
		}
	}
	return found;
}
