/*
 * A job's report as a page of HTML that needs nothing beside it: no script, no font, no
 * address that anybody would be asked for.
 */
#ifndef REPORT_PAGE_H
#define REPORT_PAGE_H

#include "blockmig/ledger/ledger.h"
#include "blockmig/move/move.h"

#include <glib.h>

/* @phases: of struct ledger_phase *.  The caller frees. */
char *page_format(const struct move_summary *summary, const struct ledger_job *job,
		  const GPtrArray *phases);
/* Written beside @path and renamed; mode 0644. */
gboolean page_write(const struct move_summary *summary, const struct ledger_job *job,
		    const GPtrArray *phases, const char *path, GError **error);

#endif
