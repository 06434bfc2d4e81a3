/*
 * The dispatcher's moves as rows of a table, with a clock that the tests set.
 *
 *     tcase_add_checked_fixture(tests, dispatching_setup, dispatching_teardown)
 *     dispatching_open(); dispatching_add() ...; dispatch_run(dispatch); what began?
 *
 * The limits are looked at whenever a move begins and whenever anybody waits.  A byte of the
 * table is whatever the test takes it for: ten a second are what one move reaches.
 */
#ifndef TESTS_DISPATCHING_H
#define TESTS_DISPATCHING_H

#include "blockmig/evacuate/dispatch.h"

enum { CHECKPOINT_S = 2, FLUSH_WINDOW = 64 };

/* What is known of a disk from night to night.  Bytes are MiB here, so that tests can be read. */
struct table_disk {
	char name[16];
	guint64 total, done, sent;
	gint64 job;
	gboolean moved;
};

struct dispatching_world {
	double clock;
	double native_rate; /* what one move reaches */
	GArray *disks;	    /* of struct table_disk */
	GPtrArray *children;
	GString *log;
	/* By the target's name: how its moves end; NULL: well. */
	const char *bad_target;
	int bad_status;
	gint64 bad_job;
	guint bad_times;
	gboolean answers;
	guint64 measured;
	gint64 opens_s, closes_s; /* between these alone moves may run */
	guint stopped_now;
};
extern struct dispatching_world world;
extern struct dispatch *dispatch;
extern const struct dispatch_runner dispatching_runner;

void dispatching_setup(void);
void dispatching_teardown(void);

/* A new night: nothing is known but what the disks are. */
void dispatching_open(void);
struct dispatch_move *dispatching_add(const char *domain, guint64 bytes, const char *target);
void dispatching_on_host(struct dispatch_move *move, const char *host);
/* The window, as long as any to come. */
void dispatching_closes_in(gint64 seconds);
gint64 dispatching_now_s(void);
struct table_disk *dispatching_disk(const char *name);

/* The domains whose moves began, in order, with spaces between them. */
void dispatching_began(const char *wanted);
void dispatching_assert_reason(const struct dispatch_move *move, enum dispatch_state state,
			       const char *words);

#endif
