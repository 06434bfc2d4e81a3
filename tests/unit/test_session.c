/* What the session tells about domains, libvirt and its host, from a real libvirtd. */
#include "blockmig/vm/domain.h"
#include "tests/unit/session_support.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

/* ---- asking --------------------------------------------------------------------------- */

START_TEST(a_domain_is_found_by_name_uuid_and_id)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("found", TRUE);
	g_autofree char *id = g_strdup_printf("%u", state_of(session, uuid).id);
	const char *const words[] = {"found", uuid, id};

	for (guint i = 0; i < G_N_ELEMENTS(words); i++) {
		g_autofree char *found = NULL, *name = NULL;

		ck_done(session_lookup(session, words[i], &found, &name, &error));
		ck_assert_str_eq(found, uuid);
		ck_assert_str_eq(name, "found");
	}
}
END_TEST

START_TEST(an_unknown_domain_is_not_found_in_libvirts_words)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = g_uuid_string_random(), *found = NULL, *name = NULL;
	g_autoptr(GError) problem = NULL;
	struct domain_state state;

	ck_fails(session_lookup(session, "nobody", &found, &name, &error),
		 BLOCKMIG_ERROR_NOT_FOUND);
	ck_assert(!session_state(session, uuid, &state, &problem));
	ck_assert(error_is(problem, BLOCKMIG_ERROR_NOT_FOUND));
	ck_assert_ptr_nonnull(strstr(problem->message, uuid));
	ck_assert_ptr_nonnull(strstr(problem->message, "Domain not found"));
}
END_TEST

static void define_secret(const char *usage, gboolean is_private)
{
	g_autofree char *uuid = g_uuid_string_random();
	g_autofree char *path = g_strdup_printf("%s/%s.xml", libvirt_folder(), usage);
	g_autofree char *xml =
		g_strdup_printf("<secret ephemeral='no' private='%s'><uuid>%s</uuid>"
				"<usage type='iscsi'><target>%s</target></usage></secret>",
				is_private ? "yes" : "no", uuid, usage);

	ck_assert(g_file_set_contents(path, xml, -1, NULL));
	virsh("secret-define", path, NULL);
	virsh("secret-set-value", uuid, "--base64", "aHVzaC1odXNoLWh1c2g=", NULL);
}

START_TEST(an_iscsi_secret_is_read_unless_it_is_private)
{
	AUTO(session) session = open_session();
	g_autofree char *value = NULL, *none = NULL;

	define_secret("array", FALSE);
	define_secret("vault", TRUE);
	ck_done(value = session_secret(session, "array", &error));
	ck_assert_str_eq(value, "hush-hush-hush");
	ck_fails(none = session_secret(session, "vault", &error), BLOCKMIG_ERROR_PERMANENT);
	ck_fails(none = session_secret(session, "nobody's", &error), BLOCKMIG_ERROR_NOT_FOUND);
}
END_TEST

START_TEST(the_list_has_guests_that_run_and_guests_that_are_off)
{
	AUTO(session) session = open_session();
	g_autofree char *on = libvirt_guest("listed-on", TRUE);
	g_autofree char *off = libvirt_guest("listed-off", FALSE);
	g_autoptr(GPtrArray) list = NULL;

	ck_done(list = session_list(session, &error));
	ck_assert(g_ptr_array_find_with_equal_func(list, on, g_str_equal, NULL));
	ck_assert(g_ptr_array_find_with_equal_func(list, off, g_str_equal, NULL));
}
END_TEST

START_TEST(the_state_follows_the_guest)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("state", FALSE);
	struct domain_state state = state_of(session, uuid);
	guint first_id;

	ck_assert_int_eq(state.run, RUN_OFF);
	ck_assert_uint_eq(state.id, 0);
	ck_assert(state.persistent && !state.managed_save && !state.paused_by_error);
	ck_assert_uint_eq(state.memory_bytes, 16 << 20);
	ck_assert_uint_eq(state.snapshots + state.checkpoints, 0);

	virsh("start", "state", NULL);
	state = state_of(session, uuid);
	ck_assert_int_eq(state.run, RUN_RUNNING);
	first_id = state.id;

	ck_done(session_suspend(session, uuid, &error));
	ck_assert_int_eq(state_of(session, uuid).run, RUN_PAUSED);
	ck_done(session_resume(session, uuid, &error));
	ck_assert_int_eq(state_of(session, uuid).run, RUN_RUNNING);

	virsh("destroy", "state", NULL);
	virsh("start", "state", NULL);
	ck_assert_uint_ne(state_of(session, uuid).id, first_id);
	virsh("destroy", "state", NULL);
}
END_TEST

START_TEST(snapshots_and_checkpoints_are_counted_and_read)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("counted", TRUE);
	g_autoptr(GPtrArray) xmls = NULL;

	virsh("checkpoint-create-as", "counted", "first", NULL);
	ck_assert_uint_eq(state_of(session, uuid).checkpoints, 1);
	virsh("checkpoint-delete", "counted", "first", NULL);
	virsh("snapshot-create-as", "counted", "second", "--disk-only", NULL);
	ck_assert_uint_eq(state_of(session, uuid).snapshots, 1);
	ck_done(xmls = session_snapshot_xmls(session, uuid, &error));
	ck_assert_uint_eq(xmls->len, 1);
	ck_assert_ptr_nonnull(strstr(g_ptr_array_index(xmls, 0), "<name>second</name>"));
	virsh("destroy", "counted", NULL);
	virsh("undefine", "counted", "--snapshots-metadata", NULL);
}
END_TEST

START_TEST(live_and_inactive_xml_are_read_apart)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("xml", TRUE), *migratable = NULL;

	ck_assert(xml_has(session, uuid, FALSE, "index='1'"));
	ck_assert(!xml_has(session, uuid, TRUE, "index='1'"));
	ck_done(migratable = session_xml_migratable(session, uuid, &error));
	ck_assert_ptr_nonnull(strstr(migratable, "<name>xml</name>"));
}
END_TEST

START_TEST(a_definition_changes_the_inactive_xml)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("defined", FALSE);
	g_autofree char *xml = xml_of(session, uuid, TRUE);
	g_auto(GStrv) parts = g_strsplit(xml, "</uuid>", 2);
	g_autofree char *titled =
		g_strdup_printf("%s</uuid><title>moved</title>%s", parts[0], parts[1]);

	ck_done(session_define(session, titled, &error));
	ck_assert(xml_has(session, uuid, TRUE, "<title>moved</title>"));
	ck_fails(session_define(session, "<domain/>", &error), BLOCKMIG_ERROR_PERMANENT);
}
END_TEST

START_TEST(versions_and_qemus_owner_are_told)
{
	AUTO(session) session = open_session();
	guint64 libvirt = 0, qemu = 0;
	int uid = -1, gid = -1;

	ck_done(session_version(session, &libvirt, &qemu, &error));
	ck_assert_uint_ge(libvirt, 9000000);
	ck_assert_uint_ge(qemu, 7000000);
	ck_done(session_qemu_owner(session, &uid, &gid, &error));
	ck_assert_int_eq(uid, 64055);
	ck_assert_int_gt(gid, 0);
}
END_TEST

START_TEST(a_disks_figures_are_told)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("figures", TRUE);
	guint64 capacity = 0, written = 1;

	ck_done(session_block_capacity(session, uuid, "vda", &capacity, &error));
	ck_assert_uint_eq(capacity, 64 << 20);
	ck_done(session_block_written(session, uuid, "vda", &written, &error));
	ck_assert_uint_eq(written, 0);
	ck_fails(session_block_capacity(session, uuid, "vdz", &capacity, &error),
		 BLOCKMIG_ERROR_PERMANENT);
}
END_TEST

START_TEST(a_pool_is_read_and_an_unknown_one_is_not_found)
{
	AUTO(session) session = open_session();
	g_autofree char *xml = NULL;

	virsh("pool-create-as", "images", "dir", "--target", libvirt_folder(), NULL);
	ck_done(xml = session_pool_xml(session, "images", &error));
	ck_assert_ptr_nonnull(strstr(xml, libvirt_folder()));
	g_autoptr(GPtrArray) pools = NULL;

	ck_done(pools = session_pool_list(session, &error));
	ck_assert_uint_eq(pools->len, 1);
	ck_assert_ptr_nonnull(strstr(pools->pdata[0], "<name>images</name>"));
	ck_done(session_pool_refresh(session, "images", &error));
	virsh("pool-destroy", "images", NULL);
	ck_fails(session_pool_xml(session, "images", &error), BLOCKMIG_ERROR_NOT_FOUND);
	ck_fails(session_pool_refresh(session, "images", &error), BLOCKMIG_ERROR_NOT_FOUND);
}
END_TEST

/* ---- metadata ----------------------------------------------------------------------------- */

static void assert_metadata(struct session *session, const char *uuid, gboolean live,
			    const char *text)
{
	g_autoptr(GError) problem = NULL;
	g_autofree char *xml = session_metadata_get(session, uuid, live, &problem);

	ck_assert_msg(!problem, "%s", problem ? problem->message : "");
	if (text)
		ck_assert_ptr_nonnull(strstr(xml, text));
	else
		ck_assert_ptr_null(xml);
}

START_TEST(metadata_is_written_and_removed_live_and_inactive)
{
	static const char one[] = "<job id='1'/>";
	static const char two[] = "<job id='2'/>";
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("metadata", TRUE);

	assert_metadata(session, uuid, TRUE, NULL);
	ck_done(session_metadata_set(session, uuid, one, TRUE, TRUE, &error));
	assert_metadata(session, uuid, TRUE, "id=\"1\"");
	assert_metadata(session, uuid, FALSE, "id=\"1\"");
	ck_done(session_metadata_set(session, uuid, two, TRUE, FALSE, &error));
	assert_metadata(session, uuid, TRUE, "id=\"2\"");
	assert_metadata(session, uuid, FALSE, "id=\"1\"");
	ck_assert(xml_has(session, uuid, FALSE, XML_METADATA_URI));
	ck_done(session_metadata_set(session, uuid, NULL, TRUE, TRUE, &error));
	assert_metadata(session, uuid, TRUE, NULL);
	assert_metadata(session, uuid, FALSE, NULL);
}
END_TEST

START_TEST(metadata_of_a_guest_that_is_off_is_inactive_only)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("metadata-off", FALSE);

	ck_done(session_metadata_set(session, uuid, "<job id='3'/>", FALSE, TRUE, &error));
	assert_metadata(session, uuid, FALSE, "id=\"3\"");
	ck_fails(session_metadata_set(session, uuid, "<job id='4'/>", TRUE, TRUE, &error),
		 BLOCKMIG_ERROR_PERMANENT);
}
END_TEST

/* ---- whose libvirt it is ------------------------------------------------------------- */

START_TEST(libvirt_on_another_host_is_refused_before_it_is_called)
{
	static const char *const uris[] = {"qemu+ssh://root@other.example/system",
					   "qemu+tcp://other.example/system",
					   "qemu+tls://192.0.2.1/system", "qemu://other/system"};

	for (guint i = 0; i < G_N_ELEMENTS(uris); i++)
		ck_fails(session_open(uris[i], &error), BLOCKMIG_ERROR_USAGE);
}
END_TEST

START_TEST(a_hypervisor_other_than_qemu_is_refused)
{
	ck_fails(session_open("test:///default", &error), BLOCKMIG_ERROR_USAGE);
}
END_TEST

START_TEST(a_socket_of_this_host_is_accepted)
{
	AUTO(session) session = NULL;

	ck_done(session = session_open("qemu+unix:///system?socket=/run/libvirt/libvirt-sock",
				       &error));
}
END_TEST

START_TEST(a_daemon_of_another_host_is_refused)
{
	/* The test's process has a name of its own, and libvirtd keeps the old one. */
	ck_assert_int_eq(unshare(CLONE_NEWUTS), 0);
	ck_assert_int_eq(sethostname("elsewhere", strlen("elsewhere")), 0);
	ck_fails(session_open(NULL, &error), BLOCKMIG_ERROR_USAGE);
}
END_TEST

/* ---- the suite ---------------------------------------------------------------- */

static TCase *all(void)
{
	TCase *tests = tcase_create("all");

	tcase_add_test(tests, a_domain_is_found_by_name_uuid_and_id);
	tcase_add_test(tests, an_unknown_domain_is_not_found_in_libvirts_words);
	tcase_add_test(tests, an_iscsi_secret_is_read_unless_it_is_private);
	tcase_add_test(tests, the_list_has_guests_that_run_and_guests_that_are_off);
	tcase_add_test(tests, the_state_follows_the_guest);
	tcase_add_test(tests, snapshots_and_checkpoints_are_counted_and_read);
	tcase_add_test(tests, live_and_inactive_xml_are_read_apart);
	tcase_add_test(tests, a_definition_changes_the_inactive_xml);
	tcase_add_test(tests, versions_and_qemus_owner_are_told);
	tcase_add_test(tests, a_disks_figures_are_told);
	tcase_add_test(tests, a_pool_is_read_and_an_unknown_one_is_not_found);
	tcase_add_test(tests, metadata_is_written_and_removed_live_and_inactive);
	tcase_add_test(tests, metadata_of_a_guest_that_is_off_is_inactive_only);
	tcase_add_test(tests, libvirt_on_another_host_is_refused_before_it_is_called);
	tcase_add_test(tests, a_hypervisor_other_than_qemu_is_refused);
	tcase_add_test(tests, a_socket_of_this_host_is_accepted);
	tcase_add_test(tests, a_daemon_of_another_host_is_refused);
	return tests;
}

int main(void)
{
	run_with_libvirt(all);
}
