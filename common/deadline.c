#include "common/deadline.h"

#include "common/stop.h"

enum { WAIT_FIRST_MS = 100, WAIT_MOST_MS = 5000 };

static gint64 now_ms(void)
{
	return g_get_monotonic_time() / 1000;
}

deadline_ms deadline_in(guint64 milliseconds)
{
	gint64 now = now_ms();

	if (milliseconds >= (guint64)(DEADLINE_NEVER - now))
		return DEADLINE_NEVER;
	return now + (gint64)milliseconds;
}

gboolean deadline_passed(deadline_ms deadline)
{
	return deadline != DEADLINE_NEVER && now_ms() >= deadline;
}

int deadline_left(deadline_ms deadline)
{
	return (int)CLAMP(deadline - now_ms(), 0, G_MAXINT);
}

void backoff_init(struct backoff *backoff, guint64 retry_for_ms)
{
	*backoff = (struct backoff){.retry_for_ms = retry_for_ms, .wake_fd = -1};
}

void backoff_success(struct backoff *backoff)
{
	backoff->until = 0;
	backoff->wait_ms = 0;
}

gboolean backoff_wait(struct backoff *backoff, GError **error)
{
	if (!stop_check(error))
		return FALSE;
	if (backoff->until == 0) {
		backoff->until = deadline_in(backoff->retry_for_ms);
		backoff->wait_ms = WAIT_FIRST_MS;
	}
	if (deadline_passed(backoff->until))
		return FALSE;

	/* The last try falls on the end of the span, not behind it. */
	guint half = backoff->wait_ms / 2;
	guint wait_ms = half + (guint)g_random_int_range(0, (gint32)(half + 1));
	wait_ms = MIN(wait_ms, (guint)deadline_left(backoff->until));
	backoff->wait_ms = MIN(backoff->wait_ms * 2, (guint)WAIT_MOST_MS);
	return stop_sleep_unless(wait_ms, backoff->wake_fd, error);
}
