/* Comparing two images, and an image with the manifest of its copy. */
#include "blockmig/copy/compare.h"
#include "common/error.h"
#include "common/stop.h"
#include "common/units.h"
#include "tests/unit/copying.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <string.h>

/* As the real one, which alone knows of layers; a test sets which part is unallocated. */
static guint64 unknown_from, unknown_to;

static gboolean layered_extents(struct handle *handle, guint64 count, guint64 offset,
				struct extents *extents, GError **error)
{
	const guint64 end = offset + count;
	const gboolean is_layer = g_str_has_prefix(handle->name, "nbd+unix:///destination");

	if (!is_layer || unknown_to == 0)
		return memory_extents(handle, count, offset, extents, error);
	for (guint64 next; offset < end; offset = next) {
		const gboolean inside = offset >= unknown_from && offset < unknown_to;

		next = MIN(end, offset + 4096);
		extents_append(extents, offset, next - offset,
			       inside ? EXTENT_UNKNOWN : EXTENT_DATA);
	}
	return TRUE;
}

const struct transport transport_nbd =
	MEMORY_TRANSPORT_WITH(memory_close, memory_pwrite, memory_flush, layered_extents);

static struct copying copying;
static struct compare_totals totals;

enum { CONTENT = (9 << 20) + 512 };

/* Two equal images with data, zeros, and a short last chunk. */
static void setup(void)
{
	unknown_from = unknown_to = 0;
	copying_begin(&copying, CONTENT);
	memory_fill_random(copying.source, 0, 2 * MiB + 5, 1);
	memory_fill_random(copying.source, 6 * MiB, MiB, 2);
	memory_fill(copying.destination, 0, copying.source->bytes, 2 * MiB + 5);
	memory_fill(copying.destination, 6 * MiB, copying.source->bytes + 6 * MiB, MiB);
}

static void teardown(void)
{
	copying_end(&copying);
}

static gboolean compare(void)
{
	g_clear_error(&copying.error);
	return compare_images(&copying.source_end, &copying.destination_end, CONTENT, MiB, NULL, 0,
			      5000, NULL, NULL, &totals, &copying.error);
}

static void assert_equal(void)
{
	ck_assert_msg(compare(), "%s", copying.error ? copying.error->message : "?");
	ck_assert_uint_eq(totals.chunks_equal, 10);
	ck_assert_uint_eq(totals.bytes_compared, CONTENT);
	ck_assert(digest_equal(&totals.root_a, &totals.root_b));
}

static void assert_different_at(guint64 offset)
{
	g_autofree char *words = g_strdup_printf("at offset %" G_GUINT64_FORMAT " ", offset);

	ck_assert(!compare());
	ck_assert(error_is(copying.error, BLOCKMIG_ERROR_INTEGRITY));
	ck_assert_msg(strstr(copying.error->message, words) != NULL, "%s", copying.error->message);
}

START_TEST(equal_images_are_equal)
{
	copying.source->extents_trusted = _i & 1;
	copying.destination->extents_trusted = (_i & 2) != 0;
	assert_equal();
	if (_i == 3) /* zeros on both sides are not read */
		ck_assert_uint_eq(copying.source->calls[MEMORY_READ], 4);
}
END_TEST

START_TEST(one_flipped_byte_is_found_and_named)
{
	static const guint64 places[] = {0, 2 * MiB + 4, 4 * MiB + 9, 7 * MiB - 1, CONTENT - 1};
	const guint8 flipped = copying.destination->bytes[places[_i]] ^ 1;

	memory_fill(copying.destination, places[_i], &flipped, 1);
	copying.source->extents_trusted = TRUE;
	copying.destination->extents_trusted = TRUE;
	assert_different_at(places[_i]);
}
END_TEST

START_TEST(only_the_ranges_asked_for_are_compared)
{
	const struct copy_range ranges[] = {{6 * MiB, MiB}, {512, 4096}};

	memory_fill(copying.destination, 0, "x", 1);
	ck_assert(compare_images(&copying.source_end, &copying.destination_end, CONTENT, MiB,
				 ranges, 2, 0, NULL, NULL, &totals, NULL));
	ck_assert_uint_eq(totals.bytes_compared, MiB + 4096);
	memory_fill(copying.destination, 600, "x", 1);
	ck_assert(!compare_images(&copying.source_end, &copying.destination_end, CONTENT, MiB,
				  ranges, 2, 0, NULL, NULL, &totals, NULL));
}
END_TEST

START_TEST(a_layer_that_hides_the_one_below_is_found)
{
	unknown_from = 4 * MiB;
	unknown_to = 4 * MiB + 65536;
	ck_assert(!compare());
	ck_assert_ptr_nonnull(strstr(copying.error->message, "layers below"));
}
END_TEST

static gboolean lose_call(const struct memory_event *event, void *data, GError **error)
{
	struct memory_image *image = data;

	if (event->op == MEMORY_READ && image->calls[MEMORY_READ] == 3)
		return memory_lost(error);
	return TRUE;
}

START_TEST(a_lost_connection_is_survived)
{
	copying.destination->hook = lose_call;
	copying.destination->hook_data = copying.destination;
	assert_equal();
}
END_TEST

START_TEST(an_image_that_cannot_be_opened_is_reported)
{
	AUTO(url) nowhere = memory_url("nowhere");

	copying.destination_end.url = nowhere;
	ck_assert(!compare());
	ck_assert(error_is(copying.error, BLOCKMIG_ERROR_NOT_FOUND));
}
END_TEST

static gboolean lose_every_call(const struct memory_event *event, void *data, GError **error)
{
	return event->op != *(enum memory_op *)data || memory_lost(error);
}

/* It would be tried again for an hour, long after the test's time. */
START_TEST(an_image_that_is_gone_does_not_wait_for_the_other_ones_connection)
{
	static const enum memory_op lost[] = {MEMORY_OPEN, MEMORY_READ};
	AUTO(url) nowhere = memory_url("nowhere");
	enum memory_op op = lost[_i];

	copying.source_end.url = nowhere;
	copying.destination->hook = lose_every_call;
	copying.destination->hook_data = &op;
	ck_assert(!compare_images(&copying.source_end, &copying.destination_end, CONTENT, MiB, NULL,
				  0, 3600000, NULL, NULL, &totals, &copying.error));
	ck_assert(error_is(copying.error, BLOCKMIG_ERROR_NOT_FOUND));
}
END_TEST

START_TEST(a_stop_ends_it)
{
	stop_request();
	ck_assert(!compare());
	ck_assert(error_is(copying.error, BLOCKMIG_ERROR_STOPPED));
}
END_TEST

static gboolean compare_copy(void)
{
	g_clear_error(&copying.error);
	return compare_manifest(copying.ledger, copying.spec.pass, &copying.destination_end,
				CONTENT, MiB, 0, NULL, NULL, &totals, &copying.error);
}

START_TEST(a_copy_equals_its_manifest_until_a_byte_is_flipped)
{
	struct digest root;

	copying.source->extents_trusted = _i & 1;
	copying.destination->extents_trusted = _i & 1;
	ck_assert(copying_run(&copying));
	ck_assert_msg(compare_copy(), "%s", copying.error ? copying.error->message : "?");
	ck_assert(copy_root(copying.ledger, copying.spec.pass, CONTENT, MiB, &root, NULL));
	ck_assert(digest_equal(&root, &totals.root_a));
	ck_assert(digest_equal(&root, &totals.root_b));

	memory_fill(copying.destination, CONTENT - 100, "x", 1);
	ck_assert(!compare_copy());
	ck_assert(error_is(copying.error, BLOCKMIG_ERROR_INTEGRITY));
}
END_TEST

START_TEST(an_unfinished_pass_has_no_manifest)
{
	ck_assert(copying_run(&copying));
	ck_assert(ledger_pass_clear(copying.ledger, copying.spec.pass, NULL));
	ck_assert(!compare_copy());
	ck_assert(error_is(copying.error, BLOCKMIG_ERROR_PERMANENT));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("compare");
	TCase *tests = tcase_create("compare");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_set_timeout(tests, 60);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, equal_images_are_equal, 0, 4);
	tcase_add_loop_test(tests, one_flipped_byte_is_found_and_named, 0, 5);
	tcase_add_test(tests, only_the_ranges_asked_for_are_compared);
	tcase_add_test(tests, a_layer_that_hides_the_one_below_is_found);
	tcase_add_test(tests, a_lost_connection_is_survived);
	tcase_add_test(tests, an_image_that_cannot_be_opened_is_reported);
	tcase_add_loop_test(
		tests, an_image_that_is_gone_does_not_wait_for_the_other_ones_connection, 0, 2);
	tcase_add_test(tests, a_stop_ends_it);
	tcase_add_loop_test(tests, a_copy_equals_its_manifest_until_a_byte_is_flipped, 0, 2);
	tcase_add_test(tests, an_unfinished_pass_has_no_manifest);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
