/*
 * Which parts of a LUN read as zeros: GET LBA STATUS (SBC-3, 5.6), where unmapped blocks do
 * (LBPRZ).
 *
 * A target's report is believed with two precautions.  Its cache is flushed first, as what
 * lies there may not count as mapped yet.  And of what it calls zeros a sample is read, at
 * places that change with each request.  The first piece that is not zeros refutes the
 * target for all handles of the LUN that this process has: everything counts as data, and
 * whoever believed it before is told (holes_refuted).
 */
#ifndef TRANSPORTS_ISCSI_ALLOCATION_H
#define TRANSPORTS_ISCSI_ALLOCATION_H

#include "transports/iscsi_image.h"

/* Sets image->knows_allocation: whether the target answers the question at all. */
gboolean iscsi_allocation_probe(struct iscsi_image *image, GError **error);
/*
 * As transport.extents does; appends nothing where the report is not believed.  What it has
 * appended is worth nothing once holes_refuted is set.
 */
gboolean iscsi_allocation_extents(struct iscsi_image *image, guint64 count, guint64 offset,
				  struct extents *extents, GError **error);

#endif
