/*
 * Child processes that never outlive us, and whose words are kept for messages.
 *
 * A child gets PDEATHSIG, the C locale, no input, and a session of its own, so that a
 * Ctrl-C meant for us does not end it.  The kernel sends PDEATHSIG when the *thread*
 * that started the child ends, not the process: child_run waits in the calling thread,
 * and a service has a thread that lives exactly as long as the child.
 */
#ifndef VM_CHILD_H
#define VM_CHILD_H

#include "common/auto.h"

#include <glib.h>

struct child_result {
	char *output;	/* stdout */
	char *messages; /* stderr, trimmed */
	int status;	/* exit status; 128 + N for a signal */
};
void child_result_clear(struct child_result *result);

/*
 * Runs @argv to its end.  Where it says nothing and does not end for @stall_ms (0: no
 * limit), it is killed: UNKNOWN.  TRUE says only that it ended: look at the status.
 */
gboolean child_run(const char *const *argv, guint stall_ms, struct child_result *result,
		   GError **error);

struct child_service;

struct child_service *child_service_start(const char *const *argv, GError **error);
/* Kills and reaps it; gives up on one that the kernel holds after some seconds. */
void child_service_stop(struct child_service *service);
AUTO_DEFINE(child_service, child_service_stop)
/* Whether it has ended by itself; then *messages, which the caller frees, is its stderr. */
gboolean child_service_ended(struct child_service *service, char **messages);

#endif
