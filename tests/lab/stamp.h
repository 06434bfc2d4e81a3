/*
 * The stamp that the guest's writer puts into every 4 KiB block, shared with the
 * checker: a block says by itself which disk, place and write it belongs to.
 *
 * The whole block is covered: the words behind the header follow from it, and the
 * checksum is over everything.  Little-endian, as both sides are x86.
 */
#ifndef TESTS_LAB_STAMP_H
#define TESTS_LAB_STAMP_H

#include <stdint.h>
#include <string.h>

enum { STAMP_BLOCK_BYTES = 4096, STAMP_WORDS = STAMP_BLOCK_BYTES / 8, STAMP_HEADER_WORDS = 6 };

#define STAMP_MAGIC 0x31474953474d4b42ull /* "BKMGSIG1" */

struct stamp {
	uint64_t magic;
	uint64_t run;	   /* blockmig.run: one guest's life, reboots included */
	uint64_t disk;	   /* stamp_disk() */
	uint64_t block;	   /* in units of STAMP_BLOCK_BYTES */
	uint64_t sequence; /* from 1, one for each write */
	uint64_t checksum;
	uint64_t pattern[STAMP_WORDS - STAMP_HEADER_WORDS];
};

enum stamp_verdict {
	STAMP_GOOD,
	STAMP_ZERO,	 /* all zeros */
	STAMP_FOREIGN,	 /* nothing of this run and disk */
	STAMP_MISPLACED, /* whole, but of another block */
	STAMP_DAMAGED,	 /* ours by its header, but the checksum is wrong */
};

/* The disk's name as a number: "vda" and "vdb" differ. */
static inline uint64_t stamp_disk(const char *name)
{
	uint64_t number = 0;

	memcpy(&number, name, strnlen(name, sizeof(number)));
	return number;
}

/* FNV-1a's steps over words, with a shift so that high bits reach the low ones. */
static inline uint64_t stamp_checksum(const struct stamp *stamp)
{
	const uint64_t *words = (const uint64_t *)stamp;
	uint64_t sum = 0xcbf29ce484222325ull;

	for (int i = 0; i < STAMP_WORDS; i++) {
		if (&words[i] == &stamp->checksum)
			continue;
		sum = (sum ^ words[i]) * 0x100000001b3ull;
		sum ^= sum >> 29;
	}
	return sum;
}

static inline void stamp_fill(struct stamp *stamp, uint64_t run, uint64_t disk, uint64_t block,
			      uint64_t sequence)
{
	uint64_t word = (sequence ^ block << 24 ^ run << 48 ^ disk) * 0x9e3779b97f4a7c15ull;

	stamp->magic = STAMP_MAGIC;
	stamp->run = run;
	stamp->disk = disk;
	stamp->block = block;
	stamp->sequence = sequence;
	for (int i = 0; i < STAMP_WORDS - STAMP_HEADER_WORDS; i++)
		stamp->pattern[i] = word += 0x9e3779b97f4a7c15ull;
	stamp->checksum = stamp_checksum(stamp);
}

static inline enum stamp_verdict stamp_judge(const struct stamp *stamp, uint64_t run, uint64_t disk,
					     uint64_t block)
{
	const char *bytes = (const char *)stamp;

	if (bytes[0] == 0 && memcmp(bytes, bytes + 1, STAMP_BLOCK_BYTES - 1) == 0)
		return STAMP_ZERO;
	if (stamp->magic != STAMP_MAGIC || stamp->run != run || stamp->disk != disk)
		return STAMP_FOREIGN;
	if (stamp->checksum != stamp_checksum(stamp))
		return STAMP_DAMAGED;
	return stamp->block == block ? STAMP_GOOD : STAMP_MISPLACED;
}

#endif
