/*
 * A report of holes that turns out wrong while it is used: what was believed before is
 * read after all.  The images lie in memory; the last extents that may be asked for
 * without the lie being found are counted.
 */
#include "blockmig/copy/compare.h"
#include "common/units.h"
#include "tests/unit/copying.h"
#include "tests/unit/images.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <string.h>

enum { CHUNKS = 8, CONTENT = CHUNKS * MiB, LIE = 3, NEVER = 1 << 20 };

static struct copying copying;
static const char *liar; /* "source" or "destination" */
static gint answers_left;

/* A chunk at a time; then the lie is out, for all of its handles. */
static gboolean lying_extents(struct handle *handle, guint64 count, guint64 offset,
			      struct extents *extents, GError **error)
{
	if (!strstr(handle->name, liar))
		return memory_extents(handle, count, offset, extents, error);
	if (g_atomic_int_add(&answers_left, -1) <= 0) {
		handle->holes_refuted = TRUE;
		return TRUE;
	}
	return memory_extents(handle, MIN(count, (guint64)MiB), offset, extents, error);
}

const struct transport transport_nbd =
	MEMORY_TRANSPORT_WITH(memory_close, memory_pwrite, memory_flush, lying_extents);

/* Backwards, so that each chunk is asked for alone. */
static const struct copy_range backwards[] = {
	{7 * MiB, MiB}, {6 * MiB, MiB}, {5 * MiB, MiB}, {4 * MiB, MiB},
	{3 * MiB, MiB}, {2 * MiB, MiB}, {MiB, MiB},	{0, MiB},
};

static void lie(struct memory_image *image, const char *name, int answers)
{
	image->extents_trusted = TRUE;
	memset(image->allocated + LIE * MiB / 4096, 0, MiB / 4096);
	liar = name;
	answers_left = answers;
}

static void begin_with_lying_source(int answers)
{
	copying_begin_dense(&copying, CONTENT);
	lie(copying.source, "source", answers);
}

START_TEST(holes_that_were_told_in_the_same_answer_are_read)
{
	begin_with_lying_source(LIE + 2);
	AUTO(handle) handle = handle_open(copying.source_url, NULL, HANDLE_READ, NULL);
	AUTO(extents) extents = handle_extents(handle, CONTENT, 0, NULL);

	ck_assert_uint_eq(extents_bytes(extents, EXTENT_DATA), CONTENT);
	answers_left = LIE + 2;
	copying_assert_copied(&copying);
	copying_end(&copying);
}
END_TEST

START_TEST(holes_that_were_told_before_are_read)
{
	begin_with_lying_source(CHUNKS - 1);
	copying.spec.ranges = backwards;
	copying.spec.range_count = CHUNKS;
	copying_assert_copied(&copying);
	copying_end(&copying);
}
END_TEST

static gboolean fail_behind_the_lie(const struct memory_event *event, void *data G_GNUC_UNUSED,
				    GError **error)
{
	if (event->op != MEMORY_WRITE || event->offset <= LIE * MiB)
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT, "enough");
	return FALSE;
}

START_TEST(zeros_of_an_earlier_run_are_read)
{
	begin_with_lying_source(NEVER);
	copying.destination->hook = fail_behind_the_lie;
	copying_assert_fails(&copying, BLOCKMIG_ERROR_PERMANENT, "enough");
	ck_assert_int_ge(copying_state(&copying, LIE), UNIT_DONE);
	copying.destination->hook = NULL;
	answers_left = 0;
	copying_assert_copied(&copying);
	copying_end(&copying);
}
END_TEST

/*
 * Zeros are left out at a destination that counts as fresh, and holds something.  Two
 * stretches of zeros, with data between; the first one is proven by the report.
 */
START_TEST(zeros_that_were_proven_by_it_are_proven_again)
{
	copying_begin(&copying, CONTENT);
	memory_fill_random(copying.source, (LIE + 1) * MiB, MiB, 1);
	memory_fill_random(copying.destination, LIE * MiB, MiB, 2);
	lie(copying.destination, "destination", LIE + 1);
	copying_assert_copied(&copying);
	ck_assert_uint_ge(copying.totals.mismatches, 1);
	copying_end(&copying);
}
END_TEST

START_TEST(images_that_were_equal_by_it_are_compared_again)
{
	struct compare_totals totals;

	copying_begin(&copying, CONTENT);
	memory_fill_random(copying.destination, LIE * MiB, MiB, 1);
	lie(copying.destination, "destination", CHUNKS - 1);
	copying.source->extents_trusted = TRUE;
	ck_assert(!compare_images(&copying.source_end, &copying.destination_end, CONTENT, MiB,
				  backwards, CHUNKS, 0, NULL, NULL, &totals, &copying.error));
	ck_assert_msg(error_is(copying.error, BLOCKMIG_ERROR_INTEGRITY), "%s",
		      copying.error->message);
	copying_end(&copying);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("copy, holes that are refuted");
	TCase *tcase = tcase_create("refuted");

	suite_add_tcase(suite, tcase);
	tcase_add_unchecked_fixture(tcase, temp_make, temp_remove);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, holes_that_were_told_in_the_same_answer_are_read);
	tcase_add_test(tcase, holes_that_were_told_before_are_read);
	tcase_add_test(tcase, zeros_of_an_earlier_run_are_read);
	tcase_add_test(tcase, zeros_that_were_proven_by_it_are_proven_again);
	tcase_add_test(tcase, images_that_were_equal_by_it_are_compared_again);
	return images_run(suite);
}
