/*
 * The guardian: a small child that makes sure that no guest stays suspended because we
 * died, or gave up.  It holds the read end of a pipe; when that closes without a word, it
 * runs `blockmig resume JOB`, and again for as long as job->awaited says that the guest
 * stands still for something that may come about by itself: libvirt, or a destination,
 * that answers again.
 *
 * Several may be started for a job, as by a resume that ends as the move did; one looks
 * on, by the ledger's lock guardian_key().
 */
#ifndef MOVE_GUARDIAN_H
#define MOVE_GUARDIAN_H

#include <glib.h>

struct guardian;

/* Starts it, in a session of its own (no signal of our terminal reaches it). */
struct guardian *guardian_start(gint64 job, const char *uri, GError **error);
/* Says that all is well, and waits for its end. */
void guardian_dismiss(struct guardian *guardian);
/* Leaves the job to it, whose locks are free by now; it outlives us. */
void guardian_leave(struct guardian *guardian);
int guardian_pid(const struct guardian *guardian);

/* The lock of the one that looks on; the caller frees. */
char *guardian_key(gint64 job);

#endif
