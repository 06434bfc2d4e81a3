#include "blockmig/report/json_text.h"
#include "blockmig/report/night.h"
#include "blockmig/report/sink.h"
#include "blockmig/report/stores.h"

/* Often enough to watch, seldom enough to keep: a log of a night stays readable. */
enum { PROGRESS_INTERVAL_MS = 1000 };

struct json_sink {
	struct sink sink;
	FILE *out;
	gint64 progress_us; /* the last progress line */
};

static json_t *bytes_or_null(guint64 bytes)
{
	return bytes == G_MAXUINT64 ? json_null() : json_integer((json_int_t)bytes);
}

static json_t *text_array(GPtrArray *texts)
{
	json_t *array = json_array();

	for (guint i = 0; texts && i < texts->len; i++)
		json_array_append_new(array, text_or_null(g_ptr_array_index(texts, i)));
	return array;
}

/* Takes @line over; whoever reads gets it at once. */
static void emit(struct sink *sink, json_t *line)
{
	struct json_sink *json = (struct json_sink *)sink;

	json_dumpf(line, json->out, JSON_COMPACT | JSON_REAL_PRECISION(9));
	fputc('\n', json->out);
	fflush(json->out);
	json_decref(line);
}

static void json_phase(struct sink *sink, gint64 job, const char *phase, gboolean undo,
		       gboolean begun)
{
	((struct json_sink *)sink)->progress_us = 0;
	emit(sink, json_pack("{s:s, s:I, s:s, s:b, s:s}", "type", "phase", "job", (json_int_t)job,
			     "phase", phase, "undo", undo, "event", begun ? "begin" : "end"));
}

static void json_progress(struct sink *sink, gint64 job, const char *phase, guint round,
			  const struct copy_progress *progress)
{
	struct json_sink *json = (struct json_sink *)sink;
	gint64 now_us = g_get_monotonic_time();

	if (json->progress_us && now_us - json->progress_us < PROGRESS_INTERVAL_MS * 1000)
		return;
	json->progress_us = now_us;
	emit(sink, json_pack("{s:s, s:I, s:s, s:I, s:I, s:I, s:I}", "type", "progress", "job",
			     (json_int_t)job, "phase", phase, "round", (json_int_t)round,
			     "bytes_total", (json_int_t)progress->bytes_total, "bytes_done",
			     (json_int_t)progress->bytes_done, "bytes_proven",
			     (json_int_t)progress->bytes_proven));
}

static void json_message(struct sink *sink, const struct message *message)
{
	static const char *const types[] = {
		[MESSAGE_NOTE] = "note",
		[MESSAGE_WARNING] = "warning",
		[MESSAGE_ERROR] = "error",
	};
	json_t *line = json_pack("{s:s, s:I, s:o}", "type", types[message->kind], "job",
				 (json_int_t)message->job, "message", text_or_null(message->text));

	if (message->kind == MESSAGE_ERROR)
		json_object_set_new(line, "exit", json_integer(message->exit_status));
	emit(sink, line);
}

static json_t *phase_times(GPtrArray *phases)
{
	json_t *array = json_array();

	for (guint i = 0; phases && i < phases->len; i++) {
		const struct phase_time *phase = g_ptr_array_index(phases, i);

		json_array_append_new(array,
				      json_pack("{s:o, s:f}", "name", text_or_null(phase->name),
						"seconds", phase->seconds));
	}
	return array;
}

static void add_totals(json_t *line, const struct copy_totals *totals)
{
	const struct {
		const char *name;
		guint64 value;
	} fields[] = {
		{"bytes_total", totals->bytes_total},	  {"bytes_data", totals->bytes_data},
		{"bytes_sent", totals->bytes_sent},	  {"bytes_resent", totals->bytes_resent},
		{"bytes_skipped", totals->bytes_skipped}, {"chunks_total", totals->units_total},
		{"chunks_proven", totals->units_proven},  {"mismatches", totals->mismatches},
	};

	for (guint i = 0; i < G_N_ELEMENTS(fields); i++)
		json_object_set_new(line, fields[i].name,
				    json_integer((json_int_t)fields[i].value));
}

static void json_summary(struct sink *sink, const struct move_summary *summary)
{
	json_t *line = json_pack(
		"{s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "type", "summary", "job",
		(json_int_t)summary->job, "kind", text_or_null(summary->kind), "domain",
		text_or_null(summary->domain), "disk", text_or_null(summary->disk), "result",
		text_or_null(summary->result), "source", text_or_null(summary->source),
		"destination", text_or_null(summary->destination));

	add_totals(line, &summary->totals);
	json_object_set_new(line, "sha256", text_or_null(summary->sha256));
	json_object_set_new(line, "rounds", json_integer(summary->rounds));
	json_object_set_new(line, "downtime_ms", json_integer(summary->downtime_ms));
	json_object_set_new(line, "seconds", json_real(summary->seconds));
	json_object_set_new(line, "phases", phase_times(summary->phases));
	json_object_set_new(line, "guarantee", text_or_null(summary->guarantee));
	json_object_set_new(line, "source_allocated_bytes",
			    bytes_or_null(summary->source_allocated_bytes));
	json_object_set_new(line, "destination_allocated_bytes",
			    bytes_or_null(summary->destination_allocated_bytes));
	emit(sink, line);
}

/* What others have made is one line already. */
static void emit_text(struct sink *sink, const char *line, const char *end)
{
	FILE *out = ((struct json_sink *)sink)->out;

	fputs(line, out);
	fputs(end, out);
	fflush(out);
}

static void json_relay(struct sink *sink, const char *line)
{
	emit_text(sink, line, "\n");
}

static void json_night(struct sink *sink, const struct evacuation *evacuation, gboolean loud)
{
	g_autofree char *line = night_json(evacuation);

	(void)loud;
	emit_text(sink, line, "");
}

static void json_plan(struct sink *sink, const struct move_plan *plan)
{
	json_t *line = json_pack(
		"{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "type", "plan", "domain",
		text_or_null(plan->domain), "disk", text_or_null(plan->disk), "state",
		text_or_null(plan->state), "source", text_or_null(plan->source), "source_format",
		text_or_null(plan->source_format), "destination", text_or_null(plan->destination),
		"destination_format", text_or_null(plan->destination_format));

	json_object_set_new(line, "virtual_bytes", bytes_or_null(plan->virtual_bytes));
	json_object_set_new(line, "allocated_bytes", bytes_or_null(plan->allocated_bytes));
	json_object_set_new(line, "free_bytes", bytes_or_null(plan->free_bytes));
	json_object_set_new(line, "obstacles", text_array(plan->obstacles));
	json_object_set_new(line, "warnings", text_array(plan->warnings));
	json_object_set_new(line, "steps", text_array(plan->steps));
	emit(sink, line);
}

static void json_plans(struct sink *sink, guint disks, guint obstacles)
{
	emit(sink, json_pack("{s:s, s:I, s:s, s:I, s:I}", "type", "summary", "job", (json_int_t)0,
			     "result", obstacles ? "refused" : "planned", "disks",
			     (json_int_t)disks, "obstacles", (json_int_t)obstacles));
}

static void json_comparison(struct sink *sink, const struct comparison *comparison,
			    const GError *error)
{
	const struct compare_totals *totals = &comparison->totals;
	/* After a difference the rest was not read, so there is no root. */
	g_autofree char *root = error ? g_strdup("") : digest_hex(&totals->root_a);

	emit(sink,
	     json_pack("{s:s, s:I, s:s, s:o, s:o, s:I, s:I, s:I, s:s}", "type", "summary", "job",
		       (json_int_t)comparison->job, "result", error ? "failed" : "equal", "source",
		       text_or_null(comparison->a), "destination", text_or_null(comparison->b),
		       "bytes_total", (json_int_t)totals->bytes_compared, "chunks_total",
		       (json_int_t)totals->chunks_total, "chunks_equal",
		       (json_int_t)totals->chunks_equal, "sha256", root));
}

/* null: not known; lasts_s also where nothing grows. */
static json_t *room_object(const struct room *room)
{
	return json_pack(
		"{s:o, s:o, s:o, s:o, s:o}", "folder", text_or_null(room->folder), "held_bytes",
		bytes_or_null(room->held_bytes), "free_bytes", bytes_or_null(room->free_bytes),
		"bytes_per_second", bytes_or_null(room->bytes_per_second), "lasts_s",
		room->lasts_ms == G_MAXUINT64 ? json_null()
					      : json_integer((json_int_t)(room->lasts_ms / 1000)));
}

static json_t *job_object(const struct job_view *view)
{
	const struct ledger_job *job = view->job;
	json_t *line = json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "type", "job", "job",
				 (json_int_t)job->id, "kind", text_or_null(job->kind), "domain",
				 text_or_null(job->domain_name), "disk", text_or_null(job->disk),
				 "source", text_or_null(job->source), "destination",
				 text_or_null(job->destination), "phase", text_or_null(job->phase));

	json_object_set_new(line, "undoing", json_boolean(job->undoing));
	json_object_set_new(line, "state", json_string(job_view_state(view)));
	if (view->progress.units_total) {
		json_object_set_new(line, "chunks_total",
				    json_integer((json_int_t)view->progress.units_total));
		json_object_set_new(line, "chunks_done",
				    json_integer((json_int_t)view->progress.units_done));
		json_object_set_new(line, "chunks_proven",
				    json_integer((json_int_t)view->progress.units_proven));
	}
	if (view->room)
		json_object_set_new(line, "overlay", room_object(view->room));
	json_object_set_new(line, "pid", view->holder ? json_integer(view->holder) : json_null());
	json_object_set_new(line, "message", text_or_null(job->message));
	json_object_set_new(line, "created", json_integer(job->created_s));
	json_object_set_new(line, "updated", json_integer(job->updated_s));
	return line;
}

static void json_jobs(struct sink *sink, GArray *views)
{
	for (guint i = 0; i < views->len; i++)
		emit(sink, job_object(&g_array_index(views, struct job_view, i)));
}

static void json_job(struct sink *sink, const struct job_view *view, GPtrArray *phases)
{
	json_t *line = job_object(view);
	json_t *times = json_array();

	for (guint i = 0; i < phases->len; i++) {
		const struct ledger_phase *phase = g_ptr_array_index(phases, i);

		json_array_append_new(times,
				      json_pack("{s:o, s:b, s:I, s:I, s:o}", "name",
						text_or_null(phase->name), "undo", phase->undo,
						"begun_us", (json_int_t)phase->begun_us, "ended_us",
						(json_int_t)phase->ended_us, "outcome",
						text_or_null(phase->outcome)));
	}
	json_object_set_new(line, "phases", times);
	emit(sink, line);
}

static void json_stores(struct sink *sink, const struct inventory *inventory)
{
	for (guint i = 0; i < inventory->stores->len; i++)
		emit(sink, store_json(g_ptr_array_index(inventory->stores, i)));
	emit(sink, json_pack("{s:s, s:i, s:s, s:i}", "type", "summary", "job", 0, "result", "done",
			     "datastores", (int)inventory->stores->len));
}

static void json_evacuation_plan(struct sink *sink, const struct plan *plan)
{
	json_t *lines = evacuation_plan_json(plan);

	for (size_t i = 0; i < json_array_size(lines); i++)
		emit(sink, json_incref(json_array_get(lines, i)));
	json_decref(lines);
	emit(sink, evacuation_plan_summary(plan));
}

static void json_leftovers(struct sink *sink, GPtrArray *leftovers, gboolean dry_run)
{
	guint64 bytes = 0;
	guint going = 0;

	for (guint i = 0; i < leftovers->len; i++) {
		const struct move_leftover *leftover = g_ptr_array_index(leftovers, i);
		const char *action = !leftover->goes ? "kept"
				     : dry_run	     ? "would-remove"
						     : "removed";

		bytes += leftover->goes ? leftover->bytes : 0;
		going += leftover->goes ? 1 : 0;
		emit(sink, json_pack("{s:s, s:s, s:o, s:I, s:s, s:o}", "type", "leftover", "kind",
				     leftover->kind, "name", text_or_null(leftover->name), "bytes",
				     (json_int_t)leftover->bytes, "action", action, "why",
				     text_or_null(leftover->why)));
	}
	emit(sink, json_pack("{s:s, s:I, s:s, s:I, s:I, s:I}", "type", "summary", "job",
			     (json_int_t)0, "result", dry_run ? "planned" : "done",
			     dry_run ? "removable" : "removed", (json_int_t)going, "kept",
			     (json_int_t)(leftovers->len - going), "bytes", (json_int_t)bytes));
}

static void json_free(struct sink *sink)
{
	g_free(sink);
}

static const struct sink_operations json_operations = {
	.phase = json_phase,
	.progress = json_progress,
	.message = json_message,
	.summary = json_summary,
	.relay = json_relay,
	.night = json_night,
	.plan = json_plan,
	.plans = json_plans,
	.stores = json_stores,
	.evacuation_plan = json_evacuation_plan,
	.comparison = json_comparison,
	.jobs = json_jobs,
	.job = json_job,
	.leftovers = json_leftovers,
	.free = json_free,
};

struct sink *sink_json_new(FILE *out)
{
	struct json_sink *json = g_new0(struct json_sink, 1);

	json->sink.operations = &json_operations;
	json->out = out;
	return &json->sink;
}
