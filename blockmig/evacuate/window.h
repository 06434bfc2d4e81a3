/*
 * The hours in which moves may run.
 *
 *     22:00-05:00                        every night, by the machine's clock
 *     Mon-Fri 22:00-05:00                nights that begin on a working day
 *     Sat,Sun 00:00-24:00; 22:00-05:00   several, one after the other
 *     Mon-Fri 22:00-05:00 Europe/Berlin  by the clock of another place
 *
 * A span belongs to the day on which it opens.  On the days on which clocks change a span
 * is the shorter one of what the text may mean: an hour that does not exist opens and
 * closes it at the jump, and of an hour that comes twice the second one opens it and the
 * first one closes it.  Spans that touch are one.
 *
 * Pure: the clock is an argument, UNIX time in seconds.
 */
#ifndef EVACUATE_WINDOW_H
#define EVACUATE_WINDOW_H

#include "common/auto.h"

#include <glib.h>

struct window;

/* USAGE quotes what cannot be understood. */
struct window *window_parse(const char *text, GError **error);
void window_free(struct window *window);
AUTO_DEFINE(window, window_free)

/* Half open: @end_s does not belong to it. */
struct window_span {
	gint64 begin_s, end_s;
};

/*
 * The span that @now_s lies in, else the next one; FALSE where none opens within the next
 * eight days, which no window that was parsed does outside of odd days of clock changes.
 */
gboolean window_span_at(const struct window *window, gint64 now_s, struct window_span *span);
/* The longest span of the eight days from @now_s on, in seconds. */
gint64 window_longest_s(const struct window *window, gint64 now_s);

/*
 * The moment that --until names: "05:00" is the next time that the clock shows it,
 * "2026-11-28 05:00" (or with a T) is itself.  By the clock of @window, or the machine's
 * where that is NULL.  USAGE quotes what is neither, or is past.
 */
gboolean window_until(const struct window *window, const char *text, gint64 now_s, gint64 *until_s,
		      GError **error);
/* "Sat 28 Nov 22:00 CET" by the same clock; the caller frees. */
char *window_format_moment(const struct window *window, gint64 moment_s);

#endif
