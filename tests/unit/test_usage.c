/* Which file beside an image lies over it. */
#include "blockmig/move/usage.h"

#include "tests/unit/qemu_images.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *beside(const char *path, GError **error)
{
	struct place place = {.source = {.type = SOURCE_FILE, .path = (char *)path}};

	return usage_beside(&place, error);
}

static void remove_overlay(const char *path)
{
	ck_assert_int_eq(unlink(path), 0);
}

START_TEST(a_qcow2_file_over_the_image_is_its_user)
{
	g_autofree char *image = qemu_images_raw("below.raw", "1M");
	g_autofree char *over = temp_path("over.qcow2");
	g_autoptr(GError) error = NULL;

	/* Some name it by a path, others by its name alone. */
	qemu_images_run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b",
			_i ? image : "below.raw", over);
	g_autofree char *user = beside(image, &error);
	g_autofree char *wanted = g_strdup_printf("file %s", over);

	remove_overlay(over);
	ck_assert_ptr_null(error);
	ck_assert_ptr_nonnull(user);
	ck_assert_str_eq(user, wanted);
}
END_TEST

START_TEST(files_that_have_nothing_to_do_with_it_are_no_users)
{
	g_autofree char *image = qemu_images_raw("below.raw", "1M");
	g_autofree char *other = qemu_images_raw("other.raw", "1M");
	g_autofree char *over = temp_path("over.qcow2");
	g_autoptr(GError) error = NULL;

	qemu_images_run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", other, over);
	g_autofree char *user = beside(image, &error);

	remove_overlay(over);
	ck_assert_ptr_null(error);
	ck_assert_ptr_null(user);
}
END_TEST

START_TEST(a_file_that_cannot_be_read_may_be_a_user)
{
	g_autofree char *image = qemu_images_raw("below.raw", "1M");
	g_autofree char *broken = temp_path("broken.qcow2");
	g_autoptr(GError) error = NULL;

	ck_assert(g_file_set_contents(broken, "QFI\xfb and nothing behind it", -1, NULL));
	g_autofree char *user = beside(image, &error);

	remove_overlay(broken);
	ck_assert_ptr_null(error);
	ck_assert_ptr_nonnull(user);
	ck_assert_ptr_nonnull(strstr(user, broken));
	ck_assert_ptr_nonnull(strstr(user, "not known"));
}
END_TEST

START_TEST(a_folder_that_cannot_be_read_is_an_error)
{
	g_autofree char *image = temp_path("no-such-folder/below.raw");
	g_autoptr(GError) error = NULL;

	ck_assert_ptr_null(beside(image, &error));
	ck_assert_ptr_nonnull(error);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("usage");
	TCase *tcase = tcase_create("beside");

	tcase_add_unchecked_fixture(tcase, qemu_images_make, temp_remove);
	tcase_add_loop_test(tcase, a_qcow2_file_over_the_image_is_its_user, 0, 2);
	tcase_add_test(tcase, files_that_have_nothing_to_do_with_it_are_no_users);
	tcase_add_test(tcase, a_file_that_cannot_be_read_may_be_a_user);
	tcase_add_test(tcase, a_folder_that_cannot_be_read_is_an_error);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
