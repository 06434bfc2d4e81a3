/*
 * The wrappers, over a LUN in memory that takes whole blocks only, in short transfers,
 * and fails when told to.
 */
#include "common/error.h"
#include "tests/unit/temp.h"
#include "transports/transport.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 512, SIZE = 3 << 20, SHORT_BYTES = 64 << 10 };

static struct {
	guint8 bytes[SIZE];
	GError *fault; /* of the next operation */
	gboolean no_progress, zero_refused, knows_nothing;
	guint writes, zeros;
} lun;

struct lun_handle {
	struct handle base;
};

static gboolean fault(GError **error)
{
	if (!lun.fault)
		return FALSE;
	g_propagate_error(error, g_steal_pointer(&lun.fault));
	return TRUE;
}

static gboolean lun_open(const struct url *url, const struct transport_config *config,
			 enum handle_mode mode, struct handle **handle, GError **error)
{
	struct lun_handle *opened = g_new0(struct lun_handle, 1);

	(void)url;
	(void)mode;
	(void)error;
	ck_assert_ptr_nonnull(config); /* no settings are the default ones */
	opened->base.size_bytes = SIZE;
	opened->base.block_bytes = BLOCK;
	*handle = &opened->base;
	return TRUE;
}

static void lun_close(struct handle *handle)
{
	g_free(handle->name);
	g_free(handle);
}

static gboolean lun_describe(struct handle *handle, struct image_info *info, GError **error)
{
	(void)handle;
	info->is_device = TRUE;
	return !fault(error);
}

static void require_blocks(const void *buffer, guint64 count, guint64 offset)
{
	ck_assert((guintptr)buffer % BLOCK == 0 && count % BLOCK == 0 && offset % BLOCK == 0);
	ck_assert(count > 0 && offset + count <= SIZE);
}

static gssize lun_pread(struct handle *handle, void *buffer, gsize count, guint64 offset,
			GError **error)
{
	(void)handle;
	require_blocks(buffer, count, offset);
	if (fault(error))
		return -1;
	if (lun.no_progress)
		return 0;
	count = MIN(count, SHORT_BYTES);
	memcpy(buffer, lun.bytes + offset, count);
	return (gssize)count;
}

static gssize lun_pwrite(struct handle *handle, const void *buffer, gsize count, guint64 offset,
			 GError **error)
{
	(void)handle;
	require_blocks(buffer, count, offset);
	if (fault(error))
		return -1;
	if (lun.no_progress)
		return 0;
	count = MIN(count, SHORT_BYTES);
	memcpy(lun.bytes + offset, buffer, count);
	lun.writes++;
	return (gssize)count;
}

static gboolean lun_zero(struct handle *handle, guint64 count, guint64 offset,
			 gboolean *unsupported, GError **error)
{
	(void)handle;
	require_blocks(NULL, count, offset);
	if (fault(error))
		return FALSE;
	*unsupported = lun.zero_refused;
	if (lun.zero_refused)
		return FALSE;
	memset(lun.bytes + offset, 0, count);
	lun.zeros++;
	return TRUE;
}

static gboolean lun_flush(struct handle *handle, GError **error)
{
	(void)handle;
	return !fault(error);
}

/* A block of data, a block of zeros, and so on: one pair a call, and beyond the count. */
static gboolean lun_extents(struct handle *handle, guint64 count, guint64 offset,
			    struct extents *extents, GError **error)
{
	(void)handle;
	require_blocks(NULL, count, offset);
	if (fault(error))
		return FALSE;
	for (guint i = 0; i < 2 && !lun.knows_nothing; i++, offset += BLOCK)
		extents_append(extents, offset, BLOCK,
			       offset / BLOCK % 2 ? EXTENT_ZERO : EXTENT_DATA);
	return TRUE;
}

const struct transport transport_iscsi = {
	.name = "memory",
	.open = lun_open,
	.close = lun_close,
	.describe = lun_describe,
	.pread = lun_pread,
	.pwrite = lun_pwrite,
	.zero = lun_zero,
	.flush = lun_flush,
	.extents = lun_extents,
};

static struct handle *open_lun(enum handle_mode mode)
{
	AUTO(url) url = url_parse("iscsi://memory/iqn.x:y/1", NULL);
	struct handle *handle = handle_open(url, NULL, mode, NULL);

	ck_assert_ptr_nonnull(handle);
	return handle;
}

static void arm(enum blockmig_error code)
{
	lun.fault = g_error_new(BLOCKMIG_ERROR, (gint)code, "armed");
}

/* ---- transfers ---------------------------------------------------------------- */

static const struct {
	gsize count;
	guint64 offset;
	gsize skew; /* of the buffer */
} ranges[] = {
	{BLOCK, 0, 0},
	{4 * BLOCK, BLOCK, 0},
	{1, 0, 0},
	{1, BLOCK - 1, 0},
	{2, BLOCK - 1, 0},
	{BLOCK, 1, 0},
	{BLOCK, 0, 1},
	{SIZE, 0, 0},
	{SIZE - 1, 0, 0},
	{SIZE - 1, 1, 3},
	{(2 << 20) + 77, BLOCK, 0},
	{(2 << 20) + 77, BLOCK + 5, 0},
	{(1 << 20) - 5, BLOCK + 5, 0},
	{1, SIZE - 1, 0},
	{0, SIZE, 0},
};

static guint8 *pattern_new(guint seed)
{
	guint8 *pattern = transport_buffer_new(SIZE + TRANSPORT_ALIGN);

	pattern_fill(pattern, SIZE + TRANSPORT_ALIGN, seed);
	return pattern;
}

START_TEST(a_write_of_any_range_changes_that_range_alone)
{
	AUTO(handle) handle = open_lun(HANDLE_WRITE);
	guint8 *before = pattern_new(1), *data = pattern_new(2);
	gsize count = ranges[_i].count, offset = ranges[_i].offset;

	memcpy(lun.bytes, before, SIZE);
	ck_assert(handle_write(handle, data + ranges[_i].skew, count, offset, NULL));
	memcpy(before + offset, data + ranges[_i].skew, count);
	ck_assert(memcmp(lun.bytes, before, SIZE) == 0);
	transport_buffer_free(before);
	transport_buffer_free(data);
}
END_TEST

START_TEST(a_read_of_any_range_gives_that_range_alone)
{
	AUTO(handle) handle = open_lun(HANDLE_READ);
	guint8 *got = pattern_new(1), *wanted = pattern_new(1);
	gsize count = ranges[_i].count, offset = ranges[_i].offset, skew = ranges[_i].skew;

	pattern_fill(lun.bytes, SIZE, 2);
	ck_assert(handle_read(handle, got + skew, count, offset, NULL));
	memcpy(wanted + skew, lun.bytes + offset, count);
	ck_assert(memcmp(got, wanted, SIZE + TRANSPORT_ALIGN) == 0);
	transport_buffer_free(got);
	transport_buffer_free(wanted);
}
END_TEST

static void check_zeros(void)
{
	for (guint i = 0; i < G_N_ELEMENTS(ranges); i++) {
		AUTO(handle) handle = open_lun(HANDLE_WRITE);
		guint8 *wanted = pattern_new(i);

		memcpy(lun.bytes, wanted, SIZE);
		ck_assert(handle_zero(handle, ranges[i].count, ranges[i].offset, NULL));
		memset(wanted + ranges[i].offset, 0, ranges[i].count);
		ck_assert(memcmp(lun.bytes, wanted, SIZE) == 0);
		transport_buffer_free(wanted);
	}
}

START_TEST(zeros_of_any_range_change_that_range_alone)
{
	check_zeros();
	ck_assert_uint_gt(lun.zeros, 0);
}
END_TEST

START_TEST(zeros_are_written_where_the_target_cannot_zero)
{
	lun.zero_refused = TRUE;
	check_zeros();
	ck_assert_uint_eq(lun.zeros, 0);
}
END_TEST

START_TEST(whoever_only_tries_writes_the_zeros_himself)
{
	AUTO(handle) handle = open_lun(HANDLE_WRITE);
	gboolean zeroed;

	ck_assert(handle_try_zero(handle, SIZE - 1, 0, &zeroed, NULL));
	ck_assert(zeroed);
	lun.zero_refused = TRUE;
	lun.writes = 0;
	ck_assert(handle_try_zero(handle, SIZE - 1, 0, &zeroed, NULL));
	ck_assert(!zeroed);
	ck_assert_uint_eq(lun.writes, 0);
	arm(BLOCKMIG_ERROR_PERMANENT);
	ck_assert(!handle_try_zero(handle, SIZE, 0, &zeroed, NULL));
}
END_TEST

START_TEST(a_failed_zero_is_not_written_over)
{
	AUTO(handle) handle = open_lun(HANDLE_WRITE);

	arm(BLOCKMIG_ERROR_PERMANENT);
	ck_assert(!handle_zero(handle, SIZE, 0, NULL));
	ck_assert_uint_eq(lun.writes, 0);
}
END_TEST

START_TEST(no_progress_is_an_error_and_not_an_endless_loop)
{
	AUTO(handle) handle = open_lun(HANDLE_WRITE);
	guint8 *data = pattern_new(1);

	lun.no_progress = TRUE;
	ck_assert(!handle_read(handle, data, BLOCK, 0, NULL));
	ck_assert(!handle_write(handle, data, BLOCK, 0, NULL));
	transport_buffer_free(data);
}
END_TEST

/* ---- what is refused ---------------------------------------------------------- */

START_TEST(nothing_reaches_beyond_the_end)
{
	static const guint64 beyond[][2] = {
		{1, SIZE}, {2, SIZE - 1}, {SIZE + 1, 0}, {1, G_MAXUINT64}, {G_MAXUINT64, 1}};
	AUTO(handle) handle = open_lun(HANDLE_WRITE);

	for (guint i = 0; i < G_N_ELEMENTS(beyond); i++) {
		guint64 count = beyond[i][0], offset = beyond[i][1];
		ck_assert(!handle_read(handle, lun.bytes, count, offset, NULL));
		ck_assert(!handle_write(handle, lun.bytes, count, offset, NULL));
		ck_assert(!handle_zero(handle, count, offset, NULL));
		ck_assert_ptr_null(handle_extents(handle, count, offset, NULL));
	}
}
END_TEST

START_TEST(a_handle_for_reading_does_not_write)
{
	AUTO(handle) handle = open_lun(HANDLE_READ);
	g_autoptr(GError) error = NULL;

	ck_assert(!handle_write(handle, lun.bytes, BLOCK, 0, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_PERMANENT));
	ck_assert(!handle_zero(handle, BLOCK, 0, NULL));
	ck_assert(!handle_resize(handle, BLOCK, NULL));
	ck_assert(handle_flush(handle, NULL));
}
END_TEST

START_TEST(a_handle_is_spent_after_a_lost_connection)
{
	AUTO(handle) handle = open_lun(HANDLE_WRITE);
	g_autoptr(GError) error = NULL;
	struct image_info info;
	guint8 *data = pattern_new(1);

	arm(BLOCKMIG_ERROR_TRANSIENT);
	ck_assert(!handle_write(handle, data, BLOCK, 0, NULL));
	ck_assert(!handle_write(handle, data, BLOCK, 0, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_TRANSIENT));
	ck_assert(!handle_read(handle, data, BLOCK, 0, NULL));
	ck_assert(!handle_zero(handle, BLOCK, 0, NULL));
	ck_assert(!handle_flush(handle, NULL));
	ck_assert(!handle_describe(handle, &info, NULL));
	ck_assert_ptr_null(handle_extents(handle, BLOCK, 0, NULL));
	transport_buffer_free(data);
}
END_TEST

START_TEST(a_handle_lives_on_after_a_refusal)
{
	AUTO(handle) handle = open_lun(HANDLE_WRITE);

	arm(BLOCKMIG_ERROR_PERMANENT);
	ck_assert(!handle_flush(handle, NULL));
	ck_assert(handle_flush(handle, NULL));
}
END_TEST

START_TEST(what_the_table_leaves_out_is_refused)
{
	AUTO(handle) handle = open_lun(HANDLE_WRITE);
	AUTO(url) image = url_parse("iscsi://memory/iqn.x:y/1", NULL);
	AUTO(url) place = url_parse("iscsi://memory/iqn.x:y/", NULL);
	struct image_create create = {.size_bytes = 1};
	guint64 free_bytes, total_bytes;

	ck_assert(!handle_resize(handle, SIZE, NULL));
	ck_assert(!image_create(image, NULL, &create, NULL));
	ck_assert(!image_remove(image, NULL, NULL));
	ck_assert(!place_space(place, NULL, &free_bytes, &total_bytes, NULL));
	ck_assert_ptr_null(place_list(place, NULL, NULL));
}
END_TEST

START_TEST(a_place_is_no_image_and_an_image_no_place)
{
	AUTO(url) image = url_parse("iscsi://memory/iqn.x:y/1", NULL);
	AUTO(url) place = url_parse("iscsi://memory/iqn.x:y/", NULL);
	g_autoptr(GError) error = NULL;

	ck_assert_ptr_null(handle_open(place, NULL, HANDLE_READ, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
	ck_assert_ptr_null(place_list(image, NULL, NULL));
}
END_TEST

/* ---- extents ------------------------------------------------------------------ */

START_TEST(extents_cover_exactly_what_was_asked_for)
{
	AUTO(handle) handle = open_lun(HANDLE_READ);
	AUTO(extents) extents = handle_extents(handle, 3 * BLOCK, BLOCK / 2, NULL);

	ck_assert_uint_eq(extents_count(extents), 4);
	ck_assert_uint_eq(extents_get(extents, 0)->offset_bytes, BLOCK / 2);
	ck_assert_uint_eq(extents_get(extents, 0)->length_bytes, BLOCK / 2);
	ck_assert_int_eq(extents_get(extents, 1)->kind, EXTENT_ZERO);
	ck_assert_uint_eq(extents_get(extents, 3)->length_bytes, BLOCK / 2);
	ck_assert_uint_eq(extents_bytes(extents, EXTENT_DATA) + extents_bytes(extents, EXTENT_ZERO),
			  3 * BLOCK);
}
END_TEST

START_TEST(what_nobody_knows_is_data)
{
	AUTO(handle) handle = open_lun(HANDLE_READ);

	lun.knows_nothing = TRUE;
	AUTO(extents) extents = handle_extents(handle, SIZE, 0, NULL);
	ck_assert_uint_eq(extents_bytes(extents, EXTENT_DATA), SIZE);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("transport");
	TCase *tcase = tcase_create("transport");
	SRunner *runner = srunner_create(suite);

	suite_add_tcase(suite, tcase);
	tcase_add_loop_test(tcase, a_write_of_any_range_changes_that_range_alone, 0,
			    G_N_ELEMENTS(ranges));
	tcase_add_loop_test(tcase, a_read_of_any_range_gives_that_range_alone, 0,
			    G_N_ELEMENTS(ranges));
	tcase_add_test(tcase, zeros_of_any_range_change_that_range_alone);
	tcase_add_test(tcase, zeros_are_written_where_the_target_cannot_zero);
	tcase_add_test(tcase, whoever_only_tries_writes_the_zeros_himself);
	tcase_add_test(tcase, a_failed_zero_is_not_written_over);
	tcase_add_test(tcase, no_progress_is_an_error_and_not_an_endless_loop);
	tcase_add_test(tcase, nothing_reaches_beyond_the_end);
	tcase_add_test(tcase, a_handle_for_reading_does_not_write);
	tcase_add_test(tcase, a_handle_is_spent_after_a_lost_connection);
	tcase_add_test(tcase, a_handle_lives_on_after_a_refusal);
	tcase_add_test(tcase, what_the_table_leaves_out_is_refused);
	tcase_add_test(tcase, a_place_is_no_image_and_an_image_no_place);
	tcase_add_test(tcase, extents_cover_exactly_what_was_asked_for);
	tcase_add_test(tcase, what_nobody_knows_is_data);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
