/*
 * How a command over several jobs ends: each job is told, and the worst one gives the
 * exit status.
 *
 * From bad to good: 5 needs a person, 4 data did not match, 1 failed or rolled back,
 * 2 usage, 75 busy, 3 resumable, 0.  What needs somebody's eyes comes before what comes
 * right by itself.
 */
#ifndef CMD_OUTCOME_H
#define CMD_OUTCOME_H

#include "blockmig/move/move.h"
#include "blockmig/report/reporter.h"

/* @error NULL: 0.  A job that is resumable is 3 whatever its error's code. */
int outcome_status(const struct move_summary *summary, const GError *error);
int outcome_worst(int a, int b);

/*
 * Whether the next job may be tried after one that ended like this: not where the user
 * wants to stop, the network is away, or a guest needs a person.
 */
gboolean outcome_goes_on(int status);

/* What a job was about, for the summary of one that was refused before it existed. */
struct outcome_subject {
	const char *kind, *domain, *disk, *source, *destination; /* NULL: not known */
};

/*
 * Tells error and summary, and returns the status.  @summary NULL: there was no job.
 */
int outcome_tell(struct reporter *reporter, const struct outcome_subject *subject,
		 const struct move_summary *summary, const GError *error);

/* The summary of a command that had nothing to do, for whoever reads the last line. */
void outcome_tell_nothing(struct reporter *reporter, const char *why);

#endif
