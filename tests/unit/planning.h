/*
 * What the tests of the planner share: a request, and a plan compared as text.  Rates are
 * 100 MiB/s and sizes round, so a disk of 1000M takes 10 s and the fixed 10 s.
 *
 * Definitions, not declarations: each program has its own.
 */
#ifndef TESTS_UNIT_PLANNING_H
#define TESTS_UNIT_PLANNING_H

#include "blockmig/evacuate/plan.h"
#include "common/error.h"
#include "tests/unit/inventory_text.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct plan_request request;
static const char *const to_a[] = {"a", NULL};

static void setup(void)
{
	request = (struct plan_request){
		.from = "old",
		.to = to_a,
		.window = {.begin_s = 1800000000, .end_s = G_MAXINT64},
		.bytes_per_second = 100ull << 20,
	};
	plan_limits_init(&request.limits);
}

static void check_plan(const char *inventory_lines, const char *expected)
{
	AUTO(inventory) inventory = inventory_of_text(inventory_lines);
	g_autoptr(GError) error = NULL;
	AUTO(plan) plan = plan_for(inventory, &request, &error);

	ck_assert_msg(plan != NULL, "%s", error ? error->message : "");
	g_autofree char *text = plan_text(plan, &request);

	ck_assert_str_eq(text, expected);
}

/* The reason of the only disk that stays. */
static char *reason_of(const char *inventory_lines)
{
	AUTO(inventory) inventory = inventory_of_text(inventory_lines);
	AUTO(plan) plan = plan_for(inventory, &request, NULL);

	ck_assert_ptr_nonnull(plan);
	ck_assert_uint_eq(plan->stays->len, 1);
	return g_strdup(((struct plan_stay *)g_ptr_array_index(plan->stays, 0))->reason);
}

static void check_reason(const char *inventory_lines, const char *part)
{
	g_autofree char *reason = reason_of(inventory_lines);

	ck_assert_msg(strstr(reason, part) != NULL, "%s", reason);
}

#endif
