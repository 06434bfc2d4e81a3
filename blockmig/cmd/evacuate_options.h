/*
 * The options of `evacuate` alone: as typed, and what they mean.
 */
#ifndef CMD_EVACUATE_OPTIONS_H
#define CMD_EVACUATE_OPTIONS_H

#include "blockmig/evacuate/evacuation.h"

#include <glib.h>

/* As typed; NULL, 0 and FALSE: not said. */
struct evacuate_options {
	char *order, *window, *until, *at_end, *then;
	char *per_host, *per_datastore, *per_target;
	char **reports; /* files */
	gboolean end_maintenance;
};
void evacuate_options_clear(struct evacuate_options *options);

/*
 * Fills order, limits (but for bwlimit), hours and at_end of @request; *window, which
 * @request borrows, is the caller's.  USAGE names the option.
 */
gboolean evacuate_options_apply(const struct evacuate_options *options, gint64 now_s,
				struct evacuation_request *request, struct window **window,
				GError **error);

#endif
