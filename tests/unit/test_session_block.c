/* Snapshots, block jobs, saving and events with QEMU guests that stay in their BIOS. */
#include "common/stop.h"
#include "tests/unit/session_support.h"

#include <string.h>

/* ---- block jobs ----------------------------------------------------------------------------- */

START_TEST(a_snapshot_adds_a_layer_and_an_active_commit_removes_it)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("snapshot", TRUE);
	g_autofree char *before = xml_of(session, uuid, TRUE);
	g_autofree char *after = NULL;

	take_snapshot(session, uuid, "snapshot", FALSE, NULL);
	ck_assert_int_eq(layers_of(session, uuid), 2);
	ck_assert(xml_has(session, uuid, TRUE, "snapshot-overlay.qcow2"));

	session_events_clear(session, uuid, "vda");
	ck_done(session_block_commit(session, uuid, "vda", NULL, NULL, TRUE, 0, &error));
	wait_event(session, uuid, EVENT_READY);
	wait_ready(session, uuid);
	ck_assert_int_eq(job_of(session, uuid).kind, BLOCK_JOB_ACTIVE_COMMIT);
	ck_done(session_pivot(session, uuid, "vda", PATIENCE_MS, &error));
	ck_assert_int_eq(job_of(session, uuid).kind, BLOCK_JOB_NONE);
	ck_assert_int_eq(layers_of(session, uuid), 1);
	after = xml_of(session, uuid, TRUE);
	ck_assert_str_eq(before, after);
}
END_TEST

START_TEST(without_a_guest_agent_the_snapshot_is_taken_and_not_quiesced)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("agentless", TRUE);
	gboolean quiesced = TRUE;

	take_snapshot(session, uuid, "agentless", TRUE, &quiesced);
	ck_assert(!quiesced);
	ck_assert_int_eq(layers_of(session, uuid), 2);
}
END_TEST

START_TEST(a_snapshot_that_is_refused_changes_nothing)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("refused", TRUE);
	g_autoptr(GError) problem = NULL;
	static const char xml[] = "<domainsnapshot><disks><disk name='vda' snapshot='external'>"
				  "<source file='/nowhere/overlay'/></disk></disks>"
				  "</domainsnapshot>";

	ck_assert(!session_snapshot(session, uuid, xml, FALSE, NULL, &problem));
	ck_assert(error_is(problem, BLOCKMIG_ERROR_PERMANENT));
	ck_assert_ptr_nonnull(strstr(problem->message, "domain refused: take the snapshot: "));
	ck_assert_int_eq(layers_of(session, uuid), 1);
}
END_TEST

/* A guest with an overlay, and a shallow copy of that overlay over a second base. */
static char *start_copy(struct session *session, const char *name, guint64 bytes_per_second)
{
	char *uuid = libvirt_guest(name, TRUE);
	g_autofree char *base_name = g_strdup_printf("%s-destination.qcow2", name);
	g_autofree char *base = libvirt_image(base_name, NULL);
	g_autofree char *overlay_name = g_strdup_printf("%s-scratch.qcow2", name);
	g_autofree char *overlay = libvirt_image(overlay_name, base);
	g_autofree char *xml =
		g_strdup_printf("<disk type='file'><driver type='qcow2'/><source file='%s'/>"
				"<backingStore type='file'><format type='qcow2'/>"
				"<source file='%s'/><backingStore/></backingStore></disk>",
				overlay, base);

	take_snapshot(session, uuid, name, FALSE, NULL);
	session_events_clear(session, uuid, "vda");
	ck_done(session_block_copy(session, uuid, "vda", xml, TRUE, bytes_per_second, &error));
	return uuid;
}

START_TEST(a_shallow_copy_pivots_to_the_destinations_chain)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = start_copy(session, "copied", 10 << 20);

	wait_event(session, uuid, EVENT_READY);
	ck_assert_int_eq(job_of(session, uuid).kind, BLOCK_JOB_COPY);
	wait_ready(session, uuid);
	session_events_clear(session, uuid, "vda");
	ck_done(session_pivot(session, uuid, "vda", PATIENCE_MS, &error));
	wait_event(session, uuid, EVENT_COMPLETED);
	ck_assert_int_eq(layers_of(session, uuid), 2);
	ck_assert(xml_has(session, uuid, FALSE, "copied-destination.qcow2"));
	ck_assert(!xml_has(session, uuid, FALSE, "copied-overlay.qcow2"));
	ck_assert(xml_has(session, uuid, TRUE, "copied-scratch.qcow2"));
}
END_TEST

START_TEST(an_aborted_copy_leaves_the_guest_on_its_source)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = start_copy(session, "aborted", 0);

	wait_ready(session, uuid);
	session_events_clear(session, uuid, "vda");
	ck_done(session_block_abort(session, uuid, "vda", &error));
	wait_event(session, uuid, EVENT_CANCELED);
	while (job_of(session, uuid).kind != BLOCK_JOB_NONE)
		g_usleep(10000);
	ck_assert(xml_has(session, uuid, FALSE, "aborted-overlay.qcow2"));
	ck_assert(!xml_has(session, uuid, FALSE, "aborted-scratch.qcow2"));
	ck_fails(session_pivot(session, uuid, "vda", PATIENCE_MS, &error),
		 BLOCKMIG_ERROR_PERMANENT);
}
END_TEST

/* ---- limits ------------------------------------------------------------------------------ */

static struct block_limits limits_of(struct session *session, const char *uuid)
{
	struct block_limits limits = {0};
	gboolean shared = TRUE;

	ck_done(session_block_limits(session, uuid, "vda", &limits, &shared, &error));
	ck_assert(!shared);
	return limits;
}

/* A limit of one kind, with a burst, gives way to one of another kind, and comes back. */
START_TEST(limits_are_changed_and_restored_in_the_live_xml_alone)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("limited", TRUE);
	g_autofree char *before = xml_of(session, uuid, TRUE);
	g_autofree char *after = NULL;
	const struct block_limits slow = {.read = 30 << 20, .write = 10 << 20};

	virsh("blkdeviotune", "limited", "vda", "--live", "--total-bytes-sec", "41943040",
	      "--total-bytes-sec-max", "83886080", "--total-bytes-sec-max-length", "7",
	      "--total-iops-sec", "500", NULL);
	struct block_limits admins = limits_of(session, uuid);

	ck_assert_uint_eq(admins.total, 40 << 20);
	ck_assert_uint_eq(admins.total_burst, 80 << 20);
	ck_assert_uint_eq(admins.total_burst_s, 7);
	ck_done(session_block_limits_set(session, uuid, "vda", &slow, &error));
	struct block_limits now = limits_of(session, uuid);

	ck_assert_mem_eq(&now, &slow, sizeof now);
	ck_assert(xml_has(session, uuid, FALSE, "<total_iops_sec>500</total_iops_sec>"));
	ck_done(session_block_limits_set(session, uuid, "vda", &admins, &error));
	now = limits_of(session, uuid);
	ck_assert_mem_eq(&now, &admins, sizeof now);
	after = xml_of(session, uuid, TRUE);
	ck_assert_str_eq(before, after);
}
END_TEST

START_TEST(limits_that_are_lifted_leave_no_trace)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("lifted", TRUE);
	g_autofree char *before = xml_of(session, uuid, FALSE);
	g_autofree char *after = NULL;
	const struct block_limits slow = {.write = 1 << 20}, none = {0};

	ck_done(session_block_limits_set(session, uuid, "vda", &slow, &error));
	ck_assert(xml_has(session, uuid, FALSE, "<write_bytes_sec>1048576</write_bytes_sec>"));
	ck_done(session_block_limits_set(session, uuid, "vda", &none, &error));
	after = xml_of(session, uuid, FALSE);
	ck_assert_str_eq(before, after);
}
END_TEST

START_TEST(limits_that_another_disk_has_too_are_told)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("grouped", FALSE);
	g_autofree char *other = libvirt_image("other.qcow2", NULL);
	struct block_limits limits;
	gboolean shared = TRUE;

	virsh("attach-disk", "grouped", other, "vdb", "--subdriver", "qcow2", "--config", NULL);
	virsh("start", "grouped", NULL);
	virsh("blkdeviotune", "grouped", "vda", "--live", "--write-bytes-sec", "41943040",
	      "--group-name", "slow", NULL);
	ck_done(session_block_limits(session, uuid, "vda", &limits, &shared, &error));
	ck_assert(!shared);
	virsh("blkdeviotune", "grouped", "vdb", "--live", "--write-bytes-sec", "41943040",
	      "--group-name", "slow", NULL);
	ck_done(session_block_limits(session, uuid, "vda", &limits, &shared, &error));
	ck_assert(shared);
}
END_TEST

/* ---- saving -------------------------------------------------------------------------- */

START_TEST(a_saved_guest_is_restored_paused)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("saved", TRUE), *xml = NULL;
	g_autofree char *path = g_strdup_printf("%s/saved.image", libvirt_folder());

	ck_done(xml = session_xml_migratable(session, uuid, &error));
	ck_done(session_save(session, uuid, path, xml, PATIENCE_MS, &error));
	ck_assert_int_eq(state_of(session, uuid).run, RUN_OFF);
	ck_done(session_restore(session, path, xml, PATIENCE_MS, &error));
	ck_assert_int_eq(state_of(session, uuid).run, RUN_PAUSED);
	ck_done(session_resume(session, uuid, &error));
	ck_assert_int_eq(state_of(session, uuid).run, RUN_RUNNING);
}
END_TEST

START_TEST(a_managed_save_is_read_and_rewritten)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("managed", TRUE);
	g_autofree char *xml = NULL, *moved = NULL, *after = NULL, *elsewhere = NULL;
	g_auto(GStrv) parts = NULL;

	elsewhere = libvirt_image("elsewhere.qcow2", NULL);
	ck_assert_ptr_nonnull(elsewhere);
	virsh("managedsave", "managed", NULL);
	ck_assert(state_of(session, uuid).managed_save);
	ck_done(xml = session_managed_save_xml(session, uuid, &error));
	parts = g_strsplit(xml, "managed.qcow2", -1);
	moved = g_strjoinv("elsewhere.qcow2", parts);
	ck_done(session_managed_save_define(session, uuid, moved, FALSE, &error));
	ck_done(after = session_managed_save_xml(session, uuid, &error));
	ck_assert_ptr_nonnull(strstr(after, "elsewhere.qcow2"));
	virsh("start", "managed", NULL);
	ck_assert(xml_has(session, uuid, FALSE, "elsewhere.qcow2"));
}
END_TEST

/* ---- waiting ------------------------------------------------------------------------- */

static gpointer destroy_soon(gpointer name)
{
	g_usleep(100000);
	virsh("destroy", name, NULL);
	return NULL;
}

static gpointer stop_soon(gpointer data)
{
	(void)data;
	g_usleep(100000);
	stop_request();
	return NULL;
}

/* Waits for an event of @uuid's disk while @meanwhile runs; returns for how long. */
static gint64 wait_while(struct session *session, const char *uuid, GThreadFunc meanwhile,
			 const char *argument)
{
	gint64 begin = g_get_monotonic_time();
	GThread *thread;

	session_events_clear(session, uuid, "vda");
	thread = g_thread_new("meanwhile", meanwhile, (gpointer)argument);
	ck_assert_int_eq(session_events_wait(session, uuid, "vda", PATIENCE_MS), EVENT_NONE);
	g_thread_join(thread);
	return (g_get_monotonic_time() - begin) / 1000;
}

START_TEST(the_guests_end_ends_the_wait_for_events)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("ended", TRUE);

	ck_assert_int_lt(wait_while(session, uuid, destroy_soon, "ended"), PATIENCE_MS / 2);
}
END_TEST

START_TEST(a_stop_ends_the_wait_for_events)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = g_uuid_string_random();

	ck_assert_int_lt(wait_while(session, uuid, stop_soon, NULL), PATIENCE_MS / 2);
	stop_reset();
}
END_TEST

START_TEST(a_wait_without_events_ends_in_time)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = g_uuid_string_random();
	gint64 begin = g_get_monotonic_time();

	ck_assert_int_eq(session_events_wait(session, uuid, "vda", 200), EVENT_NONE);
	ck_assert_int_ge(g_get_monotonic_time() - begin, 190000);
}
END_TEST

/* ---- the suite ---------------------------------------------------------------- */

static TCase *all(void)
{
	TCase *tests = tcase_create("all");

	tcase_add_test(tests, a_snapshot_adds_a_layer_and_an_active_commit_removes_it);
	tcase_add_test(tests, without_a_guest_agent_the_snapshot_is_taken_and_not_quiesced);
	tcase_add_test(tests, a_snapshot_that_is_refused_changes_nothing);
	tcase_add_test(tests, a_shallow_copy_pivots_to_the_destinations_chain);
	tcase_add_test(tests, an_aborted_copy_leaves_the_guest_on_its_source);
	tcase_add_test(tests, limits_are_changed_and_restored_in_the_live_xml_alone);
	tcase_add_test(tests, limits_that_are_lifted_leave_no_trace);
	tcase_add_test(tests, limits_that_another_disk_has_too_are_told);
	tcase_add_test(tests, a_saved_guest_is_restored_paused);
	tcase_add_test(tests, a_managed_save_is_read_and_rewritten);
	tcase_add_test(tests, the_guests_end_ends_the_wait_for_events);
	tcase_add_test(tests, a_stop_ends_the_wait_for_events);
	tcase_add_test(tests, a_wait_without_events_ends_in_time);
	return tests;
}

int main(void)
{
	run_with_libvirt(all);
}
