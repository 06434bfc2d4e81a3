#include "blockmig/move/guardian.h"
#include "blockmig/move/job.h"

#include "blockmig/vm/domain_load.h"
#include "common/error.h"

/* How often a guest may start or stop under one step. */
enum { STEP_TRIES = 5 };

void move_options_init(struct move_options *options)
{
	*options = (struct move_options){
		.format = g_strdup("keep"),
		.chunk_bytes = COPY_UNIT_DEFAULT,
		.max_downtime_ms = 500,
		.retry_for_ms = 10 * 60 * 1000,
		.on_failure = ON_FAILURE_HOLD,
		.converge = CONVERGE_THROTTLE,
		.verify = TRUE,
	};
}

void move_options_clear(struct move_options *options)
{
	g_clear_pointer(&options->format, g_free);
	g_clear_pointer(&options->from_format, g_free);
	g_clear_pointer(&options->scratch, g_free);
}

static struct place *place_from_text(struct config *config, const char *text, GError **error)
{
	AUTO(url) url = url_parse(text, error);

	return url ? place_of_url(config, url, error) : NULL;
}

struct move *move_new(const struct move_context *context, struct job *job, GError **error)
{
	struct move *move = g_new0(struct move, 1);

	move->context = *context;
	move->job = job;
	move->throttle = throttle_new(job->options.bwlimit);
	move->source = place_from_text(context->config, job->source_url, error);
	if (move->source)
		move->destination = place_from_text(context->config, job->destination_url, error);
	if (!move->destination) {
		move->job = NULL;
		move_free(move);
		return NULL;
	}
	return move;
}

void move_free(struct move *move)
{
	g_clear_pointer(&move->job, job_free);
	g_clear_pointer(&move->source, place_free);
	g_clear_pointer(&move->destination, place_free);
	g_clear_pointer(&move->throttle, throttle_free);
	g_clear_pointer(&move->guardian, guardian_dismiss);
	g_free(move);
}

void move_follow_rate(struct move *move)
{
	const struct move_context *context = &move->context;
	guint64 rate;

	if (context->new_rate && context->new_rate(&rate, context->new_rate_data))
		throttle_set(move->throttle, rate);
}

gboolean move_save(struct move *move, GError **error)
{
	room_stamp(move->job);
	g_autofree char *text = job_to_json(move->job);

	return ledger_job_save(move->context.ledger, move->job->id, text, error);
}

void move_warn(struct move *move, const char *format, ...)
{
	const struct move_reporter *reporter = move->context.reporter;
	va_list arguments;

	if (!reporter || !reporter->warning)
		return;
	va_start(arguments, format);
	g_autofree char *text = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	reporter->warning(move->job->id, text, reporter->data);
}

/* What the guest has, or will wake up on; *state is made what it was for that. */
static char *effective_xml(struct move *move, struct domain_state *state, GError **error)
{
	struct session *session = move->context.session;
	const char *uuid = move->job->domain_uuid;

	for (;;) {
		g_autoptr(GError) failure = NULL;

		if (!session_state(session, uuid, state, error))
			return NULL;
		if (state->run != RUN_OFF || !state->managed_save)
			return session_xml(session, uuid, state->run == RUN_OFF, error);
		char *saved = session_managed_save_xml(session, uuid, &failure);
		struct domain_state after;

		if (saved)
			return saved;
		/* It may have been started just now, which uses the image up. */
		if (!session_state(session, uuid, &after, error))
			return NULL;
		if (after.run == RUN_OFF && after.managed_save) {
			g_propagate_error(error, g_steal_pointer(&failure));
			return NULL;
		}
	}
}

struct world *world_look(struct move *move, GError **error)
{
	AUTO(world) world = g_new0(struct world, 1);

	world->xml = effective_xml(move, &world->state, error);
	if (!world->xml)
		return NULL;
	world->domain = domain_parse(world->xml, error);
	if (!world->domain)
		return NULL;
	domain_resolve(move->context.session, world->domain);
	world->disk = domain_disk(world->domain, move->job->disk);
	if (!world->disk && !move->job->id) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "domain %s has no disk %s: virsh domblklist %s names those that it has",
			    move->job->domain_name, move->job->disk, move->job->domain_name);
		return NULL;
	}
	if (!world->disk) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "domain %s has no disk %s any more: attach it again, or abort job "
			    "%" G_GINT64_FORMAT,
			    move->job->domain_name, move->job->disk, move->job->id);
		return NULL;
	}
	return g_steal_pointer(&world);
}

void world_free(struct world *world)
{
	g_clear_pointer(&world->domain, domain_free);
	g_free(world->xml);
	g_free(world);
}

gboolean world_changed(struct move *move, const struct world *world, const GError *failure)
{
	AUTO(world) after = world_look(move, NULL);

	return after &&
	       (error_is(failure, BLOCKMIG_ERROR_TRANSIENT) ||
		error_is(failure, BLOCKMIG_ERROR_PERMANENT)) &&
	       after->state.id != world->state.id;
}

gboolean world_step(struct move *move,
		    gboolean (*step)(struct move *, const struct world *, GError **),
		    GError **error)
{
	for (guint tries = 1;; tries++) {
		g_autoptr(GError) failure = NULL;
		AUTO(world) world = world_look(move, error);

		if (!world)
			return FALSE;
		if (step(move, world, &failure))
			return TRUE;
		if (tries == STEP_TRIES || !world_changed(move, world, failure)) {
			g_propagate_error(error, g_steal_pointer(&failure));
			return FALSE;
		}
	}
}

gboolean world_on_path(const struct world *world, const char *path)
{
	const struct layer *top = disk_layer(world->disk, 0);

	return top->source.type == SOURCE_FILE && g_str_equal(top->source.path, path);
}

int world_chain_position(const struct world *world, const struct source *source)
{
	for (guint i = 0; i < world->disk->layers->len; i++)
		if (source_equal(&disk_layer(world->disk, i)->source, source))
			return (int)i;
	return -1;
}

gboolean world_on_destination(const struct world *world, const struct job *job)
{
	const struct layer *top = disk_layer(world->disk, 0);
	g_autoptr(GPtrArray) chain = job_destination_chain(job, TRUE);

	for (guint i = 0; i < chain->len; i++)
		if (source_equal(&top->source,
				 &((const struct layer *)g_ptr_array_index(chain, i))->source))
			return TRUE;
	return FALSE;
}
