/*
 * A copy between two images in memory ("source" and "destination"), ready to run: what
 * the engine's tests start from.  Its test case has temp_make and temp_remove as an
 * unchecked fixture, so that nothing is left where a test fails.
 */
#ifndef TESTS_UNIT_COPYING_H
#define TESTS_UNIT_COPYING_H

#include "blockmig/copy/engine.h"
#include "common/error.h"
#include "tests/unit/memory.h"

struct copying {
	char *folder;
	struct ledger *ledger;
	struct url *source_url, *destination_url;
	struct memory_image *source, *destination; /* NULL with copying_begin_urls */
	struct copy_end source_end, destination_end;
	struct copy_spec spec;
	struct copy_totals totals;
	GError *error;
};

/* 1 MiB chunks, fresh, proven, 10 s of tries; the source is all zeros. */
void copying_begin(struct copying *copying, guint64 content_bytes);
/* The same, all of it random data. */
void copying_begin_dense(struct copying *copying, guint64 content_bytes);
/* 16 MiB with one chunk of data, and one with data at its end alone. */
void copying_begin_sparse(struct copying *copying);
/* The same between any two images that exist; takes the URLs. */
void copying_begin_urls(struct copying *copying, struct url *source, struct url *destination,
			guint64 content_bytes);
/* Runs the pass, which is opened by spec's sizes. */
gboolean copying_run(struct copying *copying);
/* Runs it: all is equal and proven; or it fails with this code and words. */
void copying_assert_copied(struct copying *copying);
void copying_assert_fails(struct copying *copying, enum blockmig_error code, const char *words);
/* Whether both images hold the same content. */
gboolean copying_is_equal(const struct copying *copying);
/* The state that the ledger has for a unit, read over a connection of its own. */
enum unit_state copying_state(struct copying *copying, guint64 index);
void copying_end(struct copying *copying);

/* A new folder in the test case's own (temp.h); the caller frees. */
char *folder_make(const char *name);
/* Removes a folder and the files in it. */
void folder_remove(const char *folder);

#endif
