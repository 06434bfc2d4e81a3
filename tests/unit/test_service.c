/* What systemd hears from us, over a socket of the test's own. */
#include "blockmig/report/service.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char *path;
static int systemd;

static void setup(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	path = temp_path("notify");
	g_strlcpy(address.sun_path, path, sizeof address.sun_path);
	systemd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(systemd, (struct sockaddr *)&address, sizeof address), 0);
	g_setenv("NOTIFY_SOCKET", path, TRUE);
}

static void teardown(void)
{
	g_unsetenv("NOTIFY_SOCKET");
	close(systemd);
	g_unlink(path);
	g_free(path);
}

/* The next word; "" where there is none. */
static const char *heard(void)
{
	static char word[256];
	ssize_t length = read(systemd, word, sizeof word - 1);

	word[MAX(length, 0)] = '\0';
	return word;
}

START_TEST(a_status_is_told_once)
{
	service_status("2 moves run");
	service_status("2 moves run");
	ck_assert_str_eq(heard(), "STATUS=2 moves run");
	ck_assert_str_eq(heard(), "");
	service_status("50% of 2 moves");
	ck_assert_str_eq(heard(), "STATUS=50% of 2 moves");
}
END_TEST

START_TEST(the_end_is_announced)
{
	service_stopping();
	ck_assert_str_eq(heard(), "STOPPING=1");
}
END_TEST

START_TEST(nobody_need_listen)
{
	g_unsetenv("NOTIFY_SOCKET");
	service_status("2 moves run");
	service_stopping();
	ck_assert_str_eq(heard(), "");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("service");
	TCase *tests = tcase_create("service");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, a_status_is_told_once);
	tcase_add_test(tests, the_end_is_announced);
	tcase_add_test(tests, nobody_need_listen);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
