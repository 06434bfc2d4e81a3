/* An NFS server whose answers have no end: the call fails, and names it. */
#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/nfs_script.h"

#include <string.h>

static const struct transport_config config = {.stall_ms = 2000};

static struct nfs_script *script;

static void set_up(void)
{
	script = nfs_script_start();
}

static struct handle *open_disk(void)
{
	g_autofree char *text = nfs_script_url(script);
	AUTO(url) url = url_parse(text, NULL);
	g_autoptr(GError) error = NULL;
	struct handle *handle = handle_open(url, &config, HANDLE_READ, &error);

	assert_good(handle != NULL, error);
	return handle;
}

/* The server sends on for as long as it can: nothing but a refusal ends that. */
static void assert_read_ends(void)
{
	guint8 *found = transport_buffer_new(MiB);
	g_autoptr(GError) error = NULL;

	AUTO(handle) handle = open_disk();
	ck_assert(!handle_read(handle, found, MiB, 0, &error));
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
	ck_assert_msg(strstr(error->message, "has no end") && strstr(error->message, "server 127"),
		      "%s", error->message);
	transport_buffer_free(found);
}

START_TEST(empty_fragments_without_end_are_no_answer)
{
	script->flood_read = TRUE;
	assert_read_ends();
}
END_TEST

START_TEST(an_answer_with_an_endless_tail_is_none)
{
	script->flood_tail = TRUE;
	assert_read_ends();
}
END_TEST

START_TEST(a_list_without_end_is_refused)
{
	g_autofree char *text = g_strdup_printf("nfs://127.0.0.1:%d/export/?mountport=%d",
						script->port, script->port);
	AUTO(url) place = url_parse(text, NULL);
	g_autoptr(GError) error = NULL;

	script->list_repeats = _i;
	ck_assert_ptr_null(place_list(place, &config, &error));
	assert_code(error, BLOCKMIG_ERROR_PERMANENT);
	ck_assert_msg(strstr(error->message, "does not end") &&
			      strstr(error->message, "server 127"),
		      "%s", error->message);
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("nfs, endless");
	TCase *endless = tcase_create("endless");

	tcase_add_checked_fixture(endless, set_up, NULL);
	tcase_set_timeout(endless, 30);
	tcase_add_test(endless, empty_fragments_without_end_are_no_answer);
	tcase_add_test(endless, an_answer_with_an_endless_tail_is_none);
	tcase_add_loop_test(endless, a_list_without_end_is_refused, 0, 2);
	suite_add_tcase(suite, endless);
	return suite;
}

int main(void)
{
	return images_run(suite());
}
