#include "blockmig/report/meter.h"
#include "blockmig/report/reporter.h"
#include "blockmig/report/table.h"
#include "common/error.h"
#include "common/units.h"

#include <check.h>
#include <jansson.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* What a reporter wrote. */
struct output {
	FILE *out, *err;
	char *out_text, *err_text;
	size_t out_bytes, err_bytes;
};

static struct reporter *start(struct output *output, struct reporter_options options)
{
	output->out = open_memstream(&output->out_text, &output->out_bytes);
	output->err = open_memstream(&output->err_text, &output->err_bytes);
	options.out = output->out;
	options.err = output->err;
	return reporter_new(&options);
}

static void finish(struct output *output, struct reporter *reporter)
{
	reporter_free(reporter);
	fclose(output->out);
	fclose(output->err);
}

static void output_free(struct output *output)
{
	free(output->out_text);
	free(output->err_text);
}

/* The summary that the tests tell; the strings are constants that nobody frees. */
static struct move_summary sample(GPtrArray *phases)
{
	return (struct move_summary){
		.job = 7,
		.kind = (char *)"migrate",
		.domain = (char *)"web",
		.disk = (char *)"vda",
		.result = (char *)"done",
		.source = (char *)"/srv/local/web.raw",
		.destination = (char *)"iscsi://array/iqn.2026-01.com.example:t1/3",
		.totals = {.bytes_total = 512 * MiB,
			   .bytes_data = 300 * MiB,
			   .bytes_sent = 280 * MiB,
			   .bytes_resent = 4 * MiB,
			   .bytes_skipped = 20 * MiB,
			   .units_total = 128,
			   .units_proven = 128},
		.sha256 = (char *)"ab12",
		.rounds = 3,
		.downtime_ms = 120,
		.seconds = 12.5,
		.phases = phases,
		.guarantee = (char *)"proven",
		.source_allocated_bytes = 300 * MiB,
		.destination_allocated_bytes = G_MAXUINT64,
	};
}

static json_t *last_line(const char *text)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	guint count = g_strv_length(lines);

	ck_assert_uint_ge(count, 2);
	ck_assert_str_eq(lines[count - 1], "");
	json_t *line = json_loads(lines[count - 2], 0, NULL);

	ck_assert_ptr_nonnull(line);
	return line;
}

START_TEST(a_summary_in_json_has_every_field_of_the_contract)
{
	static const char *const integers[] = {
		"job",		 "bytes_total",	 "bytes_data",	  "bytes_sent", "bytes_resent",
		"bytes_skipped", "chunks_total", "chunks_proven", "rounds",	"downtime_ms"};
	static const char *const strings[] = {"type",	     "result", "source",
					      "destination", "sha256", "guarantee"};
	struct phase_time seed = {(char *)"seed", 1.5};
	g_autoptr(GPtrArray) phases = g_ptr_array_new();
	struct output output;
	struct reporter *reporter = start(&output, (struct reporter_options){.json = TRUE});

	g_ptr_array_add(phases, &seed);
	struct move_summary summary = sample(phases);

	reporter_summary(reporter, &summary);
	finish(&output, reporter);

	json_t *line = last_line(output.out_text);

	for (guint i = 0; i < G_N_ELEMENTS(integers); i++)
		ck_assert_msg(json_is_integer(json_object_get(line, integers[i])), "%s",
			      integers[i]);
	for (guint i = 0; i < G_N_ELEMENTS(strings); i++)
		ck_assert_msg(json_is_string(json_object_get(line, strings[i])), "%s", strings[i]);
	ck_assert(json_is_real(json_object_get(line, "seconds")));
	json_t *phase = json_array_get(json_object_get(line, "phases"), 0);

	ck_assert_str_eq(json_string_value(json_object_get(phase, "name")), "seed");
	ck_assert_double_eq(json_real_value(json_object_get(phase, "seconds")), 1.5);
	ck_assert_int_eq(json_integer_value(json_object_get(line, "bytes_sent")), 280 * MiB);
	ck_assert(json_is_null(json_object_get(line, "destination_allocated_bytes")));
	json_decref(line);
	output_free(&output);
}
END_TEST

START_TEST(an_error_is_on_stderr_as_text_and_on_stdout_as_json)
{
	struct output output;
	struct reporter *reporter = start(&output, (struct reporter_options){.json = TRUE});
	g_autoptr(GError) error =
		g_error_new_literal(BLOCKMIG_ERROR, BLOCKMIG_ERROR_INTEGRITY, "vda: differs");

	reporter_error(reporter, 7, error, 4);
	finish(&output, reporter);
	json_t *line = last_line(output.out_text);

	ck_assert_str_eq(output.err_text, "blockmig: job 7: vda: differs\n");
	ck_assert_str_eq(json_string_value(json_object_get(line, "type")), "error");
	ck_assert_int_eq(json_integer_value(json_object_get(line, "exit")), 4);
	json_decref(line);
	output_free(&output);
}
END_TEST

START_TEST(text_that_is_no_utf8_is_still_a_line_of_json)
{
	struct output output;
	struct reporter *reporter = start(&output, (struct reporter_options){.json = TRUE});

	reporter_warning(reporter, 7, "/srv/\xff\xfe.img");
	finish(&output, reporter);
	json_decref(last_line(output.out_text));
	output_free(&output);
}
END_TEST

START_TEST(an_interrupted_job_is_told_with_the_command_that_resumes_it)
{
	static const struct {
		const char *text;
		const char *wanted;
	} cases[] = {
		{"stopped",
		 "blockmig: job 7: stopped\nblockmig: carry on with: blockmig resume 7\n"},
		/* Said once is enough, the number too. */
		{"job 7 waits for blockmig resume 7",
		 "blockmig: job 7 waits for blockmig resume 7\n"},
		{"job 70: blockmig resume 7", "blockmig: job 7: job 70: blockmig resume 7\n"},
		{"job 7: blockmig resume 7 does it",
		 "blockmig: job 7: blockmig resume 7 does it\n"},
		{"away (blockmig resume 7 carries on)",
		 "blockmig: job 7: away (blockmig resume 7 carries on)\n"},
	};

	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct output output;
		struct reporter *reporter =
			start(&output, (struct reporter_options){.quiet = TRUE});
		g_autoptr(GError) error =
			g_error_new_literal(BLOCKMIG_ERROR, BLOCKMIG_ERROR_STOPPED, cases[i].text);

		reporter_error(reporter, 7, error, 3);
		finish(&output, reporter);
		ck_assert_str_eq(output.err_text, cases[i].wanted);
		output_free(&output);
	}
}
END_TEST

START_TEST(quiet_silences_all_but_errors)
{
	struct output output;
	struct reporter *reporter =
		start(&output, (struct reporter_options){.quiet = TRUE, .progress = TRUE});
	const struct move_reporter *move = reporter_move(reporter);
	struct copy_progress progress = {.bytes_total = MiB};
	struct move_summary summary = sample(NULL);

	move->phase(7, "seed", FALSE, TRUE, move->data);
	move->progress(7, "seed", 0, &progress, move->data);
	move->warning(7, "no guest agent", move->data);
	reporter_summary(reporter, &summary);
	finish(&output, reporter);
	ck_assert_str_eq(output.out_text, "");
	ck_assert_str_eq(output.err_text, "");
	output_free(&output);
}
END_TEST

START_TEST(a_summary_in_text_says_what_was_proven)
{
	struct output output;
	struct reporter *reporter = start(&output, (struct reporter_options){0});
	struct move_summary summary = sample(NULL);

	reporter_summary(reporter, &summary);
	finish(&output, reporter);
	ck_assert_ptr_nonnull(strstr(output.out_text, "job 7: web vda moved"));
	ck_assert_ptr_nonnull(strstr(output.out_text, "128 of 128 chunks proven"));
	ck_assert_ptr_nonnull(strstr(output.out_text, "stood still for 120 ms"));
	ck_assert_ptr_nonnull(strstr(output.out_text, "guarantee: proven"));
	ck_assert_str_eq(output.err_text, "");
	output_free(&output);
}
END_TEST

START_TEST(without_a_terminal_there_is_progress_only_where_it_is_asked_for)
{
	struct copy_progress progress = {.bytes_total = 4 * MiB, .bytes_done = MiB};

	for (int asked = 0; asked <= 1; asked++) {
		struct output output;
		struct reporter *reporter =
			start(&output, (struct reporter_options){.progress = asked});
		const struct move_reporter *move = reporter_move(reporter);

		/* Two at once: the second one comes too early for another line. */
		move->progress(7, "seed", 0, &progress, move->data);
		move->progress(7, "seed", 0, &progress, move->data);
		finish(&output, reporter);
		ck_assert_str_eq(output.err_text, asked ? "job 7 seed 25% 1 MiB of 4 MiB\n" : "");
		output_free(&output);
	}
}
END_TEST

/* What arrives at the other end of a terminal that is @columns wide. */
static char *show_on_terminal(gushort columns, gboolean verbose,
			      void (*tell)(const struct move_reporter *move))
{
	struct winsize size = {.ws_col = columns, .ws_row = 24};
	char text[4096];
	int ours, theirs;

	ck_assert_int_eq(openpty(&ours, &theirs, NULL, NULL, &size), 0);
	FILE *err = fdopen(theirs, "w");
	struct reporter *reporter = reporter_new(&(struct reporter_options){
		.out = err, .err = err, .terminal = TRUE, .verbose = verbose});

	setvbuf(err, NULL, _IOFBF, sizeof(text));
	tell(reporter_move(reporter));
	ssize_t got = read(ours, text, sizeof(text) - 1);

	ck_assert_int_gt(got, 0);
	text[got] = '\0';
	reporter_free(reporter);
	fclose(err);
	close(ours);
	return g_strdup(text);
}

static void tell_progress(const struct move_reporter *move)
{
	struct copy_progress progress = {
		.bytes_total = 4 * GiB, .bytes_done = GiB, .bytes_proven = GiB / 2};

	move->progress(7, "rounds", 2, &progress, move->data);
}

static void tell_phase(const struct move_reporter *move)
{
	move->phase(7, "seed", FALSE, TRUE, move->data);
}

START_TEST(a_line_of_text_stands_above_the_bar)
{
	g_autofree char *text = show_on_terminal(80, TRUE, tell_phase);

	ck_assert_str_eq(text, "job 7: seed begins\r\njob 7 seed");
}
END_TEST

START_TEST(the_bar_fits_the_terminal_and_is_one_line)
{
	static const gushort widths[] = {10, 20, 40, 80, 200};

	for (guint i = 0; i < G_N_ELEMENTS(widths); i++) {
		g_autofree char *text = show_on_terminal(widths[i], FALSE, tell_progress);

		ck_assert(g_str_has_prefix(text, "\r\033[Kjob 7"));
		ck_assert_ptr_null(strchr(text, '\n'));
		ck_assert_uint_lt(strlen(text) - strlen("\r\033[K"), widths[i]);
	}
	g_autofree char *wide = show_on_terminal(120, FALSE, tell_progress);

	ck_assert_ptr_nonnull(strstr(wide, "job 7 rounds round 2 [#######....."));
	ck_assert_ptr_nonnull(strstr(wide, " 25% 1 GiB of 4 GiB"));
	ck_assert_ptr_nonnull(strstr(wide, "proven 12%"));
}
END_TEST

START_TEST(a_meter_tells_rate_and_time_left)
{
	struct meter meter = {0};
	struct copy_progress progress = {.bytes_total = 100 * MiB};

	meter_update(&meter, &progress, 1000000);
	ck_assert_int_eq(meter_left_ms(&meter, &progress), -1);
	progress.bytes_done = 10 * MiB;
	meter_update(&meter, &progress, 2000000);
	ck_assert_double_eq_tol(meter.copied_per_second, 10 * MiB, 1);
	ck_assert_int_eq(meter_left_ms(&meter, &progress), 9000);

	/* The read-back is the slower half. */
	progress.bytes_done = 20 * MiB;
	progress.bytes_proven = 5 * MiB;
	meter_update(&meter, &progress, 3000000);
	ck_assert_int_eq(meter_left_ms(&meter, &progress), 19000);
}
END_TEST

START_TEST(a_meter_begins_anew_with_another_pass)
{
	struct meter meter = {0};
	struct copy_progress progress = {.bytes_total = 100 * MiB, .bytes_done = 50 * MiB};

	meter_update(&meter, &progress, 1000000);
	progress = (struct copy_progress){.bytes_total = 2 * MiB, .bytes_done = 0};
	meter_update(&meter, &progress, 2000000);
	ck_assert_double_eq(meter.copied_per_second, 0);
	/* Time that stands still divides nothing by zero. */
	progress.bytes_done = MiB;
	meter_update(&meter, &progress, 2000000);
	ck_assert_double_eq(meter.copied_per_second, 0);
}
END_TEST

START_TEST(nothing_to_copy_is_all_of_it)
{
	struct meter_line line = {.job = 1, .phase = "seed"};
	g_autofree char *text = meter_format(&line, 0);

	ck_assert_str_eq(text, "job 1 seed 100% 0 B of 0 B, 0 ms left");
}
END_TEST

START_TEST(a_table_is_as_wide_as_its_cells)
{
	static const char *const heads[] = {"A", "LONG", "C", NULL};
	static const char *const cells[] = {"first", "x", "last one"};
	AUTO(table) table = table_new(heads);

	table_add(table, cells);
	table_add_remark(table, "and why");
	g_autofree char *text = table_format(table);

	ck_assert_str_eq(text, "A      LONG  C\n"
			       "first  x     last one\n"
			       "    and why\n");
}
END_TEST

START_TEST(a_job_is_running_only_where_a_process_holds_it)
{
	struct ledger_job job = {.result = JOB_OPEN};

	ck_assert_str_eq(job_view_state(&(struct job_view){.job = &job}), "interrupted");
	ck_assert_str_eq(job_view_state(&(struct job_view){.job = &job, .holder = 42}), "running");
	job.result = JOB_ROLLED_BACK;
	ck_assert_str_eq(job_view_state(&(struct job_view){.job = &job}), "rolled-back");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("report");
	TCase *tcase = tcase_create("report");

	tcase_add_test(tcase, a_summary_in_json_has_every_field_of_the_contract);
	tcase_add_test(tcase, an_error_is_on_stderr_as_text_and_on_stdout_as_json);
	tcase_add_test(tcase, text_that_is_no_utf8_is_still_a_line_of_json);
	tcase_add_test(tcase, an_interrupted_job_is_told_with_the_command_that_resumes_it);
	tcase_add_test(tcase, quiet_silences_all_but_errors);
	tcase_add_test(tcase, a_summary_in_text_says_what_was_proven);
	tcase_add_test(tcase, without_a_terminal_there_is_progress_only_where_it_is_asked_for);
	tcase_add_test(tcase, the_bar_fits_the_terminal_and_is_one_line);
	tcase_add_test(tcase, a_line_of_text_stands_above_the_bar);
	tcase_add_test(tcase, a_meter_tells_rate_and_time_left);
	tcase_add_test(tcase, a_meter_begins_anew_with_another_pass);
	tcase_add_test(tcase, nothing_to_copy_is_all_of_it);
	tcase_add_test(tcase, a_table_is_as_wide_as_its_cells);
	tcase_add_test(tcase, a_job_is_running_only_where_a_process_holds_it);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
