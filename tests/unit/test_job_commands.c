/*
 * The commands about jobs that are there already, over a real ledger.
 */
#include "tests/unit/commands.h"

static gboolean job_call(const char *name, const struct move_context *context, gint64 job,
			 struct move_summary **summary, GError **error)
{
	g_autofree char *key = g_strdup_printf("%" G_GINT64_FORMAT, job);

	g_string_append_printf(calls, "%s(%s%s%s) ", name, key, context->session ? "" : ",alone",
			       context->options && context->options->keep_partial ? ",kept" : "");
	return end(key, summary, error);
}

gboolean move_resume(struct move_context *context, gint64 job, struct move_summary **summary,
		     GError **error)
{
	ck_assert_ptr_null(context->options);
	return job_call("resume", context, job, summary, error);
}

gboolean move_abort(struct move_context *context, gint64 job, struct move_summary **summary,
		    GError **error)
{
	return job_call("abort", context, job, summary, error);
}

START_TEST(resume_carries_on_with_everything_that_was_interrupted)
{
	g_autofree char *migrate = NULL, *copy = NULL;

	add_job("migrate", JOB_DONE);
	migrate = g_strdup_printf("%" G_GINT64_FORMAT, add_job("migrate", JOB_OPEN));
	copy = g_strdup_printf("%" G_GINT64_FORMAT, add_job("copy", JOB_OPEN));
	g_autofree char *wanted = g_strdup_printf("resume(%s) resume(%s) ", migrate, copy);
	const struct ending jobs[] = {
		{migrate, BLOCKMIG_ERROR_STOPPED, "interrupted"}, {copy, -1, "done"}, {0}};

	endings = jobs;
	/* One that is held still leaves the other its turn. */
	ck_assert_int_eq(run(&command_resume, ""), 3);
	ck_assert_str_eq(calls->str, wanted);
	ck_assert_ptr_nonnull(strstr(err_text, "carry on with: blockmig resume"));
}
END_TEST

START_TEST(a_bare_copy_is_resumed_without_libvirt)
{
	g_autofree char *copy = g_strdup_printf("%" G_GINT64_FORMAT, add_job("copy", JOB_OPEN));
	g_autofree char *wanted = g_strdup_printf("resume(%s,alone) ", copy);
	const struct ending jobs[] = {{copy, -1, "done"}, {0}};

	endings = jobs;
	session_fails = TRUE;
	ck_assert_int_eq(run(&command_resume, copy), 0);
	ck_assert_str_eq(calls->str, wanted);
}
END_TEST

START_TEST(libvirt_that_does_not_answer_is_told_for_each_job)
{
	g_autofree char *job = g_strdup_printf("%" G_GINT64_FORMAT, add_job("migrate", JOB_OPEN));

	session_fails = TRUE;
	ck_assert_int_eq(run(&command_resume, job), 1);
	ck_assert_ptr_nonnull(strstr(err_text, "no libvirtd"));
}
END_TEST

START_TEST(with_nothing_to_resume_all_is_well)
{
	ck_assert_int_eq(run(&command_resume, "--json"), 0);
	ck_assert_ptr_nonnull(strstr(out_text, "no job was interrupted"));
	ck_assert_int_eq(run(&command_resume, "41"), 1);
	ck_assert_int_eq(run(&command_resume, "seven"), 2);
}
END_TEST

static const struct move_orphan lost = {
	.uuid = (char *)"u",
	.domain = (char *)"web",
	.disk = (char *)"vda",
	.job = 7,
	.source = (char *)"/a",
	.destination = (char *)"/b",
};

START_TEST(a_job_whose_ledger_is_lost_is_taken_up_again)
{
	static const struct ending jobs[] = {{"7", -1, "done"}, {0}};

	endings = jobs;
	orphan = &lost;
	ck_assert_int_eq(run(&command_status, ""), 0);
	ck_assert_ptr_nonnull(strstr(err_text, "domain web, disk vda carries job 7"));
	ck_assert_int_eq(run(&command_resume, ""), 0);
	ck_assert_str_eq(calls->str, "adopt(web,vda) resume(7) ");
	ck_assert_int_eq(run(&command_abort, "8"), 1);
	ck_assert_str_eq(calls->str, "");
	ck_assert_int_eq(run(&command_abort, "7"), 0);
	ck_assert_str_eq(calls->str, "adopt(web,vda) abort(7) ");
}
END_TEST

START_TEST(a_job_of_another_ledger_is_named_and_left_alone)
{
	struct move_orphan theirs = lost;

	theirs.elsewhere = (char *)"the ledger in /other has it";
	orphan = &theirs;
	ck_assert_int_eq(run(&command_status, ""), 0);
	ck_assert_ptr_nonnull(strstr(err_text, "the ledger in /other has it"));
	ck_assert_int_eq(run(&command_resume, ""), 0);
	ck_assert_str_eq(calls->str, "");
}
END_TEST

START_TEST(an_abort_that_put_everything_back_is_exit_status_0)
{
	g_autofree char *job = g_strdup_printf("%" G_GINT64_FORMAT, add_job("migrate", JOB_OPEN));
	const struct ending jobs[] = {{job, -1, "rolled-back"}, {0}};

	endings = jobs;
	ck_assert_int_eq(run(&command_abort, job), 0);
	ck_assert_ptr_nonnull(strstr(out_text, "rolled back"));
}
END_TEST

START_TEST(an_abort_keeps_the_partial_copy_where_asked)
{
	g_autofree char *job = g_strdup_printf("%" G_GINT64_FORMAT, add_job("migrate", JOB_OPEN));
	g_autofree char *line = g_strdup_printf("%s --keep-partial", job);
	g_autofree char *wanted = g_strdup_printf("abort(%s,kept) ", job);
	const struct ending jobs[] = {{job, -1, "rolled-back"}, {0}};

	endings = jobs;
	ck_assert_int_eq(run(&command_abort, line), 0);
	ck_assert_str_eq(calls->str, wanted);
}
END_TEST

START_TEST(status_tells_open_jobs_and_history_those_that_ended)
{
	add_job("migrate", JOB_ROLLED_BACK);
	gint64 open = add_job("migrate", JOB_OPEN);
	g_autofree char *line = g_strdup_printf("%" G_GINT64_FORMAT, open);

	ck_assert_int_eq(run(&command_status, "--watch"), 0);
	ck_assert_ptr_nonnull(strstr(out_text, "interrupted"));
	ck_assert_ptr_null(strstr(out_text, "rolled-back"));
	ck_assert_int_eq(run(&command_history, ""), 0);
	ck_assert_ptr_nonnull(strstr(out_text, "rolled-back"));
	ck_assert_ptr_null(strstr(out_text, "interrupted"));
	ck_assert_int_eq(run(&command_status, line), 0);
	ck_assert_ptr_nonnull(strstr(out_text, "carry on     blockmig resume"));
	ck_assert_int_eq(run(&command_status, "99"), 1);
}
END_TEST

START_TEST(a_job_that_this_process_holds_is_running_and_not_resumed)
{
	gint64 job = add_job("migrate", JOB_OPEN);
	g_autofree char *key = g_strdup_printf("job:%" G_GINT64_FORMAT, job);
	AUTO(ledger) ledger = ledger_open(state, NULL);

	ck_assert(ledger_lock(ledger, key, job, NULL));
	ck_assert_int_eq(run(&command_status, ""), 0);
	ck_assert_ptr_nonnull(strstr(out_text, "running ("));
	ck_assert_int_eq(run(&command_resume, ""), 0);
	ck_assert_str_eq(calls->str, "");
}
END_TEST

START_TEST(status_tells_how_far_the_newest_pass_is)
{
	gint64 job = add_job("migrate", JOB_OPEN), pass;
	g_autofree char *number = g_strdup_printf("%" G_GINT64_FORMAT, job);
	AUTO(ledger) ledger = ledger_open(state, NULL);
	const struct ledger_unit units[] = {
		{.index = 0, .count = 2, .state = UNIT_PROVEN, .is_zero = TRUE},
		{.index = 2, .count = 1, .state = UNIT_DONE},
		{.index = 3, .count = 1, .state = UNIT_SENT},
	};

	ck_assert(ledger_phase_begin(ledger, job, "seed", FALSE, NULL));
	ck_assert(ledger_pass_open(ledger, job, "older", 4096, 9, &pass, NULL));
	ck_assert(ledger_pass_open(ledger, job, "newest", 4096, 10, &pass, NULL));
	ck_assert(ledger_units_put(ledger, pass, units, G_N_ELEMENTS(units), NULL));
	ck_assert_int_eq(run(&command_status, ""), 0);
	ck_assert_ptr_nonnull(strstr(out_text, "seed 30%"));
	ck_assert_int_eq(run(&command_status, number), 0);
	ck_assert_ptr_nonnull(strstr(out_text, "3 of 10 chunks copied, 2 proven"));
	ck_assert_int_eq(run(&command_status, "--json"), 0);
	ck_assert_ptr_nonnull(strstr(out_text, "\"chunks_done\":3"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("job commands");
	TCase *tcase = tcase_create("job commands");

	tcase_add_unchecked_fixture(tcase, temp_make, temp_remove);
	tcase_add_checked_fixture(tcase, make, unmake);
	tcase_add_test(tcase, resume_carries_on_with_everything_that_was_interrupted);
	tcase_add_test(tcase, a_bare_copy_is_resumed_without_libvirt);
	tcase_add_test(tcase, libvirt_that_does_not_answer_is_told_for_each_job);
	tcase_add_test(tcase, with_nothing_to_resume_all_is_well);
	tcase_add_test(tcase, a_job_whose_ledger_is_lost_is_taken_up_again);
	tcase_add_test(tcase, a_job_of_another_ledger_is_named_and_left_alone);
	tcase_add_test(tcase, an_abort_that_put_everything_back_is_exit_status_0);
	tcase_add_test(tcase, an_abort_keeps_the_partial_copy_where_asked);
	tcase_add_test(tcase, status_tells_open_jobs_and_history_those_that_ended);
	tcase_add_test(tcase, a_job_that_this_process_holds_is_running_and_not_resumed);
	tcase_add_test(tcase, status_tells_how_far_the_newest_pass_is);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
