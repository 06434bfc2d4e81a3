#include "blockmig/vm/domain.h"

#include "common/error.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* Everything that could mislead a search for vda's <source>. */
#define HEAD                                                                                       \
	"<?xml version='1.0'?>\n"                                                                  \
	"<!-- <disk><target dev='vda'/><source file='/not/this'/></disk> -->\n"                    \
	"<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"            \
	"  <name>a &amp; b</name>\n"                                                               \
	"  <description><![CDATA[<source file=\"/nor/this\"> ]]></description>\n"                  \
	"  <devices>\n"                                                                            \
	"    <disk type='file' device='disk'>\n"                                                   \
	"      <driver name='qemu' type='raw'/>\n"                                                 \
	"      <source file='/other'/>\n"                                                          \
	"      <target dev='vdb' bus='virtio'/>\n"                                                 \
	"    </disk>\n"                                                                            \
	"    <disk device=\"disk\"  type = \"file\" >\n"
#define TAIL                                                                                       \
	"      <mirror type='file'><source file='/mirror'/></mirror>\n"                            \
	"      <target dev='vda' bus='virtio' title='a > b'/>\n"                                   \
	"      <serial>x</serial>\n"                                                               \
	"    </disk>\n"                                                                            \
	"  </devices>\n"                                                                           \
	"  <qemu:commandline>\n"                                                                   \
	"    <qemu:arg value='-x \"y\"'/>\n"                                                       \
	"  </qemu:commandline>\n"                                                                  \
	"</domain>\n"

static const char plain[] =
	HEAD "      <driver name='qemu' type='raw' cache=\"none\"/> <!-- fast -->\n"
	     "      <source file='/srv/a.img' startupPolicy='optional'>\n"
	     "        <seclabel model='dac' relabel='no'/>\n"
	     "      </source>\n" TAIL;

static const char on_overlay[] =
	HEAD "      <driver name='qemu' type='qcow2' cache=\"none\"/> <!-- fast -->\n"
	     "      <source file='/scratch/o&amp;.qcow2' startupPolicy='optional'>\n"
	     "        <seclabel model='dac' relabel='no'/>\n"
	     "      </source>\n"
	     "      <backingStore type='file'>\n"
	     "        <format type='raw'/>\n"
	     "        <source file='/srv/a.img'/>\n"
	     "        <backingStore/>\n"
	     "      </backingStore>\n" TAIL;

static GPtrArray *layers_new(void)
{
	return g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);
}

static void add_file(GPtrArray *layers, const char *path, const char *format)
{
	AUTO(source) source = source_new(SOURCE_FILE, path);

	g_ptr_array_add(layers, layer_new(source, format));
}

static struct source *lun_new(void)
{
	struct source *source = source_new(SOURCE_ISCSI, "iqn.x:t/2");

	source->host = g_strdup("array");
	source->initiator = g_strdup("iqn.x:me");
	source->auth_user = g_strdup("guest");
	source->auth_secret_usage = g_strdup("san");
	source->slice_bytes = 1048576;
	return source;
}

START_TEST(an_overlay_changes_only_what_names_the_image)
{
	g_autoptr(GPtrArray) layers = layers_new();
	g_autofree char *edited = NULL;

	add_file(layers, "/scratch/o&.qcow2", "qcow2");
	add_file(layers, "/srv/a.img", "raw");
	edited = xml_with_disk(plain, "vda", layers, TRUE, NULL);
	ck_assert_str_eq(edited, on_overlay);
}
END_TEST

START_TEST(the_way_back_restores_every_byte)
{
	g_autoptr(GPtrArray) layers = layers_new();
	g_autofree char *edited = NULL;

	add_file(layers, "/srv/a.img", "raw");
	edited = xml_with_disk(on_overlay, "vda", layers, FALSE, NULL);
	ck_assert_str_eq(edited, plain);
}
END_TEST

START_TEST(an_element_is_put_back_as_it_was)
{
	g_autofree char *element = xml_disk_element(plain, "vda", NULL);
	g_autofree char *edited = NULL;
	g_autoptr(GError) error = NULL;

	ck_assert(g_str_has_prefix(element, "<disk device=\"disk\"  type = \"file\" >"));
	ck_assert(g_str_has_suffix(element, "</disk>"));
	edited = xml_replace_disk_element(on_overlay, "vda", element, NULL);
	ck_assert_str_eq(edited, plain);
	ck_assert_ptr_null(xml_disk_element(plain, "vdc", &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_NOT_FOUND));
}
END_TEST

START_TEST(an_element_that_breaks_the_document_is_refused)
{
	static const char *const bad[] = {"<disk>", "</devices>",
					  "<disk><target dev='vdx'/></disk>", ""};

	for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		ck_assert_ptr_null(xml_replace_disk_element(plain, "vda", bad[i], &error));
		ck_assert_ptr_nonnull(error);
	}
}
END_TEST

START_TEST(a_lun_replaces_a_file)
{
	g_autoptr(GPtrArray) layers = layers_new();
	AUTO(source) lun = lun_new();
	g_autofree char *edited = NULL;
	AUTO(domain) domain = NULL;
	const struct layer *layer;

	g_ptr_array_add(layers, layer_new(lun, "raw"));
	edited = xml_with_disk(plain, "vda", layers, TRUE, NULL);
	ck_assert_ptr_nonnull(strstr(edited, "type = \"network\""));
	ck_assert_ptr_null(strstr(edited, "startupPolicy"));
	ck_assert_ptr_null(strstr(edited, "<seclabel"));
	domain = domain_parse(edited, NULL);
	layer = disk_layer(domain_disk(domain, "vda"), 0);
	ck_assert(source_equal(&layer->source, lun));
	ck_assert_uint_eq(layer->source.slice_bytes, 1048576);
	ck_assert(domain_disk(domain, "vda")->chain_complete);
	ck_assert_uint_eq(domain_disk(domain, "vda")->layers->len, 1);
}
END_TEST

START_TEST(a_disk_without_driver_or_source_gets_both)
{
	static const char bare[] = "<domain><name>x</name><devices>\n"
				   "  <disk device='disk'>\n"
				   "    <auth username='u'/>\n"
				   "    <target dev='vda'/>\n"
				   "  </disk>\n"
				   "</devices></domain>";
	g_autoptr(GPtrArray) layers = layers_new();
	g_autofree char *edited = NULL;

	add_file(layers, "/n", "raw");
	edited = xml_with_disk(bare, "vda", layers, FALSE, NULL);
	ck_assert_str_eq(edited, "<domain><name>x</name><devices>\n"
				 "  <disk type='file' device='disk'>\n"
				 "    <driver name='qemu' type='raw'/>\n"
				 "    <source file='/n'/>\n"
				 "    <target dev='vda'/>\n"
				 "  </disk>\n"
				 "</devices></domain>");
}
END_TEST

START_TEST(a_snapshot_names_every_disk)
{
	AUTO(domain) domain = domain_parse(plain, NULL);
	g_autofree char *xml = xml_snapshot(domain, "vda", "/scratch/<o>");

	ck_assert_str_eq(xml, "<domainsnapshot>\n"
			      "  <disks>\n"
			      "    <disk name='vdb' snapshot='no'/>\n"
			      "    <disk name='vda' snapshot='external' type='file'>\n"
			      "      <driver type='qcow2'/>\n"
			      "      <source file='/scratch/&lt;o&gt;'/>\n"
			      "    </disk>\n"
			      "  </disks>\n"
			      "</domainsnapshot>\n");
}
END_TEST

START_TEST(a_blockcopy_has_its_whole_chain)
{
	g_autoptr(GPtrArray) layers = layers_new();
	AUTO(source) lun = lun_new();
	AUTO(source) nfs = source_new(SOURCE_NFS, "/e/x");
	g_autofree char *xml = NULL;

	nfs->host = g_strdup("filer");
	nfs->uid = 64055;
	add_file(layers, "/scratch/d", "qcow2");
	g_ptr_array_add(layers, layer_new(nfs, "qcow2"));
	g_ptr_array_add(layers, layer_new(lun, "raw"));
	xml = xml_blockcopy(layers);
	ck_assert_str_eq(xml, "<disk type='file'>\n"
			      "  <driver name='qemu' type='qcow2'/>\n"
			      "  <source file='/scratch/d'/>\n"
			      "  <backingStore type='network'>\n"
			      "    <format type='qcow2'/>\n"
			      "    <source protocol='nfs' name='/e/x'>\n"
			      "      <host name='filer'/>\n"
			      "      <identity user='+64055'/>\n"
			      "    </source>\n"
			      "    <backingStore type='network'>\n"
			      "      <format type='raw'/>\n"
			      "      <source protocol='iscsi' name='iqn.x:t/2'>\n"
			      "        <host name='array' port='3260'/>\n"
			      "        <initiator>\n"
			      "          <iqn name='iqn.x:me'/>\n"
			      "        </initiator>\n"
			      "        <slices>\n"
			      "          <slice type='storage' offset='0' size='1048576'/>\n"
			      "        </slices>\n"
			      "        <auth username='guest'>\n"
			      "          <secret type='iscsi' usage='san'/>\n"
			      "        </auth>\n"
			      "      </source>\n"
			      "      <backingStore/>\n"
			      "    </backingStore>\n"
			      "  </backingStore>\n"
			      "</disk>\n");
}
END_TEST

#define OURS "<b:job xmlns:b='" XML_METADATA_URI "' id='1'/>"

START_TEST(our_metadata_leaves_no_trace)
{
	static const struct {
		const char *with, *without;
	} cases[] = {
		{"<domain>\n  <metadata>\n    " OURS "\n  </metadata>\n  <os/>\n</domain>",
		 "<domain>\n  <os/>\n</domain>"},
		{"<domain>\n  <metadata>\n    <x:y xmlns:x='u'/>\n    " OURS
		 "\n  </metadata>\n</domain>",
		 "<domain>\n  <metadata>\n    <x:y xmlns:x='u'/>\n  </metadata>\n</domain>"},
		{"<domain>\n  <metadata><!-- note -->" OURS "</metadata>\n</domain>",
		 "<domain>\n  <metadata><!-- note --></metadata>\n</domain>"},
		{"<domain>\n  <metadata/>\n</domain>", "<domain>\n  <metadata/>\n</domain>"},
		{"<domain/>", "<domain/>"},
	};

	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *edited = xml_without_metadata(cases[i].with, NULL);

		ck_assert_str_eq(edited, cases[i].without);
	}
}
END_TEST

START_TEST(our_metadata_is_escaped)
{
	g_autofree char *xml = xml_metadata(7, "vda", "n'1", "/a&b", "nfs://x/", NULL);

	ck_assert_str_eq(xml, "<job id='7' disk='vda' nonce='n&apos;1' source='/a&amp;b' "
			      "destination='nfs://x/' detail=''/>");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("xml");
	TCase *cases = tcase_create("xml");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, cases);
	tcase_add_test(cases, an_overlay_changes_only_what_names_the_image);
	tcase_add_test(cases, the_way_back_restores_every_byte);
	tcase_add_test(cases, an_element_is_put_back_as_it_was);
	tcase_add_test(cases, an_element_that_breaks_the_document_is_refused);
	tcase_add_test(cases, a_lun_replaces_a_file);
	tcase_add_test(cases, a_disk_without_driver_or_source_gets_both);
	tcase_add_test(cases, a_snapshot_names_every_disk);
	tcase_add_test(cases, a_blockcopy_has_its_whole_chain);
	tcase_add_test(cases, our_metadata_leaves_no_trace);
	tcase_add_test(cases, our_metadata_is_escaped);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
