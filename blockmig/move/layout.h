/*
 * The destination's own qcow2 metadata, where the content was copied into a qcow2 layout.
 */
#ifndef MOVE_LAYOUT_H
#define MOVE_LAYOUT_H

#include "blockmig/move/job.h"

/*
 * Writes and proves the metadata for what all passes so far put there, and has qemu-img
 * check them where a guest is to run on the image; nothing where there are none.  The image
 * is whole for QEMU afterwards.
 */
gboolean layout_finish(struct move *move, GError **error);

#endif
