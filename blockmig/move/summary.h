/*
 * What is left to say about a job, from the ledger and the job's own document.
 */
#ifndef MOVE_SUMMARY_H
#define MOVE_SUMMARY_H

#include "blockmig/move/job.h"

/* NULL where the ledger cannot be read. */
struct move_summary *summary_of(struct move *move, GError **error);

/* "done", "rolled-back", "interrupted", "failed". */
const char *summary_result(enum job_result result);

#endif
