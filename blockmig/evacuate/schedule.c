/*
 * The simulated schedule: from one end of a move to the next, what may begin then does, in
 * the order that was asked for.
 *
 * A move needs a place on each of four resources: the datastore that is emptied, its
 * destination, its host, and its domain.  What finds one of them full waits at that one and
 * is looked at again only when a place there is free, so that a long queue in front of one
 * host costs nothing at the ends of other hosts' moves.
 */
#include "blockmig/evacuate/plan_private.h"

#include "common/units.h"
#include "transports/url.h"

struct resource {
	guint used, limit;
	GSequence *waiting; /* of struct waiter *, the next first */
};

enum { RESOURCE_DOMAIN, RESOURCE_HOST, RESOURCE_TARGET, RESOURCES };

struct waiter {
	struct candidate *candidate;
	struct resource *resources[RESOURCES];
	struct resource *came_from; /* where it waited until a place was free there; or NULL */
	guint rank;
	gint64 end_s; /* once it runs */
};

struct schedule {
	struct planning *planning;
	GArray *waiters;      /* of struct waiter, by rank */
	GSequence *ready;     /* of struct waiter *, by rank */
	GSequence *running;   /* of struct waiter *, by end and rank */
	GPtrArray *resources; /* all of them */
	gint64 now_s;
};

/* ---- the order ------------------------------------------------------------ */

static int compare_by(enum plan_order by, const struct candidate *a, const struct candidate *b)
{
	int first = a->disk->domain->priority, second = b->disk->domain->priority;

	switch (by) {
	case PLAN_PRIORITY:
		if (first != second)
			return first > second ? -1 : 1;
		return planning_compare_numbers(a->seconds, b->seconds);
	case PLAN_EASY:
		return planning_compare_numbers(a->seconds, b->seconds);
	case PLAN_SIZE:
		return planning_compare_numbers(a->disk->allocated_bytes, b->disk->allocated_bytes);
	case PLAN_NAME:
		break;
	}
	return 0;
}

/* What has begun already comes first in any order. */
static int compare_order(gconstpointer a, gconstpointer b, gpointer data)
{
	const struct candidate *first = ((const struct waiter *)a)->candidate;
	const struct candidate *second = ((const struct waiter *)b)->candidate;
	const enum plan_order *by = data;
	int order = (first->disk->job == 0) - (second->disk->job == 0);

	if (!order)
		order = compare_by(*by, first, second);
	return order ? order : planning_compare_names(first->disk, second->disk);
}

static int compare_ranks(gconstpointer a, gconstpointer b, gpointer data)
{
	(void)data;
	return planning_compare_numbers(((const struct waiter *)a)->rank,
					((const struct waiter *)b)->rank);
}

static int compare_ends(gconstpointer a, gconstpointer b, gpointer data)
{
	const struct waiter *first = a, *second = b;

	if (first->end_s != second->end_s)
		return first->end_s < second->end_s ? -1 : 1;
	return compare_ranks(a, b, data);
}

static struct waiter *take_first(GSequence *sequence)
{
	GSequenceIter *first = g_sequence_get_begin_iter(sequence);
	struct waiter *waiter = g_sequence_get(first);

	g_sequence_remove(first);
	return waiter;
}

/* ---- setting up ------------------------------------------------------------ */

static struct resource *resource_new(struct schedule *schedule, guint limit)
{
	struct resource *resource = g_new0(struct resource, 1);

	resource->limit = limit;
	resource->waiting = g_sequence_new(NULL);
	g_ptr_array_add(schedule->resources, resource);
	return resource;
}

static void resource_free(gpointer data)
{
	struct resource *resource = data;

	g_sequence_free(resource->waiting);
	g_free(resource);
}

static struct resource *resource_of(struct schedule *schedule, GHashTable *known, gpointer key,
				    guint limit)
{
	struct resource *resource = g_hash_table_lookup(known, key);

	if (!resource) {
		resource = resource_new(schedule, limit);
		g_hash_table_insert(known, key, resource);
	}
	return resource;
}

static void add_waiters(struct schedule *schedule)
{
	struct planning *planning = schedule->planning;
	const struct plan_limits *limits = &planning->request->limits;
	guint per_target = MIN(limits->per_target, limits->per_datastore);
	g_autoptr(GHashTable) hosts = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GHashTable) others = g_hash_table_new(NULL, NULL);

	for (guint i = 0; i < planning->candidates->len; i++) {
		struct candidate *candidate = planning_candidate(planning, i);
		const struct inventory_domain *domain = candidate->disk->domain;
		struct waiter waiter = {.candidate = candidate};

		if (candidate->target == NOWHERE)
			continue;
		waiter.resources[RESOURCE_DOMAIN] =
			resource_of(schedule, others, (gpointer)domain, 1);
		waiter.resources[RESOURCE_HOST] =
			resource_of(schedule, hosts, domain->host ? domain->host : (char *)"",
				    limits->per_host);
		waiter.resources[RESOURCE_TARGET] = resource_of(
			schedule, others, planning_target(planning, (guint)candidate->target),
			per_target);
		g_array_append_val(schedule->waiters, waiter);
	}
	g_array_sort_with_data(schedule->waiters, compare_order,
			       (gpointer)&planning->request->order);
	for (guint i = 0; i < schedule->waiters->len; i++) {
		struct waiter *waiter = &g_array_index(schedule->waiters, struct waiter, i);

		waiter->rank = i;
		g_sequence_append(schedule->ready, waiter);
	}
}

/* ---- running it ------------------------------------------------------------ */

/* For each free place one of those who wait is looked at again. */
static void wake_one(struct schedule *schedule, struct resource *resource)
{
	struct waiter *waiter;

	if (resource->used >= resource->limit || g_sequence_is_empty(resource->waiting))
		return;
	waiter = take_first(resource->waiting);
	waiter->came_from = resource;
	g_sequence_insert_sorted(schedule->ready, waiter, compare_ranks, NULL);
}

static void stay_for_window(const struct schedule *schedule, struct candidate *candidate)
{
	const struct plan_window *window = &schedule->planning->request->window;
	gint64 whole_s = window->end_s - window->begin_s;
	gboolean never = (gint64)candidate->seconds > whole_s;
	gint64 left_s = never ? whole_s : window->end_s - schedule->now_s;
	g_autofree char *needed = units_format_time(candidate->seconds * 1000);
	g_autofree char *left = units_format_time((guint64)MAX(left_s, 0) * 1000);

	candidate->why = PLAN_WINDOW;
	candidate->reason = g_strdup_printf(
		never ? "it takes %s, and the whole window has %s: give it a longer one"
		      : "it takes %s, and %s of the window are left: next time",
		needed, left);
}

static char *name_for_move(const struct inventory_store *store, int lun)
{
	AUTO(url) target = lun >= 0 ? url_parse(store->url, NULL) : NULL;
	g_autofree char *number = g_strdup_printf("%d", lun);
	AUTO(url) image = target ? url_child(target, number) : NULL;

	return image ? url_format(image) : g_strdup(store->name);
}

static void begin(struct schedule *schedule, struct waiter *waiter)
{
	struct planning *planning = schedule->planning;
	const struct candidate *candidate = waiter->candidate;
	struct plan_move *move = g_new0(struct plan_move, 1);

	move->disk = candidate->disk;
	move->store = planning_target(planning, (guint)candidate->target)->store;
	move->lun = candidate->lun;
	move->to = name_for_move(move->store, move->lun);
	move->bytes = candidate->bytes;
	move->seconds = candidate->seconds;
	move->start_s = schedule->now_s;
	move->end_s = waiter->end_s = schedule->now_s + (gint64)candidate->seconds;
	g_ptr_array_add(planning->plan->moves, move);

	for (guint i = 0; i < RESOURCES; i++)
		waiter->resources[i]->used++;
	g_sequence_insert_sorted(schedule->running, waiter, compare_ends, NULL);
}

static struct resource *full_resource(const struct waiter *waiter)
{
	for (guint i = 0; i < RESOURCES; i++)
		if (waiter->resources[i]->used >= waiter->resources[i]->limit)
			return waiter->resources[i];
	return NULL;
}

/* The next one begins, waits where there is no place, or stays. */
static void try_next(struct schedule *schedule)
{
	struct waiter *waiter = take_first(schedule->ready);
	const struct plan_window *window = &schedule->planning->request->window;
	struct resource *full = full_resource(waiter), *came_from = waiter->came_from;

	waiter->came_from = NULL;
	if ((gint64)waiter->candidate->seconds > window->end_s - schedule->now_s) {
		stay_for_window(schedule, waiter->candidate);
	} else if (full) {
		g_sequence_insert_sorted(full->waiting, waiter, compare_ranks, NULL);
	} else {
		begin(schedule, waiter);
		return;
	}
	/* It did not take the place that it was woken for. */
	if (came_from && came_from != full)
		wake_one(schedule, came_from);
}

static void end_one(struct schedule *schedule, struct waiter *waiter)
{
	for (guint i = 0; i < RESOURCES; i++) {
		waiter->resources[i]->used--;
		wake_one(schedule, waiter->resources[i]);
	}
}

/* All that end at one time do so before anything begins then. */
static void end_next(struct schedule *schedule)
{
	struct waiter *waiter = take_first(schedule->running);

	schedule->now_s = waiter->end_s;
	end_one(schedule, waiter);
	while (!g_sequence_is_empty(schedule->running)) {
		waiter = g_sequence_get(g_sequence_get_begin_iter(schedule->running));
		if (waiter->end_s != schedule->now_s)
			return;
		end_one(schedule, take_first(schedule->running));
	}
}

void schedule_run(struct planning *planning)
{
	struct schedule schedule = {
		.planning = planning,
		.waiters = g_array_new(FALSE, FALSE, sizeof(struct waiter)),
		.ready = g_sequence_new(NULL),
		.running = g_sequence_new(NULL),
		.resources = g_ptr_array_new_with_free_func(resource_free),
		.now_s = planning->request->window.begin_s,
	};
	guint limit = planning->request->limits.per_datastore;

	add_waiters(&schedule);
	while (!g_sequence_is_empty(schedule.ready) || !g_sequence_is_empty(schedule.running))
		if (g_sequence_is_empty(schedule.ready) ||
		    (guint)g_sequence_get_length(schedule.running) >= limit)
			end_next(&schedule);
		else
			try_next(&schedule);

	g_ptr_array_unref(schedule.resources);
	g_sequence_free(schedule.running);
	g_sequence_free(schedule.ready);
	g_array_unref(schedule.waiters);
}
