/*
 * What is to be known of one disk.
 */
#include "blockmig/evacuate/load_private.h"

#include "blockmig/move/preflight.h"
#include "blockmig/vm/image_tool.h"
#include "common/units.h"
#include "transports/transport.h"

#include <string.h>

/* The qcow2 header's magic, and where its virtual size stands (QEMU's docs/interop/qcow2.txt). */
enum { QCOW2_HEADER_BYTES = 32, QCOW2_SIZE_OFFSET = 24 };

static guint64 qcow2_virtual_bytes(struct handle *handle)
{
	guint8 header[QCOW2_HEADER_BYTES];
	guint64 size;

	if (handle->size_bytes < sizeof(header) ||
	    !handle_read(handle, header, sizeof(header), 0, NULL) ||
	    memcmp(header, "QFI\xfb", 4) != 0)
		return 0;
	memcpy(&size, header + QCOW2_SIZE_OFFSET, sizeof(size));
	return GUINT64_FROM_BE(size);
}

void load_sizes(const struct loader *loader, const struct layer *layer, struct inventory_disk *disk)
{
	AUTO(place) place = place_of_source(loader->context->config, &layer->source, NULL);
	AUTO(handle)
	handle = place ? handle_open(place->url, place->transport, HANDLE_READ, NULL) : NULL;
	struct image_info info;

	disk->format = g_strdup(layer->format);
	if (!handle || !handle_describe(handle, &info, NULL))
		return;
	disk->virtual_bytes =
		layer->source.slice_bytes ? layer->source.slice_bytes : info.size_bytes;
	if (g_strcmp0(layer->format, "qcow2") == 0)
		disk->virtual_bytes = qcow2_virtual_bytes(handle);
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
