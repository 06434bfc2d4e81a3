#include "tests/unit/resuming.h"

#include "common/units.h"

#include <check.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A sanitizer takes its own time and memory, and what counts branches its own time. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { SLOWNESS = 20, PEAK_KIB = G_MAXINT };
#elif !defined(__OPTIMIZE__)
enum { SLOWNESS = 5, PEAK_KIB = 96 * 1024 };
#else
enum { SLOWNESS = 1, PEAK_KIB = 96 * 1024 };
#endif

void resuming_open_ledger(struct copying *copying)
{
	copying->spec.ledger = copying->ledger = ledger_open(copying->folder, &copying->error);
	ck_assert_msg(copying->ledger != NULL, "%s",
		      copying->error ? copying->error->message : "?");
}

pid_t resuming_start_child(struct copying *copying, guint64 bytes_per_second)
{
	const pid_t child = fork();

	if (child == 0) {
		AUTO(throttle) throttle = throttle_new(bytes_per_second);

		resuming_open_ledger(copying);
		copying->spec.throttle = throttle;
		_exit(copying_run(copying) ? 0 : 1);
	}
	return child;
}

void resuming_wait_until_done(struct copying *copying, guint64 index)
{
	AUTO(ledger) ledger = ledger_open(copying->folder, NULL);
	struct ledger_unit unit = {.state = UNIT_PENDING};
	gint64 pass;

	while (unit.state < UNIT_DONE) {
		ck_assert(ledger_pass_find(ledger, 1, "seed", &pass, NULL));
		if (pass)
			ck_assert(ledger_unit_get(ledger, pass, index, &unit, NULL));
		g_usleep(10000);
	}
}

void resuming_kill(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static void assert_ends_well(pid_t child)
{
	struct rusage usage;
	int status;

	ck_assert_int_eq(wait4(child, &status, 0, &usage), child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	ck_assert_int_le(usage.ru_maxrss, PEAK_KIB);
}

static void assert_ledger_is_small(const struct copying *copying)
{
	g_autofree char *path = g_build_filename(copying->folder, "ledger.db", NULL);
	struct stat status;

	ck_assert_int_eq(stat(path, &status), 0);
	ck_assert_int_lt(status.st_size, MiB);
}

void resuming_assert_largest(struct copying *copying)
{
	const guint64 last_data = LARGEST_BYTES / COPY_UNIT_DEFAULT - 1;
	gint64 from_us;
	pid_t child;

	ledger_close(copying->ledger);
	child = resuming_start_child(copying, 16 * MiB);
	resuming_wait_until_done(copying, 0);
	resuming_kill(child);

	copying->spec.rehash = TRUE;
	from_us = g_get_monotonic_time();
	child = resuming_start_child(copying, 0);
	resuming_wait_until_done(copying, last_data);
	ck_assert_int_lt(g_get_monotonic_time() - from_us, SLOWNESS * 2 * G_USEC_PER_SEC);
	assert_ends_well(child);
	resuming_open_ledger(copying);
	assert_ledger_is_small(copying);
}
