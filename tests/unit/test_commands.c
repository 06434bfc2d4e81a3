/*
 * The commands that begin something, over a real ledger and a move room that does as the
 * test says.
 */
#include "blockmig/cmd/outcome.h"
#include "blockmig/cmd/stop_notice.h"
#include "tests/unit/commands.h"
#include "transports/address.h"

#include <jansson.h>

static guint obstacles;

void move_plan_free(struct move_plan *plan)
{
	g_ptr_array_unref(plan->obstacles);
	g_free(plan);
}

gboolean move_start(struct move_context *context, const char *domain, const char *disk,
		    const char *to, struct move_summary **summary, GError **error)
{
	ck_assert_ptr_nonnull(context->session);
	ck_assert_ptr_nonnull(context->options);
	g_string_append_printf(calls, "move(%s,%s,%s) ", domain, disk, to);
	return end(disk, summary, error);
}

/* As a transport does whose connection is lost, and that finds the server elsewhere. */
static gboolean address_dies;

static void leave_address(void)
{
	struct address first = {.host = (char *)"10.0.0.1", .port = 2049};
	struct address second = {.host = (char *)"10.0.0.2", .port = 2049, .order = 1};
	gpointer candidates[] = {&first, &second};
	const GPtrArray all = {candidates, G_N_ELEMENTS(candidates)};

	address_use(&all, &first);
	address_blame(first.host, first.port, "nfs://a/b: flush: server 10.0.0.1:2049: gone");
	for (guint handle = 0; handle < 4; handle++)
		address_use(&all, &second);
}

gboolean image_copy_start(struct move_context *context, const char *source, const char *destination,
			  struct move_summary **summary, GError **error)
{
	ck_assert_ptr_null(context->session);
	g_string_append_printf(calls, "copy(%s,%s) ", source, destination);
	if (address_dies)
		leave_address();
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

int guardian_wait(int fd, gint64 job, const char *state_folder)
{
	(void)state_folder;
	g_string_append_printf(calls, "guardian(%d,%" G_GINT64_FORMAT ") ", fd, job);
	return 0;
}

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

/* A chap-file that has no password leaves it to libvirt. */
START_TEST(a_copy_asks_libvirt_for_a_secret_that_the_configuration_leaves_to_it)
{
	g_autofree char *chap = temp_path("chap"), *config = temp_path("blockmig.conf");
	g_autofree char *text =
		g_strdup_printf("[datastore san]\nurl=iscsi://h/iqn.x:t/\nsecret=guests\n"
				"chap-file=%s\n",
				chap);
	const struct ending copies[] = {{"/a.raw", -1, "done"}, {0}};

	ck_assert(g_file_set_contents_full(chap, "user=us\n", -1, G_FILE_SET_CONTENTS_NONE, 0600,
					   NULL));
	ck_assert(g_file_set_contents(config, text, -1, NULL));
	endings = copies;
	ck_assert_int_eq(run(&command_copy, "/a.raw /b.raw"), 0);
	ck_assert_str_eq(calls->str, "secret(guests) copy(/a.raw,/b.raw) ");
	session_fails = TRUE;
	ck_assert_int_eq(run(&command_copy, "/a.raw /b.raw"), 1);
	ck_assert_ptr_nonnull(strstr(err_text, "no libvirtd"));
}
END_TEST

START_TEST(an_address_that_dies_is_told_once)
{
	static const char text[] =
		"nfs://a/b: flush: server 10.0.0.1:2049: gone; going on at 10.0.0.2:2049";
	const struct ending copies[] = {{"/a.raw", -1, "done"}, {0}};
	const char *found;

	endings = copies;
	address_dies = TRUE;
	ck_assert_int_eq(run(&command_copy, "/a.raw nfs://a/b --json"), 0);
	found = strstr(out_text, text);
	ck_assert_ptr_nonnull(found);
	ck_assert_ptr_null(strstr(found + 1, text));
	ck_assert_ptr_nonnull(strstr(out_text, "{\"type\":\"warning\""));
	ck_assert_ptr_nonnull(strstr(err_text, "blockmig: warning: nfs://a/b: flush"));
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

START_TEST(libvirt_that_does_not_answer_is_told)
{
	session_fails = TRUE;
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
	tcase_add_test(tcase, a_copy_asks_libvirt_for_a_secret_that_the_configuration_leaves_to_it);
	tcase_add_test(tcase, an_address_that_dies_is_told_once);
	tcase_add_test(tcase, verify_takes_two_images_or_a_job);
	tcase_add_test(tcase, libvirt_that_does_not_answer_is_told);
	tcase_add_test(tcase, ctrl_c_is_answered_once);
	tcase_add_test(tcase, the_guardian_is_given_its_pipe_and_its_job);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
