#include "blockmig/evacuate/evacuation.h"

#include "common/stop.h"

/*
 * Moves are stopped a little before the window closes, so that they have reached their
 * checkpoints when it does: half a minute, but no more than a twentieth of the span.
 */
enum { CLOSING_S = 30, CLOSING_PART = 20 };

enum { STATUS_FAILED = 1, STATUS_INTERRUPTED = 3, STATUS_OPERATOR = 5, STATUS_SOME = 6 };

/* ---- what it came to ---------------------------------------------------------------------- */

static void rest_free(gpointer pointer)
{
	struct evacuation_rest *rest = pointer;

	g_free(rest->domain);
	g_free(rest->what);
	g_free(rest->kind);
	g_free(rest->reason);
	g_free(rest);
}

static void add_rest(GPtrArray *list, const char *domain, const char *what, const char *kind,
		     const char *reason)
{
	struct evacuation_rest *rest = g_new0(struct evacuation_rest, 1);

	rest->domain = g_strdup(domain);
	rest->what = g_strdup(what);
	rest->kind = g_strdup(kind);
	rest->reason = g_strdup(reason);
	g_ptr_array_add(list, rest);
}

void evacuation_free(struct evacuation *evacuation)
{
	g_clear_pointer(&evacuation->known, g_hash_table_unref);
	dispatch_free(evacuation->dispatch);
	g_ptr_array_unref(evacuation->stays);
	g_ptr_array_unref(evacuation->residue);
	g_free(evacuation->datastore);
	g_free(evacuation->problem);
	g_free(evacuation);
}

int evacuation_status(const struct evacuation *evacuation)
{
	const struct dispatch *dispatch = evacuation->dispatch;
	guint left = dispatch_count(dispatch, DISPATCH_HELD) +
		     dispatch_count(dispatch, DISPATCH_ROLLED_BACK) +
		     dispatch_count(dispatch, DISPATCH_WAITING);
	guint failed = dispatch_count(dispatch, DISPATCH_FAILED) +
		       dispatch_count(dispatch, DISPATCH_UNSENT);

	if (dispatch_count(dispatch, DISPATCH_OPERATOR))
		return STATUS_OPERATOR;
	if (evacuation->empty && !evacuation->problem)
		return 0;
	if (evacuation->empty)
		return STATUS_FAILED;
	if (evacuation->interrupted || (left && !failed && !evacuation->problem))
		return STATUS_INTERRUPTED;
	return dispatch_count(dispatch, DISPATCH_MOVED) ? STATUS_SOME : STATUS_FAILED;
}

/* ---- the window ------------------------------------------------------------------------------ */

static gint64 now_s(const struct evacuation_world *world)
{
	return world->runner->now_s(world->data);
}

static void set_hours(struct evacuation *evacuation, const struct evacuation_request *request)
{
	struct dispatch *dispatch = evacuation->dispatch;
	gint64 at_s = evacuation->begun_s;
	struct window_span span, next;

	dispatch->closes_s = request->until_s;
	if (!request->window)
		return;
	dispatch->longest_s = window_longest_s(request->window, at_s);
	if (!window_span_at(request->window, at_s, &span) || span.begin_s > at_s) {
		/* Closed: nothing begins, but what is left is told. */
		dispatch->closes_s = at_s;
		evacuation->opens_s = span.begin_s;
		return;
	}
	dispatch->closes_s =
		MIN(request->until_s,
		    span.end_s - MIN(CLOSING_S, (span.end_s - span.begin_s) / CLOSING_PART));
	if (window_span_at(request->window, span.end_s, &next))
		evacuation->opens_s = next.begin_s;
}

/* ---- one look at the world ------------------------------------------------------------------- */

static char *key_of(const struct inventory_disk *disk)
{
	return g_strdup_printf("%s %s", disk->domain->uuid, disk->target);
}

static gboolean is_known(const struct evacuation *evacuation, const struct inventory_disk *disk)
{
	g_autofree char *key = key_of(disk);

	return g_hash_table_contains(evacuation->known, key);
}

static struct dispatch_target *target_for(struct dispatch *dispatch, struct ledger *ledger,
					  const char *from_url, const struct inventory_store *store)
{
	struct dispatch_target *target = dispatch_add_target(dispatch, store->name);

	if (target->url)
		return target;
	target->url = g_strdup(store->url);
	/* Without one the moves are taken to be as fast as the planner takes them for. */
	ledger_rate_get(ledger, from_url, store->url, &target->bytes_per_second, NULL);
	return target;
}

static void add_move(struct evacuation *evacuation, struct ledger *ledger, const char *from_url,
		     const struct plan_move *planned)
{
	const struct inventory_disk *disk = planned->disk;
	struct dispatch *dispatch = evacuation->dispatch;
	struct dispatch_move *move = dispatch_add_move(
		dispatch, disk->domain->name, disk->target,
		target_for(dispatch, ledger, from_url, planned->store), planned->to);

	g_free(move->host);
	move->host = g_strdup(disk->domain->host ? disk->domain->host : "");
	g_free(move->source);
	move->source = g_strdup(disk->source);
	move->bytes = planned->bytes;
	move->job = disk->job;
	g_hash_table_add(evacuation->known, key_of(disk));
}

/*
 * What the plan has and the dispatcher not: a domain that has come meanwhile.  Begun ones
 * first: their overlays grow.
 */
static guint add_moves(struct evacuation *evacuation, struct ledger *ledger, const char *from_url,
		       const struct plan *plan)
{
	const GPtrArray *moves = evacuation->dispatch->moves;
	const guint before = moves->len;

	for (int begun = 1; begun >= 0; begun--) {
		for (guint i = 0; i < plan->moves->len; i++) {
			const struct plan_move *planned = g_ptr_array_index(plan->moves, i);

			if ((planned->disk->job != 0) == begun &&
			    !is_known(evacuation, planned->disk))
				add_move(evacuation, ledger, from_url, planned);
		}
	}
	return moves->len - before;
}

static void note_rest(struct evacuation *evacuation, const struct plan *plan)
{
	g_ptr_array_set_size(evacuation->stays, 0);
	g_ptr_array_set_size(evacuation->residue, 0);
	for (guint i = 0; i < plan->stays->len; i++) {
		const struct plan_stay *stay = g_ptr_array_index(plan->stays, i);

		/* One that was tried has a reason of its own. */
		if (!is_known(evacuation, stay->disk))
			add_rest(evacuation->stays, stay->disk->domain->name, stay->disk->target,
				 plan_why_name(stay->why), stay->reason);
	}
	for (guint i = 0; i < plan->residue->len; i++) {
		const struct inventory_residue *residue = g_ptr_array_index(plan->residue, i);

		add_rest(evacuation->residue, residue->domain->name, residue->path,
			 residue_kind_name(residue->kind), residue->way_out);
	}
	evacuation->empty = !plan->moves->len && !plan->stays->len && !plan->residue->len;
}

/* *added is the number of moves that were not known before. */
static gboolean look(struct evacuation *evacuation, struct ledger *ledger,
		     const struct evacuation_world *world, const struct evacuation_request *request,
		     guint *added, GError **error)
{
	/* The window is the dispatcher's: it goes by what is measured as the night goes on. */
	const struct plan_request wanted = {
		.from = request->from,
		.to = request->to,
		.order = request->order,
		.limits = request->limits,
		.window = {now_s(world), G_MAXINT64},
	};
	AUTO(inventory) inventory = world->inventory(world->data, error);
	AUTO(plan) plan = inventory ? plan_for(inventory, &wanted, error) : NULL;

	if (!plan)
		return FALSE;
	*added = add_moves(evacuation, ledger, request->from_url, plan);
	note_rest(evacuation, plan);
	return TRUE;
}

/* ---- all of it ----------------------------------------------------------------------- */

static struct evacuation *evacuation_new(const struct evacuation_world *world,
					 const struct evacuation_request *request)
{
	struct evacuation *evacuation = g_new0(struct evacuation, 1);

	evacuation->datastore = g_strdup(request->from);
	evacuation->stays = g_ptr_array_new_with_free_func(rest_free);
	evacuation->residue = g_ptr_array_new_with_free_func(rest_free);
	evacuation->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	evacuation->begun_s = now_s(world);
	evacuation->dispatch = dispatch_new(world->runner, world->data);
	evacuation->dispatch->limits = request->limits;
	evacuation->dispatch->at_end = request->at_end;
	set_hours(evacuation, request);
	return evacuation;
}

static void finish(struct evacuation *evacuation, struct ledger *ledger,
		   const struct evacuation_world *world, const struct evacuation_request *request)
{
	g_autoptr(GError) failure = NULL;

	if ((world->emptied && !world->emptied(world->data, &failure)) ||
	    !ledger_maintenance_end(ledger, request->from_url, &failure))
		evacuation->problem = g_strdup(failure->message);
}

static gboolean work(struct evacuation *evacuation, struct ledger *ledger,
		     const struct evacuation_world *world, const struct evacuation_request *request,
		     GError **error)
{
	g_autoptr(GError) failure = NULL;
	guint added = 0;

	if (!look(evacuation, ledger, world, request, &added, error))
		return FALSE;
	while (added && !dispatch_is_over(evacuation->dispatch)) {
		dispatch_run(evacuation->dispatch);
		if (look(evacuation, ledger, world, request, &added, &failure))
			continue;
		/* What was done is told all the same. */
		evacuation->empty = FALSE;
		evacuation->problem = g_strdup(failure->message);
		break;
	}
	evacuation->interrupted = stop_level() != STOP_NO;
	if (evacuation->empty)
		finish(evacuation, ledger, world, request);
	evacuation->ended_s = now_s(world);
	return TRUE;
}

static gboolean in_maintenance(struct ledger *ledger, const char *place)
{
	g_autoptr(GPtrArray) all = ledger_maintenance_list(ledger, NULL);

	for (guint i = 0; all && i < all->len; i++)
		if (g_str_equal(((struct ledger_maintenance *)all->pdata[i])->place, place))
			return TRUE;
	return FALSE;
}

/* The first run that cannot even begin (a name that is wrong) leaves all as it was. */
static struct evacuation *work_in_maintenance(struct ledger *ledger,
					      const struct evacuation_world *world,
					      const struct evacuation_request *request,
					      GError **error)
{
	gboolean before = in_maintenance(ledger, request->from_url);
	AUTO(evacuation) evacuation = NULL;

	if (!ledger_maintenance_begin(ledger, request->from_url, request->from, error))
		return NULL;
	evacuation = evacuation_new(world, request);
	if (work(evacuation, ledger, world, request, error))
		return g_steal_pointer(&evacuation);
	if (!before)
		ledger_maintenance_end(ledger, request->from_url, NULL);
	return NULL;
}

struct evacuation *evacuation_run(struct ledger *ledger, const struct evacuation_world *world,
				  const struct evacuation_request *request, GError **error)
{
	g_autofree char *key = g_strdup_printf("evacuate:%s", request->from_url);
	struct evacuation *evacuation;

	if (!ledger_lock(ledger, key, 0, error)) {
		g_prefix_error(error, "%s is being evacuated already: ", request->from);
		return NULL;
	}
	evacuation = work_in_maintenance(ledger, world, request, error);
	ledger_unlock_job(ledger, 0, NULL);
	return evacuation;
}
