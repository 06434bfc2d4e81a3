#include "common/error.h"
#include "common/units.h"
#include "tests/unit/memory.h"
#include "verify/readback.h"

#include <check.h>
#include <string.h>

const struct transport transport_nbd = MEMORY_TRANSPORT;

static char *hex_of(const char *text)
{
	struct digest digest;

	digest_compute(text, strlen(text), &digest);
	return digest_hex(&digest);
}

START_TEST(digests_are_sha256)
{
	g_autofree char *empty = hex_of(""), *abc = hex_of("abc");

	ck_assert_str_eq(empty, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	ck_assert_str_eq(abc, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
END_TEST

/* Against another implementation: a chunk is hashed in steps. */
START_TEST(long_chunks_have_the_digest_of_the_whole)
{
	static const gsize counts[] = {256 * KiB - 1, 256 * KiB, 256 * KiB + 1, 1000 * 1000,
				       4 * MiB};
	g_autofree guint8 *data = g_malloc(4 * MiB);
	struct digest digest;

	for (gsize i = 0; i < 4 * MiB; i++)
		data[i] = (guint8)(i * 2654435761u >> 24);
	for (guint i = 0; i < G_N_ELEMENTS(counts); i++) {
		g_autofree char *expected =
			g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, counts[i]);
		g_autofree char *computed = NULL;

		digest_compute(data, counts[i], &digest);
		computed = digest_hex(&digest);
		ck_assert_str_eq(computed, expected);
	}
}
END_TEST

START_TEST(zeros_have_the_digest_of_zeros)
{
	static const gsize counts[] = {0, 1, 512, 65536, 65537, 3 << 20};
	g_autofree guint8 *zeros = g_malloc0(3 << 20);
	struct digest computed, cached;

	for (guint round = 0; round < 2; round++) {
		for (guint i = 0; i < G_N_ELEMENTS(counts); i++) {
			digest_compute(zeros, counts[i], &computed);
			digest_zeros(counts[i], &cached);
			ck_assert(digest_equal(&computed, &cached));
		}
	}
}
END_TEST

START_TEST(every_single_byte_counts_as_not_zero)
{
	g_autofree guint8 *buffer = g_malloc0(100);

	ck_assert(buffer_is_zero(buffer, 0));
	for (gsize count = 1; count <= 100; count++) {
		ck_assert(buffer_is_zero(buffer, count));
		for (gsize at = 0; at < count; at++) {
			buffer[at] = 1;
			ck_assert(!buffer_is_zero(buffer, count));
			buffer[at] = 0;
		}
	}
}
END_TEST

START_TEST(root_is_the_digest_of_the_digests)
{
	AUTO(manifest_root) manifest = manifest_root_new();
	struct digest three[3], root, expected;

	digest_compute("a", 1, &three[0]);
	digest_compute("b", 1, &three[1]);
	three[2] = three[1];
	digest_compute(three, sizeof three, &expected);
	manifest_root_add(manifest, &three[0], 1);
	manifest_root_add(manifest, &three[1], 2);
	manifest_root_finish(manifest, &root);
	ck_assert(digest_equal(&root, &expected));
}
END_TEST

START_TEST(readback_proves_and_one_flipped_byte_fails)
{
	const struct transport_config config = {.stall_ms = 0};
	struct memory_image *image = memory_add("image", MiB);
	AUTO(url) url = memory_url("image");
	g_autofree guint8 *buffer = g_malloc(4096);
	struct digest digest;
	GError *error = NULL;

	memory_fill_random(image, 0, MiB, 3);
	digest_compute(image->bytes + 8192, 4096, &digest);
	AUTO(handle) handle = handle_open(url, &config, HANDLE_READ, NULL);
	ck_assert(readback_prove(handle, buffer, 4096, 8192, &digest, NULL));

	image->bytes[8192 + _i] ^= 1;
	ck_assert(!readback_prove(handle, buffer, 4096, 8192, &digest, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_INTEGRITY));
	ck_assert_ptr_nonnull(strstr(error->message, "offset 8192"));
	g_clear_error(&error);
	g_clear_pointer(&handle, handle_close);
	memory_reset();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("digest");
	TCase *tests = tcase_create("digest");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tests, digests_are_sha256);
	tcase_add_test(tests, long_chunks_have_the_digest_of_the_whole);
	tcase_add_test(tests, zeros_have_the_digest_of_zeros);
	tcase_add_test(tests, every_single_byte_counts_as_not_zero);
	tcase_add_test(tests, root_is_the_digest_of_the_digests);
	tcase_add_loop_test(tests, readback_proves_and_one_flipped_byte_fails, 0, 3);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
