/*
 * What the ledger's tests share: a ledger in a folder of its own for each test.
 *
 * Definitions, not declarations, for the programs that include this.
 */
#ifndef TESTS_UNIT_LEDGERS_H
#define TESTS_UNIT_LEDGERS_H

#include "blockmig/ledger/ledger.h"
#include "common/error.h"
#include "tests/unit/copying.h"
#include "tests/unit/temp.h"

#include <check.h>

static char *parent, *folder;
static struct ledger *ledger;
static GError *error;

#define ck_ok(condition) ck_assert_msg(condition, "%s", error ? error->message : "?")

static void setup(void)
{
	parent = folder_make("ledger");
	folder = g_build_filename(parent, "state", NULL);
	ledger = ledger_open(folder, &error);
	ck_ok(ledger != NULL);
}

static void teardown(void)
{
	g_clear_error(&error);
	g_clear_pointer(&ledger, ledger_close);
	folder_remove(folder);
	folder_remove(parent);
	g_free(folder);
	g_free(parent);
}

#endif
