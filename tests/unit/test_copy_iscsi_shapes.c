/*
 * Whole copies to and from LUNs of all shapes: blocks of 512 and 4096 bytes, LUNs larger
 * than the image, images that fit no block; header digests; several addresses.
 */
#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/lun_copying.h"
#include "tests/unit/servers.h"
#include "tests/unit/temp.h"
#include "transports/address.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum {
	LUN = 1,
	LUN_4K = 2,
	LUN_THIN = 3,
	LUN_TIGHT = 4,
	LUN_BYTES = 8 * MiB,
	TIGHT_BYTES = 3 * MiB + 512,
	SECOND_PORT = 3262,
	OFFSET_LAST_BYTE = 43, /* of a Data-In's or Data-Out's buffer offset */
};

static struct lun_copying mine;

static void start(void)
{
	iscsi_server_start();
	iscsi_server_add_lun(LUN, LUN_BYTES, 512, FALSE);
	iscsi_server_add_lun(LUN_4K, LUN_BYTES, 4096, FALSE);
	iscsi_server_add_lun(LUN_THIN, LUN_BYTES, 512, TRUE);
	iscsi_server_add_lun(LUN_TIGHT, TIGHT_BYTES, 512, FALSE);
}

/* ---- sizes ---------------------------------------------------------------------------------- */

static const gsize sizes[] = {1, 511, 513, 4095, 4097, MiB - 1, MiB + 1, 2 * MiB + 4096 + 517};
static const int luns[] = {LUN, LUN_4K, LUN_THIN};

static guint8 *backing_tail(gsize from)
{
	g_autofree char *path = iscsi_server_backing(mine.lun);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	guint8 *tail = g_malloc(LUN_BYTES - from);

	g_assert(fd >= 0 &&
		 pread(fd, tail, LUN_BYTES - from, (off_t)from) == (ssize_t)(LUN_BYTES - from));
	close(fd);
	return tail;
}

static void backing_fill_tail(gsize from)
{
	g_autofree char *path = iscsi_server_backing(mine.lun);
	g_autofree guint8 *tail = g_malloc(LUN_BYTES - from);
	int fd = open(path, O_RDWR | O_CLOEXEC);

	pattern_fill(tail, LUN_BYTES - from, 99);
	g_assert(fd >= 0 &&
		 pwrite(fd, tail, LUN_BYTES - from, (off_t)from) == (ssize_t)(LUN_BYTES - from));
	close(fd);
}

/* All of the content, and not a byte behind it. */
static void copy_to(int lun, gsize bytes)
{
	lun_copying_begin(&mine, lun, bytes, FALSE);
	backing_fill_tail(bytes);
	g_autofree guint8 *before = backing_tail(bytes);
	lun_copying_assert_copied(&mine);
	g_autofree guint8 *after = backing_tail(bytes);
	ck_assert(memcmp(before, after, LUN_BYTES - bytes) == 0);
	lun_copying_end(&mine);
}

START_TEST(image_of_any_size_is_copied_to_a_larger_lun)
{
	copy_to(luns[(guint)_i / G_N_ELEMENTS(sizes)], sizes[(guint)_i % G_N_ELEMENTS(sizes)]);
}
END_TEST

START_TEST(image_of_any_size_is_copied_from_a_larger_lun)
{
	lun_copying_begin(&mine, luns[(guint)_i / G_N_ELEMENTS(sizes)],
			  sizes[(guint)_i % G_N_ELEMENTS(sizes)], TRUE);
	lun_copying_assert_copied(&mine);
	lun_copying_end(&mine);
}
END_TEST

START_TEST(lun_is_filled_to_its_last_block)
{
	lun_copying_begin(&mine, LUN_TIGHT, TIGHT_BYTES, FALSE);
	lun_copying_assert_copied(&mine);
	lun_copying_end(&mine);
	lun_copying_begin(&mine, LUN_TIGHT, TIGHT_BYTES, TRUE);
	lun_copying_assert_copied(&mine);
	lun_copying_end(&mine);
}
END_TEST

START_TEST(image_larger_than_the_lun_is_refused)
{
	lun_copying_begin(&mine, LUN_TIGHT, TIGHT_BYTES - 1, FALSE);
	mine.copying.spec.content_bytes = TIGHT_BYTES + 1;
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_PERMANENT, "give an image that is large");
	lun_copying_end(&mine);
}
END_TEST

START_TEST(last_block_is_whole_after_a_cut_in_it)
{
	const struct proxy_fault cut = {.act = PROXY_CUT,
					.pdu = PROXY_COMMAND,
					.operation = LUN_WRITE,
					.skip = 1,
					.times = 1,
					.at = PROXY_HEADER_BYTES + 700};

	lun_copying_begin(&mine, LUN_4K, MiB - 1000, FALSE);
	backing_fill_tail(MiB - 1000);
	g_autofree guint8 *before = backing_tail(MiB - 1000);
	proxy_spoil(mine.proxy, &cut);
	lun_copying_assert_copied(&mine);
	ck_assert_int_eq(proxy_spoiled(mine.proxy), 1);
	g_autofree guint8 *after = backing_tail(MiB - 1000);
	ck_assert(memcmp(before, after, LUN_BYTES - MiB + 1000) == 0);
	lun_copying_end(&mine);
}
END_TEST

/* ---- header digests ------------------------------------------------------------------ */

static void begin_with_digest(gboolean from_lun)
{
	iscsi_server_set("HeaderDigest", "CRC32C");
	lun_copying_begin(&mine, LUN, 2 * MiB, from_lun);
	proxy_expect_header_digest(mine.proxy);
}

static void flip_header(enum proxy_pdu pdu, int operation, int times)
{
	const struct proxy_fault flip = {.act = PROXY_FLIP,
					 .pdu = pdu,
					 .operation = operation,
					 .skip = 3,
					 .times = times,
					 .at = OFFSET_LAST_BYTE};

	proxy_spoil(mine.proxy, &flip);
}

START_TEST(header_digest_finds_a_flipped_header_on_its_way_to_us)
{
	begin_with_digest(TRUE);
	flip_header(PROXY_DATA_IN, LUN_READ, 1);
	lun_copying_assert_copied(&mine);
	ck_assert_int_eq(proxy_spoiled(mine.proxy), 1);
	lun_copying_end(&mine);
}
END_TEST

START_TEST(header_digest_finds_a_flipped_header_on_its_way_to_the_target)
{
	begin_with_digest(FALSE);
	flip_header(PROXY_DATA_OUT, LUN_WRITE, 1);
	lun_copying_assert_copied(&mine);
	ck_assert_int_eq(proxy_spoiled(mine.proxy), 1);
	lun_copying_end(&mine);
}
END_TEST

START_TEST(flipped_headers_for_ever_end)
{
	begin_with_digest(TRUE);
	flip_header(PROXY_DATA_IN, LUN_READ, PROXY_FOR_EVER);
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_TRANSIENT, "read of 1048576 bytes at ");
	ck_assert(!lun_copying_is_equal(&mine));
	lun_copying_end(&mine);
}
END_TEST

/* ---- several addresses --------------------------------------------------------------- */

static char *alternates[] = {(char *)"127.0.0.1:3262", NULL};

static void die(void *proxy)
{
	proxy_die(proxy);
}

static void die_at(int operation)
{
	const struct proxy_fault fault = {.act = PROXY_CALL,
					  .pdu = PROXY_COMMAND,
					  .operation = operation,
					  .skip = operation == LUN_WRITE,
					  .times = 1,
					  .call = die,
					  .data = mine.proxy};

	proxy_spoil(mine.proxy, &fault);
}

static void collect(const char *text, void *told)
{
	g_ptr_array_add(told, g_strdup(text));
}

/* A process for each: an address that has failed is not tried first any more. */
START_TEST(copy_goes_on_at_the_next_address_where_one_dies)
{
	static const int operations[] = {LUN_WRITE, LUN_SYNCHRONIZE, LUN_READ};
	g_autoptr(GPtrArray) told = g_ptr_array_new_with_free_func(g_free);
	AUTO(proxy) second = proxy_start(SECOND_PORT, LUN_TARGET_PORT);

	address_listen(collect, told);
	lun_copying_begin(&mine, LUN, 3 * MiB, FALSE);
	mine.config.addresses = alternates;
	die_at(operations[_i]);
	lun_copying_assert_copied(&mine);
	ck_assert_int_eq(proxy_spoiled(mine.proxy), 1);
	ck_assert_int_gt(proxy_connections(second), 0);
	ck_assert_uint_eq(told->len, 1);
	ck_assert_ptr_nonnull(strstr(told->pdata[0], "target at 127.0.0.1:3261: "));
	ck_assert(g_str_has_suffix(told->pdata[0], "; going on at 127.0.0.1:3262"));
	lun_copying_end(&mine);
}
END_TEST

START_TEST(silent_address_is_passed_over)
{
	const struct proxy_fault silence = {.act = PROXY_BLACKHOLE,
					    .pdu = PROXY_LOGIN_RESPONSE,
					    .operation = PROXY_ANY,
					    .times = PROXY_FOR_EVER};
	struct proxy *second = proxy_start(SECOND_PORT, LUN_TARGET_PORT);

	lun_copying_begin(&mine, LUN, 2 * MiB, TRUE);
	mine.config.stall_ms = 200;
	mine.config.addresses = alternates;
	proxy_spoil(mine.proxy, &silence);
	lun_copying_assert_copied(&mine);
	lun_copying_end(&mine);
	proxy_stop(second);
}
END_TEST

/* Logs in, and then is of no use: one path of several in standby, or with a smaller MTU. */
static void useless_at(enum proxy_act act, int operation)
{
	const struct proxy_fault fault = {.act = act,
					  .pdu = PROXY_COMMAND,
					  .operation = operation,
					  .times = PROXY_FOR_EVER,
					  .status = LUN_CHECK_CONDITION,
					  .key = 2,
					  .ascq = 0x040b};
	struct proxy *second = proxy_start(SECOND_PORT, LUN_TARGET_PORT);

	lun_copying_begin(&mine, LUN, 2 * MiB, FALSE);
	mine.config.stall_ms = 300;
	mine.config.addresses = alternates;
	mine.copying.spec.retry_for_ms = 3000;
	proxy_spoil(mine.proxy, &fault);
	lun_copying_assert_copied(&mine);
	lun_copying_end(&mine);
	proxy_stop(second);
}

START_TEST(address_whose_lun_is_in_standby_is_passed_over)
{
	useless_at(PROXY_REFUSE, LUN_TEST_READY);
}
END_TEST

START_TEST(address_where_no_data_passes_is_left_for_the_next)
{
	useless_at(PROXY_BLACKHOLE, LUN_WRITE);
	useless_at(PROXY_CUT, LUN_SYNCHRONIZE);
	useless_at(PROXY_BLACKHOLE, LUN_READ);
}
END_TEST

START_TEST(another_lun_at_the_next_address_stops_the_copy)
{
	AUTO(proxy) second = proxy_start(SECOND_PORT, LUN_TARGET_PORT);

	lun_copying_begin(&mine, LUN, 3 * MiB, FALSE);
	mine.config.addresses = alternates;
	proxy_swap_lun(second, LUN_4K);
	die_at(LUN_WRITE);
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_PERMANENT, "is not the image it was");
	lun_copying_end(&mine);
}
END_TEST

START_TEST(all_addresses_dead_ends_the_copy)
{
	lun_copying_begin(&mine, LUN, 3 * MiB, FALSE);
	mine.config.addresses = alternates;
	die_at(LUN_WRITE);
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_TRANSIENT, "127.0.0.1:3261");
	lun_copying_end(&mine);
}
END_TEST

/* ---- the suite ----------------------------------------------------------------------- */

static int run_tests(void)
{
	Suite *suite = suite_create("copies over iSCSI in all shapes");
	TCase *tcase = tcase_create("shapes");
	const int shapes = G_N_ELEMENTS(sizes) * G_N_ELEMENTS(luns);

	tcase_add_unchecked_fixture(tcase, temp_make, temp_remove);
	tcase_add_checked_fixture(tcase, start, iscsi_server_kill);
	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, image_of_any_size_is_copied_to_a_larger_lun, 0, shapes);
	tcase_add_loop_test(tcase, image_of_any_size_is_copied_from_a_larger_lun, 0, shapes);
	tcase_add_test(tcase, lun_is_filled_to_its_last_block);
	tcase_add_test(tcase, image_larger_than_the_lun_is_refused);
	tcase_add_test(tcase, last_block_is_whole_after_a_cut_in_it);
	tcase_add_test(tcase, header_digest_finds_a_flipped_header_on_its_way_to_us);
	tcase_add_test(tcase, header_digest_finds_a_flipped_header_on_its_way_to_the_target);
	tcase_add_test(tcase, flipped_headers_for_ever_end);
	tcase_add_loop_test(tcase, copy_goes_on_at_the_next_address_where_one_dies, 0, 3);
	tcase_add_test(tcase, silent_address_is_passed_over);
	tcase_add_test(tcase, address_whose_lun_is_in_standby_is_passed_over);
	tcase_add_test(tcase, address_where_no_data_passes_is_left_for_the_next);
	tcase_add_test(tcase, another_lun_at_the_next_address_stops_the_copy);
	tcase_add_test(tcase, all_addresses_dead_ends_the_copy);
	suite_add_tcase(suite, tcase);
	return images_run(suite);
}

int main(void)
{
	return servers_run(run_tests);
}
