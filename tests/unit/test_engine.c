/* The copy engine between two images in memory: what it sends and proves, in which order. */
#include "common/error.h"
#include "common/units.h"
#include "tests/unit/copying.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <string.h>

const struct transport transport_nbd = MEMORY_TRANSPORT;

static struct copying copying;

#define ck_ok(condition)                                                                           \
	ck_assert_msg(condition, "%s", copying.error ? copying.error->message : "?")

/* ---- plain copies ---------------------------------------------------------------------- */

START_TEST(copies_every_chunk_size_with_an_unaligned_tail)
{
	copying_begin_dense(&copying, 9 * MiB + 4321);
	copying.spec.unit_bytes = MiB << _i;
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.bytes_sent, 9 * MiB + 4321);
	ck_assert_uint_eq(copying.totals.bytes_data, 9 * MiB + 4321);
	ck_assert_uint_eq(copying.totals.bytes_resent, 0);
	copying_end(&copying);
}
END_TEST

START_TEST(copies_with_any_number_of_workers)
{
	copying_begin_dense(&copying, 20 * MiB);
	copying.spec.workers = (guint)_i;
	copying_assert_copied(&copying);
	copying_end(&copying);
}
END_TEST

START_TEST(content_lies_at_an_offset_in_either_image)
{
	copying_begin_dense(&copying, 12 * MiB);
	copying.spec.content_bytes = 5 * MiB + 77;
	copying.source_end.offset_bytes = 3 * MiB + 1;
	copying.destination_end.offset_bytes = 2 * MiB + 512;
	copying.spec.workers = 4;
	copying_assert_copied(&copying);
	ck_assert(buffer_is_zero(copying.destination->stable, 2 * MiB + 512));
	ck_assert(buffer_is_zero(copying.destination->stable + 7 * MiB + 512 + 77, MiB));
	copying_end(&copying);
}
END_TEST

START_TEST(an_empty_image_is_copied_at_once)
{
	copying_begin(&copying, 0);
	ck_ok(copying_run(&copying));
	copying_end(&copying);
}
END_TEST

START_TEST(copies_only_the_pieces_asked_for)
{
	const struct copy_range ranges[] = {{MiB, 65536}, {5 * MiB + 512, MiB}, {4 * MiB, 512}};

	copying_begin_dense(&copying, 8 * MiB);
	copying.spec.ranges = ranges;
	copying.spec.range_count = G_N_ELEMENTS(ranges);
	ck_ok(copying_run(&copying));
	ck_assert_uint_eq(copying.totals.bytes_sent, MiB + 65536 + 512);
	for (guint i = 0; i < G_N_ELEMENTS(ranges); i++)
		ck_assert_mem_eq(copying.destination->stable + ranges[i].offset_bytes,
				 copying.source->bytes + ranges[i].offset_bytes,
				 ranges[i].length_bytes);
	ck_assert(buffer_is_zero(copying.destination->stable, MiB));
	copying_end(&copying);
}
END_TEST

START_TEST(root_is_the_digest_of_the_contents_chunks)
{
	AUTO(manifest_root) manifest = manifest_root_new();
	struct digest digest, expected, root;

	copying_begin(&copying, 5 * MiB + 512);
	memory_fill_random(copying.source, 2 * MiB, MiB, 1);
	copying_assert_copied(&copying);
	for (guint64 at = 0; at < 5 * MiB + 512; at += MiB) {
		digest_compute(copying.source->bytes + at, MIN(MiB, 5 * MiB + 512 - at), &digest);
		manifest_root_add(manifest, &digest, 1);
	}
	manifest_root_finish(manifest, &expected);
	ck_ok(copy_root(copying.ledger, copying.spec.pass, 5 * MiB + 512, MiB, &root,
			&copying.error));
	ck_assert(digest_equal(&root, &expected));
	copying_end(&copying);
}
END_TEST

START_TEST(without_proof_nothing_is_read_back)
{
	copying_begin_dense(&copying, 4 * MiB);
	copying.spec.prove = FALSE;
	ck_ok(copying_run(&copying));
	ck_assert(copying_is_equal(&copying));
	ck_assert_uint_eq(copying.destination->calls[MEMORY_READ], 0);
	ck_assert_int_eq(copying_state(&copying, 0), UNIT_DONE);
	copying_end(&copying);
}
END_TEST

START_TEST(odd_chunk_size_is_refused)
{
	copying_begin(&copying, 4 * MiB);
	copying.spec.unit_bytes = 3 * MiB;
	copying_assert_fails(&copying, BLOCKMIG_ERROR_USAGE, "power of two");
	copying_end(&copying);
}
END_TEST

START_TEST(image_too_small_is_refused)
{
	copying_begin(&copying, 4 * MiB);
	copying.spec.content_bytes = 5 * MiB;
	copying_assert_fails(&copying, BLOCKMIG_ERROR_PERMANENT, "large enough");
	copying_end(&copying);
}
END_TEST

/* As on a host that lends no more; the engine's own call ends here. */
gpointer g_try_malloc0(gsize bytes)
{
	return bytes <= GiB ? g_malloc0(bytes) : NULL;
}

START_TEST(an_image_that_claims_more_chunks_than_memory_can_hold_is_refused_by_name)
{
	copying_begin(&copying, 4 * MiB);
	copying.spec.content_bytes = G_MAXINT64;
	copying_assert_fails(&copying, BLOCKMIG_ERROR_PERMANENT,
			     "nbd+unix:///source?socket=/memory: of 9223372036854775807 bytes");
	copying_end(&copying);
}
END_TEST

/* ---- zeros ------------------------------------------------------------------------------- */

START_TEST(zeros_are_left_out_at_a_fresh_destination)
{
	copying_begin_sparse(&copying);
	copying.source->extents_trusted = _i & 1;
	copying.destination->extents_trusted = (_i & 2) != 0;
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.bytes_sent, MiB + 65536);
	ck_assert_uint_eq(copying.totals.bytes_data, MiB + 65536);
	ck_assert_uint_eq(copying.destination->calls[MEMORY_ZERO], 0);
	/* Two chunks are read; the holes are proven by extents or by allocation. */
	ck_assert_uint_eq(copying.destination->calls[MEMORY_READ], 2);
	if (_i & 1)
		ck_assert_uint_eq(copying.source->calls[MEMORY_READ], 2);
	copying_end(&copying);
}
END_TEST

START_TEST(zeros_replace_what_a_used_destination_holds)
{
	copying_begin_sparse(&copying);
	copying.source->extents_trusted = _i & 1;
	copying.destination->zero_deallocates = (_i & 2) != 0;
	copying.spec.fresh = FALSE;
	memory_fill_random(copying.destination, 0, 16 * MiB, 7);
	copying_assert_copied(&copying);
	ck_assert_uint_gt(copying.destination->calls[MEMORY_ZERO], 0);
	copying_end(&copying);
}
END_TEST

START_TEST(a_stray_byte_in_a_hole_is_found_and_zeroed)
{
	copying_begin_sparse(&copying);
	copying.destination->extents_trusted = _i & 1;
	memory_fill(copying.destination, 12 * MiB + 5, "x", 1);
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.mismatches, 1);
	copying_end(&copying);
}
END_TEST

/* ---- order: what the ledger says is true at every moment ------------------------------------ */

struct witness {
	guint8 read[64]; /* which units a reading handle has read */
	guint violations;
};

static gboolean is_stable(guint64 index)
{
	return memcmp(copying.source->bytes + index * MiB,
		      copying.destination->stable + index * MiB, MiB) == 0;
}

static gboolean witness_row(const struct ledger_unit *unit, void *data)
{
	struct witness *witness = data;

	for (guint64 i = unit->index; i < unit->index + unit->count; i++) {
		if (unit->state >= UNIT_DONE && !is_stable(i))
			witness->violations++;
		if (unit->state == UNIT_PROVEN && !witness->read[i])
			witness->violations++;
	}
	return TRUE;
}

/* Looks at the ledger over a connection of its own, at every call that a handle gets. */
static gboolean witness_call(const struct memory_event *event, void *data, GError **error)
{
	struct witness *witness = data;
	AUTO(ledger) ledger = ledger_open(copying.folder, NULL);

	(void)error;
	ck_assert_ptr_nonnull(ledger);
	ck_assert(ledger_units_each(ledger, copying.spec.pass, witness_row, witness, NULL));
	if (event->op == MEMORY_READ && event->mode == HANDLE_READ)
		witness->read[event->offset / MiB] = TRUE;
	return TRUE;
}

START_TEST(done_is_flushed_and_proven_is_read_by_another_handle)
{
	struct witness witness = {.violations = 0};

	copying_begin_dense(&copying, 48 * MiB);
	copying.destination->hook = witness_call;
	copying.destination->hook_data = &witness;
	copying.spec.workers = 4;
	copying_assert_copied(&copying);
	ck_assert_uint_eq(witness.violations, 0);
	copying_end(&copying);
}
END_TEST

static gboolean count_claims(const struct ledger_unit *unit, void *data)
{
	guint64 *claimed = data;

	*claimed += unit->state == UNIT_SENT ? unit->count : 0;
	return TRUE;
}

/* What a run that died at this call would have to send again. */
static gboolean claims_call(const struct memory_event *event, void *data, GError **error)
{
	guint64 *most = data, claimed = 0;
	AUTO(ledger) ledger = ledger_open(copying.folder, NULL);

	(void)event;
	(void)error;
	ck_assert(ledger_units_each(ledger, copying.spec.pass, count_claims, &claimed, NULL));
	*most = MAX(*most, claimed);
	return TRUE;
}

START_TEST(claims_never_exceed_the_window)
{
	guint64 most = 0;

	copying_begin_dense(&copying, 100 * MiB);
	copying.spec.workers = 4;
	copying.destination->hook = claims_call;
	copying.destination->hook_data = &most;
	copying_assert_copied(&copying);
	ck_assert_uint_gt(most, 0);
	ck_assert_uint_le(most, COPY_WINDOW_BYTES / MiB);
	copying_end(&copying);
}
END_TEST

static void add_plain(Suite *suite)
{
	TCase *tests = tcase_create("plain");

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, copies_every_chunk_size_with_an_unaligned_tail, 0, 7);
	tcase_add_loop_test(tests, copies_with_any_number_of_workers, 0, 9);
	tcase_add_test(tests, content_lies_at_an_offset_in_either_image);
	tcase_add_test(tests, an_empty_image_is_copied_at_once);
	tcase_add_test(tests, copies_only_the_pieces_asked_for);
	tcase_add_test(tests, root_is_the_digest_of_the_contents_chunks);
	tcase_add_test(tests, without_proof_nothing_is_read_back);
	tcase_add_test(tests, odd_chunk_size_is_refused);
	tcase_add_test(tests, image_too_small_is_refused);
	tcase_add_test(tests,
		       an_image_that_claims_more_chunks_than_memory_can_hold_is_refused_by_name);
	tcase_add_loop_test(tests, zeros_are_left_out_at_a_fresh_destination, 0, 4);
	tcase_add_loop_test(tests, zeros_replace_what_a_used_destination_holds, 0, 4);
	tcase_add_loop_test(tests, a_stray_byte_in_a_hole_is_found_and_zeroed, 0, 2);
	tcase_add_test(tests, done_is_flushed_and_proven_is_read_by_another_handle);
	tcase_add_test(tests, claims_never_exceed_the_window);
	suite_add_tcase(suite, tests);
}

int main(void)
{
	Suite *suite = suite_create("engine");
	SRunner *runner = srunner_create(suite);
	int failed;

	add_plain(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
