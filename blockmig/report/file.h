/* Reports as files. */
#ifndef REPORT_FILE_H
#define REPORT_FILE_H

#include <glib.h>

/* Written beside @path and renamed, so that nobody reads half of it; mode 0644. */
gboolean report_write(const char *path, const char *text, GError **error);

#endif
