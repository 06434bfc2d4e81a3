#include "blockmig/copy/compare.h"

#include "blockmig/copy/reader.h"
#include "common/error.h"

#include <string.h>

enum { PROGRESS_US = G_USEC_PER_SEC / 5 };

/* One side: an image that is read, or a finished pass. */
struct side {
	struct reader *reader; /* NULL: the pass */
	struct ledger *ledger;
	gint64 pass;
	struct reader_run run; /* what is left of the last one */
	struct manifest_root *root;
};

struct comparison {
	struct reader_spec spec; /* of side a */
	struct side a, b;
	guint64 next; /* the first unit that is not compared */
	struct compare_totals *totals;
	guint64 bytes_total;
	void (*progress)(const struct copy_progress *progress, void *data);
	void *progress_data;
	gint64 progress_us;
};

/* ---- the two sides ---------------------------------------------------------------------- */

/* Zeros share a row; the last chunk is shorter than the others and a run of its own. */
static guint64 equal_lengths(const struct reader_spec *spec, guint64 index, guint64 count)
{
	if (count > 1 &&
	    reader_unit_bytes(spec, index + count - 1) != reader_unit_bytes(spec, index))
		return count - 1;
	return count;
}

static gboolean next_of_pass(const struct comparison *comparison, struct side *side, GError **error)
{
	const guint64 index = comparison->next;
	struct reader_run *run = &side->run;
	struct ledger_unit unit;

	if (!ledger_unit_get(side->ledger, side->pass, index, &unit, error))
		return FALSE;
	if (unit.state < UNIT_DONE) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "pass %" G_GINT64_FORMAT ": chunk %" G_GUINT64_FORMAT
			    " is not done, so there is no manifest to compare with",
			    side->pass, index);
		return FALSE;
	}
	memset(run, 0, sizeof *run);
	run->index = index;
	run->count = equal_lengths(&comparison->spec, index, unit.index + unit.count - index);
	run->is_zero = unit.is_zero;
	run->digest = unit.digest;
	if (unit.is_zero)
		digest_zeros(reader_unit_bytes(&comparison->spec, index), &run->digest);
	return TRUE;
}

static gboolean side_fill(const struct comparison *comparison, struct side *side, GError **error)
{
	if (side->run.count)
		return TRUE;
	if (side->reader)
		return reader_next(side->reader, &side->run, error);
	return next_of_pass(comparison, side, error);
}

static void side_take(struct side *side, guint64 count)
{
	manifest_root_add(side->root, &side->run.digest, count);
	side->run.count -= count;
}

/* ---- the verdict -------------------------------------------------------------------------- */

static gboolean read_unit(struct copy_end *end, const struct comparison *comparison, void *buffer)
{
	struct endpoint endpoint = {.end = end, .mode = HANDLE_READ};
	const guint64 position =
		end->offset_bytes + reader_unit_offset(&comparison->spec, comparison->next);
	const gboolean ok =
		endpoint_open(&endpoint, NULL) &&
		handle_read(endpoint.handle, buffer,
			    reader_unit_bytes(&comparison->spec, comparison->next), position, NULL);

	endpoint_drop(&endpoint);
	return ok;
}

/* The first byte of the unit that differs; 0 where it cannot be found any more. */
static guint64 first_difference(const struct comparison *comparison, struct copy_end *other)
{
	const guint64 count = reader_unit_bytes(&comparison->spec, comparison->next);
	guint8 *ours = transport_buffer_new(count), *theirs = transport_buffer_new(count);
	guint64 at = 0;

	if (read_unit(comparison->spec.end, comparison, ours) &&
	    read_unit(other, comparison, theirs)) {
		while (at < count && ours[at] == theirs[at])
			at++;
	}
	transport_buffer_free(ours);
	transport_buffer_free(theirs);
	return at < count ? at : 0;
}

/* @other: the other image; NULL: a manifest, which knows chunks only. */
static void set_different(const struct comparison *comparison, struct copy_end *other,
			  GError **error)
{
	const guint64 offset_bytes = reader_unit_offset(&comparison->spec, comparison->next);
	g_autofree char *name = url_format(comparison->spec.end->url);
	g_autofree char *other_name =
		other ? url_format(other->url) : g_strdup("what was copied (the job's manifest)");
	g_autofree char *digest = digest_hex(&comparison->a.run.digest);
	g_autofree char *other_digest = digest_hex(&comparison->b.run.digest);

	if (digest_equal(&comparison->a.run.digest, &comparison->b.run.digest)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_INTEGRITY,
			    "%s and %s: in the chunk at offset %" G_GUINT64_FORMAT
			    " they leave different parts to the layers below",
			    name, other_name, offset_bytes);
		return;
	}
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_INTEGRITY,
		    "%s differs from %s at offset %" G_GUINT64_FORMAT
		    " (SHA-256 of chunk %" G_GUINT64_FORMAT ": %s, %s)",
		    name, other_name,
		    offset_bytes + (other ? first_difference(comparison, other) : 0),
		    comparison->next, digest, other_digest);
}

static void show_progress(struct comparison *comparison)
{
	const struct copy_progress progress = {
		.bytes_total = comparison->bytes_total,
		.bytes_done = comparison->totals->bytes_compared,
		.bytes_proven = comparison->totals->bytes_compared,
	};

	if (!comparison->progress || g_get_monotonic_time() < comparison->progress_us)
		return;
	comparison->progress(&progress, comparison->progress_data);
	comparison->progress_us = g_get_monotonic_time() + PROGRESS_US;
}

static gboolean compare_next(struct comparison *comparison, struct copy_end *other, GError **error)
{
	struct side *a = &comparison->a, *b = &comparison->b;
	guint64 count;

	if (!side_fill(comparison, a, error) || !side_fill(comparison, b, error))
		return FALSE;
	if (!digest_equal(&a->run.digest, &b->run.digest) ||
	    !digest_equal(&a->run.unallocated, &b->run.unallocated)) {
		set_different(comparison, other, error);
		return FALSE;
	}
	count = MIN(a->run.count, b->run.count);
	comparison->totals->bytes_compared +=
		count * reader_unit_bytes(&comparison->spec, comparison->next);
	comparison->totals->chunks_equal += count;
	comparison->next += count;
	side_take(a, count);
	side_take(b, count);
	show_progress(comparison);
	return TRUE;
}

static void comparison_begin(struct comparison *comparison, const struct reader_spec *other)
{
	comparison->next = 0;
	memset(comparison->totals, 0, sizeof *comparison->totals);
	comparison->totals->chunks_total = comparison->spec.units;
	comparison->a.reader = reader_start(&comparison->spec);
	comparison->b.reader = other ? reader_start(other) : NULL;
	comparison->a.root = manifest_root_new();
	comparison->b.root = manifest_root_new();
}

static void side_end(struct side *side, struct digest *root)
{
	reader_free(side->reader);
	side->run.count = 0;
	manifest_root_finish(side->root, root);
	manifest_root_free(side->root);
}

static gboolean side_is_misled(const struct side *side)
{
	return side->reader && reader_misled(side->reader);
}

/* *misled: equal, as far as zeros go that a report told of which was refuted later. */
static gboolean compare_once(struct comparison *comparison, const struct reader_spec *other,
			     gboolean *misled, GError **error)
{
	struct compare_totals *totals = comparison->totals;
	gboolean equal = TRUE;

	comparison_begin(comparison, other);
	while (equal && comparison->next < comparison->spec.units)
		equal = compare_next(comparison, other ? other->end : NULL, error);
	*misled = equal && (side_is_misled(&comparison->a) || side_is_misled(&comparison->b));
	if (equal && !*misled) {
		comparison->progress_us = 0;
		show_progress(comparison);
	}
	side_end(&comparison->a, &totals->root_a);
	side_end(&comparison->b, &totals->root_b);
	return equal;
}

/* @other: of side b; NULL: that is a pass. */
static gboolean compare_all(struct comparison *comparison, const struct reader_spec *other,
			    GError **error)
{
	gboolean equal, misled;

	for (guint64 i = 0; i < comparison->spec.units; i++)
		comparison->bytes_total += reader_unit_bytes(&comparison->spec, i);
	do
		equal = compare_once(comparison, other, &misled, error);
	while (misled);
	return equal;
}

gboolean compare_images(struct copy_end *a, struct copy_end *b, guint64 content_bytes,
			guint64 unit_bytes, const struct copy_range *ranges, guint64 range_count,
			guint64 retry_for_ms,
			void (*progress)(const struct copy_progress *progress, void *data),
			void *progress_data, struct compare_totals *totals, GError **error)
{
	struct comparison comparison = {
		.spec = {.end = a,
			 .content_bytes = content_bytes,
			 .unit_bytes = unit_bytes,
			 .ranges = ranges,
			 .units = ranges ? range_count : copy_units(content_bytes, unit_bytes),
			 .retry_for_ms = retry_for_ms},
		.totals = totals,
		.progress = progress,
		.progress_data = progress_data,
	};
	struct reader_spec other = comparison.spec;

	other.end = b;
	return compare_all(&comparison, &other, error);
}

gboolean compare_manifest(struct ledger *ledger, gint64 pass, struct copy_end *image,
			  guint64 content_bytes, guint64 unit_bytes, guint64 retry_for_ms,
			  void (*progress)(const struct copy_progress *progress, void *data),
			  void *progress_data, struct compare_totals *totals, GError **error)
{
	struct comparison comparison = {
		.spec = {.end = image,
			 .content_bytes = content_bytes,
			 .unit_bytes = unit_bytes,
			 .units = copy_units(content_bytes, unit_bytes),
			 .retry_for_ms = retry_for_ms},
		.b = {.ledger = ledger, .pass = pass},
		.totals = totals,
		.progress = progress,
		.progress_data = progress_data,
	};

	return compare_all(&comparison, NULL, error);
}
