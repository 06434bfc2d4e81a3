/*
 * Deadlines on the monotonic clock, and the waits between tries.
 *
 * A deadline is a *stall* limit: whoever makes progress moves it on.  There is
 * never a limit on the whole of a copy.
 */
#ifndef COMMON_DEADLINE_H
#define COMMON_DEADLINE_H

#include <glib.h>

/* A point on the monotonic clock, in milliseconds; DEADLINE_NEVER never passes. */
typedef gint64 deadline_ms;
#define DEADLINE_NEVER G_MAXINT64

deadline_ms deadline_in(guint64 milliseconds);
gboolean deadline_passed(deadline_ms deadline);
/* Milliseconds left, at least 0, at most G_MAXINT: fits poll(2). */
int deadline_left(deadline_ms deadline);

/*
 * Tries with exponential waits and jitter (100 ms doubling to 5 s, each drawn from
 * the upper half), for as long as @retry_for_ms since the last success.
 */
struct backoff {
	guint64 retry_for_ms;
	deadline_ms until; /* 0: no failure since the last success */
	guint wait_ms;
	int wake_fd; /* -1, or a descriptor that polls readable where nobody waits for it any more
		      */
};

void backoff_init(struct backoff *backoff, guint64 retry_for_ms);

/* Progress was made: the next failure starts a new span of retry_for_ms. */
void backoff_success(struct backoff *backoff);

/*
 * After a failure: waits and returns TRUE where another try is allowed.  FALSE with
 * no error set where the span is used up (the caller reports the failure itself) or
 * wake_fd is readable, FALSE with STOPPED where the user wants to stop.
 */
gboolean backoff_wait(struct backoff *backoff, GError **error);

#endif
