/*
 * What is to be known of one disk.
 */
#include "blockmig/evacuate/load_private.h"

#include "blockmig/move/preflight.h"
#include "blockmig/vm/image_tool.h"
#include "common/units.h"
#include "transports/transport.h"

#include <string.h>

/* The begin of a qcow2 header, big-endian (QEMU's docs/interop/qcow2.txt). */
struct qcow2_header {
	char magic[4];
	guint32 version;
	guint64 backing_offset;
	guint32 backing_bytes, cluster_bits;
	guint64 virtual_bytes;
};
enum { BACKING_NAME_MAX = 1023 };

static gboolean read_header(struct handle *handle, struct qcow2_header *header)
{
	return handle->size_bytes >= sizeof(*header) &&
	       handle_read(handle, header, sizeof(*header), 0, NULL) &&
	       memcmp(header->magic, "QFI\xfb", sizeof(header->magic)) == 0;
}

/* The backing file's name; NULL for none. */
static char *read_backing_name(struct handle *handle)
{
	struct qcow2_header header;
	guint32 bytes = read_header(handle, &header) ? GUINT32_FROM_BE(header.backing_bytes) : 0;
	guint64 offset = bytes ? GUINT64_FROM_BE(header.backing_offset) : 0;
	g_autofree char *name = g_malloc0(BACKING_NAME_MAX + 1);

	if (!offset || bytes > BACKING_NAME_MAX || offset > handle->size_bytes - bytes ||
	    !handle_read(handle, name, bytes, offset, NULL))
		return NULL;
	return g_steal_pointer(&name);
}

struct source *load_backing(const struct loader *loader, const struct layer *layer)
{
	int lun;
	const struct inventory_store *store = store_of_source(loader, &layer->source, &lun);
	AUTO(place) place = NULL;
	g_autofree char *name = NULL, *folder = NULL, *path = NULL;

	if (g_strcmp0(layer->format, "qcow2") != 0 || layer->source.type != SOURCE_FILE ||
	    (store && store->unreachable))
		return NULL;
	place = place_of_source(loader->context->config, &layer->source, NULL);
	/* Nobody waits for a server that has nothing to do with it. */
	if (!place || (!store && place->url->scheme != URL_FILE))
		return NULL;
	AUTO(handle) handle = handle_open(place->url, place->transport, HANDLE_READ, NULL);

	name = handle ? read_backing_name(handle) : NULL;
	/* "json:{…}" and "nfs://…" are none of those that blockmig, or libvirt, writes. */
	if (!name || strchr(name, ':'))
		return NULL;
	folder = g_path_get_dirname(layer->source.path);
	path = g_canonicalize_filename(name, folder);
	return source_new(SOURCE_FILE, path);
}

void load_sizes(const struct loader *loader, const struct layer *layer, struct inventory_disk *disk)
{
	AUTO(place) place = place_of_source(loader->context->config, &layer->source, NULL);
	AUTO(handle)
	handle = place ? handle_open(place->url, place->transport, HANDLE_READ, NULL) : NULL;
	struct qcow2_header header;
	struct image_info info;

	disk->format = g_strdup(layer->format);
	if (!handle || !handle_describe(handle, &info, NULL))
		return;
	disk->virtual_bytes =
		layer->source.slice_bytes ? layer->source.slice_bytes : info.size_bytes;
	if (g_strcmp0(layer->format, "qcow2") == 0)
		disk->virtual_bytes =
			read_header(handle, &header) ? GUINT64_FROM_BE(header.virtual_bytes) : 0;
	disk->allocated_bytes = info.allocated_bytes == INVENTORY_UNKNOWN ? disk->virtual_bytes
									  : info.allocated_bytes;
}

void load_findings(const struct loader *loader, struct inventory_disk *disk)
{
	g_autoptr(GError) failure = NULL;
	AUTO(preflight)
	preflight =
		preflight_of_source(loader->context, disk->domain->uuid, disk->target, &failure);
	const struct job *job;

	disk->virtual_bytes = INVENTORY_UNKNOWN;
	if (!preflight) {
		disk->obstacle = g_strdup(failure->message);
		return;
	}
	job = preflight->job;
	disk->obstacle = preflight_obstacles(preflight);
	if (job->source) {
		g_free(disk->format);
		disk->format = g_strdup(job->source->format);
	}
	if (job->virtual_bytes)
		disk->virtual_bytes = job->virtual_bytes;
	disk->allocated_bytes = preflight->source_allocated == INVENTORY_UNKNOWN
					? job->virtual_bytes
					: preflight->source_allocated;
	if (preflight->has_snapshots)
		disk->lun_obstacle = g_strdup("the image has internal snapshots or bitmaps, which "
					      "a LUN has no place for");
}
