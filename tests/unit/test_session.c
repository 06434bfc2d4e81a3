/* The session against a real libvirtd and QEMU guests that stay in their BIOS. */
#include "blockmig/vm/domain.h"
#include "blockmig/vm/session.h"
#include "common/error.h"
#include "common/stop.h"
#include "tests/unit/libvirt.h"

#include <check.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000 };

#define ck_done(call)                                                                              \
	do {                                                                                       \
		g_autoptr(GError) error = NULL;                                                    \
		gboolean done = !!(call);                                                          \
		ck_assert_msg(done, "%s: %s", #call, error ? error->message : "no error");         \
	} while (0)

#define ck_fails(call, expected)                                                                   \
	do {                                                                                       \
		g_autoptr(GError) error = NULL;                                                    \
		ck_assert_msg(!(call), "%s succeeded", #call);                                     \
		ck_assert_msg(error_is(error, expected), "%s: %s", #call, error->message);         \
	} while (0)

static struct session *open_session(void)
{
	struct session *session = NULL;

	ck_done(session = session_open(NULL, &error));
	return session;
}

static struct domain_state state_of(struct session *session, const char *uuid)
{
	struct domain_state state = {0};

	ck_done(session_state(session, uuid, &state, &error));
	return state;
}

static char *xml_of(struct session *session, const char *uuid, gboolean inactive)
{
	char *xml = NULL;

	ck_done(xml = session_xml(session, uuid, inactive, &error));
	return xml;
}

/* How many images the guest's live chain has. */
static int layers_of(struct session *session, const char *uuid)
{
	g_autofree char *xml = xml_of(session, uuid, FALSE);
	int count = 0;

	for (const char *at = xml; (at = strstr(at, "<source file=")); at++)
		count++;
	return count;
}

static gboolean xml_has(struct session *session, const char *uuid, gboolean inactive,
			const char *text)
{
	g_autofree char *xml = xml_of(session, uuid, inactive);

	return strstr(xml, text) != NULL;
}

static struct block_job job_of(struct session *session, const char *uuid)
{
	struct block_job job = {0};

	ck_done(session_block_job(session, uuid, "vda", &job, &error));
	return job;
}

/* Waits until the XML says so, as every caller does: an event is only a hint. */
static void wait_ready(struct session *session, const char *uuid)
{
	gint64 until = g_get_monotonic_time() + PATIENCE_MS * G_TIME_SPAN_MILLISECOND;

	while (!xml_has(session, uuid, FALSE, "ready='yes'")) {
		ck_assert_msg(g_get_monotonic_time() < until, "the job never became ready");
		session_events_wait(session, uuid, "vda", 1000);
	}
}

/* As wait_ready, but for the event alone. */
static void wait_event(struct session *session, const char *uuid, enum block_event expected)
{
	gint64 until = g_get_monotonic_time() + PATIENCE_MS * G_TIME_SPAN_MILLISECOND;

	while (session_events_wait(session, uuid, "vda", 1000) != expected)
		ck_assert_msg(g_get_monotonic_time() < until, "the event never came");
}

static void take_snapshot(struct session *session, const char *uuid, const char *name,
			  gboolean quiesce, gboolean *quiesced)
{
	g_autofree char *base = g_strdup_printf("%s/%s.qcow2", libvirt_folder(), name);
	g_autofree char *overlay_name = g_strdup_printf("%s-overlay.qcow2", name);
	g_autofree char *overlay = libvirt_image(overlay_name, base);
	g_autofree char *xml =
		g_strdup_printf("<domainsnapshot><disks><disk name='vda' snapshot='external'>"
				"<driver type='qcow2'/><source file='%s'/></disk></disks>"
				"</domainsnapshot>",
				overlay);

	ck_done(session_snapshot(session, uuid, xml, quiesce, quiesced, &error));
}

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

/* ---- saving ------------------------------------------------------------------------------------
 */

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
	ck_done(session_managed_save_define(session, uuid, moved, &error));
	ck_done(after = session_managed_save_xml(session, uuid, &error));
	ck_assert_ptr_nonnull(strstr(after, "elsewhere.qcow2"));
	virsh("start", "managed", NULL);
	ck_assert(xml_has(session, uuid, FALSE, "elsewhere.qcow2"));
}
END_TEST

/* ---- waiting
 * ------------------------------------------------------------------------------------- */

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

/* ---- the daemon fails
 * ------------------------------------------------------------------------------ */

START_TEST(calls_and_events_survive_a_restart_of_libvirtd)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("restarted", TRUE);

	ck_assert_int_eq(state_of(session, uuid).run, RUN_RUNNING);
	session_events_clear(session, uuid, "vda");
	libvirtd_kill();
	libvirtd_start();
	ck_assert_int_eq(state_of(session, uuid).run, RUN_RUNNING);
	ck_done(session_suspend(session, uuid, &error));
	ck_done(session_resume(session, uuid, &error));

	/* Returns once the session listens again. */
	session_events_wait(session, uuid, "vda", PATIENCE_MS);
	take_snapshot(session, uuid, "restarted", FALSE, NULL);
	session_events_clear(session, uuid, "vda");
	ck_done(session_block_commit(session, uuid, "vda", NULL, NULL, TRUE, 0, &error));
	wait_event(session, uuid, EVENT_READY);
}
END_TEST

static gpointer start_soon(gpointer data)
{
	(void)data;
	g_usleep(500000);
	libvirtd_start();
	return NULL;
}

START_TEST(a_question_waits_until_libvirtd_is_back)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("back", FALSE);
	GThread *thread;

	libvirtd_kill();
	thread = g_thread_new("start", start_soon, NULL);
	ck_assert_int_eq(state_of(session, uuid).run, RUN_OFF);
	g_thread_join(thread);
}
END_TEST

START_TEST(without_libvirtd_the_error_is_transient_and_names_it)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("alone", TRUE);

	session_set_deadline(session, 500);
	libvirtd_kill();
	ck_fails(session_suspend(session, uuid, &error), BLOCKMIG_ERROR_TRANSIENT);
	ck_fails(session_open(NULL, &error), BLOCKMIG_ERROR_TRANSIENT);
	libvirtd_start();
	session_set_deadline(session, PATIENCE_MS);
	ck_done(session_suspend(session, uuid, &error));
}
END_TEST

START_TEST(a_daemon_that_stands_still_makes_calls_unknown_at_their_deadline)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("still", TRUE);
	struct domain_state state;
	gint64 begin;

	session_set_deadline(session, 300);
	libvirtd_freeze();
	begin = g_get_monotonic_time();
	ck_fails(session_state(session, uuid, &state, &error), BLOCKMIG_ERROR_UNKNOWN);
	ck_assert_int_lt(g_get_monotonic_time() - begin, 5 * G_TIME_SPAN_SECOND);
	/* The first worker was abandoned; this one cannot even connect. */
	ck_fails(session_suspend(session, uuid, &error), BLOCKMIG_ERROR_UNKNOWN);
	libvirtd_thaw();
	session_set_deadline(session, PATIENCE_MS);
	ck_assert_int_eq(state_of(session, uuid).run, RUN_RUNNING);
	/* The abandoned suspend connects now, and must not be made any more. */
	g_usleep(300000);
	ck_assert_int_eq(state_of(session, uuid).run, RUN_RUNNING);
}
END_TEST

START_TEST(a_session_closes_though_the_daemon_stands_still)
{
	AUTO(session) session = open_session();
	gint64 begin = g_get_monotonic_time();

	libvirtd_freeze();
	session_close(g_steal_pointer(&session));
	ck_assert_int_lt(g_get_monotonic_time() - begin, 10 * G_TIME_SPAN_SECOND);
	libvirtd_thaw();
}
END_TEST

struct asker {
	struct session *session;
	const char *uuid;
	GThread *thread;
};

static gpointer ask_often(gpointer data)
{
	struct asker *asker = data;
	struct domain_state state = {0};
	gboolean fine = TRUE;

	for (int i = 0; i < 10; i++)
		fine = fine && session_state(asker->session, asker->uuid, &state, NULL);
	return GINT_TO_POINTER(fine && state.run == RUN_RUNNING);
}

START_TEST(threads_share_a_session)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("shared", TRUE);
	struct asker askers[8];

	for (guint i = 0; i < G_N_ELEMENTS(askers); i++) {
		askers[i] = (struct asker){session, uuid, NULL};
		askers[i].thread = g_thread_new("asker", ask_often, &askers[i]);
	}
	for (guint i = 0; i < G_N_ELEMENTS(askers); i++)
		ck_assert(GPOINTER_TO_INT(g_thread_join(askers[i].thread)));
}
END_TEST

/* ---- whose libvirt it is
 * ---------------------------------------------------------------------------- */

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

/* ---- the suite
 * ---------------------------------------------------------------------------------------- */

static TCase *asking(void)
{
	TCase *tests = tcase_create("asking");

	tcase_add_test(tests, a_domain_is_found_by_name_uuid_and_id);
	tcase_add_test(tests, an_unknown_domain_is_not_found_in_libvirts_words);
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
	return tests;
}

static TCase *moving(void)
{
	TCase *tests = tcase_create("moving");

	tcase_add_test(tests, a_snapshot_adds_a_layer_and_an_active_commit_removes_it);
	tcase_add_test(tests, without_a_guest_agent_the_snapshot_is_taken_and_not_quiesced);
	tcase_add_test(tests, a_snapshot_that_is_refused_changes_nothing);
	tcase_add_test(tests, a_shallow_copy_pivots_to_the_destinations_chain);
	tcase_add_test(tests, an_aborted_copy_leaves_the_guest_on_its_source);
	tcase_add_test(tests, a_saved_guest_is_restored_paused);
	tcase_add_test(tests, a_managed_save_is_read_and_rewritten);
	tcase_add_test(tests, the_guests_end_ends_the_wait_for_events);
	tcase_add_test(tests, a_stop_ends_the_wait_for_events);
	tcase_add_test(tests, a_wait_without_events_ends_in_time);
	return tests;
}

static TCase *failing(void)
{
	TCase *tests = tcase_create("failing");

	tcase_add_test(tests, calls_and_events_survive_a_restart_of_libvirtd);
	tcase_add_test(tests, a_question_waits_until_libvirtd_is_back);
	tcase_add_test(tests, without_libvirtd_the_error_is_transient_and_names_it);
	tcase_add_test(tests, a_daemon_that_stands_still_makes_calls_unknown_at_their_deadline);
	tcase_add_test(tests, a_session_closes_though_the_daemon_stands_still);
	tcase_add_test(tests, threads_share_a_session);
	tcase_add_test(tests, libvirt_on_another_host_is_refused_before_it_is_called);
	tcase_add_test(tests, a_hypervisor_other_than_qemu_is_refused);
	tcase_add_test(tests, a_socket_of_this_host_is_accepted);
	tcase_add_test(tests, a_daemon_of_another_host_is_refused);
	return tests;
}

static int run_all(void)
{
	TCase *cases[] = {asking(), moving(), failing()};
	Suite *suite = suite_create("session");
	SRunner *runner;
	int failures;

	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		tcase_set_timeout(cases[i], 120);
		suite_add_tcase(suite, cases[i]);
	}
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failures = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(void)
{
	libvirt_run(run_all);
}
