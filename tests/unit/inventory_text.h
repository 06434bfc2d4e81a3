/*
 * Small inventories and plans as text that reads like what it means.
 *
 *     store old nfs free 10G size 100G rate 100M
 *     store san iscsi luns 1:10G 2:20G 3:40G=used
 *     domain web host h1 priority 5 together prefer a,b avoid c
 *     disk vda on old 10G 4G writes 1M job 7 to san:2 done 1G
 *     disk vdb on old 10G 4G stuck no-lun
 *     residue nvram on old /srv/web.fd
 *
 * A disk's figures are its virtual and its allocated size; without a second one it is full.
 * Disks and residue are the last domain's.  A domain's host is "h" where none is given.
 */
#ifndef TESTS_UNIT_INVENTORY_TEXT_H
#define TESTS_UNIT_INVENTORY_TEXT_H

#include "blockmig/evacuate/plan.h"

/* What is not understood aborts. */
struct inventory *inventory_of_text(const char *text);
/*
 * "0-20 web/vda > a\n" for each move in order (seconds since the window began; a LUN as san:2),
 * then "web/vdb stays: room\n", then "residue: /srv/web.fd\n"; the caller frees.
 */
char *plan_text(const struct plan *plan, const struct plan_request *request);

#endif
