/*
 * Taking the snapshot, with the guest's file systems frozen around it where asked.
 *
 * Libvirt's own QUIESCE flag thaws once and forgets a thaw that failed, and a guest whose
 * file systems stay frozen is as good as dead.  Freezing and thawing are calls of ours,
 * so that the thaw can be tried again, on another connection than the one that hangs.
 */
#include "blockmig/vm/session.h"
#include "blockmig/vm/session_private.h"
#include "common/error.h"

enum {
	AGENT_SECONDS = 10, /* the guest agent's time for one answer */
	AGENT_CALL_MS = 2 * AGENT_SECONDS * 1000,
	THAW_TRIES = 5,
	THAW_PAUSE_MS = 500,
};

static int freeze(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	(void)call;
	(void)connection;
	if (virDomainAgentSetResponseTimeout(domain, AGENT_SECONDS, 0) < 0)
		return -1;
	return virDomainFSFreeze(domain, NULL, 0, 0);
}

static int thaw(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	(void)connection;
	if (virDomainFSThaw(domain, NULL, 0, 0) >= 0)
		return 0;
	call_fail(call);
	/* A guest that is off now starts with nothing frozen. */
	return virDomainIsActive(domain) == 0 ? 0 : -1;
}

static int snapshot(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	virDomainSnapshotPtr taken = virDomainSnapshotCreateXML(domain, call->xml, call->flags);

	(void)connection;
	if (!taken)
		return -1;
	virDomainSnapshotFree(taken);
	return 0;
}

/*
 * Whether the file systems are frozen now.  A freeze that nobody answered in time may yet
 * come through, so it needs a thaw as well; an agent that is not there says so at once.
 */
static gboolean try_freeze(struct session *session, const char *uuid, gboolean *needs_thaw)
{
	AUTO(call) call = call_new("freeze its file systems", CALL_CHANGES, freeze, uuid);
	g_autoptr(GError) problem = NULL;
	deadline_ms answer_by = deadline_in(AGENT_SECONDS * 1000);
	gboolean frozen;

	call->milliseconds = AGENT_CALL_MS;
	frozen = call_perform(session, call, &problem);
	*needs_thaw =
		frozen || error_is(problem, BLOCKMIG_ERROR_UNKNOWN) || deadline_passed(answer_by);
	return frozen;
}

static gboolean surely_thaw(struct session *session, const char *uuid, GError **error)
{
	g_autoptr(GError) problem = NULL;

	for (int i = 0; i < THAW_TRIES; i++) {
		AUTO(call) call = call_new("thaw its file systems", CALL_CHANGES, thaw, uuid);

		if (i > 0)
			g_usleep(THAW_PAUSE_MS * 1000);
		call->milliseconds = AGENT_CALL_MS;
		g_clear_error(&problem);
		if (call_perform(session, call, &problem) ||
		    error_is(problem, BLOCKMIG_ERROR_NOT_FOUND))
			return TRUE;
	}
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_OPERATOR,
		    "%s; its file systems may still be frozen: thaw them with \"virsh domfsthaw "
		    "%s\", then run blockmig resume",
		    problem->message, uuid);
	return FALSE;
}

gboolean session_snapshot(struct session *session, const char *uuid, const char *xml,
			  gboolean quiesce, gboolean *quiesced, GError **error)
{
	AUTO(call) call = call_new("take the snapshot", CALL_CHANGES, snapshot, uuid);
	gboolean needs_thaw = FALSE, frozen = quiesce && try_freeze(session, uuid, &needs_thaw);
	g_autoptr(GError) snapshot_error = NULL;
	gboolean taken;

	call->xml = g_strdup(xml);
	call->flags = VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY |
		      VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA | VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC |
		      VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT;
	taken = call_perform(session, call, &snapshot_error);
	if (quiesced)
		*quiesced = frozen;
	if (needs_thaw && !surely_thaw(session, uuid, error)) {
		if (!taken)
			g_prefix_error(error, "%s; and ", snapshot_error->message);
		return FALSE;
	}
	if (!taken)
		g_propagate_error(error, g_steal_pointer(&snapshot_error));
	return taken;
}
