/* Destinations that cannot be moved to. */
#include "tests/faked/refusal.h"

#include <check.h>
#include <stdlib.h>
#include <unistd.h>

#define TARGET "iscsi://array/iqn.2026-01.com.example:t1/"

static struct scene scene;

static void go_to_file(const char *name)
{
	g_autofree char *path = fake_path(name);

	scene_go_to(&scene, path);
}

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
	refusal_assert(&scene,
		       "web/vda|dst/mine.raw exists already|name another file, or remove it");
	scene_close(&scene);
}
END_TEST

START_TEST(a_name_that_is_taken_gives_way_to_the_domains)
{
	scene_open(&scene, "raw");
	put_image("dst/disk.raw");
	refusal_assert_none(&scene);
	put_image("dst/web-vda.raw");
	refusal_assert(&scene, "web/vda|dst/web-vda.raw exists already");
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
	refusal_assert(&scene, "web/vda|source and destination are the same image");
	g_autofree char *url = g_strconcat("file://", scene.to, NULL);

	scene_go_to(&scene, url);
	refusal_assert(&scene, "web/vda|source and destination are the same image");
	scene_close(&scene);
}
END_TEST

START_TEST(too_little_room_is_refused)
{
	/* Always there, always full, and never written to. */
	scene_open(&scene, "raw");
	scene_go_to(&scene, "/sys/kernel/");
	refusal_assert(&scene, "web/vda|too little room at the destination|needed");
	scene_close(&scene);
}
END_TEST

START_TEST(too_little_room_for_overlays_is_refused)
{
	scene_open(&scene, "raw");
	scene.options.scratch = g_strdup("/sys/kernel");
	refusal_assert(&scene, "web/vda|too little room for overlays in /sys/kernel|--scratch");
	scene_close(&scene);
}
END_TEST

START_TEST(a_scratch_folder_that_qemu_cannot_reach_is_refused)
{
	scene_open(&scene, "raw");
	fake_qemu_owner(64055, 64055);
	refusal_assert(&scene, "web/vda|uid 64055|cannot reach the scratch folder|chmod o+x");
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
	refusal_assert(&scene, "web/vda|dst/new.raw is in use|domain db, disk vda");
	scene_close(&scene);
}
END_TEST

START_TEST(a_datastore_that_is_being_evacuated_is_refused)
{
	g_autofree char *folder = NULL, *elsewhere = NULL;

	scene_open(&scene, "raw");
	folder = fake_path("dst/");
	elsewhere = fake_path("ds/");
	ck_assert(ledger_maintenance_begin(scene.ledger, elsewhere, "other", NULL));
	refusal_assert_none(&scene);
	ck_assert(ledger_maintenance_begin(scene.ledger, folder, "filer", NULL));
	refusal_assert(&scene, "web/vda|filer is being evacuated|choose another destination|"
			       "blockmig evacuate filer --end-maintenance");
	ck_assert(ledger_maintenance_end(scene.ledger, folder, NULL));
	refusal_assert_none(&scene);
	scene_close(&scene);
}
END_TEST

/* ---- LUNs ------------------------------------------------------------------------------------ */

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
	scene_go_to(&scene, TARGET "1");
	refusal_assert(&scene, "web/vda|t1/1 is too small|8388096 bytes|8388608");
	scene_close(&scene);
}
END_TEST

START_TEST(a_lun_that_holds_something_needs_overwrite)
{
	scene_open(&scene, "raw");
	put_lun(1, 2 * SCENE_BYTES, TRUE);
	scene_go_to(&scene, TARGET "1");
	refusal_assert(&scene, "web/vda|t1/1 is not empty|--overwrite");
	scene.options.overwrite = TRUE;
	refusal_assert_none(&scene);
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
	scene_go_to(&scene, TARGET "1");
	scene.options.overwrite = TRUE;
	refusal_assert(&scene, "web/vda|t1/1 is in use|domain db, disk vdb");
	scene_close(&scene);
}
END_TEST

START_TEST(a_lun_that_is_not_there_is_refused)
{
	scene_open(&scene, "raw");
	scene_go_to(&scene, TARGET "7");
	refusal_assert(&scene, "web/vda|the destination cannot be opened");
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
	scene_go_to(&scene, TARGET);
	refusal_assert(&scene, "web/vda|no LUN of iqn.2026-01.com.example:t1 is free|--to");
	scene_close(&scene);
}
END_TEST

START_TEST(the_smallest_free_lun_is_taken)
{
	scene_open(&scene, "raw");
	put_lun(1, 4 * SCENE_BYTES, FALSE);
	put_lun(2, 2 * SCENE_BYTES, FALSE);
	scene_go_to(&scene, TARGET);
	AUTO(move_plan) plan = move_plan(&scene.context, "web", "vda", scene.to, NULL);

	ck_assert_ptr_nonnull(plan);
	ck_assert_uint_eq(plan->obstacles->len, 0);
	ck_assert_msg(g_str_has_suffix(plan->destination, "t1/2"), "%s", plan->destination);
	ck_assert_str_eq(plan->destination_format, "raw");
	scene_close(&scene);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("preflight place");
	TCase *place = tcase_create("place");

	tcase_add_test(place, a_destination_that_exists_is_refused);
	tcase_add_test(place, a_name_that_is_taken_gives_way_to_the_domains);
	tcase_add_loop_test(place, the_source_by_another_name_is_refused, 0, 4);
	tcase_add_test(place, too_little_room_is_refused);
	tcase_add_test(place, too_little_room_for_overlays_is_refused);
	tcase_add_test(place, a_scratch_folder_that_qemu_cannot_reach_is_refused);
	tcase_add_test(place, a_destination_in_use_is_refused);
	tcase_add_test(place, a_datastore_that_is_being_evacuated_is_refused);
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
