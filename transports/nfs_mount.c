#include "transports/nfs_mount.h"

#include "common/error.h"

#include <netinet/in.h>
#include <string.h>

#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-portmap.h>

enum { PORT_MAPPER = 111 };

static int issue_mnt(struct rpc_context *rpc, rpc_cb callback, void *path, void *data)
{
	return rpc_mount3_mnt_async(rpc, callback, path, data);
}

static int issue_export(struct rpc_context *rpc, rpc_cb callback, void *arguments G_GNUC_UNUSED,
			void *data)
{
	return rpc_mount3_export_async(rpc, callback, data);
}

static int issue_getport(struct rpc_context *rpc, rpc_cb callback, void *arguments G_GNUC_UNUSED,
			 void *data)
{
	return rpc_pmap2_getport_async(rpc, MOUNT_PROGRAM, MOUNT_V3, IPPROTO_TCP, callback, data);
}

static int issue_getaddr(struct rpc_context *rpc, rpc_cb callback, void *mapping, void *data)
{
	return rpc_pmap3_getaddr_async(rpc, mapping, callback, data);
}

static void take_root(const void *answer, void *into)
{
	const struct mountres3 *result = answer;
	const fhandle3 *handle = &result->mountres3_u.mountinfo.fhandle;

	nfs_object_take(into, handle->fhandle3_len, handle->fhandle3_val);
}

/* libnfs packs what it decodes: the nodes of a list may lie unaligned. */
static void take_exports(const void *answer, void *into)
{
	exportnode node;

	memcpy(&node.ex_next, answer, sizeof(node.ex_next));
	while (node.ex_next) {
		memcpy(&node, (const void *)node.ex_next, sizeof(node));
		g_ptr_array_add(into, g_strdup(node.ex_dir));
	}
}

static void take_port(const void *answer, void *into)
{
	memcpy(into, answer, sizeof(guint32));
}

/* A universal address ends in the port's two bytes: "fe80::1.8.1". */
static void take_universal_port(const void *answer, void *into)
{
	const struct pmap3_string_result *result = answer;
	g_auto(GStrv) parts = g_strsplit(result->addr ? result->addr : "", ".", -1);
	guint count = g_strv_length(parts);
	guint64 high = 0, low = 0;

	if (count >= 2 && g_ascii_string_to_unsigned(parts[count - 2], 10, 0, 255, &high, NULL) &&
	    g_ascii_string_to_unsigned(parts[count - 1], 10, 0, 255, &low, NULL))
		*(guint32 *)into = (guint32)(high * 256 + low);
}

static gboolean find_port(const char *name, const char *host, const struct nfs_link_owner *owner,
			  guint stall_ms, guint32 *port, GError **error)
{
	struct pmap3_mapping mapping = {.prog = MOUNT_PROGRAM,
					.vers = MOUNT_V3,
					.netid = (char[]){"tcp6"},
					.addr = (char[]){""},
					.owner = (char[]){""}};
	struct nfs_call call = {.what = "ask the port mapper for MOUNT",
				.plain = TRUE,
				.issue = issue_getport,
				.take = take_port,
				.into = port};
	AUTO(nfs_link) link =
		nfs_link_open(name, "the port mapper (mountport= in the URL does without)", host,
			      PORT_MAPPER, owner, stall_ms, error);

	if (!link)
		return FALSE;
	if (strchr(host, ':')) {
		call.issue = issue_getaddr;
		call.take = take_universal_port;
		call.arguments = &mapping;
	}
	*port = 0;
	if (!nfs_link_call(link, &call, error))
		return FALSE;
	if (*port == 0) {
		g_set_error(
			error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT,
			"%s: the port mapper of %s knows no MOUNT 3 over TCP: is the NFS server "
			"running, with version 3?",
			name, host);
		return FALSE;
	}
	return TRUE;
}

static gsize length_without_slash(const char *path)
{
	gsize length = strlen(path);

	while (length > 0 && path[length - 1] == '/')
		length--;
	return length;
}

const char *nfs_mount_longest(const GPtrArray *exports, const char *path)
{
	const char *best = NULL;
	gsize best_length = 0;

	for (guint i = 0; i < exports->len; i++) {
		const char *export = g_ptr_array_index(exports, i);
		gsize length = length_without_slash(export);

		if (strncmp(path, export, length) != 0 || (path[length] && path[length] != '/'))
			continue;
		if (!best || length > best_length) {
			best = export;
			best_length = length;
		}
	}
	return best;
}

static gboolean mount_one(struct nfs_link *link, const char *export, struct nfs_object *root,
			  GError **error)
{
	g_autofree char *what = g_strdup_printf("mount the export %s", export);
	g_autofree char *path = g_strdup(export);
	struct nfs_call call = {.what = what,
				.issue = issue_mnt,
				.arguments = path,
				.take = take_root,
				.into = root};

	return nfs_link_call(link, &call, error);
}

/* @export, which is a prefix of @path, is mounted: what is left of the path. */
static char *path_below(const char *path, const char *export)
{
	const char *below = path + length_without_slash(export);

	while (*below == '/')
		below++;
	return g_strdup(below);
}

/*
 * A server may export more than it lists: every folder from the path upwards is tried.
 * The answer for @nearest (taken over; NULL: the first that is tried) is the one to
 * report.
 */
static gboolean mount_upwards(struct nfs_session *session, struct nfs_link *link,
			      const struct url *url, GError *nearest, GError **error)
{
	g_autofree char *export =
		url->is_place ? g_strdup(url->path) : g_path_get_dirname(url->path);

	for (;;) {
		if (mount_one(link, export, &session->root, nearest ? NULL : &nearest)) {
			g_clear_error(&nearest);
			session->below = path_below(url->path, export);
			return TRUE;
		}
		if (!link->rpc || strcmp(export, "/") == 0)
			break;
		char *parent = g_path_get_dirname(export);
		g_free(export);
		export = parent;
	}
	/* A folder that is no export is no missing image, whatever MOUNT calls it. */
	if (link->rpc)
		nearest->code = BLOCKMIG_ERROR_PERMANENT;
	g_propagate_error(error, nearest);
	return FALSE;
}

gboolean nfs_mount_export(struct nfs_session *session, const struct url *url,
			  const struct address *address, guint stall_ms, GError **error)
{
	struct nfs_link_owner owner = {.uid = url->uid, .gid = url->gid};
	g_autoptr(GPtrArray) exports = g_ptr_array_new_with_free_func(g_free);
	struct nfs_call list = {.what = "list the exports",
				.plain = TRUE,
				.issue = issue_export,
				.take = take_exports,
				.into = exports};
	guint32 port = (guint32)url->mountport;
	GError *refused = NULL;
	const char *listed;

	if (!port && !find_port(session->name, address->host, &owner, stall_ms, &port, error))
		return FALSE;
	AUTO(nfs_link) link = nfs_link_open(session->name, "MOUNT", address->host, (int)port,
					    &owner, stall_ms, error);
	if (!link || !nfs_link_call(link, &list, error))
		return FALSE;
	listed = nfs_mount_longest(exports, url->path);
	if (listed && mount_one(link, listed, &session->root, &refused)) {
		session->below = path_below(url->path, listed);
		return TRUE;
	}
	if (!link->rpc) {
		g_propagate_error(error, refused);
		return FALSE;
	}
	return mount_upwards(session, link, url, refused, error);
}
