/*
 * The NFS transport: version 3, so that every write verifier is seen
 * (transports/nfs_image.h).  Names and attributes go through libnfs's raw calls, and no
 * library reconnects behind our back (transports/nfs_link.h); data goes past libnfs
 * (transports/nfs_wire.h).  Holes cannot be asked for in version 3.
 */
#include "common/error.h"
#include "common/units.h"
#include "transports/nfs_image.h"
#include "transports/nfs_place.h"

#include <string.h>

/* Measured: what a request costs the server beside its bytes shows below 1 MiB. */
enum { REQUEST_MOST_BYTES = 1024 * 1024, REQUEST_FALLBACK_BYTES = 32 * 1024 };

struct request_limits {
	guint32 read_bytes, write_bytes;
};

static struct nfs_image *image_of(struct handle *handle)
{
	return (struct nfs_image *)handle;
}

static int issue_fsinfo(struct rpc_context *rpc, rpc_cb callback, void *arguments, void *data)
{
	return rpc_nfs3_fsinfo_async(rpc, callback, arguments, data);
}

static guint32 request_bytes(u_int server_most)
{
	return server_most ? MIN(server_most, (u_int)REQUEST_MOST_BYTES) : REQUEST_FALLBACK_BYTES;
}

static void take_limits(const void *answer, void *into)
{
	const FSINFO3resok *info = &((const FSINFO3res *)answer)->FSINFO3res_u.resok;
	struct request_limits *limits = into;

	limits->read_bytes = request_bytes(info->rtmax);
	limits->write_bytes = request_bytes(info->wtmax);
}

static gboolean ask_limits(struct nfs_image *image, GError **error)
{
	FSINFO3args arguments = {.fsroot = nfs_object_handle(&image->session->root)};
	struct request_limits limits = {0};
	struct nfs_call call = {.what = "ask for the request sizes",
				.issue = issue_fsinfo,
				.arguments = &arguments,
				.take = take_limits,
				.into = &limits};

	if (!nfs_link_call(image->session->link, &call, error))
		return FALSE;
	image->read_bytes = limits.read_bytes;
	image->write_bytes = limits.write_bytes;
	return TRUE;
}

static void close_image(struct handle *handle)
{
	struct nfs_image *image = image_of(handle);

	g_clear_pointer(&image->wire, nfs_wire_free);
	g_clear_pointer(&image->session, nfs_session_close);
	g_free(image->base.name);
	g_free(image);
}

static gboolean require_file(const struct nfs_image *image, const fattr3 *facts, GError **error)
{
	if (facts->type == NF3REG)
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "%s: is %s, not a regular file", image->base.name,
		    facts->type == NF3DIR   ? "a directory"
		    : facts->type == NF3LNK ? "a symbolic link"
					    : "a special file");
	return FALSE;
}

static gboolean open_image(const struct url *url, const struct transport_config *config,
			   enum handle_mode mode, struct handle **handle, GError **error)
{
	struct nfs_image *image = g_new0(struct nfs_image, 1);
	fattr3 facts;

	image->base.transport = &transport_nfs;
	image->base.mode = mode;
	image->base.name = url_format(url);
	image->base.block_bytes = 1;
	image->session = nfs_session_open(url, config, error);
	if (!image->session || !nfs_session_find(image->session, &image->object, &facts, error) ||
	    !require_file(image, &facts, error) || !ask_limits(image, error)) {
		close_image(&image->base);
		return FALSE;
	}
	image->wire = nfs_wire_new(image->session->link);
	image->base.size_bytes = facts.size;
	*handle = &image->base;
	return TRUE;
}

static gboolean describe_image(struct handle *handle, struct image_info *info, GError **error)
{
	struct nfs_image *image = image_of(handle);
	fattr3 facts;

	if (!nfs_session_getattr(image->session, &image->object, &facts, error))
		return FALSE;
	info->size_bytes = facts.size;
	info->allocated_bytes = facts.used;
	info->changed_ns = (guint64)facts.ctime.seconds * NS_PER_S + facts.ctime.nseconds;
	info->block_bytes = image->base.block_bytes;
	g_snprintf(info->identity, sizeof(info->identity),
		   "nfs:%" G_GINT64_MODIFIER "x:%" G_GUINT64_FORMAT, facts.fsid, facts.fileid);
	return TRUE;
}

static gboolean resize_image(struct handle *handle, guint64 size_bytes, GError **error)
{
	struct nfs_image *image = image_of(handle);
	sattr3 wanted = {.size = {.set_it = 1, .set_size3_u = {.size = size_bytes}}};

	return nfs_session_setattr(image->session, &image->object, &wanted, error);
}

static gssize read_image(struct handle *handle, void *buffer, gsize count, guint64 offset,
			 GError **error)
{
	return nfs_image_read(image_of(handle), buffer, count, offset, error) ? (gssize)count : -1;
}

static gssize write_image(struct handle *handle, const void *buffer, gsize count, guint64 offset,
			  GError **error)
{
	return nfs_image_write(image_of(handle), buffer, count, offset, error) ? (gssize)count : -1;
}

static gboolean flush_image(struct handle *handle, GError **error)
{
	return nfs_image_commit(image_of(handle), error);
}

const struct transport transport_nfs = {
	.name = "nfs",
	.open = open_image,
	.close = close_image,
	.describe = describe_image,
	.resize = resize_image,
	.pread = read_image,
	.pwrite = write_image,
	.flush = flush_image,
	.create = nfs_place_create,
	.remove = nfs_place_remove,
	.space = nfs_place_space,
	.list = nfs_place_list,
};
