/*
 * Jobs of the ledger as users see them: with the process that holds each.
 */
#ifndef CMD_VIEWS_H
#define CMD_VIEWS_H

#include "blockmig/report/reporter.h"
#include "common/auto.h"

enum views_which { VIEWS_OPEN, VIEWS_ENDED };

struct views {
	GPtrArray *jobs, *rooms; /* own what list points to */
	GArray *list;		 /* of struct job_view, oldest first */
};

struct views *views_load(struct ledger *ledger, enum views_which which, GError **error);
void views_free(struct views *views);
AUTO_DEFINE(views, views_free)

/* @job with its holder; borrows it, and what *room is set to. */
struct job_view views_of(struct ledger *ledger, const struct ledger_job *job, struct room **room);

#endif
