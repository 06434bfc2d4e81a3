/*
 * An image read on a thread of its own into digests of its chunks, in order; what
 * compares images and manifests takes them from here.
 *
 * Neighbouring chunks of zeros come as one run, unread where the extents can be
 * trusted.  The thread runs a bounded number of runs ahead.
 */
#ifndef COPY_READER_H
#define COPY_READER_H

#include "blockmig/copy/endpoint.h"

/* What is to be read, and how. */
struct reader_spec {
	struct copy_end *end;
	guint64 content_bytes, unit_bytes;
	const struct copy_range *ranges; /* NULL: the whole content in chunks */
	guint64 units;
	guint64 retry_for_ms;
};

/* Units of equal digest and length. */
struct reader_run {
	guint64 index, count;
	gboolean is_zero;     /* the only runs of more than one */
	struct digest digest; /* of each of them */
	/* Of what a layer leaves to the layers below (EXTENT_UNKNOWN); zeros: of nothing. */
	struct digest unallocated;
};

guint64 reader_unit_offset(const struct reader_spec *spec, guint64 index);
guint64 reader_unit_bytes(const struct reader_spec *spec, guint64 index);

struct reader;
/* Starts the thread; @spec is copied, what it points to outlives the reader. */
struct reader *reader_start(const struct reader_spec *spec);
/* Waits for the next run.  FALSE at the end, and with an error. */
gboolean reader_next(struct reader *reader, struct reader_run *run, GError **error);
/*
 * After the last run: whether zeros were handed on unread that a report of holes had which
 * was refuted later.  To be read again: it is not believed any more.
 */
gboolean reader_misled(struct reader *reader);
/* Ends the thread, at once where it is still reading or between two tries. */
void reader_free(struct reader *reader);
AUTO_DEFINE(reader, reader_free)

#endif
