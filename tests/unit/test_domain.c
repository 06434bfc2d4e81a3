#include "blockmig/vm/domain.h"

#include "common/error.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* What libvirt 9.0 prints of a guest in the middle of a move. */
static const char live[] =
	"<domain type='kvm' id='3'>\n"
	"  <name>web &amp; mail</name>\n"
	"  <uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid>\n"
	"  <metadata>\n"
	"    <app:note xmlns:app='http://example.com/app'>kept</app:note>\n"
	"    <blockmig:job xmlns:blockmig=\"https://blockmig.example/job/1\" id=\"7\"/>\n"
	"  </metadata>\n"
	"  <os>\n"
	"    <loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader>\n"
	"    <nvram>/var/lib/libvirt/qemu/nvram/web_VARS.fd</nvram>\n"
	"  </os>\n"
	"  <devices>\n"
	"    <disk type='file' device='disk'>\n"
	"      <driver name='qemu' type='qcow2' cache='none'/>\n"
	"      <source file='/scratch/web &lt;1&gt;.qcow2' index='5'/>\n"
	"      <backingStore type='block' index='3'>\n"
	"        <format type='raw'/>\n"
	"        <source dev='/dev/vg/web'>\n"
	"          <slices>\n"
	"            <slice type='storage' offset='0' size='536870912'/>\n"
	"          </slices>\n"
	"        </source>\n"
	"        <backingStore/>\n"
	"      </backingStore>\n"
	"      <mirror type='network' job='copy' ready='yes'>\n"
	"        <format type='raw'/>\n"
	"        <source protocol='nfs' name='/srv/a.img' index='9'>\n"
	"          <host name='filer'/>\n"
	"          <identity user='+64055' group='+107'/>\n"
	"        </source>\n"
	"        <backingStore/>\n"
	"      </mirror>\n"
	"      <target dev='vda' bus='virtio'/>\n"
	"      <iotune><total_bytes_sec>1000</total_bytes_sec></iotune>\n"
	"      <serial>WD-1</serial>\n"
	"    </disk>\n"
	"    <disk type='network' device='disk'>\n"
	"      <driver name='qemu' type='raw'/>\n"
	"      <auth username='old'><secret type='iscsi' uuid='aa'/></auth>\n"
	"      <source protocol='iscsi' name='iqn.2026-01.com.example:t1/4'>\n"
	"        <host name='array' port='3260'/>\n"
	"        <initiator><iqn name='iqn.2026-01.com.example:me'/></initiator>\n"
	"      </source>\n"
	"      <target dev='vdb' bus='virtio'/>\n"
	"      <shareable/>\n"
	"    </disk>\n"
	"    <disk type='file' device='cdrom'>\n"
	"      <target dev='sda' bus='sata'/>\n"
	"      <readonly/>\n"
	"    </disk>\n"
	"    <disk type='volume' device='disk'>\n"
	"      <source pool='gold' volume='v1'/>\n"
	"      <target dev='vdc'/>\n"
	"      <transient/>\n"
	"    </disk>\n"
	"    <disk type='vhostuser' device='disk'>\n"
	"      <source type='unix' path='/tmp/s.sock'/>\n"
	"      <target dev='vdd'/>\n"
	"    </disk>\n"
	"    <disk type='file' device='disk'>\n"
	"      <source file='/srv/secret.img'><encryption format='luks'/></source>\n"
	"      <target dev='vde'/>\n"
	"    </disk>\n"
	"    <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>\n"
	"    <serial type='file'><source path='/var/log/web.console'/></serial>\n"
	"  </devices>\n"
	"  <seclabel type='dynamic' model='apparmor' relabel='yes'/>\n"
	"  <seclabel type='dynamic' model='dac' relabel='yes'>\n"
	"    <label>+64055:+64055</label>\n"
	"  </seclabel>\n"
	"</domain>\n";

static struct domain *parsed(void)
{
	GError *error = NULL;
	struct domain *domain = domain_parse(live, &error);

	ck_assert_msg(domain, "%s", error ? error->message : "");
	return domain;
}

START_TEST(names_and_labels_are_read)
{
	AUTO(domain) domain = parsed();

	ck_assert_str_eq(domain->name, "web & mail");
	ck_assert_str_eq(domain->uuid, "6695eb01-f6a4-8304-79aa-97f2502e193f");
	ck_assert_str_eq(domain->dac_label, "+64055:+64055");
	ck_assert(domain->apparmor);
	ck_assert_uint_eq(domain->disks->len, 6);
	ck_assert_str_eq(domain->metadata, "<blockmig:job xmlns:blockmig=\"https://"
					   "blockmig.example/job/1\" id=\"7\"/>");
}
END_TEST

START_TEST(a_chain_is_read_down_to_its_terminator)
{
	AUTO(domain) domain = parsed();
	const struct disk *disk = domain_disk(domain, "vda");

	ck_assert_uint_eq(disk->layers->len, 2);
	ck_assert(disk->chain_complete);
	ck_assert_str_eq(disk_layer(disk, 0)->source.path, "/scratch/web <1>.qcow2");
	ck_assert_str_eq(disk_layer(disk, 0)->format, "qcow2");
	ck_assert_uint_eq(disk_layer(disk, 0)->index, 5);
	ck_assert_int_eq(disk_layer(disk, 1)->source.type, SOURCE_BLOCK);
	ck_assert_str_eq(disk_layer(disk, 1)->source.path, "/dev/vg/web");
	ck_assert_str_eq(disk_layer(disk, 1)->format, "raw");
	ck_assert_uint_eq(disk_layer(disk, 1)->index, 3);
	ck_assert_uint_eq(disk_layer(disk, 1)->source.slice_bytes, 536870912);
	ck_assert_ptr_null(disk_layer(disk, 2));
	ck_assert(disk->has_throttle);
	ck_assert_str_eq(disk->serial, "WD-1");
	ck_assert(!domain_disk(domain, "vdb")->chain_complete);
}
END_TEST

START_TEST(a_mirror_is_not_part_of_the_chain)
{
	AUTO(domain) domain = parsed();
	const struct mirror *mirror = &domain_disk(domain, "vda")->mirror;

	ck_assert(mirror->present);
	ck_assert_str_eq(mirror->job, "copy");
	ck_assert_str_eq(mirror->ready, "yes");
	ck_assert_int_eq(mirror->to.source.type, SOURCE_NFS);
	ck_assert_str_eq(mirror->to.source.host, "filer");
	ck_assert_int_eq(mirror->to.source.uid, 64055);
	ck_assert_int_eq(mirror->to.source.gid, 107);
	ck_assert_uint_eq(mirror->to.index, 9);
	ck_assert(!domain_disk(domain, "vdb")->mirror.present);
}
END_TEST

START_TEST(an_iscsi_disk_has_its_address_and_secret)
{
	AUTO(domain) domain = parsed();
	const struct disk *disk = domain_disk(domain, "vdb");
	const struct source *source = &disk_layer(disk, 0)->source;

	ck_assert_int_eq(source->type, SOURCE_ISCSI);
	ck_assert_str_eq(source->path, "iqn.2026-01.com.example:t1/4");
	ck_assert_int_eq(source->port, 0);
	ck_assert_str_eq(source->initiator, "iqn.2026-01.com.example:me");
	ck_assert_str_eq(source->auth_user, "old");
	ck_assert_str_eq(source->auth_secret_uuid, "aa");
	ck_assert(disk->shareable);
}
END_TEST

START_TEST(what_is_not_understood_is_other)
{
	static const char *const targets[] = {"vdc", "vdd", "vde"};
	AUTO(domain) domain = parsed();

	for (guint i = 0; i < G_N_ELEMENTS(targets); i++) {
		const struct disk *disk = domain_disk(domain, targets[i]);

		ck_assert_int_eq(disk_layer(disk, 0)->source.type, SOURCE_OTHER);
		ck_assert_ptr_nonnull(disk_layer(disk, 0)->source.other);
	}
	ck_assert(domain_disk(domain, "vdc")->transient);
	ck_assert(domain_disk(domain, "vdd")->vhost_user);
	ck_assert_int_eq(disk_layer(domain_disk(domain, "sda"), 0)->source.type, SOURCE_NONE);
	ck_assert(domain_disk(domain, "sda")->readonly);
	ck_assert_ptr_null(domain_disk(domain, "vdz"));
}
END_TEST

START_TEST(residue_lists_files_that_are_no_disks)
{
	static const char *const wanted[] = {
		"/usr/share/OVMF/OVMF_CODE.fd", "/var/lib/libvirt/qemu/nvram/web_VARS.fd",
		"/var/log/web.console",
		"/var/lib/libvirt/swtpm/6695eb01-f6a4-8304-79aa-97f2502e193f"};
	AUTO(domain) domain = parsed();

	ck_assert_uint_eq(domain->residue->len, G_N_ELEMENTS(wanted));
	for (guint i = 0; i < G_N_ELEMENTS(wanted); i++)
		ck_assert_str_eq(
			((struct domain_residue *)g_ptr_array_index(domain->residue, i))->path,
			wanted[i]);
}
END_TEST

START_TEST(residue_says_of_what_kind_it_is)
{
	AUTO(domain) domain = parsed();

	ck_assert_int_eq(((struct domain_residue *)domain->residue->pdata[0])->kind, RESIDUE_BOOT);
	ck_assert_int_eq(((struct domain_residue *)domain->residue->pdata[1])->kind, RESIDUE_NVRAM);
	ck_assert_int_eq(((struct domain_residue *)domain->residue->pdata[2])->kind, RESIDUE_OTHER);
	ck_assert_int_eq(((struct domain_residue *)domain->residue->pdata[3])->kind, RESIDUE_TPM);
}
END_TEST

static const struct {
	const char *element;
	gboolean has_priority;
	int priority;
} priorities[] = {
	{"<b:evacuate xmlns:b='" XML_EVACUATE_URI "' priority='12'/>", TRUE, 12},
	{"<b:evacuate xmlns:b='" XML_EVACUATE_URI "' priority='high'/>", FALSE, 0},
	{"<b:evacuate xmlns:b='" XML_EVACUATE_URI "'/>", FALSE, 0},
	{"<b:evacuate xmlns:b='urn:other' priority='12'/>", FALSE, 0},
};

START_TEST(an_admins_priority_is_read_from_the_metadata)
{
	g_autofree char *xml = g_strdup_printf("<domain><name>x</name><uuid>u</uuid><metadata>%s"
					       "</metadata></domain>",
					       priorities[_i].element);
	AUTO(domain) domain = domain_parse(xml, NULL);

	ck_assert_int_eq(domain->has_priority, priorities[_i].has_priority);
	ck_assert_int_eq(domain->priority, priorities[_i].priority);
}
END_TEST

START_TEST(a_snapshot_names_images_and_memory)
{
	g_autoptr(GPtrArray) sources = domain_snapshot_sources(
		"<domainsnapshot><name>s</name><memory snapshot='external' file='/m'/>"
		"<disks><disk name='vda' type='file'><source file='/overlay'/></disk>"
		"<disk name='vdb' snapshot='no'/></disks>"
		"<domain><devices><disk type='file'><source file='/base'/><target "
		"dev='vda'/></disk>"
		"</devices></domain></domainsnapshot>",
		NULL);
	static const char *const wanted[] = {"/m", "/overlay", "/base"};

	ck_assert_uint_eq(sources->len, G_N_ELEMENTS(wanted));
	for (guint i = 0; i < sources->len; i++)
		ck_assert_str_eq(((struct source *)sources->pdata[i])->path, wanted[i]);
	ck_assert_ptr_null(domain_snapshot_sources("<", NULL));
}
END_TEST

START_TEST(bad_documents_are_refused)
{
	static const char *const bad[] = {
		"", "nonsense", "<domain><name>x</domain>", "<pool><name>x</name></pool>",
		"<!DOCTYPE d [<!ENTITY x 'y'>]><domain><name>&x;</name></domain>"};

	for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		ck_assert_ptr_null(domain_parse(bad[i], &error));
		ck_assert(error_is(error, BLOCKMIG_ERROR_PERMANENT));
	}
}
END_TEST

static struct source *iscsi(void)
{
	struct source *source = source_new(SOURCE_ISCSI, "iqn.x:t/2");

	source->host = g_strdup("::1");
	source->port = 3261;
	source->initiator = g_strdup("iqn.x:me");
	source->slice_bytes = 4096;
	return source;
}

START_TEST(a_source_survives_the_jobs_document)
{
	AUTO(source) source = iscsi();
	AUTO(source) back = NULL;
	g_autofree char *json = NULL;

	source->auth_user = g_strdup("u'\"\\");
	json = source_to_json(source);
	back = source_from_json(json, NULL);
	ck_assert_ptr_nonnull(back);
	ck_assert(source_equal(source, back));
	ck_assert_uint_eq(back->slice_bytes, 4096);
	ck_assert_int_eq(back->uid, -1);
	g_free(back->initiator);
	back->initiator = NULL;
	ck_assert(!source_equal(source, back));
}
END_TEST

START_TEST(a_broken_document_is_an_error)
{
	static const char *const bad[] = {"", "[]", "{\"type\":\"new\"}", "{\"type\""};

	for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		ck_assert_ptr_null(source_from_json(bad[i], &error));
		ck_assert(error_is(error, BLOCKMIG_ERROR_PERMANENT));
	}
}
END_TEST

START_TEST(qemus_name_is_a_path_where_that_is_enough)
{
	AUTO(source) file = source_new(SOURCE_FILE, "/srv/a:b,c.img");
	AUTO(source) lun = iscsi();
	g_autofree char *plain = source_qemu_name(file, NULL);
	g_autofree char *json = source_qemu_name(lun, NULL);
	g_autoptr(GError) error = NULL;

	ck_assert_str_eq(plain, "/srv/a:b,c.img");
	ck_assert_str_eq(json, "json:{\"file\":{\"driver\":\"raw\",\"offset\":0,\"size\":4096,"
			       "\"file\":{\"driver\":\"iscsi\",\"transport\":\"tcp\",\"portal\":"
			       "\"[::1]:3261\",\"target\":\"iqn.x:t\",\"lun\":2,"
			       "\"initiator-name\":\"iqn.x:me\"}}}");
	lun->auth_user = g_strdup("me");
	ck_assert_ptr_null(source_qemu_name(lun, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_PERMANENT));
}
END_TEST

START_TEST(a_source_is_named_for_people)
{
	AUTO(source) lun = iscsi();
	AUTO(source) nfs = source_new(SOURCE_NFS, "/e/x");
	g_autofree char *first = source_text(lun);
	g_autofree char *second = NULL;

	nfs->host = g_strdup("filer");
	second = source_text(nfs);
	ck_assert_str_eq(first, "iscsi://[::1]:3261/iqn.x:t/2");
	ck_assert_str_eq(second, "nfs://filer/e/x");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("domain");
	TCase *cases = tcase_create("domain");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, cases);
	tcase_add_test(cases, names_and_labels_are_read);
	tcase_add_test(cases, a_chain_is_read_down_to_its_terminator);
	tcase_add_test(cases, a_mirror_is_not_part_of_the_chain);
	tcase_add_test(cases, an_iscsi_disk_has_its_address_and_secret);
	tcase_add_test(cases, what_is_not_understood_is_other);
	tcase_add_test(cases, residue_lists_files_that_are_no_disks);
	tcase_add_test(cases, residue_says_of_what_kind_it_is);
	tcase_add_loop_test(cases, an_admins_priority_is_read_from_the_metadata, 0,
			    G_N_ELEMENTS(priorities));
	tcase_add_test(cases, a_snapshot_names_images_and_memory);
	tcase_add_test(cases, bad_documents_are_refused);
	tcase_add_test(cases, a_source_survives_the_jobs_document);
	tcase_add_test(cases, a_broken_document_is_an_error);
	tcase_add_test(cases, qemus_name_is_a_path_where_that_is_enough);
	tcase_add_test(cases, a_source_is_named_for_people);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
