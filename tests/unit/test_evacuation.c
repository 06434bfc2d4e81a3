/* Whole runs of an evacuation over a table of disks, with the real planner and dispatcher. */
#include "blockmig/evacuate/evacuation.h"
#include "common/error.h"
#include "common/stop.h"
#include "tests/unit/copying.h"
#include "tests/unit/dispatching.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FROM_URL "nfs://filer/vol1/"

static char *folder;
static struct ledger *ledger;
static struct evacuation_request request;
static struct evacuation *evacuation;
static const char *const destinations[] = {"local", "array", NULL};

/* What the world does beside the moves. */
static struct {
	guint looks, fails_at; /* counted from 1; 0: never */
	const char *newcomer;  /* appears at the second look */
	gboolean residue;
	guint emptied;
	gboolean cannot_finish;
} acts;

/* ---- the world ----------------------------------------------------------------------- */

static struct inventory_store *add_store(struct inventory *inventory, const char *name,
					 const char *url)
{
	struct inventory_store *store = inventory_add_store(inventory, name, STORE_FOLDER);

	store->url = g_strdup(url);
	store->size_bytes = store->free_bytes = 1ull << 50;
	return store;
}

static void add_disk(struct inventory *inventory, const struct inventory_store *store,
		     const struct table_disk *disk)
{
	struct inventory_domain *domain = inventory_add_domain(inventory, disk->name, disk->name);
	struct inventory_disk *listed = inventory_add_disk(inventory, domain, "vda");

	domain->host = g_strdup("here");
	listed->store = store;
	listed->source = g_strdup_printf("/vol1/%s", disk->name);
	listed->format = g_strdup("raw");
	listed->virtual_bytes = listed->allocated_bytes = disk->total;
	if (disk->job && !disk->moved) {
		listed->job = disk->job;
		listed->job_store = inventory_store(inventory, "local");
	}
}

static struct inventory *look(void *data, GError **error)
{
	AUTO(inventory) inventory = inventory_new();
	struct inventory_store *from = add_store(inventory, "filer", FROM_URL);

	(void)data;
	if (++acts.looks == acts.fails_at) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT, "libvirt is away");
		return NULL;
	}
	add_store(inventory, "local", "file:///images/");
	add_store(inventory, "array", "nfs://array/x/");
	if (acts.newcomer && acts.looks == 2)
		dispatching_disk(acts.newcomer)->total = 10;
	for (guint i = 0; i < world.disks->len; i++) {
		const struct table_disk *disk = &g_array_index(world.disks, struct table_disk, i);

		if (!disk->moved)
			add_disk(inventory, from, disk);
	}
	if (acts.residue)
		inventory_add_residue(inventory, inventory_add_domain(inventory, "x", "mail"), from,
				      RESIDUE_NVRAM, "/vol1/mail.fd")
			->way_out = g_strdup("move it by hand");
	return g_steal_pointer(&inventory);
}

static gboolean emptied(void *data, GError **error)
{
	(void)data;
	acts.emptied++;
	if (acts.cannot_finish)
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT, "umount: busy");
	return !acts.cannot_finish;
}

static const struct evacuation_world table = {look, emptied, &dispatching_runner, NULL};

/* ---- what the tests say -------------------------------------------------------------- */

static void setup(void)
{
	dispatching_setup();
	memset(&acts, 0, sizeof acts);
	folder = folder_make("evacuation");
	ledger = ledger_open(folder, NULL);
	request = (struct evacuation_request){
		.from = "filer",
		.from_url = FROM_URL,
		.to = destinations,
		.limits = {.per_host = 2, .per_datastore = 8, .per_target = 8},
		.until_s = G_MAXINT64,
	};
}

static void teardown(void)
{
	g_clear_pointer(&evacuation, evacuation_free);
	ledger_close(ledger);
	folder_remove(folder);
	g_free(folder);
	dispatching_teardown();
}

static void have(guint disks, guint64 bytes)
{
	for (guint i = 0; i < disks; i++) {
		g_autofree char *name = g_strdup_printf("vm%u", i);

		dispatching_disk(name)->total = bytes;
	}
}

static void ends(int status)
{
	g_autoptr(GError) error = NULL;

	g_clear_pointer(&evacuation, evacuation_free);
	evacuation = evacuation_run(ledger, &table, &request, &error);
	ck_assert_msg(evacuation != NULL, "%s", error ? error->message : "");
	ck_assert_int_eq(evacuation_status(evacuation), status);
}

static guint in_maintenance(void)
{
	g_autoptr(GPtrArray) all = ledger_maintenance_list(ledger, NULL);

	return all->len;
}

static guint moved(void)
{
	return dispatch_count(evacuation->dispatch, DISPATCH_MOVED);
}

START_TEST(all_leave_and_then_it_is_empty)
{
	have(5, 100);
	ends(0);
	ck_assert_uint_eq(moved(), 5);
	ck_assert(evacuation->empty);
	ck_assert_uint_eq(acts.emptied, 1);
	ck_assert_uint_eq(in_maintenance(), 0);
	/* And again: there is nothing to do. */
	ends(0);
	ck_assert_uint_eq(moved(), 0);
}
END_TEST

START_TEST(a_domain_that_comes_meanwhile_is_taken_along)
{
	have(2, 100);
	acts.newcomer = "late";
	ends(0);
	ck_assert_uint_eq(moved(), 3);
	ck_assert(dispatching_disk("late")->moved);
}
END_TEST

START_TEST(residue_keeps_it_from_being_empty)
{
	have(2, 100);
	acts.residue = TRUE;
	ends(6);
	ck_assert(!evacuation->empty);
	ck_assert_uint_eq(acts.emptied, 0);
	ck_assert_uint_eq(in_maintenance(), 1);
	const struct evacuation_rest *rest = g_ptr_array_index(evacuation->residue, 0);

	ck_assert_str_eq(rest->domain, "mail");
	ck_assert_str_eq(rest->what, "/vol1/mail.fd");
	ck_assert_str_eq(rest->kind, "nvram");
	ck_assert_str_eq(rest->reason, "move it by hand");
}
END_TEST

START_TEST(failures_are_told_by_the_status)
{
	/* Some moved, or none; and one that needs a person counts before all. */
	static const int statuses[][2] = {{1, 6}, {1, 1}, {5, 5}};

	have(_i == 1 ? 1 : 3, 100);
	request.limits.per_host = 1;
	request.to = destinations + 1;
	world.bad_target = "array";
	world.bad_status = statuses[_i][0];
	world.bad_job = 4;
	world.bad_times = 1;
	ends(statuses[_i][1]);
	ck_assert_uint_eq(acts.emptied, 0);
	ck_assert_uint_eq(in_maintenance(), 1);
}
END_TEST

START_TEST(a_second_run_leaves_at_once)
{
	int ends_of[2];
	char byte;

	ck_assert_int_eq(pipe(ends_of), 0);
	pid_t other = fork();

	if (other == 0) {
		struct ledger *own = ledger_open(folder, NULL);

		if (ledger_lock(own, "evacuate:" FROM_URL, 0, NULL) &&
		    write(ends_of[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	ck_assert_int_eq(read(ends_of[0], &byte, 1), 1);
	g_autoptr(GError) error = NULL;

	ck_assert_ptr_null(evacuation_run(ledger, &table, &request, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_BUSY));
	ck_assert_int_eq(error_exit_status(error), 75);
	ck_assert_ptr_nonnull(strstr(error->message, "filer is being evacuated already"));
	ck_assert_uint_eq(acts.looks, 0);

	/* And one that was killed is no hindrance. */
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	ends(0);
}
END_TEST

START_TEST(outside_its_window_it_only_says_what_is_left)
{
	AUTO(window) window = window_parse("22:00-05:00 UTC", NULL);

	have(2, 100);
	world.clock = 1792670400; /* 22 October 2026, noon */
	world.opens_s = G_MAXINT64;
	request.window = window;
	ends(3);
	ck_assert_uint_eq(moved(), 0);
	ck_assert_uint_eq(dispatch_count(evacuation->dispatch, DISPATCH_WAITING), 2);
	ck_assert_int_eq(evacuation->opens_s, 1792670400 + 10 * 3600);
}
END_TEST

/* By cron: the same command every night, and nothing known but the ledger and the world. */
START_TEST(three_nights_of_the_same_command_end_complete)
{
	AUTO(window) window = window_parse("22:00-05:00 UTC", NULL);
	struct window_span span;
	int nights = 0, status = 3;

	have(12, 75600 * 10ull / 2);
	request.window = window;
	world.clock = 1792670400;
	for (; status == 3 && nights < 10; nights++) {
		ck_assert(window_span_at(window, dispatching_now_s() + 3600, &span));
		world.clock = (double)span.begin_s;
		world.opens_s = span.begin_s;
		world.closes_s = span.end_s;
		g_clear_pointer(&evacuation, evacuation_free);
		evacuation = evacuation_run(ledger, &table, &request, NULL);
		status = evacuation_status(evacuation);
		ck_assert_int_le(dispatching_now_s(), span.end_s);
	}
	ck_assert_int_eq(status, 0);
	ck_assert_int_ge(nights, 3);
	ck_assert_uint_eq(acts.emptied, 1);
	for (guint i = 0; i < world.disks->len; i++) {
		const struct table_disk *disk = &g_array_index(world.disks, struct table_disk, i);

		ck_assert(disk->moved);
		ck_assert_uint_le(disk->sent, disk->total + (guint64)nights * FLUSH_WINDOW);
	}
}
END_TEST

START_TEST(what_was_done_is_told_though_the_world_goes_away)
{
	have(2, 100);
	acts.fails_at = 2;
	ends(6);
	ck_assert_str_eq(evacuation->problem, "libvirt is away");
	ck_assert_uint_eq(moved(), 2);
	ck_assert_uint_eq(acts.emptied, 0);
}
END_TEST

START_TEST(without_a_look_at_the_world_nothing_begins)
{
	g_autoptr(GError) error = NULL;

	have(2, 100);
	acts.fails_at = 1;
	ck_assert_ptr_null(evacuation_run(ledger, &table, &request, &error));
	ck_assert_str_eq(error->message, "libvirt is away");
	dispatching_began("");
	ck_assert_int_eq(ledger_lock_holder(ledger, "evacuate:" FROM_URL), 0);
	ck_assert_uint_eq(in_maintenance(), 0);
}
END_TEST

START_TEST(a_later_run_that_cannot_begin_keeps_it_in_maintenance)
{
	have(2, 100);
	stop_request();
	ends(3);
	stop_reset();
	acts.fails_at = acts.looks + 1;
	ck_assert_ptr_null(evacuation_run(ledger, &table, &request, NULL));
	ck_assert_uint_eq(in_maintenance(), 1);
}
END_TEST

START_TEST(what_cannot_be_done_in_the_end_keeps_it_in_maintenance)
{
	have(1, 100);
	acts.cannot_finish = TRUE;
	ends(1);
	ck_assert_str_eq(evacuation->problem, "umount: busy");
	ck_assert_uint_eq(in_maintenance(), 1);
	acts.cannot_finish = FALSE;
	ends(0);
	ck_assert_uint_eq(in_maintenance(), 0);
}
END_TEST

START_TEST(a_stop_is_told_and_the_same_command_goes_on)
{
	have(2, 100);
	stop_request();
	ends(3);
	ck_assert(evacuation->interrupted);
	stop_reset();
	ends(0);
	ck_assert_uint_eq(moved(), 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("evacuation");
	TCase *tests = tcase_create("evacuation");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, all_leave_and_then_it_is_empty);
	tcase_add_test(tests, a_domain_that_comes_meanwhile_is_taken_along);
	tcase_add_test(tests, residue_keeps_it_from_being_empty);
	tcase_add_loop_test(tests, failures_are_told_by_the_status, 0, 3);
	tcase_add_test(tests, a_second_run_leaves_at_once);
	tcase_add_test(tests, outside_its_window_it_only_says_what_is_left);
	tcase_add_test(tests, three_nights_of_the_same_command_end_complete);
	tcase_add_test(tests, what_was_done_is_told_though_the_world_goes_away);
	tcase_add_test(tests, without_a_look_at_the_world_nothing_begins);
	tcase_add_test(tests, a_later_run_that_cannot_begin_keeps_it_in_maintenance);
	tcase_add_test(tests, what_cannot_be_done_in_the_end_keeps_it_in_maintenance);
	tcase_add_test(tests, a_stop_is_told_and_the_same_command_goes_on);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
