#include "common/error.h"
#include "common/units.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *text;
	guint64 value;
} sizes[] = {
	{"0", 0},
	{"512", 512},
	{"512B", 512},
	{"4k", 4 * KiB},
	{"4K", 4 * KiB},
	{"4KiB", 4 * KiB},
	{"4MB", 4 * MiB},
	{"1.5G", 3 * GiB / 2},
	{"0.1K", 102},
	{"2T", 2 * TiB},
	{"18446744073709551615", G_MAXUINT64},
	{"9007199254740993", 9007199254740993},
};

START_TEST(a_size_is_read_as_people_write_it)
{
	guint64 bytes = 1;

	ck_assert(units_parse_size(sizes[_i].text, &bytes, NULL));
	ck_assert_uint_eq(bytes, sizes[_i].value);
}
END_TEST

static const char *const no_sizes[] = {
	"",    "-1",  "+1",   " 1",   "1 ",	   "1 M",   "K",   "1.",  "1.K",
	".5G", "1,5", "0x10", "1iB",  "1P",	   "1MM",   "4m4", "nan", "18446744073709551616",
	"1e3", "1Ki", "4M4",  "--1M", "16777216T", "1..5M",
};

START_TEST(what_is_no_size_is_refused_and_quoted)
{
	g_autoptr(GError) error = NULL;
	guint64 bytes;

	ck_assert_msg(!units_parse_size(no_sizes[_i], &bytes, &error), "%s", no_sizes[_i]);
	ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
	g_autofree char *quoted = g_strdup_printf("\"%s\"", no_sizes[_i]);
	ck_assert_ptr_nonnull(strstr(error->message, quoted));
}
END_TEST

START_TEST(a_time_is_read_as_people_write_it)
{
	guint64 milliseconds;

	ck_assert(units_parse_time("500ms", &milliseconds, NULL) && milliseconds == 500);
	ck_assert(units_parse_time("10", &milliseconds, NULL) && milliseconds == 10000);
	ck_assert(units_parse_time("1.5s", &milliseconds, NULL) && milliseconds == 1500);
	ck_assert(units_parse_time("10m", &milliseconds, NULL) && milliseconds == 600000);
	ck_assert(units_parse_time("2h", &milliseconds, NULL) && milliseconds == 7200000);
	ck_assert(!units_parse_time("2d", &milliseconds, NULL));
	ck_assert(!units_parse_time("", &milliseconds, NULL));
	ck_assert(!units_parse_time("-1s", &milliseconds, NULL));
	ck_assert(!units_parse_time("18446744073709551615", &milliseconds, NULL));
}
END_TEST

static const struct {
	guint64 value;
	const char *text;
} printed_sizes[] = {
	{0, "0 B"},
	{1023, "1023 B"},
	{1024, "1 KiB"},
	{3 * GiB / 2, "1.5 GiB"},
	{MiB - 1, "1023.9 KiB"},
	{5000 * TiB, "5000 TiB"},
};

START_TEST(a_size_is_printed_short_and_never_rounded_up)
{
	g_autofree char *text = units_format_size(printed_sizes[_i].value);

	ck_assert_str_eq(text, printed_sizes[_i].text);
}
END_TEST

static const struct {
	guint64 value;
	const char *text;
} printed_times[] = {
	{0, "0 ms"},	   {999, "999 ms"},	{4200, "4.2 s"},    {59999, "59.9 s"},
	{200000, "3m20s"}, {3599999, "59m59s"}, {3720000, "1h02m"}, {360000000, "100h00m"},
};

START_TEST(a_time_is_printed_in_its_own_unit)
{
	g_autofree char *text = units_format_time(printed_times[_i].value);

	ck_assert_str_eq(text, printed_times[_i].text);
}
END_TEST

START_TEST(rounding_up_reaches_the_next_multiple)
{
	ck_assert_uint_eq(units_round_up(0, 512), 0);
	ck_assert_uint_eq(units_round_up(1, 512), 512);
	ck_assert_uint_eq(units_round_up(512, 512), 512);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("units");
	TCase *tcase = tcase_create("units");
	SRunner *runner = srunner_create(suite);

	suite_add_tcase(suite, tcase);
	tcase_add_loop_test(tcase, a_size_is_read_as_people_write_it, 0, G_N_ELEMENTS(sizes));
	tcase_add_loop_test(tcase, what_is_no_size_is_refused_and_quoted, 0,
			    G_N_ELEMENTS(no_sizes));
	tcase_add_test(tcase, a_time_is_read_as_people_write_it);
	tcase_add_loop_test(tcase, a_size_is_printed_short_and_never_rounded_up, 0,
			    G_N_ELEMENTS(printed_sizes));
	tcase_add_loop_test(tcase, a_time_is_printed_in_its_own_unit, 0,
			    G_N_ELEMENTS(printed_times));
	tcase_add_test(tcase, rounding_up_reaches_the_next_multiple);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
