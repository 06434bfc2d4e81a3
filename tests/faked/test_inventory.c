/*
 * What an inventory finds on a datastore, by whatever name and in whatever state, over the
 * fake libvirt.
 */
#include "blockmig/evacuate/load.h"
#include "common/error.h"
#include "tests/faked/scene.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OTHER_UUID "22222222-2222-3333-4444-555555555555"
#define TARGET	   "iscsi://array/iqn.2026-01.com.example:t1/"

static struct scene scene;

static void setup(void)
{
	scene_open(&scene, "raw");
}

static void teardown(void)
{
	scene_close(&scene);
}

/* Of the folder "src", to the folder "dst" or @to. */
static struct inventory *load(const char *to, GError **error)
{
	g_autofree char *from = fake_path("src/");
	g_autofree char *destination = fake_path("dst/");
	const char *const names[] = {to ? to : destination, NULL};

	return inventory_load(&scene.context, from, names, error);
}

static struct inventory *loaded(void)
{
	g_autoptr(GError) error = NULL;
	struct inventory *inventory = load(NULL, &error);

	ck_assert_msg(inventory != NULL, "%s", error ? error->message : "");
	return inventory;
}

static const struct inventory_store *store(const struct inventory *inventory, guint position)
{
	return g_ptr_array_index(inventory->stores, position);
}

/* The only disk of the inventory, which lies on the datastore. */
static const struct inventory_disk *only_disk(const struct inventory *inventory)
{
	const struct inventory_disk *disk;

	ck_assert_uint_eq(inventory->disks->len, 1);
	disk = g_ptr_array_index(inventory->disks, 0);
	ck_assert_ptr_eq(disk->store, store(inventory, 0));
	return disk;
}

static const struct inventory_residue *only_residue(const struct inventory *inventory)
{
	ck_assert_uint_eq(inventory->residue->len, 1);
	return g_ptr_array_index(inventory->residue, 0);
}

static void define_disk(const char *path)
{
	g_autofree char *element = fake_disk(path, "raw");

	fake_domain("web", FAKE_UUID, element);
}

/* Puts @text in front of what @before says in the domain's inactive XML. */
static void add_to_domain(const char *before, const char *text)
{
	g_autofree char *xml = fake_domain_xml(FAKE_UUID, TRUE);
	g_auto(GStrv) parts = g_strsplit(xml, before, 2);
	g_autofree char *edited = g_strdup_printf("%s%s%s%s", parts[0], text, before, parts[1]);

	fake_domain_set_xml(FAKE_UUID, TRUE, edited);
}

/* ---- disks ------------------------------------------------------------ */

START_TEST(a_disk_is_known_as_a_move_would_know_it)
{
	AUTO(inventory) inventory = loaded();
	const struct inventory_disk *disk = only_disk(inventory);

	ck_assert_str_eq(disk->domain->name, "web");
	ck_assert_str_eq(disk->target, "vda");
	ck_assert_str_eq(disk->format, "raw");
	ck_assert_uint_eq(disk->virtual_bytes, SCENE_BYTES);
	ck_assert_uint_gt(disk->allocated_bytes, 0);
	ck_assert_msg(!disk->obstacle, "%s", disk->obstacle);
	ck_assert_uint_eq(store(inventory, 0)->disks, 1);
	ck_assert_uint_eq(store(inventory, 0)->domains, 1);
	ck_assert_uint_eq(store(inventory, 0)->promised_bytes, SCENE_BYTES);
	ck_assert_uint_eq(store(inventory, 1)->disks, 0);
	ck_assert_uint_gt(store(inventory, 1)->free_bytes, 0);
}
END_TEST

START_TEST(a_disk_that_cannot_move_has_the_reason)
{
	add_to_domain("<target dev='vda'", "<shareable/>");
	AUTO(inventory) inventory = loaded();

	ck_assert_ptr_nonnull(strstr(only_disk(inventory)->obstacle, "shareable"));
}
END_TEST

START_TEST(a_disk_on_another_datastore_is_not_there)
{
	g_autofree char *path = fake_path("dst/disk.raw");

	fake_image_create(path, "raw", SCENE_BYTES, NULL, 0);
	define_disk(path);
	AUTO(inventory) inventory = loaded();

	ck_assert_uint_eq(inventory->disks->len, 1);
	ck_assert_ptr_eq(((struct inventory_disk *)inventory->disks->pdata[0])->store,
			 store(inventory, 1));
	ck_assert_uint_eq(store(inventory, 0)->disks, 0);
}
END_TEST

START_TEST(a_disk_is_found_through_a_link_to_its_folder)
{
	g_autofree char *folder = fake_path("src"), *link = fake_path("link");
	g_autofree char *path = fake_path("link/disk.raw");

	ck_assert_int_eq(symlink(folder, link), 0);
	define_disk(path);
	AUTO(inventory) inventory = loaded();

	only_disk(inventory);
}
END_TEST

START_TEST(what_a_restart_would_bring_back_is_there)
{
	g_autofree char *path = fake_path("dst/disk.raw");
	g_autofree char *was = fake_domain_xml(FAKE_UUID, TRUE);

	fake_image_create(path, "raw", SCENE_BYTES, NULL, 0);
	define_disk(path);
	ck_assert(fake_start(FAKE_UUID));
	fake_domain_set_xml(FAKE_UUID, TRUE, was);
	AUTO(inventory) inventory = loaded();
	const struct inventory_disk *disk = only_disk(inventory);

	ck_assert_ptr_nonnull(strstr(disk->obstacle, "live and inactive XML name different"));
	ck_assert_str_eq(disk->source, scene.source);
}
END_TEST

START_TEST(a_layer_below_on_the_datastore_counts)
{
	g_autofree char *element = g_strdup_printf(
		"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
		"<source file='/elsewhere/top.qcow2'/><backingStore type='file'>"
		"<format type='raw'/><source file='%s'/></backingStore><target dev='vda'/></disk>",
		scene.source);

	fake_domain("web", FAKE_UUID, element);
	AUTO(inventory) inventory = loaded();

	ck_assert_ptr_nonnull(strstr(only_disk(inventory)->obstacle, "2 layers"));
}
END_TEST

START_TEST(a_layer_that_only_the_image_itself_names_counts)
{
	g_autofree char *top = fake_path("dst/top.qcow2");
	g_autofree char *element = fake_disk(top, "qcow2");
	g_autofree char *header = g_malloc0(4096);
	const guint32 words[] = {GUINT32_TO_BE(3), 0, GUINT32_TO_BE(512),
				 GUINT32_TO_BE((guint32)strlen(scene.source))};

	memcpy(header, "QFI\xfb", 4);
	memcpy(header + 4, words, sizeof(words));
	strcpy(header + 512, scene.source);
	ck_assert(g_file_set_contents(top, header, 4096, NULL));
	fake_domain("web", FAKE_UUID, element);
	AUTO(inventory) inventory = loaded();

	ck_assert_ptr_nonnull(only_disk(inventory)->obstacle);
}
END_TEST

START_TEST(an_open_job_is_known_with_its_destination)
{
	fake_fault(&(struct fake_fault){.call = "pivot", .code = FAKE_KILL});
	ck_assert(fake_start(FAKE_UUID));
	ck_assert_int_eq(scene_apart(&scene, scene_move), SCENE_KILLED);
	scene_new_process(&scene);
	AUTO(inventory) inventory = loaded();
	const struct inventory_disk *disk = only_disk(inventory);

	ck_assert_int_gt(disk->job, 0);
	ck_assert_ptr_eq(disk->job_store, store(inventory, 1));
	ck_assert_int_eq(disk->job_lun, -1);
	ck_assert_ptr_null(disk->obstacle);
}
END_TEST

/* ---- what is no disk ------------------------------------------------------------ */

static const struct {
	const char *before, *element; /* %s: a file on the datastore */
	enum residue_kind kind;
} residues[] = {
	{"</domain>", "<os><nvram>%s</nvram></os>", RESIDUE_NVRAM},
	{"</domain>", "<os><kernel>%s</kernel></os>", RESIDUE_BOOT},
	{"</devices>", "<serial type='file'><source path='%s'/></serial>", RESIDUE_OTHER},
	{"</devices>",
	 "<disk type='file' device='cdrom'><source file='%s'/><target dev='sda'/></disk>",
	 RESIDUE_MEDIUM},
};

START_TEST(what_else_the_domain_names_there_is_residue_with_a_way_out)
{
	g_autofree char *path = fake_path("src/thing");
	g_auto(GStrv) parts = g_strsplit(residues[_i].element, "%s", 2);
	g_autofree char *element = g_strjoinv(path, parts);

	add_to_domain(residues[_i].before, element);
	AUTO(inventory) inventory = loaded();
	const struct inventory_residue *residue = only_residue(inventory);

	only_disk(inventory);
	ck_assert_int_eq(residue->kind, residues[_i].kind);
	ck_assert_str_eq(residue->path, path);
	ck_assert_ptr_eq(residue->store, store(inventory, 0));
	ck_assert_uint_gt(strlen(residue->way_out), 0);
}
END_TEST

START_TEST(what_a_snapshot_names_there_is_residue)
{
	g_autofree char *path = fake_path("snapshot.xml");
	g_autofree char *memory = fake_path("src/memory");
	g_autofree char *xml = g_strdup_printf("<domainsnapshot><name>s</name>"
					       "<memory snapshot='external' file='%s'/>"
					       "</domainsnapshot>",
					       memory);

	ck_assert(g_file_set_contents(path, xml, -1, NULL));
	fake_domain_set(FAKE_UUID, "snapshots", 1);
	AUTO(inventory) inventory = loaded();
	const struct inventory_residue *residue = only_residue(inventory);

	ck_assert_int_eq(residue->kind, RESIDUE_SNAPSHOT);
	ck_assert_str_eq(residue->path, memory);
}
END_TEST

/* ---- datastores ------------------------------------------------------------ */

START_TEST(luns_are_free_or_somebodys)
{
	static const guint64 sizes[] = {SCENE_BYTES, 2 * SCENE_BYTES, 3 * SCENE_BYTES};

	for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
		g_autofree char *name = g_strdup_printf("luns/%u", i + 1);
		g_autofree char *path = fake_path(name);

		fake_image_create(path, "raw", sizes[i], NULL, 0);
	}
	fake_domain("db", OTHER_UUID,
		    "<disk type='network' device='disk'><driver name='qemu' type='raw'/>"
		    "<source protocol='iscsi' name='iqn.2026-01.com.example:t1/1'>"
		    "<host name='array' port='3260'/></source><target dev='vdb'/></disk>");
	g_autofree char *second = fake_path("luns/2");
	guint8 data[FAKE_CLUSTER] = {1};

	fake_image_write(second, "raw", 0, data, sizeof(data));
	AUTO(inventory) inventory = load(TARGET, NULL);
	const struct inventory_store *target = store(inventory, 1);
	const char *users[4] = {NULL};

	ck_assert_int_eq(target->kind, STORE_ISCSI);
	ck_assert_uint_eq(target->luns->len, 3);
	for (guint i = 0; i < 3; i++) {
		const struct inventory_lun *lun = g_ptr_array_index(target->luns, i);

		users[lun->number] = lun->user;
	}
	ck_assert_str_eq(users[1], "domain db, disk vdb");
	ck_assert_str_eq(users[2], "nobody names it, but it is not empty");
	ck_assert_ptr_null(users[3]);
	ck_assert_uint_eq(target->free_bytes, 3 * SCENE_BYTES);
}
END_TEST

START_TEST(maintenance_and_rates_are_the_ledgers)
{
	g_autofree char *from = fake_path("src/"), *to = fake_path("dst/");

	ck_assert(ledger_maintenance_begin(scene.ledger, from, "src", NULL));
	ck_assert(ledger_rate_add(scene.ledger, from, to, 1000, 1000, NULL));
	AUTO(inventory) inventory = loaded();

	ck_assert(store(inventory, 0)->maintenance && !store(inventory, 1)->maintenance);
	ck_assert_uint_eq(store(inventory, 1)->bytes_per_second, 1000);
}
END_TEST

START_TEST(a_destination_that_does_not_answer_says_why)
{
	g_autofree char *nowhere = fake_path("nowhere/");
	AUTO(inventory) inventory = load(nowhere, NULL);

	ck_assert_ptr_nonnull(strstr(store(inventory, 1)->unreachable, "No such file"));
}
END_TEST

START_TEST(one_place_by_two_names_is_refused)
{
	g_autofree char *folder = fake_path("src"), *link = fake_path("link");
	g_autofree char *inside = fake_path("src/deep/"), *linked = fake_path("link/");
	g_autoptr(GError) nested = NULL, same = NULL;

	ck_assert_int_eq(symlink(folder, link), 0);
	ck_assert_ptr_null(load(inside, &nested));
	ck_assert(error_is(nested, BLOCKMIG_ERROR_USAGE));
	ck_assert_ptr_null(load(linked, &same));
	ck_assert_ptr_nonnull(strstr(same->message, "are one place"));
}
END_TEST

START_TEST(one_image_is_no_datastore)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *image = fake_path("dst/disk.raw");

	fake_image_create(image, "raw", SCENE_BYTES, NULL, 0);
	ck_assert_ptr_null(load(image, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_USAGE));
	ck_assert_ptr_nonnull(strstr(error->message, "is one image"));
}
END_TEST

/* ---- wishes ------------------------------------------------------------ */

START_TEST(a_priority_in_the_metadata_wins_over_the_configuration)
{
	g_autofree char *path = fake_path("own.conf");
	struct config *was = scene.context.config;

	ck_assert(g_file_set_contents(path, "[domain w*]\npriority=3\nkeep-together=yes\n", -1,
				      NULL));
	AUTO(config) config = config_load(path, NULL);

	scene.context.config = config;
	{
		AUTO(inventory) inventory = loaded();

		ck_assert_int_eq(only_disk(inventory)->domain->priority, 3);
		ck_assert(only_disk(inventory)->domain->keep_together);
	}
	add_to_domain("</domain>", "<metadata><b:evacuate xmlns:b='" XML_EVACUATE_URI
				   "' priority='7'/></metadata>");
	AUTO(inventory) again = loaded();

	ck_assert_int_eq(only_disk(again)->domain->priority, 7);
	scene.context.config = was;
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("inventory");
	TCase *cases = tcase_create("inventory");
	SRunner *runner = srunner_create(suite);

	suite_add_tcase(suite, cases);
	tcase_add_checked_fixture(cases, setup, teardown);
	tcase_add_test(cases, a_disk_is_known_as_a_move_would_know_it);
	tcase_add_test(cases, a_disk_that_cannot_move_has_the_reason);
	tcase_add_test(cases, a_disk_on_another_datastore_is_not_there);
	tcase_add_test(cases, a_disk_is_found_through_a_link_to_its_folder);
	tcase_add_test(cases, what_a_restart_would_bring_back_is_there);
	tcase_add_test(cases, a_layer_below_on_the_datastore_counts);
	tcase_add_test(cases, a_layer_that_only_the_image_itself_names_counts);
	tcase_add_test(cases, an_open_job_is_known_with_its_destination);
	tcase_add_loop_test(cases, what_else_the_domain_names_there_is_residue_with_a_way_out, 0,
			    G_N_ELEMENTS(residues));
	tcase_add_test(cases, what_a_snapshot_names_there_is_residue);
	tcase_add_test(cases, luns_are_free_or_somebodys);
	tcase_add_test(cases, maintenance_and_rates_are_the_ledgers);
	tcase_add_test(cases, a_destination_that_does_not_answer_says_why);
	tcase_add_test(cases, one_place_by_two_names_is_refused);
	tcase_add_test(cases, one_image_is_no_datastore);
	tcase_add_test(cases, a_priority_in_the_metadata_wins_over_the_configuration);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
