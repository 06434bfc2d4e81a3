#include "blockmig/cmd/command.h"
#include "blockmig/cmd/settings.h"
#include "common/error.h"
#include "common/units.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct options options;
static struct config config;

static void make(void)
{
	options_init(&options);
	config = (struct config){
		.path = (char *)"blockmig.conf",
		.defaults = g_hash_table_new(g_str_hash, g_str_equal),
	};
}

static void unmake(void)
{
	options_clear(&options);
	g_hash_table_unref(config.defaults);
}

static gboolean parse(const struct command *command, const char *line, GError **error)
{
	g_autofree char *text = g_strdup_printf("%s %s", command->name, line);
	g_auto(GStrv) words = g_strsplit(text, " ", -1);

	return options_parse(&options, command, (int)g_strv_length(words), words, error);
}

static gboolean migrate(const char *line, GError **error)
{
	g_autofree char *text = g_strdup_printf("web --to nfs %s", line);

	return parse(&command_migrate, g_strchomp(text), error) &&
	       options_complete(&options, &config, error);
}

START_TEST(every_option_of_a_move_arrives)
{
	ck_assert(migrate("--bwlimit 200M --format=qcow2 --verify none --retry-for 90s "
			  "--chunk-size 8M --workers 3 --overwrite --method seeded "
			  "--max-downtime 250ms --on-failure rollback --converge wait --scratch "
			  "/tmp --quiesce "
			  "--keep-partial --delete-source -c qemu:///system vda",
			  NULL));
	const struct move_options *move = &options.move;

	ck_assert_uint_eq(move->bwlimit, 200 * MiB);
	ck_assert_str_eq(move->format, "qcow2");
	ck_assert(!move->verify);
	ck_assert_uint_eq(move->retry_for_ms, 90000);
	ck_assert_uint_eq(move->chunk_bytes, 8 * MiB);
	ck_assert_uint_eq(move->workers, 3);
	ck_assert_uint_eq(move->max_downtime_ms, 250);
	ck_assert_int_eq(move->on_failure, ON_FAILURE_ROLLBACK);
	ck_assert_int_eq(move->converge, CONVERGE_WAIT);
	ck_assert_str_eq(move->scratch, "/tmp");
	ck_assert(move->overwrite && move->quiesce && move->keep_partial && move->delete_source);
	ck_assert_str_eq(options.connect, "qemu:///system");
	ck_assert_str_eq(options.to, "nfs");
	ck_assert_str_eq(options.arguments[0], "web");
	ck_assert_str_eq(options.arguments[1], "vda");
	ck_assert_ptr_null(options.arguments[2]);
}
END_TEST

START_TEST(what_is_not_said_is_the_default)
{
	ck_assert(migrate("", NULL));
	ck_assert_str_eq(options.move.format, "keep");
	ck_assert_uint_eq(options.move.max_downtime_ms, 500);
	ck_assert_uint_eq(options.move.retry_for_ms, 600000);
	ck_assert_int_eq(options.move.on_failure, ON_FAILURE_HOLD);
	ck_assert_int_eq(options.move.converge, CONVERGE_THROTTLE);
	ck_assert(options.move.verify);
	ck_assert(!options.move.delete_source && !options.move.overwrite);
}
END_TEST

START_TEST(a_wrong_value_is_named_with_its_option)
{
	static const char *const lines[] = {
		"--bwlimit fast",  "--format vmdk",   "--verify some",	  "--retry-for 5x",
		"--chunk-size 3M", "--chunk-size 1G", "--workers 0",	  "--workers many",
		"--method mirror", "--on-failure x",  "--max-downtime -", "--scratch relative",
		"--converge slow",
	};

	for (guint i = 0; i < G_N_ELEMENTS(lines); i++) {
		g_auto(GStrv) words = g_strsplit(lines[i], " ", 2);
		g_autoptr(GError) error = NULL;

		ck_assert_msg(!migrate(lines[i], &error), "%s", lines[i]);
		ck_assert_msg(error_is(error, BLOCKMIG_ERROR_USAGE), "%s", lines[i]);
		ck_assert_msg(g_str_has_prefix(error->message, words[0]), "%s", error->message);
		ck_assert_ptr_nonnull(strstr(error->message, words[1]));
		unmake();
		make();
	}
}
END_TEST

START_TEST(a_method_that_is_not_there_yet_is_said_to_be_so)
{
	g_autoptr(GError) error = NULL;

	ck_assert(!migrate("--method mirror", &error));
	ck_assert_ptr_nonnull(strstr(error->message, "seeded is the only one"));
}
END_TEST

START_TEST(the_configuration_fills_what_was_not_said)
{
	config.bwlimit = 50 * MiB;
	g_hash_table_insert(config.defaults, (void *)"max-downtime", (void *)"2s");
	g_hash_table_insert(config.defaults, (void *)"quiesce", (void *)"yes");
	g_hash_table_insert(config.defaults, (void *)"workers", (void *)"4");
	g_hash_table_insert(config.defaults, (void *)"connect", (void *)"qemu:///session");
	ck_assert(migrate("--workers 2", NULL));
	ck_assert_uint_eq(options.move.bwlimit, 50 * MiB);
	ck_assert_uint_eq(options.move.max_downtime_ms, 2000);
	ck_assert(options.move.quiesce);
	ck_assert_uint_eq(options.move.workers, 2);
	ck_assert_str_eq(options.connect, "qemu:///session");
}
END_TEST

START_TEST(a_key_that_is_wrong_is_named_with_its_file)
{
	static const struct {
		const char *key, *value, *wanted;
	} cases[] = {
		{"max-downtime", "soon", "blockmig.conf: [blockmig] max-downtime: "},
		{"max-downtme", "1s", "blockmig.conf: [blockmig] has no key \"max-downtme\""},
		{"quiesce", "perhaps", "blockmig.conf: [blockmig] quiesce: "},
		/* A forgotten line in a file must not delete anything. */
		{"delete-source", "yes", "blockmig.conf: [blockmig] delete-source: it destroys"},
		{"overwrite", "yes", "blockmig.conf: [blockmig] overwrite: it destroys"},
	};

	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;

		g_hash_table_remove_all(config.defaults);
		g_hash_table_insert(config.defaults, (void *)cases[i].key, (void *)cases[i].value);
		ck_assert(!options_complete(&options, &config, &error));
		ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
		ck_assert_msg(g_str_has_prefix(error->message, cases[i].wanted), "%s",
			      error->message);
	}
}
END_TEST

START_TEST(a_command_line_that_says_too_little_or_nonsense_is_refused)
{
	static const struct {
		const struct command *command;
		const char *line;
	} cases[] = {
		{&command_migrate, "web"},
		{&command_migrate, "--to nfs"},
		{&command_migrate, "web --to"},
		{&command_migrate, "web --to nfs --nonsense"},
		{&command_copy, "only-one"},
		{&command_copy, "a b c"},
		{&command_verify, "a b c"},
		{&command_abort, "1 2"},
		{&command_status, "1 2"},
		{&command_history, "1"},
		{&command_status, "--delete-source"},
		{&command_copy, "a b --quiesce"},
	};

	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;

		ck_assert_msg(!parse(cases[i].command, cases[i].line, &error), "%s", cases[i].line);
		ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
		ck_assert_ptr_nonnull(strstr(error->message, cases[i].command->name));
		unmake();
		make();
	}
}
END_TEST

START_TEST(a_copy_is_told_both_formats)
{
	ck_assert(parse(&command_copy, "a.vmdk b --from-format vmdk --format raw", NULL));
	ck_assert(options_complete(&options, &config, NULL));
	ck_assert_str_eq(options.move.from_format, "vmdk");
	ck_assert_str_eq(options.move.format, "raw");
}
END_TEST

START_TEST(two_images_are_told_a_format_each)
{
	ck_assert(parse(&command_verify, "a b --from-format vmdk --format qcow2", NULL));
	ck_assert_str_eq(options.a_format, "vmdk");
	ck_assert_str_eq(options.b_format, "qcow2");
}
END_TEST

/* A script that always names its libvirt need not know which commands ask it. */
START_TEST(every_command_takes_the_common_options)
{
	static const struct command *const commands[] = {&command_status, &command_history,
							 &command_resume};

	for (guint i = 0; i < G_N_ELEMENTS(commands); i++) {
		ck_assert(parse(commands[i], "-c qemu:///system --config f --json -q -v --progress",
				NULL));
		ck_assert_str_eq(options.connect, "qemu:///system");
		ck_assert(options.json && options.quiet && options.verbose && options.progress);
		unmake();
		make();
	}
}
END_TEST

/* What the command line says, and nothing that is only a default. */
START_TEST(a_job_is_told_anew_what_may_change)
{
	struct move_options job;

	move_options_init(&job);
	job.retry_for_ms = 7;
	job.max_downtime_ms = 9;
	config.bwlimit = 50 * MiB;
	g_hash_table_insert(config.defaults, (void *)"max-downtime", (void *)"2s");
	ck_assert(parse(&command_resume, "3 --bwlimit 10M --converge fail --on-failure rollback",
			NULL));
	ck_assert(options_complete(&options, &config, NULL));
	options_amend(&job, &options);
	ck_assert_uint_eq(job.bwlimit, 10 * MiB);
	ck_assert_int_eq(job.converge, CONVERGE_FAIL);
	ck_assert_int_eq(job.on_failure, ON_FAILURE_ROLLBACK);
	ck_assert_uint_eq(job.retry_for_ms, 7);
	ck_assert_uint_eq(job.max_downtime_ms, 9);
	move_options_clear(&job);
}
END_TEST

/* The same command again does not change what was begun in another way. */
START_TEST(a_job_is_not_told_anew_what_may_not_change)
{
	struct move_options job;

	move_options_init(&job);
	ck_assert(migrate("--format qcow2 --delete-source --verify none --retry-for 1m", NULL));
	options_amend(&job, &options);
	ck_assert_str_eq(job.format, "keep");
	ck_assert(!job.delete_source && job.verify);
	ck_assert_uint_eq(job.retry_for_ms, 60000);
	move_options_clear(&job);
}
END_TEST

START_TEST(a_resume_takes_no_other_settings)
{
	g_autoptr(GError) error = NULL;

	ck_assert(!parse(&command_resume, "3 --format raw", &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
}
END_TEST

START_TEST(behind_two_dashes_everything_is_an_argument)
{
	ck_assert(parse(&command_copy, "-- --source b", NULL));
	ck_assert_str_eq(options.arguments[0], "--source");
	ck_assert_str_eq(options.arguments[1], "b");
}
END_TEST

START_TEST(only_numbers_are_jobs)
{
	static const char *const wrong[] = {"", "0", "-1", "7x", "seven", "99999999999999999999"};
	gint64 job = 0;

	ck_assert(options_parse_job("7", &job, NULL));
	ck_assert_int_eq(job, 7);
	for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
		g_autoptr(GError) error = NULL;

		ck_assert_msg(!options_parse_job(wrong[i], &job, &error), "%s", wrong[i]);
		ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
	}
}
END_TEST

START_TEST(help_names_every_setting_of_the_command)
{
	g_autofree char *help = options_help(&command_migrate);

	for (guint i = 0; settings[i].name; i++)
		ck_assert_msg(strstr(help, settings[i].name) != NULL, "%s", settings[i].name);
	ck_assert(parse(&command_migrate, "--help", NULL));
	ck_assert(options.help);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("options");
	TCase *tcase = tcase_create("options");

	tcase_add_checked_fixture(tcase, make, unmake);
	tcase_add_test(tcase, every_option_of_a_move_arrives);
	tcase_add_test(tcase, what_is_not_said_is_the_default);
	tcase_add_test(tcase, a_wrong_value_is_named_with_its_option);
	tcase_add_test(tcase, a_method_that_is_not_there_yet_is_said_to_be_so);
	tcase_add_test(tcase, the_configuration_fills_what_was_not_said);
	tcase_add_test(tcase, a_key_that_is_wrong_is_named_with_its_file);
	tcase_add_test(tcase, a_command_line_that_says_too_little_or_nonsense_is_refused);
	tcase_add_test(tcase, a_copy_is_told_both_formats);
	tcase_add_test(tcase, two_images_are_told_a_format_each);
	tcase_add_test(tcase, every_command_takes_the_common_options);
	tcase_add_test(tcase, a_job_is_told_anew_what_may_change);
	tcase_add_test(tcase, a_job_is_not_told_anew_what_may_not_change);
	tcase_add_test(tcase, a_resume_takes_no_other_settings);
	tcase_add_test(tcase, behind_two_dashes_everything_is_an_argument);
	tcase_add_test(tcase, only_numbers_are_jobs);
	tcase_add_test(tcase, help_names_every_setting_of_the_command);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
