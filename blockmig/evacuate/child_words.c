#include "blockmig/evacuate/child_words.h"

#include <jansson.h>
#include <string.h>

/* Longer than any line of ours; a child that has gone mad must not fill the memory. */
enum { LINE_MOST = 1 << 20, COMPLAINTS_MOST = 4096 };

void child_words_init(struct child_words *words, struct dispatch_outcome *outcome)
{
	dispatch_outcome_clear(outcome);
	*words = (struct child_words){
		.outcome = outcome,
		.line = g_string_new(NULL),
		.complaints = g_string_new(NULL),
	};
}

void child_words_clear(struct child_words *words)
{
	g_string_free(words->line, TRUE);
	g_string_free(words->complaints, TRUE);
}

static guint64 number_of(const json_t *object, const char *name)
{
	json_int_t value = json_integer_value(json_object_get(object, name));

	return (guint64)MAX(value, 0);
}

/* Milliseconds of the phases that copy, over all runs of the job. */
static guint64 copying_ms(const json_t *phases)
{
	double seconds = 0;

	for (size_t i = 0; i < json_array_size(phases); i++) {
		const json_t *phase = json_array_get(phases, i);
		const char *name = json_string_value(json_object_get(phase, "name"));

		if (g_strcmp0(name, "seed") == 0 || g_strcmp0(name, "rounds") == 0)
			seconds += json_number_value(json_object_get(phase, "seconds"));
	}
	return (guint64)(CLAMP(seconds, 0, 1e9) * 1000);
}

static void take_summary(struct dispatch_outcome *outcome, const json_t *summary)
{
	const json_t *downtime = json_object_get(summary, "downtime_ms");

	outcome->bytes_sent = number_of(summary, "bytes_sent");
	outcome->bytes_resent = number_of(summary, "bytes_resent");
	outcome->copy_ms = copying_ms(json_object_get(summary, "phases"));
	outcome->downtime_ms = json_is_integer(downtime) ? json_integer_value(downtime) : -1;
}

static void take_line(struct dispatch_outcome *outcome, const char *text)
{
	json_t *line = json_loads(text, 0, NULL);
	const char *type = json_string_value(json_object_get(line, "type"));
	const char *message = json_string_value(json_object_get(line, "message"));

	if (number_of(line, "job"))
		outcome->job = (gint64)number_of(line, "job");
	if (g_strcmp0(type, "summary") == 0)
		take_summary(outcome, line);
	if (g_strcmp0(type, "error") == 0 && message) {
		g_free(outcome->message);
		outcome->message = g_strdup(message);
	}
	json_decref(line);
}

void child_words_take(struct child_words *words, const char *text, gsize length,
		      void (*each)(const char *line, void *data), void *data)
{
	const char *end = text + length, *newline;

	for (; (newline = memchr(text, '\n', (gsize)(end - text))); text = newline + 1) {
		g_string_append_len(words->line, text, newline - text);
		take_line(words->outcome, words->line->str);
		if (words->line->len < LINE_MOST)
			each(words->line->str, data);
		g_string_truncate(words->line, 0);
	}
	if (words->line->len < LINE_MOST)
		g_string_append_len(words->line, text, end - text);
}

void child_words_complain(struct child_words *words, const char *text, gsize length)
{
	gsize room = COMPLAINTS_MOST - words->complaints->len;

	g_string_append_len(words->complaints, text, (gssize)MIN(length, room));
}

void child_words_end(struct child_words *words)
{
	g_strstrip(words->complaints->str);
	if (words->outcome->message || !*words->complaints->str)
		return;
	/* JSON and the report are UTF-8; what a crash says need not be. */
	words->outcome->message = g_utf8_make_valid(words->complaints->str, -1);
}
