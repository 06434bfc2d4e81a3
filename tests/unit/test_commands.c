/*
 * The commands from their words to their exit status, over a real ledger and a move room
 * that does as the test says.
 */
#include "blockmig/cmd/command.h"
#include "blockmig/cmd/outcome.h"
#include "blockmig/cmd/stop_notice.h"
#include "common/error.h"
#include "common/stop.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ---- the move room and libvirt, as the test says ------------------------------------------ */

/* How one job ends; code -1: well. */
struct ending {
	const char *disk;
	int code;
	const char *result; /* NULL: refused before there was a job */
};

static const struct ending *endings;
static guint obstacles;
static GString *calls; /* what was asked of the room, one word each */
static gboolean session_fails;

void move_options_init(struct move_options *options)
{
	*options = (struct move_options){.format = g_strdup("keep"), .verify = TRUE};
}

void move_options_clear(struct move_options *options)
{
	g_free(options->format);
	g_free(options->from_format);
	g_free(options->scratch);
}

void move_plan_free(struct move_plan *plan)
{
	g_ptr_array_unref(plan->obstacles);
	g_free(plan);
}

void move_summary_free(struct move_summary *summary)
{
	g_free(summary->result);
	g_free(summary);
}

struct session *session_open(const char *uri, GError **error)
{
	(void)uri;
	if (session_fails) {
		g_set_error_literal(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT, "no libvirtd");
		return NULL;
	}
	return (struct session *)calls;
}

void session_close(struct session *session)
{
	(void)session;
}

static gboolean end(const char *disk, struct move_summary **summary, GError **error)
{
	const struct ending *ending = endings;

	while (ending->disk && !g_str_equal(ending->disk, disk))
		ending++;
	ck_assert_msg(ending->disk != NULL, "%s", disk);
	if (ending->result) {
		*summary = g_new0(struct move_summary, 1);
		(*summary)->job = 7;
		(*summary)->result = g_strdup(ending->result);
	}
	if (ending->code >= 0)
		g_set_error(error, BLOCKMIG_ERROR, ending->code, "%s: so it ends", disk);
	return ending->code < 0;
}

gboolean move_start(struct move_context *context, const char *domain, const char *disk,
		    const char *to, struct move_summary **summary, GError **error)
{
	ck_assert_ptr_nonnull(context->session);
	ck_assert_ptr_nonnull(context->options);
	g_string_append_printf(calls, "move(%s,%s,%s) ", domain, disk, to);
	return end(disk, summary, error);
}

static gboolean job_call(const char *name, const struct move_context *context, gint64 job,
			 struct move_summary **summary, GError **error)
{
	g_autofree char *key = g_strdup_printf("%" G_GINT64_FORMAT, job);

	ck_assert_ptr_null(context->options);
	g_string_append_printf(calls, "%s(%s%s) ", name, key, context->session ? "" : ",alone");
	return end(key, summary, error);
}

gboolean move_resume(struct move_context *context, gint64 job, struct move_summary **summary,
		     GError **error)
{
	return job_call("resume", context, job, summary, error);
}

gboolean move_abort(struct move_context *context, gint64 job, struct move_summary **summary,
		    GError **error)
{
	return job_call("abort", context, job, summary, error);
}

gboolean image_copy_start(struct move_context *context, const char *source, const char *destination,
			  struct move_summary **summary, GError **error)
{
	ck_assert_ptr_null(context->session);
	g_string_append_printf(calls, "copy(%s,%s) ", source, destination);
	return end(source, summary, error);
}

gboolean image_verify(struct move_context *context, const char *a, const char *a_format,
		      const char *b, const char *b_format, struct compare_totals *totals,
		      GError **error)
{
	struct move_summary *none = NULL;

	(void)context;
	(void)totals;
	g_string_append_printf(calls, "verify(%s:%s,%s:%s) ", a, a_format, b, b_format);
	gboolean equal = end(a, &none, error);

	g_clear_pointer(&none, move_summary_free);
	return equal;
}

gboolean move_verify(struct move_context *context, gint64 job, struct compare_totals *totals,
		     GError **error)
{
	(void)context;
	(void)totals;
	(void)error;
	g_string_append_printf(calls, "verify(%" G_GINT64_FORMAT ") ", job);
	return TRUE;
}

struct move_plan *move_plan(struct move_context *context, const char *domain, const char *disk,
			    const char *to, GError **error)
{
	struct move_plan *plan = g_new0(struct move_plan, 1);

	(void)context;
	(void)error;
	g_string_append_printf(calls, "plan(%s,%s,%s) ", domain, disk, to);
	plan->obstacles = g_ptr_array_new();
	plan->domain = plan->disk = plan->source = plan->source_format = plan->state = (char *)"x";
	for (guint i = 0; i < obstacles; i++)
		g_ptr_array_add(plan->obstacles, (char *)"too big");
	return plan;
}

GPtrArray *move_disks(struct move_context *context, const char *domain, GPtrArray **skipped,
		      GError **error)
{
	GPtrArray *disks = g_ptr_array_new_with_free_func(g_free);

	(void)context;
	(void)domain;
	(void)error;
	*skipped = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(*skipped, g_strdup("sda: cdrom"));
	g_ptr_array_add(disks, g_strdup("vda"));
	g_ptr_array_add(disks, g_strdup("vdb"));
	return disks;
}

int guardian_wait(int fd, gint64 job)
{
	g_string_append_printf(calls, "guardian(%d,%" G_GINT64_FORMAT ") ", fd, job);
	return 0;
}

/* ---- running a command --------------------------------------------------------------------- */

static char *out_text, *err_text;

static void forget_output(void)
{
	g_clear_pointer(&out_text, free);
	g_clear_pointer(&err_text, free);
	g_string_truncate(calls, 0);
}

static int run(const struct command *command, const char *line)
{
	g_autofree char *text = g_strdup_printf("%s %s", command->name, line);
	g_auto(GStrv) words = g_strsplit(g_strchomp(text), " ", -1);
	size_t out_bytes, err_bytes;

	forget_output();
	FILE *out = open_memstream(&out_text, &out_bytes);
	FILE *err = open_memstream(&err_text, &err_bytes);
	int status = command_run(command, (int)g_strv_length(words), words, out, err);

	fclose(out);
	fclose(err);
	return status;
}

/* A test's own: what one leaves in the ledger must not be another's. */
static char *state;

static void make(void)
{
	g_autofree char *config = temp_path("blockmig.conf");

	state = g_mkdtemp(temp_path("state-XXXXXX"));
	ck_assert_ptr_nonnull(state);
	ck_assert(g_file_set_contents(config, "", -1, NULL));
	g_setenv("BLOCKMIG_STATE", state, TRUE);
	g_setenv("BLOCKMIG_CONFIG", config, TRUE);
	calls = g_string_new(NULL);
	endings = NULL;
	obstacles = 0;
	session_fails = FALSE;
}

static void unmake(void)
{
	forget_output();
	g_string_free(calls, TRUE);
	stop_reset();
	g_clear_pointer(&state, g_free);
}

static gint64 add_job(const char *kind, enum job_result result)
{
	AUTO(ledger) ledger = ledger_open(state, NULL);
	static guint number;
	g_autofree char *disk = g_strdup_printf("vd%u", number++);
	struct ledger_job job = {
		.kind = (char *)kind,
		.domain_uuid = (char *)"u",
		.domain_name = (char *)"web",
		.disk = disk,
		.source = (char *)"/a",
		.destination = (char *)"/b",
		.state = (char *)"{}",
		.phase = (char *)"",
		.message = (char *)"",
	};

	ck_assert(ledger_job_add(ledger, &job, NULL));
	if (result != JOB_OPEN)
		ck_assert(ledger_job_end(ledger, job.id, result, "", NULL));
	return job.id;
}

/* ---- the tests ----------------------------------------------------------------------------- */

START_TEST(the_exit_status_is_that_of_the_worst_disk)
{
	static const struct {
		int code; /* of vda; vdb ends well */
		const char *result;
		int status;
		gboolean second;
	} cases[] = {
		{-1, "done", 0, TRUE},
		{BLOCKMIG_ERROR_PERMANENT, "rolled-back", 1, TRUE},
		{BLOCKMIG_ERROR_USAGE, NULL, 2, TRUE},
		{BLOCKMIG_ERROR_STOPPED, "interrupted", 3, FALSE},
		{BLOCKMIG_ERROR_TRANSIENT, "interrupted", 3, FALSE},
		{BLOCKMIG_ERROR_INTEGRITY, "rolled-back", 4, TRUE},
		{BLOCKMIG_ERROR_OPERATOR, "failed", 5, FALSE},
		{BLOCKMIG_ERROR_BUSY, NULL, 75, TRUE},
	};

	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		const struct ending disks[] = {
			{"vda", cases[i].code, cases[i].result}, {"vdb", -1, "done"}, {0}};

		endings = disks;
		ck_assert_int_eq(run(&command_migrate, "web --to nfs"), cases[i].status);
		ck_assert_str_eq(calls->str, cases[i].second
						     ? "move(web,vda,nfs) move(web,vdb,nfs) "
						     : "move(web,vda,nfs) ");
		ck_assert_ptr_nonnull(strstr(err_text, "sda: cdrom: skipped"));
		if (!cases[i].second)
			ck_assert_ptr_nonnull(strstr(err_text, "vdb: not begun"));
	}
}
END_TEST

START_TEST(what_needs_a_person_is_worse_than_what_comes_right_by_itself)
{
	static const int from_good_to_bad[] = {0, 3, 75, 2, 1, 4, 5};

	for (guint i = 0; i + 1 < G_N_ELEMENTS(from_good_to_bad); i++) {
		int better = from_good_to_bad[i], worse = from_good_to_bad[i + 1];

		ck_assert_int_eq(outcome_worst(better, worse), worse);
		ck_assert_int_eq(outcome_worst(worse, better), worse);
	}
}
END_TEST

START_TEST(only_the_disks_that_are_named_are_moved)
{
	static const struct ending disks[] = {{"vdc", -1, "done"}, {0}};

	endings = disks;
	ck_assert_int_eq(run(&command_migrate, "web vdc --to nfs"), 0);
	ck_assert_str_eq(calls->str, "move(web,vdc,nfs) ");
	ck_assert_int_eq(run(&command_migrate, "web vdc vdc --to nfs"), 2);
	ck_assert_str_eq(calls->str, "");
}
END_TEST

START_TEST(every_job_has_a_summary_and_it_is_the_last_line)
{
	static const struct ending disks[] = {
		{"vda", BLOCKMIG_ERROR_PERMANENT, NULL}, {"vdb", -1, "done"}, {0}};
	guint summaries = 0;

	endings = disks;
	ck_assert_int_eq(run(&command_migrate, "web --to nfs --json"), 1);
	g_auto(GStrv) lines = g_strsplit(out_text, "\n", -1);
	gboolean last = FALSE;

	for (guint i = 0; *lines[i]; i++) {
		json_t *line = json_loads(lines[i], 0, NULL);

		ck_assert_msg(line != NULL, "%s", lines[i]);
		last = !strcmp(json_string_value(json_object_get(line, "type")), "summary");
		summaries += last;
		json_decref(line);
	}
	ck_assert(last);
	ck_assert_uint_eq(summaries, 2);
}
END_TEST

START_TEST(a_refusal_before_any_job_ends_with_a_summary_too)
{
	static const char *const lines[] = {"web --json", "web --to nfs --json --workers none"};

	for (guint i = 0; i < G_N_ELEMENTS(lines); i++) {
		ck_assert_int_eq(run(&command_migrate, lines[i]), 2);
		ck_assert_ptr_nonnull(strstr(out_text, "\"type\":\"summary\",\"job\":0"));
		ck_assert_ptr_nonnull(strstr(out_text, "\"result\":\"failed\""));
		ck_assert(g_str_has_prefix(err_text, "blockmig: "));
	}
}
END_TEST

START_TEST(a_dry_run_is_a_plan)
{
	ck_assert_int_eq(run(&command_migrate, "web vda --to nfs --dry-run"), 0);
	ck_assert_str_eq(calls->str, "plan(web,vda,nfs) ");
	ck_assert_ptr_nonnull(strstr(out_text, "nothing was changed"));
}
END_TEST

START_TEST(an_obstacle_is_exit_status_1)
{
	obstacles = 2;
	ck_assert_int_eq(run(&command_plan, "web vda --to nfs"), 1);
	ck_assert_ptr_nonnull(strstr(out_text, "obstacle    too big"));
	ck_assert_int_eq(run(&command_plan, "web vda --to nfs --json"), 1);
	ck_assert_ptr_nonnull(strstr(out_text, "\"result\":\"refused\""));
}
END_TEST

START_TEST(a_copy_needs_no_libvirt)
{
	static const struct ending copies[] = {{"/a", -1, "done"}, {0}};

	endings = copies;
	session_fails = TRUE;
	ck_assert_int_eq(run(&command_copy, "/a /b"), 0);
	ck_assert_str_eq(calls->str, "copy(/a,/b) ");
}
END_TEST

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

START_TEST(with_nothing_to_resume_all_is_well)
{
	ck_assert_int_eq(run(&command_resume, "--json"), 0);
	ck_assert_ptr_nonnull(strstr(out_text, "no job was interrupted"));
	ck_assert_int_eq(run(&command_resume, "41"), 1);
	ck_assert_int_eq(run(&command_resume, "seven"), 2);
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

START_TEST(verify_takes_two_images_or_a_job)
{
	static const struct ending images[] = {
		{"/a", -1, NULL}, {"/c", BLOCKMIG_ERROR_INTEGRITY, NULL}, {0}};
	g_autofree char *job = g_strdup_printf("%" G_GINT64_FORMAT, add_job("copy", JOB_DONE));

	endings = images;
	ck_assert_int_eq(run(&command_verify, "/a /b --format qcow2 --from-format raw"), 0);
	ck_assert_str_eq(calls->str, "verify(/a:raw,/b:qcow2) ");
	ck_assert_ptr_nonnull(strstr(out_text, "equal: /a and /b"));
	ck_assert_int_eq(run(&command_verify, "/c /b --json"), 4);
	ck_assert_ptr_nonnull(strstr(out_text, "\"result\":\"failed\""));
	ck_assert_int_eq(run(&command_verify, job), 0);
	ck_assert_ptr_nonnull(strstr(calls->str, job));
	ck_assert_int_eq(run(&command_verify, "/a"), 2);
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

START_TEST(libvirt_that_does_not_answer_is_told_for_each_job)
{
	g_autofree char *job = g_strdup_printf("%" G_GINT64_FORMAT, add_job("migrate", JOB_OPEN));

	session_fails = TRUE;
	ck_assert_int_eq(run(&command_resume, job), 1);
	ck_assert_int_eq(run(&command_migrate, "web --to nfs"), 1);
	ck_assert_ptr_nonnull(strstr(err_text, "no libvirtd"));
}
END_TEST

START_TEST(ctrl_c_is_answered_once)
{
	struct reporter_options silent = {.out = stdout};
	size_t bytes;

	silent.err = open_memstream(&err_text, &bytes);
	struct reporter *reporter = reporter_new(&silent);
	struct stop_notice *notice = stop_notice_start(reporter);

	stop_request();
	/* The end waits for the watcher, which looks at the stop first. */
	stop_notice_end(notice);
	reporter_free(reporter);
	fclose(silent.err);
	ck_assert_str_eq(err_text, "stopping at the next checkpoint; again to stop at once\n");
}
END_TEST

START_TEST(the_guardian_is_given_its_pipe_and_its_job)
{
	ck_assert_int_eq(run(&command_guardian, "3 7"), 0);
	ck_assert_str_eq(calls->str, "guardian(3,7) ");
	ck_assert_int_eq(run(&command_guardian, "x 7"), 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("commands");
	TCase *tcase = tcase_create("commands");

	tcase_add_unchecked_fixture(tcase, temp_make, temp_remove);
	tcase_add_checked_fixture(tcase, make, unmake);
	tcase_add_test(tcase, the_exit_status_is_that_of_the_worst_disk);
	tcase_add_test(tcase, what_needs_a_person_is_worse_than_what_comes_right_by_itself);
	tcase_add_test(tcase, only_the_disks_that_are_named_are_moved);
	tcase_add_test(tcase, every_job_has_a_summary_and_it_is_the_last_line);
	tcase_add_test(tcase, a_refusal_before_any_job_ends_with_a_summary_too);
	tcase_add_test(tcase, a_dry_run_is_a_plan);
	tcase_add_test(tcase, an_obstacle_is_exit_status_1);
	tcase_add_test(tcase, a_copy_needs_no_libvirt);
	tcase_add_test(tcase, resume_carries_on_with_everything_that_was_interrupted);
	tcase_add_test(tcase, a_bare_copy_is_resumed_without_libvirt);
	tcase_add_test(tcase, with_nothing_to_resume_all_is_well);
	tcase_add_test(tcase, an_abort_that_put_everything_back_is_exit_status_0);
	tcase_add_test(tcase, verify_takes_two_images_or_a_job);
	tcase_add_test(tcase, status_tells_open_jobs_and_history_those_that_ended);
	tcase_add_test(tcase, a_job_that_this_process_holds_is_running_and_not_resumed);
	tcase_add_test(tcase, status_tells_how_far_the_newest_pass_is);
	tcase_add_test(tcase, libvirt_that_does_not_answer_is_told_for_each_job);
	tcase_add_test(tcase, ctrl_c_is_answered_once);
	tcase_add_test(tcase, the_guardian_is_given_its_pipe_and_its_job);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
