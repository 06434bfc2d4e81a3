#include "blockmig/evacuate/window.h"

#include "common/error.h"

#include <string.h>

enum { DAY_MINUTES = 24 * 60, DAYS = 7, DAYS_AHEAD = 8 };

/* One "DAYS HH:MM-HH:MM". */
struct entry {
	guint days; /* bit n: the day of the week n, Monday is 0 */
	int begin_minute, end_minute;
};

struct window {
	GArray *entries; /* of struct entry */
	GTimeZone *zone;
};

/* ---- parsing ------------------------------------------------------------------------- */

static gboolean refuse(const char *text, const char *part, GError **error)
{
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
		    "\"%s\" is no window (\"%s\" is not understood): say it as 22:00-05:00, or "
		    "\"Mon-Fri 22:00-05:00 Europe/Berlin\", several with ; between them",
		    text, part);
	return FALSE;
}

/* Two digits, a colon, two digits; 24:00 is the end of the day. */
static gboolean parse_clock(const char *text, int *minute)
{
	if (strlen(text) != 5 || text[2] != ':')
		return FALSE;
	for (int i = 0; i < 5; i++)
		if (i != 2 && !g_ascii_isdigit(text[i]))
			return FALSE;
	*minute =
		((text[0] - '0') * 10 + text[1] - '0') * 60 + (text[3] - '0') * 10 + text[4] - '0';
	return text[3] < '6' && *minute <= DAY_MINUTES;
}

static int parse_day(const char *text)
{
	static const char *const names[DAYS] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

	for (int i = 0; i < DAYS; i++)
		if (g_ascii_strcasecmp(text, names[i]) == 0)
			return i;
	return -1;
}

/* "Mon", "Mon-Fri", "Sat,Sun", "Fri-Mon". */
static gboolean parse_days(const char *text, guint *days)
{
	g_auto(GStrv) parts = g_strsplit(text, ",", -1);

	*days = 0;
	for (char **part = parts; *part; part++) {
		g_auto(GStrv) ends = g_strsplit(*part, "-", 2);
		int first = ends[0] ? parse_day(ends[0]) : -1;
		int last = ends[0] && ends[1] ? parse_day(ends[1]) : first;

		if (first < 0 || last < 0)
			return FALSE;
		for (int day = first;; day = (day + 1) % DAYS) {
			*days |= 1u << day;
			if (day == last)
				break;
		}
	}
	return *days != 0;
}

static gboolean parse_hours(const char *text, struct entry *entry)
{
	g_auto(GStrv) ends = g_strsplit(text, "-", 2);

	return g_strv_length(ends) == 2 && parse_clock(ends[0], &entry->begin_minute) &&
	       parse_clock(ends[1], &entry->end_minute) && entry->begin_minute < DAY_MINUTES &&
	       entry->begin_minute != entry->end_minute;
}

static gboolean set_zone(struct window *window, const char *name)
{
	GTimeZone *zone = g_time_zone_new_identifier(name);

	if (!zone)
		return FALSE;
	g_time_zone_unref(window->zone);
	window->zone = zone;
	return TRUE;
}

/* Words of one entry: [DAYS] HOURS [ZONE]; the zone is the whole window's. */
static gboolean parse_entry(struct window *window, const char *text, const char *whole,
			    GError **error)
{
	g_auto(GStrv) words = g_strsplit_set(text, " \t", -1);
	struct entry entry = {.days = (1u << DAYS) - 1};
	gboolean hours = FALSE, days = FALSE;

	for (char **word = words; *word; word++) {
		if (!**word)
			continue;
		if (!hours && parse_hours(*word, &entry))
			hours = TRUE;
		else if (!hours && !days && parse_days(*word, &entry.days))
			days = TRUE;
		else if (!hours || !set_zone(window, *word))
			return refuse(whole, *word, error);
	}
	if (!hours)
		return refuse(whole, text, error);
	g_array_append_val(window->entries, entry);
	return TRUE;
}

struct window *window_parse(const char *text, GError **error)
{
	AUTO(window) window = g_new0(struct window, 1);
	g_auto(GStrv) parts = g_strsplit(text, ";", -1);

	window->entries = g_array_new(FALSE, FALSE, sizeof(struct entry));
	window->zone = g_time_zone_new_local();
	if (!*parts) {
		refuse(text, text, error);
		return NULL;
	}
	for (char **part = parts; *part; part++)
		if (!parse_entry(window, *part, text, error))
			return NULL;
	return g_steal_pointer(&window);
}

void window_free(struct window *window)
{
	g_array_unref(window->entries);
	g_time_zone_unref(window->zone);
	g_free(window);
}

/* ---- spans ------------------------------------------------------------------------------ */

/* @minute of the day that lies @days after that of @noon; an hour that comes twice: the later. */
static GDateTime *clock_on(GTimeZone *zone, GDateTime *noon, int days, int minute)
{
	g_autoptr(GDateTime) day = g_date_time_add_days(noon, days + minute / DAY_MINUTES);

	minute %= DAY_MINUTES;
	return g_date_time_new(zone, g_date_time_get_year(day), g_date_time_get_month(day),
			       g_date_time_get_day_of_month(day), minute / 60, minute % 60, 0);
}

/* The first moment at which the clock shows what it shows at @later. */
static gint64 first_such(GDateTime *later)
{
	enum { LOOK_BACK_MINUTES = 180, STEP_MINUTES = 15 };
	gint64 first = g_date_time_to_unix(later);
	g_autofree char *shown = g_date_time_format(later, "%F %R");

	for (int back = STEP_MINUTES; back <= LOOK_BACK_MINUTES; back += STEP_MINUTES) {
		g_autoptr(GDateTime) earlier = g_date_time_add_minutes(later, -back);
		g_autofree char *then = g_date_time_format(earlier, "%F %R");

		if (g_str_equal(then, shown))
			first = g_date_time_to_unix(earlier);
	}
	return first;
}

static gint compare_spans(gconstpointer a, gconstpointer b)
{
	const struct window_span *left = a, *right = b;

	return left->begin_s < right->begin_s ? -1 : left->begin_s > right->begin_s;
}

static void merge_touching(GArray *spans)
{
	guint kept = 0;

	g_array_sort(spans, compare_spans);
	for (guint i = 0; i < spans->len; i++) {
		struct window_span *last = &g_array_index(spans, struct window_span, kept);
		const struct window_span *next = &g_array_index(spans, struct window_span, i);

		if (i == 0)
			continue;
		if (next->begin_s <= last->end_s)
			last->end_s = MAX(last->end_s, next->end_s);
		else
			g_array_index(spans, struct window_span, ++kept) = *next;
	}
	if (spans->len)
		g_array_set_size(spans, kept + 1);
}

static void add_spans(const struct window *window, const struct entry *entry, GDateTime *noon,
		      GArray *spans)
{
	int end = entry->end_minute;

	if (end <= entry->begin_minute)
		end += DAY_MINUTES;
	for (int day = -2; day <= DAYS_AHEAD; day++) {
		g_autoptr(GDateTime) begins =
			clock_on(window->zone, noon, day, entry->begin_minute);
		g_autoptr(GDateTime) ends = clock_on(window->zone, noon, day, end);
		g_autoptr(GDateTime) date = g_date_time_add_days(noon, day);
		struct window_span span = {g_date_time_to_unix(begins), first_such(ends)};

		if ((entry->days & (1u << (g_date_time_get_day_of_week(date) - 1))) &&
		    span.begin_s < span.end_s)
			g_array_append_val(spans, span);
	}
}

/* Those of the days around @now_s, in order, none touching the next. */
static GArray *spans_around(const struct window *window, gint64 now_s)
{
	g_autoptr(GDateTime) utc = g_date_time_new_from_unix_utc(now_s);
	g_autoptr(GDateTime) here = g_date_time_to_timezone(utc, window->zone);
	/* At noon no clock is ever changed, so days can be counted from it. */
	g_autoptr(GDateTime) noon = g_date_time_new(window->zone, g_date_time_get_year(here),
						    g_date_time_get_month(here),
						    g_date_time_get_day_of_month(here), 12, 0, 0);
	GArray *spans = g_array_new(FALSE, FALSE, sizeof(struct window_span));

	for (guint i = 0; i < window->entries->len; i++)
		add_spans(window, &g_array_index(window->entries, struct entry, i), noon, spans);
	merge_touching(spans);
	return spans;
}

gboolean window_span_at(const struct window *window, gint64 now_s, struct window_span *span)
{
	g_autoptr(GArray) spans = spans_around(window, now_s);

	for (guint i = 0; i < spans->len; i++) {
		*span = g_array_index(spans, struct window_span, i);
		if (span->end_s > now_s)
			return TRUE;
	}
	return FALSE;
}

gint64 window_longest_s(const struct window *window, gint64 now_s)
{
	g_autoptr(GArray) spans = spans_around(window, now_s);
	gint64 longest_s = 0;

	for (guint i = 0; i < spans->len; i++) {
		const struct window_span *span = &g_array_index(spans, struct window_span, i);

		if (span->end_s > now_s)
			longest_s = MAX(longest_s, span->end_s - span->begin_s);
	}
	return longest_s;
}

/* ---- moments ------------------------------------------------------------------------------ */

static GTimeZone *zone_of(const struct window *window)
{
	return window ? g_time_zone_ref(window->zone) : g_time_zone_new_local();
}

static GDateTime *next_clock(GTimeZone *zone, int minute, gint64 now_s)
{
	g_autoptr(GDateTime) utc = g_date_time_new_from_unix_utc(now_s);
	g_autoptr(GDateTime) here = g_date_time_to_timezone(utc, zone);

	for (int day = 0;; day++) {
		g_autoptr(GDateTime) moment = clock_on(zone, here, day, minute);

		if (g_date_time_to_unix(moment) > now_s)
			return g_steal_pointer(&moment);
	}
}

gboolean window_until(const struct window *window, const char *text, gint64 now_s, gint64 *until_s,
		      GError **error)
{
	g_autoptr(GTimeZone) zone = zone_of(window);
	g_autoptr(GDateTime) moment = NULL;
	g_autofree char *iso = g_strdelimit(g_strdup(text), " ", 'T');
	int minute;

	if (parse_clock(text, &minute)) {
		moment = next_clock(zone, minute, now_s);
	} else {
		g_autofree char *with_seconds = g_strconcat(iso, ":00", NULL);

		moment = g_date_time_new_from_iso8601(iso, zone);
		if (!moment)
			moment = g_date_time_new_from_iso8601(with_seconds, zone);
	}
	if (moment && g_date_time_to_unix(moment) > now_s) {
		*until_s = g_date_time_to_unix(moment);
		return TRUE;
	}
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
		    moment ? "\"%s\" is past" : "\"%s\" is no time: say 05:00, or 2026-11-28 05:00",
		    text);
	return FALSE;
}

char *window_format_moment(const struct window *window, gint64 moment_s)
{
	g_autoptr(GTimeZone) zone = zone_of(window);
	g_autoptr(GDateTime) utc = g_date_time_new_from_unix_utc(moment_s);
	g_autoptr(GDateTime) here = g_date_time_to_timezone(utc, zone);

	return g_date_time_format(here, "%a %e %b %R %Z");
}
