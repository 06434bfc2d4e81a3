/*
 * The morning report: what a run of an evacuation came to, in words, as JSON, and as
 * metrics for node_exporter's textfile collector.
 *
 * The bytes are those of the jobs, over all nights that they took.
 */
#ifndef REPORT_NIGHT_H
#define REPORT_NIGHT_H

#include "blockmig/evacuate/evacuation.h"

/* Some lines; the caller frees. */
char *night_text(const struct evacuation *evacuation);
/* One line: the summary of JSON Lines. */
char *night_json(const struct evacuation *evacuation);
/* Prometheus' text format: gauges without timestamps. */
char *night_metrics(const struct evacuation *evacuation);

/*
 * Writes the report to @path: metrics for a name that ends in .prom, JSON for .json, else
 * text.  Written beside it and renamed, so that nobody reads half of it; mode 0644.
 */
gboolean night_write(const struct evacuation *evacuation, const char *path, GError **error);

#endif
