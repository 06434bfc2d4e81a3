#include "blockmig/copy/qcow2.h"

#include "common/error.h"
#include "common/units.h"

#include <string.h>

/*
 * The file, in clusters: header, refcount table, refcount blocks, L1 table, L2 tables,
 * a gap up to the next MiB, and the guest's clusters.  Every table has its place whether
 * it is needed or not, so that a cluster's place follows from its number alone; those
 * that are not needed are never written and have no reference.
 */
enum {
	CLUSTER_BITS = 16,
	CLUSTER = 1 << CLUSTER_BITS,
	POINTERS = CLUSTER / 8, /* in a cluster of a refcount table, L1 or L2 table */
	COUNTS = CLUSTER / 2,	/* in a refcount block */
	HEADER_BYTES = 104,
};

#define COPIED (1ull << 63) /* the cluster's refcount is exactly one */

struct layout {
	guint64 virtual_bytes;
	guint64 data_clusters;
	guint64 table, table_clusters; /* first cluster, and how many */
	guint64 blocks, block_clusters;
	guint64 l1, l1_clusters;
	guint64 l2, l2_clusters;
	guint64 data; /* the guest's first cluster */
};

static guint64 clusters_for(guint64 count, guint64 per_cluster)
{
	return units_round_up(count, per_cluster) / per_cluster;
}

/* The refcounts count their own blocks too: grows until it fits. */
static void layout_init(struct layout *layout, guint64 virtual_bytes)
{
	guint64 blocks = 0;

	memset(layout, 0, sizeof *layout);
	layout->virtual_bytes = virtual_bytes;
	layout->data_clusters = clusters_for(virtual_bytes, CLUSTER);
	layout->l2_clusters = clusters_for(layout->data_clusters, POINTERS);
	layout->l1_clusters = MAX(clusters_for(layout->l2_clusters, POINTERS), 1);
	layout->table = 1;
	do {
		layout->block_clusters = blocks;
		layout->table_clusters = MAX(clusters_for(blocks, POINTERS), 1);
		layout->blocks = layout->table + layout->table_clusters;
		layout->l1 = layout->blocks + layout->block_clusters;
		layout->l2 = layout->l1 + layout->l1_clusters;
		layout->data = units_round_up(layout->l2 + layout->l2_clusters, MiB / CLUSTER);
		blocks = clusters_for(layout->data + layout->data_clusters, COUNTS);
	} while (blocks != layout->block_clusters);
}

guint64 qcow2_data_offset(guint64 virtual_bytes)
{
	struct layout layout;

	layout_init(&layout, virtual_bytes);
	return layout.data * CLUSTER;
}

guint64 qcow2_file_bytes(guint64 virtual_bytes)
{
	struct layout layout;

	layout_init(&layout, virtual_bytes);
	return (layout.data + layout.data_clusters) * CLUSTER;
}

/* ---- which of the guest's clusters are allocated ------------------------------------ */

/* The first extent that ends behind @offset_bytes; extents_count() where there is none. */
static guint extent_behind(const struct extents *extents, guint64 offset_bytes)
{
	guint low = 0, high = extents_count(extents);

	while (low < high) {
		const guint middle = low + (high - low) / 2;
		const struct extent *extent = extents_get(extents, middle);

		if (extent->offset_bytes + extent->length_bytes <= offset_bytes)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * The next run of allocated clusters at or behind *first and before @end: sets *first
 * and *last; FALSE where there is none.
 */
static gboolean next_allocated(const struct extents *extents, guint64 *first, guint64 end,
			       guint64 *last)
{
	if (*first >= end)
		return FALSE;
	for (guint i = extent_behind(extents, *first * CLUSTER); i < extents_count(extents); i++) {
		const struct extent *extent = extents_get(extents, i);

		if (extent->offset_bytes >= end * CLUSTER)
			return FALSE;
		if (extent->kind != EXTENT_DATA)
			continue;
		*first = MAX(*first, extent->offset_bytes / CLUSTER);
		*last = MIN(end - 1, (extent->offset_bytes + extent->length_bytes - 1) / CLUSTER);
		return TRUE;
	}
	return FALSE;
}

static gboolean l2_is_needed(const struct layout *layout, const struct extents *extents,
			     guint64 index)
{
	guint64 first = index * POINTERS, last;

	return index < layout->l2_clusters &&
	       next_allocated(extents, &first, first + POINTERS, &last);
}

/* The header's end of the file always has its refcounts; else what is counted decides. */
static gboolean block_is_needed(const struct layout *layout, const struct extents *extents,
				guint64 index)
{
	const guint64 from = index * COUNTS, to = from + COUNTS;
	guint64 first, last;

	if (index >= layout->block_clusters)
		return FALSE;
	if (from < layout->l2)
		return TRUE;
	for (guint64 i = from; i < MIN(to, layout->l2 + layout->l2_clusters); i++) {
		if (l2_is_needed(layout, extents, i - layout->l2))
			return TRUE;
	}
	first = MAX(from, layout->data) - layout->data;
	return to > layout->data && next_allocated(extents, &first, to - layout->data, &last);
}

/* ---- what each cluster of metadata holds ------------------------------------------------ */

static void put32(guint8 *at, guint32 value)
{
	value = GUINT32_TO_BE(value);
	memcpy(at, &value, sizeof value);
}

static void put64(guint8 *at, guint64 value)
{
	value = GUINT64_TO_BE(value);
	memcpy(at, &value, sizeof value);
}

/* docs/interop/qcow2.txt, "Header"; the bytes behind it end the list of extensions. */
static void make_header(const struct layout *layout, guint8 *cluster)
{
	put32(cluster, 0x514649fb); /* "QFI\xfb" */
	put32(cluster + 4, 3);
	put32(cluster + 20, CLUSTER_BITS);
	put64(cluster + 24, layout->virtual_bytes);
	put32(cluster + 36, (guint32)layout->l2_clusters);
	put64(cluster + 40, layout->l1 * CLUSTER);
	put64(cluster + 48, layout->table * CLUSTER);
	put32(cluster + 56, (guint32)layout->table_clusters);
	put32(cluster + 96, 4); /* refcounts of 2^4 bits */
	put32(cluster + 100, HEADER_BYTES);
}

static void make_table(const struct layout *layout, const struct extents *extents, guint64 index,
		       guint8 *cluster)
{
	for (guint i = 0; i < POINTERS; i++) {
		const guint64 block = index * POINTERS + i;

		if (block_is_needed(layout, extents, block))
			put64(cluster + 8 * i, (layout->blocks + block) * CLUSTER);
	}
}

static void make_l1(const struct layout *layout, const struct extents *extents, guint64 index,
		    guint8 *cluster)
{
	for (guint i = 0; i < POINTERS; i++) {
		const guint64 table = index * POINTERS + i;

		if (l2_is_needed(layout, extents, table))
			put64(cluster + 8 * i, (layout->l2 + table) * CLUSTER | COPIED);
	}
}

static void make_l2(const struct layout *layout, const struct extents *extents, guint64 index,
		    guint8 *cluster)
{
	const guint64 from = index * POINTERS, to = from + POINTERS;
	guint64 last;

	for (guint64 at = from; next_allocated(extents, &at, to, &last); at = last + 1) {
		for (guint64 i = at; i <= last; i++)
			put64(cluster + 8 * (i - from), (layout->data + i) * CLUSTER | COPIED);
	}
}

/* Whether a cluster in front of the guest's is referenced. */
static gboolean is_used(const struct layout *layout, const struct extents *extents, guint64 cluster)
{
	if (cluster < layout->blocks)
		return TRUE;
	if (cluster < layout->l1)
		return block_is_needed(layout, extents, cluster - layout->blocks);
	if (cluster < layout->l2)
		return TRUE;
	return l2_is_needed(layout, extents, cluster - layout->l2);
}

static void make_block(const struct layout *layout, const struct extents *extents, guint64 index,
		       guint8 *cluster)
{
	static const guint8 one[] = {0, 1};
	const guint64 from = index * COUNTS, to = from + COUNTS;
	guint64 at, last;

	for (at = from; at < MIN(to, layout->data); at++) {
		if (is_used(layout, extents, at))
			memcpy(cluster + 2 * (at - from), one, sizeof one);
	}
	if (to <= layout->data)
		return;
	for (at = MAX(from, layout->data) - layout->data;
	     next_allocated(extents, &at, to - layout->data, &last); at = last + 1) {
		for (guint64 i = at; i <= last; i++)
			memcpy(cluster + 2 * (layout->data + i - from), one, sizeof one);
	}
}

static void make_cluster(const struct layout *layout, const struct extents *extents, guint64 index,
			 guint8 *cluster)
{
	memset(cluster, 0, CLUSTER);
	if (index < layout->table)
		make_header(layout, cluster);
	else if (index < layout->blocks)
		make_table(layout, extents, index - layout->table, cluster);
	else if (index < layout->l1)
		make_block(layout, extents, index - layout->blocks, cluster);
	else if (index < layout->l2)
		make_l1(layout, extents, index - layout->l1, cluster);
	else
		make_l2(layout, extents, index - layout->l2, cluster);
}

/* ---- writing and proving ------------------------------------------------------------------- */

static gboolean write_clusters(struct handle *handle, const struct layout *layout,
			       const struct extents *extents, guint64 first, guint64 end,
			       guint8 *buffer, GError **error)
{
	for (guint64 i = first; i < end; i++) {
		if (!is_used(layout, extents, i))
			continue;
		make_cluster(layout, extents, i, buffer);
		if (!handle_write(handle, buffer, CLUSTER, i * CLUSTER, error))
			return FALSE;
	}
	return handle_flush(handle, error);
}

/* The header comes last: until all else is stable, nobody takes the file for an image. */
gboolean qcow2_finish(struct handle *handle, guint64 virtual_bytes, const struct extents *allocated,
		      GError **error)
{
	guint8 *buffer = transport_buffer_new(CLUSTER);
	struct layout layout;
	gboolean ok;

	layout_init(&layout, virtual_bytes);
	ok = write_clusters(handle, &layout, allocated, layout.table,
			    layout.l2 + layout.l2_clusters, buffer, error) &&
	     write_clusters(handle, &layout, allocated, 0, layout.table, buffer, error);
	transport_buffer_free(buffer);
	return ok;
}

static gboolean prove_cluster(struct handle *handle, guint64 index, const guint8 *expected,
			      guint8 *buffer, GError **error)
{
	if (!handle_read(handle, buffer, CLUSTER, index * CLUSTER, error))
		return FALSE;
	if (memcmp(buffer, expected, CLUSTER) == 0)
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_INTEGRITY,
		    "%s: the qcow2 metadata at offset %" G_GUINT64_FORMAT
		    " read back is not what was written",
		    handle->name, index * CLUSTER);
	return FALSE;
}

gboolean qcow2_prove(struct handle *handle, guint64 virtual_bytes, const struct extents *allocated,
		     GError **error)
{
	guint8 *buffer = transport_buffer_new(2 * CLUSTER);
	struct layout layout;
	gboolean ok = TRUE;

	layout_init(&layout, virtual_bytes);
	for (guint64 i = 0; ok && i < layout.l2 + layout.l2_clusters; i++) {
		if (!is_used(&layout, allocated, i))
			continue;
		make_cluster(&layout, allocated, i, buffer);
		ok = prove_cluster(handle, i, buffer, buffer + CLUSTER, error);
	}
	transport_buffer_free(buffer);
	return ok;
}
