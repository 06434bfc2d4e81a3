/*
 * The copy engine's promises where its own read-back would mend what breaks them, or
 * where nothing looks afterwards.
 */
#include "common/error.h"
#include "common/units.h"
#include "tests/unit/copying.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <stdlib.h>

const struct transport transport_nbd = MEMORY_TRANSPORT;

enum { UNITS = 16 };

static struct copying copying;

/* The sixth write breaks the connection: the five before it are taken back. */
static gboolean lose_sixth_write(const struct memory_event *event, void *data, GError **error)
{
	struct memory_image *image = data;

	if (event->op != MEMORY_WRITE || image->calls[MEMORY_WRITE] != 6)
		return TRUE;
	return memory_lost(error);
}

static void begin_losing(void)
{
	copying_begin_dense(&copying, UNITS * MiB);
	copying.spec.workers = 1;
	copying.destination->hook = lose_sixth_write;
	copying.destination->hook_data = copying.destination;
}

START_TEST(what_a_connection_took_with_it_is_there_without_a_read_back)
{
	begin_losing();
	copying.spec.prove = FALSE;
	ck_assert_msg(copying_run(&copying), "%s", copying.error ? copying.error->message : "?");
	ck_assert_uint_gt(copying.destination->calls[MEMORY_WRITE], UNITS);
	ck_assert(copying_is_equal(&copying));
	copying_end(&copying);
}
END_TEST

START_TEST(what_a_connection_took_with_it_is_no_mismatch)
{
	begin_losing();
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.totals.mismatches, 0);
	copying_end(&copying);
}
END_TEST

START_TEST(every_chunk_is_read_back_by_a_handle_that_never_wrote)
{
	guint8 read[UNITS] = {0};
	guint units = 0;

	copying_begin_dense(&copying, UNITS * MiB);
	copying.spec.workers = (guint)_i;
	copying_assert_copied(&copying);
	for (guint i = 0; i < copying.destination->log->len; i++) {
		const struct memory_event *event =
			&g_array_index(copying.destination->log, struct memory_event, i);

		if (event->op == MEMORY_READ && event->mode == HANDLE_READ)
			read[event->offset / MiB] = 1;
	}
	for (guint i = 0; i < UNITS; i++)
		units += read[i];
	ck_assert_uint_eq(units, UNITS);
	copying_end(&copying);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("engine-promises");
	TCase *tests = tcase_create("promises");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, what_a_connection_took_with_it_is_there_without_a_read_back);
	tcase_add_test(tests, what_a_connection_took_with_it_is_no_mismatch);
	tcase_add_loop_test(tests, every_chunk_is_read_back_by_a_handle_that_never_wrote, 1, 5);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
