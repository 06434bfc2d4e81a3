/*
 * Calls about storage pools.
 */
#include "blockmig/vm/session.h"
#include "blockmig/vm/session_private.h"

#include <stdlib.h>

static int ask_pool_xml(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	virStoragePoolPtr pool = virStoragePoolLookupByName(connection, call->target);

	(void)domain;
	if (!pool)
		return -1;
	call->text = virStoragePoolGetXMLDesc(pool, 0);
	if (!call->text)
		call_fail(call);
	virStoragePoolFree(pool);
	return call->text ? 0 : -1;
}

char *session_pool_xml(struct session *session, const char *name, GError **error)
{
	AUTO(call) call = call_new("read a storage pool's XML", CALL_ASKS, ask_pool_xml, NULL);

	call->target = g_strdup(name);
	return call_perform(session, call, error) ? g_steal_pointer(&call->text) : NULL;
}

static int ask_pools(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	virStoragePoolPtr *pools = NULL;
	int count = virConnectListAllStoragePools(connection, &pools,
						  VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE);

	(void)domain;
	if (count < 0)
		return -1;
	call->list = g_ptr_array_new_with_free_func(g_free);
	for (int i = 0; i < count; i++) {
		char *xml = virStoragePoolGetXMLDesc(pools[i], 0);

		/* Undefined since it was listed. */
		if (xml)
			g_ptr_array_add(call->list, xml);
		virStoragePoolFree(pools[i]);
	}
	free(pools);
	return 0;
}

GPtrArray *session_pool_list(struct session *session, GError **error)
{
	AUTO(call) call = call_new("list the storage pools", CALL_ASKS, ask_pools, NULL);

	return call_perform(session, call, error) ? g_steal_pointer(&call->list) : NULL;
}

static int refresh_pool(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	virStoragePoolPtr pool = virStoragePoolLookupByName(connection, call->target);
	int result;

	(void)domain;
	if (!pool)
		return -1;
	result = virStoragePoolRefresh(pool, 0);
	if (result < 0)
		call_fail(call);
	virStoragePoolFree(pool);
	return result;
}

gboolean session_pool_refresh(struct session *session, const char *name, GError **error)
{
	AUTO(call) call = call_new("refresh a storage pool", CALL_ASKS, refresh_pool, NULL);

	call->target = g_strdup(name);
	return call_perform(session, call, error);
}
