/*
 * A domain as libvirt has it now, with the addresses of those disks that its XML names as
 * volumes of a pool (<source pool= volume=>).
 *
 * The address is the one that libvirt itself gives the disk (virDomainDiskTranslateSourcePool),
 * from the pool's XML: a file in a dir, fs or netfs pool; a LUN of an iscsi-direct pool, or of
 * an iscsi pool with mode='direct'; else the device of the kernel's initiator.  The names stay
 * in the source, so that what is written back can be named as it was.
 */
#ifndef VM_DOMAIN_LOAD_H
#define VM_DOMAIN_LOAD_H

#include "blockmig/vm/datastore.h"
#include "blockmig/vm/domain.h"
#include "blockmig/vm/session.h"

#include <glib.h>

/* @inactive as session_xml(); *xml, which may be NULL, is the text: the caller frees it. */
struct domain *domain_load(struct session *session, const char *uuid, gboolean inactive, char **xml,
			   GError **error);

/* The addresses of @domain's volumes; what cannot be found out stays SOURCE_OTHER. */
void domain_resolve(struct session *session, struct domain *domain);
/*
 * The address of the volume that @source names, by its pool's XML.  FALSE, with @source as it
 * was, where the pool or the volume is of a kind that is not known.
 */
gboolean volume_resolve(struct source *source, const char *pool_xml);

/*
 * The volume of an active pool that @place is: *pool, *volume and *mode (NULL for none) are
 * set, the caller frees them.  FALSE where it is none.
 */
gboolean volume_of_place(struct session *session, const struct place *place, char **pool,
			 char **volume, char **mode);

/* The pool that has @place, if there is one, reads its volumes again; never fails. */
void volume_refresh(struct session *session, const struct place *place);

#endif
