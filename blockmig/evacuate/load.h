/*
 * The inventory from the world: libvirt's domains and pools, the configuration, the ledger,
 * and the datastores themselves, asked by their URLs.  Nothing is changed.
 */
#ifndef EVACUATE_LOAD_H
#define EVACUATE_LOAD_H

#include "blockmig/evacuate/inventory.h"
#include "blockmig/move/move.h"

/*
 * With @from: it and the datastores @to (NULL-terminated), with all that the planner asks for:
 * @from's disks are examined as a move would do it, rates are those measured from @from, and
 * what the guests write is watched for a second.  USAGE where a name is no datastore, or two of
 * them are one place.
 *
 * @from NULL (and @to): every section of the configuration and every active pool, to be listed.
 *
 * An error only where libvirt or the ledger cannot be asked; a datastore that does not answer
 * is in the inventory with the reason.
 */
struct inventory *inventory_load(struct move_context *context, const char *from,
				 const char *const *to, GError **error);

#endif
