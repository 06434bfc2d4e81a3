/* The session while libvirtd dies, restarts or stands still. */
#include "tests/unit/session_support.h"

/* ---- the daemon fails ---------------------------------------------------------------- */

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

/* The daemon dies while a call waits for its answer, and comes back. */
static gpointer die_soon(gpointer data)
{
	(void)data;
	g_usleep(200000);
	libvirtd_kill();
	libvirtd_start();
	return NULL;
}

START_TEST(a_change_whose_connection_breaks_is_unknown)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("broken", FALSE);
	g_autofree char *xml = xml_of(session, uuid, TRUE);
	GThread *thread;

	libvirtd_freeze();
	thread = g_thread_new("die", die_soon, NULL);
	ck_fails(session_define(session, xml, &error), BLOCKMIG_ERROR_UNKNOWN);
	g_thread_join(thread);
	ck_done(session_define(session, xml, &error));
}
END_TEST

START_TEST(a_question_whose_connection_breaks_is_asked_again)
{
	AUTO(session) session = open_session();
	g_autofree char *uuid = libvirt_guest("asked", TRUE);
	GThread *thread;

	libvirtd_freeze();
	thread = g_thread_new("die", die_soon, NULL);
	ck_assert_int_eq(state_of(session, uuid).run, RUN_RUNNING);
	g_thread_join(thread);
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

/* ---- the suite ---------------------------------------------------------------- */

static TCase *all(void)
{
	TCase *tests = tcase_create("all");

	tcase_add_test(tests, calls_and_events_survive_a_restart_of_libvirtd);
	tcase_add_test(tests, a_question_waits_until_libvirtd_is_back);
	tcase_add_test(tests, without_libvirtd_the_error_is_transient_and_names_it);
	tcase_add_test(tests, a_daemon_that_stands_still_makes_calls_unknown_at_their_deadline);
	tcase_add_test(tests, a_change_whose_connection_breaks_is_unknown);
	tcase_add_test(tests, a_question_whose_connection_breaks_is_asked_again);
	tcase_add_test(tests, a_session_closes_though_the_daemon_stands_still);
	tcase_add_test(tests, threads_share_a_session);
	return tests;
}

int main(void)
{
	run_with_libvirt(all);
}
