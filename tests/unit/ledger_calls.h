/*
 * Every call of the ledger, over a ledger with something in it for each: for the tests that
 * let them fail.
 */
#ifndef TESTS_UNIT_LEDGER_CALLS_H
#define TESTS_UNIT_LEDGER_CALLS_H

#include "blockmig/ledger/ledger.h"

/* NULL where it could not be opened again. */
extern struct ledger *ledger;

/* The last one closes the ledger and opens it. */
extern gboolean (*const ledger_calls[])(GError **error);
extern const int ledger_calls_count;

/* In a temporary folder, which goes with ledger_calls_close(). */
void ledger_calls_open(void);
void ledger_calls_close(void);
/* What the calls find: the same each time.  The ledger is just opened: nothing is prepared. */
void ledger_calls_fill(void);
gboolean ledger_calls_reopen(GError **error);
/* All that the file holds, but for times; the caller frees. */
char *ledger_calls_contents(void);

/* The error names the file, and ends a command with 1. */
void ledger_calls_assert_told(int call, const GError *error);

#endif
