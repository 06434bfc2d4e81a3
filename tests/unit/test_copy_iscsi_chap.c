/*
 * Whole copies to a LUN behind CHAP, with the secrets that the configuration's chap-file
 * or libvirt has; and that no secret is ever told.
 */
#include "blockmig/vm/datastore.h"
#include "blockmig/vm/session.h"
#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/lun_copying.h"
#include "tests/unit/servers.h"
#include "tests/unit/temp.h"

#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

#define USER	   "initiator"
#define SECRET	   "secret-of-ours1"
#define TARGET	   "target"
#define ITS_SECRET "secret-of-it-22"
#define WRONG	   "a-wrong-secret3"
#define OWN	   "user=" USER "\npassword=" SECRET "\n"
#define MUTUAL	   OWN "mutual-user=" TARGET "\nmutual-password=" ITS_SECRET "\n"

enum { LUN = 1, CONTENT_BYTES = 2 * MiB, STAGE_OPERATIONAL = 1 << 2 };

static struct lun_copying mine;
static struct config *config;
static struct place *place;
static const char *libvirt_has; /* as the value of the secret "guests" */

char *session_secret(struct session *session G_GNUC_UNUSED, const char *usage, GError **error)
{
	if (libvirt_has && g_str_equal(usage, "guests"))
		return g_strdup(libvirt_has);
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_NOT_FOUND, "no secret '%s'", usage);
	return NULL;
}

static void begin(void)
{
	iscsi_server_start();
	iscsi_server_add_lun(LUN, 8 * MiB, 512, FALSE);
	lun_copying_begin(&mine, LUN, CONTENT_BYTES, FALSE);
}

static void begin_one_way(void)
{
	begin();
	iscsi_server_require_chap(USER, SECRET, NULL, NULL);
}

static void begin_mutual(void)
{
	begin();
	iscsi_server_require_chap(USER, SECRET, TARGET, ITS_SECRET);
}

static void end(void)
{
	lun_copying_end(&mine);
	if (place)
		place_free(place);
	if (config)
		config_free(config);
	iscsi_server_kill();
}

static char *write_private(const char *name, const char *text)
{
	char *path = temp_path(name);

	g_assert(g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600,
					  NULL));
	return path;
}

/* The destination gets what a configuration file with this chap-file says. */
static void configure(const char *chap)
{
	g_autofree char *chap_path = write_private("chap", chap);
	g_autofree char *lun = url_format(mine.copying.destination_url);
	g_autofree char *target = g_path_get_dirname(lun);
	g_autofree char *text =
		g_strdup_printf("[datastore san]\nurl=%s/\nchap-file=%s\n%s", target, chap_path,
				libvirt_has ? "secret=guests\n" : "");
	g_autofree char *path = write_private("blockmig.conf", text);
	g_autoptr(GError) error = NULL;

	config = config_load(path, &error);
	assert_good(config != NULL, error);
	assert_good(config_ask_passwords(config, NULL, &error), error);
	place = place_of_url(config, mine.copying.destination_url, &error);
	assert_good(place != NULL, error);
	place->transport->stall_ms = LUN_STALL_MS;
	mine.copying.destination_end.config = place->transport;
}

static void assert_tells_no_secret(const char *text, gsize bytes)
{
	static const char *const secrets[] = {SECRET, ITS_SECRET, WRONG};

	for (guint i = 0; i < G_N_ELEMENTS(secrets); i++)
		ck_assert(!memmem(text, bytes, secrets[i], strlen(secrets[i])));
}

static void assert_ledger_tells_no_secret(void)
{
	g_autoptr(GDir) files = g_dir_open(mine.copying.folder, 0, NULL);
	const char *name;

	ck_assert_ptr_nonnull(files);
	while ((name = g_dir_read_name(files))) {
		g_autofree char *path = g_build_filename(mine.copying.folder, name, NULL);
		g_autofree char *bytes = NULL;
		gsize count = 0;

		ck_assert(g_file_get_contents(path, &bytes, &count, NULL));
		assert_tells_no_secret(bytes, count);
	}
}

static void assert_let_in(const char *chap)
{
	configure(chap);
	lun_copying_assert_copied(&mine);
	assert_ledger_tells_no_secret();
}

static void assert_refused(const char *chap, const char *words)
{
	configure(chap);
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_PERMANENT, words);
	assert_tells_no_secret(mine.copying.error->message, strlen(mine.copying.error->message));
	assert_ledger_tells_no_secret();
	ck_assert(!lun_copying_is_equal(&mine));
}

/* ---- one way ------------------------------------------------------------------------------ */

START_TEST(right_password_is_let_in)
{
	assert_let_in(OWN);
}
END_TEST

START_TEST(password_that_libvirt_has_is_let_in)
{
	libvirt_has = SECRET;
	assert_let_in("user=" USER "\n");
}
END_TEST

START_TEST(wrong_password_that_libvirt_has_is_refused)
{
	libvirt_has = WRONG;
	assert_refused("user=" USER "\n", "Authentication failure");
}
END_TEST

START_TEST(password_of_the_chap_file_goes_before_libvirts)
{
	libvirt_has = WRONG;
	assert_let_in(OWN);
}
END_TEST

START_TEST(wrong_password_is_refused)
{
	assert_refused("user=" USER "\npassword=" WRONG "\n", "Authentication failure");
}
END_TEST

START_TEST(unknown_user_is_refused)
{
	assert_refused("user=nobody\npassword=" SECRET "\n", "Authentication failure");
}
END_TEST

START_TEST(no_password_is_refused)
{
	lun_copying_assert_fails(&mine, BLOCKMIG_ERROR_PERMANENT, "uth");
	ck_assert(!lun_copying_is_equal(&mine));
}
END_TEST

START_TEST(target_that_has_no_secret_of_its_own_is_refused_where_it_must_prove_itself)
{
	assert_refused(MUTUAL, "Authentication failure");
}
END_TEST

/* ---- mutual ------------------------------------------------------------------------------- */

START_TEST(target_that_proves_itself_is_used)
{
	assert_let_in(MUTUAL);
}
END_TEST

START_TEST(target_that_proves_itself_is_used_with_libvirts_password)
{
	libvirt_has = SECRET;
	assert_let_in("user=" USER "\nmutual-user=" TARGET "\nmutual-password=" ITS_SECRET "\n");
}
END_TEST

enum { THREADS = 8, OPENINGS = 100 };

static gpointer open_often(gpointer data)
{
	const struct copy_end *end = data;
	GError *error = NULL;

	for (guint i = 0; i < OPENINGS && !error; i++) {
		AUTO(handle) handle = handle_open(end->url, end->config, HANDLE_READ, &error);

		ck_assert(handle || error);
	}
	return error;
}

/* libiscsi tells of it in one buffer for all sessions. */
START_TEST(target_proves_itself_to_many_threads_at_once)
{
	GThread *threads[THREADS];
	guint failures = 0;

	configure(MUTUAL);
	for (guint i = 0; i < THREADS; i++)
		threads[i] = g_thread_new("opens", open_often, mine.copying.spec.destination);
	for (guint i = 0; i < THREADS; i++) {
		g_autoptr(GError) error = g_thread_join(threads[i]);

		failures += error != NULL;
		if (error)
			fprintf(stderr, "%s\n", error->message);
	}
	ck_assert_uint_eq(failures, 0);
}
END_TEST

START_TEST(target_need_not_prove_itself_where_nobody_asked)
{
	assert_let_in(OWN);
}
END_TEST

START_TEST(target_with_another_secret_is_refused)
{
	assert_refused(OWN "mutual-user=" TARGET "\nmutual-password=" WRONG "\n",
		       "Invalid CHAP_R response from the target");
}
END_TEST

START_TEST(target_with_another_name_is_refused)
{
	assert_refused(OWN "mutual-user=other\nmutual-password=" ITS_SECRET "\n",
		       "Wrong CHAP targetname");
}
END_TEST

/* ---- a target that wants no CHAP ------------------------------------------------------------ */

START_TEST(target_without_chap_is_refused_where_it_must_prove_itself)
{
	assert_refused(MUTUAL, "did not return CHAP_N");
}
END_TEST

/* libiscsi compares a response that it never asked for with zeros. */
START_TEST(forged_proof_without_a_challenge_is_refused)
{
	static const char text[] = "CHAP_N=" TARGET "\0CHAP_R=0x00000000000000000000000000000000";
	const struct proxy_fault fault = {.act = PROXY_APPEND,
					  .pdu = PROXY_LOGIN_RESPONSE,
					  .operation = PROXY_ANY,
					  .times = PROXY_FOR_EVER,
					  .text = text,
					  .bytes = sizeof(text)};

	proxy_spoil(mine.proxy, &fault);
	assert_refused(MUTUAL, "did not prove itself");
}
END_TEST

/*
 * Another target stands where the proven one stood.  It claims that it was never asked
 * who it is: libiscsi looks for no proof in a response that is not of the security stage.
 */
static void put_an_impostor(void *data G_GNUC_UNUSED)
{
	const struct proxy_fault forge = {.act = PROXY_FLIP,
					  .pdu = PROXY_LOGIN_RESPONSE,
					  .operation = PROXY_ANY,
					  .times = 1,
					  .at = 1,
					  .bits = STAGE_OPERATIONAL};

	iscsi_server_kill();
	proxy_spoil(mine.proxy, &forge);
	iscsi_server_start();
	iscsi_server_add_lun(LUN, 8 * MiB, 512, FALSE);
}

START_TEST(impostor_at_a_reconnect_is_refused_although_the_target_was_proven_once)
{
	const struct proxy_fault fault = {.act = PROXY_CALL,
					  .pdu = PROXY_COMMAND,
					  .operation = LUN_WRITE,
					  .times = 1,
					  .call = put_an_impostor};

	/* One thread: what it has learnt from its first login must not count for the next. */
	mine.copying.spec.workers = 1;
	mine.copying.spec.prove = FALSE;
	mine.copying.spec.retry_for_ms = 20000;
	proxy_spoil(mine.proxy, &fault);
	assert_refused(MUTUAL, "did not prove itself");
	ck_assert_int_eq(proxy_spoiled(mine.proxy), 1);
}
END_TEST

/* ---- the suite ------------------------------------------------------------------------------- */

static TCase *add_case(Suite *suite, const char *name, void (*setup)(void))
{
	TCase *tcase = tcase_create(name);

	tcase_add_unchecked_fixture(tcase, temp_make, temp_remove);
	tcase_add_checked_fixture(tcase, setup, end);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return tcase;
}

static int run_tests(void)
{
	Suite *suite = suite_create("copies over iSCSI with CHAP");
	TCase *one_way = add_case(suite, "one way", begin_one_way);
	TCase *mutual = add_case(suite, "mutual", begin_mutual);
	TCase *none = add_case(suite, "no CHAP", begin);

	tcase_add_test(one_way, right_password_is_let_in);
	tcase_add_test(one_way, password_that_libvirt_has_is_let_in);
	tcase_add_test(one_way, wrong_password_that_libvirt_has_is_refused);
	tcase_add_test(one_way, password_of_the_chap_file_goes_before_libvirts);
	tcase_add_test(one_way, wrong_password_is_refused);
	tcase_add_test(one_way, unknown_user_is_refused);
	tcase_add_test(one_way, no_password_is_refused);
	tcase_add_test(one_way,
		       target_that_has_no_secret_of_its_own_is_refused_where_it_must_prove_itself);
	tcase_add_test(mutual, target_that_proves_itself_is_used);
	tcase_add_test(mutual, target_that_proves_itself_is_used_with_libvirts_password);
	tcase_add_test(mutual, target_proves_itself_to_many_threads_at_once);
	tcase_add_test(mutual, target_need_not_prove_itself_where_nobody_asked);
	tcase_add_test(mutual, target_with_another_secret_is_refused);
	tcase_add_test(mutual, target_with_another_name_is_refused);
	tcase_add_test(mutual,
		       impostor_at_a_reconnect_is_refused_although_the_target_was_proven_once);
	tcase_add_test(none, target_without_chap_is_refused_where_it_must_prove_itself);
	tcase_add_test(none, forged_proof_without_a_challenge_is_refused);
	return images_run(suite);
}

int main(void)
{
	return servers_run(run_tests);
}
