#include "blockmig/report/meter.h"

#include "common/units.h"

/* A low pass: what is older than the window hardly counts. */
static void smooth(double *rate, guint64 bytes, double seconds)
{
	const double window_s = 3;
	double now = (double)bytes / seconds;

	*rate += (*rate > 0 ? seconds / (seconds + window_s) : 1) * (now - *rate);
}

void meter_update(struct meter *meter, const struct copy_progress *progress, gint64 now_us)
{
	double seconds = (double)(now_us - meter->last_us) / 1e6;

	if (!meter->last_us || progress->bytes_total != meter->last.bytes_total ||
	    progress->bytes_done < meter->last.bytes_done ||
	    progress->bytes_proven < meter->last.bytes_proven) {
		*meter = (struct meter){.last_us = now_us, .last = *progress};
		return;
	}
	if (seconds <= 0)
		return;
	smooth(&meter->copied_per_second, progress->bytes_done - meter->last.bytes_done, seconds);
	smooth(&meter->proven_per_second, progress->bytes_proven - meter->last.bytes_proven,
	       seconds);
	meter->last_us = now_us;
	meter->last = *progress;
}

static gint64 time_for(guint64 part, guint64 whole, double bytes_per_second)
{
	if (part >= whole)
		return 0;
	return bytes_per_second < 1 ? -1
				    : (gint64)((double)(whole - part) * 1000 / bytes_per_second);
}

gint64 meter_left_ms(const struct meter *meter, const struct copy_progress *progress)
{
	guint64 total = progress->bytes_total;
	gint64 copy_ms = time_for(progress->bytes_done, total, meter->copied_per_second);
	gint64 prove_ms = time_for(progress->bytes_proven, total, meter->proven_per_second);

	/* With nothing proven yet, the read-back may be turned off. */
	if (copy_ms < 0 || progress->bytes_proven == 0)
		return copy_ms;
	return prove_ms < 0 ? -1 : MAX(copy_ms, prove_ms);
}

static guint percent(guint64 part, guint64 whole)
{
	return whole ? (guint)((double)MIN(part, whole) * 100 / (double)whole) : 100;
}

/* What stands behind the bar, in order of importance; a NULL ends it. */
static char **describe(const struct meter_line *line)
{
	const struct copy_progress *progress = &line->progress;
	guint64 total = progress->bytes_total;
	g_autofree char *copied_text = units_format_size(progress->bytes_done);
	g_autofree char *total_text = units_format_size(total);
	g_autofree char *rate = units_format_size((guint64)line->copied_per_second);
	g_autofree char *left = units_format_time((guint64)MAX(line->left_ms, 0));
	g_autoptr(GPtrArray) parts = g_ptr_array_new();

	g_ptr_array_add(parts, g_strdup_printf(" %u%%", percent(progress->bytes_done, total)));
	g_ptr_array_add(parts, g_strdup_printf(" %s of %s", copied_text, total_text));
	if (line->copied_per_second >= 1)
		g_ptr_array_add(parts, g_strdup_printf(", %s/s", rate));
	if (line->left_ms >= 0)
		g_ptr_array_add(parts, g_strdup_printf(", %s left", left));
	if (progress->bytes_proven)
		g_ptr_array_add(parts, g_strdup_printf(", proven %u%%",
						       percent(progress->bytes_proven, total)));
	g_ptr_array_add(parts, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&parts), FALSE);
}

static void append_bar(GString *text, gsize columns, guint filled_percent)
{
	gsize filled = columns * filled_percent / 100;

	g_string_append(text, " [");
	for (gsize i = 0; i < columns; i++)
		g_string_append_c(text, i < filled ? '#' : '.');
	g_string_append_c(text, ']');
}

char *meter_format(const struct meter_line *line, guint columns)
{
	enum { BAR_MIN = 10, BAR_MAX = 30, BAR_FRAME = 3 };
	g_autoptr(GString) text = g_string_new(NULL);
	g_autoptr(GString) tail = g_string_new(NULL);
	g_auto(GStrv) parts = describe(line);

	g_string_printf(text, "job %" G_GINT64_FORMAT " %s", line->job, line->phase);
	if (line->round)
		g_string_append_printf(text, " round %u", line->round);
	for (guint i = 0; parts[i]; i++) {
		if (columns && text->len + tail->len + strlen(parts[i]) > columns)
			break;
		g_string_append(tail, parts[i]);
	}

	gsize used = text->len + tail->len + BAR_FRAME;

	if (columns >= used + BAR_MIN)
		append_bar(text, MIN(columns - used, (gsize)BAR_MAX),
			   percent(line->progress.bytes_done, line->progress.bytes_total));
	g_string_append(text, tail->str);
	if (columns)
		g_string_truncate(text, MIN(text->len, (gsize)columns));
	return g_string_free(g_steal_pointer(&text), FALSE);
}
