/*
 * The world of an evacuation in earnest: libvirt and the datastores for its inventory,
 * processes for its moves, the machine's clock.
 *
 *     live_new(); evacuation_run(ledger, live_world(live), ...); live_free()
 */
#ifndef EVACUATE_LIVE_H
#define EVACUATE_LIVE_H

#include "blockmig/evacuate/children.h"
#include "blockmig/evacuate/evacuation.h"
#include "blockmig/move/move.h"

/* Told as things happen; any slot may be NULL. */
struct live_listener {
	void (*begun)(const struct dispatch_move *move, void *data);
	void (*ended)(const struct dispatch_move *move, void *data);
	/* A line of JSON that a move said. */
	void (*line)(const char *text, void *data);
	/* About once a second while moves run. */
	void (*tick)(void *data);
	void *data;
};

struct live_options {
	const struct move_context *context;
	const char *from_url;	    /* of the datastore's place, canonical */
	const char *const *migrate; /* options of each migrate, NULL-terminated */
	const char *const *common;  /* options of every command, NULL-terminated */
	const char *then;	    /* for the shell, once it is empty; NULL: nothing */
	const char *from;	    /* its name: BLOCKMIG_DATASTORE for that command */
	const char *const *to;	    /* names of the destinations, NULL-terminated */
	struct live_listener listener;
};

struct live;
/* Everything in @options is borrowed. */
struct live *live_new(const struct live_options *options);
void live_free(struct live *live);
AUTO_DEFINE(live, live_free)
const struct evacuation_world *live_world(const struct live *live);

#endif
