/*
 * The copy engine: moves the units of one pass from a source that stands still to a
 * destination, and proves them.
 *
 * Workers take units in order; each has its own source and destination handle, and
 * its share of the window of 64 MiB.  A worker reads, hashes and writes until its
 * share is full or a second has passed, flushes its own destination handle, and then
 * one ledger transaction marks those units done (and claims the next ones).  Three of
 * five workers may send at a time: while the others wait for their flushes and the
 * ledger, processors, network and disk have all they can carry.  On a
 * TRANSIENT error the worker closes both handles, waits (backoff), opens new ones,
 * compares identity and size, and sends its whole share again.  Read-back runs
 * behind on handles of its own and marks units proven; a unit that differs is sent
 * again up to three times, then the pass fails with INTEGRITY.  What was acknowledged and
 * is not there may lie elsewhere, over a unit that was proven before: after a unit that
 * differs, all that was proven before is read once more.
 *
 * Memory is bounded by workers and unit size (plus one byte a unit), whatever the
 * size of the image.  Order: write, flush, ledger, read-back.
 *
 * Zeros: ranges that a trusted source reports as holes, or the file of the same image
 * (copy_end.path) where its transport has no report, and units found to be zeros
 * by reading, are left out where the destination is fresh (known to be all zeros) and
 * zeroed otherwise; inside a unit, runs of zeros of 64 KiB and more are left out at a
 * fresh destination.  The proof of zeros that were left out: the destination's own
 * trusted extents say so; or it was fresh and has just as many bytes allocated as were
 * written (NFS; where that leaves out more than 256 MiB, but for a few blocks of the
 * file system's own bookkeeping); else, and always where it was unattended, they are read.
 *
 * What the source's handle delivers is the content: the proof is that the destination
 * holds just that.  A bit that flips on the way from the source is copied faithfully; only
 * a comparison (compare.h) reads the source a second time.
 */
#ifndef COPY_ENGINE_H
#define COPY_ENGINE_H

#include "blockmig/copy/throttle.h"
#include "blockmig/ledger/ledger.h"
#include "transports/transport.h"

#include <glib.h>

enum { COPY_WINDOW_BYTES = 64 << 20, COPY_UNIT_DEFAULT = 4 << 20, COPY_WORKERS_DEFAULT = 5 };

/* One end of a copy. */
struct copy_end {
	const struct url *url;
	const struct transport_config *config;
	guint64 offset_bytes;	       /* where byte 0 of the content lies in the image */
	char identity[IDENTITY_BYTES]; /* "" = learnt from the first handle and set */
	/* A source's: the same image as a file of this host, for its holes (holes.h); or NULL. */
	const char *path;
};

/* A piece of the content. */
struct copy_range {
	guint64 offset_bytes;
	guint64 length_bytes; /* at most unit_bytes */
};

struct copy_progress {
	guint64 bytes_total; /* of the pass's units */
	guint64 bytes_done;  /* done or left out, this run and earlier ones */
	guint64 bytes_proven;
};

struct copy_totals {
	guint64 bytes_total;   /* content of the pass */
	guint64 bytes_data;    /* of these, not zeros */
	guint64 bytes_sent;    /* written to the destination by this run */
	guint64 bytes_resent;  /* of these, sent before (lost window, claim of a dead run, mismatch)
				*/
	guint64 bytes_skipped; /* not sent: done by an earlier run */
	guint64 units_total;
	guint64 units_proven;
	guint64 mismatches; /* units found different by the read-back */
	gboolean planned;   /* it came as far as to look what earlier runs had done */
};

struct copy_spec {
	struct ledger *ledger;
	gint64 pass; /* ledger_pass_open() */
	struct copy_end *source;
	struct copy_end *destination;
	guint64 content_bytes;		 /* size of the content */
	guint64 unit_bytes;		 /* chunk size, a power of two from 1 to 64 MiB */
	const struct copy_range *ranges; /* the units; NULL: the whole content in chunks */
	guint64 range_count;
	gboolean fresh; /* the destination reads as zeros where we never wrote */
	gboolean prove; /* read back; FALSE: --verify none */
	/*
	 * The source may have changed: hash it all, send what differs.  To be asked for
	 * again until a run has succeeded: what was not hashed yet keeps its old row.
	 */
	gboolean rehash;
	/*
	 * Others had time to change the destination: zeros that were left out there are
	 * read, and not proven by what is allocated.
	 */
	gboolean unattended;
	guint workers; /* 0: the default */
	guint64 retry_for_ms;
	struct throttle *throttle; /* NULL: none */
	/* Called about five times a second by the thread that called copy_run; or NULL. */
	void (*progress)(const struct copy_progress *progress, void *data);
	void *progress_data;
	/* Called about once a second; an error ends the copy at a checkpoint; or NULL. */
	gboolean (*watch)(void *data, GError **error);
	void *watch_data;
};

/*
 * Runs the pass until every unit is done, and proven where asked; carries on from
 * what the ledger has.  *totals is set on failure too.  STOPPED: a checkpoint was
 * reached.  TRANSIENT: retry_for_ms went by without progress.  INTEGRITY: the
 * destination does not keep what is written to it.
 */
gboolean copy_run(const struct copy_spec *spec, struct copy_totals *totals, GError **error);

/* The number of units that copy_run will use for this spec's content. */
guint64 copy_units(guint64 content_bytes, guint64 unit_bytes);

/*
 * The manifest's root of a pass whose units are chunks of the whole content and all
 * have rows.
 */
gboolean copy_root(struct ledger *ledger, gint64 pass, guint64 content_bytes, guint64 unit_bytes,
		   struct digest *root, GError **error);

#endif
