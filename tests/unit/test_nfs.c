#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/servers.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STALL_MS = 1500 };

static const struct transport_config config = {.stall_ms = STALL_MS};

/* ---- helpers ------------------------------------------------------------------ */

static struct url *url_of(const char *name)
{
	g_autofree char *text = nfs_server_url(name);
	g_autoptr(GError) error = NULL;
	struct url *url = url_parse(text, &error);

	ck_assert_msg(url != NULL, "%s", error ? error->message : text);
	return url;
}

static char *server_path(const char *name)
{
	return g_build_filename(nfs_server_folder(), name, NULL);
}

static void create(const char *name, guint64 size_bytes)
{
	AUTO(url) url = url_of(name);
	struct image_create wanted = {.size_bytes = size_bytes, .mode = 0600, .uid = -1, .gid = -1};
	g_autoptr(GError) error = NULL;

	assert_good(image_create(url, &config, &wanted, &error), error);
}

static struct handle *open_image(const char *name)
{
	AUTO(url) url = url_of(name);
	g_autoptr(GError) error = NULL;
	struct handle *handle = handle_open(url, &config, HANDLE_WRITE, &error);

	assert_good(handle != NULL, error);
	return handle;
}

/* ---- with a server ------------------------------------------------------------ */

START_TEST(what_is_written_is_read_back_through_another_handle)
{
	static const gsize sizes[] = {1, 511, 4097, 512 * KiB, 512 * KiB + 1, 9 * MiB + 77};
	g_autoptr(GError) error = NULL;

	create("sizes", 16 * MiB + 13);
	for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
		AUTO(handle) writer = open_image("sizes");
		AUTO(handle) reader = open_image("sizes");
		guint8 *data = images_noise(sizes[i], i);

		assert_good(handle_write(writer, data, sizes[i], 3 + i, &error), error);
		assert_good(handle_flush(writer, &error), error);
		ck_assert(images_hold(reader, data, sizes[i], 3 + i));
		data[sizes[i] / 2] ^= 1;
		guint8 *found = transport_buffer_new(sizes[i]);
		assert_good(handle_read(reader, found, sizes[i], 3 + i, &error), error);
		ck_assert_int_ne(memcmp(found, data, sizes[i]), 0);
		transport_buffer_free(found);
		transport_buffer_free(data);
	}
}
END_TEST

START_TEST(flush_with_nothing_written_is_good)
{
	g_autoptr(GError) error = NULL;

	create("idle", MiB);
	AUTO(handle) handle = open_image("idle");
	assert_good(handle_flush(handle, &error), error);
}
END_TEST

START_TEST(created_image_has_size_mode_owner_and_no_blocks)
{
	AUTO(url) url = url_of("fresh");
	struct image_create wanted = {.size_bytes = 5 * MiB + 1, .mode = 0640, .uid = 7, .gid = 9};
	g_autofree char *path = server_path("fresh");
	g_autoptr(GError) error = NULL;
	struct stat facts;

	assert_good(image_create(url, &config, &wanted, &error), error);
	ck_assert_int_eq(stat(path, &facts), 0);
	ck_assert_int_eq(facts.st_size, 5 * MiB + 1);
	ck_assert_uint_eq(facts.st_mode & 07777, 0640);
	ck_assert_uint_eq(facts.st_uid, 7);
	ck_assert_uint_eq(facts.st_gid, 9);
	ck_assert_int_eq(facts.st_blocks, 0);
}
END_TEST

START_TEST(create_refuses_an_image_that_exists)
{
	AUTO(url) url = url_of("twice");
	struct image_create wanted = {.size_bytes = 1, .mode = 0600, .uid = -1, .gid = -1};
	g_autofree char *path = server_path("twice");
	g_autoptr(GError) error = NULL;
	struct stat facts;

	create("twice", MiB);
	ck_assert(!image_create(url, &config, &wanted, &error));
	assert_code(error, BLOCKMIG_ERROR_EXISTS);
	ck_assert_int_eq(stat(path, &facts), 0);
	ck_assert_int_eq(facts.st_size, MiB);
}
END_TEST

START_TEST(missing_image_is_not_found)
{
	AUTO(url) url = url_of("missing");
	g_autoptr(GError) error = NULL, removal = NULL;

	ck_assert_ptr_null(handle_open(url, &config, HANDLE_READ, &error));
	assert_code(error, BLOCKMIG_ERROR_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(error->message, "missing"));
	ck_assert(!image_remove(url, &config, &removal));
	assert_code(removal, BLOCKMIG_ERROR_NOT_FOUND);
}
END_TEST

START_TEST(path_outside_every_export_is_refused)
{
	AUTO(url) url = url_of("x");
	g_autoptr(GError) error = NULL;

	g_free(url->path);
	url->path = g_strdup("/elsewhere/x");
	ck_assert_ptr_null(handle_open(url, &config, HANDLE_READ, &error));
	assert_code(error, BLOCKMIG_ERROR_PERMANENT);
}
END_TEST

START_TEST(port_mapper_is_asked_without_a_mountport)
{
	AUTO(url) url = url_of("mapped");
	g_autoptr(GError) error = NULL;

	create("mapped", MiB);
	url->mountport = 0;
	AUTO(handle) handle = handle_open(url, &config, HANDLE_READ, &error);
	assert_good(handle != NULL, error);
}
END_TEST

START_TEST(directory_and_symbolic_link_are_no_images)
{
	g_autofree char *folder = server_path("folder"), *link_path = server_path("link");
	AUTO(url) of_folder = url_of("folder");
	AUTO(url) of_link = url_of("link");
	g_autoptr(GError) error = NULL, error2 = NULL;

	ck_assert_int_eq(g_mkdir(folder, 0755), 0);
	ck_assert_int_eq(symlink("folder", link_path), 0);
	ck_assert_ptr_null(handle_open(of_folder, &config, HANDLE_READ, &error));
	assert_code(error, BLOCKMIG_ERROR_PERMANENT);
	ck_assert_ptr_null(handle_open(of_link, &config, HANDLE_READ, &error2));
	assert_code(error2, BLOCKMIG_ERROR_PERMANENT);
}
END_TEST

START_TEST(uid_and_gid_of_the_url_are_used)
{
	g_autofree char *folder = server_path("public"), *path = server_path("public/mine");
	struct image_create wanted = {.size_bytes = 1, .mode = 0600, .uid = -1, .gid = -1};
	AUTO(url) url = url_of("public/mine");
	g_autoptr(GError) error = NULL;
	struct stat facts;

	ck_assert_int_eq(g_mkdir(folder, 0777), 0);
	ck_assert_int_eq(chmod(folder, 0777), 0);
	url->uid = 4242;
	url->gid = 4343;
	assert_good(image_create(url, &config, &wanted, &error), error);
	ck_assert_int_eq(stat(path, &facts), 0);
	ck_assert_uint_eq(facts.st_uid, 4242);
	ck_assert_uint_eq(facts.st_gid, 4343);
	url->uid = 4244;
	AUTO(handle) handle = handle_open(url, &config, HANDLE_READ, &error);
	assert_good(handle != NULL, error);
	char byte;
	ck_assert(!handle_read(handle, &byte, 1, 0, &error));
	assert_code(error, BLOCKMIG_ERROR_PERMANENT);
	ck_assert_ptr_nonnull(strstr(error->message, "uid="));
}
END_TEST

START_TEST(resize_grows_with_zeros_and_shrinks)
{
	static const guint8 zeros[100];
	g_autofree char *path = server_path("elastic");
	g_autoptr(GError) error = NULL;
	struct stat facts;

	create("elastic", 100);
	AUTO(handle) handle = open_image("elastic");
	assert_good(handle_resize(handle, 10 * MiB, &error), error);
	ck_assert(images_hold(handle, zeros, sizeof(zeros), 10 * MiB - sizeof(zeros)));
	assert_good(handle_resize(handle, 77, &error), error);
	ck_assert_int_eq(stat(path, &facts), 0);
	ck_assert_int_eq(facts.st_size, 77);
	ck_assert_uint_eq(handle->size_bytes, 77);
}
END_TEST

START_TEST(zeros_replace_data)
{
	static const guint8 zeros[MiB];
	guint8 *data = images_noise(3 * MiB, 1);
	g_autoptr(GError) error = NULL;

	create("zeroed", 3 * MiB);
	AUTO(handle) handle = open_image("zeroed");
	assert_good(handle_write(handle, data, 3 * MiB, 0, &error), error);
	assert_good(handle_zero(handle, MiB, MiB, &error), error);
	ck_assert(images_hold(handle, data, MiB, 0));
	ck_assert(images_hold(handle, zeros, MiB, MiB));
	ck_assert(images_hold(handle, data + 2 * MiB, MiB, 2 * MiB));
	transport_buffer_free(data);
}
END_TEST

START_TEST(file_truncated_at_the_server_is_an_error_not_zeros)
{
	g_autofree char *path = server_path("cut");
	guint8 *buffer = transport_buffer_new(MiB);
	g_autoptr(GError) error = NULL;

	create("cut", MiB);
	AUTO(handle) handle = open_image("cut");
	ck_assert_int_eq(truncate(path, 1000), 0);
	ck_assert(!handle_read(handle, buffer, MiB, 0, &error));
	assert_code(error, BLOCKMIG_ERROR_PERMANENT);
	transport_buffer_free(buffer);
}
END_TEST

START_TEST(identity_is_the_images_own)
{
	g_autoptr(GError) error = NULL;
	struct image_info first, again, other;

	create("one", MiB);
	create("two", MiB);
	AUTO(handle) a = open_image("one");
	AUTO(handle) b = open_image("one");
	AUTO(handle) c = open_image("two");
	assert_good(handle_describe(a, &first, &error), error);
	assert_good(handle_describe(b, &again, &error), error);
	assert_good(handle_describe(c, &other, &error), error);
	ck_assert(g_str_has_prefix(first.identity, "nfs:"));
	ck_assert_str_eq(first.identity, again.identity);
	ck_assert_str_ne(first.identity, other.identity);
	ck_assert_uint_eq(first.size_bytes, MiB);
	ck_assert(!first.is_device && !first.extents_trusted);
}
END_TEST

START_TEST(remove_frees_the_space_of_a_file_that_is_held_open)
{
	AUTO(url) url = url_of("held");
	AUTO(url) place = url_of("");
	g_autofree char *path = server_path("held");
	guint8 *data = images_noise(64 * MiB, 5);
	g_autoptr(GError) error = NULL;
	guint64 free_full, free_empty, total;

	create("held", 64 * MiB);
	AUTO(handle) handle = open_image("held");
	assert_good(handle_write(handle, data, 64 * MiB, 0, &error), error);
	assert_good(handle_flush(handle, &error), error);
	assert_good(place_space(place, &config, &free_full, &total, &error), error);
	int fd = open(path, O_RDONLY);
	assert_good(image_remove(url, &config, &error), error);
	struct stat facts;
	ck_assert_int_eq(fstat(fd, &facts), 0);
	ck_assert_int_eq(facts.st_size, 0);
	ck_assert_int_eq(g_access(path, F_OK), -1);
	assert_good(place_space(place, &config, &free_empty, &total, &error), error);
	ck_assert_uint_gt(total, free_empty);
	close(fd);
	transport_buffer_free(data);
}
END_TEST

START_TEST(remove_spares_the_data_of_another_name)
{
	AUTO(url) url = url_of("name");
	g_autofree char *path = server_path("name"), *other = server_path("other-name");
	g_autoptr(GError) error = NULL;
	struct stat facts;

	create("name", MiB);
	ck_assert_int_eq(link(path, other), 0);
	assert_good(image_remove(url, &config, &error), error);
	ck_assert_int_eq(stat(other, &facts), 0);
	ck_assert_int_eq(facts.st_size, MiB);
}
END_TEST

START_TEST(list_names_all_files_and_nothing_else)
{
	g_autofree char *folder = server_path("many"), *inner = server_path("many/folder");
	AUTO(url) place = url_of("many/");
	g_autoptr(GError) error = NULL;

	ck_assert_int_eq(g_mkdir(folder, 0755), 0);
	ck_assert_int_eq(g_mkdir(inner, 0755), 0);
	for (guint i = 0; i < 500; i++) {
		g_autofree char *path = g_strdup_printf("%s/a-rather-long-name-%u", folder, i);
		ck_assert(g_file_set_contents(path, "", 0, NULL));
	}
	g_autoptr(GPtrArray) names = place_list(place, &config, &error);
	assert_good(names != NULL, error);
	ck_assert_uint_eq(names->len, 500);
	ck_assert(g_ptr_array_find_with_equal_func(names, "a-rather-long-name-499", g_str_equal,
						   NULL));
}
END_TEST

START_TEST(next_address_is_tried_where_the_first_is_dead)
{
	char *alternates[] = {(char *)"127.0.0.1:20490", NULL};
	struct transport_config two = {.stall_ms = STALL_MS, .addresses = alternates};
	AUTO(url) url = url_of("reached");
	g_autoptr(GError) error = NULL;

	create("reached", MiB);
	g_free(url->host);
	url->host = g_strdup("127.0.0.2");
	url->port = 1;
	AUTO(handle) handle = handle_open(url, &two, HANDLE_READ, &error);
	assert_good(handle != NULL, error);
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("nfs");
	TCase *calm = tcase_create("calm");

	tcase_add_unchecked_fixture(calm, nfs_server_start, nfs_server_kill);
	tcase_set_timeout(calm, 60);
	tcase_add_test(calm, what_is_written_is_read_back_through_another_handle);
	tcase_add_test(calm, flush_with_nothing_written_is_good);
	tcase_add_test(calm, created_image_has_size_mode_owner_and_no_blocks);
	tcase_add_test(calm, create_refuses_an_image_that_exists);
	tcase_add_test(calm, missing_image_is_not_found);
	tcase_add_test(calm, path_outside_every_export_is_refused);
	tcase_add_test(calm, port_mapper_is_asked_without_a_mountport);
	tcase_add_test(calm, directory_and_symbolic_link_are_no_images);
	tcase_add_test(calm, uid_and_gid_of_the_url_are_used);
	tcase_add_test(calm, resize_grows_with_zeros_and_shrinks);
	tcase_add_test(calm, zeros_replace_data);
	tcase_add_test(calm, file_truncated_at_the_server_is_an_error_not_zeros);
	tcase_add_test(calm, identity_is_the_images_own);
	tcase_add_test(calm, remove_frees_the_space_of_a_file_that_is_held_open);
	tcase_add_test(calm, remove_spares_the_data_of_another_name);
	tcase_add_test(calm, list_names_all_files_and_nothing_else);
	tcase_add_test(calm, next_address_is_tried_where_the_first_is_dead);
	suite_add_tcase(suite, calm);

	return suite;
}

static int run_tests(void)
{
	return images_run(suite());
}

int main(void)
{
	return servers_run(run_tests);
}
