/*
 * Moves as processes: `blockmig migrate --json` for each, so that what one of them meets
 * (a library that hangs, a crash) is no matter of the others.
 *
 * A child has a session of its own, so that a Ctrl-C is the evacuation's alone, and gets
 * SIGTERM when the thread that started it ends, however it ends: it then stops at its next
 * checkpoint, and the same evacuation again carries it on.  Its share of the bandwidth comes
 * to it on a descriptor (--bwlimit-fd).
 */
#ifndef EVACUATE_CHILDREN_H
#define EVACUATE_CHILDREN_H

#include "blockmig/evacuate/dispatch.h"
#include "common/auto.h"

#include <glib.h>

struct children_options {
	const char *program;	    /* NULL: this very program */
	const char *const *migrate; /* options of each migrate, NULL-terminated */
	const char *const *common;  /* options of every command, NULL-terminated */
	/* Each line of JSON as it comes, without its end; or NULL. */
	void (*line)(const struct dispatch_move *move, const char *text, void *data);
	void *data;
};

struct children;
/* @options are borrowed. */
struct children *children_new(const struct children_options *options);
/* Those that still run are killed: call it when there are none. */
void children_free(struct children *children);
AUTO_DEFINE(children, children_free)

/* For struct dispatch_runner's slots of these names. */
gboolean children_start(struct children *children, struct dispatch_move *move, guint64 rate,
			GError **error);
gboolean children_roll_back(struct children *children, struct dispatch_move *move, GError **error);
void children_set_rate(struct children *children, struct dispatch_move *move, guint64 rate);
void children_stop(struct children *children, struct dispatch_move *move, gboolean now);
/* @until_us: of the monotonic clock.  Returns with NULL also when a stop was asked for since the
 * last time. */
struct dispatch_move *children_wait(struct children *children, gint64 until_us);

#endif
