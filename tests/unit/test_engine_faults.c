/* The copy engine between two images in memory: what it survives. */
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

/* ---- faults -------------------------------------------------------------------------- */

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

	copying_begin_dense(&copying, 16 * MiB);
	copying.spec.workers = 1;
	plant(copying.destination, &fault);
	copying_assert_copied(&copying);
	/* The write that failed may have arrived. */
	ck_assert_uint_eq(copying.totals.bytes_resent, 6 * MiB);
	ck_assert_uint_eq(copying.totals.bytes_sent, 21 * MiB);
	copying_end(&copying);
}
END_TEST

START_TEST(a_failed_flush_sends_the_share_again)
{
	struct fault fault = {.op = MEMORY_FLUSH,
			      .mode = HANDLE_WRITE,
			      .first = 1,
			      .last = 1,
			      .code = BLOCKMIG_ERROR_TRANSIENT};

	copying_begin_dense(&copying, 8 * MiB);
	copying.spec.workers = 1;
	plant(copying.destination, &fault);
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.bytes_resent, 8 * MiB);
	copying_end(&copying);
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

	copying_begin_dense(&copying, 8 * MiB);
	plant(cases[_i].at_source ? copying.source : copying.destination, &fault);
	copying_assert_copied(&copying);
	ck_assert_uint_ge(fault.seen, 3);
	copying_end(&copying);
}
END_TEST

START_TEST(a_lasting_fault_is_reported_as_it_is)
{
	struct fault fault = {.op = MEMORY_WRITE,
			      .mode = HANDLE_WRITE,
			      .first = 3,
			      .last = G_MAXUINT,
			      .code = _i ? BLOCKMIG_ERROR_PERMANENT : BLOCKMIG_ERROR_TRANSIENT};

	copying_begin_dense(&copying, 8 * MiB);
	copying.spec.retry_for_ms = 200;
	plant(copying.destination, &fault);
	copying_assert_fails(&copying, fault.code, "it broke");

	copying.destination->hook = NULL;
	copying_assert_copied(&copying);
	ck_assert_uint_le(copying.totals.bytes_resent, 4 * MiB);
	copying_end(&copying);
}
END_TEST

START_TEST(a_flipped_bit_is_found_and_written_again)
{
	struct fault fault = {.op = MEMORY_READ,
			      .mode = HANDLE_READ,
			      .first = 3,
			      .last = 2 + (guint)_i,
			      .flip = TRUE};

	copying_begin_dense(&copying, 8 * MiB);
	plant(copying.destination, &fault);
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.mismatches, (guint)_i);
	ck_assert_uint_eq(copying.totals.bytes_resent, (guint)_i * MiB);
	copying_end(&copying);
}
END_TEST

START_TEST(a_destination_that_never_keeps_its_data_is_an_integrity_failure)
{
	struct fault fault = {.op = MEMORY_READ,
			      .mode = HANDLE_READ,
			      .first = 1,
			      .last = G_MAXUINT,
			      .flip = TRUE};

	copying_begin_dense(&copying, 2 * MiB);
	plant(copying.destination, &fault);
	copying_assert_fails(&copying, BLOCKMIG_ERROR_INTEGRITY, "sent 4 times");
	ck_assert_ptr_nonnull(strstr(copying.error->message, "nbd+unix:///destination"));
	ck_assert_ptr_nonnull(strstr(copying.error->message, "SHA-256"));
	copying_end(&copying);
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

	copying_begin_dense(&copying, 8 * MiB);
	image = _i ? copying.source : copying.destination;
	image->hook = swap_call;
	image->hook_data = image;
	copying_assert_fails(&copying, BLOCKMIG_ERROR_PERMANENT, "is not the image it was");
	copying_end(&copying);
}
END_TEST

START_TEST(an_identity_from_before_is_held_to)
{
	copying_begin_dense(&copying, 2 * MiB);
	g_strlcpy(copying.destination_end.identity, "memory:other", IDENTITY_BYTES);
	copying_assert_fails(&copying, BLOCKMIG_ERROR_PERMANENT, "is not the image it was");
	ck_assert_uint_eq(copying.destination->calls[MEMORY_WRITE], 0);
	copying_end(&copying);
}
END_TEST

/* ---- stopping and carrying on -------------------------------------------------------- */

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

	copying_begin_dense(&copying, 32 * MiB);
	copying.destination->hook = stop_call;
	copying.destination->hook_data = GUINT_TO_POINTER(1);
	copying_assert_fails(&copying, BLOCKMIG_ERROR_STOPPED, "");
	first_bytes = copying.totals.bytes_sent;
	ck_assert_uint_lt(first_bytes, 32 * MiB);

	stop_reset();
	copying.destination->hook = NULL;
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.bytes_skipped, first_bytes);
	ck_assert_uint_eq(copying.totals.bytes_sent, 32 * MiB - first_bytes);
	ck_assert_uint_eq(copying.totals.bytes_resent, 0);
	copying_end(&copying);
}
END_TEST

static gboolean stop_and_cut(const struct memory_event *event, void *data, GError **error)
{
	(void)data;
	if (event->op != MEMORY_WRITE)
		return TRUE;
	stop_request();
	g_set_error_literal(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT, "cut");
	return FALSE;
}

/* Whoever stops what hangs wants it held, not put back: also where the time for tries is up. */
START_TEST(a_stop_while_the_peer_does_not_answer_is_a_stop)
{
	copying_begin_dense(&copying, 32 * MiB);
	copying.destination->hook = stop_and_cut;
	copying.spec.retry_for_ms = _i ? 60 * 1000 : 0;
	copying_assert_fails(&copying, BLOCKMIG_ERROR_STOPPED, "");

	stop_reset();
	copying.destination->hook = NULL;
	copying_assert_copied(&copying);
	copying_end(&copying);
}
END_TEST

START_TEST(a_second_stop_ends_at_once_and_sends_a_window_again_at_most)
{
	copying_begin_dense(&copying, 32 * MiB);
	copying.destination->hook = stop_call;
	copying.destination->hook_data = GUINT_TO_POINTER(2);
	copying_assert_fails(&copying, BLOCKMIG_ERROR_STOPPED, "");

	stop_reset();
	copying.destination->hook = NULL;
	copying_assert_copied(&copying);
	ck_assert_uint_gt(copying.totals.bytes_resent, 0);
	ck_assert_uint_le(copying.totals.bytes_resent, 32 * MiB);
	copying_end(&copying);
}
END_TEST

START_TEST(done_units_of_an_earlier_run_are_only_read_back)
{
	copying_begin_dense(&copying, 8 * MiB);
	copying.spec.prove = FALSE;
	ck_ok(copying_run(&copying));
	copying.spec.prove = TRUE;
	copying.destination->calls[MEMORY_WRITE] = 0;
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.destination->calls[MEMORY_WRITE], 0);
	ck_assert_uint_eq(copying.totals.bytes_skipped, 8 * MiB);
	copying_end(&copying);
}
END_TEST

START_TEST(what_rotted_since_an_earlier_run_is_sent_again)
{
	copying_begin_dense(&copying, 8 * MiB);
	copying.spec.prove = FALSE;
	ck_ok(copying_run(&copying));
	copying.spec.prove = TRUE;
	copying.destination->bytes[5 * MiB + 3] ^= 1;
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.bytes_sent, MiB);
	copying_end(&copying);
}
END_TEST

START_TEST(a_unit_that_a_dead_run_claimed_is_not_fresh)
{
	const struct ledger_unit claim = {.index = 1, .count = 1, .state = UNIT_SENT};

	copying_begin_sparse(&copying);
	ck_ok(ledger_pass_open(copying.ledger, 1, "seed", MiB, 16, &copying.spec.pass,
			       &copying.error));
	ck_ok(ledger_units_put(copying.ledger, copying.spec.pass, &claim, 1, &copying.error));
	copying.source->extents_trusted = TRUE;
	copying.destination->extents_trusted = TRUE;
	memory_fill_random(copying.destination, MiB, MiB, 5);
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.mismatches, 0);
	copying_end(&copying);
}
END_TEST

START_TEST(rehash_sends_only_what_differs)
{
	copying_begin_sparse(&copying);
	copying_assert_copied(&copying);
	memory_fill_random(copying.source, 4 * MiB, 512, 9);   /* data to data */
	memory_fill_random(copying.source, 14 * MiB, 512, 10); /* zeros to data */
	memset(copying.source->bytes + 8 * MiB, 0, MiB);       /* data to zeros */
	copying.spec.rehash = TRUE;
	copying.destination->calls[MEMORY_READ] = 0;
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.bytes_sent, 2 * MiB);
	ck_assert_uint_eq(copying.totals.bytes_skipped, 13 * MiB);
	copying_end(&copying);
}
END_TEST

/* ---- the caller's callbacks ---------------------------------------------------------- */

static gboolean watch_fails(void *data, GError **error)
{
	(void)data;
	g_set_error_literal(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT, "no room is left");
	return FALSE;
}

START_TEST(an_error_of_the_watch_ends_at_a_checkpoint)
{
	AUTO(throttle) throttle = throttle_new(4 * MiB);

	copying_begin_dense(&copying, 32 * MiB);
	copying.spec.throttle = throttle;
	copying.spec.watch = watch_fails;
	copying_assert_fails(&copying, BLOCKMIG_ERROR_PERMANENT, "no room is left");

	copying.spec.throttle = NULL;
	copying.spec.watch = NULL;
	copying_assert_copied(&copying);
	ck_assert_uint_gt(copying.totals.bytes_skipped, 0);
	ck_assert_uint_eq(copying.totals.bytes_resent, 0);
	copying_end(&copying);
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

	copying_begin_dense(&copying, 8 * MiB);
	copying.spec.progress = keep_progress;
	copying.spec.progress_data = &last;
	copying_assert_copied(&copying);
	ck_assert_uint_eq(last.bytes_total, 8 * MiB);
	ck_assert_uint_eq(last.bytes_done, 8 * MiB);
	ck_assert_uint_eq(last.bytes_proven, 8 * MiB);
	copying_end(&copying);
}
END_TEST

static void add_faults(Suite *suite)
{
	TCase *tests = tcase_create("faults");

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_set_timeout(tests, 60);
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
	tcase_add_loop_test(tests, a_stop_while_the_peer_does_not_answer_is_a_stop, 0, 2);
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
	Suite *suite = suite_create("engine-faults");
	SRunner *runner = srunner_create(suite);
	int failed;

	add_faults(suite);
	add_stops(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
