/*
 * The copy engine over an NFS server that never mends its ways: the copy ends in time,
 * says why, and calls nothing proven that is not.
 */
#include "common/error.h"
#include "common/units.h"
#include "blockmig/copy/compare.h"
#include "tests/unit/images.h"
#include "tests/unit/nfs_copying.h"
#include "tests/unit/temp.h"

#include <string.h>

#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>

const struct transport transport_nbd = MEMORY_TRANSPORT;

/* In requests of 64 KiB, as the helper sets them. */
enum { CONTENT = 4 * MiB, WRITES = CONTENT / (64 * KiB), STALL_MS = 300, RETRY_MS = 800 };

static struct nfs_copying nfs;

static void begin(enum nfs_side side)
{
	nfs_copying_begin(&nfs, side, CONTENT);
	nfs.config.stall_ms = STALL_MS;
	nfs.copying.spec.retry_for_ms = RETRY_MS;
}

static void end(void)
{
	nfs_copying_end(&nfs);
}

/* ---- the wire ----------------------------------------------------------------------------- */

enum { EXPORT = NFS_SCRIPT_MOUNT(MOUNT3_EXPORT), MNT = NFS_SCRIPT_MOUNT(MOUNT3_MNT) };

static const struct {
	enum nfs_side side;
	guint procedure;
	const char *words; /* what was being done */
} calls[] = {
	{NFS_IS_SOURCE, NFS3_GETATTR, "get attributes"},
	{NFS_IS_SOURCE, NFS3_READ, "read of 1048576 bytes at "},
	{NFS_IS_DESTINATION, NFS3_LOOKUP, "look up 'disk'"},
	{NFS_IS_DESTINATION, NFS3_FSINFO, "ask for the request sizes"},
	{NFS_IS_DESTINATION, NFS3_WRITE, "write of 1048576 bytes at "},
	{NFS_IS_DESTINATION, NFS3_COMMIT, "flush"},
	{NFS_IS_DESTINATION, NFS3_READ, "read of 1048576 bytes at "},
	{NFS_IS_DESTINATION, EXPORT, "list the exports"},
	{NFS_IS_SOURCE, MNT, "mount the export /export"},
};

/* MOUNT, which the last two are of, has no answer that asks for time. */
enum { NFS_CALLS = G_N_ELEMENTS(calls) - 2 };

static void break_always(enum nfs_wire_action action, guint procedure)
{
	nfs.wire->action = action;
	nfs.wire->procedure = procedure;
	nfs.wire->replies = TRUE;
	nfs.wire->at = 30;
	nfs.wire->times = G_MAXUINT;
}

static void assert_lost(guint i, const char *cause)
{
	nfs_copying_assert_fails(&nfs, BLOCKMIG_ERROR_TRANSIENT, calls[i].words);
	ck_assert_msg(strstr(nfs.copying.error->message, cause) != NULL, "%s",
		      nfs.copying.error->message);
}

START_TEST(answers_that_stop_for_ever_end_the_copy)
{
	begin(calls[_i].side);
	break_always(NFS_WIRE_STALL, calls[_i].procedure);
	assert_lost((guint)_i, "no answer for 300 ms");
	nfs.wire->times = 0;
	nfs_copying_assert_copied(&nfs);
	end();
}
END_TEST

START_TEST(connections_that_break_for_ever_end_the_copy)
{
	begin(calls[_i].side);
	break_always(NFS_WIRE_CUT, calls[_i].procedure);
	assert_lost((guint)_i, "server 127.0.0.1:");
	nfs.wire->times = 0;
	nfs_copying_assert_copied(&nfs);
	end();
}
END_TEST

START_TEST(a_server_that_refuses_for_ever_ends_the_copy)
{
	begin((enum nfs_side)_i);
	nfs.wire->gone = TRUE;
	nfs_copying_assert_fails(&nfs, BLOCKMIG_ERROR_TRANSIENT, "Connection refused");
	end();
}
END_TEST

START_TEST(a_server_that_is_deaf_for_ever_ends_the_copy)
{
	begin((enum nfs_side)_i);
	nfs.wire->deaf = TRUE;
	nfs_copying_assert_fails(&nfs, BLOCKMIG_ERROR_TRANSIENT, "no answer for 300 ms");
	end();
}
END_TEST

START_TEST(when_every_address_dies_the_copy_ends)
{
	char *addresses[] = {(char[]){"127.0.0.2"}, NULL};

	begin(NFS_IS_DESTINATION);
	nfs.config.addresses = addresses;
	nfs.wire->gone = TRUE;
	nfs_copying_assert_fails(&nfs, BLOCKMIG_ERROR_TRANSIENT, "Connection refused");
	end();
}
END_TEST

/* ---- the server ------------------------------------------------------------------------------ */

START_TEST(a_server_that_restarts_for_ever_ends_the_copy)
{
	begin(NFS_IS_DESTINATION);
	nfs.script->restart_forgets = TRUE;
	nfs.copying.spec.prove = _i < 2;
	nfs.script->restart_disconnects = _i % 2;
	nfs.script->restart_after = nfs.script->restart_every = 3;
	nfs_copying_assert_fails(&nfs, BLOCKMIG_ERROR_TRANSIENT,
				 _i % 2 ? "server 127" : "verifier");
	end();
}
END_TEST

START_TEST(a_server_that_asks_for_time_for_ever_ends_the_copy)
{
	begin((enum nfs_side)_i);
	nfs.script->jukebox = NFS_SCRIPT_ALWAYS;
	nfs_copying_assert_fails(&nfs, BLOCKMIG_ERROR_TRANSIENT, "JUKEBOX");
	ck_assert_ptr_nonnull(strstr(nfs.copying.error->message, " bytes at "));
	end();
}
END_TEST

START_TEST(a_server_that_asks_for_time_at_any_call_for_ever_ends_the_copy)
{
	begin(calls[_i].side);
	nfs.script->fail_procedure = calls[_i].procedure;
	nfs.script->fail_status = NFS3ERR_JUKEBOX;
	nfs.script->fail_times = NFS_SCRIPT_ALWAYS;
	nfs_copying_assert_fails(&nfs, BLOCKMIG_ERROR_TRANSIENT, "JUKEBOX");
	end();
}
END_TEST

/* It loses the connection again and again, though never before a chunk came through. */
START_TEST(a_connection_that_never_lives_long_still_makes_progress)
{
	begin(NFS_IS_DESTINATION);
	nfs.copying.spec.prove = _i;
	nfs.copying.spec.workers = 1;
	nfs.script->restart_forgets = TRUE;
	nfs.script->restart_disconnects = TRUE;
	nfs.script->restart_after = nfs.script->restart_every = 2 * (WRITES / 4) - 1;
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_ge(nfs.script->restarts, 3);
	end();
}
END_TEST

/* ---- data that is not what it was ---------------------------------------------------- */

START_TEST(bits_that_always_flip_on_the_way_to_the_disk_are_an_integrity_failure)
{
	begin(NFS_IS_DESTINATION);
	nfs.server_lies = TRUE;
	nfs.script->flip_writes = NFS_SCRIPT_ALWAYS;
	nfs_copying_assert_fails(&nfs, BLOCKMIG_ERROR_INTEGRITY, "sent 4 times");
	end();
}
END_TEST

START_TEST(bits_that_always_flip_in_the_read_back_are_an_integrity_failure)
{
	begin(NFS_IS_DESTINATION);
	nfs.server_lies = TRUE;
	nfs.script->flip_reads = NFS_SCRIPT_ALWAYS;
	nfs_copying_assert_fails(&nfs, BLOCKMIG_ERROR_INTEGRITY, "sent 4 times");
	end();
}
END_TEST

START_TEST(writes_that_are_never_stored_are_an_integrity_failure)
{
	begin(NFS_IS_DESTINATION);
	nfs.server_lies = TRUE;
	nfs.script->ignore_writes = NFS_SCRIPT_ALWAYS;
	nfs.script->committed = (guint)_i;
	nfs_copying_assert_fails(&nfs, BLOCKMIG_ERROR_INTEGRITY, "sent 4 times");
	end();
}
END_TEST

/*
 * What flips on the way from the source is copied, and the read-back agrees with it: no
 * checksum of the source's own exists.  A comparison, which reads the source again, finds it.
 */
START_TEST(a_bit_flipped_on_the_way_from_the_source_is_found_by_a_comparison)
{
	struct compare_totals totals;
	g_autoptr(GError) error = NULL;

	begin(NFS_IS_SOURCE);
	nfs.script->flip_reads = (guint)_i;
	ck_assert(copying_run(&nfs.copying));
	ck_assert_int_eq(compare_images(&nfs.copying.source_end, &nfs.copying.destination_end,
					CONTENT, MiB, NULL, 0, RETRY_MS, NULL, NULL, &totals,
					&error),
			 _i == 0);
	ck_assert(_i == 0 || error_is(error, BLOCKMIG_ERROR_INTEGRITY));
	end();
}
END_TEST

/* ---- zeros that were left out -------------------------------------------------------- */

/* Somebody else's bytes lie where the copy left a chunk of zeros out. */
static void begin_with_dirt_in_a_hole(void)
{
	begin(NFS_IS_DESTINATION);
	nfs.server_lies = TRUE;
	memset(nfs.memory->bytes + 2 * MiB, 0, MiB);
	memset(nfs.memory->stable + 2 * MiB, 0, MiB);
	nfs.script->data[2 * MiB + 4711] = 1;
	nfs.script->durable[2 * MiB + 4711] = 1;
}

START_TEST(dirt_in_a_hole_is_found_by_what_is_allocated)
{
	begin_with_dirt_in_a_hole();
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.copying.totals.mismatches, 1);
	end();
}
END_TEST

START_TEST(dirt_in_a_hole_is_found_where_the_server_hides_what_is_allocated)
{
	begin_with_dirt_in_a_hole();
	nfs.script->hides_allocation = TRUE;
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.copying.totals.mismatches, 1);
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("copy over nfs, lasting faults");
	TCase *wire = tcase_create("wire");
	TCase *server = tcase_create("server");

	tcase_add_unchecked_fixture(wire, temp_make, temp_remove);
	tcase_set_timeout(wire, 60);
	tcase_add_loop_test(wire, answers_that_stop_for_ever_end_the_copy, 0, G_N_ELEMENTS(calls));
	tcase_add_loop_test(wire, connections_that_break_for_ever_end_the_copy, 0,
			    G_N_ELEMENTS(calls));
	tcase_add_loop_test(wire, a_server_that_refuses_for_ever_ends_the_copy, 0, 2);
	tcase_add_loop_test(wire, a_server_that_is_deaf_for_ever_ends_the_copy, 0, 2);
	tcase_add_test(wire, when_every_address_dies_the_copy_ends);
	suite_add_tcase(suite, wire);

	tcase_add_unchecked_fixture(server, temp_make, temp_remove);
	tcase_set_timeout(server, 60);
	tcase_add_loop_test(server, a_server_that_restarts_for_ever_ends_the_copy, 0, 4);
	tcase_add_loop_test(server, a_server_that_asks_for_time_for_ever_ends_the_copy, 0, 2);
	tcase_add_loop_test(server, a_server_that_asks_for_time_at_any_call_for_ever_ends_the_copy,
			    0, NFS_CALLS);
	tcase_add_loop_test(server, a_connection_that_never_lives_long_still_makes_progress, 0, 2);
	tcase_add_test(server,
		       bits_that_always_flip_on_the_way_to_the_disk_are_an_integrity_failure);
	tcase_add_test(server, bits_that_always_flip_in_the_read_back_are_an_integrity_failure);
	tcase_add_loop_test(server, writes_that_are_never_stored_are_an_integrity_failure, 0, 3);
	tcase_add_loop_test(
		server, a_bit_flipped_on_the_way_from_the_source_is_found_by_a_comparison, 0, 2);
	tcase_add_test(server, dirt_in_a_hole_is_found_by_what_is_allocated);
	tcase_add_test(server, dirt_in_a_hole_is_found_where_the_server_hides_what_is_allocated);
	suite_add_tcase(suite, server);
	return suite;
}

int main(void)
{
	return images_run(suite());
}
