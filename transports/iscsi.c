/*
 * The iSCSI transport: one LUN, one session (transports/iscsi_login.h), commands of
 * SBC with 16 bytes.
 *
 * Zeros: WRITE SAME(16), with UNMAP where unmapped blocks read as zeros.  UNMAP alone
 * is never used: a target may ignore it (SBC-3, 4.7.3.4), and the old data stays.
 */
#include "common/error.h"
#include "common/units.h"
#include "transports/iscsi_allocation.h"

#include <string.h>

enum {
	PIECE_BYTES = 512 * 1024,
	WRITE_SAME_MOST_BYTES = 64 * 1024 * 1024,
	LUN_BYTES = 8,
	LUNS_MOST = 2048,
};

static struct iscsi_image *image_of(struct handle *handle)
{
	return (struct iscsi_image *)handle;
}

/* ---- open, close, describe ---------------------------------------------------- */

static void close_image(struct handle *handle)
{
	struct iscsi_image *image = image_of(handle);

	g_clear_pointer(&image->session, iscsi_session_close);
	g_free(image->base.name);
	g_free(image);
}

static gboolean learn(struct iscsi_image *image, GError **error)
{
	const struct iscsi_disk *disk = &image->disk;
	guint64 most = PIECE_BYTES;

	if (!iscsi_disk_probe(image->session, &image->disk, error))
		return FALSE;
	if (disk->transfer_blocks)
		most = MIN(most, disk->transfer_blocks * disk->block_bytes);
	image->piece_bytes = (guint32)most;
	image->base.block_bytes = disk->block_bytes;
	image->base.size_bytes = disk->blocks * disk->block_bytes;
	return iscsi_allocation_probe(image, error);
}

static gboolean open_image(const struct url *url, const struct transport_config *config,
			   enum handle_mode mode, struct handle **handle, GError **error)
{
	struct iscsi_image *image = g_new0(struct iscsi_image, 1);

	image->base.transport = &transport_iscsi;
	image->base.mode = mode;
	image->base.name = url_format(url);
	image->session = iscsi_session_open(url, url->lun, config, error);
	if (!image->session || !learn(image, error)) {
		close_image(&image->base);
		return FALSE;
	}
	*handle = &image->base;
	return TRUE;
}

static gboolean describe_image(struct handle *handle, struct image_info *info, GError **error)
{
	struct iscsi_image *image = image_of(handle);
	struct iscsi_disk now = {0};

	if (!iscsi_disk_capacity(image->session, &now, error))
		return FALSE;
	info->size_bytes = now.blocks * now.block_bytes;
	info->allocated_bytes = G_MAXUINT64;
	info->block_bytes = now.block_bytes;
	info->is_device = TRUE;
	info->extents_trusted = image->knows_allocation;
	info->zero_deallocates = image->disk.can_unmap_same && !image->no_write_same;
	g_strlcpy(info->identity, image->disk.identity, sizeof(info->identity));
	return TRUE;
}

/* ---- data --------------------------------------------------------------------- */

static gssize read_image(struct handle *handle, void *buffer, gsize count, guint64 offset,
			 GError **error)
{
	return iscsi_image_read(image_of(handle), buffer, count, offset, error) ? (gssize)count
										: -1;
}

static gssize write_image(struct handle *handle, const void *buffer, gsize count, guint64 offset,
			  GError **error)
{
	return iscsi_image_write(image_of(handle), buffer, count, offset, error) ? (gssize)count
										 : -1;
}

static gboolean write_same(struct iscsi_image *image, guint64 count, guint64 offset,
			   gboolean *unsupported, GError **error)
{
	g_autofree void *zeros = g_malloc0(image->disk.block_bytes);
	g_autofree char *what = g_strdup_printf("write zeros (WRITE SAME) to %" G_GUINT64_FORMAT
						" bytes at %" G_GUINT64_FORMAT,
						count, offset);
	guint32 block_bytes = image->disk.block_bytes;
	struct iscsi_command command = {
		.what = what,
		.task = scsi_cdb_writesame16(0, 0, image->disk.can_unmap_same, offset / block_bytes,
					     0, (guint32)(count / block_bytes), block_bytes),
		.buffer = zeros,
		.bytes = block_bytes};

	if (iscsi_session_command(image->session, &command, error))
		return TRUE;
	*unsupported = iscsi_command_unsupported(&command);
	return FALSE;
}

static gboolean zero_image(struct handle *handle, guint64 count, guint64 offset,
			   gboolean *unsupported, GError **error)
{
	struct iscsi_image *image = image_of(handle);
	guint64 most = WRITE_SAME_MOST_BYTES;

	/* Never a product that wraps around: WRITE SAME of no blocks is one of all behind. */
	if (image->disk.write_same_blocks)
		most = MIN(most / image->disk.block_bytes, image->disk.write_same_blocks) *
		       image->disk.block_bytes;
	*unsupported = image->no_write_same;
	while (count > 0 && !*unsupported) {
		guint64 part = MIN(count, most);

		if (!write_same(image, part, offset, unsupported, error))
			break;
		count -= part;
		offset += part;
	}
	image->no_write_same = *unsupported;
	return count == 0;
}

static gboolean flush_image(struct handle *handle, GError **error)
{
	return iscsi_image_flush(image_of(handle), error);
}

static gboolean image_extents(struct handle *handle, guint64 count, guint64 offset,
			      struct extents *extents, GError **error)
{
	return iscsi_allocation_extents(image_of(handle), count, offset, extents, error);
}

/* ---- the target's LUNs -------------------------------------------------------- */

/* Peripheral and flat addressing (SAM-5, 4.7.7), which is what libiscsi speaks; or -1. */
static int lun_of(const guint8 *entry)
{
	guint method = entry[0] >> 6;

	return method <= 1 ? (entry[0] & 0x3f) << 8 | entry[1] : -1;
}

/* The LUNs in @answer that are disks: a target's controller has a LUN of its own. */
static GPtrArray *disks_among(struct iscsi_session *session, const guint8 *answer, gsize bytes,
			      GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

	for (gsize at = LUN_BYTES; at + LUN_BYTES <= bytes; at += LUN_BYTES) {
		GError *failure = NULL;

		session->lun = lun_of(answer + at);
		if (session->lun < 0)
			continue;
		if (iscsi_disk_require(session, &failure)) {
			g_ptr_array_add(names, g_strdup_printf("%d", session->lun));
			continue;
		}
		if (error_is_transient(failure)) {
			g_propagate_error(error, failure);
			return NULL;
		}
		g_error_free(failure);
	}
	return g_steal_pointer(&names);
}

static GPtrArray *list_luns(const struct url *place, const struct transport_config *config,
			    GError **error)
{
	gsize room = (LUNS_MOST + 1) * LUN_BYTES;
	g_autofree guint8 *answer = g_malloc0(room);
	AUTO(iscsi_session) session = iscsi_session_open(place, -1, config, error);

	if (!session)
		return NULL;
	struct iscsi_command command = {
		.what = "report LUNs",
		.task = scsi_reportluns_cdb(SCSI_REPORTLUNS_REPORT_ALL_LUNS, (int)room),
		.buffer = answer,
		.bytes = room};
	if (!iscsi_session_command(session, &command, error))
		return NULL;
	gsize told = (gsize)scsi_get_uint32(answer) + LUN_BYTES;
	return disks_among(session, answer, MIN(told, command.transferred), error);
}

const struct transport transport_iscsi = {
	.name = "iscsi",
	.open = open_image,
	.close = close_image,
	.describe = describe_image,
	.pread = read_image,
	.pwrite = write_image,
	.zero = zero_image,
	.flush = flush_image,
	.extents = image_extents,
	.list = list_luns,
};
