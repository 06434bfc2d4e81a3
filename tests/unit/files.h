/*
 * Images in the test's folder (temp.h), as files.
 */
#ifndef TESTS_UNIT_FILES_H
#define TESTS_UNIT_FILES_H

#include "transports/transport.h"

/* Of @name in the folder. */
struct url *files_url(const char *name);
void files_create(const struct url *url, guint64 size_bytes);
struct handle *files_open(const struct url *url, enum handle_mode mode);
/* Both, to be written; sets *url. */
struct handle *files_new(const char *name, guint64 size_bytes, struct url **url);

#endif
