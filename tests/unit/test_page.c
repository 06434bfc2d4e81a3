/* A job's report as a page. */
#include "blockmig/report/page.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static char *formatted(const char *domain, const char *message)
{
	g_autoptr(GPtrArray) phases = g_ptr_array_new();
	struct ledger_phase seed = {.name = (char *)"seed",
				    .begun_us = 1792670400ll * G_USEC_PER_SEC,
				    .ended_us = 1792670404ll * G_USEC_PER_SEC,
				    .outcome = (char *)"done"};
	struct ledger_phase undone = {.name = (char *)"freeze",
				      .undo = TRUE,
				      .begun_us = 1792670404ll * G_USEC_PER_SEC,
				      .outcome = (char *)""};
	const struct ledger_job job = {.id = 7,
				       .message = (char *)message,
				       .created_s = 1792670400,
				       .updated_s = 1792670410};
	const struct move_summary summary = {
		.result = (char *)"done",
		.domain = (char *)domain,
		.disk = (char *)"vda",
		.source = (char *)"/images/web.raw",
		.destination = (char *)"nfs://filer/web.raw",
		.sha256 = (char *)"",
		.guarantee = (char *)"proven",
		.downtime_ms = 84,
		.totals = {.bytes_sent = 64 << 20, .units_total = 16, .units_proven = 16},
	};

	g_ptr_array_add(phases, &seed);
	g_ptr_array_add(phases, &undone);
	return page_format(&summary, &job, phases);
}

static void has(const char *page, const char *words)
{
	ck_assert_msg(strstr(page, words) != NULL, "no '%s' in: %s", words, page);
}

START_TEST(it_says_what_the_job_did)
{
	g_autofree char *page = formatted("web", "");

	has(page, "<title>blockmig job 7</title>");
	has(page, "<tr><th>Disk<td>web vda\n");
	has(page, "<tr><th>Chunks proven<td>16 of 16\n");
	has(page, "<tr><th>The guest stood still<td>84 ms\n");
	has(page, "<tr><th>Begun<td>2026-10-22 12:00:00 UTC\n");
	has(page, "<tr><td>seed<td>2026-10-22 12:00:00 UTC<td>4.0 s<td>done\n");
	has(page, "<tr><td>undo freeze<td>2026-10-22 12:00:04 UTC<td><td>not at its end\n");
	/* What there is nothing to say about is left out. */
	ck_assert_ptr_null(strstr(page, "Message"));
	ck_assert_ptr_null(strstr(page, "SHA-256"));
}
END_TEST

START_TEST(the_words_of_others_are_no_markup)
{
	g_autofree char *page = formatted("<script>alert(1)</script>", "it's \"<b>\" & \xff");

	ck_assert_ptr_null(strstr(page, "<script>"));
	ck_assert_ptr_null(strstr(page, "<b>"));
	has(page, "&lt;script&gt;alert(1)&lt;/script&gt; vda");
	ck_assert(g_utf8_validate(page, -1, NULL));
}
END_TEST

START_TEST(it_asks_nobody_for_anything)
{
	g_autofree char *page = formatted("web", "");

	ck_assert_ptr_null(strstr(page, "src="));
	ck_assert_ptr_null(strstr(page, "href="));
	has(page, "default-src 'none'");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("page");
	TCase *tests = tcase_create("page");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tests, it_says_what_the_job_did);
	tcase_add_test(tests, the_words_of_others_are_no_markup);
	tcase_add_test(tests, it_asks_nobody_for_anything);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
