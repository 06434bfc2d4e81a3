#include "blockmig/vm/datastore.h"

#include "common/error.h"
#include "tests/unit/temp.h"
#include "common/units.h"

#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char *write_file(const char *name, const char *text, int mode)
{
	char *path = temp_path(name);

	ck_assert(g_file_set_contents(path, text, -1, NULL));
	ck_assert_int_eq(chmod(path, (mode_t)mode), 0);
	return path;
}

static struct config *load(const char *text)
{
	g_autofree char *path = write_file("blockmig.conf", text, 0644);
	g_autoptr(GError) error = NULL;
	struct config *config = config_load(path, &error);

	ck_assert_msg(config, "%s", error ? error->message : "");
	return config;
}

/* The file must be refused with words that name it and have @words. */
static void refused(const char *text, const char *words)
{
	g_autofree char *path = write_file("bad.conf", text, 0644);
	g_autoptr(GError) error = NULL;

	ck_assert_ptr_null(config_load(path, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
	ck_assert_msg(strstr(error->message, path) && strstr(error->message, words),
		      "%s has no '%s'", error->message, words);
}

static const struct datastore *find(struct config *config, const char *text, const char *pool)
{
	g_autoptr(GError) error = NULL;
	const struct datastore *found = config_datastore(config, text, pool, &error);

	ck_assert_msg(found, "%s", error ? error->message : "");
	return found;
}

START_TEST(every_key_is_read)
{
	g_autofree char *chap = write_file("chap",
					   "# for the array\nuser=us\npassword= p=w \n"
					   "mutual-user=it\nmutual-password=x\n",
					   0600);
	g_autofree char *text = g_strdup_printf(
		"[blockmig]\nscratch=/fast\nbwlimit=200M\nmax-downtime=1s\nworkers=4\n"
		"[datastore san]\nurl=iscsi://array/iqn.2026-01.com.example:t1/\n"
		"address=10.0.0.1, 10.0.0.2:3261\nchap-file=%s\nsecret=guests\n"
		"initiator=iqn.2026-01.com.example:me\n",
		chap);
	AUTO(config) config = load(text);
	const struct datastore *san = find(config, "san", NULL);

	ck_assert_str_eq(config->scratch, "/fast");
	ck_assert_uint_eq(config->bwlimit, 200 * MiB);
	ck_assert_str_eq(g_hash_table_lookup(config->defaults, "max-downtime"), "1s");
	ck_assert_str_eq(g_hash_table_lookup(config->defaults, "workers"), "4");
	ck_assert_str_eq(san->url->target, "iqn.2026-01.com.example:t1");
	ck_assert_ptr_null(san->path);
	ck_assert_str_eq(san->secret, "guests");
	ck_assert_str_eq(san->transport.addresses[0], "10.0.0.1");
	ck_assert_str_eq(san->transport.addresses[1], "10.0.0.2:3261");
	ck_assert_ptr_null(san->transport.addresses[2]);
	ck_assert_str_eq(san->transport.chap_user, "us");
	ck_assert_str_eq(san->transport.chap_password, " p=w ");
	ck_assert_str_eq(san->transport.mutual_user, "it");
	ck_assert_str_eq(san->transport.mutual_password, "x");
	ck_assert_str_eq(san->transport.initiator, "iqn.2026-01.com.example:me");
}
END_TEST

START_TEST(a_missing_file_is_fine_only_where_nobody_named_it)
{
	g_autofree char *path = temp_path("not-there");
	g_autoptr(GError) error = NULL;

	ck_assert_ptr_null(config_load(path, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
	g_clear_error(&error);
	g_setenv("BLOCKMIG_CONFIG", path, TRUE);
	ck_assert_ptr_null(config_load(NULL, &error));
	ck_assert_ptr_nonnull(strstr(error->message, path));
}
END_TEST

START_TEST(the_environment_names_the_file)
{
	g_autofree char *path = write_file("other.conf", "[blockmig]\nscratch=/o\n", 0644);
	AUTO(config) config = NULL;

	g_setenv("BLOCKMIG_CONFIG", path, TRUE);
	config = config_load(NULL, NULL);
	ck_assert_str_eq(config->scratch, "/o");
}
END_TEST

START_TEST(what_is_not_known_is_refused)
{
	refused("[blokmig]\nscratch=/x\n", "[blokmig]");
	refused("[blockmig]\nbw-limit=1\n", "'bw-limit'");
	refused("[blockmig]\nbwlimit=fast\n", "bwlimit");
	refused("[blockmig]\nscratch=here\n", "not an absolute path");
	refused("[datastore a]\npath=/x\npasword=1\n", "'pasword'");
	refused("[datastore a]\n", "path= or url=");
	refused("[datastore a]\npath=x\n", "not an absolute path");
	refused("[datastore a]\nurl=ftp://x/\n", "[datastore a]");
	refused("[datastore a]\nurl=nbd+unix:///?socket=/x\n", "NBD");
	refused("[datastore a]\nurl=iscsi://h/iqn.x:t/\nsecret=s\n", "chap-file");
	refused("[datastore ]\npath=/x\n", "name");
	g_autofree char *chap = write_file("user", "user=u\n", 0600);
	g_autofree char *text =
		g_strdup_printf("[datastore a]\nurl=iscsi://h/iqn.x:t/\nchap-file=%s\n", chap);
	refused(text, "secret=");
	refused("no section\n", "bad.conf");
}
END_TEST

START_TEST(a_chap_file_that_others_can_read_is_refused)
{
	static const int modes[] = {0640, 0604, 0660};

	for (guint i = 0; i < G_N_ELEMENTS(modes); i++) {
		g_autofree char *chap = write_file("open", "user=u\npassword=p\n", modes[i]);
		g_autofree char *text = g_strdup_printf("[datastore a]\nurl=iscsi://h/iqn.x:t/\n"
							"chap-file=%s\n",
							chap);

		refused(text, "chmod 600");
	}
}
END_TEST

#define EQUAL_SECRETS "user=u\npassword=secretword\nmutual-user=t\nmutual-password=secretword\n"

START_TEST(a_bad_chap_file_never_shows_its_words)
{
	static const char *const bad[] = {
		"user=u\nsecretword\n", "user=secretword\n", "password=secretword\n",
		"user=u\npassword=p\nmutual-user=secretword\n", EQUAL_SECRETS};

	for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autofree char *chap = write_file("chap", bad[i], 0600);
		g_autofree char *text = g_strdup_printf("[datastore a]\nurl=iscsi://h/iqn.x:t/\n"
							"chap-file=%s\n",
							chap);
		g_autofree char *path = write_file("bad.conf", text, 0644);
		g_autoptr(GError) error = NULL;

		ck_assert_ptr_null(config_load(path, &error));
		ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
		ck_assert_ptr_null(strstr(error->message, "secretword"));
	}
}
END_TEST

START_TEST(a_url_inside_a_section_has_its_access)
{
	AUTO(config) config =
		load("[datastore a]\nurl=nfs://filer/vol1\npath=/mnt/vol1\ninitiator=i\n");
	const struct datastore *inside = find(config, "nfs://filer/vol1/sub/", NULL);
	const struct datastore *beside = find(config, "nfs://filer/vol10/", NULL);

	ck_assert_str_eq(inside->path, "/mnt/vol1/sub");
	ck_assert_str_eq(inside->url->path, "/vol1/sub");
	ck_assert_str_eq(inside->transport.initiator, "i");
	ck_assert_ptr_null(inside->name);
	ck_assert_ptr_null(beside->path);
	ck_assert_ptr_null(beside->transport.initiator);
}
END_TEST

START_TEST(a_path_is_a_datastore)
{
	g_autofree char *file = temp_path("file");
	g_autofree char *folder = g_path_get_dirname(file);
	AUTO(config) config = load("[datastore a]\nurl=nfs://filer/vol1\npath=/mnt/vol1\n");
	const struct datastore *existing = find(config, folder, NULL);
	const struct datastore *mapped = find(config, "/mnt/vol1/sub/", NULL);

	ck_assert_int_eq(existing->url->scheme, URL_FILE);
	ck_assert(existing->url->is_place);
	ck_assert_str_eq(existing->path, folder);
	ck_assert_int_eq(mapped->url->scheme, URL_NFS);
	ck_assert_str_eq(mapped->url->path, "/vol1/sub");
	ck_assert(mapped->url->is_place);
}
END_TEST

START_TEST(a_name_that_is_nothing_is_a_usage_error)
{
	AUTO(config) config = load("");
	g_autoptr(GError) error = NULL;

	ck_assert_ptr_null(config_datastore(config, "gold", NULL, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
}
END_TEST

START_TEST(pools_are_datastores)
{
	AUTO(config) config = load("");
	const struct datastore *dir = find(config, "d",
					   "<pool type='dir'><name>d</name><target>"
					   "<path>/srv/d</path></target></pool>");
	const struct datastore *netfs =
		find(config, "n",
		     "<pool type='netfs'><name>n</name><source><host name='filer'/>"
		     "<dir path='/vol 1'/><format type='nfs'/></source>"
		     "<target><path>/mnt/n</path></target></pool>");
	const struct datastore *iscsi = find(
		config, "i",
		"<pool type='iscsi-direct'><name>i</name><source><host name='::1' port='3261'/>"
		"<device path='iqn.x:t'/><initiator><iqn name='iqn.x:me'/></initiator>"
		"</source></pool>");

	ck_assert_str_eq(dir->name, "d");
	ck_assert_str_eq(dir->path, "/srv/d");
	ck_assert_int_eq(dir->url->scheme, URL_FILE);
	ck_assert(dir->url->is_place);
	ck_assert_str_eq(netfs->path, "/mnt/n");
	ck_assert_str_eq(netfs->url->host, "filer");
	ck_assert_str_eq(netfs->url->path, "/vol 1");
	ck_assert(netfs->url->is_place);
	ck_assert_str_eq(iscsi->url->host, "::1");
	ck_assert_int_eq(iscsi->url->port, 3261);
	ck_assert_str_eq(iscsi->url->target, "iqn.x:t");
	ck_assert_str_eq(iscsi->transport.initiator, "iqn.x:me");
	ck_assert_ptr_eq(find(config, "d", NULL), dir);
}
END_TEST

START_TEST(rules_for_domains_add_up_and_a_later_one_wins)
{
	AUTO(config) config = load("[domain db-*]\npriority=10\nkeep-together=yes\nprefer=a, b\n"
				   "[domain *-test]\npriority=-5\navoid=c\n");
	struct domain_rule both = config_domain_rule(config, "db-test");
	struct domain_rule first = config_domain_rule(config, "db-1");
	struct domain_rule none = config_domain_rule(config, "web");

	ck_assert_int_eq(both.priority, -5);
	ck_assert(both.keep_together);
	ck_assert_str_eq(both.prefer[1], "b");
	ck_assert_str_eq(both.avoid[0], "c");
	ck_assert_int_eq(first.priority, 10);
	ck_assert_ptr_null(first.avoid);
	ck_assert(!none.has_priority && !none.keep_together && !none.prefer);
}
END_TEST

START_TEST(a_rule_that_means_nothing_is_refused)
{
	refused("[domain web]\npriority=high\n", "[domain web]: priority: 'high' is no number");
	refused("[domain web]\nkeep-together=perhaps\n", "'perhaps' is not yes or no");
	refused("[domain web]\ncolour=red\n", "[domain web]: unknown key 'colour'");
}
END_TEST

START_TEST(pools_that_are_no_datastores_say_so)
{
	static const char *const pools[] = {
		"<pool type='rbd'><name>x</name></pool>",
		"<pool type='dir'><name>x</name></pool>",
		"<pool type='netfs'><name>x</name><source/></pool>",
		("<pool type='iscsi-direct'><name>x</name><source><host name='h'/>"
		 "<device path='iqn.x:t'/><auth type='chap' username='u'/></source></pool>"),
	};
	AUTO(config) config = load("");

	for (guint i = 0; i < G_N_ELEMENTS(pools); i++) {
		g_autoptr(GError) error = NULL;

		ck_assert_ptr_null(config_datastore(config, "x", pools[i], &error));
		ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
		ck_assert(g_str_has_prefix(error->message, "pool 'x': "));
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *cases = tcase_create("config");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, cases);
	tcase_add_unchecked_fixture(cases, temp_make, temp_remove);
	tcase_add_test(cases, every_key_is_read);
	tcase_add_test(cases, a_missing_file_is_fine_only_where_nobody_named_it);
	tcase_add_test(cases, the_environment_names_the_file);
	tcase_add_test(cases, what_is_not_known_is_refused);
	tcase_add_test(cases, a_chap_file_that_others_can_read_is_refused);
	tcase_add_test(cases, a_bad_chap_file_never_shows_its_words);
	tcase_add_test(cases, a_url_inside_a_section_has_its_access);
	tcase_add_test(cases, a_path_is_a_datastore);
	tcase_add_test(cases, a_name_that_is_nothing_is_a_usage_error);
	tcase_add_test(cases, pools_are_datastores);
	tcase_add_test(cases, pools_that_are_no_datastores_say_so);
	tcase_add_test(cases, rules_for_domains_add_up_and_a_later_one_wins);
	tcase_add_test(cases, a_rule_that_means_nothing_is_refused);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
