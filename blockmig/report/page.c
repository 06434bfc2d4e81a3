#include "blockmig/report/page.h"

#include "blockmig/report/file.h"
#include "common/units.h"

static const char head[] =
	"<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
	"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
	"style-src 'unsafe-inline'\">\n"
	"<style>body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
	"table{border-collapse:collapse;margin:1em 0}td,th{border-bottom:1px solid #ccc;"
	"padding:.2em .8em;text-align:left;vertical-align:top}td{overflow-wrap:anywhere}"
	"</style>\n";

/* Names and messages are others' words: never markup. */
static char *escaped(const char *text)
{
	g_autofree char *valid = g_utf8_make_valid(text ? text : "", -1);

	return g_markup_escape_text(valid, -1);
}

static void add_row(GString *page, const char *name, const char *value)
{
	g_autofree char *left = escaped(name);
	g_autofree char *right = escaped(value);

	g_string_append_printf(page, "<tr><th>%s<td>%s\n", left, right);
}

static char *clock_text(gint64 at_s)
{
	g_autoptr(GDateTime) utc = g_date_time_new_from_unix_utc(at_s);

	return g_date_time_format(utc, "%F %T UTC");
}

static void add_facts(GString *page, const struct move_summary *summary,
		      const struct ledger_job *job)
{
	const struct copy_totals *totals = &summary->totals;
	g_autofree char *total = units_format_size(totals->bytes_total);
	g_autofree char *data = units_format_size(totals->bytes_data);
	g_autofree char *sent = units_format_size(totals->bytes_sent);
	g_autofree char *again = units_format_size(totals->bytes_resent);
	g_autofree char *created = clock_text(job->created_s);
	g_autofree char *ended = clock_text(job->updated_s);
	g_autofree char *bytes = g_strdup_printf("%s, %s of it data; %s sent, %s of it again",
						 total, data, sent, again);
	g_autofree char *proven = g_strdup_printf("%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT,
						  totals->units_proven, totals->units_total);
	g_autofree char *downtime =
		summary->downtime_ms < 0
			? g_strdup("none")
			: g_strdup_printf("%" G_GINT64_FORMAT " ms", summary->downtime_ms);
	g_autofree char *disk = g_strdup_printf("%s %s", summary->domain, summary->disk);
	const struct {
		const char *name, *value;
	} rows[] = {
		{"Result", summary->result},
		{"Message", job->message},
		{"Disk", disk},
		{"Source", summary->source},
		{"Destination", summary->destination},
		{"Begun", created},
		{"Last change", ended},
		{"Content", bytes},
		{"Chunks proven", proven},
		{"SHA-256 root", summary->sha256},
		{"Guarantee", summary->guarantee},
		{"The guest stood still", downtime},
	};

	for (guint i = 0; i < G_N_ELEMENTS(rows); i++)
		if (rows[i].value && *rows[i].value && !g_str_equal(rows[i].value, " "))
			add_row(page, rows[i].name, rows[i].value);
}

static void add_phase(GString *page, const struct ledger_phase *phase)
{
	g_autofree char *name = escaped(phase->name);
	g_autofree char *outcome = escaped(*phase->outcome ? phase->outcome : "not at its end");
	g_autofree char *begun = clock_text(phase->begun_us / G_USEC_PER_SEC);
	g_autofree char *took =
		phase->ended_us
			? units_format_time((guint64)(phase->ended_us - phase->begun_us) / 1000)
			: g_strdup("");

	g_string_append_printf(page, "<tr><td>%s%s<td>%s<td>%s<td>%s\n", phase->undo ? "undo " : "",
			       name, begun, took, outcome);
}

char *page_format(const struct move_summary *summary, const struct ledger_job *job,
		  const GPtrArray *phases)
{
	GString *page = g_string_new(head);

	g_string_append_printf(page,
			       "<title>blockmig job %" G_GINT64_FORMAT "</title>\n<h1>Job "
			       "%" G_GINT64_FORMAT "</h1>\n<table>\n",
			       job->id, job->id);
	add_facts(page, summary, job);
	g_string_append(page, "</table>\n<h2>Time line</h2>\n<table>\n"
			      "<tr><th>Phase<th>Begun<th>Took<th>Outcome\n");
	for (guint i = 0; i < phases->len; i++)
		add_phase(page, g_ptr_array_index(phases, i));
	g_string_append(page, "</table>\n</html>\n");
	return g_string_free(page, FALSE);
}

gboolean page_write(const struct move_summary *summary, const struct ledger_job *job,
		    const GPtrArray *phases, const char *path, GError **error)
{
	g_autofree char *page = page_format(summary, job, phases);

	return report_write(path, page, error);
}
