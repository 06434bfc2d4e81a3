/*
 * Who may send at a time: three of five workers, and nobody who waits for his flush.
 */
#include "common/units.h"
#include "tests/unit/copying.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <stdlib.h>

enum { WORKERS = 5, SENDERS = 3, UNITS = 64, WRITE_US = 2000, PATIENCE_US = 10 * G_USEC_PER_SEC };

static gint writing, most_writing, writes; /* atomic */
static gint flushes, alone;		   /* atomic */

static gssize pwrite_counted(struct handle *handle, const void *buffer, gsize count, guint64 offset,
			     GError **error)
{
	const gint now = g_atomic_int_add(&writing, 1) + 1;
	gint most;

	do {
		most = g_atomic_int_get(&most_writing);
	} while (now > most && !g_atomic_int_compare_and_exchange(&most_writing, most, now));
	g_usleep(WRITE_US);
	const gssize bytes = memory_pwrite(handle, buffer, count, offset, error);

	g_atomic_int_add(&writing, -1);
	g_atomic_int_inc(&writes);
	return bytes;
}

/* The first flush lasts until somebody else has written. */
static gboolean flush_waiting(struct handle *handle, GError **error)
{
	const gint before = g_atomic_int_get(&writes);
	const gint64 until_us = g_get_monotonic_time() + PATIENCE_US;

	if (g_atomic_int_add(&flushes, 1) == 0) {
		while (g_atomic_int_get(&writes) <= before + SENDERS &&
		       g_get_monotonic_time() < until_us)
			g_usleep(WRITE_US);
		alone = g_atomic_int_get(&writes) <= before + SENDERS;
	}
	return memory_flush(handle, error);
}

const struct transport transport_nbd =
	MEMORY_TRANSPORT_WITH(memory_close, pwrite_counted, flush_waiting, memory_extents);

static struct copying copying;

static void copy(void)
{
	writing = most_writing = writes = flushes = alone = 0;
	copying_begin_dense(&copying, UNITS * MiB);
	copying.spec.workers = WORKERS;
	copying_assert_copied(&copying);
	copying_end(&copying);
}

START_TEST(three_of_five_workers_send_at_a_time)
{
	copy();
	ck_assert_int_gt(most_writing, 1);
	ck_assert_int_le(most_writing, SENDERS);
}
END_TEST

START_TEST(a_flush_keeps_nobody_from_sending)
{
	copy();
	ck_assert_int_gt(flushes, 1);
	ck_assert(!alone);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("engine-lanes");
	TCase *tests = tcase_create("lanes");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, three_of_five_workers_send_at_a_time);
	tcase_add_test(tests, a_flush_keeps_nobody_from_sending);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
