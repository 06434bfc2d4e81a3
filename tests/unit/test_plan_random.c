/*
 * What holds of every plan, checked on random inventories by arithmetic of its own.  A failure
 * names the seed.
 */
#include "blockmig/evacuate/plan.h"
#include "common/units.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { SEEDS = 120, TARGETS_MAX = 5 };

static const char *const target_names[] = {"a", "b", "c", "d", "e", NULL};

/* ---- random inventories ------------------------------------------------------------ */

static guint64 random_bytes(GRand *rand, int largest_mib)
{
	return (guint64)g_rand_int_range(rand, 1, largest_mib) * MiB;
}

static gboolean one_in(GRand *rand, int many)
{
	return g_rand_int_range(rand, 0, many) == 0;
}

static void add_target(GRand *rand, struct inventory *inventory, guint number)
{
	enum store_kind kind = one_in(rand, 3) ? STORE_ISCSI : STORE_FOLDER;
	struct inventory_store *store = inventory_add_store(inventory, target_names[number], kind);

	store->url = g_strdup_printf("iscsi://san/iqn.2026-01.example:%u", number);
	store->free_bytes = random_bytes(rand, 40000);
	store->bytes_per_second = one_in(rand, 2) ? 0 : random_bytes(rand, 400);
	store->maintenance = one_in(rand, 10);
	for (int n = kind == STORE_ISCSI ? g_rand_int_range(rand, 0, 12) : 0; n > 0; n--) {
		struct inventory_lun *lun = inventory_add_lun(store, n, random_bytes(rand, 5000));

		lun->user = one_in(rand, 4) ? g_strdup("somebody") : NULL;
	}
}

static char **random_names(GRand *rand)
{
	const char *name = target_names[g_rand_int_range(rand, 0, TARGETS_MAX)];

	return one_in(rand, 3) ? g_strsplit(name, ",", -1) : NULL;
}

static void add_domain(GRand *rand, struct inventory *inventory, guint number, guint targets)
{
	g_autofree char *name = g_strdup_printf("d%u", number);
	struct inventory_domain *domain = inventory_add_domain(inventory, name, name);

	domain->host = g_strdup_printf("host%d", g_rand_int_range(rand, 0, 3));
	domain->priority = g_rand_int_range(rand, 0, 3);
	domain->keep_together = one_in(rand, 3);
	domain->prefer = random_names(rand);
	domain->avoid = random_names(rand);
	for (int n = g_rand_int_range(rand, 0, 5); n > 0; n--) {
		g_autofree char *target = g_strdup_printf("vd%c", 'a' + n);
		struct inventory_disk *disk = inventory_add_disk(inventory, domain, target);
		guint where = (guint)g_rand_int_range(rand, 0, (int)targets + 3);

		disk->store = g_ptr_array_index(inventory->stores, where > targets ? 0 : where);
		disk->virtual_bytes = random_bytes(rand, 4000);
		disk->allocated_bytes = disk->virtual_bytes / (guint64)g_rand_int_range(rand, 1, 5);
		disk->written_per_second = one_in(rand, 3) ? random_bytes(rand, 100) : 0;
		if (one_in(rand, 12))
			disk->obstacle = g_strdup("stuck");
		if (one_in(rand, 12))
			disk->lun_obstacle = g_strdup("has snapshots");
		if (one_in(rand, 12)) {
			disk->job = n;
			disk->job_store = g_ptr_array_index(inventory->stores, targets);
			disk->job_bytes = disk->allocated_bytes / 2;
		}
	}
}

static struct inventory *random_inventory(GRand *rand, guint targets)
{
	struct inventory *inventory = inventory_new();

	inventory_add_store(inventory, "old", STORE_NFS)->bytes_per_second =
		one_in(rand, 2) ? 0 : random_bytes(rand, 400);
	for (guint i = 0; i < targets; i++)
		add_target(rand, inventory, i);
	for (int n = g_rand_int_range(rand, 0, 30); n > 0; n--)
		add_domain(rand, inventory, (guint)n, targets);
	return inventory;
}

struct scenario {
	GRand *rand;
	struct inventory *inventory;
	const char *to[TARGETS_MAX + 1];
	struct plan_request request;
};

static void scenario_make(struct scenario *scenario, guint32 seed)
{
	GRand *rand = scenario->rand = g_rand_new_with_seed(seed);
	guint targets = (guint)g_rand_int_range(rand, 1, TARGETS_MAX + 1);
	struct plan_request *request = &scenario->request;

	scenario->inventory = random_inventory(rand, targets);
	memcpy(scenario->to, target_names, targets * sizeof(char *));
	scenario->to[targets] = NULL;
	*request = (struct plan_request){
		.from = "old",
		.to = scenario->to,
		.order = (enum plan_order)g_rand_int_range(rand, 0, 4),
		.limits = {.per_host = (guint)g_rand_int_range(rand, 1, 4),
			   .per_datastore = (guint)g_rand_int_range(rand, 1, 9),
			   .per_target = (guint)g_rand_int_range(rand, 1, 5),
			   .bwlimit = one_in(rand, 2) ? 0 : random_bytes(rand, 300)},
		.window = {.begin_s = 1800000000,
			   .end_s = one_in(rand, 2) ? G_MAXINT64
						    : 1800000000 + g_rand_int_range(rand, 0, 500)},
	};
}

static void scenario_free(struct scenario *scenario)
{
	inventory_free(scenario->inventory);
	g_rand_free(scenario->rand);
}

/* Another order of everything that has none. */
static void shuffle(GRand *rand, GPtrArray *array)
{
	for (guint i = array->len; i > 1; i--) {
		guint other = (guint)g_rand_int_range(rand, 0, (int)i);
		gpointer held = array->pdata[other];

		array->pdata[other] = array->pdata[i - 1];
		array->pdata[i - 1] = held;
	}
}

/* All that a plan says. */
static char *plan_print(const struct plan *plan)
{
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < plan->moves->len; i++) {
		const struct plan_move *move = g_ptr_array_index(plan->moves, i);

		g_string_append_printf(
			text, "%s/%s %s %d %s %" G_GINT64_FORMAT "-%" G_GINT64_FORMAT "\n",
			move->disk->domain->name, move->disk->target, move->store->name, move->lun,
			move->to, move->start_s, move->end_s);
	}
	for (guint i = 0; i < plan->stays->len; i++) {
		const struct plan_stay *stay = g_ptr_array_index(plan->stays, i);

		g_string_append_printf(text, "%s/%s %s\n", stay->disk->domain->name,
				       stay->disk->target, stay->reason);
	}
	for (guint i = 0; i < plan->targets->len; i++) {
		const struct plan_target *target = g_ptr_array_index(plan->targets, i);

		g_string_append_printf(text, "%s %u %" G_GUINT64_FORMAT " %d\n",
				       target->store->name, target->disks, target->allocated_bytes,
				       target->fits_virtual);
	}
	return g_string_free(text, FALSE);
}

/* ---- properties ------------------------------------------------------------ */

START_TEST(every_disk_of_the_datastore_goes_once_or_stays_with_a_reason)
{
	struct scenario scenario;

	scenario_make(&scenario, (guint32)_i);
	AUTO(plan) plan = plan_for(scenario.inventory, &scenario.request, NULL);
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
	guint here = 0;

	for (guint i = 0; i < plan->moves->len; i++) {
		const struct plan_move *move = g_ptr_array_index(plan->moves, i);

		ck_assert(g_hash_table_add(seen, (gpointer)move->disk));
		ck_assert(!move->disk->obstacle && move->disk->store == plan->from);
	}
	for (guint i = 0; i < plan->stays->len; i++) {
		const struct plan_stay *stay = g_ptr_array_index(plan->stays, i);

		ck_assert(g_hash_table_add(seen, (gpointer)stay->disk));
		ck_assert(*stay->reason && stay->disk->store == plan->from);
	}
	for (guint i = 0; i < scenario.inventory->disks->len; i++) {
		const struct inventory_disk *disk = g_ptr_array_index(scenario.inventory->disks, i);

		here += disk->store == plan->from;
	}
	ck_assert_uint_eq(g_hash_table_size(seen), here);
	scenario_free(&scenario);
}
END_TEST

/* The moves that run when @move begins, @move too. */
static guint running_beside(const struct plan *plan, const struct plan_move *move,
			    gboolean (*counts)(const struct plan_move *, const struct plan_move *))
{
	guint count = 0;

	for (guint i = 0; i < plan->moves->len; i++) {
		const struct plan_move *other = g_ptr_array_index(plan->moves, i);

		count += other->start_s <= move->start_s && other->end_s > move->start_s &&
			 counts(other, move);
	}
	return count;
}

static gboolean any(const struct plan_move *a, const struct plan_move *b)
{
	return a && b;
}

static gboolean same_host(const struct plan_move *a, const struct plan_move *b)
{
	return g_str_equal(a->disk->domain->host, b->disk->domain->host);
}

static gboolean same_domain(const struct plan_move *a, const struct plan_move *b)
{
	return a->disk->domain == b->disk->domain;
}

static gboolean same_target(const struct plan_move *a, const struct plan_move *b)
{
	return a->store == b->store;
}

START_TEST(no_limit_is_exceeded_at_any_time)
{
	struct scenario scenario;

	scenario_make(&scenario, (guint32)_i);
	AUTO(plan) plan = plan_for(scenario.inventory, &scenario.request, NULL);
	const struct plan_limits *limits = &scenario.request.limits;
	const struct plan_window *window = &scenario.request.window;

	/* Their number only grows where one begins. */
	for (guint i = 0; i < plan->moves->len; i++) {
		const struct plan_move *move = g_ptr_array_index(plan->moves, i);

		ck_assert_uint_le(running_beside(plan, move, any), limits->per_datastore);
		ck_assert_uint_le(running_beside(plan, move, same_host), limits->per_host);
		ck_assert_uint_le(running_beside(plan, move, same_target),
				  MIN(limits->per_target, limits->per_datastore));
		ck_assert_uint_eq(running_beside(plan, move, same_domain), 1);
		ck_assert_int_ge(move->start_s, window->begin_s);
		ck_assert_int_le(move->end_s, window->end_s);
		ck_assert_int_eq(move->end_s, move->start_s + (gint64)move->seconds);
	}
	scenario_free(&scenario);
}
END_TEST

/* Of the moves that run when @move begins, the bytes a second together. */
static double rate_beside(const struct plan *plan, const struct plan_move *move)
{
	double rate = 0;

	for (guint i = 0; i < plan->moves->len; i++) {
		const struct plan_move *other = g_ptr_array_index(plan->moves, i);

		if (other->start_s <= move->start_s && other->end_s > move->start_s)
			rate += (double)other->bytes / (double)other->seconds;
	}
	return rate;
}

START_TEST(the_moves_together_keep_to_the_bandwidth)
{
	struct scenario scenario;

	scenario_make(&scenario, (guint32)_i);
	AUTO(plan) plan = plan_for(scenario.inventory, &scenario.request, NULL);
	guint64 limit = scenario.request.limits.bwlimit;

	for (guint i = 0; limit && i < plan->moves->len; i++)
		ck_assert_double_le(rate_beside(plan, g_ptr_array_index(plan->moves, i)),
				    (double)limit);
	scenario_free(&scenario);
}
END_TEST

static void check_lun(const struct plan *plan, const struct plan_move *move)
{
	const GPtrArray *luns = move->store->luns;
	guint found = 0, others = 0;

	if (move->disk->job)
		return;
	ck_assert_ptr_null(move->disk->lun_obstacle);
	for (guint i = 0; i < luns->len; i++) {
		const struct inventory_lun *lun = g_ptr_array_index(luns, i);

		if (lun->number != move->lun)
			continue;
		found++;
		ck_assert_uint_ge(lun->bytes, move->disk->virtual_bytes);
		ck_assert_ptr_null(lun->user);
	}
	for (guint i = 0; i < plan->moves->len; i++) {
		const struct plan_move *other = g_ptr_array_index(plan->moves, i);

		others += other->store == move->store && other->lun == move->lun;
	}
	ck_assert_uint_eq(found, 1);
	ck_assert_uint_eq(others, 1);
}

/* At the end, and so at any time: nothing gives room back. */
START_TEST(no_destination_takes_more_than_it_has_room_for)
{
	struct scenario scenario;
	guint64 taken[TARGETS_MAX + 1] = {0};

	scenario_make(&scenario, (guint32)_i);
	AUTO(plan) plan = plan_for(scenario.inventory, &scenario.request, NULL);

	for (guint i = 0; i < plan->moves->len; i++) {
		const struct plan_move *move = g_ptr_array_index(plan->moves, i);

		ck_assert(!move->store->maintenance);
		if (move->store->kind == STORE_ISCSI)
			check_lun(plan, move);
		else
			taken[*move->store->name - 'a'] += move->bytes;
	}
	for (guint i = 0; i < plan->targets->len; i++) {
		const struct inventory_store *store =
			((struct plan_target *)g_ptr_array_index(plan->targets, i))->store;

		/* What an open job has begun goes on even where its datastore is full. */
		if (store->kind != STORE_ISCSI && i + 1 < plan->targets->len)
			ck_assert_uint_le(taken[*store->name - 'a'], store->free_bytes);
	}
	scenario_free(&scenario);
}
END_TEST

START_TEST(the_rules_hold)
{
	struct scenario scenario;

	scenario_make(&scenario, (guint32)_i);
	AUTO(plan) plan = plan_for(scenario.inventory, &scenario.request, NULL);

	for (guint i = 0; i < plan->moves->len; i++) {
		const struct plan_move *move = g_ptr_array_index(plan->moves, i);
		const struct inventory_domain *domain = move->disk->domain;

		if (move->disk->job)
			continue;
		ck_assert(!domain->avoid ||
			  !g_strv_contains((const char *const *)domain->avoid, move->store->name));
		for (guint n = 0; domain->keep_together && n < plan->moves->len; n++) {
			const struct plan_move *other = g_ptr_array_index(plan->moves, n);

			ck_assert(other->disk->domain != domain || other->disk->job ||
				  other->store == move->store);
		}
	}
	scenario_free(&scenario);
}
END_TEST

START_TEST(the_order_of_the_inventory_does_not_matter)
{
	struct scenario scenario;

	scenario_make(&scenario, (guint32)_i);
	AUTO(plan) plan = plan_for(scenario.inventory, &scenario.request, NULL);
	AUTO(plan) again = plan_for(scenario.inventory, &scenario.request, NULL);
	g_autofree char *text = plan_print(plan);
	g_autofree char *same = plan_print(again);
	const struct inventory *inventory = scenario.inventory;

	ck_assert_str_eq(text, same);
	shuffle(scenario.rand, inventory->stores);
	shuffle(scenario.rand, inventory->domains);
	shuffle(scenario.rand, inventory->disks);
	for (guint i = 0; i < inventory->stores->len; i++) {
		struct inventory_store *store = g_ptr_array_index(inventory->stores, i);

		if (store->luns)
			shuffle(scenario.rand, store->luns);
	}
	AUTO(plan) shuffled = plan_for(inventory, &scenario.request, NULL);
	g_autofree char *other = plan_print(shuffled);

	ck_assert_str_eq(text, other);
	scenario_free(&scenario);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("plan_random");
	TCase *properties = tcase_create("properties");
	SRunner *runner = srunner_create(suite);

	suite_add_tcase(suite, properties);
	tcase_add_loop_test(properties,
			    every_disk_of_the_datastore_goes_once_or_stays_with_a_reason, 0, SEEDS);
	tcase_add_loop_test(properties, no_limit_is_exceeded_at_any_time, 0, SEEDS);
	tcase_add_loop_test(properties, the_moves_together_keep_to_the_bandwidth, 0, SEEDS);
	tcase_add_loop_test(properties, no_destination_takes_more_than_it_has_room_for, 0, SEEDS);
	tcase_add_loop_test(properties, the_rules_hold, 0, SEEDS);
	tcase_add_loop_test(properties, the_order_of_the_inventory_does_not_matter, 0, SEEDS);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
