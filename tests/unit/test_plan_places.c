/* Where the planner of an evacuation sends which disk. */
#include "tests/unit/planning.h"

static const char *const to_a_b[] = {"a", "b", NULL};
static const char *const to_san[] = {"san", NULL};
static const char *const to_san_a[] = {"san", "a", NULL};

/* ---- room ------------------------------------------------------------ */

START_TEST(what_no_destination_has_room_for_stays_and_says_so)
{
	static const char lines[] = "store old nfs\nstore a folder free 3G\n"
				    "domain web\ndisk vda on old 20G 4G\n";

	check_plan(lines, "web/vda stays: room\n");
	check_reason(lines, "no destination has room for it (4 GiB now, 20 GiB when full; a: "
			    "3 GiB left): make room, or name another with --to");
}
END_TEST

START_TEST(a_plan_that_fits_thin_disks_tells_that_full_ones_would_not)
{
	AUTO(inventory)
	inventory = inventory_of_text("store old nfs\nstore a folder free 10G\n"
				      "domain web\ndisk vda on old 20G 4G\n");
	AUTO(plan) plan = plan_for(inventory, &request, NULL);

	ck_assert(plan->fits_allocated && !plan->fits_virtual && plan->fits_window);
}
END_TEST

START_TEST(what_the_destinations_own_disks_may_grow_to_counts_too)
{
	AUTO(inventory)
	inventory = inventory_of_text("store old nfs\nstore a folder free 10G promised 8G\n"
				      "domain web\ndisk vda on old 4G\n");
	AUTO(plan) plan = plan_for(inventory, &request, NULL);

	ck_assert(plan->fits_allocated && !plan->fits_virtual);
}
END_TEST

START_TEST(several_destinations_are_filled_by_room_and_load)
{
	request.to = to_a_b;
	check_plan("store old nfs\nstore a folder free 10000M\nstore b folder free 20000M\n"
		   "domain w host 1\ndisk vda on old 3000M\n"
		   "domain x host 2\ndisk vda on old 2000M\n"
		   "domain y host 3\ndisk vda on old 1000M\n",
		   "0-20 y/vda > a\n"
		   "0-30 x/vda > a\n"
		   "0-40 w/vda > b\n");
}
END_TEST

START_TEST(a_destination_that_does_not_answer_or_is_in_maintenance_takes_nothing)
{
	static const char *const three[] = {"b", "c", "a", NULL};

	request.to = three;
	check_plan("store old nfs\nstore a folder free 10G\nstore b folder free 99G unreachable\n"
		   "store c folder free 99G maintenance\n"
		   "domain x\ndisk vda on old 1000M\n",
		   "0-20 x/vda > a\n");
}
END_TEST

/* ---- LUNs ------------------------------------------------------------ */

START_TEST(each_disk_takes_the_smallest_lun_that_it_fits)
{
	request.to = to_san;
	request.order = PLAN_NAME;
	check_plan("store old nfs\nstore san iscsi luns 1:4G 2:2G 3:1G 4:8G 5:1G=used\n"
		   "domain w host 1\ndisk vda on old 1G 1M\n"
		   "domain x host 2\ndisk vda on old 2G 1M\n"
		   "domain y host 3\ndisk vda on old 3G 1M\n",
		   "0-11 w/vda > san:3\n"
		   "0-11 x/vda > san:2\n"
		   "0-11 y/vda > san:1\n");
}
END_TEST

START_TEST(a_lun_is_named_for_the_move_by_its_url)
{
	AUTO(inventory)
	inventory = inventory_of_text("store old nfs\nstore san iscsi luns 3:2G\n"
				      "domain web\ndisk vda on old 1G\n");

	request.to = to_san;
	AUTO(plan) plan = plan_for(inventory, &request, NULL);
	const struct plan_move *move = g_ptr_array_index(plan->moves, 0);

	ck_assert_str_eq(move->to, "iscsi://san/iqn.2026-01.example:t/3");
}
END_TEST

START_TEST(a_disk_that_can_go_to_no_lun_goes_to_a_folder)
{
	request.to = to_san_a;
	check_plan("store old nfs\nstore san iscsi luns 1:9G\nstore a folder free 10G\n"
		   "domain web\ndisk vda on old 1000M no-lun\n",
		   "0-20 web/vda > a\n");
	request.to = to_san;
	check_reason("store old nfs\nstore san iscsi luns 1:9G\n"
		     "domain web\ndisk vda on old 1000M no-lun\n",
		     "san: it has internal snapshots");
}
END_TEST

START_TEST(without_a_lun_that_is_large_enough_it_stays)
{
	request.to = to_san;
	check_reason("store old nfs\nstore san iscsi luns 1:1G 2:9G=used\n"
		     "domain web\ndisk vda on old 2G 1M\n",
		     "san: no free LUN that is large enough");
}
END_TEST

/* ---- rules ------------------------------------------------------------ */

START_TEST(disks_that_keep_together_go_to_one_datastore)
{
	request.to = to_a_b;
	request.order = PLAN_NAME;
	check_plan("store old nfs\nstore a folder free 3000M\nstore b folder free 2500M\n"
		   "domain x together\ndisk vda on old 1400M\ndisk vdb on old 1400M\n",
		   "0-24 x/vda > a\n"
		   "24-48 x/vdb > a\n");
	check_plan("store old nfs\nstore a folder free 2000M\nstore b folder free 2500M\n"
		   "domain x together\ndisk vda on old 1400M\ndisk vdb on old 1400M\n",
		   "x/vda stays: room\n"
		   "x/vdb stays: room\n");
}
END_TEST

START_TEST(disks_that_keep_together_take_luns_of_one_target)
{
	request.to = to_san_a;
	request.order = PLAN_NAME;
	check_plan("store old nfs\nstore san iscsi luns 1:2G 2:2G\nstore a folder free 150M\n"
		   "domain x together\ndisk vda on old 1G 100M\ndisk vdb on old 2G 100M\n",
		   "0-11 x/vda > san:1\n"
		   "11-22 x/vdb > san:2\n");
}
END_TEST

START_TEST(disks_that_keep_together_follow_one_that_went_before)
{
	request.to = to_a_b;
	check_plan("store old nfs\nstore a folder free 900G\nstore b folder free 2500M\n"
		   "domain x together\ndisk vda on b 1400M\ndisk vdb on old 1400M\n",
		   "0-24 x/vdb > b\n");
}
END_TEST

START_TEST(disks_that_keep_together_stay_with_one_that_cannot_move)
{
	check_plan("store old nfs\nstore a folder free 900G\n"
		   "domain x together\ndisk vda on old 1G\ndisk vdb on old 1G stuck\n"
		   "domain y\ndisk vda on old 1000M\ndisk vdb on old 1G stuck\n",
		   "0-20 y/vda > a\n"
		   "x/vda stays: rule\n"
		   "x/vdb stays: obstacle\n"
		   "y/vdb stays: obstacle\n");
}
END_TEST

START_TEST(a_preferred_datastore_is_taken_while_it_has_room)
{
	request.to = to_a_b;
	request.order = PLAN_NAME;
	check_plan("store old nfs\nstore a folder free 900G\nstore b folder free 1500M\n"
		   "domain x host 1 prefer b\ndisk vda on old 1000M\n"
		   "domain y host 2 prefer b\ndisk vda on old 900M\n",
		   "0-20 x/vda > b\n"
		   "0-19 y/vda > a\n");
}
END_TEST

START_TEST(an_avoided_datastore_is_never_taken)
{
	static const char lines[] = "store old nfs\nstore a folder free 900G\n"
				    "store b folder free 1G\n"
				    "domain x avoid a\ndisk vda on old 1000M\n";

	request.to = to_a_b;
	check_plan(lines, "0-20 x/vda > b\n");
	request.to = to_a;
	check_plan(lines, "x/vda stays: rule\n");
	check_reason(lines, "avoid in the configuration rules every destination out");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("plan places");
	TCase *room = tcase_create("room");
	TCase *rules = tcase_create("rules");
	TCase *all[] = {room, rules};
	SRunner *runner = srunner_create(suite);

	for (guint i = 0; i < G_N_ELEMENTS(all); i++) {
		tcase_add_checked_fixture(all[i], setup, NULL);
		suite_add_tcase(suite, all[i]);
	}
	tcase_add_test(room, what_no_destination_has_room_for_stays_and_says_so);
	tcase_add_test(room, a_plan_that_fits_thin_disks_tells_that_full_ones_would_not);
	tcase_add_test(room, what_the_destinations_own_disks_may_grow_to_counts_too);
	tcase_add_test(room, several_destinations_are_filled_by_room_and_load);
	tcase_add_test(room, a_destination_that_does_not_answer_or_is_in_maintenance_takes_nothing);
	tcase_add_test(room, each_disk_takes_the_smallest_lun_that_it_fits);
	tcase_add_test(room, a_lun_is_named_for_the_move_by_its_url);
	tcase_add_test(room, a_disk_that_can_go_to_no_lun_goes_to_a_folder);
	tcase_add_test(room, without_a_lun_that_is_large_enough_it_stays);
	tcase_add_test(rules, disks_that_keep_together_go_to_one_datastore);
	tcase_add_test(rules, disks_that_keep_together_take_luns_of_one_target);
	tcase_add_test(rules, disks_that_keep_together_follow_one_that_went_before);
	tcase_add_test(rules, disks_that_keep_together_stay_with_one_that_cannot_move);
	tcase_add_test(rules, a_preferred_datastore_is_taken_while_it_has_room);
	tcase_add_test(rules, an_avoided_datastore_is_never_taken);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
