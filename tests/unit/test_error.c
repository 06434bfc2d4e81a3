#include "common/error.h"

#include <check.h>
#include <errno.h>
#include <gio/gio.h>
#include <stdlib.h>

static const struct {
	enum blockmig_error code;
	int status;
	gboolean is_transient, may_pass;
} codes[] = {
	{BLOCKMIG_ERROR_USAGE, 2, FALSE, FALSE},     {BLOCKMIG_ERROR_TRANSIENT, 1, TRUE, TRUE},
	{BLOCKMIG_ERROR_UNKNOWN, 1, TRUE, TRUE},     {BLOCKMIG_ERROR_PERMANENT, 1, FALSE, FALSE},
	{BLOCKMIG_ERROR_NOT_FOUND, 1, FALSE, FALSE}, {BLOCKMIG_ERROR_EXISTS, 1, FALSE, FALSE},
	{BLOCKMIG_ERROR_INTEGRITY, 4, FALSE, FALSE}, {BLOCKMIG_ERROR_STOPPED, 3, FALSE, FALSE},
	{BLOCKMIG_ERROR_BUSY, 75, FALSE, FALSE},     {BLOCKMIG_ERROR_OPERATOR, 5, FALSE, FALSE},
	{BLOCKMIG_ERROR_LATER, 1, FALSE, TRUE},	     {BLOCKMIG_ERROR_FULL, 1, FALSE, TRUE},
};

START_TEST(the_code_decides_status_and_retry)
{
	g_autoptr(GError) error = g_error_new(BLOCKMIG_ERROR, (gint)codes[_i].code, "x");

	ck_assert_int_eq(error_exit_status(error), codes[_i].status);
	ck_assert_int_eq(error_is_transient(error), codes[_i].is_transient);
	ck_assert_int_eq(error_may_pass(error), codes[_i].may_pass);
	ck_assert(error_is(error, codes[_i].code));
}
END_TEST

START_TEST(no_error_is_success_and_a_foreign_one_is_a_failure)
{
	g_autoptr(GError) foreign =
		g_error_new(G_IO_ERROR, (gint)BLOCKMIG_ERROR_TRANSIENT, "not ours");

	ck_assert_int_eq(error_exit_status(NULL), 0);
	ck_assert_int_eq(error_exit_status(foreign), 1);
	ck_assert(!error_is_transient(NULL));
	ck_assert(!error_is_transient(foreign));
}
END_TEST

static const struct {
	int errnum;
	enum blockmig_error code;
} errnums[] = {
	{ENOENT, BLOCKMIG_ERROR_NOT_FOUND},	{EEXIST, BLOCKMIG_ERROR_EXISTS},
	{ENOSPC, BLOCKMIG_ERROR_FULL},		{EIO, BLOCKMIG_ERROR_LATER},
	{EDQUOT, BLOCKMIG_ERROR_FULL},		{EACCES, BLOCKMIG_ERROR_PERMANENT},
	{ECONNRESET, BLOCKMIG_ERROR_TRANSIENT}, {ETIMEDOUT, BLOCKMIG_ERROR_TRANSIENT},
	{EPIPE, BLOCKMIG_ERROR_TRANSIENT},	{ENOTCONN, BLOCKMIG_ERROR_TRANSIENT},
};

START_TEST(an_errno_gets_its_code_and_its_words)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *text = g_strdup_printf("chunk 7: %s", g_strerror(errnums[_i].errnum));

	error_set_errno(&error, errnums[_i].errnum, "chunk %d", 7);
	ck_assert(error_is(error, errnums[_i].code));
	ck_assert_str_eq(error->message, text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("error");
	TCase *tcase = tcase_create("error");
	SRunner *runner = srunner_create(suite);

	suite_add_tcase(suite, tcase);
	tcase_add_loop_test(tcase, the_code_decides_status_and_retry, 0, G_N_ELEMENTS(codes));
	tcase_add_test(tcase, no_error_is_success_and_a_foreign_one_is_a_failure);
	tcase_add_loop_test(tcase, an_errno_gets_its_code_and_its_words, 0, G_N_ELEMENTS(errnums));
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
