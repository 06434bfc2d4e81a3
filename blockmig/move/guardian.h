/*
 * The guardian: a small child that makes sure that no guest stays suspended because we
 * died.  It holds the read end of a pipe; when that closes without a word, it runs
 * `blockmig resume JOB`.
 */
#ifndef MOVE_GUARDIAN_H
#define MOVE_GUARDIAN_H

#include "common/auto.h"

#include <glib.h>

struct guardian;

/* Starts it, in a session of its own (no signal of our terminal reaches it). */
struct guardian *guardian_start(gint64 job, const char *uri, GError **error);
/* Says that all is well, and waits for its end. */
void guardian_dismiss(struct guardian *guardian);
AUTO_DEFINE(guardian, guardian_dismiss)

#endif
