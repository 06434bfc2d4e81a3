/* Which move begins when, and what becomes of it: over a table and a clock of the tests. */
#include "blockmig/evacuate/window.h"
#include "common/stop.h"
#include "tests/unit/dispatching.h"

#include <check.h>
#include <string.h>

START_TEST(moves_begin_in_their_order_within_the_limits)
{
	dispatching_open();
	dispatch->limits.per_host = 2;
	for (guint i = 0; i < 5; i++) {
		g_autofree char *name = g_strdup_printf("%c", 'a' + (int)i);

		dispatching_add(name, 100 * (i + 1), "nfs");
	}
	dispatch_run(dispatch);
	dispatching_began("a b c d e");
	ck_assert_uint_eq(dispatch_count(dispatch, DISPATCH_MOVED), 5);
}
END_TEST

/* check_limits looks at every start and at every wait. */
START_TEST(no_limit_is_ever_exceeded)
{
	static const char *const targets[] = {"nfs", "iscsi", "local"};
	g_autoptr(GRand) random = g_rand_new_with_seed((guint32)_i);

	dispatching_open();
	dispatch->limits = (struct plan_limits){
		.per_host = (guint)g_rand_int_range(random, 1, 4),
		.per_datastore = (guint)g_rand_int_range(random, 1, 10),
		.per_target = (guint)g_rand_int_range(random, 1, 5),
		.bwlimit = (guint64)g_rand_int_range(random, 0, 50),
	};
	for (guint i = 0; i < 60; i++) {
		g_autofree char *domain = g_strdup_printf("vm%d", g_rand_int_range(random, 0, 40));
		g_autofree char *host = g_strdup_printf("host%d", g_rand_int_range(random, 0, 6));

		dispatching_on_host(dispatching_add(domain,
						    (guint64)g_rand_int_range(random, 1, 500),
						    targets[g_rand_int_range(random, 0, 3)]),
				    host);
	}
	dispatch_run(dispatch);
	ck_assert_uint_eq(dispatch_count(dispatch, DISPATCH_MOVED), 60);
}
END_TEST

START_TEST(two_disks_of_a_domain_go_one_after_the_other)
{
	dispatching_open();
	dispatching_add("a", 100, "nfs");
	dispatching_add("a", 100, "nfs");
	dispatching_add("b", 10, "nfs");
	dispatch_run(dispatch);
	dispatching_began("a b a");
}
END_TEST

/* 100 bytes a second for four, then for two that are left: each gets what the others leave. */
START_TEST(the_bandwidth_is_divided_anew_when_moves_end)
{
	dispatching_open();
	world.native_rate = 1000;
	dispatch->limits.per_host = 4;
	dispatch->limits.bwlimit = 100;
	dispatching_add("a", 100, "nfs");
	dispatching_add("b", 100, "nfs");
	dispatching_add("c", 1000, "nfs");
	dispatching_add("d", 1000, "nfs");
	double begun = world.clock;

	dispatch_run(dispatch);
	/* All of it is used all along: 2200 bytes at 100 a second. */
	ck_assert_double_ge(world.clock - begun, 21.9);
	ck_assert_double_le(world.clock - begun, 23);
}
END_TEST

START_TEST(nothing_begins_that_would_not_end_in_the_window)
{
	dispatching_open();
	dispatching_closes_in(100);
	dispatch->longest_s = 1000;
	struct dispatch_move *large = dispatching_add("large", 10 * (100 - PLAN_FIXED_S), "nfs");
	struct dispatch_move *small = dispatching_add("small", 10 * (99 - PLAN_FIXED_S), "nfs");

	dispatch_run(dispatch);
	dispatching_began("small");
	ck_assert_int_eq(large->state, DISPATCH_WAITING);
	ck_assert_int_eq(small->state, DISPATCH_MOVED);
}
END_TEST

/* Alone it would end, but the others will have their part of the bandwidth. */
START_TEST(the_part_that_others_take_counts)
{
	dispatching_open();
	dispatching_closes_in(100);
	dispatch->longest_s = 1000;
	dispatch->limits.bwlimit = 10;
	dispatching_add("a", 500, "nfs");
	dispatching_add("b", 500, "nfs");
	dispatch_run(dispatch);
	/* Of two, neither could be sure of more than 5 a second. */
	dispatching_began("");
}
END_TEST

START_TEST(what_was_measured_this_night_decides)
{
	dispatching_open();
	dispatching_closes_in(1000);
	dispatch->longest_s = 10000;
	dispatch->limits.per_host = 1;
	world.native_rate = 1;
	world.measured = 1;
	dispatching_add("a", 10, "nfs")->target->bytes_per_second = 0;
	dispatching_add("b", 1500, "nfs")->target->bytes_per_second = 0;
	dispatch_run(dispatch);
	dispatching_began("a");
}
END_TEST

START_TEST(what_an_earlier_night_began_goes_on_in_any_case)
{
	dispatching_open();
	dispatching_closes_in(100);
	dispatch->longest_s = 5000;
	struct dispatch_move *move = dispatching_add("a", 10000, "nfs");

	move->job = 7;
	dispatch_run(dispatch);
	dispatching_began("a");
	dispatching_assert_reason(move, DISPATCH_HELD, "stopped as asked");
	ck_assert_int_eq(dispatching_now_s(), dispatch->closes_s + CHECKPOINT_S);
}
END_TEST

START_TEST(what_no_window_is_long_enough_for_is_named_or_spans_nights)
{
	dispatching_open();
	dispatching_closes_in(100);
	dispatch->at_end = _i ? DISPATCH_HOLD : DISPATCH_ROLLBACK;
	struct dispatch_move *move = dispatching_add("a", 10000, "nfs");

	dispatch_run(dispatch);
	if (_i) {
		ck_assert_int_eq(move->state, DISPATCH_HELD);
		return;
	}
	dispatching_began("");
	dispatching_assert_reason(move, DISPATCH_UNSENT,
				  "takes about 16m51s, and no window is longer than 1m40s");
	dispatching_assert_reason(move, DISPATCH_UNSENT, "--at-end hold");
}
END_TEST

START_TEST(at_the_end_moves_are_rolled_back_where_asked)
{
	dispatching_open();
	dispatching_closes_in(100);
	dispatch->at_end = DISPATCH_ROLLBACK;
	struct dispatch_move *move = dispatching_add("a", 10000, "nfs");

	move->job = 7;
	dispatch_run(dispatch);
	dispatching_assert_reason(move, DISPATCH_ROLLED_BACK, "the window closed");
}
END_TEST

START_TEST(three_nights_end_complete_and_nothing_runs_outside_of_them)
{
	AUTO(window) window = window_parse("22:00-05:00 Europe/Berlin", NULL);
	guint nights = 0;
	guint64 sent = 0, total = 0;

	/* The night of 24 October 2026 has an hour more by the clock, and none more for us. */
	world.clock = 1792699200; /* 22 October, 20:00 UTC */
	for (; nights < 10; nights++) {
		struct window_span span;

		ck_assert(window_span_at(window, dispatching_now_s(), &span));
		world.clock = (double)span.begin_s;
		dispatching_open();
		dispatch->closes_s = world.closes_s = span.end_s;
		world.opens_s = span.begin_s;
		dispatch->longest_s = window_longest_s(window, span.begin_s);
		for (guint i = 0; i < 12; i++) {
			g_autofree char *name = g_strdup_printf("vm%u", i);

			/* Two hours each alone, and one of 16, which no night is long enough for.
			 */
			if (!dispatching_disk(name)->moved)
				dispatching_add(name, (i == 11 ? 16 : 2) * 36000, "nfs");
		}
		if (!dispatch->moves->len)
			break;
		dispatch_run(dispatch);
		ck_assert_int_le(dispatching_now_s(), span.end_s + CHECKPOINT_S);
	}
	ck_assert_uint_gt(nights, 2);
	for (guint i = 0; i < world.disks->len; i++) {
		const struct table_disk *disk = &g_array_index(world.disks, struct table_disk, i);

		ck_assert(disk->moved);
		total += disk->total;
		sent += disk->sent;
		ck_assert_uint_le(disk->sent, disk->total + nights * FLUSH_WINDOW);
	}
	ck_assert_uint_ge(sent, total);
}
END_TEST

START_TEST(a_failure_of_one_is_not_a_failure_of_all)
{
	dispatching_open();
	dispatch->limits.per_host = 1;
	world.bad_target = "nfs";
	world.bad_status = 1;
	world.bad_job = 5;
	world.bad_times = 2;
	struct dispatch_move *first = dispatching_add("a", 10, "nfs");

	dispatching_add("b", 10, "nfs");
	dispatching_add("c", 10, "nfs");
	dispatching_add("d", 10, "iscsi");
	dispatch_run(dispatch);
	dispatching_assert_reason(first, DISPATCH_FAILED, "the filer said no");
	ck_assert_uint_eq(dispatch_count(dispatch, DISPATCH_FAILED), 2);
	ck_assert_uint_eq(dispatch_count(dispatch, DISPATCH_MOVED), 2);
}
END_TEST

START_TEST(a_destination_that_fails_again_and_again_gets_nothing_more)
{
	dispatching_open();
	dispatch->limits.per_host = 1;
	world.bad_target = "nfs";
	world.bad_status = 1;
	world.bad_job = 5;
	world.bad_times = 100;
	for (guint i = 0; i < 10; i++) {
		g_autofree char *name = g_strdup_printf("%c", 'a' + (int)i);

		dispatching_add(name, 10, i % 2 ? "iscsi" : "nfs");
	}
	dispatch_run(dispatch);
	dispatching_began("a b c d e f h j");
	ck_assert_uint_eq(dispatch_count(dispatch, DISPATCH_MOVED), 5);
	ck_assert_uint_eq(dispatch_count(dispatch, DISPATCH_FAILED), DISPATCH_BREAKER_FAILURES);
	dispatching_assert_reason(
		g_ptr_array_index(dispatch->moves, 8), DISPATCH_UNSENT,
		"nothing more is sent to nfs: 3 moves to it failed in a row, the last with: "
		"the filer said no");
}
END_TEST

/* A domain that cannot be moved as it is says nothing about where it should go. */
START_TEST(refusals_count_only_where_the_destination_does_not_answer)
{
	dispatching_open();
	world.bad_target = "nfs";
	world.bad_status = 1;
	world.bad_times = 100;
	world.answers = _i;
	for (guint i = 0; i < 10; i++) {
		g_autofree char *name = g_strdup_printf("%c", 'a' + (int)i);

		dispatching_add(name, 10, "nfs");
	}
	dispatch_run(dispatch);
	ck_assert_int_eq(dispatch_count(dispatch, DISPATCH_UNSENT) > 0, !_i);
	ck_assert_int_eq(dispatch_count(dispatch, DISPATCH_FAILED) == 10, _i);
}
END_TEST

START_TEST(a_busy_domain_is_tried_again)
{
	dispatching_open();
	world.bad_target = "nfs";
	world.bad_status = 75;
	world.bad_times = _i ? 1000 : 3;
	struct dispatch_move *move = dispatching_add("a", 10, "nfs");

	dispatching_add("b", 10, "iscsi");
	double begun = world.clock;

	dispatch_run(dispatch);
	if (_i) {
		dispatching_assert_reason(move, DISPATCH_FAILED, "the filer said no");
		ck_assert_double_le(world.clock - begun, 15 * 60);
	} else {
		ck_assert_int_eq(move->state, DISPATCH_MOVED);
		dispatching_began("a b a a a");
	}
}
END_TEST

START_TEST(one_whose_process_was_killed_is_tried_once_more)
{
	dispatching_open();
	world.bad_target = "nfs";
	world.bad_status = 128 + 9;
	world.bad_job = 5;
	world.bad_times = _i ? 2 : 1;
	struct dispatch_move *move = dispatching_add("a", 10, "nfs");

	dispatch_run(dispatch);
	dispatching_began("a a");
	if (_i)
		dispatching_assert_reason(move, DISPATCH_HELD, "killed by signal 9");
	else
		ck_assert_int_eq(move->state, DISPATCH_MOVED);
}
END_TEST

START_TEST(one_that_needs_a_person_is_told_apart)
{
	dispatching_open();
	world.bad_target = "nfs";
	world.bad_status = 5;
	world.bad_job = 5;
	world.bad_times = 1;
	struct dispatch_move *move = dispatching_add("a", 10, "nfs");

	dispatching_add("b", 10, "iscsi");
	dispatch_run(dispatch);
	dispatching_assert_reason(move, DISPATCH_OPERATOR, "the filer said no");
	ck_assert_uint_eq(dispatch_count(dispatch, DISPATCH_MOVED), 1);
}
END_TEST

static guint64 stop_while_measured(const struct dispatch_move *move, void *data)
{
	(void)move;
	(void)data;
	stop_request();
	return 0;
}

START_TEST(a_stop_holds_all_at_their_checkpoints)
{
	struct dispatch_runner stopping = dispatching_runner;

	stopping.measured = stop_while_measured;
	dispatching_open();
	dispatch->runner = &stopping;
	dispatch->at_end = DISPATCH_ROLLBACK;
	dispatching_add("a", 100, "nfs");
	dispatching_add("b", 1000, "nfs");
	dispatching_add("c", 100, "nfs");
	dispatch_run(dispatch);
	dispatching_began("a b");
	ck_assert_uint_eq(dispatch_count(dispatch, DISPATCH_HELD), 1);
	ck_assert_uint_eq(dispatch_count(dispatch, DISPATCH_WAITING), 1);
	ck_assert_uint_eq(world.stopped_now, 0);
}
END_TEST

START_TEST(nothing_to_do_ends_at_once)
{
	dispatching_open();
	dispatching_closes_in(100);
	dispatch_run(dispatch);
	ck_assert_int_eq(dispatching_now_s(), 1000000);
	dispatching_began("");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dispatch");
	TCase *tests = tcase_create("dispatch");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tests, dispatching_setup, dispatching_teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, moves_begin_in_their_order_within_the_limits);
	tcase_add_loop_test(tests, no_limit_is_ever_exceeded, 0, 30);
	tcase_add_test(tests, two_disks_of_a_domain_go_one_after_the_other);
	tcase_add_test(tests, the_bandwidth_is_divided_anew_when_moves_end);
	tcase_add_test(tests, nothing_begins_that_would_not_end_in_the_window);
	tcase_add_test(tests, the_part_that_others_take_counts);
	tcase_add_test(tests, what_was_measured_this_night_decides);
	tcase_add_test(tests, what_an_earlier_night_began_goes_on_in_any_case);
	tcase_add_loop_test(tests, what_no_window_is_long_enough_for_is_named_or_spans_nights, 0,
			    2);
	tcase_add_test(tests, at_the_end_moves_are_rolled_back_where_asked);
	tcase_add_test(tests, three_nights_end_complete_and_nothing_runs_outside_of_them);
	tcase_add_test(tests, a_failure_of_one_is_not_a_failure_of_all);
	tcase_add_test(tests, a_destination_that_fails_again_and_again_gets_nothing_more);
	tcase_add_loop_test(tests, refusals_count_only_where_the_destination_does_not_answer, 0, 2);
	tcase_add_loop_test(tests, a_busy_domain_is_tried_again, 0, 2);
	tcase_add_loop_test(tests, one_whose_process_was_killed_is_tried_once_more, 0, 2);
	tcase_add_test(tests, one_that_needs_a_person_is_told_apart);
	tcase_add_test(tests, a_stop_holds_all_at_their_checkpoints);
	tcase_add_test(tests, nothing_to_do_ends_at_once);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
