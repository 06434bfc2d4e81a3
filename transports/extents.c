#include "transports/extents.h"

struct extents *extents_new(void)
{
	struct extents *extents = g_new0(struct extents, 1);

	extents->list = g_array_new(FALSE, FALSE, sizeof(struct extent));
	return extents;
}

void extents_free(struct extents *extents)
{
	if (!extents)
		return;
	g_array_unref(extents->list);
	g_free(extents);
}

void extents_append(struct extents *extents, guint64 offset_bytes, guint64 length_bytes,
		    enum extent_kind kind)
{
	if (length_bytes == 0)
		return;
	g_assert(length_bytes <= G_MAXUINT64 - offset_bytes);

	if (extents->list->len > 0) {
		struct extent *last =
			&g_array_index(extents->list, struct extent, extents->list->len - 1);
		g_assert(last->offset_bytes + last->length_bytes == offset_bytes);
		if (last->kind == kind) {
			last->length_bytes += length_bytes;
			return;
		}
	}

	struct extent extent = {offset_bytes, length_bytes, kind};
	g_array_append_val(extents->list, extent);
}

guint extents_count(const struct extents *extents)
{
	return extents->list->len;
}

const struct extent *extents_get(const struct extents *extents, guint index)
{
	g_assert(index < extents->list->len);
	return &g_array_index(extents->list, struct extent, index);
}

guint64 extents_bytes(const struct extents *extents, enum extent_kind kind)
{
	guint64 bytes = 0;

	for (guint i = 0; i < extents_count(extents); i++) {
		const struct extent *extent = extents_get(extents, i);
		if (extent->kind == kind)
			bytes += extent->length_bytes;
	}
	return bytes;
}
