#include "blockmig/move/summary.h"

#include "blockmig/move/passes.h"

static void phase_time_free(void *pointer)
{
	struct phase_time *phase = pointer;

	g_free(phase->name);
	g_free(phase);
}

void move_summary_free(struct move_summary *summary)
{
	g_free(summary->kind);
	g_free(summary->domain);
	g_free(summary->disk);
	g_free(summary->result);
	g_free(summary->source);
	g_free(summary->destination);
	g_free(summary->sha256);
	g_free(summary->guarantee);
	g_clear_pointer(&summary->phases, g_ptr_array_unref);
	g_free(summary);
}

void move_plan_free(struct move_plan *plan)
{
	g_free(plan->domain);
	g_free(plan->disk);
	g_free(plan->source);
	g_free(plan->destination);
	g_free(plan->source_format);
	g_free(plan->destination_format);
	g_free(plan->state);
	g_ptr_array_unref(plan->obstacles);
	g_ptr_array_unref(plan->warnings);
	g_ptr_array_unref(plan->steps);
	g_free(plan);
}

const char *summary_result(enum job_result result)
{
	static const char *const words[] = {
		[JOB_OPEN] = "interrupted",
		[JOB_DONE] = "done",
		[JOB_ROLLED_BACK] = "rolled-back",
		[JOB_FAILED] = "failed",
	};

	return words[result];
}

/* "proven", or what less it is. */
static char *guarantee_word(const struct job *job, enum job_result result)
{
	if (result != JOB_DONE)
		return g_strdup("none: the job is not done");
	if (job->guarantee)
		return g_strdup(job->guarantee);
	return g_strdup(job->options.verify ? "proven" : "not proven: --verify none");
}

static double add_phases(struct move_summary *summary, GPtrArray *timeline)
{
	double sum = 0;

	for (guint i = 0; i < timeline->len; i++) {
		const struct ledger_phase *phase = g_ptr_array_index(timeline, i);
		struct phase_time *time = g_new0(struct phase_time, 1);

		time->name = phase->undo ? g_strdup_printf("undo %s", phase->name)
					 : g_strdup(phase->name);
		/* One that did not end runs, or was cut off by a crash. */
		if (phase->ended_us || i + 1 == timeline->len)
			time->seconds =
				(double)((phase->ended_us ? phase->ended_us : g_get_real_time()) -
					 phase->begun_us) /
				1e6;
		sum += time->seconds;
		g_ptr_array_add(summary->phases, time);
	}
	return sum;
}

static guint64 allocated(const struct place *place)
{
	struct image_info info;
	AUTO(handle) handle = handle_open(place->url, place->transport, HANDLE_READ, NULL);

	return handle && handle_describe(handle, &info, NULL) ? info.allocated_bytes : G_MAXUINT64;
}

struct move_summary *summary_of(struct move *move, GError **error)
{
	const struct job *job = move->job;
	AUTO(ledger_job) record = ledger_job_get(move->context.ledger, job->id, error);
	g_autoptr(GPtrArray) timeline =
		record ? ledger_phase_list(move->context.ledger, job->id, error) : NULL;

	if (!timeline)
		return NULL;
	struct move_summary *summary = g_new0(struct move_summary, 1);

	summary->phases = g_ptr_array_new_with_free_func(phase_time_free);
	summary->job = job->id;
	summary->kind = g_strdup(record->kind);
	summary->domain = g_strdup(job->domain_name ? job->domain_name : "");
	summary->disk = g_strdup(job->disk ? job->disk : "");
	summary->result = g_strdup(summary_result(record->result));
	summary->source = g_strdup(job->source_url);
	summary->destination = g_strdup(job->destination_url);
	pass_totals(job, &summary->totals);
	summary->sha256 = g_strdup(job->sha256 ? job->sha256 : "");
	summary->rounds = job->rounds;
	summary->downtime_ms = job->downtime_ms;
	summary->guarantee = guarantee_word(job, record->result);
	summary->seconds = add_phases(summary, timeline);
	summary->source_allocated_bytes = summary->destination_allocated_bytes = G_MAXUINT64;
	if (record->result == JOB_DONE)
		summary->destination_allocated_bytes = allocated(move->destination);
	return summary;
}

struct move_summary *move_report(struct move_context *context, gint64 id, GError **error)
{
	AUTO(ledger_job) record = ledger_job_get(context->ledger, id, error);
	AUTO(job) job = record ? job_from_json(record->state, error) : NULL;

	if (!job)
		return NULL;
	job->id = id;
	/* It takes the job over where it succeeds, and not where it fails. */
	AUTO(move) move = move_new(context, job, error);

	if (!move)
		return NULL;
	job = NULL;
	return summary_of(move, error);
}
