#include "transports/iscsi_disk.h"

#include "common/error.h"

#include <string.h>

enum {
	PAGE_BYTES = 1024,
	PAGE_HEADER_BYTES = 4,
	DESIGNATOR_HEADER_BYTES = 4,
	BLOCK_LIMITS_BYTES = 44,
	CAPACITY_BYTES = 32,
	MAX_WRITE_SAME_AT = 36,
	MAX_TRANSFER_AT = 8,
	BLOCK_MOST_BYTES = 4096, /* TRANSPORT_ALIGN */
};

/* The page's bytes, as many as there are; FALSE with no error where there is no such page. */
static gboolean read_page(struct iscsi_session *session, int code, guint8 *page, gsize *bytes,
			  GError **error)
{
	g_autofree char *what = g_strdup_printf("read VPD page 0x%02x", (guint)code);
	struct iscsi_command command = {.what = what,
					.task = scsi_cdb_inquiry(1, code, PAGE_BYTES),
					.buffer = page,
					.bytes = PAGE_BYTES};
	GError *failure = NULL;

	*bytes = 0;
	memset(page, 0, PAGE_BYTES);
	if (iscsi_session_command(session, &command, &failure)) {
		gsize told = PAGE_HEADER_BYTES + ((gsize)page[2] << 8 | page[3]);

		*bytes = MIN(command.transferred, told);
		return TRUE;
	}
	if (iscsi_command_unsupported(&command))
		g_clear_error(&failure);
	else
		g_propagate_error(error, failure);
	return failure == NULL;
}

static int rank(int type)
{
	switch (type) {
	case SCSI_DESIGNATOR_TYPE_NAA:
		return 3;
	case SCSI_DESIGNATOR_TYPE_EUI_64:
		return 2;
	case SCSI_DESIGNATOR_TYPE_T10_VENDORT_ID:
		return 1;
	default:
		return 0;
	}
}

void iscsi_disk_identity(const guint8 *page, gsize bytes, char identity[IDENTITY_BYTES])
{
	gsize best_length = 0;
	int best = 0;

	identity[0] = '\0';
	for (gsize at = PAGE_HEADER_BYTES; at + DESIGNATOR_HEADER_BYTES <= bytes;) {
		const guint8 *designator = page + at;
		gsize length = designator[3];
		int type = designator[1] & 0x0f, association = (designator[1] >> 4) & 0x03;

		at += DESIGNATOR_HEADER_BYTES + length;
		if (at > bytes)
			break;
		if (association != SCSI_ASSOCIATION_LOGICAL_UNIT || rank(type) == 0 ||
		    rank(type) < best || (rank(type) == best && length <= best_length))
			continue;
		best = rank(type);
		best_length = length;
		g_autoptr(GString) text = g_string_new("scsi:");
		g_string_append_printf(text, "%d", type);
		for (gsize i = 0; i < length; i++)
			g_string_append_printf(text, "%02x",
					       designator[DESIGNATOR_HEADER_BYTES + i]);
		g_strlcpy(identity, text->str, IDENTITY_BYTES);
	}
}

gboolean iscsi_disk_capacity(struct iscsi_session *session, struct iscsi_disk *disk, GError **error)
{
	guint8 answer[CAPACITY_BYTES] = {0};
	struct iscsi_command command = {.what = "read capacity",
					.task = scsi_cdb_readcapacity16(),
					.buffer = answer,
					.bytes = sizeof(answer)};
	guint32 block_bytes;

	if (!iscsi_session_command(session, &command, error))
		return FALSE;
	block_bytes = scsi_get_uint32(answer + 8);
	if (block_bytes < 512 || block_bytes > BLOCK_MOST_BYTES ||
	    (block_bytes & (block_bytes - 1)) != 0) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s: blocks of %u bytes; 512 to %d are supported", session->name,
			    block_bytes, BLOCK_MOST_BYTES);
		return FALSE;
	}
	if (scsi_get_uint64(answer) >= G_MAXINT64 / block_bytes) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s: a LUN whose last block is %" G_GUINT64_FORMAT
			    " is larger than any can be",
			    session->name, scsi_get_uint64(answer));
		return FALSE;
	}
	disk->blocks = scsi_get_uint64(answer) + 1;
	disk->block_bytes = block_bytes;
	disk->unmapped_is_zero = (answer[14] & 0x80) && (answer[14] & 0x40);
	return TRUE;
}

gboolean iscsi_disk_require(struct iscsi_session *session, GError **error)
{
	guint8 answer[PAGE_BYTES] = {0};
	struct iscsi_command command = {.what = "inquiry",
					.task = scsi_cdb_inquiry(0, 0, 255),
					.buffer = answer,
					.bytes = 255};

	if (!iscsi_session_command(session, &command, error))
		return FALSE;
	if (answer[0] >> 5 != 0) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_NOT_FOUND,
			    "%s: the target has no such LUN, or none for this initiator",
			    session->name);
		return FALSE;
	}
	if ((answer[0] & 0x1f) != SCSI_INQUIRY_PERIPHERAL_DEVICE_TYPE_DIRECT_ACCESS) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s: is no disk (SCSI device type 0x%02x)", session->name,
			    (guint)answer[0] & 0x1f);
		return FALSE;
	}
	return TRUE;
}

gboolean iscsi_disk_probe(struct iscsi_session *session, struct iscsi_disk *disk, GError **error)
{
	guint8 page[PAGE_BYTES];
	gsize bytes;

	if (!iscsi_disk_require(session, error) || !iscsi_disk_capacity(session, disk, error))
		return FALSE;
	if (!read_page(session, SCSI_INQUIRY_PAGECODE_DEVICE_IDENTIFICATION, page, &bytes, error))
		return FALSE;
	iscsi_disk_identity(page, bytes, disk->identity);
	if (!read_page(session, SCSI_INQUIRY_PAGECODE_BLOCK_LIMITS, page, &bytes, error))
		return FALSE;
	if (bytes >= MAX_TRANSFER_AT + 4)
		disk->transfer_blocks = scsi_get_uint32(page + MAX_TRANSFER_AT);
	if (bytes >= BLOCK_LIMITS_BYTES)
		disk->write_same_blocks = scsi_get_uint64(page + MAX_WRITE_SAME_AT);
	if (!read_page(session, SCSI_INQUIRY_PAGECODE_LOGICAL_BLOCK_PROVISIONING, page, &bytes,
		       error))
		return FALSE;
	disk->can_unmap_same = disk->unmapped_is_zero && bytes > 5 && (page[5] & 0x40);
	return TRUE;
}
