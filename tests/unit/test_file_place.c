#include "common/error.h"
#include "common/units.h"
#include "tests/unit/files.h"
#include "tests/unit/images.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

START_TEST(an_image_is_created_once_with_its_mode_and_size)
{
	AUTO(url) url = files_url("created");
	struct image_create again = {.size_bytes = 1, .mode = 0600, .uid = -1, .gid = -1};
	g_autoptr(GError) error = NULL;
	struct stat st;

	umask(077);
	files_create(url, 3 * GiB + 1);
	ck_assert(!image_create(url, NULL, &again, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_EXISTS));
	ck_assert_int_eq(stat(url->path, &st), 0);
	ck_assert_uint_eq((guint64)st.st_size, 3 * GiB + 1);
	ck_assert_int_eq(st.st_mode & 07777, 0640);
	ck_assert_int_eq(st.st_blocks, 0);
}
END_TEST

START_TEST(a_failed_create_leaves_nothing)
{
	AUTO(url) url = files_url("too-large");
	struct image_create create = {.size_bytes = G_MAXINT64, .mode = 0600, .uid = -1, .gid = -1};

	ck_assert(!image_create(url, NULL, &create, NULL));
	ck_assert_int_ne(access(url->path, F_OK), 0);
}
END_TEST

START_TEST(an_image_is_removed_once)
{
	AUTO(url) url = files_url("removed");
	AUTO(url) symbolic = files_url("pointer");
	g_autoptr(GError) error = NULL;

	files_create(url, 1);
	ck_assert_int_eq(symlink(url->path, symbolic->path), 0);
	ck_assert(!image_remove(symbolic, NULL, NULL));
	ck_assert(image_remove(url, NULL, NULL));
	ck_assert(!image_remove(url, NULL, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_NOT_FOUND));
}
END_TEST

START_TEST(a_place_tells_its_images_and_its_room)
{
	g_autofree char *folder = temp_path("place"), *inner = temp_path("place/folder");
	AUTO(url) b = files_url("place/b");
	AUTO(url) a = files_url("place/a");
	AUTO(url) place = url_parent(a);
	guint64 free_bytes = 0, total_bytes = 0;

	ck_assert_int_eq(g_mkdir(folder, 0700), 0);
	ck_assert_int_eq(g_mkdir(inner, 0700), 0);
	files_create(b, 1);
	files_create(a, 1);
	g_autoptr(GPtrArray) names = place_list(place, NULL, NULL);
	ck_assert_uint_eq(names->len, 2);
	ck_assert_str_eq(g_ptr_array_index(names, 0), "a");
	ck_assert_str_eq(g_ptr_array_index(names, 1), "b");
	ck_assert(place_space(place, NULL, &free_bytes, &total_bytes, NULL));
	ck_assert(free_bytes > 0 && free_bytes <= total_bytes);
}
END_TEST

START_TEST(a_place_that_is_not_there_is_named)
{
	AUTO(url) place = url_parse("/nonexistent/folder/", NULL);
	g_autoptr(GError) error = NULL;
	guint64 free_bytes, total_bytes;

	ck_assert_ptr_null(place_list(place, NULL, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_NOT_FOUND));
	ck_assert(!place_space(place, NULL, &free_bytes, &total_bytes, NULL));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("file place");
	TCase *tcase = tcase_create("file place");

	suite_add_tcase(suite, tcase);
	tcase_add_unchecked_fixture(tcase, temp_make, temp_remove);
	tcase_add_test(tcase, an_image_is_created_once_with_its_mode_and_size);
	tcase_add_test(tcase, a_failed_create_leaves_nothing);
	tcase_add_test(tcase, an_image_is_removed_once);
	tcase_add_test(tcase, a_place_tells_its_images_and_its_room);
	tcase_add_test(tcase, a_place_that_is_not_there_is_named);
	return images_run(suite);
}
