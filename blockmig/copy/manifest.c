#include "blockmig/copy/engine.h"

#include "common/error.h"

/* The rows of a pass, which must cover its units without a gap. */
struct walk {
	struct manifest_root *root;
	guint64 content_bytes, unit_bytes, units;
	guint64 next;
};

static void add_zeros(struct walk *walk, const struct ledger_unit *unit)
{
	const guint64 end = unit->index + unit->count;
	const guint64 tail_bytes = walk->content_bytes % walk->unit_bytes;
	const gboolean has_tail = end == walk->units && tail_bytes;
	struct digest digest;

	digest_zeros(walk->unit_bytes, &digest);
	manifest_root_add(walk->root, &digest, unit->count - (has_tail ? 1 : 0));
	if (has_tail) {
		digest_zeros(tail_bytes, &digest);
		manifest_root_add(walk->root, &digest, 1);
	}
}

static gboolean add_row(const struct ledger_unit *unit, void *data)
{
	struct walk *walk = data;

	if (unit->index != walk->next || unit->state < UNIT_DONE ||
	    unit->count > walk->units - unit->index)
		return FALSE;
	walk->next += unit->count;
	if (unit->is_zero)
		add_zeros(walk, unit);
	else
		manifest_root_add(walk->root, &unit->digest, 1);
	return TRUE;
}

gboolean copy_root(struct ledger *ledger, gint64 pass, guint64 content_bytes, guint64 unit_bytes,
		   struct digest *root, GError **error)
{
	AUTO(manifest_root) manifest = manifest_root_new();
	struct walk walk = {.root = manifest,
			    .content_bytes = content_bytes,
			    .unit_bytes = unit_bytes,
			    .units = copy_units(content_bytes, unit_bytes)};

	if (!ledger_units_each(ledger, pass, add_row, &walk, error))
		return FALSE;
	if (walk.next != walk.units) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "pass %" G_GINT64_FORMAT ": the manifest is not complete: chunk "
			    "%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " is not done",
			    pass, walk.next, walk.units);
		return FALSE;
	}
	manifest_root_finish(manifest, root);
	return TRUE;
}
