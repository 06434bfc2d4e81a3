/*
 * Opening and closing a session, and what it tells about libvirt and QEMU themselves.
 */
#include "blockmig/vm/session.h"
#include "blockmig/vm/session_private.h"
#include "common/error.h"

#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <string.h>
#include <unistd.h>

enum { DEADLINE_DEFAULT_MS = 30000, CLOSE_MS = 2000 };

/* ---- is it this host? ------------------------------------------------------------------ */

static gboolean is_local_name(const char *host)
{
	return strcmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 ||
	       strcmp(host, "::1") == 0 || strcmp(host, g_get_host_name()) == 0;
}

static gboolean refuse(GError **error, const char *uri, const char *why)
{
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
		    "libvirt URI %s: %s; run blockmig on the host of the guests, with a URI like "
		    "qemu:///system",
		    uri, why);
	return FALSE;
}

static gboolean check_uri(const char *uri, GError **error)
{
	g_autoptr(GUri) parsed = g_uri_parse(uri, G_URI_FLAGS_NON_DNS, NULL);
	const char *host = parsed ? g_uri_get_host(parsed) : NULL;

	if (!host || *host == '\0' || is_local_name(host))
		return TRUE;
	return refuse(error, uri, "is on another host, whose paths are not this one's");
}

/* Whether both names mean one host: one may be qualified and the other not. */
static gboolean same_host(const char *a, const char *b)
{
	gsize a_label = strcspn(a, "."), b_label = strcspn(b, ".");

	if (a[a_label] == '\0' || b[b_label] == '\0')
		return a_label == b_label && g_ascii_strncasecmp(a, b, a_label) == 0;
	return g_ascii_strcasecmp(a, b) == 0;
}

static int ask_identity(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	const char *type = virConnectGetType(connection);

	(void)domain;
	if (!type)
		return -1;
	call->list = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(call->list, g_strdup(type));
	call->text = virConnectGetURI(connection);
	call->name = call->text ? virConnectGetHostname(connection) : NULL;
	return call->name ? 0 : -1;
}

static gboolean check_daemon(struct session *session, GError **error)
{
	AUTO(call) call = call_new("connect", CALL_ASKS, ask_identity, NULL);
	char host[256] = "";

	call->once = TRUE;
	if (!call_perform(session, call, error) || !check_uri(call->text, error))
		return FALSE;
	if (strcmp(g_ptr_array_index(call->list, 0), "QEMU") != 0)
		return refuse(error, call->text, "is not a QEMU/KVM hypervisor");
	/* Not g_get_host_name(), which remembers what the name was at the first call. */
	if (gethostname(host, sizeof(host) - 1) == 0 && !same_host(host, call->name)) {
		g_autofree char *why = g_strdup_printf("its daemon runs on host %s, but this is %s",
						       call->name, host);

		return refuse(error, call->text, why);
	}
	return TRUE;
}

/* ---- opening and closing ------------------------------------------------------------------ */

struct session *session_open(const char *uri, GError **error)
{
	AUTO(session) session = NULL;

	if (uri && !check_uri(uri, error))
		return NULL;
	if (!event_loop_start(error))
		return NULL;
	session = g_new0(struct session, 1);
	session->uri = g_strdup(uri);
	session->deadline_ms = DEADLINE_DEFAULT_MS;
	g_mutex_init(&session->lock);
	session->idle = g_ptr_array_new();
	session->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	if (!check_daemon(session, error))
		return NULL;
	session->events = events_start(uri, deadline_in(DEADLINE_DEFAULT_MS), error);
	return session->events ? g_steal_pointer(&session) : NULL;
}

void session_close(struct session *session)
{
	deadline_ms deadline = deadline_in(CLOSE_MS);

	if (!session)
		return;
	if (session->events)
		events_stop(session->events, deadline);
	for (guint i = 0; i < session->idle->len; i++)
		worker_dismiss(g_ptr_array_index(session->idle, i), deadline);
	g_ptr_array_unref(session->idle);
	g_hash_table_unref(session->names);
	g_mutex_clear(&session->lock);
	g_free(session->uri);
	g_free(session);
}

void session_set_deadline(struct session *session, guint milliseconds)
{
	g_mutex_lock(&session->lock);
	session->deadline_ms = milliseconds;
	g_mutex_unlock(&session->lock);
}

/* ---- libvirt and QEMU ------------------------------------------------------------------------ */

static int ask_version(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	unsigned long libvirt = 0, qemu = 0;

	(void)domain;
	if (virConnectGetLibVersion(connection, &libvirt) < 0 ||
	    virConnectGetVersion(connection, &qemu) < 0)
		return -1;
	call->number = libvirt;
	call->number2 = qemu;
	return 0;
}

gboolean session_version(struct session *session, guint64 *libvirt, guint64 *qemu, GError **error)
{
	AUTO(call) call = call_new("version of libvirt and QEMU", CALL_ASKS, ask_version, NULL);

	if (!call_perform(session, call, error))
		return FALSE;
	*libvirt = call->number;
	*qemu = call->number2;
	return TRUE;
}

static int ask_capabilities(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	(void)domain;
	call->text = virConnectGetCapabilities(connection);
	return call->text ? 0 : -1;
}

/* The text of <secmodel><model>dac</model><baselabel>; NULL where there is none. */
static char *dac_baselabel(const char *capabilities)
{
	static const char path[] = "string(/capabilities/host/secmodel[model='dac']/baselabel)";
	xmlDocPtr document = xmlReadMemory(capabilities, (int)strlen(capabilities), NULL, NULL,
					   XML_PARSE_NONET | XML_PARSE_NOERROR);
	xmlXPathContextPtr context = document ? xmlXPathNewContext(document) : NULL;
	xmlXPathObjectPtr found = context ? xmlXPathEvalExpression(BAD_CAST path, context) : NULL;
	char *label = NULL;

	if (found && found->stringval && *found->stringval != '\0')
		label = g_strdup((const char *)found->stringval);
	xmlXPathFreeObject(found);
	xmlXPathFreeContext(context);
	xmlFreeDoc(document);
	return label;
}

/* "+UID:+GID", as libvirt always prints a base label. */
static gboolean parse_owner(const char *label, int *uid, int *gid)
{
	g_auto(GStrv) parts = g_strsplit(label, ":", 2);
	guint64 numbers[2];

	if (g_strv_length(parts) != 2)
		return FALSE;
	for (int i = 0; i < 2; i++) {
		const char *digits = parts[i] + (parts[i][0] == '+');

		if (!g_ascii_string_to_unsigned(digits, 10, 0, G_MAXINT, &numbers[i], NULL))
			return FALSE;
	}
	*uid = (int)numbers[0];
	*gid = (int)numbers[1];
	return TRUE;
}

gboolean session_qemu_owner(struct session *session, int *uid, int *gid, GError **error)
{
	AUTO(call) call = call_new("capabilities", CALL_ASKS, ask_capabilities, NULL);
	g_autofree char *label = NULL;

	if (!call_perform(session, call, error))
		return FALSE;
	label = dac_baselabel(call->text);
	if (!label) {
		/* A session daemon runs QEMU as the user that it belongs to: us. */
		*uid = (int)geteuid();
		*gid = (int)getegid();
		return TRUE;
	}
	if (parse_owner(label, uid, gid))
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "libvirt's capabilities: the DAC base label \"%s\" is not +UID:+GID", label);
	return FALSE;
}
