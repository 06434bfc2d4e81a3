#include "transports/nfs_session.h"

#include "common/error.h"
#include "transports/address.h"
#include "transports/nfs_mount.h"

#include <string.h>

static int issue_lookup(struct rpc_context *rpc, rpc_cb callback, void *arguments, void *data)
{
	return rpc_nfs3_lookup_async(rpc, callback, arguments, data);
}

static int issue_getattr(struct rpc_context *rpc, rpc_cb callback, void *arguments, void *data)
{
	return rpc_nfs3_getattr_async(rpc, callback, arguments, data);
}

static int issue_setattr(struct rpc_context *rpc, rpc_cb callback, void *arguments, void *data)
{
	return rpc_nfs3_setattr_async(rpc, callback, arguments, data);
}

static void take_object(const void *answer, void *into)
{
	const LOOKUP3res *result = answer;
	const nfs_fh3 *handle = &result->LOOKUP3res_u.resok.object;

	nfs_object_take(into, handle->data.data_len, handle->data.data_val);
}

static void take_facts(const void *answer, void *into)
{
	const GETATTR3res *result = answer;

	*(fattr3 *)into = result->GETATTR3res_u.resok.obj_attributes;
}

nfs_fh3 nfs_object_handle(const struct nfs_object *object)
{
	return (nfs_fh3){.data = {.data_len = object->length, .data_val = (char *)object->bytes}};
}

void nfs_object_take(struct nfs_object *object, u_int length, const char *bytes)
{
	object->length = MIN(length, (u_int)NFS3_FHSIZE);
	memcpy(object->bytes, bytes, object->length);
}

static gboolean connect_to(struct nfs_session *session, const struct url *url,
			   const struct address *address, guint stall_ms, GError **error)
{
	struct nfs_link_owner owner = {.uid = url->uid, .gid = url->gid};
	GError *failure = NULL;

	g_clear_pointer(&session->below, g_free);
	if (nfs_mount_export(session, url, address, stall_ms, &failure))
		session->link = nfs_link_open(session->name, "NFS", address->host, address->port,
					      &owner, stall_ms, &failure);
	if (!session->link) {
		address_blame(address->host, address->port, failure->message);
		g_propagate_error(error, failure);
		return FALSE;
	}
	session->host = g_strdup(address->host);
	session->port = address->port;
	return TRUE;
}

struct nfs_session *nfs_session_open(const struct url *url, const struct transport_config *config,
				     GError **error)
{
	const guint stall_ms = transport_stall_ms(config);
	g_autoptr(GPtrArray) candidates = address_candidates(url, config, URL_NFS_PORT, error);
	AUTO(nfs_session) session = g_new0(struct nfs_session, 1);
	GError *first = NULL;

	session->name = url_format(url);
	if (!candidates) {
		g_prefix_error(error, "%s: ", session->name);
		return NULL;
	}
	for (guint i = 0; i < candidates->len; i++) {
		const struct address *address = g_ptr_array_index(candidates, i);
		GError *failure = NULL;

		if (connect_to(session, url, address, stall_ms, &failure)) {
			address_use(candidates, address);
			g_clear_error(&first);
			return g_steal_pointer(&session);
		}
		if (first)
			g_error_free(failure);
		else
			first = failure;
	}
	g_propagate_error(error, first);
	return NULL;
}

void nfs_session_close(struct nfs_session *session)
{
	if (session->link && !session->link->rpc)
		address_blame(session->host, session->port, session->link->loss);
	g_clear_pointer(&session->link, nfs_link_close);
	g_free(session->host);
	g_free(session->name);
	g_free(session->below);
	g_free(session);
}

gboolean nfs_session_lookup(struct nfs_session *session, const struct nfs_object *folder,
			    const char *leaf, struct nfs_object *object, GError **error)
{
	g_autofree char *what = g_strdup_printf("look up '%s'", leaf);
	LOOKUP3args arguments = {.what = {.dir = nfs_object_handle(folder), .name = (char *)leaf}};
	struct nfs_call call = {.what = what,
				.issue = issue_lookup,
				.arguments = &arguments,
				.take = take_object,
				.into = object};

	return nfs_link_call(session->link, &call, error);
}

gboolean nfs_session_getattr(struct nfs_session *session, const struct nfs_object *object,
			     fattr3 *facts, GError **error)
{
	GETATTR3args arguments = {.object = nfs_object_handle(object)};
	struct nfs_call call = {.what = "get attributes",
				.issue = issue_getattr,
				.arguments = &arguments,
				.take = take_facts,
				.into = facts};

	return nfs_link_call(session->link, &call, error);
}

gboolean nfs_session_setattr(struct nfs_session *session, const struct nfs_object *object,
			     const sattr3 *wanted, GError **error)
{
	SETATTR3args arguments = {.object = nfs_object_handle(object), .new_attributes = *wanted};
	struct nfs_call call = {.what = wanted->size.set_it ? "set the size" : "set attributes",
				.issue = issue_setattr,
				.arguments = &arguments};

	return nfs_link_call(session->link, &call, error);
}

static gboolean walk(struct nfs_session *session, const char *path, struct nfs_object *object,
		     GError **error)
{
	g_auto(GStrv) parts = g_strsplit(path, "/", -1);

	*object = session->root;
	for (char **part = parts; *part; part++) {
		struct nfs_object folder = *object;

		if (**part && !nfs_session_lookup(session, &folder, *part, object, error))
			return FALSE;
	}
	return TRUE;
}

gboolean nfs_session_find(struct nfs_session *session, struct nfs_object *object, fattr3 *facts,
			  GError **error)
{
	return walk(session, session->below, object, error) &&
	       nfs_session_getattr(session, object, facts, error);
}

gboolean nfs_session_find_folder(struct nfs_session *session, struct nfs_object *folder,
				 const char **leaf, GError **error)
{
	const char *slash = strrchr(session->below, '/');
	g_autofree char *path =
		slash ? g_strndup(session->below, slash - session->below) : g_strdup("");

	*leaf = slash ? slash + 1 : session->below;
	if (!**leaf) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s is an export, not a file in one", session->name);
		return FALSE;
	}
	return walk(session, path, folder, error);
}
