/*
 * Copies in processes of their own that are killed and carried on, and what must hold of
 * the largest images: what tests of resumption start from.
 *
 * A connection to a database must not cross a fork: whoever starts a child has closed
 * the copying's ledger, and opens it again when the child has ended.
 */
#ifndef TESTS_UNIT_RESUMING_H
#define TESTS_UNIT_RESUMING_H

#include "tests/unit/copying.h"

#include <sys/types.h>

/* The largest file that ext4 takes. */
#define LARGEST_BYTES (16 * TiB - 4096)

void resuming_open_ledger(struct copying *copying);
/* A child that copies, for somebody to kill: slowly, or at full speed (0). */
pid_t resuming_start_child(struct copying *copying, guint64 bytes_per_second);
void resuming_wait_until_done(struct copying *copying, guint64 index);
void resuming_kill(pid_t child);

/*
 * A copy of LARGEST_BYTES in chunks of the default size, whose source has data in the
 * first 64 MiB and in the chunk before the last alone, is killed in their middle.  Where
 * nothing kept the source still meanwhile, the next run sends the rest at once: what was
 * a hole and is one has not to be looked at chunk by chunk before.  It takes little
 * memory, and its ledger little room.
 */
void resuming_assert_largest(struct copying *copying);

#endif
