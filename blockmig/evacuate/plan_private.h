/* What plan.c, placing.c and schedule.c share. */
#ifndef EVACUATE_PLAN_PRIVATE_H
#define EVACUATE_PLAN_PRIVATE_H

#include "blockmig/evacuate/plan.h"

enum { NOWHERE = -1 };

/* A disk on the datastore, until it is a move or stays. */
struct candidate {
	const struct inventory_disk *disk;
	guint64 bytes;	 /* to send */
	int target;	 /* position in plan->targets, or NOWHERE */
	int lun;	 /* -1: a file */
	guint slot;	 /* placing.c: the LUN's position among the target's free ones */
	guint64 seconds; /* that it takes to its target */
	enum plan_why why;
	char *reason; /* NULL: it goes */
};

struct planning {
	const struct inventory *inventory;
	const struct plan_request *request;
	struct plan *plan;
	guint slots; /* moves that may run at once, at most */
	/* Of struct candidate, by domain; of one, open jobs first, then smaller virtual sizes. */
	GArray *candidates;
};

struct candidate *planning_candidate(const struct planning *planning, guint position);
struct plan_target *planning_target(const struct planning *planning, guint position);

/* The rate of one move to @store that is sure, and how long it takes a disk. */
guint64 planning_rate(const struct planning *planning, const struct inventory_store *store);
guint64 planning_seconds(const struct planning *planning, const struct candidate *candidate,
			 const struct inventory_store *store);

/* For sorting: by the domain's name, then (two of one name are on two hosts) UUID and disk. */
int planning_compare_names(const struct inventory_disk *a, const struct inventory_disk *b);
int planning_compare_numbers(guint64 a, guint64 b);

/* It stays; @reason is taken over. */
void candidate_stay(struct candidate *candidate, enum plan_why why, char *reason);

/* placing.c: the target of each candidate, or why it stays; the targets' sums. */
void placing_run(struct planning *planning);

/* schedule.c: plan->moves of those that have a target; the others' window is too short. */
void schedule_run(struct planning *planning);

#endif
