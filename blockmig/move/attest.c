#include "blockmig/move/passes.h"
#include "blockmig/move/phases.h"

#include "blockmig/vm/image_tool.h"
#include "common/error.h"
#include "common/stop.h"

#include <string.h>

enum { BATCH = 64 };

static gboolean collect_stale(const struct ledger_unit *unit, void *data)
{
	GArray *chunks = data;

	if (unit->state == UNIT_SENT)
		g_array_append_val(chunks, unit->index);
	return TRUE;
}

/* Both ends of the chunks that rounds touched. */
struct attest {
	struct move *move;
	struct handle *source, *destination;
	void *ours, *theirs;
};

static gboolean attest_chunk(struct attest *attest, guint64 chunk, struct ledger_unit *unit,
			     GError **error)
{
	const struct job *job = attest->move->job;
	guint64 offset = chunk * job->options.chunk_bytes;
	gsize count = MIN(job->options.chunk_bytes, job->virtual_bytes - offset);

	if (!handle_read(attest->source, attest->ours, count, offset, error) ||
	    !handle_read(attest->destination, attest->theirs, count, job->data_offset + offset,
			 error))
		return FALSE;
	if (memcmp(attest->ours, attest->theirs, count) != 0) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_OPERATOR,
			    "%s: chunk %" G_GUINT64_FORMAT " at byte %" G_GUINT64_FORMAT
			    " is not equal to the source's layers. The guest runs on it: shut it "
			    "down, keep both images, and restore from the source",
			    job->destination_url, chunk, offset);
		return FALSE;
	}
	*unit = (struct ledger_unit){
		.index = chunk,
		.count = 1,
		.state = UNIT_PROVEN,
		.is_zero = buffer_is_zero(attest->ours, count),
	};
	digest_compute(attest->ours, count, &unit->digest);
	return TRUE;
}

static gboolean attest_chunks(struct attest *attest, const GArray *chunks, GError **error)
{
	struct ledger *ledger = attest->move->context.ledger;
	gint64 base;
	struct ledger_unit batch[BATCH];

	if (!pass_base(attest->move, &base, error))
		return FALSE;
	for (guint i = 0; i < chunks->len;) {
		guint count = 0;

		if (!stop_check(error))
			return FALSE;
		for (; i < chunks->len && count < BATCH; i++, count++)
			if (!attest_chunk(attest, g_array_index(chunks, guint64, i), &batch[count],
					  error))
				return FALSE;
		if (!ledger_units_put(ledger, base, batch, count, error))
			return FALSE;
	}
	return TRUE;
}

/*
 * The rounds' pieces are proven one by one before the cutover; their whole chunks are
 * hashed here, when nothing presses: both sides' layers below the overlays stand still.
 */
gboolean attest_run(struct move *move, GError **error)
{
	struct job *job = move->job;
	g_autoptr(GArray) chunks = g_array_new(FALSE, FALSE, sizeof(guint64));
	gint64 base;
	guint copied = 0;

	/* The digests were in the ledger that is lost. */
	if (job->adopted)
		return TRUE;
	if (!pass_base(move, &base, error) ||
	    !ledger_units_each(move->context.ledger, base, collect_stale, chunks, error))
		return FALSE;
	if (!chunks->len)
		return pass_root(move, error) && move_save(move, error);
	while (copied < job->overlays->len && job_overlay(job, copied)->copied)
		copied++;

	g_autoptr(GPtrArray) chain = job_source_chain(job, copied);
	AUTO(image_server) server = image_server_start(chain, FALSE, error);

	if (!server)
		return FALSE;
	AUTO(handle) source = handle_open(image_server_url(server), NULL, HANDLE_READ, error);
	AUTO(handle) destination =
		source ? handle_open(move->destination->url, move->destination->transport,
				     HANDLE_READ, error)
		       : NULL;

	if (!destination)
		return FALSE;
	struct attest attest = {
		.move = move,
		.source = source,
		.destination = destination,
		.ours = transport_buffer_new(job->options.chunk_bytes),
		.theirs = transport_buffer_new(job->options.chunk_bytes),
	};
	gboolean good = attest_chunks(&attest, chunks, error);

	transport_buffer_free(attest.ours);
	transport_buffer_free(attest.theirs);
	return good && pass_root(move, error) && move_save(move, error);
}
