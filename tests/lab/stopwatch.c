/*
 * Measures a guest's longest stall on the host's clock: a guest that is suspended does
 * not see the time go by.
 *
 *     stopwatch LOG RESULT
 *
 * Follows the history LOG as it grows and keeps the longest time between two
 * acknowledged writes of one disk, in milliseconds, in the file RESULT.  SIGUSR1
 * forgets what was measured.  A time in which nothing is acknowledged counts when it
 * ends, so a guest that was switched off in between counts too.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

enum { DISKS = 26 };

static volatile sig_atomic_t reset;

struct stopwatch {
	const char *result;
	long long last_ms[DISKS]; /* 0: nothing acknowledged yet */
	long long longest_ms;
	char line[256];
	size_t length;
};

static void on_reset(int number)
{
	(void)number;
	reset = 1;
}

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void publish(const struct stopwatch *watch)
{
	char name[4096];
	FILE *file;

	snprintf(name, sizeof(name), "%s.new", watch->result);
	file = fopen(name, "w");
	if (!file)
		return;
	fprintf(file, "%lld\n", watch->longest_ms);
	if (fclose(file) == 0)
		rename(name, watch->result);
}

static void take_line(struct stopwatch *watch)
{
	char letter, kind;
	long long now = now_ms(), *last;

	watch->line[watch->length] = '\0';
	if (sscanf(watch->line, "vd%c %c ", &letter, &kind) != 2 || letter < 'a' || letter > 'z')
		return;
	if (kind != 'a' && kind != 'D')
		return;
	last = &watch->last_ms[letter - 'a'];
	if (*last && now - *last > watch->longest_ms) {
		watch->longest_ms = now - *last;
		publish(watch);
	}
	*last = now;
}

static void take(struct stopwatch *watch, const char *bytes, ssize_t count)
{
	for (ssize_t i = 0; i < count; i++) {
		if (bytes[i] == '\n') {
			take_line(watch);
			watch->length = 0;
		} else if (watch->length < sizeof(watch->line) - 1) {
			watch->line[watch->length++] = bytes[i];
		}
	}
}

static void forget(struct stopwatch *watch)
{
	reset = 0;
	/* A stall that begins right now counts from now. */
	for (int i = 0; i < DISKS; i++)
		if (watch->last_ms[i])
			watch->last_ms[i] = now_ms();
	watch->longest_ms = 0;
	publish(watch);
}

int main(int argc, char **argv)
{
	static struct stopwatch watch;
	struct sigaction action = {.sa_handler = on_reset};
	char bytes[65536];
	int log, events;

	if (argc != 3) {
		fprintf(stderr, "usage: stopwatch LOG RESULT\n");
		return 2;
	}
	watch.result = argv[2];
	sigaction(SIGUSR1, &action, NULL);
	log = open(argv[1], O_RDONLY | O_CLOEXEC);
	events = inotify_init1(IN_CLOEXEC);
	if (log < 0 || events < 0 || inotify_add_watch(events, argv[1], IN_MODIFY) < 0) {
		fprintf(stderr, "stopwatch: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	/* What is there already has no times. */
	lseek(log, 0, SEEK_END);
	publish(&watch);
	for (;;) {
		ssize_t n = read(events, bytes, sizeof(bytes));

		if (reset)
			forget(&watch);
		if (n < 0 && errno != EINTR)
			return 1;
		while ((n = read(log, bytes, sizeof(bytes))) > 0)
			take(&watch, bytes, n);
	}
}
