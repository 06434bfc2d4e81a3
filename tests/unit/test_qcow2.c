/* The qcow2 writer, judged by QEMU's own tools. */
#include "blockmig/copy/qcow2.h"
#include "common/error.h"
#include "common/units.h"
#include "tests/unit/copying.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <string.h>

static char *folder;
static char *raw, *qcow2;
static struct extents *allocated;

static void setup(void)
{
	folder = folder_make("qcow2");
	raw = g_build_filename(folder, "raw", NULL);
	qcow2 = g_build_filename(folder, "qcow2", NULL);
	allocated = extents_new();
}

static void teardown(void)
{
	extents_free(allocated);
	folder_remove(folder);
	g_free(raw);
	g_free(qcow2);
	g_free(folder);
}

/* Runs a command line; what it prints is in the failure's text, and returned. */
static char *run(const char *format, ...) G_GNUC_PRINTF(1, 2);
static char *run(const char *format, ...)
{
	char *output = NULL;
	g_autofree char *errors = NULL, *command = NULL;
	GError *error = NULL;
	va_list arguments;
	int status;

	va_start(arguments, format);
	command = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	ck_assert_msg(g_spawn_command_line_sync(command, &output, &errors, &status, &error), "%s",
		      error ? error->message : "");
	ck_assert_msg(g_spawn_check_wait_status(status, NULL), "%s: %s%s", command, output, errors);
	return output;
}

static struct handle *open_image(const char *path, enum handle_mode mode)
{
	AUTO(url) url = url_parse(path, NULL);
	const struct transport_config config = {.stall_ms = 0};
	GError *error = NULL;
	struct handle *handle = handle_open(url, &config, mode, &error);

	ck_assert_msg(handle != NULL, "%s", error ? error->message : "");
	return handle;
}

static void create(const char *path, guint64 size_bytes)
{
	AUTO(url) url = url_parse(path, NULL);
	const struct transport_config config = {.stall_ms = 0};
	const struct image_create image = {
		.size_bytes = size_bytes, .mode = 0600, .uid = -1, .gid = -1};
	GError *error = NULL;

	ck_assert_msg(image_create(url, &config, &image, &error), "%s",
		      error ? error->message : "");
}

/* Data at @offset_bytes in the raw image and in the qcow2's data area. */
static void put_data(guint64 virtual_bytes, guint64 offset_bytes, guint64 length_bytes)
{
	AUTO(handle) plain = open_image(raw, HANDLE_WRITE);
	AUTO(handle) image = open_image(qcow2, HANDLE_WRITE);
	guint8 *data = transport_buffer_new(length_bytes);

	for (guint64 i = 0; i < length_bytes; i++)
		data[i] = (guint8)((offset_bytes / 512 + i / 7 + 1) | 1);
	ck_assert(handle_write(plain, data, length_bytes, offset_bytes, NULL));
	ck_assert(handle_write(image, data, length_bytes,
			       qcow2_data_offset(virtual_bytes) + offset_bytes, NULL));
	transport_buffer_free(data);
}

/* Two empty images and an extent list with data in the places given. */
static void build(guint64 virtual_bytes, const struct copy_range *places, guint count)
{
	guint64 at = 0;

	create(raw, virtual_bytes);
	create(qcow2, qcow2_file_bytes(virtual_bytes));
	for (guint i = 0; i < count; i++) {
		const struct copy_range *place = &places[i];

		put_data(virtual_bytes, place->offset_bytes, place->length_bytes);
		extents_append(allocated, at, place->offset_bytes - at, EXTENT_ZERO);
		extents_append(allocated, place->offset_bytes, place->length_bytes, EXTENT_DATA);
		at = place->offset_bytes + place->length_bytes;
	}
	extents_append(allocated, at, virtual_bytes - at, EXTENT_ZERO);
}

static void finish_and_prove(guint64 virtual_bytes)
{
	AUTO(handle) writer = open_image(qcow2, HANDLE_WRITE);
	AUTO(handle) reader = open_image(qcow2, HANDLE_READ);
	GError *error = NULL;

	ck_assert_msg(qcow2_finish(writer, virtual_bytes, allocated, &error), "%s",
		      error ? error->message : "");
	ck_assert_msg(qcow2_prove(reader, virtual_bytes, allocated, &error), "%s",
		      error ? error->message : "");
}

static void assert_sound(void)
{
	g_free(run("qemu-img check -f qcow2 %s", qcow2)); /* leaks make it exit with 3 */
	g_free(run("qemu-img compare -f raw -F qcow2 %s %s", raw, qcow2));
}

/* QEMU finds room for new clusters by the refcounts: they must be exact. */
static void assert_sound_after_writes(guint64 virtual_bytes)
{
	const guint64 places[] = {0, virtual_bytes / 2 & ~511ull, virtual_bytes - 512};

	for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
		const char *images[] = {raw, qcow2};

		for (guint k = 0; k < 2; k++)
			g_free(run("qemu-io -f %s -c 'write -P 0x5a %" G_GUINT64_FORMAT " 512' %s",
				   k ? "qcow2" : "raw", places[i], images[k]));
	}
	assert_sound();
}

START_TEST(qemu_finds_the_image_sound_and_equal)
{
	static const guint64 sizes[] = {512,	   64 * KiB,  MiB,	     64 * KiB * 17 + 512,
					GiB - 512, 513 * MiB, 5 * GiB,	     100 * GiB,
					TiB,	   9 * TiB,   64 * KiB - 512};
	const guint64 size = sizes[_i];
	struct copy_range places[] = {{0, 512}, {0, 0}, {0, 0}};
	guint count = 1;

	if (size >= MiB) {
		places[count++] = (struct copy_range){size / 2 & ~(64 * KiB - 1), 3 * 64 * KiB};
		places[count++] = (struct copy_range){size - 512, 512};
	}
	build(size, places, count);
	finish_and_prove(size);
	assert_sound();
	assert_sound_after_writes(size);
}
END_TEST

START_TEST(only_data_is_allocated)
{
	const struct copy_range places[] = {{3 * MiB, 128 * KiB}};
	g_autofree char *map = NULL;

	build(GiB, places, 1);
	finish_and_prove(GiB);
	map = run("qemu-img map --output=json -f qcow2 %s", qcow2);
	ck_assert_ptr_nonnull(strstr(map, "\"start\": 3145728, \"length\": 131072"));
	ck_assert_ptr_null(strstr(strstr(map, "\"data\": true") + 1, "\"data\": true"));
}
END_TEST

START_TEST(an_image_without_data_is_sound)
{
	build(TiB, NULL, 0);
	finish_and_prove(TiB);
	assert_sound();
}
END_TEST

START_TEST(a_dense_image_is_sound)
{
	const struct copy_range places[] = {{0, 24 * MiB}};

	build(24 * MiB, places, 1);
	finish_and_prove(24 * MiB);
	assert_sound();
}
END_TEST

START_TEST(one_flipped_byte_of_metadata_is_found)
{
	static const guint64 places[] = {25, 65536 + 7, 2 * 65536 + 1, 3 * 65536, 4 * 65536 + 5};
	const struct copy_range data[] = {{0, MiB}};
	const guint64 at = places[_i];
	guint8 byte;

	build(MiB, data, 1);
	finish_and_prove(MiB);
	AUTO(handle) writer = open_image(qcow2, HANDLE_WRITE);
	AUTO(handle) reader = open_image(qcow2, HANDLE_READ);
	GError *error = NULL;

	ck_assert(handle_read(writer, &byte, 1, at, NULL));
	byte ^= 4;
	ck_assert(handle_write(writer, &byte, 1, at, NULL));
	ck_assert(handle_flush(writer, NULL));
	ck_assert(!qcow2_prove(reader, MiB, allocated, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_INTEGRITY));
	g_error_free(error);
}
END_TEST

START_TEST(data_begins_at_a_multiple_of_a_mebibyte_in_front_of_the_files_end)
{
	for (guint64 size = 512; size < 64 * TiB; size = size * 3 + 512) {
		ck_assert_uint_eq(qcow2_data_offset(size) % MiB, 0);
		ck_assert_uint_ge(qcow2_file_bytes(size), qcow2_data_offset(size) + size);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("qcow2");
	TCase *tests = tcase_create("qcow2");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_set_timeout(tests, 120);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, qemu_finds_the_image_sound_and_equal, 0, 11);
	tcase_add_test(tests, only_data_is_allocated);
	tcase_add_test(tests, an_image_without_data_is_sound);
	tcase_add_test(tests, a_dense_image_is_sound);
	tcase_add_loop_test(tests, one_flipped_byte_of_metadata_is_found, 0, 5);
	tcase_add_test(tests, data_begins_at_a_multiple_of_a_mebibyte_in_front_of_the_files_end);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
