/*
 * The stop flag: the user's SIGINT or SIGTERM, seen by every loop that waits.
 *
 * One signal asks for an end at the next checkpoint, a second one for an end at
 * once (what is not yet in the ledger will be sent again).  Both leave a state
 * that `blockmig resume` carries on from.
 */
#ifndef COMMON_STOP_H
#define COMMON_STOP_H

#include <glib.h>

enum stop_level { STOP_NO, STOP_CHECKPOINT, STOP_NOW };

/* Installs the handlers for SIGINT and SIGTERM, and ignores SIGPIPE. */
void stop_install(void);

enum stop_level stop_level(void);

/* Raises the level by one, as a signal would.  For tests and for other threads. */
void stop_request(void);

/* Back to STOP_NO.  For tests. */
void stop_reset(void);

/*
 * A descriptor that polls readable once a stop was asked for.  Never read it.
 */
int stop_fd(void);

/* FALSE and a STOPPED error where a stop was asked for. */
gboolean stop_check(GError **error);

/*
 * Sleeps for @milliseconds; returns at once with FALSE and STOPPED where a stop is
 * or was asked for.
 */
gboolean stop_sleep(guint milliseconds, GError **error);
/* The same, and FALSE with no error where @wake_fd (-1: none) polls readable. */
gboolean stop_sleep_unless(guint milliseconds, int wake_fd, GError **error);

#endif
