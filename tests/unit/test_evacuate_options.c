#include "blockmig/cmd/command.h"
#include "common/error.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { NOW = 1792670400 }; /* 22 October 2026, noon UTC */

static struct options options;
static struct evacuation_request request;
static struct window *window;

static void setup(void)
{
	options_init(&options);
	request = (struct evacuation_request){0};
	window = NULL;
}

static void teardown(void)
{
	g_clear_pointer(&window, window_free);
	options_clear(&options);
}

/* @words end with NULL. */
static gboolean apply(const char *const *words, GError **error)
{
	g_autoptr(GPtrArray) argv = g_ptr_array_new();

	g_ptr_array_add(argv, (gpointer) "evacuate");
	g_ptr_array_add(argv, (gpointer) "filer");
	g_ptr_array_add(argv, (gpointer) "--to=local");
	for (; *words; words++)
		g_ptr_array_add(argv, (gpointer)*words);
	return options_parse(&options, &command_evacuate, (int)argv->len, (char **)argv->pdata,
			     error) &&
	       evacuate_options_apply(&options.evacuate, NOW, &request, &window, error);
}

START_TEST(nothing_said_is_vmwares_figures_and_no_hours)
{
	ck_assert(apply((const char *const[]){NULL}, NULL));
	ck_assert_uint_eq(request.limits.per_host, 2);
	ck_assert_uint_eq(request.limits.per_datastore, 8);
	ck_assert_int_eq(request.order, PLAN_EASY);
	ck_assert_int_eq(request.at_end, DISPATCH_HOLD);
	ck_assert_ptr_null(request.window);
	ck_assert_int_eq(request.until_s, G_MAXINT64);
}
END_TEST

START_TEST(every_option_arrives)
{
	ck_assert(
		apply((const char *const[]){"--order=priority", "--per-host=3", "--per-datastore=4",
					    "--per-target=5", "--window=22:00-05:00 UTC",
					    "--until=03:00", "--at-end=rollback", "--then=true",
					    "--report=a.prom", "--report=b.json", NULL},
		      NULL));
	ck_assert_int_eq(request.order, PLAN_PRIORITY);
	ck_assert_uint_eq(request.limits.per_host, 3);
	ck_assert_uint_eq(request.limits.per_datastore, 4);
	ck_assert_uint_eq(request.limits.per_target, 5);
	ck_assert_ptr_eq(request.window, window);
	/* By the window's clock. */
	ck_assert_int_eq(request.until_s, NOW + 15 * 3600);
	ck_assert_int_eq(request.at_end, DISPATCH_ROLLBACK);
	ck_assert_str_eq(options.evacuate.then, "true");
	ck_assert_str_eq(options.evacuate.reports[1], "b.json");
}
END_TEST

START_TEST(what_is_wrong_is_named_with_its_option)
{
	static const char *const wrong[][2] = {
		{"--order=fast", "--order: "},	    {"--per-host=0", "--per-host: \"0\""},
		{"--per-target=x", "--per-target"}, {"--per-datastore=-1", "--per-datastore"},
		{"--window=22-5", "--window: "},    {"--until=soon", "--until: "},
		{"--at-end=stop", "--at-end: "},
	};
	g_autoptr(GError) error = NULL;

	ck_assert(!apply((const char *const[]){wrong[_i][0], NULL}, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
	ck_assert_msg(strstr(error->message, wrong[_i][1]) != NULL, "%s", error->message);
}
END_TEST

START_TEST(the_end_of_the_maintenance_needs_no_destination)
{
	const char *argv[] = {"evacuate", "filer", "--end-maintenance"};

	ck_assert(options_parse(&options, &command_evacuate, G_N_ELEMENTS(argv), (char **)argv,
				NULL));
	ck_assert(options.evacuate.end_maintenance);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("evacuate_options");
	TCase *tests = tcase_create("evacuate_options");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, nothing_said_is_vmwares_figures_and_no_hours);
	tcase_add_test(tests, every_option_arrives);
	tcase_add_loop_test(tests, what_is_wrong_is_named_with_its_option, 0, 7);
	tcase_add_test(tests, the_end_of_the_maintenance_needs_no_destination);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
