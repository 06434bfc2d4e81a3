/*
 * What is told while an evacuation runs: to the user, and to systemd.
 */
#ifndef CMD_NIGHT_WATCH_H
#define CMD_NIGHT_WATCH_H

#include "blockmig/evacuate/live.h"
#include "blockmig/report/reporter.h"

struct night_watch {
	struct reporter *reporter;
	gboolean verbose; /* each move's beginning and end in words */
	guint running, moved, others;
};

/* Borrows @watch. */
struct live_listener night_watch_listener(struct night_watch *watch);

#endif
