/*
 * Sources inside the room: filling them, libvirt's XML for them, QEMU's JSON for them.
 */
#ifndef VM_SOURCE_H
#define VM_SOURCE_H

#include "blockmig/vm/domain.h"

#include <glib.h>
#include <jansson.h>
#include <libxml/tree.h>

/* For sources that are members of other structs. */
void source_assign(struct source *to, const struct source *from);
void source_clear(struct source *source);

/*
 * Splits the path of an iSCSI source, "iqn/lun".  FALSE where it is not one; the caller
 * frees *target.
 */
gboolean source_iscsi_split(const struct source *source, char **target, int *lun);

/*
 * From a <disk>, <backingStore> or <mirror> @holder (its type attribute and <source> child).
 * Never fails: what is not understood is SOURCE_OTHER.
 */
void source_read_xml(const xmlNode *holder, struct source *source);
/* The value of the holder's type attribute. */
const char *source_xml_type(const struct source *source);
/*
 * Appends "<source …/>" as libvirt prints it, its later lines led by @indent.
 * @attributes and @children, both may be NULL, are texts put in as they are (children:
 * whole lines).
 */
void source_append_xml(GString *out, const struct source *source, const char *indent,
		       const char *attributes, const char *children);

/* The same as <source pool=… volume=…/>, where source_is_volume(). */
void source_append_volume(GString *out, const struct source *source, const char *attributes);

/*
 * A QEMU block node for the image's bytes, with the slice; PERMANENT where QEMU's tools
 * cannot open it.  With @locking FALSE an image that QEMU holds open can be read.
 */
json_t *source_node(const struct source *source, gboolean locking, GError **error);
/* The node of one layer in its format, without the layers below. */
json_t *layer_node(const struct layer *layer, gboolean locking, GError **error);
/*
 * The nodes of the first @count layers as JSON texts for --blockdev, deepest first, named
 * "layer0", "layer1" …; read-only, locking off.  Each names the one below: a node that
 * is given inside another is merged with the file name in that one's header, and where
 * the two do not fit together QEMU refuses.
 */
GPtrArray *chain_nodes(GPtrArray *layers, guint count, GError **error);
/* "json:{…}"; takes @node over. */
char *node_name(json_t *node);

#endif
