/*
 * New rates for a move that runs, from the evacuation that started it: lines of decimal
 * bytes a second on a descriptor that it handed down.
 */
#ifndef CMD_RATE_PIPE_H
#define CMD_RATE_PIPE_H

#include <glib.h>

struct rate_pipe {
	int fd;
	guint64 rate; /* what the line that is being read says so far */
};

/* USAGE where @fd is no descriptor of ours. */
gboolean rate_pipe_open(struct rate_pipe *pipe, int fd, GError **error);
/* move_context's new_rate; @data is a struct rate_pipe.  Never waits; the last line counts. */
gboolean rate_pipe_read(guint64 *rate, void *data);

#endif
