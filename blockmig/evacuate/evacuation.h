/*
 * An evacuation: one run of `blockmig evacuate`, from the lock to what it came to.
 *
 *     evacuation_run()   lock, maintenance, then: inventory, plan, moves, and again, until
 *                        nothing new is there, the window closes, or the user stops
 *     the report         (report/evacuation.h) what it came to
 *
 * Nothing is remembered from run to run but what the ledger has anyway: open jobs, the
 * maintenance, and rates.  Each run looks at the world anew, so the same command goes on
 * where the last one stopped, whatever stopped it.
 *
 * The datastore is in maintenance from the first run on until one finds it empty: nothing
 * that any domain names lies on it, what no move takes away (residue) included.
 */
#ifndef EVACUATE_EVACUATION_H
#define EVACUATE_EVACUATION_H

#include "blockmig/evacuate/dispatch.h"
#include "blockmig/evacuate/window.h"
#include "blockmig/ledger/ledger.h"
#include "common/auto.h"

#include <glib.h>

struct evacuation_request {
	const char *from;      /* the datastore's name, as the inventory has it */
	const char *from_url;  /* of the place, canonical */
	const char *const *to; /* names, NULL-terminated */
	enum plan_order order;
	struct plan_limits limits;
	const struct window *window; /* NULL: always */
	gint64 until_s;		     /* UNIX time; G_MAXINT64: no end */
	enum dispatch_at_end at_end;
};

/* What it works on; @data is for all of them. */
struct evacuation_world {
	/* As it is now. */
	struct inventory *(*inventory)(void *data, GError **error);
	/* It is empty: what is to be done then, while it is still in maintenance; or NULL. */
	gboolean (*emptied)(void *data, GError **error);
	const struct dispatch_runner *runner;
	void *data;
};

/* A disk that no move was begun for, or something else that keeps the datastore from empty. */
struct evacuation_rest {
	char *domain;
	char *what;   /* the disk, or the path */
	char *kind;   /* plan_why_name(), residue_kind_name() */
	char *reason; /* why, and the way out */
};

struct evacuation {
	char *datastore;
	struct dispatch *dispatch; /* every move, tried or not */
	GPtrArray *stays;	   /* of struct evacuation_rest *: disks */
	GPtrArray *residue;	   /* the same: other things */
	gboolean empty;
	gboolean interrupted; /* by the user */
	char *problem;	      /* what ended it before its time; NULL: nothing */
	gint64 begun_s, ended_s;
	gint64 opens_s; /* when the window opens again; 0: there is none */
	/* Its own: the disks that have a move, by domain and target. */
	GHashTable *known;
};
void evacuation_free(struct evacuation *evacuation);
AUTO_DEFINE(evacuation, evacuation_free)

/*
 * NULL with BUSY at once where another process evacuates the same datastore; else also
 * where not even the first look at the world succeeded.
 */
struct evacuation *evacuation_run(struct ledger *ledger, const struct evacuation_world *world,
				  const struct evacuation_request *request, GError **error);

/*
 * By the table in README.md: 0 empty, 3 stopped by the user or the window, 5 where one needs
 * a person, 6 some moved, 1 none.
 */
int evacuation_status(const struct evacuation *evacuation);

#endif
