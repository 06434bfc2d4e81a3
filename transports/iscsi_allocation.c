#include "transports/iscsi_allocation.h"

#include "common/error.h"
#include "common/units.h"

enum {
	STATUS_DESCRIPTORS = 256,
	STATUS_HEADER_BYTES = 8,
	STATUS_DESCRIPTOR_BYTES = 16,

	/* Of 4 MiB each as much as costs little more than the way there and back. */
	SAMPLE_BYTES = 64 * 1024,
	SAMPLE_EVERY_BYTES = 4 * 1024 * 1024,
	SAMPLES_MOST = 64,
};

/* ---- what was refuted ----------------------------------------------------------- */

static GMutex mutex;
static GHashTable *refuted; /* names of LUNs */

static const char *name_of(const struct iscsi_image *image)
{
	return *image->disk.identity ? image->disk.identity : image->base.name;
}

static void refute(const struct iscsi_image *image)
{
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&mutex);

	if (!refuted)
		refuted = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_hash_table_add(refuted, g_strdup(name_of(image)));
}

static gboolean is_refuted(const struct iscsi_image *image)
{
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&mutex);

	return refuted && g_hash_table_contains(refuted, name_of(image));
}

/* What any handle of the LUN has found out. */
static void heed(struct iscsi_image *image)
{
	if (!image->knows_allocation || !is_refuted(image))
		return;
	image->knows_allocation = FALSE;
	image->base.holes_refuted = TRUE;
}

/* ---- the report ---------------------------------------------------------------- */

static void append_status(const struct iscsi_image *image, const guint8 *descriptor,
			  guint64 *offset, guint64 end, struct extents *extents)
{
	guint64 first = scsi_get_uint64(descriptor);
	gboolean unmapped = (descriptor[12] & 0x0f) == SCSI_PROVISIONING_TYPE_DEALLOCATED;

	/* Behind the end there is nothing to tell about, and no product to trust. */
	if (first >= image->disk.blocks)
		return;
	guint64 start = first * image->disk.block_bytes;
	guint64 stop = start + (guint64)scsi_get_uint32(descriptor + 8) * image->disk.block_bytes;

	stop = MIN(stop, end);
	if (start > *offset || stop <= *offset)
		return;
	extents_append(extents, *offset, stop - *offset, unmapped ? EXTENT_ZERO : EXTENT_DATA);
	*offset = stop;
}

/* One GET LBA STATUS; *supported says whether the target knows it. */
static gboolean append_allocation(struct iscsi_image *image, guint64 count, guint64 offset,
				  struct extents *extents, gboolean *supported, GError **error)
{
	guint8 answer[STATUS_HEADER_BYTES + STATUS_DESCRIPTORS * STATUS_DESCRIPTOR_BYTES] = {0};
	g_autofree char *what = g_strdup_printf("get LBA status at %" G_GUINT64_FORMAT, offset);
	struct iscsi_command command = {
		.what = what,
		.task = scsi_cdb_get_lba_status(offset / image->disk.block_bytes, sizeof(answer)),
		.buffer = answer,
		.bytes = sizeof(answer)};
	guint64 end = offset + count;
	GError *failure = NULL;

	*supported = TRUE;
	if (!iscsi_session_command(image->session, &command, &failure)) {
		*supported = !iscsi_command_unsupported(&command);
		if (*supported)
			g_propagate_error(error, failure);
		else
			g_error_free(failure);
		return !*supported;
	}
	gsize told = (gsize)scsi_get_uint32(answer) + 4;
	gsize bytes = MIN(MIN(told, command.transferred), sizeof(answer));
	for (gsize at = STATUS_HEADER_BYTES; at + STATUS_DESCRIPTOR_BYTES <= bytes;
	     at += STATUS_DESCRIPTOR_BYTES)
		append_status(image, answer + at, &offset, end, extents);
	return TRUE;
}

gboolean iscsi_allocation_probe(struct iscsi_image *image, GError **error)
{
	AUTO(extents) ignored = extents_new();

	if (image->disk.unmapped_is_zero &&
	    !append_allocation(image, image->disk.block_bytes, 0, ignored, &image->knows_allocation,
			       error))
		return FALSE;
	heed(image);
	return TRUE;
}

/* What the target's cache holds may not count as mapped yet: it goes to the disk first. */
static gboolean settle(struct iscsi_image *image, GError **error)
{
	GError *failure = NULL;

	if (image->is_settled)
		return TRUE;
	image->is_settled = TRUE;
	if (iscsi_image_flush(image, &failure))
		return TRUE;
	if (error_is_transient(failure)) {
		g_propagate_error(error, failure);
		return FALSE;
	}
	g_error_free(failure);
	image->knows_allocation = FALSE;
	return TRUE;
}

/* ---- the sample ---------------------------------------------------------------- */

/* The piece of zeros, counted among them alone, that byte @at of them lies in. */
static void find_sample(const struct extents *extents, guint64 at, guint32 block_bytes,
			struct extent *sample)
{
	for (guint i = 0; i < extents_count(extents); i++) {
		const struct extent *extent = extents_get(extents, i);

		if (extent->kind != EXTENT_ZERO)
			continue;
		if (at < extent->length_bytes) {
			at -= at % block_bytes;
			sample->offset_bytes = extent->offset_bytes + at;
			sample->length_bytes =
				MIN(extent->length_bytes - at, (guint64)SAMPLE_BYTES);
			return;
		}
		at -= extent->length_bytes;
	}
}

/* Reads one piece in each of so many equal parts of what is called zeros. */
static gboolean read_samples(struct iscsi_image *image, const struct extents *reported,
			     void *buffer, gboolean *all_zero, GError **error)
{
	const guint64 zero_bytes = extents_bytes(reported, EXTENT_ZERO);
	const guint64 parts = CLAMP(zero_bytes / SAMPLE_EVERY_BYTES, 1, (guint64)SAMPLES_MOST);
	const guint64 part_bytes = zero_bytes / parts;

	*all_zero = TRUE;
	for (guint64 i = 0; i < parts && zero_bytes && *all_zero; i++) {
		const guint64 at =
			i * part_bytes + (guint64)(g_random_double() * (double)part_bytes);
		struct extent sample = {0};

		find_sample(reported, at, image->disk.block_bytes, &sample);
		if (!iscsi_image_read(image, buffer, sample.length_bytes, sample.offset_bytes,
				      error))
			return FALSE;
		*all_zero = buffer_is_zero(buffer, sample.length_bytes);
	}
	return TRUE;
}

/* Refutes the target where the sample does not agree. */
static gboolean check_sample(struct iscsi_image *image, const struct extents *reported,
			     GError **error)
{
	void *buffer = transport_buffer_new(SAMPLE_BYTES);
	gboolean all_zero;
	const gboolean good = read_samples(image, reported, buffer, &all_zero, error);

	if (good && !all_zero)
		refute(image);
	transport_buffer_free(buffer);
	return good;
}

gboolean iscsi_allocation_extents(struct iscsi_image *image, guint64 count, guint64 offset,
				  struct extents *extents, GError **error)
{
	heed(image);
	if (image->knows_allocation && !settle(image, error))
		return FALSE;
	if (!image->knows_allocation)
		return TRUE;
	if (!append_allocation(image, count, offset, extents, &image->knows_allocation, error) ||
	    !check_sample(image, extents, error))
		return FALSE;
	heed(image);
	return TRUE;
}
