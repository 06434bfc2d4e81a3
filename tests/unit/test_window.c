#include "blockmig/evacuate/window.h"
#include "common/error.h"

#include <check.h>
#include <stdlib.h>

/* "2026-03-28 22:00" as the clock of Berlin shows it, with "+01:00" or "Z" behind it. */
static gint64 at(const char *text)
{
	g_autofree char *iso = g_strdelimit(g_strdup(text), " ", 'T');
	g_autoptr(GDateTime) moment = g_date_time_new_from_iso8601(iso, NULL);

	ck_assert_msg(moment != NULL, "%s", text);
	return g_date_time_to_unix(moment);
}

static struct window *parsed(const char *text)
{
	GError *error = NULL;
	struct window *window = window_parse(text, &error);

	ck_assert_msg(window != NULL, "%s", error ? error->message : "");
	return window;
}

/* The span at or after @now. */
static void spans(const char *text, const char *now, const char *begin, const char *end)
{
	AUTO(window) window = parsed(text);
	struct window_span span;

	ck_assert(window_span_at(window, at(now), &span));
	ck_assert_msg(span.begin_s == at(begin), "%s at %s begins %" G_GINT64_FORMAT " s late",
		      text, now, span.begin_s - at(begin));
	ck_assert_msg(span.end_s == at(end), "%s at %s ends %" G_GINT64_FORMAT " s late", text, now,
		      span.end_s - at(end));
}

START_TEST(a_span_runs_across_midnight)
{
	static const char *const nights = "22:00-05:00 UTC";

	spans(nights, "2026-11-27 21:59:59Z", "2026-11-27 22:00:00Z", "2026-11-28 05:00:00Z");
	spans(nights, "2026-11-27 22:00:00Z", "2026-11-27 22:00:00Z", "2026-11-28 05:00:00Z");
	spans(nights, "2026-11-28 04:59:59Z", "2026-11-27 22:00:00Z", "2026-11-28 05:00:00Z");
	spans(nights, "2026-11-28 05:00:00Z", "2026-11-28 22:00:00Z", "2026-11-29 05:00:00Z");
	spans("01:30-05:00 UTC", "2026-11-28 05:00:00Z", "2026-11-29 01:30:00Z",
	      "2026-11-29 05:00:00Z");
}
END_TEST

/* 27 November 2026 is a Friday. */
START_TEST(a_day_of_the_week_is_that_on_which_a_span_opens)
{
	static const char *const nights = "Mon-Fri 22:00-05:00 UTC";

	spans(nights, "2026-11-28 03:00:00Z", "2026-11-27 22:00:00Z", "2026-11-28 05:00:00Z");
	spans(nights, "2026-11-28 22:30:00Z", "2026-11-30 22:00:00Z", "2026-12-01 05:00:00Z");
	spans("sun 22:00-05:00 UTC", "2026-11-30 04:00:00Z", "2026-11-29 22:00:00Z",
	      "2026-11-30 05:00:00Z");
	spans("Fri-Mon 10:00-11:00 UTC", "2026-12-01 10:30:00Z", "2026-12-04 10:00:00Z",
	      "2026-12-04 11:00:00Z");
}
END_TEST

START_TEST(spans_that_touch_are_one)
{
	spans("Sat,Sun 00:00-24:00; Mon-Fri 22:00-05:00 UTC", "2026-11-28 12:00:00Z",
	      "2026-11-27 22:00:00Z", "2026-11-30 00:00:00Z");
	spans("20:00-23:00; 22:00-02:00 UTC", "2026-11-28 00:00:00Z", "2026-11-27 20:00:00Z",
	      "2026-11-28 02:00:00Z");
}
END_TEST

/* 29 March 2026: 02:00 CET is 03:00 CEST.  The night has 6 hours. */
START_TEST(the_night_in_which_an_hour_is_lost_is_shorter)
{
	spans("22:00-05:00 Europe/Berlin", "2026-03-28 23:00:00+01:00", "2026-03-28 22:00:00+01:00",
	      "2026-03-29 05:00:00+02:00");
	/* The hour that is named does not exist: the jump is its place. */
	spans("22:00-02:30 Europe/Berlin", "2026-03-28 23:00:00+01:00", "2026-03-28 22:00:00+01:00",
	      "2026-03-29 03:00:00+02:00");
	spans("02:30-05:00 Europe/Berlin", "2026-03-29 00:00:00+01:00", "2026-03-29 03:00:00+02:00",
	      "2026-03-29 05:00:00+02:00");
	/* A window that lies in that hour is not there that night. */
	spans("02:10-02:50 Europe/Berlin", "2026-03-29 00:00:00+01:00", "2026-03-30 02:10:00+02:00",
	      "2026-03-30 02:50:00+02:00");
}
END_TEST

/* 25 October 2026: 03:00 CEST is 02:00 CET.  The night has 8 hours. */
START_TEST(of_an_hour_that_comes_twice_the_shorter_span_is_meant)
{
	spans("22:00-05:00 Europe/Berlin", "2026-10-25 01:00:00+02:00", "2026-10-24 22:00:00+02:00",
	      "2026-10-25 05:00:00+01:00");
	spans("22:00-02:30 Europe/Berlin", "2026-10-25 01:00:00+02:00", "2026-10-24 22:00:00+02:00",
	      "2026-10-25 02:30:00+02:00");
	spans("02:30-05:00 Europe/Berlin", "2026-10-25 01:00:00+02:00", "2026-10-25 02:30:00+01:00",
	      "2026-10-25 05:00:00+01:00");
}
END_TEST

START_TEST(the_longest_span_is_that_of_the_coming_week)
{
	AUTO(window) window = parsed("Mon-Fri 22:00-05:00; Sat 20:00-08:00 UTC");
	AUTO(window) always = parsed("00:00-24:00 UTC");

	ck_assert_int_eq(window_longest_s(window, at("2026-11-27 12:00:00Z")), 12 * 3600);
	ck_assert_int_ge(window_longest_s(always, at("2026-11-27 12:00:00Z")), 7 * 24 * 3600);
}
END_TEST

START_TEST(until_is_the_next_time_that_the_clock_shows)
{
	AUTO(window) window = parsed("22:00-05:00 Europe/Berlin");
	gint64 until;

	ck_assert(window_until(window, "05:00", at("2026-11-27 22:00:00+01:00"), &until, NULL));
	ck_assert_int_eq(until, at("2026-11-28 05:00:00+01:00"));
	ck_assert(window_until(window, "05:00", at("2026-11-27 05:00:00+01:00"), &until, NULL));
	ck_assert_int_eq(until, at("2026-11-28 05:00:00+01:00"));
	ck_assert(
		window_until(window, "2026-11-29 06:30", at("2026-11-27 22:00:00Z"), &until, NULL));
	ck_assert_int_eq(until, at("2026-11-29 06:30:00+01:00"));
	ck_assert(window_until(NULL, "2026-11-29T06:30:00Z", at("2026-11-27 22:00:00Z"), &until,
			       NULL));
	ck_assert_int_eq(until, at("2026-11-29 06:30:00Z"));
}
END_TEST

START_TEST(a_moment_that_is_past_or_none_is_refused)
{
	static const char *const texts[] = {"2026-11-27 21:00Z", "25:00", "5", "", "tomorrow"};

	for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
		g_autoptr(GError) error = NULL;
		gint64 until;

		ck_assert(
			!window_until(NULL, texts[i], at("2026-11-27 22:00:00Z"), &until, &error));
		ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
	}
}
END_TEST

START_TEST(what_is_no_window_is_quoted)
{
	static const char *const texts[] = {
		"",
		"22:00",
		"22:00-22:00",
		"22:00-25:00",
		"22:61-23:00",
		"24:00-05:00",
		"Foo 22:00-05:00",
		"22:00-05:00 Nowhere/Land",
		"22-5",
		"Mon- 22:00-05:00",
		"22:00-05:00;",
		"Mon-Fri",
		"a2:00-05:00",
		"22:00-05:00-06:00",
		"Mon Tue 22:00-05:00",
	};

	for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
		g_autoptr(GError) error = NULL;
		AUTO(window) window = window_parse(texts[i], &error);
		g_autofree char *quoted = g_strdup_printf("\"%s\"", texts[i]);

		ck_assert_msg(window == NULL, "%s", texts[i]);
		ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
		ck_assert_ptr_nonnull(g_strstr_len(error->message, -1, quoted));
	}
}
END_TEST

START_TEST(a_moment_is_told_by_the_windows_clock)
{
	AUTO(window) window = parsed("22:00-05:00 Europe/Berlin");
	g_autofree char *text = window_format_moment(window, at("2026-11-28 21:00:00Z"));

	ck_assert_str_eq(text, "Sat 28 Nov 22:00 CET");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("window");
	TCase *tests = tcase_create("window");
	SRunner *runner = srunner_create(suite);
	int failed;

	g_setenv("LC_ALL", "C", TRUE);
	tcase_add_test(tests, a_span_runs_across_midnight);
	tcase_add_test(tests, a_day_of_the_week_is_that_on_which_a_span_opens);
	tcase_add_test(tests, spans_that_touch_are_one);
	tcase_add_test(tests, the_night_in_which_an_hour_is_lost_is_shorter);
	tcase_add_test(tests, of_an_hour_that_comes_twice_the_shorter_span_is_meant);
	tcase_add_test(tests, the_longest_span_is_that_of_the_coming_week);
	tcase_add_test(tests, until_is_the_next_time_that_the_clock_shows);
	tcase_add_test(tests, a_moment_that_is_past_or_none_is_refused);
	tcase_add_test(tests, what_is_no_window_is_quoted);
	tcase_add_test(tests, a_moment_is_told_by_the_windows_clock);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
