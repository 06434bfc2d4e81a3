/*
 * Where a guest that is off has its disk: the inactive XML, and the XML inside a managed
 * save image (virsh managedsave, a host that goes down), which wins over it at the next
 * start.
 *
 * Both change together, the inactive XML first: whoever finds the saved one changed
 * (world_look does) knows that the other is changed, too.  All else in them stays as it is.
 */
#ifndef MOVE_DEFINE_H
#define MOVE_DEFINE_H

#include "blockmig/move/job.h"

/* Our disk on @chain; @terminate as for xml_with_disk. */
gboolean define_chain(struct move *move, GPtrArray *chain, gboolean terminate, GError **error);

/* Our disk as it was before the job, in the inactive XML byte for byte. */
gboolean define_home(struct move *move, GError **error);

/* Without our element; with @home the disk is as it was before, too. */
gboolean define_released(struct move *move, gboolean home, GError **error);

/*
 * A guest that was saved while we had it suspended will run when it is started; nothing
 * where it is not off, or not saved.
 */
gboolean define_awake(struct move *move, GError **error);

#endif
