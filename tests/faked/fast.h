/*
 * A guest that writes faster than the rounds copy, and the limits that an admin has set.
 */
#ifndef FAKED_FAST_H
#define FAKED_FAST_H

#include "tests/faked/moves.h"

/* What an admin may have set before, and what nobody but an admin sets. */
enum { FAST_ADMINS = 4 };
extern const struct block_limits fast_admins[FAST_ADMINS], fast_others;

/* Whether it heeds the limits. */
enum fast_eagerness { FAST_DOCILE, FAST_STUBBORN };

/* The guest is slow by the fourth snapshot: what comes before the third is not enough. */
enum { FAST_SLOWED_CALL = 4 };

/* Running, with these limits; writes a round after each snapshot. */
void fast_open(int shape, const struct block_limits *limits, enum fast_eagerness eagerness);

/* As an admin would do it; a hook. */
void fast_set_others(void *data);

void fast_assert_limits(const struct block_limits *wanted);

#endif
