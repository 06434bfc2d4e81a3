/*
 * Changes to XML that libvirt printed.  Each is a list of cuts: byte ranges of the
 * original, and what comes in their place.
 */
#include "blockmig/vm/xml.h"

#include "blockmig/vm/xml_text.h"
#include "common/error.h"

#include <string.h>

struct cut {
	gsize start, end;
	char *text;
};

static void cut_clear(gpointer data)
{
	g_free(((struct cut *)data)->text);
}

static GArray *cuts_new(void)
{
	GArray *cuts = g_array_new(FALSE, FALSE, sizeof(struct cut));

	g_array_set_clear_func(cuts, cut_clear);
	return cuts;
}

/* Takes @text over. */
static void cut_add(GArray *cuts, gsize start, gsize end, char *text)
{
	struct cut cut = {.start = start, .end = end, .text = text};

	g_array_append_val(cuts, cut);
}

static int cut_order(gconstpointer a, gconstpointer b)
{
	const struct cut *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static char *cuts_apply(const char *text, GArray *cuts)
{
	GString *out = g_string_new(NULL);
	gsize at = 0;

	g_array_sort(cuts, cut_order);
	for (guint i = 0; i < cuts->len; i++) {
		const struct cut *cut = &g_array_index(cuts, struct cut, i);

		g_string_append_len(out, text + at, (gssize)(cut->start - at));
		g_string_append(out, cut->text);
		at = cut->end;
	}
	g_string_append(out, text + at);
	return g_string_free(out, FALSE);
}

static xmlNode *find_disk(const struct xml_text *xml, const char *target, GError **error)
{
	xmlNode *disk = xml_child(xml_child(xml_text_root(xml), "devices"), "disk");

	while (disk && !xml_attribute_is(xml_child(disk, "target"), "dev", target))
		disk = xml_next(disk, "disk");
	if (!disk)
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_NOT_FOUND,
			    "%s: the domain's XML has no such disk", target);
	return disk;
}

/* ---- whole elements --------------------------------------------------------------- */

char *xml_disk_element(const char *text, const char *target, GError **error)
{
	AUTO(xml_text) xml = xml_text_parse(text, error);
	const xmlNode *disk = xml ? find_disk(xml, target, error) : NULL;
	const struct xml_span *span;

	if (!disk)
		return NULL;
	span = xml_text_span(xml, disk);
	return g_strndup(text + span->start, span->end - span->start);
}

/* What was edited must still be well-formed, and name its disk. */
static char *checked(char *edited, const char *target, GError **error)
{
	AUTO(xml_text) xml = xml_text_parse(edited, error);

	if (xml && (!target || find_disk(xml, target, error)))
		return edited;
	g_free(edited);
	return NULL;
}

char *xml_replace_disk_element(const char *text, const char *target, const char *element,
			       GError **error)
{
	AUTO(xml_text) xml = xml_text_parse(text, error);
	const xmlNode *disk = xml ? find_disk(xml, target, error) : NULL;
	g_autoptr(GArray) cuts = cuts_new();
	const struct xml_span *span;

	if (!disk)
		return NULL;
	span = xml_text_span(xml, disk);
	cut_add(cuts, span->start, span->end, g_strdup(element));
	return checked(cuts_apply(text, cuts), target, error);
}

/* ---- a disk's source ---------------------------------------------------------------- */

/* Removes the element with the white space in front of it. */
static void cut_element(GArray *cuts, const struct xml_text *xml, const xmlNode *element)
{
	cut_add(cuts, xml_text_gap(xml, element), xml_text_span(xml, element)->end, g_strdup(""));
}

/* Sets an attribute that is there, or adds it behind the element's name. */
static void cut_attribute(GArray *cuts, const struct xml_text *xml, const xmlNode *element,
			  const char *name, const char *value)
{
	const struct xml_span *span = xml_text_span(xml, element);
	gsize start, end;

	if (xml_text_attribute(xml, element, name, &start, &end)) {
		cut_add(cuts, start, end, g_strdup(value));
		return;
	}
	start = span->start + 1 + span->name_bytes;
	cut_add(cuts, start, start, g_strdup_printf(" %s='%s'", name, value));
}

/* What an admin set on the old <source> and what holds for any local image. */
static void kept_of_source(const struct xml_text *xml, const xmlNode *old, const char *indent,
			   char **attributes, char **children)
{
	GString *labels = g_string_new(NULL);
	const xmlNode *label = xml_child(old, "seclabel");
	g_autofree char *policy = xml_attribute(old, "startupPolicy");

	for (; label; label = xml_next(label, "seclabel")) {
		const struct xml_span *span = xml_text_span(xml, label);

		g_string_append_printf(labels, "%s  %.*s\n", indent, (int)(span->end - span->start),
				       xml->text + span->start);
	}
	*attributes = policy ? g_strdup_printf(" startupPolicy='%s'", policy) : NULL;
	*children = g_string_free(labels, FALSE);
}

/* Puts the new <source> and what follows it in place of the old. */
static void cut_source(GArray *cuts, const struct xml_text *xml, const xmlNode *disk,
		       GPtrArray *layers, gboolean terminate)
{
	const struct layer *active = g_ptr_array_index(layers, 0);
	const xmlNode *old = xml_child(disk, "source");
	const xmlNode *old_backing = xml_child(disk, "backingStore");
	const xmlNode *anchor = old ? old : xml_child(disk, "target");
	const struct xml_span *span = xml_text_span(xml, anchor);
	g_autofree char *indent = xml_text_indent(xml, anchor);
	g_autofree char *backing = xml_backing(layers, indent, terminate);
	g_autofree char *attributes = NULL;
	g_autofree char *children = NULL;
	GString *source = g_string_new(NULL);

	/* libvirt refuses the policy on a network disk, and labels mean nothing there. */
	if (active->source.type == SOURCE_FILE || active->source.type == SOURCE_BLOCK)
		kept_of_source(xml, old, indent, &attributes, &children);
	if (source_is_volume(&active->source))
		source_append_volume(source, &active->source, attributes);
	else
		source_append_xml(source, &active->source, indent, attributes, children);
	if (*backing) {
		g_string_append_printf(source, "\n%s", backing);
		g_string_truncate(source, source->len - 1);
	}
	if (!old)
		g_string_append_printf(source, "\n%s", indent);
	cut_add(cuts, span->start, old ? span->end : span->start, g_string_free(source, FALSE));
	if (old_backing)
		cut_element(cuts, xml, old_backing);
}

static void cut_driver(GArray *cuts, const struct xml_text *xml, const xmlNode *disk,
		       const char *format)
{
	const xmlNode *driver = xml_child(disk, "driver");
	const struct xml_span *span = xml_text_span(xml, disk);
	g_autofree char *indent = xml_text_indent(xml, xml_child(disk, "target"));

	if (driver)
		cut_attribute(cuts, xml, driver, "type", format);
	else
		cut_add(cuts, span->open_end, span->open_end,
			g_strdup_printf("\n%s<driver name='qemu' type='%s'/>", indent, format));
}

/* An old <auth> beside the source would be read as the new one's. */
static void cut_auth(GArray *cuts, const struct xml_text *xml, const xmlNode *disk)
{
	const xmlNode *auth = xml_child(disk, "auth");

	if (auth)
		cut_element(cuts, xml, auth);
}

char *xml_with_disk(const char *text, const char *target, GPtrArray *layers, gboolean terminate,
		    GError **error)
{
	const struct layer *active = g_ptr_array_index(layers, 0);
	AUTO(xml_text) xml = xml_text_parse(text, error);
	const xmlNode *disk = xml ? find_disk(xml, target, error) : NULL;
	g_autoptr(GArray) cuts = cuts_new();

	if (!disk)
		return NULL;
	cut_attribute(cuts, xml, disk, "type",
		      source_is_volume(&active->source) ? "volume"
							: source_xml_type(&active->source));
	if (active->format)
		cut_driver(cuts, xml, disk, active->format);
	cut_source(cuts, xml, disk, layers, terminate);
	cut_auth(cuts, xml, disk);
	return checked(cuts_apply(text, cuts), target, error);
}

/* ---- our own element ------------------------------------------------------------------ */

static gboolean is_ours(const xmlNode *element)
{
	return element->type == XML_ELEMENT_NODE && element->ns &&
	       strcmp((const char *)element->ns->href, XML_METADATA_URI) == 0;
}

char *xml_without_metadata(const char *text, GError **error)
{
	AUTO(xml_text) xml = xml_text_parse(text, error);
	const xmlNode *metadata = xml ? xml_child(xml_text_root(xml), "metadata") : NULL;
	g_autoptr(GArray) cuts = cuts_new();
	gboolean others = FALSE;

	if (!xml)
		return NULL;
	for (xmlNode *child = metadata ? metadata->children : NULL; child; child = child->next) {
		if (is_ours(child))
			cut_element(cuts, xml, child);
		else if (!xmlIsBlankNode(child))
			others = TRUE;
	}
	if (cuts->len > 0 && !others) {
		g_array_set_size(cuts, 0);
		cut_element(cuts, xml, metadata);
	}
	return checked(cuts_apply(text, cuts), NULL, error);
}
