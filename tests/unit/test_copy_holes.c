/* Holes that the source reports: what was written into one a moment ago is copied. */
#include "common/error.h"
#include "common/units.h"
#include "tests/unit/copying.h"
#include "tests/unit/images.h"
#include "tests/unit/temp.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const struct transport transport_nbd = MEMORY_TRANSPORT;

enum { CHUNKS = 8, CONTENT = CHUNKS * MiB };

static struct copying copying;

/* ---- a report that is wrong ------------------------------------------------------------- */

/* The source holds data all over, and reports one chunk of it as a hole. */
static void begin_with_lie(gboolean trusted)
{
	copying_begin_dense(&copying, CONTENT);
	copying.source->extents_trusted = trusted;
	memset(copying.source->allocated + 3 * MiB / 4096, 0, MiB / 4096);
}

START_TEST(a_report_that_is_not_trusted_is_not_asked_for)
{
	begin_with_lie(FALSE);
	copying_assert_copied(&copying);
	ck_assert_uint_eq(copying.source->calls[MEMORY_READ], CHUNKS);
	copying_end(&copying);
}
END_TEST

/*
 * Why a transport must not say extents_trusted of a report that may be late: nobody reads
 * such a hole, and the destination's zeros are proven.
 */
START_TEST(a_report_that_is_trusted_is_the_sources_word)
{
	begin_with_lie(TRUE);
	ck_assert(copying_run(&copying));
	ck_assert_uint_eq(copying.source->calls[MEMORY_READ], CHUNKS - 1);
	ck_assert(!copying_is_equal(&copying));
	ck_assert(buffer_is_zero(copying.destination->stable + 3 * MiB, MiB));
	copying_end(&copying);
}
END_TEST

/* ---- files: the report is made current before it is asked for ------------------------------- */

static int begin_with_sparse_file(void)
{
	g_autofree char *path = temp_path("source");
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	g_autofree char *text = g_strconcat("file://", path, NULL);
	struct url *source = url_parse(text, NULL);
	struct memory_image *destination = memory_add("destination", CONTENT);

	ck_assert(fd >= 0 && source);
	ck_assert_int_eq(ftruncate(fd, CONTENT), 0);
	copying_begin_urls(&copying, source, memory_url("destination"), CONTENT);
	copying.destination = destination;
	return fd;
}

static void assert_copied_with(guint64 offset, const guint8 *data, gsize count)
{
	ck_assert_msg(copying_run(&copying), "%s", copying.error->message);
	ck_assert_int_eq(memcmp(copying.destination->stable + offset, data, count), 0);
	ck_assert_uint_eq(copying.totals.units_proven, CHUNKS);
}

/* Written, and nowhere but in the host's cache when the copy begins. */
static void copy_after_write(guint64 offset, gsize count, gboolean preallocated)
{
	guint8 *data = images_noise(count, (guint32)offset);
	int fd = begin_with_sparse_file();

	if (preallocated)
		ck_assert_int_eq(posix_fallocate(fd, 0, CONTENT), 0);
	ck_assert_int_eq(fsync(fd), 0);
	ck_assert_int_eq(pwrite(fd, data, count, (off_t)offset), (gssize)count);
	assert_copied_with(offset, data, count);
	close(fd);
	transport_buffer_free(data);
	copying_end(&copying);
}

START_TEST(what_was_written_into_a_hole_a_moment_ago_is_copied)
{
	copy_after_write((guint64)_i * MiB + 4096 * (guint64)_i, 4096, FALSE);
	copy_after_write((guint64)_i * MiB + 12345, 1, FALSE);
}
END_TEST

START_TEST(what_was_written_into_preallocated_room_a_moment_ago_is_copied)
{
	copy_after_write((guint64)_i * MiB + 65536, 4096, TRUE);
}
END_TEST

START_TEST(what_was_mapped_into_a_hole_a_moment_ago_is_copied)
{
	guint8 *data = images_noise(MiB, (guint32)_i);
	int fd = begin_with_sparse_file();
	guint8 *mapped = mmap(NULL, CONTENT, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	ck_assert(mapped != MAP_FAILED);
	memcpy(mapped + (gsize)_i * MiB, data, MiB);
	assert_copied_with((guint64)_i * MiB, data, MiB);
	munmap(mapped, CONTENT);
	close(fd);
	transport_buffer_free(data);
	copying_end(&copying);
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("copy, holes");
	TCase *holes = tcase_create("holes");

	tcase_add_unchecked_fixture(holes, temp_make, temp_remove);
	tcase_set_timeout(holes, 60);
	tcase_add_test(holes, a_report_that_is_not_trusted_is_not_asked_for);
	tcase_add_test(holes, a_report_that_is_trusted_is_the_sources_word);
	tcase_add_loop_test(holes, what_was_written_into_a_hole_a_moment_ago_is_copied, 0, CHUNKS);
	tcase_add_loop_test(holes, what_was_written_into_preallocated_room_a_moment_ago_is_copied,
			    0, CHUNKS);
	tcase_add_loop_test(holes, what_was_mapped_into_a_hole_a_moment_ago_is_copied, 0, CHUNKS);
	suite_add_tcase(suite, holes);
	return suite;
}

int main(void)
{
	return images_run(suite());
}
