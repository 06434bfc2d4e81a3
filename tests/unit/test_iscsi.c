#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/servers.h"
#include "transports/iscsi_image.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STALL_MS = 1500, LUN = 1, LUN_4K = 2, LUN_THIN = 3 };

static const struct transport_config config = {.stall_ms = STALL_MS};

/* ---- helpers ------------------------------------------------------------------ */

static struct url *url_of(int lun)
{
	g_autofree char *text = iscsi_server_url(lun);
	g_autoptr(GError) error = NULL;
	struct url *url = url_parse(text, &error);

	ck_assert_msg(url != NULL, "%s", error ? error->message : text);
	return url;
}

static struct handle *open_with(int lun, const struct transport_config *how, GError **error)
{
	AUTO(url) url = url_of(lun);

	return handle_open(url, how, HANDLE_WRITE, error);
}

static struct handle *open_lun(int lun)
{
	g_autoptr(GError) error = NULL;
	struct handle *handle = open_with(lun, &config, &error);

	assert_good(handle != NULL, error);
	return handle;
}

static guint64 allocated(int lun)
{
	g_autofree char *path = iscsi_server_backing(lun);
	struct stat facts;

	ck_assert_int_eq(stat(path, &facts), 0);
	return (guint64)facts.st_blocks * 512;
}

static void start(void)
{
	iscsi_server_start();
	iscsi_server_add_lun(LUN, 96 * MiB + 512, 512, FALSE);
	iscsi_server_add_lun(LUN_4K, 16 * MiB, 4096, FALSE);
	iscsi_server_add_lun(LUN_THIN, 64 * MiB, 512, TRUE);
}

/* ---- without a server --------------------------------------------------------- */

START_TEST(naa_is_preferred_to_eui_and_t10)
{
	static const guint8 page[] = {
		0, 0x83, 0, 32,				    /* header */
		2, 0x01, 0, 4,	'T',  'E',  'S', 'T',	    /* T10 */
		1, 0x13, 0, 4,	9,    9,    9,	 9,	    /* NAA of the port: not the LUN's */
		1, 0x03, 0, 2,	0x60, 0x01,		    /* NAA */
		1, 0x02, 0, 6,	1,    2,    3,	 4,   5, 6, /* EUI-64 */
	};
	char identity[IDENTITY_BYTES];

	iscsi_disk_identity(page, sizeof(page), identity);
	ck_assert_str_eq(identity, "scsi:36001");
	iscsi_disk_identity(page, 12, identity);
	ck_assert_str_eq(identity, "scsi:154455354");
}
END_TEST

START_TEST(identity_of_a_broken_page_is_empty)
{
	static const guint8 page[] = {0, 0x83, 0, 200, 1, 0x03, 0, 100, 1, 2};
	char identity[IDENTITY_BYTES] = "x";

	iscsi_disk_identity(page, sizeof(page), identity);
	ck_assert_str_eq(identity, "");
	iscsi_disk_identity(page, 0, identity);
	ck_assert_str_eq(identity, "");
}
END_TEST

static enum iscsi_verdict verdict_of(int key, int error_type)
{
	struct iscsi_command command = {.status = SCSI_STATUS_CHECK_CONDITION,
					.sense = {.key = (enum scsi_sense_key)key,
						  .error_type = (unsigned char)error_type}};

	return iscsi_command_verdict(&command);
}

START_TEST(unit_attention_and_deferred_errors_lose_the_session)
{
	ck_assert_int_eq(verdict_of(SCSI_SENSE_UNIT_ATTENTION, SCSI_SENSE_FIXED_CURRENT),
			 ISCSI_LOST);
	ck_assert_int_eq(verdict_of(SCSI_SENSE_MEDIUM_ERROR, SCSI_SENSE_FIXED_DEFERRED_ERRORS),
			 ISCSI_LOST);
	ck_assert_int_eq(verdict_of(SCSI_SENSE_MEDIUM_ERROR, SCSI_SENSE_FIXED_CURRENT),
			 ISCSI_FAILED);
	ck_assert_int_eq(verdict_of(SCSI_SENSE_RECOVERED_ERROR, SCSI_SENSE_FIXED_CURRENT),
			 ISCSI_GOOD);
}
END_TEST

/* ---- with a server ------------------------------------------------------------ */

START_TEST(what_is_written_is_read_back_through_another_session)
{
	static const int luns[] = {LUN, LUN_4K};
	static const gsize sizes[] = {1, 512, 4096 + 512, 512 * KiB, 5 * MiB + 77};
	g_autoptr(GError) error = NULL;

	for (guint i = 0; i < G_N_ELEMENTS(luns) * G_N_ELEMENTS(sizes); i++) {
		gsize bytes = sizes[i % G_N_ELEMENTS(sizes)];
		AUTO(handle) writer = open_lun(luns[i / G_N_ELEMENTS(sizes)]);
		AUTO(handle) reader = open_lun(luns[i / G_N_ELEMENTS(sizes)]);
		guint8 *data = images_noise(bytes, i);

		assert_good(handle_write(writer, data, bytes, 4096 + i, &error), error);
		assert_good(handle_flush(writer, &error), error);
		ck_assert(images_hold(reader, data, bytes, 4096 + i));
		data[bytes / 2] ^= 1;
		ck_assert(!images_hold(reader, data, bytes, 4096 + i));
		transport_buffer_free(data);
	}
}
END_TEST

START_TEST(lun_has_its_size_blocks_and_identity)
{
	g_autoptr(GError) error = NULL;
	struct image_info first, again, other;

	AUTO(handle) a = open_lun(LUN);
	AUTO(handle) b = open_lun(LUN);
	AUTO(handle) c = open_lun(LUN_4K);
	assert_good(handle_describe(a, &first, &error), error);
	assert_good(handle_describe(b, &again, &error), error);
	assert_good(handle_describe(c, &other, &error), error);
	ck_assert_uint_eq(first.size_bytes, 96 * MiB + 512);
	ck_assert_uint_eq(first.block_bytes, 512);
	ck_assert_uint_eq(other.block_bytes, 4096);
	ck_assert(first.is_device);
	ck_assert(g_str_has_prefix(first.identity, "scsi:3"));
	ck_assert_str_eq(first.identity, again.identity);
	ck_assert_str_ne(first.identity, other.identity);
}
END_TEST

START_TEST(last_block_is_written_and_nothing_behind_it)
{
	guint8 *data = images_noise(1024, 7);
	g_autoptr(GError) error = NULL;

	AUTO(handle) handle = open_lun(LUN);
	assert_good(handle_write(handle, data, 512, 96 * MiB, &error), error);
	ck_assert(images_hold(handle, data, 512, 96 * MiB));
	ck_assert(!handle_write(handle, data, 1024, 96 * MiB, &error));
	assert_code(error, BLOCKMIG_ERROR_PERMANENT);
	transport_buffer_free(data);
}
END_TEST

START_TEST(thin_lun_tells_its_holes_and_zero_makes_them)
{
	guint8 *data = images_noise(16 * MiB, 8), *zeros = transport_buffer_new(8 * MiB);
	g_autoptr(GError) error = NULL;
	struct image_info info;

	memset(zeros, 0, 8 * MiB);
	AUTO(handle) handle = open_lun(LUN_THIN);
	assert_good(handle_describe(handle, &info, &error), error);
	ck_assert(info.extents_trusted);
	ck_assert(info.zero_deallocates);
	assert_good(handle_write(handle, data, 16 * MiB, 16 * MiB, &error), error);
	assert_good(handle_flush(handle, &error), error);
	guint64 full = allocated(LUN_THIN);
	AUTO(extents) before = handle_extents(handle, 64 * MiB, 0, &error);
	assert_good(before != NULL, error);
	ck_assert_uint_eq(extents_bytes(before, EXTENT_DATA), 16 * MiB);
	ck_assert_uint_eq(extents_bytes(before, EXTENT_ZERO), 48 * MiB);

	assert_good(handle_zero(handle, 8 * MiB, 20 * MiB, &error), error);
	ck_assert(images_hold(handle, data, 4 * MiB, 16 * MiB));
	ck_assert(images_hold(handle, zeros, 8 * MiB, 20 * MiB));
	ck_assert(images_hold(handle, data + 12 * MiB, 4 * MiB, 28 * MiB));
	ck_assert_uint_le(allocated(LUN_THIN), full - 7 * MiB);
	AUTO(extents) after = handle_extents(handle, 64 * MiB, 0, &error);
	ck_assert_uint_eq(extents_bytes(after, EXTENT_DATA), 8 * MiB);
	transport_buffer_free(data);
	transport_buffer_free(zeros);
}
END_TEST

START_TEST(thick_lun_is_one_data_extent_and_can_be_zeroed)
{
	guint8 *data = images_noise(3 * MiB, 9), *zeros = transport_buffer_new(MiB);
	g_autoptr(GError) error = NULL;

	memset(zeros, 0, MiB);
	AUTO(handle) handle = open_lun(LUN);
	AUTO(extents) extents = handle_extents(handle, 96 * MiB, 0, &error);
	assert_good(extents != NULL, error);
	ck_assert_uint_eq(extents_bytes(extents, EXTENT_DATA), 96 * MiB);
	assert_good(handle_write(handle, data, 3 * MiB, 0, &error), error);
	assert_good(handle_zero(handle, MiB, MiB, &error), error);
	ck_assert(images_hold(handle, data, MiB, 0));
	ck_assert(images_hold(handle, zeros, MiB, MiB));
	ck_assert(images_hold(handle, data + 2 * MiB, MiB, 2 * MiB));
	transport_buffer_free(data);
	transport_buffer_free(zeros);
}
END_TEST

START_TEST(list_names_the_disks_without_the_controller)
{
	AUTO(url) place = url_of(-1);
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) names = place_list(place, &config, &error);

	assert_good(names != NULL, error);
	ck_assert_uint_eq(names->len, 3);
	ck_assert_str_eq(g_ptr_array_index(names, 0), "1");
	ck_assert_str_eq(g_ptr_array_index(names, 2), "3");
}
END_TEST

START_TEST(missing_lun_and_missing_target_are_not_found)
{
	AUTO(url) url = url_of(LUN);
	g_autoptr(GError) no_lun = NULL, no_target = NULL, controller = NULL;

	ck_assert_ptr_null(open_with(77, &config, &no_lun));
	assert_code(no_lun, BLOCKMIG_ERROR_NOT_FOUND);
	ck_assert_ptr_null(open_with(0, &config, &controller));
	assert_code(controller, BLOCKMIG_ERROR_PERMANENT);
	g_free(url->target);
	url->target = g_strdup("iqn.2026-01.com.example:absent");
	ck_assert_ptr_null(handle_open(url, &config, HANDLE_READ, &no_target));
	assert_code(no_target, BLOCKMIG_ERROR_NOT_FOUND);
}
END_TEST

START_TEST(many_sessions_live_side_by_side)
{
	struct handle *handles[8];
	guint8 *data = images_noise(MiB, 10);
	g_autoptr(GError) error = NULL;

	for (guint i = 0; i < G_N_ELEMENTS(handles); i++)
		handles[i] = open_lun(LUN);
	for (guint i = 0; i < G_N_ELEMENTS(handles); i++)
		assert_good(handle_write(handles[i], data, MiB, i * MiB, &error), error);
	for (guint i = 0; i < G_N_ELEMENTS(handles); i++) {
		ck_assert(images_hold(handles[7 - i], data, MiB, i * MiB));
		assert_good(handle_flush(handles[i], &error), error);
	}
	for (guint i = 0; i < G_N_ELEMENTS(handles); i++)
		handle_close(handles[i]);
	transport_buffer_free(data);
}
END_TEST

START_TEST(environment_of_libiscsi_is_cleared)
{
	g_setenv("LIBISCSI_BIND_INTERFACES", "nowhere0", TRUE);
	AUTO(handle) handle = open_lun(LUN);
	ck_assert_ptr_nonnull(handle);
	ck_assert_ptr_null(g_getenv("LIBISCSI_BIND_INTERFACES"));
}
END_TEST

START_TEST(next_address_is_tried_where_the_first_is_dead)
{
	char *alternates[] = {(char *)"127.0.0.1:3260", NULL};
	struct transport_config two = {.stall_ms = STALL_MS, .addresses = alternates};
	AUTO(url) url = url_of(LUN);
	g_autoptr(GError) error = NULL;

	url->port = 1;
	AUTO(handle) handle = handle_open(url, &two, HANDLE_READ, &error);
	assert_good(handle != NULL, error);
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("iscsi");
	TCase *rules = tcase_create("rules");
	TCase *calm = tcase_create("calm");

	tcase_add_test(rules, naa_is_preferred_to_eui_and_t10);
	tcase_add_test(rules, identity_of_a_broken_page_is_empty);
	tcase_add_test(rules, unit_attention_and_deferred_errors_lose_the_session);
	suite_add_tcase(suite, rules);

	tcase_add_unchecked_fixture(calm, start, iscsi_server_kill);
	tcase_set_timeout(calm, 60);
	tcase_add_test(calm, what_is_written_is_read_back_through_another_session);
	tcase_add_test(calm, lun_has_its_size_blocks_and_identity);
	tcase_add_test(calm, last_block_is_written_and_nothing_behind_it);
	tcase_add_test(calm, thin_lun_tells_its_holes_and_zero_makes_them);
	tcase_add_test(calm, thick_lun_is_one_data_extent_and_can_be_zeroed);
	tcase_add_test(calm, list_names_the_disks_without_the_controller);
	tcase_add_test(calm, missing_lun_and_missing_target_are_not_found);
	tcase_add_test(calm, many_sessions_live_side_by_side);
	tcase_add_test(calm, environment_of_libiscsi_is_cleared);
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
