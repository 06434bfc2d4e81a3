/*
 * Says whether a disk holds everything that its guest saw acknowledged.
 *
 *     checker [--json] [--disk=vda] [--before=RAW-IMAGE] HISTORY RAW-IMAGE
 *
 * HISTORY is the serial log of the guest's writer (writer.c has its lines), all boots
 * of it one after the other.  For each block the disk may hold
 *   - the last acknowledged write, or zeros where a discard was acknowledged since
 *     (a discard is advice: the write may be there still);
 *   - a write (or a discard's zeros) that was announced after it and never acknowledged:
 *     in flight when the guest died, or answered with an error;
 *   - a write newer than all that the log has of that boot: the last lines of a guest
 *     that dies are lost on the way, and the block proves by itself what it is.
 * Anything else is lost, damaged (wrong checksum) or misplaced.  Blocks that the
 * history does not name must equal --before where that is given.
 *
 * Status 0 only where writes were acknowledged, none is lost, and nothing was wrong.
 */
#include "stamp.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STEP_BLOCKS = 256, DETAILS = 10 };

/* An announced operation that is not acknowledged. */
struct pending {
	uint64_t sequence;
	uint64_t block;
	uint64_t count;
	bool discard;
};

/* Sequence numbers that one boot may have used after the last line that arrived. */
struct gap {
	uint64_t first, last;
};

struct block {
	uint64_t acknowledged; /* 0: none */
	bool may_be_zero;
};

struct counts {
	uint64_t boots, writes, discards, in_flight;
	uint64_t blocks, found, lost, damaged, misplaced, changed;
	uint64_t io_errors, wrong_reads, longest_stall_us;
};

struct checker {
	const char *disk;
	uint64_t run;
	uint64_t size; /* blocks; 0: no boot seen yet */
	uint64_t announced;
	struct block *blocks;
	GHashTable *pending; /* sequence -> struct pending */
	GArray *gaps;	     /* of struct gap */
	struct counts counts;
	unsigned int details;
};

G_GNUC_PRINTF(3, 4)
static void detail(struct checker *checker, uint64_t block, const char *format, ...)
{
	va_list arguments;

	if (++checker->details > DETAILS)
		return;
	fprintf(stderr, "%s: block %" G_GUINT64_FORMAT ": ", checker->disk, block);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

static void take_stall(struct checker *checker, uint64_t microseconds)
{
	if (microseconds > checker->counts.longest_stall_us)
		checker->counts.longest_stall_us = microseconds;
}

static bool take_boot(struct checker *checker, const char *text)
{
	uint64_t run, size, first;
	struct gap gap;

	if (sscanf(text, "%lu %lu %lu", &run, &size, &first) != 3)
		return true;
	if (checker->size && (checker->run != run || checker->size != size)) {
		fprintf(stderr, "%s: the history has two runs or two sizes\n", checker->disk);
		return false;
	}
	if (!checker->size) {
		checker->run = run;
		checker->size = size;
		checker->blocks = g_new0(struct block, size);
	}
	gap = (struct gap){checker->announced + 1, first - 1};
	g_array_append_val(checker->gaps, gap);
	checker->counts.boots++;
	return true;
}

static void take_announcement(struct checker *checker, const char *text, bool discard)
{
	struct pending operation = {.discard = discard}, *copy;

	if (sscanf(text, "%lu %lu %lu", &operation.sequence, &operation.block, &operation.count) !=
		    3 ||
	    operation.block + operation.count > checker->size)
		return;
	copy = g_memdup2(&operation, sizeof(operation));
	g_hash_table_replace(checker->pending, &copy->sequence, copy);
	checker->announced = MAX(checker->announced, operation.sequence);
}

static void take_acknowledgement(struct checker *checker, const char *text, bool discard)
{
	uint64_t sequence, block, count, latency_us;

	if (sscanf(text, "%lu %lu %lu %lu", &sequence, &block, &count, &latency_us) != 4 ||
	    block + count > checker->size)
		return;
	take_stall(checker, latency_us);
	g_hash_table_remove(checker->pending, &sequence);
	checker->announced = MAX(checker->announced, sequence);
	for (uint64_t i = block; i < block + count; i++) {
		if (discard)
			checker->blocks[i].may_be_zero = true;
		else
			checker->blocks[i] = (struct block){.acknowledged = sequence};
	}
	if (discard)
		checker->counts.discards++;
	else
		checker->counts.writes++;
}

static bool take_line(struct checker *checker, const char *line)
{
	uint64_t gap_us;
	size_t length = strlen(checker->disk);

	if (strncmp(line, checker->disk, length) != 0 || line[length] != ' ')
		return true;
	line += length + 1;
	if (line[0] == '\0' || (line[0] != 'B' && !checker->size))
		return true;
	switch (line[0]) {
	case 'B':
		return take_boot(checker, line + 1);
	case 'w':
	case 'd':
		take_announcement(checker, line + 1, line[0] == 'd');
		break;
	case 'a':
	case 'D':
		take_acknowledgement(checker, line + 1, line[0] == 'D');
		break;
	case 'E':
		checker->counts.io_errors++;
		break;
	case 'R':
		checker->counts.wrong_reads++;
		break;
	case 'S':
		if (sscanf(line + 1, "%lu", &gap_us) == 1)
			take_stall(checker, gap_us);
		break;
	}
	return true;
}

/* The next boot's first line may stand behind a line that the last one did not end. */
static const char *second_start(const char *line)
{
	for (const char *found = line; (found = strstr(found + 1, "vd"));)
		if (found[2] && strncmp(found + 3, " B ", 3) == 0)
			return found;
	return NULL;
}

static bool read_history(struct checker *checker, const char *path)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;
	ssize_t length;
	bool good = true;

	if (!file) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return false;
	}
	while (good && (length = getline(&line, &size, file)) > 0) {
		const char *second;

		if (line[length - 1] != '\n')
			break;
		second = second_start(line);
		good = take_line(checker, line) && (!second || take_line(checker, second));
	}
	free(line);
	fclose(file);
	if (good && !checker->size) {
		fprintf(stderr, "%s: %s has no history there\n", path, checker->disk);
		return false;
	}
	return good;
}

/* Whether a write newer than the acknowledged one may be what the block holds. */
static bool newer_allowed(struct checker *checker, uint64_t block, uint64_t sequence)
{
	const struct pending *operation = g_hash_table_lookup(checker->pending, &sequence);

	if (operation)
		return !operation->discard && block >= operation->block &&
		       block - operation->block < operation->count;
	if (sequence > checker->announced)
		return true;
	for (guint i = 0; i < checker->gaps->len; i++) {
		const struct gap *gap = &g_array_index(checker->gaps, struct gap, i);

		if (sequence >= gap->first && sequence <= gap->last)
			return true;
	}
	return false;
}

static bool discard_pending(struct checker *checker, uint64_t block)
{
	GHashTableIter iterator;
	void *value;

	g_hash_table_iter_init(&iterator, checker->pending);
	while (g_hash_table_iter_next(&iterator, NULL, &value)) {
		const struct pending *operation = value;

		if (operation->discard && block >= operation->block &&
		    block - operation->block < operation->count &&
		    operation->sequence > checker->blocks[block].acknowledged)
			return true;
	}
	return false;
}

static void judge_stamped(struct checker *checker, uint64_t block, uint64_t found)
{
	uint64_t expected = checker->blocks[block].acknowledged;

	if (found == expected) {
		checker->counts.found++;
	} else if (found > expected && newer_allowed(checker, block, found)) {
		checker->counts.found += expected != 0;
		checker->counts.in_flight++;
	} else {
		checker->counts.lost++;
		detail(checker, block, "write %lu was acknowledged, write %lu is there", expected,
		       found);
	}
}

/* The block holds nothing of this guest. */
static void judge_unstamped(struct checker *checker, uint64_t block, const struct stamp *stamp,
			    const struct stamp *before, bool zero)
{
	uint64_t expected = checker->blocks[block].acknowledged;

	if (zero && (checker->blocks[block].may_be_zero || discard_pending(checker, block))) {
		checker->counts.found += expected != 0;
	} else if (expected) {
		checker->counts.lost++;
		detail(checker, block, "write %lu was acknowledged, %s there", expected,
		       zero ? "zeros are" : "something else is");
	} else if (before && memcmp(stamp, before, STAMP_BLOCK_BYTES) != 0) {
		checker->counts.changed++;
		detail(checker, block, "never written by the guest, but changed");
	}
}

static void judge(struct checker *checker, uint64_t block, const struct stamp *stamp,
		  const struct stamp *before)
{
	enum stamp_verdict verdict =
		stamp_judge(stamp, checker->run, stamp_disk(checker->disk), block);

	checker->counts.blocks += checker->blocks[block].acknowledged != 0;
	switch (verdict) {
	case STAMP_GOOD:
		judge_stamped(checker, block, stamp->sequence);
		break;
	case STAMP_ZERO:
	case STAMP_FOREIGN:
		judge_unstamped(checker, block, stamp, before, verdict == STAMP_ZERO);
		break;
	case STAMP_MISPLACED:
		checker->counts.misplaced++;
		detail(checker, block, "holds write %lu of block %lu", stamp->sequence,
		       stamp->block);
		break;
	case STAMP_DAMAGED:
		checker->counts.damaged++;
		detail(checker, block, "wrong checksum in write %lu", stamp->sequence);
		break;
	}
}

/* What an image does not reach reads as zeros, and is then missed as a lost write. */
static bool read_step(int fd, const char *path, struct stamp *buffer, uint64_t first)
{
	size_t wanted = (size_t)STEP_BLOCKS * STAMP_BLOCK_BYTES, done = 0;

	while (done < wanted) {
		ssize_t n = pread(fd, (char *)buffer + done, wanted - done,
				  (off_t)(first * STAMP_BLOCK_BYTES + done));

		if (n < 0) {
			fprintf(stderr, "%s: %s\n", path, strerror(errno));
			return false;
		}
		if (n == 0)
			break;
		done += (size_t)n;
	}
	memset((char *)buffer + done, 0, wanted - done);
	return true;
}

static bool judge_all(struct checker *checker, int disk, const char *path, int before,
		      const char *before_path)
{
	g_autofree struct stamp *now = g_new(struct stamp, STEP_BLOCKS);
	g_autofree struct stamp *then = g_new(struct stamp, STEP_BLOCKS);

	for (uint64_t first = 0; first < checker->size; first += STEP_BLOCKS) {
		if (!read_step(disk, path, now, first) ||
		    (before >= 0 && !read_step(before, before_path, then, first)))
			return false;
		for (uint64_t i = 0; i < STEP_BLOCKS && first + i < checker->size; i++)
			judge(checker, first + i, &now[i], before >= 0 ? &then[i] : NULL);
	}
	return true;
}

static int open_image(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	return fd;
}

static bool check_disk(struct checker *checker, const char *path, const char *before_path)
{
	int disk = open_image(path);
	int before = before_path && disk >= 0 ? open_image(before_path) : -1;
	bool good = disk >= 0 && (!before_path || before >= 0) &&
		    judge_all(checker, disk, path, before, before_path);

	if (disk >= 0)
		close(disk);
	if (before >= 0)
		close(before);
	return good;
}

static bool all_well(const struct counts *counts)
{
	return counts->writes && !counts->lost && !counts->damaged && !counts->misplaced &&
	       !counts->changed && !counts->io_errors && !counts->wrong_reads;
}

static void report(const struct checker *checker, bool json)
{
	const struct counts *counts = &checker->counts;
	const struct {
		const char *key, *words;
		uint64_t value;
	} rows[] = {
		{"boots", "boots", counts->boots},
		{"writes_acknowledged", "writes acknowledged", counts->writes},
		{"discards_acknowledged", "discards acknowledged", counts->discards},
		{"blocks_written", "blocks with an acknowledged write", counts->blocks},
		{"blocks_found", "blocks found again", counts->found},
		{"blocks_in_flight", "blocks newer than the last acknowledgement",
		 counts->in_flight},
		{"lost", "blocks lost", counts->lost},
		{"damaged", "blocks with a wrong checksum", counts->damaged},
		{"misplaced", "blocks in the wrong place", counts->misplaced},
		{"changed", "other blocks changed", counts->changed},
		{"io_errors", "I/O errors in the guest", counts->io_errors},
		{"wrong_reads", "wrong reads in the guest", counts->wrong_reads},
		{"longest_stall_ms", "longest stall on the guest's clock, ms",
		 counts->longest_stall_us / 1000},
	};

	if (json)
		printf("{\"disk\": \"%s\", \"ok\": %s", checker->disk,
		       all_well(counts) ? "true" : "false");
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		if (json)
			printf(", \"%s\": %lu", rows[i].key, rows[i].value);
		else
			printf("%s: %-44s %10lu\n", checker->disk, rows[i].words, rows[i].value);
	}
	if (json)
		printf("}\n");
	else
		printf("%s: %s\n", checker->disk,
		       all_well(counts) ? "nothing is lost" : "NOT ALL IS WELL");
}

int main(int argc, char **argv)
{
	g_autofree char *disk = g_strdup("vda"), *before = NULL;
	gboolean json = FALSE;
	struct checker checker = {0};
	bool checked;
	const GOptionEntry entries[] = {
		{"json", 0, 0, G_OPTION_ARG_NONE, &json, "One JSON object", NULL},
		{"disk", 0, 0, G_OPTION_ARG_STRING, &disk, "The disk's name in the guest", "NAME"},
		{"before", 0, 0, G_OPTION_ARG_FILENAME, &before,
		 "What the disk held before the guest's first start", "RAW-IMAGE"},
		G_OPTION_ENTRY_NULL};
	g_autoptr(GOptionContext) context = g_option_context_new("HISTORY RAW-IMAGE");
	g_autoptr(GError) error = NULL;

	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, &error) || argc != 3) {
		fprintf(stderr, "checker: %s\n", error ? error->message : "HISTORY RAW-IMAGE");
		return 2;
	}
	checker.disk = disk;
	checker.pending = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	checker.gaps = g_array_new(FALSE, FALSE, sizeof(struct gap));
	checked = read_history(&checker, argv[1]) && check_disk(&checker, argv[2], before);
	if (checked)
		report(&checker, json);
	g_hash_table_unref(checker.pending);
	g_array_unref(checker.gaps);
	g_free(checker.blocks);
	if (!checked)
		return 2;
	return all_well(&checker.counts) ? 0 : 1;
}
