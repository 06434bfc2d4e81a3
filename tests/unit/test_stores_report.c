/* Datastores and the plan of an evacuation, as people and as scripts read them. */
#include "blockmig/report/stores.h"
#include "tests/unit/inventory_text.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const char lines[] = "store old nfs size 100G free 60G\n"
			    "store san iscsi luns 1:2G 2:1G=used\n"
			    "store b folder free 1G unreachable\n"
			    "domain web\n"
			    "disk vda on old 2000M 1000M\n"
			    "disk vdb on old 9G 1G\n"
			    "disk vdc on old 1G job 7 to san:2 done 1G\n"
			    "domain db\n"
			    "disk vda on old 1G stuck\n"
			    "residue nvram on old /old/db.fd\n";
static const char *const to[] = {"san", "b", NULL};

static struct inventory *inventory;
static struct plan *plan;

static void setup(void)
{
	struct plan_request request = {
		.from = "old",
		.to = to,
		.window = {.begin_s = 1800000000, .end_s = G_MAXINT64},
	};

	g_setenv("TZ", "UTC", TRUE);
	plan_limits_init(&request.limits);
	inventory = inventory_of_text(lines);
	plan = plan_for(inventory, &request, NULL);
	ck_assert_ptr_nonnull(plan);
}

static void teardown(void)
{
	plan_free(plan);
	inventory_free(inventory);
}

static void check_has(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part) != NULL, "no '%s' in:\n%s", part, text);
}

START_TEST(a_plan_in_words_says_what_goes_what_stays_and_why)
{
	g_autofree char *text = evacuation_plan_text(plan);

	check_has(text, "2027-01-15 08:00:00  2027-01-15 08:00:10  web     vdc   0 B");
	check_has(text, "\n    goes on with job 7\n");
	check_has(text, "web     vda   1000 MiB  20.0 s  san, LUN 1\n");
	check_has(text, "stays: db vda (obstacle): it is stuck\n");
	check_has(text, "stays: web vdb (room): no destination has room");
	check_has(text, "remains: /old/db.fd of db (nvram): ");
	check_has(text, "\n    it does not answer\n");
	check_has(text, "old: 2 of 4 disks go, 1000 MiB, by 2027-01-15 08:00:30; 3 obstacles keep "
			"it from being empty; not all fits\n");
}
END_TEST

static const json_t *find(const json_t *all, const char *type, const char *disk)
{
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *line = json_array_get(all, i);
		const char *its = json_string_value(json_object_get(line, "disk"));

		if (strcmp(json_string_value(json_object_get(line, "type")), type) == 0 &&
		    g_strcmp0(its, disk) == 0)
			return line;
	}
	ck_abort_msg("no %s %s", type, disk ? disk : "");
	return NULL;
}

static const char *text_of(const json_t *line, const char *key)
{
	return json_string_value(json_object_get(line, key));
}

static gint64 number_of(const json_t *line, const char *key)
{
	ck_assert_msg(json_is_integer(json_object_get(line, key)), "%s", key);
	return json_integer_value(json_object_get(line, key));
}

START_TEST(a_plan_in_json_has_every_field)
{
	json_t *all = evacuation_plan_json(plan);
	const json_t *move = find(all, "move", "vda");
	const json_t *stay = find(all, "stay", "vdb");
	const json_t *residue = find(all, "residue", NULL);
	const json_t *target = find(all, "destination", NULL);

	ck_assert_str_eq(text_of(move, "domain"), "web");
	ck_assert_str_eq(text_of(move, "destination"), "san");
	ck_assert_str_eq(text_of(move, "to"), "iscsi://san/iqn.2026-01.example:t/1");
	ck_assert_int_eq(number_of(move, "lun"), 1);
	ck_assert_int_eq(number_of(move, "bytes"), 1000 << 20);
	ck_assert_int_eq(number_of(move, "start"), 1800000010);
	ck_assert_int_eq(number_of(move, "end"), 1800000030);
	ck_assert_int_eq(number_of(move, "seconds"), 20);
	ck_assert_str_eq(text_of(stay, "why"), "room");
	ck_assert(json_is_null(json_object_get(stay, "destination")));
	ck_assert_str_eq(text_of(residue, "path"), "/old/db.fd");
	ck_assert_str_eq(text_of(target, "name"), "san");
	ck_assert_int_eq(number_of(target, "luns_taken"), 1);
	json_decref(all);
}
END_TEST

START_TEST(a_plan_in_json_ends_with_a_summary)
{
	json_t *line = evacuation_plan_summary(plan);

	ck_assert_str_eq(text_of(line, "type"), "summary");
	ck_assert_str_eq(text_of(line, "result"), "refused");
	ck_assert_int_eq(number_of(line, "moves"), 2);
	ck_assert_int_eq(number_of(line, "obstacles"), 3);
	ck_assert(json_is_false(json_object_get(line, "fits_allocated")));
	ck_assert(json_is_true(json_object_get(line, "fits_window")));
	json_decref(line);
}
END_TEST

START_TEST(datastores_are_a_table)
{
	g_autofree char *text = stores_text(inventory);

	check_has(text, "NAME  KIND    SIZE     FREE");
	check_has(text, "old   nfs     100 GiB  60 GiB");
	check_has(text, "\n    it does not answer\n");
}
END_TEST

START_TEST(what_is_not_known_of_a_datastore_is_null_in_json)
{
	json_t *line = store_json(inventory_store(inventory, "san"));

	ck_assert_str_eq(text_of(line, "kind"), "iscsi");
	ck_assert(json_is_null(json_object_get(line, "size_bytes")));
	ck_assert_int_eq(json_array_size(json_object_get(line, "luns")), 2);
	ck_assert_str_eq(text_of(json_array_get(json_object_get(line, "luns"), 1), "user"), "used");
	json_decref(line);
}
END_TEST

START_TEST(no_datastores_are_told_in_words)
{
	AUTO(inventory) empty = inventory_new();
	g_autofree char *text = stores_text(empty);

	check_has(text, "no datastores");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stores report");
	TCase *cases = tcase_create("stores report");
	SRunner *runner = srunner_create(suite);

	suite_add_tcase(suite, cases);
	tcase_add_checked_fixture(cases, setup, teardown);
	tcase_add_test(cases, a_plan_in_words_says_what_goes_what_stays_and_why);
	tcase_add_test(cases, a_plan_in_json_has_every_field);
	tcase_add_test(cases, a_plan_in_json_ends_with_a_summary);
	tcase_add_test(cases, datastores_are_a_table);
	tcase_add_test(cases, what_is_not_known_of_a_datastore_is_null_in_json);
	tcase_add_test(cases, no_datastores_are_told_in_words);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
