#include "blockmig/report/meter.h"
#include "blockmig/report/sink.h"

#include <sys/ioctl.h>
#include <unistd.h>

/* How long a plain line stays the last word where there is no terminal. */
enum { PLAIN_INTERVAL_MS = 5000 };

struct bar {
	struct sink sink;
	FILE *err;
	gboolean terminal;
	gboolean drawn; /* a line stands on the terminal, without its end */
	struct meter meter;
	gint64 printed_us; /* plain lines: the last one */
};

static guint terminal_columns(FILE *file)
{
	enum { COLUMNS_DEFAULT = 80 };
	struct winsize size;

	if (ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	return COLUMNS_DEFAULT;
}

static void bar_clear(struct sink *sink)
{
	struct bar *bar = (struct bar *)sink;

	if (!bar->drawn)
		return;
	fputs("\r\033[K", bar->err);
	fflush(bar->err);
	bar->drawn = FALSE;
}

static void draw(struct bar *bar, const struct meter_line *line)
{
	/* A full last column would make some terminals go to the next line. */
	g_autofree char *text = meter_format(line, terminal_columns(bar->err) - 1);

	fprintf(bar->err, "\r\033[K%s", text);
	fflush(bar->err);
	bar->drawn = TRUE;
}

static void print_plain(struct bar *bar, const struct meter_line *line, gint64 now_us)
{
	if (bar->printed_us && now_us - bar->printed_us < PLAIN_INTERVAL_MS * 1000)
		return;
	g_autofree char *text = meter_format(line, 0);

	fprintf(bar->err, "%s\n", text);
	fflush(bar->err);
	bar->printed_us = now_us;
}

static void bar_progress(struct sink *sink, gint64 job, const char *phase, guint round,
			 const struct copy_progress *progress)
{
	struct bar *bar = (struct bar *)sink;
	gint64 now_us = g_get_monotonic_time();

	meter_update(&bar->meter, progress, now_us);
	struct meter_line line = {
		.job = job,
		.phase = phase,
		.round = round,
		.progress = *progress,
		.copied_per_second = bar->meter.copied_per_second,
		.left_ms = meter_left_ms(&bar->meter, progress),
	};

	if (bar->terminal)
		draw(bar, &line);
	else
		print_plain(bar, &line, now_us);
}

/* Phases without a pass of their own are told too: a merge may take its time. */
static void bar_phase(struct sink *sink, gint64 job, const char *phase, gboolean undo,
		      gboolean begun)
{
	struct bar *bar = (struct bar *)sink;

	bar_clear(sink);
	bar->meter = (struct meter){0};
	bar->printed_us = 0;
	if (!begun)
		return;
	fprintf(bar->err, "job %" G_GINT64_FORMAT " %s%s%s", job, undo ? "undoing " : "", phase,
		bar->terminal ? "" : "\n");
	fflush(bar->err);
	bar->drawn = bar->terminal;
}

static void bar_free(struct sink *sink)
{
	g_free(sink);
}

static const struct sink_operations bar_operations = {
	.phase = bar_phase,
	.progress = bar_progress,
	.clear = bar_clear,
	.free = bar_free,
};

struct sink *sink_bar_new(FILE *err, gboolean terminal)
{
	struct bar *bar = g_new0(struct bar, 1);

	bar->sink.operations = &bar_operations;
	bar->err = err;
	bar->terminal = terminal;
	return &bar->sink;
}
