#include "blockmig/copy/throttle.h"

#include "common/error.h"
#include "common/stop.h"

/* How long a change of the stop flag may go unseen: nobody wakes the bucket for it. */
enum { STOP_LOOK_MS = 100 };

enum { SLICES = 4 }; /* of a second */

/*
 * The bucket may be overdrawn: whoever finds it above zero takes all that he needs,
 * and the next one waits until the debt is paid.  So a request larger than the
 * bucket needs no special case, and the rate is kept to the byte over time.
 */
struct throttle {
	GMutex mutex;
	GCond changed;
	double rate; /* bytes a second; 0: no limit */
	double tokens;
	gint64 filled_us; /* when tokens was brought up to date */
};

struct throttle *throttle_new(guint64 bytes_per_second)
{
	struct throttle *throttle = g_new0(struct throttle, 1);

	g_mutex_init(&throttle->mutex);
	g_cond_init(&throttle->changed);
	throttle->rate = (double)bytes_per_second;
	throttle->filled_us = g_get_monotonic_time();
	return throttle;
}

void throttle_free(struct throttle *throttle)
{
	if (!throttle)
		return;
	g_cond_clear(&throttle->changed);
	g_mutex_clear(&throttle->mutex);
	g_free(throttle);
}

static void fill(struct throttle *throttle)
{
	const gint64 now_us = g_get_monotonic_time();
	const double seconds = (double)(now_us - throttle->filled_us) / G_USEC_PER_SEC;

	throttle->filled_us = now_us;
	throttle->tokens =
		MIN(throttle->tokens + seconds * throttle->rate, throttle->rate / SLICES);
}

void throttle_set(struct throttle *throttle, guint64 bytes_per_second)
{
	g_mutex_lock(&throttle->mutex);
	fill(throttle); /* the time until now counts at the old rate */
	throttle->rate = (double)bytes_per_second;
	throttle->tokens = CLAMP(throttle->tokens, -throttle->rate, throttle->rate / SLICES);
	g_cond_broadcast(&throttle->changed);
	g_mutex_unlock(&throttle->mutex);
}

guint64 throttle_slice(struct throttle *throttle)
{
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&throttle->mutex);

	return throttle->rate > 0 ? (guint64)(throttle->rate / SLICES) : G_MAXUINT64;
}

/* When to look again: when the debt is paid, or the stop flag may have changed. */
static gint64 look_again_us(const struct throttle *throttle)
{
	const double debt_us = (1 - throttle->tokens) / throttle->rate * G_USEC_PER_SEC;

	return throttle->filled_us + 1 + (gint64)MIN(debt_us, STOP_LOOK_MS * 1000.0);
}

gboolean throttle_take(struct throttle *throttle, guint64 bytes, GError **error)
{
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&throttle->mutex);

	for (;;) {
		if (stop_level() == STOP_NOW)
			return stop_check(error);
		if (throttle->rate <= 0)
			return TRUE;
		fill(throttle);
		if (throttle->tokens > 0)
			break;
		g_cond_wait_until(&throttle->changed, &throttle->mutex, look_again_us(throttle));
	}
	throttle->tokens -= (double)bytes;
	return TRUE;
}
