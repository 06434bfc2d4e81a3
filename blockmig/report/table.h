/*
 * A table in plain text: columns as wide as their widest cell, two spaces between them,
 * no padding behind the last.
 */
#ifndef REPORT_TABLE_H
#define REPORT_TABLE_H

#include "common/auto.h"

#include <glib.h>

struct table;
/* @heads: NULL-terminated; their number is that of the columns. */
struct table *table_new(const char *const *heads);
void table_free(struct table *table);
AUTO_DEFINE(table, table_free)

/* @cells: one for each column; copied. */
void table_add(struct table *table, const char *const *cells);
/* A line under the last row that belongs to no column. */
void table_add_remark(struct table *table, const char *text);
/* The caller frees. */
char *table_format(const struct table *table);

#endif
