/*
 * Every refusal names what it is about, why, and a way out; and it leaves everything as it
 * was.
 */
#include "blockmig/move/preflight.h"
#include "common/error.h"
#include "tests/faked/scene.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TARGET "iscsi://array/iqn.2026-01.com.example:t1/"

static struct scene scene;

/* What must be the same afterwards. */
static char *everything(void)
{
	static const char *const folders[] = {"src", "dst", "scratch", "luns", "libvirt"};
	GString *text = g_string_new(NULL);
	g_autofree char *live = fake_domain_xml(FAKE_UUID, FALSE);
	g_autofree char *inactive = fake_domain_xml(FAKE_UUID, TRUE);

	for (guint i = 0; i < G_N_ELEMENTS(folders); i++) {
		g_autofree char *listing = fake_listing(folders[i]);

		g_string_append(text, listing);
	}
	g_string_append_printf(text, "%s%s", live, inactive);
	return g_string_free(text, FALSE);
}

/* The words, separated by '|', are all in the error. */
static void assert_words(const char *message, const char *words)
{
	g_auto(GStrv) parts = g_strsplit(words, "|", -1);

	for (guint i = 0; parts[i]; i++)
		ck_assert_msg(strstr(message, parts[i]) != NULL, "no \"%s\" in: %s", parts[i],
			      message);
}

static void refused_with(int status, const char *words)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *before = everything();

	fake_log_clear();
	ck_assert_msg(!scene_move(&scene, &error), "it was not refused: %s", words);
	g_autofree char *after = everything();
	g_autofree char *log = fake_log();
	g_autoptr(GPtrArray) jobs = ledger_job_list(scene.ledger, FALSE, NULL);

	assert_words(error->message, words);
	ck_assert_msg(error_exit_status(error) == status, "exit %d: %s", error_exit_status(error),
		      error->message);
	ck_assert_str_eq(before, after);
	ck_assert_str_eq(log, "");
	ck_assert_uint_eq(jobs->len, 0);
}

static void refused(const char *words)
{
	refused_with(1, words);
}

static void accepted(void)
{
	g_autoptr(GError) error = NULL;
	AUTO(move_plan) plan = move_plan(&scene.context, "web", "vda", scene.to, &error);

	ck_assert_msg(plan != NULL, "%s", error ? error->message : "");
	ck_assert_msg(plan->obstacles->len == 0, "%s",
		      plan->obstacles->len ? (char *)plan->obstacles->pdata[0] : "");
}

static void go_to(const char *to)
{
	g_free(scene.to);
	scene.to = g_strdup(to);
}

static void go_to_file(const char *name)
{
	g_free(scene.to);
	scene.to = fake_path(name);
}

static void want_format(const char *format)
{
	g_free(scene.options.format);
	scene.options.format = g_strdup(format);
}

/* ---- what the disk is -------------------------------------------------------------------- */

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
	refused(odd_disks[_i].words);
	scene_close(&scene);
}
END_TEST

/* ---- what the domain is --------------------------------------------------------------------- */

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
	refused(odd->words);
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
	refused("web/vda|block job (copy)|virsh blockjob --abort");
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
	refused("web/vda|snapshot|virsh snapshot-delete");
	g_free(xml);
	/* Another image whose name begins with this one's. */
	xml = g_strdup_printf("<domainsnapshot><source file='%s.old'/></domainsnapshot>",
			      scene.source);
	ck_assert(g_file_set_contents(path, xml, -1, NULL));
	accepted();
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
	refused("web/vda|live and inactive XML name different images|virsh edit");
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
	assert_words(no_domain->message, "wob");
	ck_assert_int_eq(error_exit_status(no_domain), 1);
	ck_assert(!move_start(&scene.context, "web", "vdz", scene.to, &summary, &no_disk));
	assert_words(no_disk->message, "web|vdz|virsh domblklist web");
	ck_assert_int_eq(error_exit_status(no_disk), 2);
	go_to("nowhere");
	refused_with(2, "nowhere");
	scene_close(&scene);
}
END_TEST

/* ---- what the image is
 * --------------------------------------------------------------------------- */

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
	refused(odd[_i].words);
	scene_close(&scene);
}
END_TEST

START_TEST(internal_snapshots_and_bitmaps_are_kept_or_refused)
{
	open_flagged(_i ? FAKE_SNAPSHOTS : FAKE_BITMAPS, NULL);
	want_format("raw");
	refused("web/vda|internal snapshots or bitmaps|--format keep");
	want_format("keep");
	accepted();
	scene_close(&scene);
}
END_TEST

START_TEST(a_format_that_cannot_be_kept_is_refused)
{
	g_autofree char *element = NULL;

	scene_open(&scene, "raw");
	element = fake_disk(scene.source, "vmdk");
	fake_domain("web", FAKE_UUID, element);
	refused("web/vda|vmdk cannot be kept|--format raw or --format qcow2");
	scene_close(&scene);
}
END_TEST

/* ---- where it is to go
 * ------------------------------------------------------------------------------ */

static void put_image(const char *name)
{
	g_autofree char *path = fake_path(name);

	fake_image_create(path, "raw", SCENE_BYTES, NULL, 0);
}

START_TEST(a_destination_that_exists_is_refused)
{
	scene_open(&scene, "raw");
	put_image("dst/mine.raw");
	go_to_file("dst/mine.raw");
	refused("web/vda|dst/mine.raw exists already|name another file, or remove it");
	scene_close(&scene);
}
END_TEST

START_TEST(a_name_that_is_taken_gives_way_to_the_domains)
{
	scene_open(&scene, "raw");
	put_image("dst/disk.raw");
	accepted();
	put_image("dst/web-vda.raw");
	refused("web/vda|dst/web-vda.raw exists already");
	scene_close(&scene);
}
END_TEST

START_TEST(the_source_by_another_name_is_refused)
{
	static const char *const names[] = {"src/disk.raw", "dst/hard.raw", "dst/soft.raw",
					    "src/../src/disk.raw"};
	g_autofree char *hard = NULL;
	g_autofree char *soft = NULL;

	scene_open(&scene, "raw");
	hard = fake_path("dst/hard.raw");
	soft = fake_path("dst/soft.raw");
	ck_assert_int_eq(link(scene.source, hard), 0);
	ck_assert_int_eq(symlink(scene.source, soft), 0);
	go_to_file(names[_i]);
	refused("web/vda|source and destination are the same image");
	g_autofree char *url = g_strconcat("file://", scene.to, NULL);

	go_to(url);
	refused("web/vda|source and destination are the same image");
	scene_close(&scene);
}
END_TEST

START_TEST(too_little_room_is_refused)
{
	/* Always there, always full, and never written to. */
	scene_open(&scene, "raw");
	go_to("/sys/kernel/");
	refused("web/vda|too little room at the destination|needed");
	scene_close(&scene);
}
END_TEST

START_TEST(too_little_room_for_overlays_is_refused)
{
	scene_open(&scene, "raw");
	scene.options.scratch = g_strdup("/sys/kernel");
	refused("web/vda|too little room for overlays in /sys/kernel|--scratch");
	scene_close(&scene);
}
END_TEST

START_TEST(a_scratch_folder_that_qemu_cannot_reach_is_refused)
{
	scene_open(&scene, "raw");
	fake_qemu_owner(64055, 64055);
	refused("web/vda|uid 64055|cannot reach the scratch folder|chmod o+x");
	fake_qemu_owner(-1, -1);
	scene_close(&scene);
}
END_TEST

static void other_domain(const char *element)
{
	fake_domain("db", "99999999-2222-3333-4444-555555555555", element);
}

START_TEST(a_destination_in_use_is_refused)
{
	g_autofree char *path = NULL;
	g_autofree char *element = NULL;

	scene_open(&scene, "raw");
	path = fake_path("dst/new.raw");
	element = fake_disk(path, "raw");
	other_domain(element);
	go_to_file("dst/new.raw");
	refused("web/vda|dst/new.raw is in use|domain db, disk vda");
	scene_close(&scene);
}
END_TEST

/* ---- LUNs
 * ---------------------------------------------------------------------------------------------- */

static void put_lun(int number, guint64 bytes, gboolean used)
{
	g_autofree char *name = g_strdup_printf("luns/%d", number);
	g_autofree char *path = fake_path(name);

	fake_image_create(path, "raw", bytes, NULL, 0);
	if (used)
		fake_image_write(path, "raw", FAKE_CLUSTER, "something", 10);
}

START_TEST(a_lun_that_is_too_small_is_refused)
{
	scene_open(&scene, "raw");
	put_lun(1, SCENE_BYTES - 512, FALSE);
	go_to(TARGET "1");
	refused("web/vda|t1/1 is too small|8388096 bytes|8388608");
	scene_close(&scene);
}
END_TEST

START_TEST(a_lun_that_holds_something_needs_overwrite)
{
	scene_open(&scene, "raw");
	put_lun(1, 2 * SCENE_BYTES, TRUE);
	go_to(TARGET "1");
	refused("web/vda|t1/1 is not empty|--overwrite");
	scene.options.overwrite = TRUE;
	accepted();
	scene_close(&scene);
}
END_TEST

static const char lun_disk[] = "<disk type='network' device='disk'>"
			       "<driver name='qemu' type='raw'/>"
			       "<source protocol='iscsi' name='iqn.2026-01.com.example:t1/1'>"
			       "<host name='array' port='3260'/></source>"
			       "<target dev='vdb' bus='virtio'/></disk>";

START_TEST(a_lun_in_use_is_refused)
{
	scene_open(&scene, "raw");
	put_lun(1, SCENE_BYTES, FALSE);
	other_domain(lun_disk);
	go_to(TARGET "1");
	scene.options.overwrite = TRUE;
	refused("web/vda|t1/1 is in use|domain db, disk vdb");
	scene_close(&scene);
}
END_TEST

START_TEST(a_lun_that_is_not_there_is_refused)
{
	scene_open(&scene, "raw");
	go_to(TARGET "7");
	refused("web/vda|the destination cannot be opened");
	scene_close(&scene);
}
END_TEST

START_TEST(a_target_without_a_free_lun_is_refused)
{
	scene_open(&scene, "raw");
	put_lun(1, 2 * SCENE_BYTES, FALSE);
	put_lun(2, SCENE_BYTES / 2, FALSE);
	put_lun(3, 4 * SCENE_BYTES, TRUE);
	other_domain(lun_disk);
	go_to(TARGET);
	refused("web/vda|no LUN of iqn.2026-01.com.example:t1 is free|--to");
	scene_close(&scene);
}
END_TEST

START_TEST(the_smallest_free_lun_is_taken)
{
	scene_open(&scene, "raw");
	put_lun(1, 4 * SCENE_BYTES, FALSE);
	put_lun(2, 2 * SCENE_BYTES, FALSE);
	go_to(TARGET);
	AUTO(move_plan) plan = move_plan(&scene.context, "web", "vda", scene.to, NULL);

	ck_assert_ptr_nonnull(plan);
	ck_assert_uint_eq(plan->obstacles->len, 0);
	ck_assert_msg(g_str_has_suffix(plan->destination, "t1/2"), "%s", plan->destination);
	ck_assert_str_eq(plan->destination_format, "raw");
	scene_close(&scene);
}
END_TEST

/* ---- AppArmor
 * -------------------------------------------------------------------------------------------- */

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
	go_to("/sys/kernel/");
	refused("transient|also: |checkpoint|too little room");
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("preflight");
	TCase *guest = tcase_create("guest");
	TCase *place = tcase_create("place");

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

	tcase_add_test(place, a_destination_that_exists_is_refused);
	tcase_add_test(place, a_name_that_is_taken_gives_way_to_the_domains);
	tcase_add_loop_test(place, the_source_by_another_name_is_refused, 0, 4);
	tcase_add_test(place, too_little_room_is_refused);
	tcase_add_test(place, too_little_room_for_overlays_is_refused);
	tcase_add_test(place, a_scratch_folder_that_qemu_cannot_reach_is_refused);
	tcase_add_test(place, a_destination_in_use_is_refused);
	tcase_add_test(place, a_lun_that_is_too_small_is_refused);
	tcase_add_test(place, a_lun_that_holds_something_needs_overwrite);
	tcase_add_test(place, a_lun_in_use_is_refused);
	tcase_add_test(place, a_lun_that_is_not_there_is_refused);
	tcase_add_test(place, a_target_without_a_free_lun_is_refused);
	tcase_add_test(place, the_smallest_free_lun_is_taken);
	suite_add_tcase(suite, place);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
