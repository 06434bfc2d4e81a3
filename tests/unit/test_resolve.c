/* Names of hosts, and a name service that does not answer. */
#include "common/error.h"
#include "tests/unit/images.h"
#include "transports/address.h"

#include <dlfcn.h>
#include <netdb.h>
#include <string.h>

enum { STALL_MS = 200, LIMIT_MS = 5000 };

static GMutex mutex;
static GCond changed;
static gboolean silent = TRUE;
static guint asked;

/* In the place of the system's: "silent" is not answered until the test says so. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		struct addrinfo **list)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	if (hints->ai_flags & AI_NUMERICHOST)
		return real(host, service, hints, list);
	g_mutex_lock(&mutex);
	asked++;
	while (silent && g_str_equal(host, "silent"))
		g_cond_wait(&changed, &mutex);
	g_mutex_unlock(&mutex);
	if (g_str_equal(host, "nobody"))
		return EAI_NONAME;
	return g_str_equal(host, "away") ? EAI_AGAIN : real("127.0.0.9", service, hints, list);
}

static GPtrArray *find(const char *host, char **addresses, GError **error)
{
	const struct transport_config config = {.stall_ms = STALL_MS, .addresses = addresses};
	g_autofree char *text = g_strdup_printf("nfs://%s/export/disk", host);
	AUTO(url) url = url_parse(text, NULL);

	return address_candidates(url, &config, 2049, error);
}

static void assert_found(const char *host, char **addresses, const char *numeric)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) found = find(host, addresses, &error);

	assert_good(found != NULL, error);
	ck_assert_uint_eq(found->len, 1);
	ck_assert_str_eq(((struct address *)found->pdata[0])->host, numeric);
}

static void assert_not_found(const char *host, enum blockmig_error code, const char *words)
{
	const gint64 begin_us = g_get_monotonic_time();
	g_autoptr(GError) error = NULL;

	ck_assert_ptr_null(find(host, NULL, &error));
	ck_assert_int_lt((g_get_monotonic_time() - begin_us) / 1000, LIMIT_MS);
	assert_code(error, code);
	ck_assert_msg(strstr(error->message, words) != NULL, "%s", error->message);
}

START_TEST(a_name_is_asked_for_and_a_number_is_not)
{
	assert_found("127.0.0.7", NULL, "127.0.0.7");
	assert_found("[::1]", NULL, "::1");
	ck_assert_uint_eq(asked, 0);
	assert_found("filer", NULL, "127.0.0.9");
	ck_assert_uint_eq(asked, 1);
}
END_TEST

START_TEST(a_name_that_nobody_has_is_permanent)
{
	assert_not_found("nobody", BLOCKMIG_ERROR_PERMANENT, "host nobody: ");
}
END_TEST

START_TEST(a_name_service_that_fails_is_transient)
{
	assert_not_found("away", BLOCKMIG_ERROR_TRANSIENT, "host away: ");
}
END_TEST

/* What comes too late is nobody's, and the name is asked for again. */
START_TEST(a_name_service_that_is_silent_is_waited_for_no_longer_than_a_stall)
{
	assert_not_found("silent", BLOCKMIG_ERROR_TRANSIENT,
			 "host silent: the name service gave no answer for 200 ms");
	g_mutex_lock(&mutex);
	silent = FALSE;
	g_cond_broadcast(&changed);
	g_mutex_unlock(&mutex);
	assert_found("silent", NULL, "127.0.0.9");
}
END_TEST

START_TEST(another_address_of_a_name_that_is_not_answered_is_used)
{
	char *addresses[] = {(char[]){"127.0.0.8"}, NULL};

	assert_found("silent", addresses, "127.0.0.8");
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("resolve");
	TCase *names = tcase_create("names");

	tcase_set_timeout(names, 60);
	tcase_add_test(names, a_name_is_asked_for_and_a_number_is_not);
	tcase_add_test(names, a_name_that_nobody_has_is_permanent);
	tcase_add_test(names, a_name_service_that_fails_is_transient);
	tcase_add_test(names, a_name_service_that_is_silent_is_waited_for_no_longer_than_a_stall);
	tcase_add_test(names, another_address_of_a_name_that_is_not_answered_is_used);
	suite_add_tcase(suite, names);
	return suite;
}

int main(void)
{
	return images_run(suite());
}
