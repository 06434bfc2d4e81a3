/* When the planner of an evacuation lets which disk go. */
#include "tests/unit/planning.h"

static const char *const to_a_b[] = {"a", "b", NULL};

/* ---- order ------------------------------------------------------------ */

#define FOUR                                                                                       \
	"store old nfs\n"                                                                          \
	"store a folder free 100G\n"                                                               \
	"domain busy priority 1\n"                                                                 \
	"disk vda on old 2000M 500M writes 75M\n"                                                  \
	"domain large\n"                                                                           \
	"disk vda on old 9000M 4000M\n"                                                            \
	"domain small priority 2\n"                                                                \
	"disk vda on old 1000M\n"                                                                  \
	"domain middle\n"                                                                          \
	"disk vda on old 4000M 1500M\n"

START_TEST(small_and_idle_disks_go_first)
{
	request.limits.per_datastore = 1;
	check_plan(FOUR, "0-20 small/vda > a\n"
			 "20-45 middle/vda > a\n"
			 "45-75 busy/vda > a\n"
			 "75-125 large/vda > a\n");
}
END_TEST

START_TEST(by_size_the_fewest_allocated_bytes_go_first)
{
	request.limits.per_datastore = 1;
	request.order = PLAN_SIZE;
	check_plan(FOUR, "0-30 busy/vda > a\n"
			 "30-50 small/vda > a\n"
			 "50-75 middle/vda > a\n"
			 "75-125 large/vda > a\n");
}
END_TEST

START_TEST(by_priority_the_highest_goes_first)
{
	request.limits.per_datastore = 1;
	request.order = PLAN_PRIORITY;
	check_plan(FOUR, "0-20 small/vda > a\n"
			 "20-50 busy/vda > a\n"
			 "50-75 middle/vda > a\n"
			 "75-125 large/vda > a\n");
}
END_TEST

START_TEST(by_name_the_alphabet_decides)
{
	request.limits.per_datastore = 1;
	request.order = PLAN_NAME;
	check_plan(FOUR, "0-30 busy/vda > a\n"
			 "30-80 large/vda > a\n"
			 "80-105 middle/vda > a\n"
			 "105-125 small/vda > a\n");
}
END_TEST

START_TEST(an_open_job_goes_on_before_anything_begins)
{
	request.limits.per_datastore = 1;
	request.to = to_a_b;
	check_plan("store old nfs\nstore a folder free 100G\nstore b folder free 100G\n"
		   "domain late\ndisk vda on old 5000M job 7 to b done 4000M\n"
		   "domain new\ndisk vda on old 100M\n",
		   "0-20 late/vda > b\n"
		   "20-31 new/vda > a\n");
}
END_TEST

START_TEST(an_open_job_to_another_place_is_an_obstacle)
{
	check_reason("store old nfs\nstore a folder free 100G\nstore b folder free 1G\n"
		     "domain web\ndisk vda on old 1G job 7 to b\n",
		     "job 7 takes it to b already: blockmig resume 7, or abort 7");
}
END_TEST

/* ---- limits ------------------------------------------------------------ */

START_TEST(two_moves_of_a_host_run_at_once_and_another_hosts_beside_them)
{
	check_plan("store old nfs\nstore a folder free 100G\n"
		   "domain a1 host one\ndisk vda on old 1000M\n"
		   "domain a2 host one\ndisk vda on old 1100M\n"
		   "domain a3 host one\ndisk vda on old 1200M\n"
		   "domain b1 host two\ndisk vda on old 1300M\n",
		   "0-20 a1/vda > a\n"
		   "0-21 a2/vda > a\n"
		   "0-23 b1/vda > a\n"
		   "20-42 a3/vda > a\n");
}
END_TEST

START_TEST(one_domain_has_one_move_at_a_time)
{
	check_plan("store old nfs\nstore a folder free 100G\n"
		   "domain web\ndisk vda on old 1000M\ndisk vdb on old 1100M\n",
		   "0-20 web/vda > a\n"
		   "20-41 web/vdb > a\n");
}
END_TEST

START_TEST(a_destination_takes_no_more_at_once_than_its_limit)
{
	request.limits.per_target = 1;
	request.to = to_a_b;
	check_plan("store old nfs\nstore a folder free 100G\nstore b folder free 100G\n"
		   "domain w host 1\ndisk vda on old 1000M\n"
		   "domain x host 2\ndisk vda on old 1000M\n"
		   "domain y host 3\ndisk vda on old 1000M\n",
		   "0-20 w/vda > a\n"
		   "0-20 x/vda > b\n"
		   "20-40 y/vda > a\n");
}
END_TEST

START_TEST(of_the_bandwidth_a_move_is_sure_of_its_share_only)
{
	request.limits.bwlimit = 100ull << 20;
	check_plan("store old nfs\nstore a folder free 100G\n"
		   "domain x\ndisk vda on old 1000M\n"
		   "domain y\ndisk vda on old 1000M\n",
		   "0-30 x/vda > a\n"
		   "0-30 y/vda > a\n");
}
END_TEST

START_TEST(the_slower_of_the_measured_rates_counts)
{
	check_plan("store old nfs rate 200M\nstore a folder free 100G rate 50M\n"
		   "domain x\ndisk vda on old 1000M\n",
		   "0-30 x/vda > a\n");
}
END_TEST

/* ---- the window ------------------------------------------------------------ */

START_TEST(no_move_begins_that_cannot_end_in_the_window)
{
	static const char lines[] = "store old nfs\nstore a folder free 900G\n"
				    "domain x\ndisk vda on old 1000M\n"
				    "domain y\ndisk vda on old 2000M\n";

	request.limits.per_datastore = 1;
	request.window.end_s = request.window.begin_s + 50;
	check_plan(lines, "0-20 x/vda > a\n"
			  "20-50 y/vda > a\n");
	request.window.end_s--;
	check_plan(lines, "0-20 x/vda > a\n"
			  "y/vda stays: window\n");
	check_reason(lines, "it takes 30.0 s, and 29.0 s of the window are left: next time");
}
END_TEST

START_TEST(what_is_left_of_the_window_goes_to_one_that_still_fits)
{
	request.limits.per_datastore = 1;
	request.order = PLAN_NAME;
	request.window.end_s = request.window.begin_s + 50;
	check_plan("store old nfs\nstore a folder free 900G\n"
		   "domain x\ndisk vda on old 1000M\n"
		   "domain y\ndisk vda on old 2500M\n"
		   "domain z\ndisk vda on old 500M\n",
		   "0-20 x/vda > a\n"
		   "20-35 z/vda > a\n"
		   "y/vda stays: window\n");
}
END_TEST

START_TEST(a_disk_that_no_such_window_is_long_enough_for_is_told)
{
	request.window.end_s = request.window.begin_s + 20;
	check_reason("store old nfs\nstore a folder free 900G\n"
		     "domain x\ndisk vda on old 2000M\n",
		     "the whole window has 20.0 s: give it a longer one");
}
END_TEST

START_TEST(the_window_is_no_obstacle_but_residue_and_stuck_disks_are)
{
	AUTO(inventory)
	inventory = inventory_of_text("store old nfs\nstore a folder free 900G\n"
				      "domain x\ndisk vda on old 2000M\ndisk vdb on old 1G stuck\n"
				      "residue nvram on old /old/x.fd\n"
				      "residue medium on a /a/cd.iso\n");

	request.window.end_s = request.window.begin_s + 20;
	AUTO(plan) plan = plan_for(inventory, &request, NULL);
	g_autofree char *text = plan_text(plan, &request);

	ck_assert_str_eq(text, "x/vda stays: window\n"
			       "x/vdb stays: obstacle\n"
			       "residue: /old/x.fd\n");
	ck_assert_uint_eq(plan_obstacles(plan), 2);
	ck_assert(!plan->fits_window && plan->fits_allocated);
}
END_TEST

/* ---- requests ------------------------------------------------------------ */

static const struct {
	const char *from, *to[3];
	struct plan_limits limits;
	const char *words;
} refusals[] = {
	{"none", {"a"}, {2, 8, 8, 0}, "none: no such datastore"},
	{"old", {"none"}, {2, 8, 8, 0}, "none: no such datastore"},
	{"old", {"a", "a"}, {2, 8, 8, 0}, "--to names a twice"},
	{"old", {"a", "old"}, {2, 8, 8, 0}, "old cannot be emptied onto itself"},
	{"old", {NULL}, {2, 8, 8, 0}, "say where to with --to"},
	{"old", {"a"}, {2, 0, 8, 0}, "a limit of 0 moves lets none begin"},
};

START_TEST(a_request_that_means_nothing_is_refused)
{
	AUTO(inventory) inventory = inventory_of_text("store old nfs\nstore a folder free 900G\n");
	g_autoptr(GError) error = NULL;

	request.from = refusals[_i].from;
	request.to = refusals[_i].to;
	request.limits = refusals[_i].limits;
	ck_assert_ptr_null(plan_for(inventory, &request, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
	ck_assert_msg(strstr(error->message, refusals[_i].words) != NULL, "%s", error->message);
}
END_TEST

START_TEST(an_order_is_read_as_people_write_it)
{
	enum plan_order order = PLAN_EASY;
	g_autoptr(GError) error = NULL;

	ck_assert(plan_order_parse("priority", &order, NULL) && order == PLAN_PRIORITY);
	ck_assert(!plan_order_parse("fast", &order, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("plan");
	TCase *order = tcase_create("order");
	TCase *limits = tcase_create("limits");
	TCase *window = tcase_create("window");
	TCase *requests = tcase_create("requests");
	TCase *all[] = {order, limits, window, requests};
	SRunner *runner = srunner_create(suite);

	for (guint i = 0; i < G_N_ELEMENTS(all); i++) {
		tcase_add_checked_fixture(all[i], setup, NULL);
		suite_add_tcase(suite, all[i]);
	}
	tcase_add_test(order, small_and_idle_disks_go_first);
	tcase_add_test(order, by_size_the_fewest_allocated_bytes_go_first);
	tcase_add_test(order, by_priority_the_highest_goes_first);
	tcase_add_test(order, by_name_the_alphabet_decides);
	tcase_add_test(order, an_open_job_goes_on_before_anything_begins);
	tcase_add_test(order, an_open_job_to_another_place_is_an_obstacle);
	tcase_add_test(limits, two_moves_of_a_host_run_at_once_and_another_hosts_beside_them);
	tcase_add_test(limits, one_domain_has_one_move_at_a_time);
	tcase_add_test(limits, a_destination_takes_no_more_at_once_than_its_limit);
	tcase_add_test(limits, of_the_bandwidth_a_move_is_sure_of_its_share_only);
	tcase_add_test(limits, the_slower_of_the_measured_rates_counts);
	tcase_add_test(window, no_move_begins_that_cannot_end_in_the_window);
	tcase_add_test(window, what_is_left_of_the_window_goes_to_one_that_still_fits);
	tcase_add_test(window, a_disk_that_no_such_window_is_long_enough_for_is_told);
	tcase_add_test(window, the_window_is_no_obstacle_but_residue_and_stuck_disks_are);
	tcase_add_loop_test(requests, a_request_that_means_nothing_is_refused, 0,
			    G_N_ELEMENTS(refusals));
	tcase_add_test(requests, an_order_is_read_as_people_write_it);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
