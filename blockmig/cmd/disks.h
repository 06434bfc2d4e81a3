/*
 * Which disks of a domain a command is about: those named, or all that can be moved.
 */
#ifndef CMD_DISKS_H
#define CMD_DISKS_H

#include "blockmig/cmd/workbench.h"

/*
 * Target names, a GPtrArray of char *; never empty.  options->arguments are DOMAIN and
 * disks; disks that are skipped are told.
 */
GPtrArray *disks_choose(struct workbench *workbench, GError **error);

#endif
