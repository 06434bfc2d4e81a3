/*
 * How far a pass is, how fast, and how long it will take: pure arithmetic, with the
 * clock given by the caller.
 */
#ifndef REPORT_METER_H
#define REPORT_METER_H

#include "blockmig/copy/engine.h"

#include <glib.h>

/* Rates are smoothed over a few seconds.  All zeros to begin with. */
struct meter {
	gint64 last_us;
	struct copy_progress last;
	double copied_per_second; /* bytes */
	double proven_per_second; /* bytes */
};

/* Takes in @progress at @now_us; a pass that begins anew (fewer bytes) resets it. */
void meter_update(struct meter *meter, const struct copy_progress *progress, gint64 now_us);

/*
 * Milliseconds until everything is copied, and proven where any of it has been, at these
 * rates; -1: cannot be told.
 */
gint64 meter_left_ms(const struct meter *meter, const struct copy_progress *progress);

/* What a line of progress says. */
struct meter_line {
	gint64 job;
	const char *phase;
	guint round; /* 0: none */
	struct copy_progress progress;
	double copied_per_second;
	gint64 left_ms; /* -1: not known */
};

/*
 * The line, at most @columns wide, with a bar where there is room for one: what does not
 * fit is left out, the least important first.  @columns 0: no limit and no bar.  The
 * caller frees.
 */
char *meter_format(const struct meter_line *line, guint columns);

#endif
