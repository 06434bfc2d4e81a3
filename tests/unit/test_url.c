#include "common/error.h"
#include "transports/url.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* What is typed, and the one text that every equal place has. */
static const struct {
	const char *text, *canonical;
} canonical[] = {
	{"/images/a.img", "/images/a.img"},
	{"file:///images/a.img", "/images/a.img"},
	{"FILE://localhost/images/a.img", "/images/a.img"},
	{"/images//./a.img", "/images/a.img"},
	{"/images/a%41.img", "/images/a%41.img"},
	{"file:///images/a%41.img", "/images/aA.img"},
	{"/images/../a.img", "/images/../a.img"},
	{"/images/", "/images/"},
	{"/images/.", "/images/"},
	{"/", "/"},
	{"nfs://Filer/vol/a", "nfs://filer/vol/a"},
	{"nfs://filer:2049/vol/a", "nfs://filer/vol/a"},
	{"nfs://filer:20490/vol/", "nfs://filer:20490/vol/"},
	{"nfs://filer/vol/a?gid=7&uid=0&mountport=635",
	 "nfs://filer/vol/a?mountport=635&uid=0&gid=7"},
	{"nfs://[FE80::1]:33/vol/a%20%3F", "nfs://[fe80::1]:33/vol/a%20%3F"},
	{"nfs://filer/vol/a@b", "nfs://filer/vol/a@b"},
	{"iscsi://array/iqn.2026-01.com.example:t1/3",
	 "iscsi://array/iqn.2026-01.com.example:t1/3"},
	{"iscsi://array:3260/iqn.2026-01.com.example:t1/03",
	 "iscsi://array/iqn.2026-01.com.example:t1/3"},
	{"iscsi://array/iqn.2026-01.com.example:t1", "iscsi://array/iqn.2026-01.com.example:t1/"},
	{"iscsi://10.0.0.1:3261/iqn.a:b/", "iscsi://10.0.0.1:3261/iqn.a:b/"},
	{"nbd+unix:///?socket=/run/x", "nbd+unix:///?socket=/run/x"},
	{"nbd+unix:///vda?layer=top&socket=/run/a%26b",
	 "nbd+unix:///vda?socket=/run/a%26b&layer=top"},
};

START_TEST(equal_places_have_equal_texts)
{
	AUTO(url) url = url_parse(canonical[_i].text, NULL);

	ck_assert_ptr_nonnull(url);
	g_autofree char *text = url_format(url);
	ck_assert_str_eq(text, canonical[_i].canonical);

	AUTO(url) again = url_parse(text, NULL);
	ck_assert_ptr_nonnull(again);
	g_autofree char *text_again = url_format(again);
	ck_assert_str_eq(text_again, text);
	ck_assert_int_eq(again->is_place, url->is_place);
}
END_TEST

static const char *const refused[] = {
	"",
	"a.img",
	"./a.img",
	"http://host/a",
	"file://otherhost/a",
	"file://",
	"file:///a%00b",
	"file:///a%zz",
	"file:///a?uid=0",
	"nfs:///vol/a",
	"nfs://filer",
	"nfs://filer:0/a",
	"nfs://filer:65536/a",
	"nfs://filer:x/a",
	"nfs://fi ler/a",
	"nfs://[::1/a",
	"nfs://[::1]x/a",
	"nfs://filer/vol/../secret/a",
	"nfs://filer/vol/%2e%2e/a",
	"nfs://filer/a?uid=-1",
	"nfs://filer/a?uid=1&uid=2",
	"nfs://filer/a?version=4",
	"nfs://filer/a?mountport=0",
	"nfs://filer/a?socket=/x",
	"iscsi://array",
	"iscsi://array/",
	"iscsi://array//1",
	"iscsi://array/iqn.x:y/z",
	"iscsi://array/iqn.x:y/-1",
	"iscsi://array/iqn.x:y/16384",
	"iscsi://array/iqn.x:y/1/",
	"iscsi://array/iqn.x:y/1/2",
	"nbd+unix:///",
	"nbd+unix://host/?socket=/x",
	"nbd+unix:///?socket=relative",
	"nbd+unix:///?socket=/x&layer=bottom",
	"nbd+unix:///?socket=/x&tls=1",
};

START_TEST(what_is_no_image_url_is_refused)
{
	g_autoptr(GError) error = NULL;
	AUTO(url) url = url_parse(refused[_i], &error);

	ck_assert_msg(!url, "%s", refused[_i]);
	ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
}
END_TEST

static const char *const secrets[] = {
	"iscsi://admin:geheim@array/iqn.a:b/1",	 "nfs://geheim@filer/vol/a",
	"iscsi://admin:ge/heim@array/iqn.a:b/1", "iscsi://admin:x?geheim@array/iqn.a:b/1",
	"nfs://filer/vol/a?password=geheim",	 "admin:geheim@array",
	"nfs://u@filer/vol/a?geheim=1",
};

START_TEST(a_secret_is_refused_and_not_repeated)
{
	g_autoptr(GError) error = NULL;
	AUTO(url) url = url_parse(secrets[_i], &error);

	ck_assert_ptr_null(url);
	ck_assert_ptr_null(strstr(error->message, "heim"));
}
END_TEST

START_TEST(parts_that_are_not_given_have_their_defaults)
{
	AUTO(url) nfs = url_parse("nfs://filer/vol/a", NULL);
	AUTO(url) iscsi = url_parse("iscsi://array/iqn.a:b", NULL);

	ck_assert(nfs->port == 0 && nfs->mountport == 0 && nfs->uid == -1 && nfs->gid == -1);
	ck_assert_int_eq(iscsi->lun, -1);
	ck_assert(!iscsi->top_layer_only);
}
END_TEST

static const struct {
	const char *place, *name, *child;
} children[] = {
	{"/images/", "a.img", "/images/a.img"},
	{"/", "a.img", "/a.img"},
	{"nfs://filer/vol/?uid=5", "a b", "nfs://filer/vol/a%20b?uid=5"},
	{"iscsi://array/iqn.a:b", "12", "iscsi://array/iqn.a:b/12"},
};

START_TEST(a_child_knows_its_place_and_its_name)
{
	AUTO(url) place = url_parse(children[_i].place, NULL);
	AUTO(url) child = url_child(place, children[_i].name);
	AUTO(url) parent = url_parent(child);
	g_autofree char *text = url_format(child), *name = url_basename(child);
	g_autofree char *place_text = url_format(place), *parent_text = url_format(parent);

	ck_assert_str_eq(text, children[_i].child);
	ck_assert_str_eq(name, children[_i].name);
	ck_assert_str_eq(parent_text, place_text);
	ck_assert(!child->is_place && parent->is_place);
}
END_TEST

START_TEST(a_name_that_leads_elsewhere_is_no_child)
{
	static const char *const names[] = {"", ".", "..", "../a", "a/b"};
	AUTO(url) folder = url_parse("nfs://filer/vol/", NULL);
	AUTO(url) target = url_parse("iscsi://array/iqn.a:b", NULL);

	for (guint i = 0; i < G_N_ELEMENTS(names); i++)
		ck_assert_ptr_null(url_child(folder, names[i]));
	ck_assert_ptr_null(url_child(target, "x"));
}
END_TEST

START_TEST(a_copy_outlives_its_original)
{
	AUTO(url) url = url_parse("nbd+unix:///vda?socket=/run/x&layer=top", NULL);
	AUTO(url) copy = url_copy(url);

	g_clear_pointer(&url, url_free);
	ck_assert_str_eq(copy->socket, "/run/x");
	ck_assert_str_eq(copy->path, "vda");
	ck_assert(copy->top_layer_only);
	ck_assert_ptr_null(url_parent(copy));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("url");
	TCase *tcase = tcase_create("url");
	SRunner *runner = srunner_create(suite);

	suite_add_tcase(suite, tcase);
	tcase_add_loop_test(tcase, equal_places_have_equal_texts, 0, G_N_ELEMENTS(canonical));
	tcase_add_loop_test(tcase, what_is_no_image_url_is_refused, 0, G_N_ELEMENTS(refused));
	tcase_add_loop_test(tcase, a_secret_is_refused_and_not_repeated, 0, G_N_ELEMENTS(secrets));
	tcase_add_test(tcase, parts_that_are_not_given_have_their_defaults);
	tcase_add_loop_test(tcase, a_child_knows_its_place_and_its_name, 0, G_N_ELEMENTS(children));
	tcase_add_test(tcase, a_name_that_leads_elsewhere_is_no_child);
	tcase_add_test(tcase, a_copy_outlives_its_original);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
