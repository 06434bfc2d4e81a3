/* The copy engine between two images in memory: what it sends, proves, and survives. */
#include "common/error.h"
#include "common/stop.h"
#include "common/units.h"
#include "tests/unit/copying.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <string.h>

const struct transport transport_nbd = MEMORY_TRANSPORT;

static struct copying copying;

#define ck_ok(condition)                                                                           \
	ck_assert_msg(condition, "%s", copying.error ? copying.error->message : "?")

static void begin(guint64 content_bytes)
{
	copying_begin(&copying, content_bytes);
}

static void begin_dense(guint64 content_bytes)
{
	begin(content_bytes);
	memory_fill_random(copying.source, 0, content_bytes, 1);
}

static void end(void)
{
	copying_end(&copying);
}

static void assert_copied(void)
{
	ck_ok(copying_run(&copying));
	ck_assert(copying_is_equal(&copying));
	ck_assert_uint_eq(copying.totals.units_proven, copying.totals.units_total);
}

static void assert_fails_with(enum blockmig_error code, const char *words)
{
	ck_assert(!copying_run(&copying));
	ck_assert_msg(error_is(copying.error, code), "%s", copying.error->message);
	ck_assert_msg(strstr(copying.error->message, words) != NULL, "%s", copying.error->message);
}

/* ---- plain copies ---------------------------------------------------------------------- */

START_TEST(copies_every_chunk_size_with_an_unaligned_tail)
{
	begin_dense(9 * MiB + 4321);
	copying.spec.unit_bytes = MiB << _i;
	assert_copied();
	ck_assert_uint_eq(copying.totals.bytes_sent, 9 * MiB + 4321);
	ck_assert_uint_eq(copying.totals.bytes_data, 9 * MiB + 4321);
	ck_assert_uint_eq(copying.totals.bytes_resent, 0);
	end();
}
END_TEST

START_TEST(copies_with_any_number_of_workers)
{
	begin_dense(20 * MiB);
	copying.spec.workers = (guint)_i;
	assert_copied();
	end();
}
END_TEST

START_TEST(content_lies_at_an_offset_in_either_image)
{
	begin_dense(12 * MiB);
	copying.spec.content_bytes = 5 * MiB + 77;
	copying.source_end.offset_bytes = 3 * MiB + 1;
	copying.destination_end.offset_bytes = 2 * MiB + 512;
	copying.spec.workers = 4;
	assert_copied();
	ck_assert(buffer_is_zero(copying.destination->stable, 2 * MiB + 512));
	ck_assert(buffer_is_zero(copying.destination->stable + 7 * MiB + 512 + 77, MiB));
	end();
}
END_TEST

START_TEST(an_empty_image_is_copied_at_once)
{
	begin(0);
	ck_ok(copying_run(&copying));
	end();
}
END_TEST

START_TEST(copies_only_the_pieces_asked_for)
{
	const struct copy_range ranges[] = {{MiB, 65536}, {5 * MiB + 512, MiB}, {4 * MiB, 512}};

	begin_dense(8 * MiB);
	copying.spec.ranges = ranges;
	copying.spec.range_count = G_N_ELEMENTS(ranges);
	ck_ok(copying_run(&copying));
	ck_assert_uint_eq(copying.totals.bytes_sent, MiB + 65536 + 512);
	for (guint i = 0; i < G_N_ELEMENTS(ranges); i++)
		ck_assert_mem_eq(copying.destination->stable + ranges[i].offset_bytes,
				 copying.source->bytes + ranges[i].offset_bytes,
				 ranges[i].length_bytes);
	ck_assert(buffer_is_zero(copying.destination->stable, MiB));
	end();
}
END_TEST

START_TEST(root_is_the_digest_of_the_contents_chunks)
{
	AUTO(manifest_root) manifest = manifest_root_new();
	struct digest digest, expected, root;

	begin(5 * MiB + 512);
	memory_fill_random(copying.source, 2 * MiB, MiB, 1);
	assert_copied();
	for (guint64 at = 0; at < 5 * MiB + 512; at += MiB) {
		digest_compute(copying.source->bytes + at, MIN(MiB, 5 * MiB + 512 - at), &digest);
		manifest_root_add(manifest, &digest, 1);
	}
	manifest_root_finish(manifest, &expected);
	ck_ok(copy_root(copying.ledger, copying.spec.pass, 5 * MiB + 512, MiB, &root,
			&copying.error));
	ck_assert(digest_equal(&root, &expected));
	end();
}
END_TEST

START_TEST(without_proof_nothing_is_read_back)
{
	begin_dense(4 * MiB);
	copying.spec.prove = FALSE;
	ck_ok(copying_run(&copying));
	ck_assert(copying_is_equal(&copying));
	ck_assert_uint_eq(copying.destination->calls[MEMORY_READ], 0);
	ck_assert_int_eq(copying_state(&copying, 0), UNIT_DONE);
	end();
}
END_TEST

START_TEST(odd_chunk_size_is_refused)
{
	begin(4 * MiB);
	copying.spec.unit_bytes = 3 * MiB;
	assert_fails_with(BLOCKMIG_ERROR_USAGE, "power of two");
	end();
}
END_TEST

START_TEST(image_too_small_is_refused)
{
	begin(4 * MiB);
	copying.spec.content_bytes = 5 * MiB;
	assert_fails_with(BLOCKMIG_ERROR_PERMANENT, "large enough");
	end();
}
END_TEST

/* ---- zeros ------------------------------------------------------------------------------- */

/* 16 MiB with one chunk of data, and one with data at its end alone. */
static void begin_sparse(void)
{
	begin(16 * MiB);
	memory_fill_random(copying.source, 4 * MiB, MiB, 1);
	memory_fill_random(copying.source, 9 * MiB - 4096, 4096, 2);
}

START_TEST(zeros_are_left_out_at_a_fresh_destination)
{
	begin_sparse();
	copying.source->extents_trusted = _i & 1;
	copying.destination->extents_trusted = (_i & 2) != 0;
	assert_copied();
	ck_assert_uint_eq(copying.totals.bytes_sent, MiB + 65536);
	ck_assert_uint_eq(copying.totals.bytes_data, MiB + 65536);
	ck_assert_uint_eq(copying.destination->calls[MEMORY_ZERO], 0);
	/* Two chunks are read; the holes are proven by extents or by allocation. */
	ck_assert_uint_eq(copying.destination->calls[MEMORY_READ], 2);
	if (_i & 1)
		ck_assert_uint_eq(copying.source->calls[MEMORY_READ], 2);
	end();
}
END_TEST

START_TEST(zeros_replace_what_a_used_destination_holds)
{
	begin_sparse();
	copying.source->extents_trusted = _i & 1;
	copying.destination->zero_deallocates = (_i & 2) != 0;
	copying.spec.fresh = FALSE;
	memory_fill_random(copying.destination, 0, 16 * MiB, 7);
	assert_copied();
	ck_assert_uint_gt(copying.destination->calls[MEMORY_ZERO], 0);
	end();
}
END_TEST

START_TEST(a_stray_byte_in_a_hole_is_found_and_zeroed)
{
	begin_sparse();
	copying.destination->extents_trusted = _i & 1;
	memory_fill(copying.destination, 12 * MiB + 5, "x", 1);
	assert_copied();
	ck_assert_uint_eq(copying.totals.mismatches, 1);
	end();
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

	begin_dense(48 * MiB);
	copying.destination->hook = witness_call;
	copying.destination->hook_data = &witness;
	copying.spec.workers = 4;
	assert_copied();
	ck_assert_uint_eq(witness.violations, 0);
	end();
}
END_TEST

START_TEST(claims_never_exceed_the_window)
{
	/* A small share for each of eight workers: what is claimed shows in the ledger. */
	guint64 sent = 0;

	begin_dense(80 * MiB);
	copying.spec.workers = 8;
	stop_reset();
	assert_copied();
	for (guint i = 0; i < copying.destination->log->len; i++) {
		const struct memory_event *event =
			&g_array_index(copying.destination->log, struct memory_event, i);

		sent = event->op == MEMORY_FLUSH ? 0 : sent + (event->op == MEMORY_WRITE);
		ck_assert_uint_le(sent, COPY_WINDOW_BYTES / MiB);
	}
	end();
}
END_TEST

/* ---- faults ------------------------------------------------------------------------------------
 */

/* Fails or spoils the calls number first..last of one kind by handles of one mode. */
struct fault {
	enum memory_op op;
	enum handle_mode mode;
	guint first, last, seen;
	enum blockmig_error code;
	gboolean flip; /* a bit of what was read, instead of failing */
};

static gboolean fault_call(const struct memory_event *event, void *data, GError **error)
{
	struct fault *fault = data;

	if (event->op != fault->op || event->mode != fault->mode)
		return TRUE;
	fault->seen++;
	if (fault->seen < fault->first || fault->seen > fault->last)
		return TRUE;
	if (fault->flip) {
		event->buffer[event->count / 2] ^= 0x10;
		return TRUE;
	}
	g_set_error_literal(error, BLOCKMIG_ERROR, fault->code, "memory: it broke");
	return FALSE;
}

static void plant(struct memory_image *image, struct fault *fault)
{
	image->hook = fault_call;
	image->hook_data = fault;
}

START_TEST(a_lost_connection_sends_the_whole_share_again)
{
	struct fault fault = {.op = MEMORY_WRITE,
			      .mode = HANDLE_WRITE,
			      .first = 6,
			      .last = 6,
			      .code = BLOCKMIG_ERROR_TRANSIENT};

	begin_dense(16 * MiB);
	copying.spec.workers = 1;
	plant(copying.destination, &fault);
	assert_copied();
	/* The write that failed may have arrived. */
	ck_assert_uint_eq(copying.totals.bytes_resent, 6 * MiB);
	ck_assert_uint_eq(copying.totals.bytes_sent, 21 * MiB);
	end();
}
END_TEST

START_TEST(a_failed_flush_sends_the_share_again)
{
	struct fault fault = {.op = MEMORY_FLUSH,
			      .mode = HANDLE_WRITE,
			      .first = 1,
			      .last = 1,
			      .code = BLOCKMIG_ERROR_TRANSIENT};

	begin_dense(8 * MiB);
	copying.spec.workers = 1;
	plant(copying.destination, &fault);
	assert_copied();
	ck_assert_uint_eq(copying.totals.bytes_resent, 8 * MiB);
	end();
}
END_TEST

START_TEST(a_fault_of_any_call_is_survived)
{
	const struct {
		enum memory_op op;
		enum handle_mode mode;
		gboolean at_source;
	} cases[] = {{MEMORY_OPEN, HANDLE_READ, TRUE},
		     {MEMORY_READ, HANDLE_READ, TRUE},
		     {MEMORY_OPEN, HANDLE_WRITE, FALSE},
		     {MEMORY_OPEN, HANDLE_READ, FALSE},
		     {MEMORY_READ, HANDLE_READ, FALSE}};
	struct fault fault = {.op = cases[_i].op,
			      .mode = cases[_i].mode,
			      .first = 1,
			      .last = 2,
			      .code = BLOCKMIG_ERROR_TRANSIENT};

	begin_dense(8 * MiB);
	plant(cases[_i].at_source ? copying.source : copying.destination, &fault);
	assert_copied();
	ck_assert_uint_ge(fault.seen, 3);
	end();
}
END_TEST

START_TEST(a_lasting_fault_is_reported_as_it_is)
{
	struct fault fault = {.op = MEMORY_WRITE,
			      .mode = HANDLE_WRITE,
			      .first = 3,
			      .last = G_MAXUINT,
			      .code = _i ? BLOCKMIG_ERROR_PERMANENT : BLOCKMIG_ERROR_TRANSIENT};

	begin_dense(8 * MiB);
	copying.spec.retry_for_ms = 200;
	plant(copying.destination, &fault);
	assert_fails_with(fault.code, "it broke");

	copying.destination->hook = NULL;
	assert_copied();
	ck_assert_uint_le(copying.totals.bytes_resent, 4 * MiB);
	end();
}
END_TEST

START_TEST(a_flipped_bit_is_found_and_written_again)
{
	struct fault fault = {.op = MEMORY_READ,
			      .mode = HANDLE_READ,
			      .first = 3,
			      .last = 2 + (guint)_i,
			      .flip = TRUE};

	begin_dense(8 * MiB);
	plant(copying.destination, &fault);
	assert_copied();
	ck_assert_uint_eq(copying.totals.mismatches, (guint)_i);
	ck_assert_uint_eq(copying.totals.bytes_resent, (guint)_i * MiB);
	end();
}
END_TEST

START_TEST(a_destination_that_never_keeps_its_data_is_an_integrity_failure)
{
	struct fault fault = {.op = MEMORY_READ,
			      .mode = HANDLE_READ,
			      .first = 1,
			      .last = G_MAXUINT,
			      .flip = TRUE};

	begin_dense(2 * MiB);
	plant(copying.destination, &fault);
	assert_fails_with(BLOCKMIG_ERROR_INTEGRITY, "sent 4 times");
	ck_assert_ptr_nonnull(strstr(copying.error->message, "nbd+unix:///destination"));
	ck_assert_ptr_nonnull(strstr(copying.error->message, "SHA-256"));
	end();
}
END_TEST

/* The image behind the name is swapped when its connection is lost. */
static gboolean swap_call(const struct memory_event *event, void *data, GError **error)
{
	struct memory_image *image = data;

	if (event->op == MEMORY_OPEN || image->calls[event->op] != 2)
		return TRUE;
	image->identity[0] = 'M';
	return memory_lost(error);
}

START_TEST(another_image_under_the_same_name_stops_the_copy)
{
	struct memory_image *image;

	begin_dense(8 * MiB);
	image = _i ? copying.source : copying.destination;
	image->hook = swap_call;
	image->hook_data = image;
	assert_fails_with(BLOCKMIG_ERROR_PERMANENT, "is not the image it was");
	end();
}
END_TEST

START_TEST(an_identity_from_before_is_held_to)
{
	begin_dense(2 * MiB);
	g_strlcpy(copying.destination_end.identity, "memory:other", IDENTITY_BYTES);
	assert_fails_with(BLOCKMIG_ERROR_PERMANENT, "is not the image it was");
	ck_assert_uint_eq(copying.destination->calls[MEMORY_WRITE], 0);
	end();
}
END_TEST

/* ---- stopping and carrying on -------------------------------------------------------------------
 */

static gboolean stop_call(const struct memory_event *event, void *data, GError **error)
{
	const guint levels = GPOINTER_TO_UINT(data);

	(void)error;
	if (event->op == MEMORY_WRITE && event->offset == 9 * MiB) {
		for (guint i = 0; i < levels; i++)
			stop_request();
	}
	return TRUE;
}

START_TEST(a_stop_ends_at_a_checkpoint_and_nothing_is_sent_twice)
{
	guint64 first_bytes;

	begin_dense(32 * MiB);
	copying.destination->hook = stop_call;
	copying.destination->hook_data = GUINT_TO_POINTER(1);
	assert_fails_with(BLOCKMIG_ERROR_STOPPED, "");
	first_bytes = copying.totals.bytes_sent;
	ck_assert_uint_lt(first_bytes, 32 * MiB);

	stop_reset();
	copying.destination->hook = NULL;
	assert_copied();
	ck_assert_uint_eq(copying.totals.bytes_skipped, first_bytes);
	ck_assert_uint_eq(copying.totals.bytes_sent, 32 * MiB - first_bytes);
	ck_assert_uint_eq(copying.totals.bytes_resent, 0);
	end();
}
END_TEST

START_TEST(a_second_stop_ends_at_once_and_sends_a_window_again_at_most)
{
	begin_dense(32 * MiB);
	copying.destination->hook = stop_call;
	copying.destination->hook_data = GUINT_TO_POINTER(2);
	assert_fails_with(BLOCKMIG_ERROR_STOPPED, "");

	stop_reset();
	copying.destination->hook = NULL;
	assert_copied();
	ck_assert_uint_gt(copying.totals.bytes_resent, 0);
	ck_assert_uint_le(copying.totals.bytes_resent, 32 * MiB);
	end();
}
END_TEST

START_TEST(done_units_of_an_earlier_run_are_only_read_back)
{
	begin_dense(8 * MiB);
	copying.spec.prove = FALSE;
	ck_ok(copying_run(&copying));
	copying.spec.prove = TRUE;
	copying.destination->calls[MEMORY_WRITE] = 0;
	assert_copied();
	ck_assert_uint_eq(copying.destination->calls[MEMORY_WRITE], 0);
	ck_assert_uint_eq(copying.totals.bytes_skipped, 8 * MiB);
	end();
}
END_TEST

START_TEST(what_rotted_since_an_earlier_run_is_sent_again)
{
	begin_dense(8 * MiB);
	copying.spec.prove = FALSE;
	ck_ok(copying_run(&copying));
	copying.spec.prove = TRUE;
	copying.destination->bytes[5 * MiB + 3] ^= 1;
	assert_copied();
	ck_assert_uint_eq(copying.totals.bytes_sent, MiB);
	end();
}
END_TEST

START_TEST(a_unit_that_a_dead_run_claimed_is_not_fresh)
{
	const struct ledger_unit claim = {.index = 1, .count = 1, .state = UNIT_SENT};

	begin_sparse();
	ck_ok(ledger_pass_open(copying.ledger, 1, "seed", MiB, 16, &copying.spec.pass,
			       &copying.error));
	ck_ok(ledger_units_put(copying.ledger, copying.spec.pass, &claim, 1, &copying.error));
	copying.source->extents_trusted = TRUE;
	copying.destination->extents_trusted = TRUE;
	memory_fill_random(copying.destination, MiB, MiB, 5);
	assert_copied();
	ck_assert_uint_eq(copying.totals.mismatches, 0);
	end();
}
END_TEST

START_TEST(rehash_sends_only_what_differs)
{
	begin_sparse();
	assert_copied();
	memory_fill_random(copying.source, 4 * MiB, 512, 9);   /* data to data */
	memory_fill_random(copying.source, 14 * MiB, 512, 10); /* zeros to data */
	memset(copying.source->bytes + 8 * MiB, 0, MiB);       /* data to zeros */
	copying.spec.rehash = TRUE;
	copying.destination->calls[MEMORY_READ] = 0;
	assert_copied();
	ck_assert_uint_eq(copying.totals.bytes_sent, 2 * MiB);
	ck_assert_uint_eq(copying.totals.bytes_skipped, 13 * MiB);
	end();
}
END_TEST

/* ---- the caller's callbacks
 * ------------------------------------------------------------------------ */

static gboolean watch_fails(void *data, GError **error)
{
	(void)data;
	g_set_error_literal(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT, "no room is left");
	return FALSE;
}

START_TEST(an_error_of_the_watch_ends_at_a_checkpoint)
{
	AUTO(throttle) throttle = throttle_new(4 * MiB);

	begin_dense(32 * MiB);
	copying.spec.throttle = throttle;
	copying.spec.watch = watch_fails;
	assert_fails_with(BLOCKMIG_ERROR_PERMANENT, "no room is left");

	copying.spec.throttle = NULL;
	copying.spec.watch = NULL;
	assert_copied();
	ck_assert_uint_gt(copying.totals.bytes_skipped, 0);
	ck_assert_uint_eq(copying.totals.bytes_resent, 0);
	end();
}
END_TEST

static void keep_progress(const struct copy_progress *progress, void *data)
{
	struct copy_progress *last = data;

	ck_assert_uint_ge(progress->bytes_done, last->bytes_done);
	ck_assert_uint_ge(progress->bytes_proven, last->bytes_proven);
	*last = *progress;
}

START_TEST(progress_ends_at_everything)
{
	struct copy_progress last = {0};

	begin_dense(8 * MiB);
	copying.spec.progress = keep_progress;
	copying.spec.progress_data = &last;
	assert_copied();
	ck_assert_uint_eq(last.bytes_total, 8 * MiB);
	ck_assert_uint_eq(last.bytes_done, 8 * MiB);
	ck_assert_uint_eq(last.bytes_proven, 8 * MiB);
	end();
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
	tcase_add_loop_test(tests, zeros_are_left_out_at_a_fresh_destination, 0, 4);
	tcase_add_loop_test(tests, zeros_replace_what_a_used_destination_holds, 0, 4);
	tcase_add_loop_test(tests, a_stray_byte_in_a_hole_is_found_and_zeroed, 0, 2);
	suite_add_tcase(suite, tests);
}

static void add_faults(Suite *suite)
{
	TCase *tests = tcase_create("faults");

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, done_is_flushed_and_proven_is_read_by_another_handle);
	tcase_add_test(tests, claims_never_exceed_the_window);
	tcase_add_test(tests, a_lost_connection_sends_the_whole_share_again);
	tcase_add_test(tests, a_failed_flush_sends_the_share_again);
	tcase_add_loop_test(tests, a_fault_of_any_call_is_survived, 0, 5);
	tcase_add_loop_test(tests, a_lasting_fault_is_reported_as_it_is, 0, 2);
	tcase_add_loop_test(tests, a_flipped_bit_is_found_and_written_again, 1, 4);
	tcase_add_test(tests, a_destination_that_never_keeps_its_data_is_an_integrity_failure);
	tcase_add_loop_test(tests, another_image_under_the_same_name_stops_the_copy, 0, 2);
	tcase_add_test(tests, an_identity_from_before_is_held_to);
	suite_add_tcase(suite, tests);
}

static void add_stops(Suite *suite)
{
	TCase *tests = tcase_create("stops");

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_stop_ends_at_a_checkpoint_and_nothing_is_sent_twice);
	tcase_add_test(tests, a_second_stop_ends_at_once_and_sends_a_window_again_at_most);
	tcase_add_test(tests, done_units_of_an_earlier_run_are_only_read_back);
	tcase_add_test(tests, what_rotted_since_an_earlier_run_is_sent_again);
	tcase_add_test(tests, a_unit_that_a_dead_run_claimed_is_not_fresh);
	tcase_add_test(tests, rehash_sends_only_what_differs);
	tcase_add_test(tests, an_error_of_the_watch_ends_at_a_checkpoint);
	tcase_add_test(tests, progress_ends_at_everything);
	suite_add_tcase(suite, tests);
}

int main(void)
{
	Suite *suite = suite_create("engine");
	SRunner *runner = srunner_create(suite);
	int failed;

	add_plain(suite);
	add_faults(suite);
	add_stops(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
