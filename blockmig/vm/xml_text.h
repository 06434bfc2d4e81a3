/*
 * An XML document with both its meaning and its text: libxml2's tree, and for each
 * element the bytes of the original that it came from.  What is edited is spliced into
 * those bytes, so that all the rest stays as it was printed.
 *
 * The byte ranges come from a scanner of our own (libxml2 keeps none).  It is never
 * believed alone: its elements must be the tree's, name by name, in document order.
 * A document with a DOCTYPE is refused: nothing here needs entities.
 */
#ifndef VM_XML_TEXT_H
#define VM_XML_TEXT_H

#include "common/auto.h"

#include <glib.h>
#include <libxml/tree.h>

/* Offsets into the text. */
struct xml_span {
	gsize start;	   /* of '<' */
	gsize name_bytes;  /* behind '<' */
	gsize open_end;	   /* behind the start tag's '>' */
	gsize close_start; /* of "</"; equal to end for an element written as <x/> */
	gsize end;	   /* behind the element */
};

struct xml_text {
	const char *text; /* borrowed from the caller of xml_text_parse */
	xmlDoc *doc;
	GArray *spans; /* of struct xml_span, in document order */
};

struct xml_text *xml_text_parse(const char *text, GError **error);
void xml_text_free(struct xml_text *xml);
AUTO_DEFINE(xml_text, xml_text_free)

xmlNode *xml_text_root(const struct xml_text *xml);
const struct xml_span *xml_text_span(const struct xml_text *xml, const xmlNode *element);
/* Where the bytes of the attribute's value stand, between its quotes; FALSE: it has none. */
gboolean xml_text_attribute(const struct xml_text *xml, const xmlNode *element, const char *name,
			    gsize *start, gsize *end);
/* The white space of the line in front of the element; "" where it does not begin its line. */
char *xml_text_indent(const struct xml_text *xml, const xmlNode *element);
/* Where the white space in front of the element begins. */
gsize xml_text_gap(const struct xml_text *xml, const xmlNode *element);

/* The first child element, and the next sibling, of that name and no namespace; or NULL. */
xmlNode *xml_child(const xmlNode *parent, const char *name);
xmlNode *xml_next(const xmlNode *sibling, const char *name);
/* The attribute's value, or NULL; the caller frees.  @element NULL has no attributes. */
char *xml_attribute(const xmlNode *element, const char *name);
gboolean xml_attribute_is(const xmlNode *element, const char *name, const char *value);
/* 0 where there is none or it is no number. */
guint64 xml_attribute_number(const xmlNode *element, const char *name);
/* The text inside; "" for none; the caller frees. */
char *xml_content(const xmlNode *element);

#endif
