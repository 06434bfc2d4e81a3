#include "blockmig/evacuate/plan.h"

#include "blockmig/evacuate/plan_private.h"
#include "common/error.h"

#include <string.h>

/* No move is taken to last longer, so that sums of times never overflow. */
static const guint64 seconds_max = 1ull << 40;

void plan_limits_init(struct plan_limits *limits)
{
	*limits = (struct plan_limits){.per_host = 2, .per_datastore = 8, .per_target = 8};
}

static void move_free(gpointer data)
{
	struct plan_move *move = data;

	g_free(move->to);
	g_free(move);
}

static void stay_free(gpointer data)
{
	struct plan_stay *stay = data;

	g_free(stay->reason);
	g_free(stay);
}

static struct plan *plan_new(void)
{
	struct plan *plan = g_new0(struct plan, 1);

	plan->moves = g_ptr_array_new_with_free_func(move_free);
	plan->stays = g_ptr_array_new_with_free_func(stay_free);
	plan->residue = g_ptr_array_new();
	plan->targets = g_ptr_array_new_with_free_func(g_free);
	return plan;
}

void plan_free(struct plan *plan)
{
	g_ptr_array_unref(plan->moves);
	g_ptr_array_unref(plan->stays);
	g_ptr_array_unref(plan->residue);
	g_ptr_array_unref(plan->targets);
	g_free(plan);
}

/* ---- shared by the steps ------------------------------------------------------------ */

struct candidate *planning_candidate(const struct planning *planning, guint position)
{
	return &g_array_index(planning->candidates, struct candidate, position);
}

struct plan_target *planning_target(const struct planning *planning, guint position)
{
	return g_ptr_array_index(planning->plan->targets, position);
}

guint64 planning_rate(const struct planning *planning, const struct inventory_store *store)
{
	const struct plan_request *request = planning->request;
	guint64 from = planning->plan->from->bytes_per_second, to = store->bytes_per_second;
	guint64 rate = from && to ? MIN(from, to) : MAX(from, to);

	if (!rate)
		rate = request->bytes_per_second ? request->bytes_per_second : PLAN_RATE;
	if (request->limits.bwlimit)
		rate = MIN(rate, request->limits.bwlimit / planning->slots);
	return MAX(rate, 1);
}

guint64 planning_seconds(const struct planning *planning, const struct candidate *candidate,
			 const struct inventory_store *store)
{
	guint64 rate = planning_rate(planning, store);
	guint64 written = candidate->disk->written_per_second;
	/* What the guest writes is copied too.  A tenth remains: the rounds slow it down. */
	guint64 left = rate > written ? rate - written : 0;
	guint64 gain = MAX(MAX(left, rate / 10), 1);
	guint64 seconds = candidate->bytes / gain + (candidate->bytes % gain != 0);

	return MIN(seconds, seconds_max) + PLAN_FIXED_S;
}

int planning_compare_numbers(guint64 a, guint64 b)
{
	return (a > b) - (a < b);
}

int planning_compare_names(const struct inventory_disk *a, const struct inventory_disk *b)
{
	int order = strcmp(a->domain->name, b->domain->name);

	if (!order)
		order = strcmp(a->domain->uuid, b->domain->uuid);
	return order ? order : strcmp(a->target, b->target);
}

void candidate_stay(struct candidate *candidate, enum plan_why why, char *reason)
{
	candidate->target = NOWHERE;
	candidate->why = why;
	candidate->reason = reason;
}

/* ---- what the request says ------------------------------------------------------------ */

static gboolean refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static gboolean refuse(GError **error, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list arguments;

	va_start(arguments, format);
	text = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	g_set_error_literal(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE, text);
	return FALSE;
}

static const struct inventory_store *find_store(const struct planning *planning, const char *name,
						GError **error)
{
	const struct inventory_store *store = inventory_store(planning->inventory, name);

	if (!store)
		refuse(error, "%s: no such datastore", name);
	return store;
}

static gboolean add_target(struct planning *planning, const char *name, GError **error)
{
	struct plan *plan = planning->plan;
	const struct inventory_store *store = find_store(planning, name, error);
	struct plan_target *target;

	if (!store)
		return FALSE;
	if (store == plan->from)
		return refuse(error, "%s cannot be emptied onto itself: name another --to", name);
	for (guint i = 0; i < plan->targets->len; i++)
		if (planning_target(planning, i)->store == store)
			return refuse(error, "--to names %s twice", name);
	target = g_new0(struct plan_target, 1);
	target->store = store;
	target->refused = store->unreachable   ? store->unreachable
			  : store->maintenance ? "it is in maintenance"
					       : NULL;
	g_ptr_array_add(plan->targets, target);
	return TRUE;
}

static gboolean read_request(struct planning *planning, GError **error)
{
	const struct plan_request *request = planning->request;
	const struct plan_limits *limits = &request->limits;

	planning->plan->from = find_store(planning, request->from, error);
	if (!planning->plan->from)
		return FALSE;
	for (guint i = 0; request->to[i]; i++)
		if (!add_target(planning, request->to[i], error))
			return FALSE;
	if (planning->plan->targets->len == 0)
		return refuse(error, "%s: say where to with --to", request->from);
	if (!limits->per_host || !limits->per_datastore || !limits->per_target)
		return refuse(error, "a limit of 0 moves lets none begin: 1 is the least");
	return TRUE;
}

/* ---- candidates ------------------------------------------------------------ */

static int compare_candidates(gconstpointer a, gconstpointer b)
{
	const struct inventory_disk *first = ((const struct candidate *)a)->disk;
	const struct inventory_disk *second = ((const struct candidate *)b)->disk;
	int order = strcmp(first->domain->uuid, second->domain->uuid);

	if (!order)
		order = (first->job == 0) - (second->job == 0);
	if (!order)
		order = planning_compare_numbers(first->virtual_bytes, second->virtual_bytes);
	return order ? order : strcmp(first->target, second->target);
}

static void collect(struct planning *planning)
{
	const struct inventory *inventory = planning->inventory;

	for (guint i = 0; i < inventory->disks->len; i++) {
		const struct inventory_disk *disk = g_ptr_array_index(inventory->disks, i);
		struct candidate candidate = {.disk = disk, .target = NOWHERE, .lun = -1};

		if (disk->store != planning->plan->from)
			continue;
		candidate.bytes =
			disk->allocated_bytes - MIN(disk->job_bytes, disk->allocated_bytes);
		if (disk->obstacle)
			candidate_stay(&candidate, PLAN_OBSTACLE, g_strdup(disk->obstacle));
		g_array_append_val(planning->candidates, candidate);
	}
	g_array_sort(planning->candidates, compare_candidates);
}

/* Every other limit only lowers it, and with it the share of the bandwidth that is sure. */
static void count_slots(struct planning *planning)
{
	const struct plan_limits *limits = &planning->request->limits;
	g_autoptr(GHashTable) hosts = g_hash_table_new(g_str_hash, g_str_equal);
	guint64 slots = (guint64)limits->per_target * planning->plan->targets->len;

	for (guint i = 0; i < planning->candidates->len; i++) {
		const struct inventory_domain *domain =
			planning_candidate(planning, i)->disk->domain;

		g_hash_table_add(hosts, domain->host ? domain->host : (char *)"");
	}
	slots = MIN(slots, (guint64)limits->per_host * g_hash_table_size(hosts));
	slots = MIN(slots, planning->candidates->len);
	planning->slots = (guint)CLAMP(slots, 1, limits->per_datastore);
}

/* ---- the rest of the plan ------------------------------------------------------------ */

static int compare_stays(gconstpointer a, gconstpointer b)
{
	const struct plan_stay *const *first = a, *const *second = b;

	return planning_compare_names((*first)->disk, (*second)->disk);
}

static int compare_residue(gconstpointer a, gconstpointer b)
{
	const struct inventory_residue *const *first = a, *const *second = b;
	int order = strcmp((*first)->domain->name, (*second)->domain->name);

	if (!order)
		order = strcmp((*first)->domain->uuid, (*second)->domain->uuid);
	if (!order)
		order = strcmp((*first)->path, (*second)->path);
	return order ? order : (int)(*first)->kind - (int)(*second)->kind;
}

static void add_stays(struct planning *planning)
{
	struct plan *plan = planning->plan;

	for (guint i = 0; i < planning->candidates->len; i++) {
		struct candidate *candidate = planning_candidate(planning, i);
		struct plan_stay *stay;

		if (!candidate->reason)
			continue;
		stay = g_new0(struct plan_stay, 1);
		stay->disk = candidate->disk;
		stay->why = candidate->why;
		stay->reason = g_steal_pointer(&candidate->reason);
		stay->lun = candidate->lun;
		stay->seconds = candidate->seconds;
		if (candidate->target != NOWHERE)
			stay->store = planning_target(planning, (guint)candidate->target)->store;
		g_ptr_array_add(plan->stays, stay);
		plan->fits_allocated &= stay->why != PLAN_ROOM;
		plan->fits_window &= stay->why != PLAN_WINDOW;
	}
	g_ptr_array_sort(plan->stays, compare_stays);
}

static void add_residue(struct planning *planning)
{
	const struct inventory *inventory = planning->inventory;
	struct plan *plan = planning->plan;

	for (guint i = 0; i < inventory->residue->len; i++) {
		const struct inventory_residue *residue = g_ptr_array_index(inventory->residue, i);

		if (residue->store == plan->from)
			g_ptr_array_add(plan->residue, (gpointer)residue);
	}
	g_ptr_array_sort(plan->residue, compare_residue);
}

static void sum_up(struct planning *planning)
{
	struct plan *plan = planning->plan;

	plan->end_s = planning->request->window.begin_s;
	for (guint i = 0; i < plan->moves->len; i++) {
		const struct plan_move *move = g_ptr_array_index(plan->moves, i);

		plan->bytes += move->bytes;
		plan->end_s = MAX(plan->end_s, move->end_s);
	}
	plan->fits_allocated = plan->fits_window = TRUE;
	add_stays(planning);
	plan->fits_virtual = plan->fits_allocated;
	for (guint i = 0; i < plan->targets->len; i++)
		plan->fits_virtual &= planning_target(planning, i)->fits_virtual;
}

struct plan *plan_for(const struct inventory *inventory, const struct plan_request *request,
		      GError **error)
{
	AUTO(plan) plan = plan_new();
	g_autoptr(GArray) candidates = g_array_new(FALSE, FALSE, sizeof(struct candidate));
	struct planning planning = {
		.inventory = inventory,
		.request = request,
		.plan = plan,
		.candidates = candidates,
	};

	if (!read_request(&planning, error))
		return NULL;
	collect(&planning);
	count_slots(&planning);
	placing_run(&planning);
	schedule_run(&planning);
	sum_up(&planning);
	add_residue(&planning);
	return g_steal_pointer(&plan);
}

guint plan_obstacles(const struct plan *plan)
{
	guint count = plan->residue->len;

	for (guint i = 0; i < plan->stays->len; i++) {
		const struct plan_stay *stay = g_ptr_array_index(plan->stays, i);

		count += stay->why != PLAN_WINDOW;
	}
	return count;
}

/* ---- names ------------------------------------------------------------ */

const char *plan_why_name(enum plan_why why)
{
	static const char *const names[] = {
		[PLAN_OBSTACLE] = "obstacle",
		[PLAN_ROOM] = "room",
		[PLAN_RULE] = "rule",
		[PLAN_WINDOW] = "window",
	};

	return names[why];
}

gboolean plan_order_parse(const char *text, enum plan_order *order, GError **error)
{
	static const char *const names[] = {
		[PLAN_EASY] = "easy",
		[PLAN_SIZE] = "size",
		[PLAN_PRIORITY] = "priority",
		[PLAN_NAME] = "name",
	};

	for (guint i = 0; i < G_N_ELEMENTS(names); i++)
		if (g_str_equal(names[i], text)) {
			*order = (enum plan_order)i;
			return TRUE;
		}
	return refuse(error, "\"%s\" is not easy, size, priority or name", text);
}
