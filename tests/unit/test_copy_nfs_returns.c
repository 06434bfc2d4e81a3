/*
 * The copy engine over an NFS server that comes back in steps: it answers again before it has
 * its exports, or the file systems in them.  What was there before is waited for.
 */
#include "common/error.h"
#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/nfs_copying.h"
#include "tests/unit/temp.h"

#include <string.h>

#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>

const struct transport transport_nbd = MEMORY_TRANSPORT;

/* In requests of 64 KiB, as the helper sets them. */
enum { CONTENT = 4 * MiB, RETRY_MS = 800, OPENS = 2, MOUNTS = 3 };

static struct nfs_copying nfs;

static void begin(enum nfs_side side)
{
	nfs_copying_begin(&nfs, side, CONTENT);
}

static void end(void)
{
	nfs_copying_end(&nfs);
}

/* ---- what is there in steps --------------------------------------------------------------- */

/* Of MNT where there is no procedure. */
static const struct refusal {
	enum nfs_side side;
	guint procedure, status;
	const char *words;
} refusals[] = {
	{NFS_IS_SOURCE, 0, MNT3ERR_ACCES, "mount the export /export: Permission denied"},
	{NFS_IS_SOURCE, NFS3_LOOKUP, NFS3ERR_NOENT, "look up 'disk': No such file or directory"},
	{NFS_IS_DESTINATION, 0, MNT3ERR_ACCES, "mount the export /export: Permission denied"},
	{NFS_IS_DESTINATION, 0, MNT3ERR_NOENT, "mount the export /export: No such file"},
	{NFS_IS_DESTINATION, NFS3_LOOKUP, NFS3ERR_NOENT, "look up 'disk': No such file"},
	{NFS_IS_DESTINATION, NFS3_LOOKUP, NFS3ERR_STALE, "look up 'disk': Stale file handle"},
	{NFS_IS_DESTINATION, NFS3_LOOKUP, NFS3ERR_ACCES, "look up 'disk': Permission denied"},
	{NFS_IS_DESTINATION, NFS3_GETATTR, NFS3ERR_STALE, "get attributes: Stale file handle"},
	{NFS_IS_DESTINATION, NFS3_FSINFO, NFS3ERR_STALE, "request sizes: Stale file handle"},
};

/* So many calls are good before: an open makes one, or two GETATTRs. */
static void plan(const struct refusal *refusal, guint skip, guint times)
{
	if (!refusal->procedure) {
		nfs.script->mount_skip = skip;
		nfs.script->mount_times = times;
		nfs.script->mount_status = refusal->status;
		return;
	}
	nfs.script->fail_skip = refusal->procedure == NFS3_GETATTR ? 2 * skip : skip;
	nfs.script->fail_times = times;
	nfs.script->fail_procedure = refusal->procedure;
	nfs.script->fail_status = refusal->status;
}

/* Where MOUNT refuses what it lists, the folders above are tried, too. */
static guint refused_opens(const struct refusal *refusal)
{
	return refusal->procedure ? OPENS : OPENS * MOUNTS;
}

START_TEST(what_was_there_and_is_refused_is_waited_for)
{
	begin(refusals[_i].side);
	plan(&refusals[_i], 1, refused_opens(&refusals[_i]));
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.script->fail_times + nfs.script->mount_times, 0);
	end();
}
END_TEST

START_TEST(what_stays_away_ends_the_copy_in_the_servers_words_and_in_time)
{
	begin(refusals[_i].side);
	nfs.copying.spec.retry_for_ms = RETRY_MS;
	plan(&refusals[_i], 1, NFS_SCRIPT_ALWAYS);
	nfs_copying_assert_fails(&nfs, BLOCKMIG_ERROR_TRANSIENT, refusals[_i].words);
	ck_assert_msg(g_str_has_suffix(nfs.copying.error->message, "(tried for 800 ms)"), "%s",
		      nfs.copying.error->message);
	plan(&refusals[_i], 0, 0);
	nfs_copying_assert_copied(&nfs);
	end();
}
END_TEST

/* The next run of a job knows what it wants, though it has not seen it yet. */
START_TEST(what_an_earlier_run_knew_is_waited_for)
{
	begin(refusals[_i].side);
	nfs_copying_assert_copied(&nfs);
	nfs_copying_start_over(&nfs);
	plan(&refusals[_i], 0, refused_opens(&refusals[_i]));
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.script->fail_times + nfs.script->mount_times, 0);
	end();
}
END_TEST

/* Nobody waits for a name that is wrong; a handle is no name. */
START_TEST(what_was_never_there_is_refused_at_once)
{
	const guint status = refusals[_i].status;
	const gboolean is_missing = status == NFS3ERR_NOENT && refusals[_i].procedure;

	if (status == NFS3ERR_STALE)
		return;
	begin(refusals[_i].side);
	plan(&refusals[_i], 0, 1);
	if (!refusals[_i].procedure)
		nfs.script->mount_times = NFS_SCRIPT_ALWAYS;
	nfs_copying_assert_fails(&nfs,
				 is_missing ? BLOCKMIG_ERROR_NOT_FOUND : BLOCKMIG_ERROR_PERMANENT,
				 refusals[_i].words);
	ck_assert_ptr_null(strstr(nfs.copying.error->message, "tried for"));
	end();
}
END_TEST

/* ---- handles -------------------------------------------------------------------------------- */

static const struct refusal calls[] = {
	{NFS_IS_SOURCE, NFS3_READ, NFS3ERR_STALE, "read of 65536 bytes at "},
	{NFS_IS_DESTINATION, NFS3_WRITE, NFS3ERR_STALE, "write of 65536 bytes at "},
	{NFS_IS_DESTINATION, NFS3_COMMIT, NFS3ERR_STALE, "flush"},
	{NFS_IS_DESTINATION, NFS3_READ, NFS3ERR_STALE, "read of 65536 bytes at "},
};

START_TEST(a_handle_that_went_stale_is_looked_up_again)
{
	begin(calls[_i].side);
	plan(&calls[_i], calls[_i].procedure == NFS3_COMMIT ? 0 : 20, 1);
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.script->fail_times, 0);
	end();
}
END_TEST

START_TEST(handles_that_are_always_stale_end_the_copy)
{
	begin(calls[_i].side);
	nfs.copying.spec.retry_for_ms = RETRY_MS;
	plan(&calls[_i], 0, NFS_SCRIPT_ALWAYS);
	nfs_copying_assert_fails(&nfs, BLOCKMIG_ERROR_TRANSIENT, "Stale file handle");
	ck_assert_ptr_nonnull(strstr(nfs.copying.error->message, calls[_i].words));
	end();
}
END_TEST

/* It has the name, and it is not waited until the right one has it. */
START_TEST(another_file_that_comes_back_in_its_place_is_not_written_to)
{
	begin(NFS_IS_DESTINATION);
	nfs.script->restart_disconnects = TRUE;
	nfs.script->restart_replaces = TRUE;
	nfs.script->restart_after = 20;
	nfs_copying_assert_fails(&nfs, BLOCKMIG_ERROR_PERMANENT, "is not the image it was");
	ck_assert_ptr_null(strstr(nfs.copying.error->message, "tried for"));
	ck_assert_uint_eq(nfs.script->restarts, 1);
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("copy over nfs, returns");
	TCase *steps = tcase_create("steps");
	TCase *handles = tcase_create("handles");

	tcase_add_unchecked_fixture(steps, temp_make, temp_remove);
	tcase_set_timeout(steps, 60);
	tcase_add_loop_test(steps, what_was_there_and_is_refused_is_waited_for, 0,
			    G_N_ELEMENTS(refusals));
	tcase_add_loop_test(steps, what_stays_away_ends_the_copy_in_the_servers_words_and_in_time,
			    0, G_N_ELEMENTS(refusals));
	tcase_add_loop_test(steps, what_an_earlier_run_knew_is_waited_for, 0,
			    G_N_ELEMENTS(refusals));
	tcase_add_loop_test(steps, what_was_never_there_is_refused_at_once, 0,
			    G_N_ELEMENTS(refusals));
	suite_add_tcase(suite, steps);

	tcase_add_unchecked_fixture(handles, temp_make, temp_remove);
	tcase_set_timeout(handles, 60);
	tcase_add_loop_test(handles, a_handle_that_went_stale_is_looked_up_again, 0,
			    G_N_ELEMENTS(calls));
	tcase_add_loop_test(handles, handles_that_are_always_stale_end_the_copy, 0,
			    G_N_ELEMENTS(calls));
	tcase_add_test(handles, another_file_that_comes_back_in_its_place_is_not_written_to);
	suite_add_tcase(suite, handles);
	return suite;
}

int main(void)
{
	return images_run(suite());
}
