/*
 * Who names an image: the disks of all domains, live and inactive, and the qcow2 files
 * that lie beside it.
 */
#ifndef MOVE_USAGE_H
#define MOVE_USAGE_H

#include "blockmig/move/move.h"

/*
 * The user of the image in words ("domain web, disk vdb", "file /srv/x.qcow2"), NULL
 * without error where there is none.  @except_uuid's disk @except_disk does not count
 * (both may be NULL).  The caller frees.
 */
char *usage_find(struct move_context *context, const struct place *image, const char *except_uuid,
		 const char *except_disk, GError **error);

/*
 * A qcow2 file in the image's own folder that has it as its backing file, or may have: one
 * that cannot be read; as above.
 */
char *usage_beside(const struct place *image, GError **error);

#endif
