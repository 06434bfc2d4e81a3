/* Guests and disks that cannot be moved. */
#include "blockmig/move/preflight.h"
#include "common/error.h"
#include "tests/faked/refusal.h"

#include <check.h>
#include <stdlib.h>
#include <unistd.h>

static struct scene scene;

/* ---- what the disk is ------------------------------------------------------------------------ */

static const struct odd_disk {
	const char *element; /* %s: the source's path */
	const char *words;
} odd_disks[] = {
	{"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/>"
	 "<target dev='vda'/><shareable/></disk>",
	 "web/vda|shareable|take <shareable/> away"},
	{"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/>"
	 "<target dev='vda'/><transient/></disk>",
	 "web/vda|<transient/>"},
	{"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/>"
	 "<target dev='vda'/><readonly/></disk>",
	 "web/vda|read-only"},
	{"<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='%s'/>"
	 "<target dev='vda'/></disk>",
	 "web/vda|a cdrom is not moved"},
	{"<disk type='block' device='lun'><driver name='qemu' type='raw'/><source dev='%s'/>"
	 "<target dev='vda'/></disk>",
	 "web/vda|a lun is not moved"},
	{"<disk type='file' device='disk'><driver name='qemu' type='raw'/><target dev='vda'/>"
	 "</disk>",
	 "web/vda|empty"},
	{"<disk type='vhostuser' device='disk'><driver name='qemu' type='raw'/>"
	 "<source type='unix' path='%s'/><target dev='vda'/></disk>",
	 "web/vda|vhost-user"},
	{"<disk type='volume' device='disk'><driver name='qemu' type='raw'/>"
	 "<source pool='p' volume='v'/><target dev='vda'/></disk>",
	 "web/vda|not a file, a block device, NFS or iSCSI"},
	{"<disk type='network' device='disk'><driver name='qemu' type='raw'/>"
	 "<source protocol='rbd' name='p/v'><host name='h'/></source><target dev='vda'/></disk>",
	 "web/vda|not a file, a block device, NFS or iSCSI|rbd"},
	{"<disk type='file' device='disk'><source file='%s'/><target dev='vda'/></disk>",
	 "web/vda|which format|<driver type="},
	{"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/t'/>"
	 "<backingStore type='file'><format type='raw'/><source file='%s'/></backingStore>"
	 "<target dev='vda'/></disk>",
	 "web/vda|2 layers|virsh blockpull web vda"},
	{"<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
	 "<source file='/nowhere/disk.raw'/><target dev='vda'/></disk>",
	 "web/vda|the source cannot be read|No such file"},
};

START_TEST(a_disk_that_cannot_be_moved_is_refused)
{
	g_auto(GStrv) parts = g_strsplit(odd_disks[_i].element, "%s", -1);

	scene_open(&scene, "raw");
	g_autofree char *element = g_strjoinv(scene.source, parts);

	fake_domain("web", FAKE_UUID, element);
	refusal_assert(&scene, odd_disks[_i].words);
	scene_close(&scene);
}
END_TEST

/* ---- what the domain is ---------------------------------------------------------------------- */

static const struct odd_domain {
	gboolean running;
	const char *key;
	int value;
	const char *words;
} odd_domains[] = {
	{TRUE, "persistent", FALSE, "web/vda|transient|virsh define"},
	{FALSE, "managed_save", TRUE, "web/vda|managed save|virsh managedsave-remove web"},
	{TRUE, "checkpoints", 2, "web/vda|2 checkpoint(s)|virsh checkpoint-delete"},
	{TRUE, "paused_by_error", TRUE, "web/vda|I/O error|resume it"},
	{TRUE, "run", RUN_OTHER, "web/vda|neither running, paused nor off|wait, or wake it up"},
	{TRUE, "block_job", BLOCK_JOB_OTHER, "web/vda|block job|virsh blockjob web vda --abort"},
};

START_TEST(a_domain_in_the_wrong_state_is_refused)
{
	const struct odd_domain *odd = &odd_domains[_i];

	scene_open(&scene, "raw");
	if (odd->running)
		ck_assert(fake_start(FAKE_UUID));
	fake_domain_set(FAKE_UUID, odd->key, odd->value);
	refusal_assert(&scene, odd->words);
	scene_close(&scene);
}
END_TEST

START_TEST(a_mirror_that_is_there_is_refused)
{
	g_autofree char *xml = NULL;
	g_autofree char *path = NULL;

	scene_open(&scene, "raw");
	path = fake_path("src/mirror.qcow2");
	fake_image_create(path, "qcow2", SCENE_BYTES, NULL, 0);
	ck_assert(fake_start(FAKE_UUID));
	xml = g_strdup_printf("<disk type='file'><driver type='qcow2'/><source file='%s'/></disk>",
			      path);
	ck_assert(session_block_copy(scene.session, FAKE_UUID, "vda", xml, TRUE, 0, NULL));
	refusal_assert(&scene, "web/vda|block job (copy)|virsh blockjob --abort");
	scene_close(&scene);
}
END_TEST

START_TEST(a_snapshot_that_names_the_image_is_refused)
{
	g_autofree char *path = NULL;
	g_autofree char *xml = NULL;

	scene_open(&scene, "raw");
	path = fake_path("snapshot.xml");
	xml = g_strdup_printf("<domainsnapshot><source file='%s'/></domainsnapshot>", scene.source);
	ck_assert(g_file_set_contents(path, xml, -1, NULL));
	refusal_assert(&scene, "web/vda|snapshot|virsh snapshot-delete");
	g_free(xml);
	/* Another image whose name begins with this one's. */
	xml = g_strdup_printf("<domainsnapshot><source file='%s.old'/></domainsnapshot>",
			      scene.source);
	ck_assert(g_file_set_contents(path, xml, -1, NULL));
	refusal_assert_none(&scene);
	scene_close(&scene);
}
END_TEST

START_TEST(live_and_inactive_xml_that_differ_are_refused)
{
	g_autofree char *element = NULL;

	scene_open(&scene, "raw");
	ck_assert(fake_start(FAKE_UUID));
	element = fake_disk("/some/other.raw", "raw");
	g_autofree char *xml = xml_replace_disk_element(scene.before, "vda", element, NULL);

	fake_domain_set_xml(FAKE_UUID, TRUE, xml);
	refusal_assert(&scene, "web/vda|live and inactive XML name different images|virsh edit");
	scene_close(&scene);
}
END_TEST

START_TEST(what_is_not_there_is_refused)
{
	struct move_summary *summary = NULL;
	g_autoptr(GError) no_domain = NULL;
	g_autoptr(GError) no_disk = NULL;

	scene_open(&scene, "raw");
	ck_assert(!move_start(&scene.context, "wob", "vda", scene.to, &summary, &no_domain));
	refusal_assert_words(no_domain->message, "wob");
	ck_assert_int_eq(error_exit_status(no_domain), 1);
	ck_assert(!move_start(&scene.context, "web", "vdz", scene.to, &summary, &no_disk));
	refusal_assert_words(no_disk->message, "web|vdz|virsh domblklist web");
	ck_assert_int_eq(error_exit_status(no_disk), 2);
	scene_go_to(&scene, "nowhere");
	refusal_assert_status(&scene, 2, "nowhere");
	scene_close(&scene);
}
END_TEST

/* ---- what the image is ----------------------------------------------------------------------- */

static void open_flagged(guint flags, const char *backing)
{
	scene_open(&scene, "qcow2");
	fake_image_create(scene.source, "qcow2", SCENE_BYTES, backing, flags);
}

START_TEST(a_qcow2_that_cannot_be_moved_is_refused)
{
	static const struct {
		guint flags;
		const char *backing, *words;
	} odd[] = {
		{0, "base.raw", "web/vda|backing file (base.raw)|virsh blockpull"},
		{FAKE_CORRUPT, NULL, "web/vda|corrupt|qemu-img check -r all"},
		{FAKE_ENCRYPTED, NULL, "web/vda|encrypted"},
		{FAKE_DATA_FILE, NULL, "web/vda|external data file"},
	};

	open_flagged(odd[_i].flags, odd[_i].backing);
	refusal_assert(&scene, odd[_i].words);
	scene_close(&scene);
}
END_TEST

START_TEST(internal_snapshots_and_bitmaps_are_kept_or_refused)
{
	open_flagged(_i ? FAKE_SNAPSHOTS : FAKE_BITMAPS, NULL);
	scene_want_format(&scene, "raw");
	refusal_assert(&scene, "web/vda|internal snapshots or bitmaps|--format keep");
	scene_want_format(&scene, "keep");
	refusal_assert_none(&scene);
	scene_close(&scene);
}
END_TEST

START_TEST(a_format_that_cannot_be_kept_is_refused)
{
	g_autofree char *element = NULL;

	scene_open(&scene, "raw");
	element = fake_disk(scene.source, "vmdk");
	fake_domain("web", FAKE_UUID, element);
	refusal_assert(&scene, "web/vda|vmdk cannot be kept|--format raw or --format qcow2");
	scene_close(&scene);
}
END_TEST

/* ---- AppArmor -------------------------------------------------------------------------------- */

START_TEST(apparmor_denies_a_confined_guest_before_libvirt_12_1)
{
	static const char *const labels[] = {
		"<seclabel type='dynamic' model='apparmor' relabel='yes'/>",
		"<seclabel type='none' model='apparmor'/>", ""};
	static const char *const enabled[] = {"Y\n", "N\n", NULL};

	scene_open(&scene, "raw");
	g_autofree char *file = fake_path("enabled");

	for (guint l = 0; l < 3; l++)
		for (guint e = 0; e < 3; e++) {
			g_autofree char *xml =
				g_strdup_printf("<domain><name>web</name>%s</domain>", labels[l]);
			AUTO(domain) domain = domain_parse(xml, NULL);
			gboolean wanted = l == 0 && e == 0;

			unlink(file);
			if (enabled[e])
				ck_assert(g_file_set_contents(file, enabled[e], -1, NULL));
			ck_assert_int_eq(preflight_apparmor_denies(file, domain, 9000000), wanted);
			ck_assert_int_eq(preflight_apparmor_denies(file, domain, 12000999), wanted);
			ck_assert(!preflight_apparmor_denies(file, domain, 12001000));
		}
	scene_close(&scene);
}
END_TEST

START_TEST(all_obstacles_are_told_at_once)
{
	scene_open(&scene, "raw");
	ck_assert(fake_start(FAKE_UUID));
	fake_domain_set(FAKE_UUID, "persistent", FALSE);
	fake_domain_set(FAKE_UUID, "checkpoints", 1);
	scene_go_to(&scene, "/sys/kernel/");
	refusal_assert(&scene, "transient|also: |checkpoint|too little room");
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("preflight");
	TCase *guest = tcase_create("guest");

	tcase_add_loop_test(guest, a_disk_that_cannot_be_moved_is_refused, 0,
			    G_N_ELEMENTS(odd_disks));
	tcase_add_loop_test(guest, a_domain_in_the_wrong_state_is_refused, 0,
			    G_N_ELEMENTS(odd_domains));
	tcase_add_test(guest, a_mirror_that_is_there_is_refused);
	tcase_add_test(guest, a_snapshot_that_names_the_image_is_refused);
	tcase_add_test(guest, live_and_inactive_xml_that_differ_are_refused);
	tcase_add_test(guest, what_is_not_there_is_refused);
	tcase_add_loop_test(guest, a_qcow2_that_cannot_be_moved_is_refused, 0, 4);
	tcase_add_loop_test(guest, internal_snapshots_and_bitmaps_are_kept_or_refused, 0, 2);
	tcase_add_test(guest, a_format_that_cannot_be_kept_is_refused);
	tcase_add_test(guest, apparmor_denies_a_confined_guest_before_libvirt_12_1);
	tcase_add_test(guest, all_obstacles_are_told_at_once);
	suite_add_tcase(suite, guest);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
