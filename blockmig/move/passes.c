#include "blockmig/move/passes.h"

#include "blockmig/move/room.h"
#include "common/error.h"
#include "common/units.h"

struct told {
	struct move *move;
	const struct pass *pass;
};

static void progress(const struct copy_progress *now, void *data)
{
	const struct told *told = data;
	const struct move_reporter *reporter = told->move->context.reporter;

	if (reporter && reporter->progress)
		reporter->progress(told->move->job->id, told->pass->round ? "rounds" : "seed",
				   told->pass->round, now, reporter->data);
}

static void add_content(struct copy_totals *sum, const struct copy_totals *run)
{
	sum->bytes_total += run->bytes_total;
	sum->bytes_data += run->bytes_data;
	sum->bytes_skipped += run->bytes_skipped;
	sum->units_total += run->units_total;
	sum->units_proven += run->units_proven;
}

/*
 * What a pass holds counts once, when it is whole; what was sent counts as often as it was.
 * A run that met nobody knows nothing of what the one before it had reached.
 */
static void add_totals(struct job *job, const struct copy_totals *run, gboolean whole)
{
	job->totals.bytes_sent += run->bytes_sent;
	job->totals.bytes_resent += run->bytes_resent;
	job->totals.mismatches += run->mismatches;
	if (!run->planned && job->partial.units_total)
		return;
	job->partial = (struct copy_totals){0};
	add_content(whole ? &job->totals : &job->partial, run);
}

void pass_totals(const struct job *job, struct copy_totals *totals)
{
	*totals = job->totals;
	add_content(totals, &job->partial);
}

static gboolean watch(void *data, GError **error)
{
	move_follow_rate(data);
	return room_watch(data, error);
}

gboolean pass_run(struct move *move, const struct pass *pass, GError **error)
{
	struct job *job = move->job;
	struct told told = {move, pass};
	struct copy_end source = {pass->source, pass->source_config, pass->source_offset, "",
				  pass->source_path};
	struct copy_end destination = {pass->destination, move->destination->transport,
				       pass->destination_offset, "", NULL};
	struct copy_spec spec = {
		.ledger = move->context.ledger,
		.source = &source,
		.destination = &destination,
		.content_bytes = pass->content_bytes,
		.unit_bytes = job->options.chunk_bytes,
		.ranges = pass->ranges,
		.range_count = pass->range_count,
		.fresh = pass->fresh,
		.rehash = pass->rehash,
		.unattended = pass->unattended,
		.prove = job->options.verify,
		.workers = job->options.workers,
		.retry_for_ms = job->options.retry_for_ms,
		.throttle = move->throttle,
		.progress = progress,
		.progress_data = &told,
		.watch = watch,
		.watch_data = move,
	};
	guint64 units =
		pass->ranges ? pass->range_count : copy_units(pass->content_bytes, spec.unit_bytes);
	struct copy_totals totals = {0};
	g_autoptr(GError) failure = NULL;

	if (pass->source_identity)
		g_strlcpy(source.identity, pass->source_identity, sizeof source.identity);
	/* A file that is to become a layer is made by the run that fills it. */
	if (pass->destination == move->destination->url)
		g_strlcpy(destination.identity, job->destination_identity,
			  sizeof destination.identity);
	if (!ledger_pass_open(move->context.ledger, job->id, pass->name, spec.unit_bytes, units,
			      &spec.pass, error))
		return FALSE;
	gboolean good = copy_run(&spec, &totals, &failure);

	if (error_is(failure, BLOCKMIG_ERROR_TRANSIENT))
		failure->code = BLOCKMIG_ERROR_LATER; /* the engine has tried for long enough */
	if (failure)
		g_propagate_error(error, g_steal_pointer(&failure));
	add_totals(job, &totals, good);
	return good;
}

gboolean pass_base(struct move *move, gint64 *pass, GError **error)
{
	return ledger_pass_find(move->context.ledger, move->job->id, PASS_BASE, pass, error);
}

gboolean pass_root(struct move *move, GError **error)
{
	struct job *job = move->job;
	gint64 pass;
	struct digest root;

	if (!pass_base(move, &pass, error) ||
	    !copy_root(move->context.ledger, pass, job->content_bytes, job->options.chunk_bytes,
		       &root, error))
		return FALSE;
	g_free(job->sha256);
	job->sha256 = digest_hex(&root);
	return TRUE;
}
