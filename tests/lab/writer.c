/*
 * The laboratory guest's only program: writes stamped blocks to one disk for ever and
 * tells the host, over the second serial port, what the disk acknowledged.
 *
 *     writer DISK          DISK as in /dev: vda
 *
 * The kernel's command line says how:
 *     blockmig.mode=random|sequential|overwrite|discard
 *     blockmig.rate=N      writes a second, 0: without a pause
 *     blockmig.run=N       the run's number; the same after a reboot
 *     blockmig.blocks=N    only the first N blocks
 *
 * Lines, each written at once, so that those of several disks do not mix:
 *     DISK B RUN BLOCKS SEQUENCE MODE    started; writes follow from SEQUENCE on
 *     DISK w SEQUENCE BLOCK COUNT        about to write COUNT blocks
 *     DISK a SEQUENCE BLOCK COUNT US     acknowledged, after US microseconds
 *     DISK d, DISK D                     the same for a discard
 *     DISK E SEQUENCE BLOCK ERRNO        the disk reported an error
 *     DISK R SEQUENCE BLOCK FOUND WHAT   read back something else than SEQUENCE
 *     DISK S MAXGAP_US TOTAL ERRORS      once a second; the gap is between two
 *                                        acknowledgements on the guest's clock
 */
#include "stamp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum {
	RUN_BLOCKS = 256, /* 1 MiB: one sequential write, the longest discard, one scan step */
	RECENT = 1024,	  /* places that are read back */
	READ_EVERY = 16,
	DISCARD_EVERY = 8,
	HOT_SHARE = 20,	      /* the hot set is one twentieth of the disk */
	SEQUENCE_STEP = 1000, /* left out at a start: more than a serial line can have lost */
};

enum mode { MODE_RANDOM, MODE_SEQUENTIAL, MODE_OVERWRITE, MODE_DISCARD };

static const char *const mode_names[] = {"random", "sequential", "overwrite", "discard"};

/* What a block should hold. */
struct known {
	uint64_t sequence; /* 0: not known */
	bool may_be_zero;  /* discarded since */
};

struct writer {
	const char *name;
	uint64_t disk;
	int fd;
	int log;
	enum mode mode;
	uint64_t rate;
	uint64_t run;
	uint64_t blocks;
	struct known *known;
	struct stamp *buffer; /* RUN_BLOCKS of them */
	uint64_t sequence;    /* of the next write */
	uint64_t position;    /* of the next sequential write */
	uint64_t recent[RECENT];
	uint64_t operations;
	uint64_t acknowledged;
	uint64_t errors;
	uint64_t last_us; /* the last acknowledgement; 0: none yet */
	uint64_t longest_gap_us;
	uint64_t random;
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t pick(struct writer *writer, uint64_t below)
{
	writer->random ^= writer->random << 13;
	writer->random ^= writer->random >> 7;
	writer->random ^= writer->random << 17;
	return writer->random % below;
}

__attribute__((format(printf, 2, 3))) static void say(struct writer *writer, const char *format,
						      ...)
{
	char line[160];
	int length = snprintf(line, sizeof(line), "%s ", writer->name);
	va_list arguments;

	va_start(arguments, format);
	length += vsnprintf(line + length, sizeof(line) - (size_t)length, format, arguments);
	va_end(arguments);
	for (int done = 0; done < length;) {
		ssize_t n = write(writer->log, line + done, (size_t)(length - done));

		if (n < 0 && errno != EINTR)
			exit(1);
		done += n > 0 ? (int)n : 0;
	}
}

/* The value of blockmig.NAME= in the command line; the caller keeps @line. */
static const char *option(const char *line, const char *name, char *value, size_t size)
{
	char key[64];
	const char *found;

	snprintf(key, sizeof(key), "blockmig.%s=", name);
	found = strstr(line, key);
	if (!found)
		return NULL;
	found += strlen(key);
	snprintf(value, size, "%.*s", (int)strcspn(found, " \n"), found);
	return value;
}

static uint64_t option_number(const char *line, const char *name, uint64_t otherwise)
{
	char value[32];

	return option(line, name, value, sizeof(value)) ? strtoull(value, NULL, 10) : otherwise;
}

static void read_options(struct writer *writer)
{
	char line[4096] = "", mode[32];
	int fd = open("/proc/cmdline", O_RDONLY);

	if (fd >= 0) {
		ssize_t n = read(fd, line, sizeof(line) - 1);

		line[n > 0 ? n : 0] = '\0';
		close(fd);
	}
	writer->rate = option_number(line, "rate", 0);
	writer->run = option_number(line, "run", 1);
	writer->blocks = option_number(line, "blocks", UINT64_MAX);
	if (!option(line, "mode", mode, sizeof(mode)))
		return;
	for (int i = 0; i < 4; i++)
		if (strcmp(mode, mode_names[i]) == 0)
			writer->mode = (enum mode)i;
}

static bool open_all(struct writer *writer)
{
	char path[64];
	uint64_t bytes;
	struct termios raw;

	writer->log = open("/dev/ttyS1", O_WRONLY | O_NOCTTY);
	if (writer->log < 0)
		return false;
	tcgetattr(writer->log, &raw);
	cfmakeraw(&raw);
	cfsetspeed(&raw, B115200);
	tcsetattr(writer->log, TCSANOW, &raw);

	snprintf(path, sizeof(path), "/dev/%s", writer->name);
	writer->fd = open(path, O_RDWR | O_DIRECT | O_SYNC);
	if (writer->fd < 0 || ioctl(writer->fd, BLKGETSIZE64, &bytes) < 0)
		return false;
	if (writer->blocks > bytes / STAMP_BLOCK_BYTES)
		writer->blocks = bytes / STAMP_BLOCK_BYTES;
	writer->known = calloc(writer->blocks, sizeof(*writer->known));
	writer->buffer = aligned_alloc(STAMP_BLOCK_BYTES, RUN_BLOCKS * STAMP_BLOCK_BYTES);
	return writer->known && writer->buffer && writer->blocks >= RUN_BLOCKS;
}

/* Learns what an earlier boot left, and the sequence number to carry on from. */
static void scan(struct writer *writer)
{
	uint64_t highest = 0;

	for (uint64_t first = 0; first < writer->blocks && !stop; first += RUN_BLOCKS) {
		uint64_t count = writer->blocks - first;

		count = count < RUN_BLOCKS ? count : RUN_BLOCKS;
		if (pread(writer->fd, writer->buffer, count * STAMP_BLOCK_BYTES,
			  (off_t)(first * STAMP_BLOCK_BYTES)) < 0) {
			say(writer, "E 0 %lu %d\n", first, errno);
			writer->errors++;
			continue;
		}
		for (uint64_t i = 0; i < count; i++) {
			const struct stamp *stamp = &writer->buffer[i];

			if (stamp->magic != STAMP_MAGIC ||
			    stamp_judge(stamp, writer->run, writer->disk, first + i) != STAMP_GOOD)
				continue;
			writer->known[first + i].sequence = stamp->sequence;
			if (stamp->sequence > highest)
				highest = stamp->sequence;
		}
	}
	writer->sequence = highest ? highest + SEQUENCE_STEP : 1;
}

static void acknowledge(struct writer *writer, uint64_t now)
{
	uint64_t gap = writer->last_us ? now - writer->last_us : 0;

	if (gap > writer->longest_gap_us)
		writer->longest_gap_us = gap;
	writer->last_us = now;
	writer->acknowledged++;
}

static void failed(struct writer *writer, uint64_t sequence, uint64_t block, uint64_t count,
		   int error)
{
	say(writer, "E %lu %lu %d\n", sequence, block, error);
	writer->errors++;
	for (uint64_t i = 0; i < count; i++)
		writer->known[block + i] = (struct known){0};
	sleep(1);
}

static void write_blocks(struct writer *writer, uint64_t block, uint64_t count)
{
	uint64_t sequence = writer->sequence++, began, ended;
	ssize_t bytes = (ssize_t)(count * STAMP_BLOCK_BYTES), n;

	for (uint64_t i = 0; i < count; i++)
		stamp_fill(&writer->buffer[i], writer->run, writer->disk, block + i, sequence);
	say(writer, "w %lu %lu %lu\n", sequence, block, count);
	began = now_us();
	n = pwrite(writer->fd, writer->buffer, (size_t)bytes, (off_t)(block * STAMP_BLOCK_BYTES));
	ended = now_us();
	if (n != bytes) {
		failed(writer, sequence, block, count, n < 0 ? errno : EIO);
		return;
	}
	say(writer, "a %lu %lu %lu %lu\n", sequence, block, count, ended - began);
	acknowledge(writer, ended);
	for (uint64_t i = 0; i < count; i++)
		writer->known[block + i] = (struct known){.sequence = sequence};
	writer->recent[sequence % RECENT] = block;
}

static void discard_blocks(struct writer *writer, uint64_t block, uint64_t count)
{
	uint64_t range[2] = {block * STAMP_BLOCK_BYTES, count * STAMP_BLOCK_BYTES};
	uint64_t sequence = writer->sequence++, began, ended;
	int status;

	say(writer, "d %lu %lu %lu\n", sequence, block, count);
	began = now_us();
	status = ioctl(writer->fd, BLKDISCARD, range);
	ended = now_us();
	if (status < 0 && errno == EOPNOTSUPP) {
		writer->mode = MODE_RANDOM;
		return;
	}
	if (status < 0) {
		failed(writer, sequence, block, count, errno);
		return;
	}
	say(writer, "D %lu %lu %lu %lu\n", sequence, block, count, ended - began);
	acknowledge(writer, ended);
	for (uint64_t i = 0; i < count; i++)
		writer->known[block + i].may_be_zero = true;
}

static void read_back(struct writer *writer)
{
	uint64_t block = writer->recent[pick(writer, RECENT)];
	struct known known = writer->known[block];
	enum stamp_verdict verdict;
	uint64_t found;

	if (!known.sequence)
		return;
	if (pread(writer->fd, writer->buffer, STAMP_BLOCK_BYTES,
		  (off_t)(block * STAMP_BLOCK_BYTES)) != STAMP_BLOCK_BYTES) {
		failed(writer, known.sequence, block, 0, errno);
		return;
	}
	verdict = stamp_judge(writer->buffer, writer->run, writer->disk, block);
	found = verdict == STAMP_GOOD ? writer->buffer->sequence : 0;
	if (found == known.sequence || (verdict == STAMP_ZERO && known.may_be_zero))
		return;
	say(writer, "R %lu %lu %lu %d\n", known.sequence, block, found, (int)verdict);
	writer->errors++;
}

static void one_operation(struct writer *writer)
{
	uint64_t count = 1 + pick(writer, RUN_BLOCKS);

	switch (writer->mode) {
	case MODE_SEQUENTIAL:
		if (writer->position + RUN_BLOCKS > writer->blocks)
			writer->position = 0;
		write_blocks(writer, writer->position, RUN_BLOCKS);
		writer->position += RUN_BLOCKS;
		return;
	case MODE_OVERWRITE:
		write_blocks(writer, pick(writer, writer->blocks / HOT_SHARE), 1);
		return;
	case MODE_DISCARD:
		if (writer->operations % DISCARD_EVERY == 0) {
			discard_blocks(writer, pick(writer, writer->blocks - count + 1), count);
			return;
		}
		break;
	case MODE_RANDOM:
		break;
	}
	write_blocks(writer, pick(writer, writer->blocks), 1);
}

/* Keeps to the rate, and does not hurry after a stall to make up for it. */
static uint64_t pause_until(const struct writer *writer, uint64_t due)
{
	uint64_t now = now_us();

	if (!writer->rate)
		return now;
	due += 1000000 / writer->rate;
	if (due > now)
		usleep((useconds_t)(due - now));
	return due > now ? due : now;
}

static void write_for_ever(struct writer *writer)
{
	uint64_t reported = 0, due = now_us();

	while (!stop) {
		one_operation(writer);
		if (++writer->operations % READ_EVERY == 0)
			read_back(writer);
		if (now_us() - reported >= 1000000) {
			reported = now_us();
			say(writer, "S %lu %lu %lu\n", writer->longest_gap_us, writer->acknowledged,
			    writer->errors);
		}
		due = pause_until(writer, due);
	}
}

int main(int argc, char **argv)
{
	static struct writer writer;

	if (argc != 2) {
		fprintf(stderr, "usage: writer DISK\n");
		return 2;
	}
	signal(SIGTERM, on_signal);
	writer.name = argv[1];
	writer.disk = stamp_disk(argv[1]);
	read_options(&writer);
	if (!open_all(&writer)) {
		fprintf(stderr, "writer: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	writer.random = now_us() * 2 + 1 + writer.disk;
	scan(&writer);
	say(&writer, "B %lu %lu %lu %s\n", writer.run, writer.blocks, writer.sequence,
	    mode_names[writer.mode]);
	write_for_ever(&writer);
	say(&writer, "S %lu %lu %lu\n", writer.longest_gap_us, writer.acknowledged, writer.errors);
	tcdrain(writer.log);
	return 0;
}
