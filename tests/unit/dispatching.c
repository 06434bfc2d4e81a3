#include "tests/unit/dispatching.h"

#include "common/stop.h"

#include <check.h>
#include <string.h>

enum { STATUS_STOPPED = 3 };

/* A move that runs. */
struct child {
	struct dispatch_move *move;
	struct table_disk *disk;
	double rate;	 /* what it is allowed, bytes a second; 0: no limit */
	double stops_at; /* < 0: nobody asked */
	gboolean rolls_back;
};

struct dispatching_world world;
struct dispatch *dispatch;

static void child_free(gpointer child)
{
	g_free(child);
}

void dispatching_setup(void)
{
	memset(&world, 0, sizeof world);
	world.clock = 1000000;
	world.native_rate = 10;
	world.disks = g_array_new(FALSE, TRUE, sizeof(struct table_disk));
	world.children = g_ptr_array_new_with_free_func(child_free);
	world.log = g_string_new(NULL);
	world.closes_s = G_MAXINT64;
	world.answers = TRUE;
}

void dispatching_teardown(void)
{
	g_clear_pointer(&dispatch, dispatch_free);
	g_array_unref(world.disks);
	g_ptr_array_unref(world.children);
	g_string_free(world.log, TRUE);
	stop_reset();
}

struct table_disk *dispatching_disk(const char *name)
{
	for (guint i = 0; i < world.disks->len; i++) {
		struct table_disk *disk = &g_array_index(world.disks, struct table_disk, i);

		if (g_str_equal(disk->name, name))
			return disk;
	}
	g_array_set_size(world.disks, world.disks->len + 1);
	struct table_disk *disk =
		&g_array_index(world.disks, struct table_disk, world.disks->len - 1);

	g_strlcpy(disk->name, name, sizeof disk->name);
	return disk;
}

static struct child *child_of(const struct dispatch_move *move)
{
	for (guint i = 0; i < world.children->len; i++) {
		struct child *child = g_ptr_array_index(world.children, i);

		if (child->move == move)
			return child;
	}
	ck_abort_msg("%s does not run", move->domain);
}

/* ---- the table ----------------------------------------------------------------------- */

static gint64 fake_now_s(void *data)
{
	(void)data;
	return (gint64)(world.clock + 1e-6);
}

gint64 dispatching_now_s(void)
{
	return fake_now_s(NULL);
}

static void check_limits(void)
{
	double sum = 0;

	/* An evacuation has one of its own. */
	if (!dispatch)
		return;
	ck_assert_uint_le(world.children->len, dispatch->limits.per_datastore);
	for (guint i = 0; i < world.children->len; i++) {
		const struct child *one = g_ptr_array_index(world.children, i);
		guint of_host = 0, of_target = 0, of_domain = 0;

		for (guint j = 0; j < world.children->len; j++) {
			const struct child *other = g_ptr_array_index(world.children, j);

			of_host += g_str_equal(one->move->host, other->move->host);
			of_target += one->move->target == other->move->target;
			of_domain += g_str_equal(one->move->domain, other->move->domain);
		}
		ck_assert_uint_le(of_host, dispatch->limits.per_host);
		ck_assert_uint_le(of_target, dispatch->limits.per_target);
		ck_assert_uint_eq(of_domain, 1);
		sum += one->rate;
	}
	if (dispatch->limits.bwlimit)
		ck_assert_double_le(sum, (double)dispatch->limits.bwlimit);
}

static gboolean fake_start(struct dispatch_move *move, guint64 rate, void *data, GError **error)
{
	struct child *child = g_new0(struct child, 1);

	(void)data;
	(void)error;
	ck_assert(fake_now_s(NULL) >= world.opens_s && fake_now_s(NULL) < world.closes_s);
	g_string_append_printf(world.log, "%s ", move->domain);
	*child = (struct child){move, dispatching_disk(move->domain), (double)rate, -1, FALSE};
	child->disk->job = child->disk->job ? child->disk->job : 1 + (gint64)world.disks->len;
	g_ptr_array_add(world.children, child);
	check_limits();
	return TRUE;
}

static void fake_set_rate(struct dispatch_move *move, guint64 rate, void *data)
{
	(void)data;
	child_of(move)->rate = (double)rate;
}

static void fake_stop(struct dispatch_move *move, gboolean now, void *data)
{
	struct child *child = child_of(move);

	(void)data;
	world.stopped_now += now;
	if (child->stops_at < 0)
		child->stops_at = world.clock + CHECKPOINT_S;
}

static gboolean fake_roll_back(struct dispatch_move *move, void *data, GError **error)
{
	struct child *child = g_new0(struct child, 1);

	(void)data;
	(void)error;
	*child = (struct child){move, dispatching_disk(move->domain), 0, world.clock + 1, TRUE};
	g_ptr_array_add(world.children, child);
	return TRUE;
}

static gboolean is_bad(const struct child *child)
{
	return world.bad_target && g_str_equal(child->move->target->name, world.bad_target) &&
	       world.bad_times > 0;
}

static double speed(const struct child *child)
{
	return child->rate > 0 ? MIN(child->rate, world.native_rate) : world.native_rate;
}

static double ends_at(const struct child *child)
{
	double left = (double)(child->disk->total - child->disk->done);

	if (child->stops_at >= 0)
		return child->stops_at;
	return world.clock + (is_bad(child) ? 1 : left / speed(child));
}

/* All copy on until @clock. */
static void pass_time(double clock)
{
	for (guint i = 0; i < world.children->len; i++) {
		struct child *child = g_ptr_array_index(world.children, i);
		guint64 copied = (guint64)((clock - world.clock) * speed(child) + 0.5);

		if (child->rolls_back || is_bad(child))
			continue;
		copied = MIN(copied, child->disk->total - child->disk->done);
		child->disk->done += copied;
		child->disk->sent += copied;
	}
	world.clock = clock;
}

static void fill_outcome(struct child *child)
{
	struct dispatch_outcome *outcome = &child->move->outcome;
	gboolean stopped = child->stops_at >= 0;

	dispatch_outcome_clear(outcome);
	outcome->job = child->disk->job;
	if (child->rolls_back)
		return;
	if (is_bad(child)) {
		world.bad_times--;
		outcome->status = world.bad_status;
		outcome->job = world.bad_job;
		outcome->message = g_strdup("the filer said no");
		return;
	}
	if (!stopped) {
		child->disk->moved = TRUE;
		return;
	}
	/* What was not flushed at the checkpoint is sent again. */
	child->disk->done -= MIN(child->disk->done, FLUSH_WINDOW);
	outcome->status = STATUS_STOPPED;
	outcome->message = g_strdup("stopped as asked");
}

static struct dispatch_move *fake_wait(gint64 until_s, void *data)
{
	struct child *first = NULL;
	double at = (double)until_s;

	(void)data;
	check_limits();
	for (guint i = 0; i < world.children->len; i++) {
		struct child *child = g_ptr_array_index(world.children, i);

		if (ends_at(child) <= at) {
			at = ends_at(child);
			first = child;
		}
	}
	ck_assert_msg(at < 1e18, "it waits for nothing");
	pass_time(MAX(at, world.clock));
	if (!first)
		return NULL;
	struct dispatch_move *move = first->move;

	fill_outcome(first);
	g_ptr_array_remove(world.children, first);
	return move;
}

static gboolean fake_answers(const struct dispatch_target *target, void *data)
{
	(void)target;
	(void)data;
	return world.answers;
}

static guint64 fake_measured(const struct dispatch_move *move, void *data)
{
	(void)move;
	(void)data;
	return world.measured;
}

const struct dispatch_runner dispatching_runner = {
	.now_s = fake_now_s,
	.start = fake_start,
	.set_rate = fake_set_rate,
	.stop = fake_stop,
	.roll_back = fake_roll_back,
	.wait = fake_wait,
	.answers = fake_answers,
	.measured = fake_measured,
};

/* ---- what the tests say -------------------------------------------------------------- */

void dispatching_open(void)
{
	g_clear_pointer(&dispatch, dispatch_free);
	dispatch = dispatch_new(&dispatching_runner, NULL);
	dispatch->limits = (struct plan_limits){.per_host = 2, .per_datastore = 8, .per_target = 8};
}

struct dispatch_move *dispatching_add(const char *domain, guint64 bytes, const char *target)
{
	struct dispatch_move *move = dispatch_add_move(
		dispatch, domain, "vda", dispatch_add_target(dispatch, target), target);
	struct table_disk *disk = dispatching_disk(domain);

	disk->total = bytes;
	move->bytes = bytes;
	move->job = disk->job;
	move->target->bytes_per_second = (guint64)world.native_rate;
	return move;
}

void dispatching_on_host(struct dispatch_move *move, const char *host)
{
	g_free(move->host);
	move->host = g_strdup(host);
}

void dispatching_began(const char *wanted)
{
	g_strchomp(world.log->str);
	ck_assert_str_eq(world.log->str, wanted);
}

void dispatching_closes_in(gint64 seconds)
{
	dispatch->closes_s = world.closes_s = fake_now_s(NULL) + seconds;
	dispatch->longest_s = seconds;
}

void dispatching_assert_reason(const struct dispatch_move *move, enum dispatch_state state,
			       const char *words)
{
	ck_assert_str_eq(dispatch_state_name(move->state), dispatch_state_name(state));
	ck_assert_msg(strstr(move->reason, words) != NULL, "%s", move->reason);
}
