#include "blockmig/cmd/evacuate_plan.h"

#include "blockmig/evacuate/load.h"

int evacuate_plan(struct workbench *workbench, const struct plan_request *request, GError **error)
{
	AUTO(inventory)
	inventory = inventory_load(&workbench->context, request->from, request->to, error);
	AUTO(plan) plan = inventory ? plan_for(inventory, request, error) : NULL;

	if (!plan)
		return 0;
	reporter_evacuation_plan(workbench->options->reporter, plan);
	return plan_obstacles(plan) ? 1 : 0;
}
