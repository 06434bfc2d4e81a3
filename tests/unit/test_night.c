/* The morning report in its three forms. */
#include "blockmig/report/night.h"
#include "blockmig/report/reporter.h"
#include "common/error.h"
#include "tests/unit/copying.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct evacuation *evacuation;

static void rest_clear(gpointer pointer)
{
	struct evacuation_rest *rest = pointer;

	g_free(rest->domain);
	g_free(rest->what);
	g_free(rest->kind);
	g_free(rest->reason);
	g_free(rest);
}

static struct dispatch_move *add(const char *domain, enum dispatch_state state, const char *reason)
{
	struct dispatch *dispatch = evacuation->dispatch;
	struct dispatch_move *move = dispatch_add_move(
		dispatch, domain, "vda", dispatch_add_target(dispatch, "array"), "array");

	move->state = state;
	move->reason = g_strdup(reason);
	return move;
}

static void add_rest(GPtrArray *list, const char *domain, const char *what, const char *kind,
		     const char *reason)
{
	struct evacuation_rest *rest = g_new0(struct evacuation_rest, 1);

	*rest = (struct evacuation_rest){g_strdup(domain), g_strdup(what), g_strdup(kind),
					 g_strdup(reason)};
	g_ptr_array_add(list, rest);
}

static void setup(void)
{
	evacuation = g_new0(struct evacuation, 1);
	evacuation->datastore = g_strdup("filer \"1\"");
	evacuation->dispatch = dispatch_new(NULL, NULL);
	evacuation->stays = g_ptr_array_new_with_free_func(rest_clear);
	evacuation->residue = g_ptr_array_new_with_free_func(rest_clear);
	evacuation->begun_s = 1792670400;
	evacuation->ended_s = 1792670400 + 100;
}

static void teardown(void)
{
	evacuation_free(evacuation);
}

/* One night with something of everything. */
static void mixed_night(void)
{
	struct dispatch_move *web = add("web", DISPATCH_MOVED, NULL);
	struct dispatch_move *db = add("db", DISPATCH_HELD, "stopped as asked");

	web->outcome.bytes_sent = 200 << 20;
	web->outcome.copy_ms = 10000;
	web->outcome.downtime_ms = 84;
	db->outcome.bytes_sent = 100 << 20;
	db->outcome.bytes_resent = 64 << 20;
	db->job = 12;
	add("mail", DISPATCH_FAILED, "the filer said no");
	web->target->bytes_per_second = 20 << 20;
	add_rest(evacuation->stays, "usb", "vdb", "obstacle", "it is shareable");
	add_rest(evacuation->residue, "uefi", "/vol1/uefi.fd", "nvram", "move it by hand");
	evacuation->opens_s = 1792706400; /* 22 October 2026, 22:00 UTC */
}

START_TEST(the_text_names_whatever_did_not_move)
{
	mixed_night();
	g_autofree char *text = night_text(evacuation);

	ck_assert_str_eq(
		text,
		"evacuation of filer \"1\": 1 disk moved, 1 held, 1 failed, 1 cannot be moved; not "
		"empty\n"
		"  300 MiB sent (64 MiB of it again) in 1m40s, 3 MiB/s; the longest that a guest "
		"stood still: 84 ms (web)\n"
		"  held        db/vda -> array: stopped as asked (job 12)\n"
		"  failed      mail/vda -> array: the filer said no\n"
		"  stays       usb vdb: it is shareable\n"
		"  residue     uefi /vol1/uefi.fd: move it by hand\n"
		"  the same command goes on with what is left; the window opens at "
		"Thu 22 Oct 22:00 UTC\n");
}
END_TEST

START_TEST(a_destination_that_was_given_up_is_named_once)
{
	add("web", DISPATCH_UNSENT, "nothing more is sent to array");
	((struct dispatch_target *)g_ptr_array_index(evacuation->dispatch->targets, 0))->broken =
		g_strdup("nothing more is sent to array: 3 moves failed");
	g_autofree char *text = night_text(evacuation);

	ck_assert_ptr_nonnull(strstr(text, "\n  nothing more is sent to array: 3 moves failed\n"));
	ck_assert_ptr_nonnull(strstr(text, "0 disks moved, 1 not sent; not empty"));
}
END_TEST

START_TEST(json_has_it_all_in_one_line)
{
	mixed_night();
	g_autofree char *text = night_json(evacuation);
	json_t *line = json_loads(text, 0, NULL);
	const char *type, *result, *state, *reason, *path;
	json_int_t sent, downtime, rate, moved, held;
	int status, empty;

	ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
	ck_assert_int_eq(json_unpack(line,
				     "{s:s, s:s, s:i, s:b, s:I, s:I, s:I, s:I,"
				     " s:[{s:I}, {s:s, s:s}, {}], s:[{s:s}]}",
				     "type", &type, "result", &result, "exit", &status, "empty",
				     &empty, "bytes_sent", &sent, "downtime_ms", &downtime, "moved",
				     &moved, "held", &held, "moves", "bytes_per_second", &rate,
				     "state", &state, "reason", &reason, "residue", "path", &path),
			 0);
	ck_assert_str_eq(type, "summary");
	ck_assert_str_eq(result, "partial");
	ck_assert_int_eq(status, 6);
	ck_assert(!empty);
	ck_assert_int_eq(sent, 300 << 20);
	ck_assert_int_eq(downtime, 84);
	ck_assert_int_eq(rate, 20 << 20);
	ck_assert_int_eq(moved, 1);
	ck_assert_int_eq(held, 1);
	ck_assert_str_eq(state, "held");
	ck_assert_str_eq(reason, "stopped as asked");
	ck_assert_str_eq(path, "/vol1/uefi.fd");
	json_decref(line);
}
END_TEST

/* NAME{LABEL="VALUE",...} NUMBER, and no timestamp behind it. */
START_TEST(every_metric_is_one_that_node_exporter_reads)
{
	mixed_night();
	g_autofree char *text = night_metrics(evacuation);
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	guint samples = 0;

	for (char **line = lines; **line; line++) {
		gboolean comment =
			g_regex_match_simple("^# (HELP blockmig_evacuation_[a-z_]+ [^\n]+[.]|TYPE "
					     "blockmig_evacuation_[a-z_]+ gauge)$",
					     *line, 0, 0);
		gboolean sample = g_regex_match_simple(
			"^blockmig_evacuation_[a-z_]+\\{datastore=\"filer \\\\\"1\\\\\"\""
			"(,[a-z]+=\"[^\"\\\\]*\")?\\} [0-9.e+]+$",
			*line, 0, 0);

		ck_assert_msg(comment || sample, "%s", *line);
		samples += sample;
	}
	ck_assert_uint_eq(samples, 8 + 1 + 8);
	ck_assert_ptr_nonnull(strstr(text, "state=\"moved\"} 1\n"));
	ck_assert_ptr_nonnull(
		strstr(text, "downtime_seconds{datastore=\"filer \\\"1\\\"\"} 0.084"));
	ck_assert_ptr_nonnull(strstr(text, "destination=\"array\"} 20971520\n"));
}
END_TEST

START_TEST(a_file_has_the_form_that_its_name_asks_for)
{
	static const char *const names[] = {"a.prom", "a.json", "a.txt"};
	static const char *const begin[] = {"# HELP", "{\"type\"", "evacuation of"};
	g_autofree char *folder = folder_make("reports");
	g_autofree char *path = g_build_filename(folder, names[_i], NULL);
	g_autofree char *text = NULL;
	struct stat st;

	/* Twice: the second one takes the place of the first. */
	for (int i = 0; i < 2; i++)
		ck_assert(night_write(evacuation, path, NULL));
	ck_assert(g_file_get_contents(path, &text, NULL, NULL));
	ck_assert(g_str_has_prefix(text, begin[_i]));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0644);
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);

	/* Nothing was left beside it. */
	ck_assert_str_eq(g_dir_read_name(dir), names[_i]);
	ck_assert_ptr_null(g_dir_read_name(dir));
	folder_remove(folder);
}
END_TEST

START_TEST(a_file_that_cannot_be_written_is_named)
{
	g_autoptr(GError) error = NULL;

	ck_assert(!night_write(evacuation, "/nowhere/report.prom", &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_PERMANENT));
	ck_assert_ptr_nonnull(strstr(error->message, "/nowhere/report.prom"));
}
END_TEST

/* What the text sink says where: cron makes a mail of every word. */
static void told(gboolean quiet, gboolean loud, const char *out, const char *err)
{
	char *texts[2] = {NULL, NULL};
	size_t lengths[2];
	FILE *files[2] = {open_memstream(&texts[0], &lengths[0]),
			  open_memstream(&texts[1], &lengths[1])};
	struct reporter *reporter = reporter_new(
		&(struct reporter_options){.out = files[0], .err = files[1], .quiet = quiet});

	reporter_night(reporter, evacuation, loud);
	reporter_free(reporter);
	fclose(files[0]);
	fclose(files[1]);
	ck_assert_msg(g_str_has_prefix(texts[0], out) && !*texts[0] == !*out, "%s", texts[0]);
	ck_assert_msg(g_str_has_prefix(texts[1], err) && !*texts[1] == !*err, "%s", texts[1]);
	free(texts[0]);
	free(texts[1]);
}

START_TEST(success_is_silent_and_anything_else_is_not)
{
	evacuation->empty = TRUE;
	told(FALSE, FALSE, "", "");
	told(TRUE, TRUE, "", "");
	told(FALSE, TRUE, "evacuation of", "");
	evacuation->empty = FALSE;
	told(TRUE, FALSE, "", "evacuation of");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("night");
	TCase *tests = tcase_create("night");
	SRunner *runner = srunner_create(suite);
	int failed;

	g_setenv("TZ", "UTC", TRUE);
	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, the_text_names_whatever_did_not_move);
	tcase_add_test(tests, a_destination_that_was_given_up_is_named_once);
	tcase_add_test(tests, json_has_it_all_in_one_line);
	tcase_add_test(tests, every_metric_is_one_that_node_exporter_reads);
	tcase_add_loop_test(tests, a_file_has_the_form_that_its_name_asks_for, 0, 3);
	tcase_add_test(tests, a_file_that_cannot_be_written_is_named);
	tcase_add_test(tests, success_is_silent_and_anything_else_is_not);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
