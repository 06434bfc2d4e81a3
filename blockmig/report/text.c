#include "blockmig/report/night.h"
#include "blockmig/report/sink.h"
#include "blockmig/report/stores.h"
#include "blockmig/report/table.h"
#include "common/units.h"

#include <string.h>

struct text {
	struct sink sink;
	FILE *out; /* NULL: errors and warnings only */
	FILE *err;
	gboolean quiet;
	gboolean verbose;
};

/* Where @sink's own words go; NULL: nowhere. */
static FILE *out_of(struct sink *sink)
{
	struct text *text = (struct text *)sink;

	return text->quiet ? NULL : text->out;
}

static void text_phase(struct sink *sink, gint64 job, const char *phase, gboolean undo,
		       gboolean begun)
{
	struct text *text = (struct text *)sink;

	if (text->verbose && !text->quiet)
		fprintf(text->err, "job %" G_GINT64_FORMAT ": %s%s %s\n", job,
			undo ? "undoing " : "", phase, begun ? "begins" : "ends");
}

/* Whether @text begins with "job N", and not with a longer number. */
static gboolean names_job(const char *text, gint64 number)
{
	g_autofree char *job = g_strdup_printf("job %" G_GINT64_FORMAT, number);

	return g_str_has_prefix(text, job) && !g_ascii_isdigit(text[strlen(job)]);
}

static void print_error(FILE *err, const struct message *message)
{
	enum { INTERRUPTED = 3 };
	g_autofree char *resume =
		g_strdup_printf("blockmig resume %" G_GINT64_FORMAT, message->job);
	gboolean hint = message->job && message->exit_status == INTERRUPTED &&
			!strstr(message->text, resume);

	if (message->job && !names_job(message->text, message->job))
		fprintf(err, "blockmig: job %" G_GINT64_FORMAT ": %s\n", message->job,
			message->text);
	else
		fprintf(err, "blockmig: %s\n", message->text);
	if (hint)
		fprintf(err, "blockmig: carry on with: %s\n", resume);
}

static void text_message(struct sink *sink, const struct message *message)
{
	struct text *text = (struct text *)sink;

	switch (message->kind) {
	case MESSAGE_ERROR:
		print_error(text->err, message);
		break;
	case MESSAGE_WARNING:
		if (!text->quiet)
			fprintf(text->err, "blockmig: warning: %s\n", message->text);
		break;
	case MESSAGE_NOTE:
		if (!text->quiet)
			fprintf(text->err, "%s\n", message->text);
		break;
	}
	fflush(text->err);
}

static const char *result_words(const char *result)
{
	static const char *const words[][2] = {
		{"done", "moved"},
		{"rolled-back", "rolled back, the guest is on its source"},
		{"interrupted", "interrupted"},
		{"failed", "failed"},
	};

	for (guint i = 0; i < G_N_ELEMENTS(words); i++)
		if (g_strcmp0(words[i][0], result) == 0)
			return words[i][1];
	return result;
}

static void print_totals(FILE *out, const struct move_summary *summary)
{
	const struct copy_totals *totals = &summary->totals;
	g_autofree char *total = units_format_size(totals->bytes_total);
	g_autofree char *sent = units_format_size(totals->bytes_sent);
	g_autofree char *resent = units_format_size(totals->bytes_resent);
	g_autofree char *skipped = units_format_size(totals->bytes_skipped);
	g_autofree char *time = units_format_time((guint64)(summary->seconds * 1000));

	fprintf(out,
		"  %s: %s sent (%s of it again), %s done by an earlier run; %" G_GUINT64_FORMAT
		" of %" G_GUINT64_FORMAT " chunks proven; %s\n",
		total, sent, resent, skipped, totals->units_proven, totals->units_total, time);
	if (summary->downtime_ms >= 0)
		fprintf(out, "  %u round%s; the guest stood still for %" G_GINT64_FORMAT " ms\n",
			summary->rounds, summary->rounds == 1 ? "" : "s", summary->downtime_ms);
	if (summary->source_allocated_bytes != G_MAXUINT64 &&
	    summary->destination_allocated_bytes != G_MAXUINT64) {
		g_autofree char *before = units_format_size(summary->source_allocated_bytes);
		g_autofree char *after = units_format_size(summary->destination_allocated_bytes);

		fprintf(out, "  allocated: %s before, %s now\n", before, after);
	}
}

static void text_summary(struct sink *sink, const struct move_summary *summary)
{
	FILE *out = out_of(sink);

	/* Without a job there is nothing to tell beside the error. */
	if (!out || !summary->job)
		return;
	gboolean copied =
		g_strcmp0(summary->kind, "copy") == 0 && g_strcmp0(summary->result, "done") == 0;

	fprintf(out, "job %" G_GINT64_FORMAT ": ", summary->job);
	if (summary->domain && *summary->domain)
		fprintf(out, "%s %s ", summary->domain, summary->disk);
	fprintf(out, "%s: %s -> %s\n", copied ? "copied" : result_words(summary->result),
		summary->source, summary->destination);
	print_totals(out, summary);
	if (summary->guarantee && *summary->guarantee)
		fprintf(out, "  guarantee: %s\n", summary->guarantee);
	if (summary->sha256 && *summary->sha256)
		fprintf(out, "  sha256 root: %s\n", summary->sha256);
	fflush(out);
}

static void text_night(struct sink *sink, const struct evacuation *evacuation, gboolean loud)
{
	struct text *text = (struct text *)sink;
	gboolean good = evacuation_status(evacuation) == 0;
	FILE *file = good ? out_of(sink) : text->err;
	g_autofree char *words = night_text(evacuation);

	if (!file || (good && !loud))
		return;
	fputs(words, file);
	fflush(file);
}

static void print_list(FILE *out, const char *head, GPtrArray *texts)
{
	for (guint i = 0; texts && i < texts->len; i++)
		fprintf(out, "  %-11s %s\n", i ? "" : head, (char *)g_ptr_array_index(texts, i));
}

static void text_plan(struct sink *sink, const struct move_plan *plan)
{
	FILE *out = out_of(sink);

	if (!out)
		return;
	g_autofree char *size = units_format_size(plan->virtual_bytes);
	g_autofree char *allocated = plan->allocated_bytes == G_MAXUINT64
					     ? g_strdup("an unknown part")
					     : units_format_size(plan->allocated_bytes);
	g_autofree char *room = plan->free_bytes == G_MAXUINT64
					? g_strdup("unknown")
					: units_format_size(plan->free_bytes);

	fprintf(out, "%s %s (%s)\n", plan->domain, plan->disk, plan->state);
	fprintf(out, "  %-11s %s (%s)\n", "from", plan->source, plan->source_format);
	fprintf(out, "  %-11s %s (%s)\n", "to", plan->destination ? plan->destination : "-",
		plan->destination_format ? plan->destination_format : "-");
	fprintf(out, "  %-11s %s, %s of it allocated; free at the destination: %s\n", "size", size,
		allocated, room);
	print_list(out, "warning", plan->warnings);
	print_list(out, "obstacle", plan->obstacles);
	if (!plan->obstacles->len)
		print_list(out, "steps", plan->steps);
}

static void text_plans(struct sink *sink, guint disks, guint obstacles)
{
	FILE *out = out_of(sink);

	if (!out)
		return;
	if (obstacles)
		fprintf(out, "%u obstacle%s: nothing would be moved until gone\n", obstacles,
			obstacles == 1 ? "" : "s");
	else
		fprintf(out, "%u disk%s can be moved; nothing was changed\n", disks,
			disks == 1 ? "" : "s");
	fflush(out);
}

static void text_comparison(struct sink *sink, const struct comparison *comparison,
			    const GError *error)
{
	FILE *out = out_of(sink);

	if (!out || error)
		return;
	g_autofree char *bytes = units_format_size(comparison->totals.bytes_compared);
	g_autofree char *root = digest_hex(&comparison->totals.root_a);

	fprintf(out, "equal: %s and %s\n  %s in %" G_GUINT64_FORMAT " chunks\n  sha256 root: %s\n",
		comparison->a, comparison->b, bytes, comparison->totals.chunks_total, root);
	fflush(out);
}

static char *format_clock(gint64 unix_s)
{
	g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(unix_s);

	return time ? g_date_time_format(time, "%Y-%m-%d %H:%M:%S") : g_strdup("?");
}

/* "seed", "seed 45%", "undoing freeze"; the caller frees. */
static char *format_phase(const struct job_view *view)
{
	const struct ledger_progress *progress = &view->progress;
	const struct ledger_job *job = view->job;
	gboolean copies = g_str_equal(job->phase, "seed") || g_str_equal(job->phase, "rounds");

	if (job->undoing)
		return g_strdup_printf("undoing %s", job->phase);
	if (!copies || !progress->units_total)
		return g_strdup(job->phase);
	return g_strdup_printf("%s %" G_GUINT64_FORMAT "%%", job->phase,
			       progress->units_done * 100 / progress->units_total);
}

static void add_job(struct table *table, const struct job_view *view)
{
	const struct ledger_job *job = view->job;
	g_autofree char *id = g_strdup_printf("%" G_GINT64_FORMAT, job->id);
	g_autofree char *phase = format_phase(view);
	g_autofree char *updated = format_clock(job->updated_s);
	g_autofree char *state =
		view->holder ? g_strdup_printf("%s (%d)", job_view_state(view), view->holder)
			     : g_strdup(job_view_state(view));
	g_autofree char *way = g_strdup_printf("%s -> %s", job->source, job->destination);
	const char *cells[] = {
		id,
		*job->domain_name ? job->domain_name : "-",
		*job->disk ? job->disk : "-",
		state,
		phase,
		updated,
		way,
	};

	table_add(table, cells);
	if (job->message && *job->message)
		table_add_remark(table, job->message);
	if (view->room) {
		g_autofree char *room = room_text(view->room);

		table_add_remark(table, room);
	}
}

static void text_jobs(struct sink *sink, GArray *views)
{
	static const char *const heads[] = {
		"JOB", "DOMAIN", "DISK", "STATE", "PHASE", "UPDATED", "SOURCE -> DESTINATION",
		NULL};
	FILE *out = out_of(sink);

	if (!out)
		return;
	if (!views->len) {
		fprintf(out, "no jobs\n");
		return;
	}
	AUTO(table) table = table_new(heads);

	for (guint i = 0; i < views->len; i++)
		add_job(table, &g_array_index(views, struct job_view, i));
	g_autofree char *lines = table_format(table);

	fputs(lines, out);
	fflush(out);
}

static void print_time_line(FILE *out, GPtrArray *phases)
{
	static const char *const heads[] = {"  BEGUN", "PHASE", "TOOK", "OUTCOME", NULL};
	AUTO(table) table = table_new(heads);

	for (guint i = 0; i < phases->len; i++) {
		const struct ledger_phase *phase = g_ptr_array_index(phases, i);
		g_autofree char *clock = format_clock(phase->begun_us / G_USEC_PER_SEC);
		g_autofree char *begun = g_strdup_printf("  %s", clock);
		g_autofree char *name =
			g_strdup_printf("%s%s", phase->undo ? "undo " : "", phase->name);
		g_autofree char *took =
			phase->ended_us
				? units_format_time((guint64)(phase->ended_us - phase->begun_us) /
						    1000)
				: g_strdup("-");
		const char *cells[] = {begun, name, took,
				       phase->ended_us ? phase->outcome : "not ended"};

		table_add(table, cells);
	}
	g_autofree char *lines = table_format(table);

	fputs(lines, out);
}

static void text_job(struct sink *sink, const struct job_view *view, GPtrArray *phases)
{
	FILE *out = out_of(sink);
	const struct ledger_job *job = view->job;

	if (!out)
		return;
	g_autofree char *created = format_clock(job->created_s);

	fprintf(out, "job %" G_GINT64_FORMAT " (%s): %s", job->id, job->kind, job_view_state(view));
	if (view->holder)
		fprintf(out, " (process %d)", view->holder);
	if (view->progress.units_total)
		fprintf(out,
			"\n  newest pass  %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
			" chunks copied, %" G_GUINT64_FORMAT " proven",
			view->progress.units_done, view->progress.units_total,
			view->progress.units_proven);
	if (*job->domain_name)
		fprintf(out, "\n  disk         %s %s", job->domain_name, job->disk);
	fprintf(out, "\n  source       %s\n  destination  %s\n  created      %s\n", job->source,
		job->destination, created);
	if (job->message && *job->message)
		fprintf(out, "  message      %s\n", job->message);
	if (view->room) {
		g_autofree char *room = room_text(view->room);

		fprintf(out, "  room         %s\n", room);
	}
	if (job->result == JOB_OPEN && !view->holder)
		fprintf(out, "  carry on     blockmig resume %" G_GINT64_FORMAT "\n", job->id);
	print_time_line(out, phases);
	fflush(out);
}

/* Takes @text over. */
static void print_text(struct sink *sink, char *text)
{
	FILE *out = out_of(sink);

	if (out) {
		fputs(text, out);
		fflush(out);
	}
	g_free(text);
}

static void text_stores(struct sink *sink, const struct inventory *inventory)
{
	print_text(sink, stores_text(inventory));
}

static void text_evacuation_plan(struct sink *sink, const struct plan *plan)
{
	print_text(sink, evacuation_plan_text(plan));
}

static void text_leftovers(struct sink *sink, GPtrArray *leftovers, gboolean dry_run)
{
	FILE *out = out_of(sink);

	if (!out)
		return;
	if (!leftovers->len)
		fputs("nothing is left over\n", out);
	for (guint i = 0; i < leftovers->len; i++) {
		const struct move_leftover *leftover = g_ptr_array_index(leftovers, i);
		g_autofree char *size = units_format_size(leftover->bytes);

		fprintf(out, "%s: %s %s",
			!leftover->goes ? "kept"
			: dry_run	? "would go"
					: "removed",
			leftover->kind, leftover->name);
		if (leftover->bytes)
			fprintf(out, " (%s)", size);
		fprintf(out, ": %s\n", leftover->why);
	}
	fflush(out);
}

static void text_free(struct sink *sink)
{
	g_free(sink);
}

static const struct sink_operations text_operations = {
	.phase = text_phase,
	.message = text_message,
	.summary = text_summary,
	.night = text_night,
	.plan = text_plan,
	.plans = text_plans,
	.stores = text_stores,
	.evacuation_plan = text_evacuation_plan,
	.comparison = text_comparison,
	.jobs = text_jobs,
	.job = text_job,
	.leftovers = text_leftovers,
	.free = text_free,
};

struct sink *sink_text_new(FILE *out, FILE *err, gboolean quiet, gboolean verbose)
{
	struct text *text = g_new0(struct text, 1);

	text->sink.operations = &text_operations;
	text->out = out;
	text->err = err;
	text->quiet = quiet;
	text->verbose = verbose;
	return &text->sink;
}
