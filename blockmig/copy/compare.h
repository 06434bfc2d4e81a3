/*
 * Compares two images of equal content size chunk by chunk, or one image with the
 * manifest of a pass.
 */
#ifndef COPY_COMPARE_H
#define COPY_COMPARE_H

#include "blockmig/copy/engine.h"

struct compare_totals {
	guint64 bytes_compared;
	guint64 chunks_total;
	guint64 chunks_equal;
	struct digest root_a, root_b;
};

/*
 * Compares everything; on a difference returns FALSE with INTEGRITY, whose text names
 * the first differing offset.  What one layer leaves to the layers below it
 * (EXTENT_UNKNOWN) must be left to them by the other one too.  @ranges as in copy_spec (NULL:
 * everything).
 */
gboolean compare_images(struct copy_end *a, struct copy_end *b, guint64 content_bytes,
			guint64 unit_bytes, const struct copy_range *ranges, guint64 range_count,
			guint64 retry_for_ms,
			void (*progress)(const struct copy_progress *progress, void *data),
			void *progress_data, struct compare_totals *totals, GError **error);

/* Compares an image with the digests of a finished pass over its whole content. */
gboolean compare_manifest(struct ledger *ledger, gint64 pass, struct copy_end *image,
			  guint64 content_bytes, guint64 unit_bytes, guint64 retry_for_ms,
			  void (*progress)(const struct copy_progress *progress, void *data),
			  void *progress_data, struct compare_totals *totals, GError **error);

#endif
