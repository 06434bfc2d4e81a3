#include "blockmig/move/guardian.h"
#include "blockmig/move/pace.h"
#include "blockmig/move/phases.h"
#include "blockmig/move/preflight.h"
#include "blockmig/move/room.h"
#include "blockmig/move/start.h"
#include "blockmig/move/summary.h"

#include "common/error.h"

static char *domain_key(const char *uuid)
{
	return g_strdup_printf("domain:%s", uuid);
}

static char *job_key(gint64 job)
{
	return g_strdup_printf("job:%" G_GINT64_FORMAT, job);
}

gboolean start_lock_image(struct ledger *ledger, const char *identity, const char *url, gint64 job,
			  GError **error)
{
	g_autofree char *key = g_strdup_printf("image:%s", identity && *identity ? identity : url);

	return ledger_lock(ledger, key, job, error);
}

gboolean start_lock(struct ledger *ledger, const struct job *job, GError **error)
{
	g_autofree char *self = job_key(job->id);
	g_autofree char *domain = job->domain_uuid ? domain_key(job->domain_uuid) : NULL;

	return ledger_lock(ledger, self, job->id, error) &&
	       (!domain || ledger_lock(ledger, domain, job->id, error)) &&
	       start_lock_image(ledger, job->source_identity, job->source_url, job->id, error) &&
	       start_lock_image(ledger, job->destination_identity, job->destination_url, job->id,
				error);
}

static gboolean add_record(struct ledger *ledger, struct ledger_job *record, struct job *job,
			   GError **error)
{
	g_autofree char *state = job_to_json(job);

	record->state = state;
	if (!ledger_job_add(ledger, record, error))
		return FALSE;
	job->id = record->id;
	if (job->number)
		return TRUE;
	job->number = (guint64)job->id;
	g_autofree char *numbered = job_to_json(job);

	return ledger_job_save(ledger, job->id, numbered, error);
}

gboolean start_add(struct move_context *context, const char *kind, struct job *job,
		   const struct start_from *from, GError **error)
{
	struct ledger_job record = {
		.id = job->id,
		.kind = (char *)kind,
		.domain_uuid = job->domain_uuid ? job->domain_uuid : (char *)"",
		.domain_name = job->domain_name ? job->domain_name : (char *)"",
		.disk = job->disk ? job->disk : (char *)"",
		.source = job->source_url,
		.destination = job->destination_url,
		.phase = from ? (char *)from->phase : (char *)"",
		.undoing = from && from->undoing,
		.message = from ? (char *)from->message : (char *)"",
	};

	if (!job->nonce) {
		job->nonce = g_uuid_string_random();
		job->host = g_strdup(g_get_host_name());
		job->state_folder = g_canonicalize_filename(ledger_folder(context->ledger), NULL);
	}
	if (!add_record(context->ledger, &record, job, error))
		return FALSE;
	if (start_lock(context->ledger, job, error))
		return TRUE;
	ledger_job_end(context->ledger, job->id, JOB_FAILED, "another blockmig was there first",
		       NULL);
	ledger_unlock_job(context->ledger, job->id, NULL);
	return FALSE;
}

static const struct phase *table_of(const struct job *job)
{
	return job->domain_uuid ? seeded_phases : copy_phases;
}

/* A guest that is suspended by us writes nothing, and libvirt may not answer for it. */
static gboolean is_suspended(struct move *move)
{
	struct domain_state state;

	return move->job->suspended &&
	       (!session_state(move->context.session, move->job->domain_uuid, &state, NULL) ||
		state.run == RUN_PAUSED);
}

/* The process that looks on for us; 0: none. */
static int guardian_of(struct move *move)
{
	g_autofree char *key = guardian_key(move->job->id);
	int other = ledger_lock_holder(move->context.ledger, key);

	if (other) {
		g_clear_pointer(&move->guardian, guardian_dismiss);
		return other;
	}
	return cutover_guard(move, NULL) ? guardian_pid(move->guardian) : 0;
}

/* The guest is suspended: not for want of us, where it waits for libvirt or a destination. */
static void leave_suspended(struct move *move, const GError *failure)
{
	struct job *job = move->job;
	int guardian = 0;

	job->awaited = !error_is(failure, BLOCKMIG_ERROR_OPERATOR) || move->may_pass;
	if (job->awaited)
		guardian = guardian_of(move);
	else
		g_clear_pointer(&move->guardian, guardian_dismiss);
	if (guardian)
		move_warn(move,
			  "%s: the guest stands still; process %d carries on as soon as libvirt "
			  "and the destination answer",
			  job->domain_name, guardian);
	else
		move_warn(move, "%s: the guest stands still until the job is resumed or aborted",
			  job->domain_name);
}

/* Its guest is not left slow, and the user told how long it can write to its overlay. */
static void leave_running(struct move *move)
{
	g_autoptr(GError) problem = NULL;
	AUTO(room) room = room_of_job(move->job);
	g_autofree char *text = room ? room_text(room) : NULL;

	move->job->awaited = FALSE;
	g_clear_pointer(&move->guardian, guardian_dismiss);
	if (!pace_restore(move, &problem))
		move_warn(move, "%s (blockmig resume or abort tries again)", problem->message);
	if (text)
		move_warn(move, "%s: the guest writes on: %s", move->job->disk, text);
}

/* A job that is left open. */
static void leave(struct move *move, const GError *failure)
{
	if (move->job->restoring || is_suspended(move))
		leave_suspended(move, failure);
	else
		leave_running(move);
	/* From now on is the time that status counts from. */
	move_save(move, NULL);
}

static gboolean is_open(struct move *move)
{
	AUTO(ledger_job) record = ledger_job_get(move->context.ledger, move->job->id, NULL);

	return record && record->result == JOB_OPEN;
}

gboolean start_drive(struct move_context *context, struct job *job,
		     gboolean (*drive)(struct move *, const struct phase *, GError **),
		     struct move_summary **summary, GError **error)
{
	gint64 id = job->id;
	g_autoptr(GError) failure = NULL;
	AUTO(move) move = move_new(context, job, error);

	if (!move) {
		job_free(job);
		ledger_unlock_job(context->ledger, id, NULL);
		return FALSE;
	}
	move_follow_rate(move);
	/*
	 * What a run that was killed has left of its limits is of no use to this one.  Where they
	 * cannot be lifted now, the end of the rounds, or their undo, does.
	 */
	if (!is_suspended(move))
		pace_restore(move, NULL);
	gboolean good = drive(move, table_of(job), &failure);

	if (!good && is_open(move))
		leave(move, failure);
	*summary = summary_of(move, good ? error : NULL);
	ledger_unlock_job(context->ledger, id, NULL);
	if (move->guardian)
		guardian_leave(g_steal_pointer(&move->guardian));
	if (failure)
		g_propagate_error(error, g_steal_pointer(&failure));
	return good && *summary;
}

/* The open job, locked, and its document. */
static struct job *open_job(struct move_context *context, gint64 id, GError **error)
{
	AUTO(ledger_job) record = ledger_job_get(context->ledger, id, error);

	if (!record)
		return NULL;
	if (record->result != JOB_OPEN) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "job %" G_GINT64_FORMAT " has ended already (%s)%s%s", id,
			    summary_result(record->result), *record->message ? ": " : "",
			    record->message);
		return NULL;
	}
	AUTO(job) job = job_from_json(record->state, error);

	if (!job)
		return NULL;
	job->id = id;
	if (job->domain_uuid && !context->session) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "job %" G_GINT64_FORMAT " moves a disk of %s and needs libvirt", id,
			    job->domain_name);
		return NULL;
	}
	if (start_lock(context->ledger, job, error))
		return g_steal_pointer(&job);
	ledger_unlock_job(context->ledger, id, NULL);
	return NULL;
}

static gboolean amend(struct move_context *context, struct job *job, GError **error)
{
	if (!context->amend)
		return TRUE;
	context->amend(&job->options, context->amend_data);
	g_autofree char *state = job_to_json(job);

	return ledger_job_save(context->ledger, job->id, state, error);
}

static gboolean drive_open(struct move_context *context, gint64 id,
			   gboolean (*drive)(struct move *, const struct phase *, GError **),
			   struct move_summary **summary, GError **error)
{
	struct move_context own = *context;
	struct job *job = open_job(context, id, error);

	if (!job)
		return FALSE;
	if (!amend(context, job, error)) {
		ledger_unlock_job(context->ledger, id, NULL);
		job_free(job);
		return FALSE;
	}
	/* A bare copy has no guest whose disk could be asked for. */
	if (!job->domain_uuid)
		own.session = NULL;
	return start_drive(&own, job, drive, summary, error);
}

gboolean move_resume(struct move_context *context, gint64 job, struct move_summary **summary,
		     GError **error)
{
	return drive_open(context, job, runner_run, summary, error);
}

gboolean move_abort(struct move_context *context, gint64 job, struct move_summary **summary,
		    GError **error)
{
	return drive_open(context, job, runner_abort, summary, error);
}

/* ---- a new move ------------------------------------------------------------------------------ */

void start_copy_options(struct job *job, const struct move_options *options)
{
	move_options_clear(&job->options);
	job->options = *options;
	job->options.format = g_strdup(options->format);
	job->options.from_format = g_strdup(options->from_format);
	job->options.scratch = g_strdup(options->scratch);
}

/* By its URL, or by a look at what lies there: a place has more names than one. */
static gboolean is_there(const struct move_context *context, const struct datastore *datastore,
			 const struct url *image, const struct job *job)
{
	AUTO(url) folder = url_parent(image);
	g_autofree char *wanted = url_format(datastore->url);
	g_autofree char *exact = url_format(image);
	g_autofree char *place_name = folder ? url_format(folder) : NULL;
	g_autofree char *name = url_basename(image);
	struct image_info info;

	if (g_str_equal(wanted, exact) || g_strcmp0(wanted, place_name) == 0)
		return TRUE;
	if (!job->destination_identity || !*job->destination_identity)
		return FALSE;
	AUTO(place) place = place_in_datastore(context->config, datastore, name, FALSE, NULL);
	AUTO(handle) handle =
		place ? handle_open(place->url, place->transport, HANDLE_READ, NULL) : NULL;

	return handle && handle_describe(handle, &info, NULL) &&
	       g_str_equal(info.identity, job->destination_identity);
}

/* Whether an open job goes where the user wants the disk to go now. */
static gboolean same_destination(struct move_context *context, const struct ledger_job *record,
				 const char *to)
{
	g_autofree char *pool = session_pool_xml(context->session, to, NULL);
	const struct datastore *datastore = config_datastore(context->config, to, pool, NULL);
	AUTO(url) image = url_parse(record->destination, NULL);
	AUTO(job) job = job_from_json(record->state, NULL);

	return datastore && image && job && is_there(context, datastore, image, job);
}

static gboolean carry_on(struct move_context *context, const struct ledger_job *record,
			 const char *to, struct move_summary **summary, GError **error)
{
	g_autofree char *key = job_key(record->id);

	if (same_destination(context, record, to))
		return move_resume(context, record->id, summary, error);
	if (!ledger_lock_check(context->ledger, key, error)) {
		g_prefix_error(error, "%s/%s is on its way to %s: ", record->domain_name,
			       record->disk, record->destination);
		return FALSE;
	}
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_BUSY,
		    "%s/%s is on its way to %s already (job %" G_GINT64_FORMAT
		    "): blockmig resume %" G_GINT64_FORMAT " or abort %" G_GINT64_FORMAT " first",
		    record->domain_name, record->disk, record->destination, record->id, record->id,
		    record->id);
	return FALSE;
}

gboolean move_start(struct move_context *context, const char *domain, const char *disk,
		    const char *to, struct move_summary **summary, GError **error)
{
	g_autofree char *uuid = NULL, *name = NULL;
	g_autoptr(GError) failure = NULL;

	*summary = NULL;
	if (!session_lookup(context->session, domain, &uuid, &name, error))
		return FALSE;
	AUTO(ledger_job) open = ledger_job_find(context->ledger, uuid, disk, &failure);

	if (failure) {
		g_propagate_error(error, g_steal_pointer(&failure));
		return FALSE;
	}
	if (open)
		return carry_on(context, open, to, summary, error);

	g_autofree char *key = domain_key(uuid);

	if (!ledger_lock_check(context->ledger, key, error)) {
		g_prefix_error(error, "domain %s is being moved by another blockmig: ", name);
		return FALSE;
	}
	AUTO(preflight) preflight = preflight_run(context, domain, disk, to, error);

	if (!preflight)
		return FALSE;
	/* They may tell what an obstacle does not. */
	for (guint i = 0; i < preflight->plan->warnings->len; i++)
		if (context->reporter && context->reporter->warning)
			context->reporter->warning(0,
						   g_ptr_array_index(preflight->plan->warnings, i),
						   context->reporter->data);
	if (!preflight_passed(preflight, error))
		return FALSE;

	struct job *job = g_steal_pointer(&preflight->job);

	start_copy_options(job, context->options);
	if (!start_add(context, "migrate", job, NULL, error)) {
		job_free(job);
		return FALSE;
	}
	return start_drive(context, job, runner_run, summary, error);
}

struct move_plan *move_plan(struct move_context *context, const char *domain, const char *disk,
			    const char *to, GError **error)
{
	AUTO(preflight) preflight = preflight_run(context, domain, disk, to, error);

	if (!preflight)
		return NULL;
	for (const struct phase *phase = seeded_phases; phase->name; phase++)
		g_ptr_array_add(preflight->plan->steps,
				g_strdup_printf("%s: %s", phase->name, phase->words));
	return g_steal_pointer(&preflight->plan);
}

GPtrArray *move_disks(struct move_context *context, const char *domain, GPtrArray **skipped,
		      GError **error)
{
	g_autofree char *uuid = NULL, *name = NULL, *xml = NULL;
	struct domain_state state;

	if (!session_lookup(context->session, domain, &uuid, &name, error) ||
	    !session_state(context->session, uuid, &state, error))
		return NULL;
	xml = session_xml(context->session, uuid, state.run == RUN_OFF, error);
	AUTO(domain) parsed = xml ? domain_parse(xml, error) : NULL;

	if (!parsed)
		return NULL;
	GPtrArray *targets = g_ptr_array_new_with_free_func(g_free);

	*skipped = g_ptr_array_new_with_free_func(g_free);
	for (guint i = 0; i < parsed->disks->len; i++) {
		const struct disk *disk = g_ptr_array_index(parsed->disks, i);
		const struct layer *top = disk_layer(disk, 0);
		const char *why = !g_str_equal(disk->device, "disk")	    ? disk->device
				  : disk->readonly			    ? "read-only"
				  : !top || top->source.type == SOURCE_NONE ? "empty"
									    : NULL;

		g_ptr_array_add(why ? *skipped : targets,
				why ? g_strdup_printf("%s: %s", disk->target, why)
				    : g_strdup(disk->target));
	}
	return targets;
}
