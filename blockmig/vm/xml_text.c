#include "blockmig/vm/xml_text.h"

#include "common/error.h"

#include <libxml/parser.h>
#include <string.h>

/* The scanner's state: where it is, and the elements that are open. */
struct scan {
	const char *text;
	const char *at;
	GArray *spans;
	GArray *open; /* of guint: indices into spans */
};

/* Moves behind @mark; FALSE where it does not come. */
static gboolean skip_behind(struct scan *scan, const char *mark)
{
	const char *found = strstr(scan->at, mark);

	if (!found)
		return FALSE;
	scan->at = found + strlen(mark);
	return TRUE;
}

static gboolean is_name_end(char c)
{
	return c == '\0' || g_ascii_isspace(c) || c == '/' || c == '>' || c == '=';
}

/* Moves behind the '>' of the tag that starts here: one inside quotes does not end it. */
static gboolean skip_tag(struct scan *scan)
{
	char quote = '\0';

	for (; *scan->at; scan->at++) {
		if (quote) {
			if (*scan->at == quote)
				quote = '\0';
		} else if (*scan->at == '"' || *scan->at == '\'') {
			quote = *scan->at;
		} else if (*scan->at == '>') {
			scan->at++;
			return TRUE;
		}
	}
	return FALSE;
}

static gboolean scan_start_tag(struct scan *scan)
{
	struct xml_span span = {.start = (gsize)(scan->at - scan->text)};
	guint index = scan->spans->len;

	while (!is_name_end(scan->at[1 + span.name_bytes]))
		span.name_bytes++;
	if (!skip_tag(scan))
		return FALSE;
	span.open_end = (gsize)(scan->at - scan->text);
	span.close_start = span.end = span.open_end;
	if (scan->at[-2] != '/')
		g_array_append_val(scan->open, index);
	g_array_append_val(scan->spans, span);
	return TRUE;
}

static gboolean scan_end_tag(struct scan *scan)
{
	struct xml_span *span;

	if (scan->open->len == 0)
		return FALSE;
	span = &g_array_index(scan->spans, struct xml_span,
			      g_array_index(scan->open, guint, scan->open->len - 1));
	g_array_set_size(scan->open, scan->open->len - 1);
	span->close_start = (gsize)(scan->at - scan->text);
	if (!skip_behind(scan, ">"))
		return FALSE;
	span->end = (gsize)(scan->at - scan->text);
	return TRUE;
}

static gboolean scan_markup(struct scan *scan)
{
	if (g_str_has_prefix(scan->at, "<!--"))
		return skip_behind(scan, "-->");
	if (g_str_has_prefix(scan->at, "<![CDATA["))
		return skip_behind(scan, "]]>");
	if (g_str_has_prefix(scan->at, "<?"))
		return skip_behind(scan, "?>");
	if (g_str_has_prefix(scan->at, "<!"))
		return FALSE;
	if (g_str_has_prefix(scan->at, "</"))
		return scan_end_tag(scan);
	return scan_start_tag(scan);
}

static gboolean scan_all(const char *text, GArray *spans)
{
	g_autoptr(GArray) open = g_array_new(FALSE, FALSE, sizeof(guint));
	struct scan scan = {.text = text, .at = text, .spans = spans, .open = open};

	while ((scan.at = strchr(scan.at, '<')))
		if (!scan_markup(&scan))
			return FALSE;
	return open->len == 0;
}

static gboolean span_is_named(const struct xml_text *xml, const struct xml_span *span,
			      const xmlNode *node)
{
	const char *name = xml->text + span->start + 1;
	const char *prefix = node->ns ? (const char *)node->ns->prefix : NULL;
	gsize prefix_bytes = prefix ? strlen(prefix) + 1 : 0;
	gsize local_bytes = strlen((const char *)node->name);

	if (span->name_bytes != prefix_bytes + local_bytes)
		return FALSE;
	if (prefix &&
	    (strncmp(name, prefix, prefix_bytes - 1) != 0 || name[prefix_bytes - 1] != ':'))
		return FALSE;
	return strncmp(name + prefix_bytes, (const char *)node->name, local_bytes) == 0;
}

/* The next element in document order; NULL behind the last. */
static xmlNode *next_element(xmlNode *element)
{
	xmlNode *next = xmlFirstElementChild(element);

	while (!next && element) {
		next = xmlNextElementSibling(element);
		element = element->parent;
		if (element && element->type != XML_ELEMENT_NODE)
			element = NULL;
	}
	return next;
}

/* Ties each element of the tree to its span: _private is the span's number plus one. */
static gboolean bind_spans(struct xml_text *xml)
{
	xmlNode *element = xmlDocGetRootElement(xml->doc);
	guint index;

	for (index = 0; index < xml->spans->len && element; index++) {
		if (!span_is_named(xml, &g_array_index(xml->spans, struct xml_span, index),
				   element))
			return FALSE;
		element->_private = GUINT_TO_POINTER(index + 1);
		element = next_element(element);
	}
	return index == xml->spans->len && !element;
}

struct xml_text *xml_text_parse(const char *text, GError **error)
{
	AUTO(xml_text) xml = g_new0(struct xml_text, 1);
	struct xml_text *result;

	xml->text = text;
	xml->spans = g_array_new(FALSE, FALSE, sizeof(struct xml_span));
	xml->doc = xmlReadMemory(text, (int)strlen(text), "libvirt.xml", NULL,
				 XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	if (!xml->doc) {
		const xmlError *cause = xmlGetLastError();
		g_autofree char *words = g_strdup(cause && cause->message ? cause->message : "");

		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "this is not well-formed XML (line %d): %s", cause ? cause->line : 0,
			    g_strstrip(words));
		return NULL;
	}
	if (!scan_all(text, xml->spans) || !bind_spans(xml)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "this XML cannot be edited in place: it has a DOCTYPE, or elements "
			    "that come from elsewhere than its text; write it without them");
		return NULL;
	}
	result = xml;
	xml = NULL;
	return result;
}

void xml_text_free(struct xml_text *xml)
{
	if (xml->doc)
		xmlFreeDoc(xml->doc);
	g_array_unref(xml->spans);
	g_free(xml);
}

xmlNode *xml_text_root(const struct xml_text *xml)
{
	return xmlDocGetRootElement(xml->doc);
}

const struct xml_span *xml_text_span(const struct xml_text *xml, const xmlNode *element)
{
	return &g_array_index(xml->spans, struct xml_span, GPOINTER_TO_UINT(element->_private) - 1);
}

gboolean xml_text_attribute(const struct xml_text *xml, const xmlNode *element, const char *name,
			    gsize *start, gsize *end)
{
	const struct xml_span *span = xml_text_span(xml, element);
	const char *at = xml->text + span->start + 1 + span->name_bytes;
	const char *stop = xml->text + span->open_end;

	while (at < stop) {
		const char *key, *value, *close;

		while (g_ascii_isspace(*at) || *at == '/' || *at == '>')
			at++;
		if (at >= stop)
			break;
		for (key = at; !is_name_end(*at); at++)
			;
		value = strpbrk(at, "'\"") + 1;
		close = strchr(value, value[-1]);
		if ((gsize)(at - key) == strlen(name) && g_str_has_prefix(key, name)) {
			*start = (gsize)(value - xml->text);
			*end = (gsize)(close - xml->text);
			return TRUE;
		}
		at = close + 1;
	}
	return FALSE;
}

gsize xml_text_gap(const struct xml_text *xml, const xmlNode *element)
{
	gsize at = xml_text_span(xml, element)->start;

	while (at > 0 && g_ascii_isspace(xml->text[at - 1]))
		at--;
	return at;
}

char *xml_text_indent(const struct xml_text *xml, const xmlNode *element)
{
	gsize start = xml_text_span(xml, element)->start;
	gsize at = start;

	while (at > 0 && (xml->text[at - 1] == ' ' || xml->text[at - 1] == '\t'))
		at--;
	if (at > 0 && xml->text[at - 1] != '\n')
		return g_strdup("");
	return g_strndup(xml->text + at, start - at);
}

static xmlNode *first_named(xmlNode *node, const char *name)
{
	for (; node; node = node->next)
		if (node->type == XML_ELEMENT_NODE && !node->ns &&
		    strcmp((const char *)node->name, name) == 0)
			return node;
	return NULL;
}

xmlNode *xml_child(const xmlNode *parent, const char *name)
{
	return parent ? first_named(parent->children, name) : NULL;
}

xmlNode *xml_next(const xmlNode *sibling, const char *name)
{
	return first_named(sibling->next, name);
}

char *xml_attribute(const xmlNode *element, const char *name)
{
	xmlChar *value = element ? xmlGetNoNsProp(element, (const xmlChar *)name) : NULL;
	char *copy = g_strdup((const char *)value);

	xmlFree(value);
	return copy;
}

gboolean xml_attribute_is(const xmlNode *element, const char *name, const char *value)
{
	g_autofree char *found = xml_attribute(element, name);

	return g_strcmp0(found, value) == 0;
}

guint64 xml_attribute_number(const xmlNode *element, const char *name)
{
	g_autofree char *value = xml_attribute(element, name);
	guint64 number = 0;

	if (!value || !g_ascii_string_to_unsigned(value, 10, 0, G_MAXUINT64, &number, NULL))
		return 0;
	return number;
}

char *xml_content(const xmlNode *element)
{
	xmlChar *content = element ? xmlNodeGetContent(element) : NULL;
	char *copy = g_strdup(content ? (const char *)content : "");

	xmlFree(content);
	return copy;
}
