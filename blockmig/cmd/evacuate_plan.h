/*
 * `evacuate --dry-run`: what would go where, what stays and why; changes nothing.
 */
#ifndef CMD_EVACUATE_PLAN_H
#define CMD_EVACUATE_PLAN_H

#include "blockmig/cmd/workbench.h"
#include "blockmig/evacuate/plan.h"

/* The exit status: 1 where an obstacle is there.  @workbench is connected. */
int evacuate_plan(struct workbench *workbench, const struct plan_request *request, GError **error);

#endif
