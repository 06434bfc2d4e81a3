/*
 * The copy engine over an NFS server that restarts and forgets what was not committed:
 * the rules of RFC 1813 alone must bring it all back, with a read-back that finds nothing
 * to mend, and without one.
 */
#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/nfs_copying.h"
#include "tests/unit/temp.h"

#include <nfsc/libnfs-raw-nfs.h>

const struct transport transport_nbd = MEMORY_TRANSPORT;

/* In requests of 64 KiB, as the helper sets them. */
enum { CONTENT = 4 * MiB, WRITES = CONTENT / (64 * KiB) };

static struct nfs_copying nfs;

static void begin(gboolean prove)
{
	nfs_copying_begin(&nfs, NFS_IS_DESTINATION, CONTENT);
	nfs.copying.spec.prove = prove;
}

static void end(void)
{
	nfs_copying_end(&nfs);
}

static void restart_at(guint write, gboolean disconnects)
{
	nfs.script->restart_forgets = TRUE;
	nfs.script->restart_after = write;
	nfs.script->restart_disconnects = disconnects;
}

/*
 * At every WRITE.  Every other one loses the connections too, as a real restart does:
 * the odd ones of the proven copies, the even ones of the others.
 */
START_TEST(what_a_restart_forgets_is_written_again)
{
	const gboolean prove = _i < WRITES;

	begin(prove);
	restart_at((guint)_i % WRITES + 1, prove ? _i & 1 : !(_i & 1));
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.script->restarts, 1);
	ck_assert_uint_gt(nfs.script->writes, WRITES);
	ck_assert_uint_gt(nfs.copying.totals.bytes_resent, 0);
	end();
}
END_TEST

START_TEST(a_verifier_that_changes_without_a_restart_is_believed)
{
	begin(_i);
	nfs.script->restart_after = WRITES / 2;
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_gt(nfs.script->writes, WRITES);
	end();
}
END_TEST

START_TEST(restarts_now_and_then_are_survived)
{
	begin(_i < 2);
	nfs.copying.spec.workers = 1;
	restart_at(7, _i % 2);
	nfs.script->restart_every = WRITES + 7;
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_ge(nfs.script->restarts, 1);
	end();
}
END_TEST

START_TEST(data_answered_as_stable_needs_no_commit)
{
	begin(_i);
	nfs.script->committed = FILE_SYNC;
	restart_at(WRITES / 2, FALSE);
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.script->commits, 0);
	ck_assert_uint_eq(nfs.script->writes, WRITES);
	end();
}
END_TEST

/* What was stable before the restart need not be sent again, and nothing else is stable. */
START_TEST(stable_and_unstable_answers_may_alternate)
{
	begin(_i < 4);
	nfs.script->mixes = TRUE;
	restart_at(WRITES / 2 + (guint)_i % 4 + 1, _i & 1);
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.script->restarts, 1);
	ck_assert_uint_gt(nfs.script->commits, 0);
	end();
}
END_TEST

START_TEST(data_answered_as_stable_without_its_size_is_committed)
{
	begin(_i);
	nfs.script->committed = DATA_SYNC;
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_gt(nfs.script->commits, 0);
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("copy over nfs, restarts");
	TCase *tests = tcase_create("restarts");

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, what_a_restart_forgets_is_written_again, 0, 2 * WRITES);
	tcase_add_loop_test(tests, a_verifier_that_changes_without_a_restart_is_believed, 0, 2);
	tcase_add_loop_test(tests, restarts_now_and_then_are_survived, 0, 4);
	tcase_add_loop_test(tests, data_answered_as_stable_needs_no_commit, 0, 2);
	tcase_add_loop_test(tests, stable_and_unstable_answers_may_alternate, 0, 8);
	tcase_add_loop_test(tests, data_answered_as_stable_without_its_size_is_committed, 0, 2);
	suite_add_tcase(suite, tests);
	return suite;
}

int main(void)
{
	return images_run(suite());
}
