/*
 * Datastores and the plan of an evacuation, as people and as scripts read them.
 */
#ifndef REPORT_STORES_H
#define REPORT_STORES_H

#include "blockmig/evacuate/plan.h"

#include <glib.h>
#include <jansson.h>

/* A table; the caller frees. */
char *stores_text(const struct inventory *inventory);
json_t *store_json(const struct inventory_store *store);

/* The whole plan in words; the caller frees. */
char *evacuation_plan_text(const struct plan *plan);
/* One object of type move, stay, residue and destination each, in an array. */
json_t *evacuation_plan_json(const struct plan *plan);
/* The last word: of type summary. */
json_t *evacuation_plan_summary(const struct plan *plan);

#endif
