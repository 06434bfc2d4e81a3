/* A whole copy over NFS for every byte at which a connection can break, or a bit flip. */
#include "common/error.h"
#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/nfs_copying.h"
#include "tests/unit/no_waits.h"
#include "tests/unit/temp.h"

#include <string.h>

#include <nfsc/libnfs-raw-nfs.h>

const struct transport transport_nbd = MEMORY_TRANSPORT;

enum {
	QUICK_STALL_MS = 60,
	PIECE = 128,
	CONTENT = 2 * PIECE,
	HEADER = 256,
	LARGE_PIECE = 256 * 1024,
	STRIDE = 8191
};

static struct nfs_copying nfs;

/* ---- cuts -------------------------------------------------------------------------------- */

static const struct message {
	enum nfs_side side;
	guint procedure;
	gboolean replies;
} messages[] = {
	{NFS_IS_SOURCE, NFS3_READ, FALSE},	  {NFS_IS_SOURCE, NFS3_READ, TRUE},
	{NFS_IS_DESTINATION, NFS3_WRITE, FALSE},  {NFS_IS_DESTINATION, NFS3_WRITE, TRUE},
	{NFS_IS_DESTINATION, NFS3_COMMIT, FALSE}, {NFS_IS_DESTINATION, NFS3_COMMIT, TRUE},
	{NFS_IS_DESTINATION, NFS3_READ, TRUE},
};

/* The last one is of the read-back: there is none of an unproven copy. */
enum { MESSAGES = G_N_ELEMENTS(messages), UNPROVEN_MESSAGES = MESSAGES - 1 };

static void begin(const struct message *message, gboolean prove, guint64 content_bytes,
		  guint piece_bytes)
{
	nfs_copying_begin(&nfs, message->side, content_bytes);
	nfs.copying.spec.prove = prove;
	nfs.script->request_bytes = piece_bytes;
	nfs.wire->procedure = message->procedure;
	nfs.wire->replies = message->replies;
	nfs_copying_assert_copied(&nfs); /* learns the message's length */
	ck_assert_uint_gt(nfs.wire->message_bytes, 0);
}

/* Of a loop over the messages of proven copies, then over those of unproven ones. */
static void begin_to_cut(guint i, guint64 content_bytes, guint piece_bytes)
{
	begin(&messages[i % MESSAGES], i < MESSAGES, content_bytes, piece_bytes);
}

/* An orderly end at one byte, a reset at the next. */
static void copy_with_cut(gsize at)
{
	const guint hits = nfs.wire->hits;

	nfs_copying_start_over(&nfs);
	nfs.wire->action = at % 2 ? NFS_WIRE_RESET : NFS_WIRE_CUT;
	nfs.wire->at = at;
	nfs.wire->times = 1;
	nfs_copying_assert_copied(&nfs);
	ck_assert_uint_eq(nfs.wire->hits, hits + 1);
}

START_TEST(a_cut_at_any_byte_of_a_message_is_survived)
{
	begin_to_cut((guint)_i, CONTENT, PIECE);
	for (gsize at = 0, end = nfs.wire->message_bytes; at < end; at++)
		copy_with_cut(at);
	nfs_copying_end(&nfs);
}
END_TEST

START_TEST(a_cut_in_a_long_message_is_survived)
{
	begin_to_cut((guint)_i, 2 * MiB, LARGE_PIECE);
	for (gsize at = 1, end = nfs.wire->message_bytes; at < end; at += at < HEADER ? 17 : STRIDE)
		copy_with_cut(at);
	nfs_copying_end(&nfs);
}
END_TEST

static const struct message answers[] = {
	{NFS_IS_DESTINATION, NFS3_GETATTR, TRUE},
	{NFS_IS_DESTINATION, NFS3_WRITE, TRUE},
	{NFS_IS_DESTINATION, NFS3_COMMIT, TRUE},
	{NFS_IS_DESTINATION, NFS3_READ, TRUE},
};

START_TEST(a_bit_flipped_at_any_byte_of_an_answer_proves_nothing_false)
{
	begin(&answers[_i], TRUE, CONTENT, PIECE);
	nfs.server_lies = TRUE;
	nfs.config.stall_ms = QUICK_STALL_MS;
	nfs.wire->action = NFS_WIRE_FLIP;
	for (gsize at = 0, end = nfs.wire->message_bytes; at < end; at++) {
		nfs_copying_start_over(&nfs);
		nfs.wire->at = at;
		nfs.wire->times = 1;
		nfs_copying_run(&nfs);
		ck_assert_uint_eq(nfs.wire->times, 0);
		nfs_copying_assert_copied(&nfs);
	}
	nfs_copying_end(&nfs);
}
END_TEST

/*
 * What the server makes of a call that is not what was sent is its own affair: it may
 * refuse, and the copy ends in its words.  But what is called copied is equal.
 */
static const struct message calls[] = {
	{NFS_IS_DESTINATION, NFS3_WRITE, FALSE},
	{NFS_IS_DESTINATION, NFS3_COMMIT, FALSE},
	{NFS_IS_DESTINATION, NFS3_READ, FALSE},
};

START_TEST(a_bit_flipped_at_any_byte_of_a_call_is_found_or_told)
{
	begin(&calls[_i], TRUE, CONTENT, PIECE);
	nfs.server_lies = TRUE;
	nfs.config.stall_ms = QUICK_STALL_MS;
	nfs.wire->action = NFS_WIRE_FLIP;
	for (gsize at = 0, end = nfs.wire->message_bytes; at < end; at++) {
		nfs_copying_start_over(&nfs);
		nfs.wire->at = at;
		nfs.wire->times = 1;
		if (!nfs_copying_run(&nfs))
			ck_assert_msg(strstr(nfs.copying.error->message, "/export/disk") != NULL,
				      "%s", nfs.copying.error->message);
		ck_assert_uint_eq(nfs.wire->times, 0);
		nfs_copying_assert_copied(&nfs);
	}
	nfs_copying_end(&nfs);
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("copy over nfs, cut");
	TCase *cuts = tcase_create("cuts");

	tcase_add_unchecked_fixture(cuts, temp_make, temp_remove);
	tcase_set_timeout(cuts, 120);
	tcase_add_loop_test(cuts, a_cut_at_any_byte_of_a_message_is_survived, 0,
			    MESSAGES + UNPROVEN_MESSAGES);
	tcase_add_loop_test(cuts, a_cut_in_a_long_message_is_survived, 0,
			    MESSAGES + UNPROVEN_MESSAGES);
	tcase_add_loop_test(cuts, a_bit_flipped_at_any_byte_of_an_answer_proves_nothing_false, 0,
			    G_N_ELEMENTS(answers));
	tcase_add_loop_test(cuts, a_bit_flipped_at_any_byte_of_a_call_is_found_or_told, 0,
			    G_N_ELEMENTS(calls));
	suite_add_tcase(suite, cuts);
	return suite;
}

int main(void)
{
	return images_run(suite());
}
