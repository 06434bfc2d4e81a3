/*
 * Libvirt's secrets: apart from the other calls, for whoever has no more than a
 * configuration to complete.
 */
#include "blockmig/vm/session.h"
#include "blockmig/vm/session_private.h"

static int ask_secret(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	virSecretPtr secret =
		virSecretLookupByUsage(connection, VIR_SECRET_USAGE_TYPE_ISCSI, call->target);
	size_t bytes = 0;
	unsigned char *value;

	(void)domain;
	if (!secret)
		return -1;
	value = virSecretGetValue(secret, &bytes, 0);
	if (value)
		call->text = g_strndup((const char *)value, bytes);
	else
		call_fail(call);
	free(value);
	virSecretFree(secret);
	return call->text ? 0 : -1;
}

char *session_secret(struct session *session, const char *usage, GError **error)
{
	AUTO(call) call = call_new("read an iSCSI secret", CALL_ASKS, ask_secret, NULL);

	call->target = g_strdup(usage);
	return call_perform(session, call, error) ? g_steal_pointer(&call->text) : NULL;
}
