/* The copy engine over an NFS server that misbehaves once: the copy comes out right. */
#include "common/error.h"
#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/nfs_copying.h"
#include "tests/unit/temp.h"
#include "transports/address.h"

#include <string.h>

#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>

const struct transport transport_nbd = MEMORY_TRANSPORT;

/* In requests of 64 KiB, as the helper sets them. */
enum { CONTENT = 4 * MiB, WRITES = CONTENT / (64 * KiB), QUICK_STALL_MS = 300 };

static struct nfs_copying nfs;

static void begin(enum nfs_side side)
{
	nfs_copying_begin(&nfs, side, CONTENT);
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
	guint skip; /* as many as are sure to come before */
} calls[] = {
	{NFS_IS_SOURCE, NFS3_GETATTR, 1},      {NFS_IS_SOURCE, NFS3_READ, 1},
	{NFS_IS_DESTINATION, NFS3_LOOKUP, 1},  {NFS_IS_DESTINATION, NFS3_FSINFO, 1},
	{NFS_IS_DESTINATION, NFS3_GETATTR, 1}, {NFS_IS_DESTINATION, NFS3_WRITE, 1},
	{NFS_IS_DESTINATION, NFS3_COMMIT, 0},  {NFS_IS_DESTINATION, NFS3_READ, 1},
	{NFS_IS_DESTINATION, EXPORT, 1},       {NFS_IS_SOURCE, MNT, 1},
};

static void plan_wire(enum nfs_wire_action action, guint procedure, gboolean replies, gsize at,
		      guint skip)
{
	nfs.wire->action = action;
	nfs.wire->procedure = procedure;
	nfs.wire->replies = replies;
	nfs.wire->at = at;
	nfs.wire->skip = skip;
	nfs.wire->times = 1;
}

START_TEST(an_answer_that_does_not_come_is_asked_for_again)
{
	begin(calls[_i].side);
	nfs.config.stall_ms = QUICK_STALL_MS;
	plan_wire(NFS_WIRE_STALL, calls[_i].procedure, TRUE, 0, calls[_i].skip);
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.wire->hits, 1);
	end();
}
END_TEST

START_TEST(an_answer_that_stops_in_its_middle_is_asked_for_again)
{
	begin(calls[_i].side);
	nfs.config.stall_ms = QUICK_STALL_MS;
	plan_wire(NFS_WIRE_STALL, calls[_i].procedure, TRUE, 40, 0);
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.wire->hits, 1);
	end();
}
END_TEST

START_TEST(a_connection_cut_at_any_call_is_survived)
{
	begin(calls[_i].side);
	plan_wire(NFS_WIRE_CUT, calls[_i].procedure, FALSE, 20, calls[_i].skip);
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.wire->hits, 1);
	end();
}
END_TEST

/* What the server does for a while: not there at all, or deaf. */
static gpointer heal_later(gpointer flag)
{
	g_usleep(400 * 1000);
	*(volatile gboolean *)flag = FALSE;
	return NULL;
}

START_TEST(a_server_that_refuses_at_first_is_waited_for)
{
	begin((enum nfs_side)_i);
	nfs.wire->gone = TRUE;
	GThread *healer = g_thread_new("healer", heal_later, &nfs.wire->gone);
	nfs_copying_assert_copied(&nfs);
	g_thread_join(healer);
	end();
}
END_TEST

START_TEST(a_server_that_is_deaf_at_first_is_waited_for)
{
	begin((enum nfs_side)_i);
	nfs.config.stall_ms = QUICK_STALL_MS;
	nfs.wire->deaf = TRUE;
	GThread *healer = g_thread_new("healer", heal_later, &nfs.wire->deaf);
	nfs_copying_assert_copied(&nfs);
	g_thread_join(healer);
	end();
}
END_TEST

/* The user is told, once, what was lost and where it goes on. */
static void collect(const char *text, void *told)
{
	g_ptr_array_add(told, g_strdup(text));
}

static void assert_told_once(const GPtrArray *told, const char *cause)
{
	g_autofree char *left = g_strdup_printf("server 127.0.0.1:%d: ", nfs.wire->port);
	g_autofree char *next = g_strdup_printf("; going on at 127.0.0.2:%d", nfs.wire->port);

	ck_assert_uint_eq(told->len, 1);
	const char *text = told->pdata[0];
	ck_assert_msg(strstr(text, left) && strstr(text, cause) && g_str_has_suffix(text, next),
		      "%s", text);
}

START_TEST(when_an_address_dies_the_next_one_is_used)
{
	char *addresses[] = {(char[]){"127.0.0.2"}, NULL};
	const guint procedure = _i == NFS_IS_SOURCE ? NFS3_READ : NFS3_WRITE;
	g_autoptr(GPtrArray) told = g_ptr_array_new_with_free_func(g_free);

	begin((enum nfs_side)_i);
	struct nfs_wire *second = nfs_wire_start("127.0.0.2", nfs.wire->port, nfs.script->port);
	second->procedure = procedure;
	nfs.config.addresses = addresses;
	address_listen(collect, told);
	plan_wire(NFS_WIRE_GONE, procedure, FALSE, 0, WRITES / 2);
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.wire->hits, 1);
	ck_assert_uint_gt(second->message_bytes, 0);
	assert_told_once(told, "");
	end();
}
END_TEST

/* The one that died first is there again when the other one dies. */
START_TEST(when_the_next_address_dies_too_the_first_one_is_used_again)
{
	char *addresses[] = {(char[]){"127.0.0.2"}, NULL};
	const guint procedure = _i == NFS_IS_SOURCE ? NFS3_READ : NFS3_WRITE;
	g_autoptr(GPtrArray) told = g_ptr_array_new_with_free_func(g_free);

	begin((enum nfs_side)_i);
	nfs.copying.spec.workers = 1;
	struct nfs_wire *second = nfs_wire_start("127.0.0.2", nfs.wire->port, nfs.script->port);
	second->procedure = procedure;
	second->action = NFS_WIRE_GONE;
	second->skip = 4;
	second->times = 1;
	nfs.config.addresses = addresses;
	address_listen(collect, told);
	plan_wire(NFS_WIRE_CUT, procedure, FALSE, 0, 4);
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.wire->hits + second->hits, 2);
	ck_assert_uint_eq(told->len, 2);
	end();
}
END_TEST

/* It lets everything pass but the data, as a path does whose packets may not be long. */
START_TEST(an_address_that_passes_no_data_is_left_for_the_next_one)
{
	char *addresses[] = {(char[]){"127.0.0.2"}, NULL};
	const guint procedure = _i == NFS_IS_SOURCE ? NFS3_READ : NFS3_WRITE;
	g_autoptr(GPtrArray) told = g_ptr_array_new_with_free_func(g_free);

	begin((enum nfs_side)_i);
	struct nfs_wire *second = nfs_wire_start("127.0.0.2", nfs.wire->port, nfs.script->port);
	second->procedure = procedure;
	nfs.config.addresses = addresses;
	address_listen(collect, told);
	nfs.config.stall_ms = QUICK_STALL_MS;
	plan_wire(NFS_WIRE_STALL, procedure, _i == NFS_IS_SOURCE, 0, 0);
	nfs.wire->times = G_MAXUINT;
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_le(nfs.wire->hits, 8);
	assert_told_once(told, "no answer for 300 ms");
	end();
}
END_TEST

/* ---- answers ------------------------------------------------------------------------- */

START_TEST(short_answers_are_survived)
{
	begin((enum nfs_side)_i);
	nfs.script->most_bytes = 5003;
	nfs_copying_assert_copied(&nfs);
	end();
}
END_TEST

START_TEST(a_server_that_asks_for_time_gets_it)
{
	begin((enum nfs_side)_i);
	nfs.script->jukebox = 5;
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.script->jukebox, 0);
	end();
}
END_TEST

/* MOUNT, which the last two are of, has no such answer. */
enum { NFS_CALLS = G_N_ELEMENTS(calls) - 2 };

/* Not of READs and WRITEs alone. */
START_TEST(a_server_that_asks_for_time_at_any_call_gets_it)
{
	begin(calls[_i].side);
	nfs.script->fail_procedure = calls[_i].procedure;
	nfs.script->fail_status = NFS3ERR_JUKEBOX;
	nfs.script->fail_skip = calls[_i].skip;
	nfs.script->fail_times = 2;
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.script->fail_times, 0);
	end();
}
END_TEST

static const struct {
	enum nfs_side side;
	guint procedure, status;
	enum blockmig_error code;
	const char *words;
} errors[] = {
	{NFS_IS_DESTINATION, NFS3_WRITE, NFS3ERR_NOSPC, BLOCKMIG_ERROR_FULL,
	 "No space left on device"},
	{NFS_IS_DESTINATION, NFS3_WRITE, NFS3ERR_DQUOT, BLOCKMIG_ERROR_FULL, "Disk quota exceeded"},
	{NFS_IS_DESTINATION, NFS3_WRITE, NFS3ERR_IO, BLOCKMIG_ERROR_LATER, "Input/output error"},
	{NFS_IS_DESTINATION, NFS3_WRITE, NFS3ERR_ROFS, BLOCKMIG_ERROR_PERMANENT,
	 "Read-only file system"},
	{NFS_IS_DESTINATION, NFS3_WRITE, NFS3ERR_ACCES, BLOCKMIG_ERROR_PERMANENT,
	 "Permission denied"},
	{NFS_IS_DESTINATION, NFS3_COMMIT, NFS3ERR_NOSPC, BLOCKMIG_ERROR_FULL,
	 "No space left on device"},
	{NFS_IS_DESTINATION, NFS3_COMMIT, NFS3ERR_DQUOT, BLOCKMIG_ERROR_FULL,
	 "Disk quota exceeded"},
	{NFS_IS_DESTINATION, NFS3_COMMIT, NFS3ERR_IO, BLOCKMIG_ERROR_LATER, "Input/output error"},
	{NFS_IS_DESTINATION, NFS3_COMMIT, NFS3ERR_ROFS, BLOCKMIG_ERROR_PERMANENT,
	 "Read-only file system"},
	{NFS_IS_DESTINATION, NFS3_COMMIT, NFS3ERR_ACCES, BLOCKMIG_ERROR_PERMANENT,
	 "Permission denied"},
	{NFS_IS_DESTINATION, NFS3_READ, NFS3ERR_IO, BLOCKMIG_ERROR_LATER, "Input/output error"},
	{NFS_IS_DESTINATION, NFS3_READ, NFS3ERR_ACCES, BLOCKMIG_ERROR_PERMANENT,
	 "Permission denied"},
	{NFS_IS_SOURCE, NFS3_READ, NFS3ERR_IO, BLOCKMIG_ERROR_LATER, "Input/output error"},
	{NFS_IS_SOURCE, NFS3_READ, NFS3ERR_ACCES, BLOCKMIG_ERROR_PERMANENT, "Permission denied"},
	{NFS_IS_SOURCE, NFS3_LOOKUP, NFS3ERR_ACCES, BLOCKMIG_ERROR_PERMANENT, "Permission denied"},
};

static void plan_error(guint i, guint skip, guint times)
{
	nfs.script->fail_procedure = errors[i].procedure;
	nfs.script->fail_status = errors[i].status;
	nfs.script->fail_skip = skip;
	nfs.script->fail_times = times;
}

/* It ends the copy at once, in the server's words; what was proven before stays so. */
START_TEST(an_error_of_the_server_is_told_and_the_next_run_goes_on)
{
	const gboolean moves_data =
		errors[_i].procedure == NFS3_WRITE || errors[_i].procedure == NFS3_READ;

	begin(errors[_i].side);
	plan_error((guint)_i, moves_data ? 20 : 0, 1);
	nfs_copying_assert_fails(&nfs, errors[_i].code, errors[_i].words);
	if (moves_data)
		ck_assert_ptr_nonnull(strstr(nfs.copying.error->message, " bytes at "));
	nfs_copying_assert_copied(&nfs);
	end();
}
END_TEST

START_TEST(an_error_that_stays_ends_every_run_in_the_servers_words)
{
	begin(errors[_i].side);
	plan_error((guint)_i, 0, NFS_SCRIPT_ALWAYS);
	for (guint run = 0; run < 2; run++)
		nfs_copying_assert_fails(&nfs, errors[_i].code, errors[_i].words);
	end();
}
END_TEST

/* ---- data that is not what it was ---------------------------------------------------- */

START_TEST(a_bit_flipped_on_the_way_to_the_disk_is_written_again)
{
	begin(NFS_IS_DESTINATION);
	nfs.server_lies = TRUE;
	nfs.script->flip_writes = 1;
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.copying.totals.mismatches, 1);
	end();
}
END_TEST

/*
 * A bit of its offset flips: what was acknowledged lies over a chunk that was proven by an
 * earlier run.  (Of the 12 bytes behind the offset, and the data, the message is the rest.)
 */
START_TEST(a_write_that_goes_astray_over_a_proven_chunk_is_found)
{
	const struct ledger_unit row = {.index = 1, .count = 1, .state = UNIT_SENT};
	const guint piece_bytes = 64 * KiB;

	begin(NFS_IS_DESTINATION);
	nfs.wire->procedure = NFS3_WRITE;
	nfs_copying_assert_copied(&nfs);
	memset(nfs.script->data + MiB, 0, MiB);
	memset(nfs.script->durable + MiB, 0, MiB);
	ck_assert(ledger_units_put(nfs.copying.ledger, nfs.copying.spec.pass, &row, 1, NULL));
	nfs.server_lies = TRUE;
	plan_wire(NFS_WIRE_FLIP, NFS3_WRITE, FALSE,
		  nfs.wire->message_bytes - piece_bytes - 12 - sizeof(guint64) + 5, 0);
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.wire->hits, 1);
	ck_assert_uint_eq(nfs.copying.totals.mismatches, 2);
	end();
}
END_TEST

START_TEST(a_bit_flipped_in_the_read_back_is_written_again)
{
	begin(NFS_IS_DESTINATION);
	nfs.server_lies = TRUE;
	nfs.script->flip_reads = 1;
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.copying.totals.mismatches, 1);
	end();
}
END_TEST

START_TEST(a_write_acknowledged_and_not_stored_is_written_again)
{
	begin(NFS_IS_DESTINATION);
	nfs.server_lies = TRUE;
	nfs.script->ignore_writes = 3;
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_ge(nfs.copying.totals.mismatches, 1);
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("copy over nfs, faults");
	TCase *wire = tcase_create("wire");
	TCase *server = tcase_create("server");

	tcase_add_unchecked_fixture(wire, temp_make, temp_remove);
	tcase_set_timeout(wire, 60);
	tcase_add_loop_test(wire, an_answer_that_does_not_come_is_asked_for_again, 0,
			    G_N_ELEMENTS(calls));
	tcase_add_loop_test(wire, an_answer_that_stops_in_its_middle_is_asked_for_again, 0,
			    G_N_ELEMENTS(calls));
	tcase_add_loop_test(wire, a_connection_cut_at_any_call_is_survived, 0, G_N_ELEMENTS(calls));
	tcase_add_loop_test(wire, a_server_that_refuses_at_first_is_waited_for, 0, 2);
	tcase_add_loop_test(wire, a_server_that_is_deaf_at_first_is_waited_for, 0, 2);
	tcase_add_loop_test(wire, when_an_address_dies_the_next_one_is_used, 0, 2);
	tcase_add_loop_test(wire, when_the_next_address_dies_too_the_first_one_is_used_again, 0, 2);
	tcase_add_loop_test(wire, an_address_that_passes_no_data_is_left_for_the_next_one, 0, 2);
	suite_add_tcase(suite, wire);

	tcase_add_unchecked_fixture(server, temp_make, temp_remove);
	tcase_set_timeout(server, 60);
	tcase_add_loop_test(server, short_answers_are_survived, 0, 2);
	tcase_add_loop_test(server, a_server_that_asks_for_time_gets_it, 0, 2);
	tcase_add_loop_test(server, a_server_that_asks_for_time_at_any_call_gets_it, 0, NFS_CALLS);
	tcase_add_loop_test(server, an_error_of_the_server_is_told_and_the_next_run_goes_on, 0,
			    G_N_ELEMENTS(errors));
	tcase_add_loop_test(server, an_error_that_stays_ends_every_run_in_the_servers_words, 0,
			    G_N_ELEMENTS(errors));
	tcase_add_test(server, a_bit_flipped_on_the_way_to_the_disk_is_written_again);
	tcase_add_test(server, a_write_that_goes_astray_over_a_proven_chunk_is_found);
	tcase_add_test(server, a_bit_flipped_in_the_read_back_is_written_again);
	tcase_add_test(server, a_write_acknowledged_and_not_stored_is_written_again);
	suite_add_tcase(suite, server);
	return suite;
}

int main(void)
{
	return images_run(suite());
}
