/* Text of others as JSON. */
#ifndef REPORT_JSON_TEXT_H
#define REPORT_JSON_TEXT_H

#include <glib.h>
#include <jansson.h>

/* Paths and the words of others need not be UTF-8; JSON text must be.  NULL: null. */
static inline json_t *text_or_null(const char *text)
{
	if (!text)
		return json_null();
	g_autofree char *valid = g_utf8_make_valid(text, -1);

	return json_string(valid);
}

#endif
