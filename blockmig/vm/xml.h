/* What xml.c and xml_edit.c share. */
#ifndef VM_XML_H
#define VM_XML_H

#include "blockmig/vm/source.h"

/*
 * The <backingStore> lines for the layers below layers[0], each line led by @indent and
 * ended by a newline; closed by the terminator where asked.
 */
char *xml_backing(GPtrArray *layers, const char *indent, gboolean terminate);

#endif
