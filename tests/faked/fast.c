#include "tests/faked/fast.h"

#include "common/units.h"

#include <check.h>
#include <string.h>

const struct block_limits fast_admins[FAST_ADMINS] = {
	{0},
	{.total = 40 * MiB, .total_burst = 80 * MiB, .total_burst_s = 3},
	{.write = 30 * MiB, .read = 20 * MiB},
	{.read = 10 * MiB, .read_burst = 20 * MiB, .read_burst_s = 1},
};

const struct block_limits fast_others = {.write = 7 * MiB};

/* A round more than the cutover's budget where nobody slows it. */
static void write_fast(void *eagerness)
{
	static guint8 value;
	struct block_limits now;

	if (fake_domain_run(FAKE_UUID) != RUN_RUNNING)
		return;
	fake_limits(FAKE_UUID, &now);
	gboolean slow =
		GPOINTER_TO_INT(eagerness) == FAST_DOCILE && now.write && now.write != 30 * MiB;

	scene_write(&scene, 2, slow ? 3 : 80, ++value);
}

void fast_open(int shape, const struct block_limits *limits, enum fast_eagerness eagerness)
{
	moves_open(&moves_shapes[shape % MOVES_SHAPES], RUN_RUNNING);
	fake_set_limits(FAKE_UUID, limits);
	/* The least budget of a cutover: 4 MiB. */
	scene.options.max_downtime_ms = 1;
	fake_fault(&(struct fake_fault){.call = "snapshot",
					.when = FAKE_AFTER,
					.lasting = TRUE,
					.code = FAKE_NO_ERROR,
					.hook = write_fast,
					.data = GINT_TO_POINTER(eagerness)});
}

void fast_set_others(void *data)
{
	(void)data;
	fake_set_limits(FAKE_UUID, &fast_others);
}

void fast_assert_limits(const struct block_limits *wanted)
{
	struct block_limits now;

	fake_limits(FAKE_UUID, &now);
	ck_assert_msg(memcmp(&now, wanted, sizeof now) == 0,
		      "the limits are total %d read %d write %d", (int)now.total, (int)now.read,
		      (int)now.write);
}
