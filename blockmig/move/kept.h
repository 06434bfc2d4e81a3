/*
 * Partial copies that a rollback left at their destination, and the later run that
 * carries on with one.
 *
 * A rolled back job keeps its passes along with its copy (ledger.h).  A new job of the
 * same disk to the same place looks at what lies there: the same image by its identity,
 * which nobody changed since it was kept (ctime), of the same shape, and still what the ledger says
 * as far as a few samples show.  Then it takes the passes over.  None of it is believed: the source
 * is hashed again, what differs is sent, and all the rest is read back before it counts as proven.
 */
#ifndef MOVE_KEPT_H
#define MOVE_KEPT_H

#include "blockmig/move/job.h"

/* Whether the job's copy, if it has begun one, is to stay where it is rolled back. */
gboolean kept_wanted(const struct move *move);

/*
 * What a new job, described so far, may find.  @format: of its destination.  @words:
 * what the user is to know, of char *; added to.
 */
struct kept_search {
	const struct move_context *context;
	const struct move_options *options;
	struct job *job;
	const char *format;
	GPtrArray *words;
};
/*
 * Whether a copy that fits lies at @place: then job->taken_over, destination_made and
 * destination_fresh are those of the job that left it.
 */
gboolean kept_at(const struct kept_search *search, const struct place *place);
/* The same for all of @datastore; NULL where there is none. */
struct place *kept_in(const struct kept_search *search, const struct datastore *datastore);

/*
 * The copy that is taken over is still the one that was found, and gets the size that is
 * needed now.
 */
gboolean kept_settle(struct move *move, struct handle *handle, GError **error);
/* The copy is kept, and nothing of ours touches it from now on: what it was is remembered. */
gboolean kept_stamp(struct move *move, GError **error);
/* Its passes become this job's, once; nothing where nothing is taken over. */
gboolean kept_take(struct move *move, GError **error);
/*
 * For gc: removes the copy that the rolled back job @record left, and forgets it.  A LUN's
 * content stays as it is.  EXISTS, with nothing removed, where another file took its
 * place or somebody wrote to it (it is forgotten then), PERMANENT where somebody names it.
 */
gboolean kept_remove(struct move_context *context, const struct ledger_job *record, GError **error);
/* Copies that lay where this job's lies now are no more. */
gboolean kept_forget_replaced(struct move *move, GError **error);

#endif
