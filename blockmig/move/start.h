/*
 * How jobs of either kind come into the ledger, get their locks, and are driven.
 */
#ifndef MOVE_START_H
#define MOVE_START_H

#include "blockmig/move/runner.h"

/* The locks of the job, its domain and both images; BUSY where somebody else holds one. */
gboolean start_lock(struct ledger *ledger, const struct job *job, GError **error);

/* The lock of one image: by its identity, or by its URL where it has none (yet). */
gboolean start_lock_image(struct ledger *ledger, const char *identity, const char *url, gint64 job,
			  GError **error);

/* Where a job stands that is not at its beginning: as in struct ledger_job. */
struct start_from {
	const char *phase;
	gboolean undoing;
	const char *message;
};

/*
 * Adds the job (its id is set; a free one may be asked for) and locks it; on failure it is
 * ended again.  @from NULL: from the beginning.
 */
gboolean start_add(struct move_context *context, const char *kind, struct job *job,
		   const struct start_from *from, GError **error);

/* Takes the job; runs @drive over its table; unlocks it; *summary is set. */
gboolean start_drive(struct move_context *context, struct job *job,
		     gboolean (*drive)(struct move *, const struct phase *, GError **),
		     struct move_summary **summary, GError **error);

/* The job's own copy of the options. */
void start_copy_options(struct job *job, const struct move_options *options);

#endif
