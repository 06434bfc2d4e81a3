#include "transports/extents.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>

START_TEST(neighbours_of_one_kind_become_one)
{
	AUTO(extents) extents = extents_new();

	extents_append(extents, 100, 10, EXTENT_DATA);
	extents_append(extents, 110, 20, EXTENT_DATA);
	extents_append(extents, 130, 5, EXTENT_ZERO);
	extents_append(extents, 135, 5, EXTENT_UNKNOWN);
	ck_assert_uint_eq(extents_count(extents), 3);
	ck_assert_uint_eq(extents_get(extents, 0)->offset_bytes, 100);
	ck_assert_uint_eq(extents_get(extents, 0)->length_bytes, 30);
	ck_assert_int_eq(extents_get(extents, 1)->kind, EXTENT_ZERO);
	ck_assert_int_eq(extents_get(extents, 2)->kind, EXTENT_UNKNOWN);
}
END_TEST

START_TEST(an_empty_extent_leaves_no_trace)
{
	AUTO(extents) extents = extents_new();

	extents_append(extents, 7, 0, EXTENT_DATA);
	ck_assert_uint_eq(extents_count(extents), 0);
}
END_TEST

START_TEST(bytes_are_counted_by_kind)
{
	AUTO(extents) extents = extents_new();

	extents_append(extents, 0, 10, EXTENT_DATA);
	extents_append(extents, 10, 20, EXTENT_ZERO);
	extents_append(extents, 30, 40, EXTENT_DATA);
	ck_assert_uint_eq(extents_bytes(extents, EXTENT_DATA), 50);
	ck_assert_uint_eq(extents_bytes(extents, EXTENT_ZERO), 20);
	ck_assert_uint_eq(extents_bytes(extents, EXTENT_UNKNOWN), 0);
}
END_TEST

START_TEST(a_gap_is_a_fault_of_the_program)
{
	AUTO(extents) extents = extents_new();

	extents_append(extents, 0, 10, EXTENT_DATA);
	extents_append(extents, 11, 10, EXTENT_DATA);
}
END_TEST

START_TEST(an_overlap_is_a_fault_of_the_program)
{
	AUTO(extents) extents = extents_new();

	extents_append(extents, 0, 10, EXTENT_DATA);
	extents_append(extents, 9, 10, EXTENT_ZERO);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("extents");
	TCase *tcase = tcase_create("extents");
	SRunner *runner = srunner_create(suite);

	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, neighbours_of_one_kind_become_one);
	tcase_add_test(tcase, an_empty_extent_leaves_no_trace);
	tcase_add_test(tcase, bytes_are_counted_by_kind);
	tcase_add_test_raise_signal(tcase, a_gap_is_a_fault_of_the_program, SIGABRT);
	tcase_add_test_raise_signal(tcase, an_overlap_is_a_fault_of_the_program, SIGABRT);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
