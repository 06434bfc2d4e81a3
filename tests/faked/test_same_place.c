/* The nonce that proves that blockmig and QEMU mean the same image. */
#include "common/error.h"
#include "tests/faked/scene.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct scene scene;

/* As if QEMU's address led to another image: one byte there is not what we wrote. */
static void flip_byte(void *offset)
{
	g_autofree char *path = fake_path("dst/disk.raw");
	const off_t at = (off_t)GPOINTER_TO_UINT(offset);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	guint8 byte;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

START_TEST(another_image_at_the_guests_address_is_refused)
{
	static const guint offsets[] = {0, 1, 255, 511};
	g_autoptr(GError) error = NULL;

	scene_open(&scene, "raw");
	ck_assert(fake_start(FAKE_UUID));
	fake_fault(&(struct fake_fault){.call = "qemu-io",
					.code = FAKE_NO_ERROR,
					.hook = flip_byte,
					.data = GUINT_TO_POINTER(offsets[_i])});
	ck_assert(!scene_move(&scene, &error));
	ck_assert_int_eq(error_exit_status(error), 1);
	ck_assert_msg(strstr(error->message, "not the same place") != NULL, "%s", error->message);
	ck_assert_int_eq(fake_log_find("snapshot", -1), -1);
	scene_assert_home(&scene);
	scene_close(&scene);
}
END_TEST

START_TEST(the_same_image_is_accepted)
{
	g_autoptr(GError) error = NULL;

	scene_open(&scene, "raw");
	/* Behind the nonce. */
	fake_fault(&(struct fake_fault){.call = "qemu-io",
					.code = FAKE_NO_ERROR,
					.hook = flip_byte,
					.data = GUINT_TO_POINTER(512)});
	ck_assert_msg(scene_move(&scene, &error), "%s", error ? error->message : "");
	scene_assert_moved(&scene, "raw");
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("same place");
	TCase *nonce = tcase_create("nonce");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(nonce, another_image_at_the_guests_address_is_refused, 0, 4);
	tcase_add_test(nonce, the_same_image_is_accepted);
	suite_add_tcase(suite, nonce);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
