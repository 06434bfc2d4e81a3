#include "tests/unit/session_support.h"

#include <stdlib.h>
#include <string.h>

enum { TEST_SECONDS = 120 };

struct session *open_session(void)
{
	struct session *session = NULL;

	ck_done(session = session_open(NULL, &error));
	return session;
}

struct domain_state state_of(struct session *session, const char *uuid)
{
	struct domain_state state = {0};

	ck_done(session_state(session, uuid, &state, &error));
	return state;
}

char *xml_of(struct session *session, const char *uuid, gboolean inactive)
{
	char *xml = NULL;

	ck_done(xml = session_xml(session, uuid, inactive, &error));
	return xml;
}

int layers_of(struct session *session, const char *uuid)
{
	g_autofree char *xml = xml_of(session, uuid, FALSE);
	int count = 0;

	for (const char *at = xml; (at = strstr(at, "<source file=")); at++)
		count++;
	return count;
}

gboolean xml_has(struct session *session, const char *uuid, gboolean inactive, const char *text)
{
	g_autofree char *xml = xml_of(session, uuid, inactive);

	return strstr(xml, text) != NULL;
}

struct block_job job_of(struct session *session, const char *uuid)
{
	struct block_job job = {0};

	ck_done(session_block_job(session, uuid, "vda", &job, &error));
	return job;
}

void wait_ready(struct session *session, const char *uuid)
{
	gint64 until = g_get_monotonic_time() + PATIENCE_MS * G_TIME_SPAN_MILLISECOND;

	while (!xml_has(session, uuid, FALSE, "ready='yes'")) {
		ck_assert_msg(g_get_monotonic_time() < until, "the job never became ready");
		session_events_wait(session, uuid, "vda", 1000);
	}
}

void wait_event(struct session *session, const char *uuid, enum block_event expected)
{
	gint64 until = g_get_monotonic_time() + PATIENCE_MS * G_TIME_SPAN_MILLISECOND;

	while (session_events_wait(session, uuid, "vda", 1000) != expected)
		ck_assert_msg(g_get_monotonic_time() < until, "the event never came");
}

void take_snapshot(struct session *session, const char *uuid, const char *name, gboolean quiesce,
		   gboolean *quiesced)
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

static TCase *(*cases)(void);

static int run_cases(void)
{
	TCase *tests = cases();
	Suite *suite = suite_create("session");
	SRunner *runner = srunner_create(suite);
	int failures;

	tcase_set_timeout(tests, TEST_SECONDS);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failures = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

void run_with_libvirt(TCase *(*tests)(void))
{
	cases = tests;
	libvirt_run(run_cases);
}
