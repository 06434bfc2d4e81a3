/*
 * Disks that a domain names as volumes of a pool: their address by the pool's XML, and the
 * way back to a volume's name.
 */
#include "blockmig/vm/domain_load.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER_POOL                                                                                \
	"<pool type='dir'><name>images</name><target><path>/srv/images</path></target></pool>"
#define LUN_POOL(type)                                                                             \
	"<pool type='" type "'><name>san</name><source><host name='10.0.0.5' port='3260'/>"        \
	"<device path='iqn.2026-01.com.example:t1'/>"                                              \
	"<initiator><iqn name='iqn.2026-01.com.example:me'/></initiator></source>"                 \
	"<target><path>/dev/disk/by-path</path></target></pool>"

/* ---- pools, in place of the session's own --------------------------------------- */

static const char *pools[4];

char *session_pool_xml(struct session *session, const char *name, GError **error)
{
	g_autofree char *element = g_strdup_printf("<name>%s</name>", name);

	(void)session;
	(void)error;
	for (guint i = 0; pools[i]; i++)
		if (strstr(pools[i], element))
			return g_strdup(pools[i]);
	return NULL;
}

GPtrArray *session_pool_list(struct session *session, GError **error)
{
	GPtrArray *list = g_ptr_array_new_with_free_func(g_free);

	(void)session;
	(void)error;
	for (guint i = 0; pools[i]; i++)
		g_ptr_array_add(list, g_strdup(pools[i]));
	return list;
}

static char *refreshed;

gboolean session_pool_refresh(struct session *session, const char *name, GError **error)
{
	(void)session;
	(void)error;
	g_free(refreshed);
	refreshed = g_strdup(name);
	return TRUE;
}

static void setup(void)
{
	memset(pools, 0, sizeof(pools));
	g_clear_pointer(&refreshed, g_free);
}

/* ---- from a name to an address ------------------------------------------------------------ */

static struct source *volume(const char *name, const char *mode)
{
	struct source *source = source_new(SOURCE_OTHER, NULL);

	source->pool = g_strdup("p");
	source->volume = g_strdup(name);
	source->volume_mode = g_strdup(mode);
	source->other = g_strdup("a volume");
	return source;
}

static const struct {
	const char *pool, *volume, *mode, *text; /* NULL: not resolved */
	enum source_type type;
} addresses[] = {
	{FOLDER_POOL, "web.raw", NULL, "/srv/images/web.raw", SOURCE_FILE},
	{FOLDER_POOL, "../etc/passwd", NULL, NULL, SOURCE_OTHER},
	{LUN_POOL("iscsi-direct"), "unit:0:0:3", NULL,
	 "iscsi://10.0.0.5/iqn.2026-01.com.example:t1/3", SOURCE_ISCSI},
	{LUN_POOL("iscsi-direct"), "unit:0:0:x", NULL, NULL, SOURCE_OTHER},
	{LUN_POOL("iscsi"), "unit:0:0:3", "direct", "iscsi://10.0.0.5/iqn.2026-01.com.example:t1/3",
	 SOURCE_ISCSI},
	{LUN_POOL("iscsi"), "unit:0:0:3", NULL,
	 "/dev/disk/by-path/ip-10.0.0.5:3260-iscsi-iqn.2026-01.com.example:t1-lun-3", SOURCE_BLOCK},
	{"<pool type='rbd'><name>r</name></pool>", "v", NULL, NULL, SOURCE_OTHER},
	{"<pool type='dir'><name>r</name></pool>", "v", NULL, NULL, SOURCE_OTHER},
};

START_TEST(a_volume_has_the_address_that_libvirt_gives_it)
{
	AUTO(source) source = volume(addresses[_i].volume, addresses[_i].mode);

	ck_assert_int_eq(volume_resolve(source, addresses[_i].pool), addresses[_i].text != NULL);
	ck_assert_int_eq(source->type, addresses[_i].type);
	ck_assert_str_eq(source->pool, "p");
	g_autofree char *text = source_text(source);

	ck_assert_str_eq(text, addresses[_i].text ? addresses[_i].text : "a volume");
}
END_TEST

#define DOMAIN(disk)                                                                               \
	"<domain type='kvm'>\n  <name>web</name>\n  <uuid>u</uuid>\n  <devices>\n" disk            \
	"  </devices>\n</domain>\n"
#define VOLUME_DISK                                                                                \
	"    <disk type='volume' device='disk'>\n"                                                 \
	"      <driver name='qemu' type='raw'/>\n"                                                 \
	"      <source pool='images' volume='web.raw'/>\n"                                         \
	"      <target dev='vda'/>\n    </disk>\n"

START_TEST(a_domains_volumes_get_their_addresses)
{
	pools[0] = FOLDER_POOL;
	AUTO(domain) domain = domain_parse(DOMAIN(VOLUME_DISK), NULL);

	domain_resolve(NULL, domain);
	const struct source *source = &disk_layer(domain_disk(domain, "vda"), 0)->source;

	ck_assert_int_eq(source->type, SOURCE_FILE);
	ck_assert_str_eq(source->path, "/srv/images/web.raw");
}
END_TEST

START_TEST(a_volume_of_an_unknown_pool_stays_what_it_is_called)
{
	AUTO(domain) domain = domain_parse(DOMAIN(VOLUME_DISK), NULL);

	domain_resolve(NULL, domain);
	const struct source *source = &disk_layer(domain_disk(domain, "vda"), 0)->source;

	ck_assert_int_eq(source->type, SOURCE_OTHER);
	ck_assert_str_eq(source->other, "the volume 'web.raw' of pool 'images'");
}
END_TEST

/* ---- and back ------------------------------------------------------------ */

static struct place *place_at(enum source_type type, const char *path, const char *url)
{
	struct place *place = place_new();

	place->source.type = type;
	place->source.path = g_strdup(path);
	place->url = url_parse(url, NULL);
	ck_assert_ptr_nonnull(place->url);
	return place;
}

START_TEST(an_image_in_a_pool_has_the_name_of_its_volume)
{
	g_autofree char *pool = NULL, *name = NULL, *mode = NULL;
	AUTO(place)
	place = place_at(SOURCE_FILE, "/srv/images/new.raw", "file:///srv/images/new.raw");

	pools[0] = "<pool type='rbd'><name>r</name></pool>";
	pools[1] = FOLDER_POOL;
	ck_assert(volume_of_place(NULL, place, &pool, &name, &mode));
	ck_assert_str_eq(pool, "images");
	ck_assert_str_eq(name, "new.raw");
	ck_assert_ptr_null(mode);
	volume_refresh(NULL, place);
	ck_assert_str_eq(refreshed, "images");
}
END_TEST

static const char *const lun_pools[] = {LUN_POOL("iscsi-direct"), LUN_POOL("iscsi")};

START_TEST(a_lun_of_a_pool_has_the_name_of_its_volume)
{
	g_autofree char *pool = NULL, *name = NULL, *mode = NULL;
	AUTO(place)
	place = place_at(SOURCE_ISCSI, "iqn.2026-01.com.example:t1/3",
			 "iscsi://10.0.0.5/iqn.2026-01.com.example:t1/3");

	pools[0] = lun_pools[_i];
	ck_assert(volume_of_place(NULL, place, &pool, &name, &mode));
	ck_assert_str_eq(name, "unit:0:0:3");
	ck_assert_str_eq(mode ? mode : "", _i ? "direct" : "");
}
END_TEST

START_TEST(what_no_pool_has_right_in_it_is_no_volume)
{
	g_autofree char *pool = NULL, *name = NULL, *mode = NULL;
	AUTO(place)
	deep = place_at(SOURCE_FILE, "/srv/images/a/new.raw", "file:///srv/images/a/new.raw");
	AUTO(place) beside = place_at(SOURCE_FILE, "/srv/images2/a.raw", "file:///srv/images2/a");

	pools[0] = FOLDER_POOL;
	ck_assert(!volume_of_place(NULL, deep, &pool, &name, &mode));
	ck_assert(!volume_of_place(NULL, beside, &pool, &name, &mode));
}
END_TEST

/* ---- in the XML ------------------------------------------------------------ */

START_TEST(a_disk_is_written_as_the_volume_that_it_is)
{
	g_autoptr(GPtrArray) layers = g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);
	AUTO(source) source = source_new(SOURCE_FILE, "/srv/images/web & co.raw");

	source->pool = g_strdup("images");
	source->volume = g_strdup("web & co.raw");
	g_ptr_array_add(layers, layer_new(source, "raw"));
	g_autofree char *xml = xml_with_disk(DOMAIN("    <disk type='file' device='disk'>\n"
						    "      <driver name='qemu' type='qcow2'/>\n"
						    "      <source file='/old'/>\n"
						    "      <target dev='vda'/>\n    </disk>\n"),
					     "vda", layers, FALSE, NULL);

	ck_assert_str_eq(xml, DOMAIN("    <disk type='volume' device='disk'>\n"
				     "      <driver name='qemu' type='raw'/>\n"
				     "      <source pool='images' volume='web &amp; co.raw'/>\n"
				     "      <target dev='vda'/>\n    </disk>\n"));
}
END_TEST

START_TEST(a_slice_has_no_place_in_a_volumes_name)
{
	AUTO(source) source = source_new(SOURCE_FILE, "/srv/images/web.raw");

	source->pool = g_strdup("images");
	source->volume = g_strdup("web.raw");
	ck_assert(source_is_volume(source));
	source->slice_bytes = 4096;
	ck_assert(!source_is_volume(source));
}
END_TEST

START_TEST(a_jobs_document_keeps_the_volumes_name)
{
	AUTO(source) source = volume("unit:0:0:3", "direct");
	g_autofree char *json = source_to_json(source);
	AUTO(source) again = source_from_json(json, NULL);

	ck_assert_str_eq(again->pool, "p");
	ck_assert_str_eq(again->volume, "unit:0:0:3");
	ck_assert_str_eq(again->volume_mode, "direct");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("volume");
	TCase *cases = tcase_create("volume");
	SRunner *runner = srunner_create(suite);

	suite_add_tcase(suite, cases);
	tcase_add_checked_fixture(cases, setup, NULL);
	tcase_add_loop_test(cases, a_volume_has_the_address_that_libvirt_gives_it, 0,
			    G_N_ELEMENTS(addresses));
	tcase_add_test(cases, a_domains_volumes_get_their_addresses);
	tcase_add_test(cases, a_volume_of_an_unknown_pool_stays_what_it_is_called);
	tcase_add_test(cases, an_image_in_a_pool_has_the_name_of_its_volume);
	tcase_add_loop_test(cases, a_lun_of_a_pool_has_the_name_of_its_volume, 0,
			    G_N_ELEMENTS(lun_pools));
	tcase_add_test(cases, what_no_pool_has_right_in_it_is_no_volume);
	tcase_add_test(cases, a_disk_is_written_as_the_volume_that_it_is);
	tcase_add_test(cases, a_slice_has_no_place_in_a_volumes_name);
	tcase_add_test(cases, a_jobs_document_keeps_the_volumes_name);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
