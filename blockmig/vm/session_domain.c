/*
 * Calls about a domain as a whole: finding it, its state, its XML, and its life.
 */
#include "blockmig/vm/domain.h"
#include "blockmig/vm/session.h"
#include "blockmig/vm/session_private.h"

#include <libvirt/virterror.h>

/* ---- finding ------------------------------------------------------------------------- */

static virDomainPtr look_up(virConnectPtr connection, const char *text)
{
	virDomainPtr domain = NULL;
	guint64 id;

	if (g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT, &id, NULL))
		domain = virDomainLookupByID(connection, (int)id);
	if (!domain && g_uuid_string_is_valid(text))
		domain = virDomainLookupByUUIDString(connection, text);
	return domain ? domain : virDomainLookupByName(connection, text);
}

static int ask_lookup(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	char uuid[VIR_UUID_STRING_BUFLEN];
	virDomainPtr found = look_up(connection, call->target);

	(void)domain;
	if (!found)
		return -1;
	if (virDomainGetUUIDString(found, uuid) == 0)
		call->text = g_strdup(uuid);
	call->name = g_strdup(virDomainGetName(found));
	virDomainFree(found);
	return 0;
}

gboolean session_lookup(struct session *session, const char *domain, char **uuid, char **name,
			GError **error)
{
	AUTO(call) call = call_new("look for the domain", CALL_ASKS, ask_lookup, NULL);

	call->target = g_strdup(domain);
	if (!call_perform(session, call, error))
		return FALSE;
	*uuid = g_steal_pointer(&call->text);
	if (name)
		*name = g_strdup(call->name);
	return TRUE;
}

static int ask_list(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	virDomainPtr *domains = NULL;
	int count = virConnectListAllDomains(connection, &domains, 0);

	(void)domain;
	if (count < 0)
		return -1;
	call->list = g_ptr_array_new_with_free_func(g_free);
	for (int i = 0; i < count; i++) {
		char uuid[VIR_UUID_STRING_BUFLEN];

		if (virDomainGetUUIDString(domains[i], uuid) == 0)
			g_ptr_array_add(call->list, g_strdup(uuid));
		virDomainFree(domains[i]);
	}
	free(domains);
	return 0;
}

GPtrArray *session_list(struct session *session, GError **error)
{
	AUTO(call) call = call_new("list all domains", CALL_ASKS, ask_list, NULL);

	return call_perform(session, call, error) ? g_steal_pointer(&call->list) : NULL;
}

/* ---- state ------------------------------------------------------------------------------ */

static enum domain_run run_of(int state)
{
	switch (state) {
	case VIR_DOMAIN_RUNNING:
	case VIR_DOMAIN_BLOCKED:
		return RUN_RUNNING;
	case VIR_DOMAIN_PAUSED:
		return RUN_PAUSED;
	case VIR_DOMAIN_SHUTOFF:
		return RUN_OFF;
	default:
		return RUN_OTHER;
	}
}

static int count_checkpoints(virDomainPtr domain)
{
	virDomainCheckpointPtr *checkpoints = NULL;
	int count = virDomainListAllCheckpoints(domain, &checkpoints, 0);

	for (int i = 0; i < count; i++)
		virDomainCheckpointFree(checkpoints[i]);
	free(checkpoints);
	return count;
}

static int ask_state(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	struct domain_state *state = &call->state;
	int persistent, managed_save, snapshots, checkpoints, run, reason;
	virDomainInfo info;

	(void)connection;
	if (virDomainGetState(domain, &run, &reason, 0) < 0 || virDomainGetInfo(domain, &info) < 0)
		return -1;
	if ((persistent = virDomainIsPersistent(domain)) < 0 ||
	    (managed_save = virDomainHasManagedSaveImage(domain, 0)) < 0 ||
	    (snapshots = virDomainSnapshotNum(domain, 0)) < 0 ||
	    (checkpoints = count_checkpoints(domain)) < 0)
		return -1;
	*state = (struct domain_state){
		.run = run_of(run),
		.persistent = persistent > 0,
		.managed_save = managed_save > 0,
		.paused_by_error = run == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_IOERROR,
		.snapshots = (guint)snapshots,
		.checkpoints = (guint)checkpoints,
		.memory_bytes = (guint64)info.maxMem * 1024,
	};
	/* "(unsigned)-1" is libvirt's word for off. */
	if (virDomainGetID(domain) != (unsigned int)-1)
		state->id = virDomainGetID(domain);
	return 0;
}

gboolean session_state(struct session *session, const char *uuid, struct domain_state *state,
		       GError **error)
{
	AUTO(call) call = call_new("state", CALL_ASKS, ask_state, uuid);

	if (!call_perform(session, call, error))
		return FALSE;
	*state = call->state;
	return TRUE;
}

/* ---- XML ------------------------------------------------------------------------------------ */

static int ask_xml(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	(void)connection;
	call->text = virDomainGetXMLDesc(domain, call->flags);
	return call->text ? 0 : -1;
}

static char *get_xml(struct session *session, const char *uuid, guint flags, GError **error)
{
	AUTO(call) call = call_new("read its XML", CALL_ASKS, ask_xml, uuid);

	call->flags = VIR_DOMAIN_XML_SECURE | flags;
	return call_perform(session, call, error) ? g_steal_pointer(&call->text) : NULL;
}

char *session_xml(struct session *session, const char *uuid, gboolean inactive, GError **error)
{
	return get_xml(session, uuid, inactive ? VIR_DOMAIN_XML_INACTIVE : 0, error);
}

char *session_xml_migratable(struct session *session, const char *uuid, GError **error)
{
	return get_xml(session, uuid, VIR_DOMAIN_XML_MIGRATABLE, error);
}

static int ask_snapshots(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	virDomainSnapshotPtr *snapshots = NULL;
	int count = virDomainListAllSnapshots(domain, &snapshots, 0);

	(void)connection;
	if (count < 0)
		return -1;
	call->list = g_ptr_array_new_with_free_func(g_free);
	for (int i = 0; i < count; i++) {
		char *xml =
			virDomainSnapshotGetXMLDesc(snapshots[i], VIR_DOMAIN_SNAPSHOT_XML_SECURE);

		if (xml)
			g_ptr_array_add(call->list, xml);
		else if (virGetLastErrorCode() != VIR_ERR_NO_DOMAIN_SNAPSHOT)
			call_fail(call);
		virDomainSnapshotFree(snapshots[i]);
	}
	free(snapshots);
	return call->cause ? -1 : 0;
}

GPtrArray *session_snapshot_xmls(struct session *session, const char *uuid, GError **error)
{
	AUTO(call) call = call_new("read its snapshots", CALL_ASKS, ask_snapshots, uuid);

	return call_perform(session, call, error) ? g_steal_pointer(&call->list) : NULL;
}

static int define(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	virDomainPtr defined = virDomainDefineXMLFlags(connection, call->xml, 0);

	(void)domain;
	if (!defined)
		return -1;
	virDomainFree(defined);
	return 0;
}

gboolean session_define(struct session *session, const char *xml, GError **error)
{
	AUTO(call) call = call_new("define the domain", CALL_CHANGES, define, NULL);

	call->xml = g_strdup(xml);
	return call_perform(session, call, error);
}

/* ---- our metadata -------------------------------------------------------------------- */

static int set_metadata(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	(void)connection;
	return virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, call->xml,
				    call->xml ? "blockmig" : NULL, XML_METADATA_URI, call->flags);
}

gboolean session_metadata_set(struct session *session, const char *uuid, const char *xml,
			      gboolean live, gboolean config, GError **error)
{
	AUTO(call) call = call_new("write our metadata", CALL_CHANGES, set_metadata, uuid);

	call->xml = g_strdup(xml);
	call->flags = (live ? VIR_DOMAIN_AFFECT_LIVE : 0) | (config ? VIR_DOMAIN_AFFECT_CONFIG : 0);
	return call_perform(session, call, error);
}

static int ask_metadata(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	(void)connection;
	call->text = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, XML_METADATA_URI,
					  call->flags);
	return call->text || virGetLastErrorCode() == VIR_ERR_NO_DOMAIN_METADATA ? 0 : -1;
}

char *session_metadata_get(struct session *session, const char *uuid, gboolean live, GError **error)
{
	AUTO(call) call = call_new("read our metadata", CALL_ASKS, ask_metadata, uuid);

	call->flags = live ? VIR_DOMAIN_AFFECT_LIVE : VIR_DOMAIN_AFFECT_CONFIG;
	return call_perform(session, call, error) ? g_steal_pointer(&call->text) : NULL;
}

/* ---- its life ------------------------------------------------------------------------ */

static int do_suspend(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	(void)call;
	(void)connection;
	return virDomainSuspend(domain);
}

gboolean session_suspend(struct session *session, const char *uuid, GError **error)
{
	AUTO(call) call = call_new("suspend", CALL_CHANGES, do_suspend, uuid);

	return call_perform(session, call, error);
}

static int do_resume(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	(void)call;
	(void)connection;
	return virDomainResume(domain);
}

gboolean session_resume(struct session *session, const char *uuid, GError **error)
{
	AUTO(call) call = call_new("resume", CALL_CHANGES, do_resume, uuid);

	return call_perform(session, call, error);
}

static int save(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	(void)connection;
	return virDomainSaveFlags(domain, call->target, call->xml, VIR_DOMAIN_SAVE_PAUSED);
}

gboolean session_save(struct session *session, const char *uuid, const char *path, const char *xml,
		      guint milliseconds, GError **error)
{
	AUTO(call) call = call_new("save", CALL_CHANGES, save, uuid);

	call->target = g_strdup(path);
	call->xml = g_strdup(xml);
	call->milliseconds = milliseconds;
	return call_perform(session, call, error);
}

static int restore(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	(void)domain;
	return virDomainRestoreFlags(connection, call->target, call->xml, VIR_DOMAIN_SAVE_PAUSED);
}

gboolean session_restore(struct session *session, const char *path, const char *xml,
			 guint milliseconds, GError **error)
{
	AUTO(call) call = call_new("restore a saved guest", CALL_CHANGES, restore, NULL);

	call->target = g_strdup(path);
	call->xml = g_strdup(xml);
	call->milliseconds = milliseconds;
	return call_perform(session, call, error);
}

static int define_managed_save(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	(void)connection;
	return virDomainManagedSaveDefineXML(domain, call->xml, call->flags);
}

gboolean session_managed_save_define(struct session *session, const char *uuid, const char *xml,
				     gboolean running, GError **error)
{
	AUTO(call) call =
		call_new("rewrite its managed save", CALL_CHANGES, define_managed_save, uuid);

	call->xml = g_strdup(xml);
	call->flags = running ? VIR_DOMAIN_SAVE_RUNNING : 0;
	return call_perform(session, call, error);
}

static int ask_managed_save(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	(void)connection;
	call->text = virDomainManagedSaveGetXMLDesc(domain, VIR_DOMAIN_SAVE_IMAGE_XML_SECURE);
	return call->text ? 0 : -1;
}

char *session_managed_save_xml(struct session *session, const char *uuid, GError **error)
{
	AUTO(call) call = call_new("read its managed save", CALL_ASKS, ask_managed_save, uuid);

	return call_perform(session, call, error) ? g_steal_pointer(&call->text) : NULL;
}
