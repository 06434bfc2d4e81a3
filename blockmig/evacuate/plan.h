/*
 * The plan of an evacuation: which disk goes where, in which order, and what stays and why.
 *
 * plan_for() is a pure function: no I/O, no clock; all times are in the request.  The same
 * inventory and request give the same plan, whatever the order of the inventory's arrays.
 *
 * The schedule is simulated, with a rate that is sure: the slower of the two datastores'
 * measured ones, and of bwlimit the part that is left when every slot is taken; so no move
 * that begins later makes an earlier one end later.  Limits hold at every moment of it, one
 * domain has one move at a time (its lock and metadata allow no more), and no move is in it
 * that would not end in the window.
 *
 * Where a disk may go is settled before when: a domain's keep-together disks as one, large
 * ones before small ones, each to the datastore that is least full and least loaded by then;
 * on a target, to the smallest LUN that it fits.
 */
#ifndef EVACUATE_PLAN_H
#define EVACUATE_PLAN_H

#include "blockmig/evacuate/inventory.h"
#include "common/auto.h"

#include <glib.h>

enum plan_order {
	PLAN_EASY,     /* small and idle first: what is done soonest, the guest's writes counted */
	PLAN_SIZE,     /* the fewest allocated bytes first */
	PLAN_PRIORITY, /* domains of a higher priority first; then as PLAN_EASY */
	PLAN_NAME,     /* by the domain's name, then the disk's */
};

/* How many moves may run at once; VMware's figures are the defaults. */
struct plan_limits {
	guint per_host;	     /* 2: of one host's guests */
	guint per_datastore; /* 8: from or to one datastore */
	guint per_target;    /* 8: to one datastore */
	guint64 bwlimit;     /* bytes a second of all moves together; 0: none */
};
void plan_limits_init(struct plan_limits *limits);

/* UNIX time, seconds; a move runs from begin_s on and has ended by end_s. */
struct plan_window {
	gint64 begin_s;
	gint64 end_s; /* G_MAXINT64: open */
};

struct plan_request {
	const char *from;      /* the datastore's name */
	const char *const *to; /* names, NULL-terminated */
	enum plan_order order;
	struct plan_limits limits;
	struct plan_window window;
	guint64 bytes_per_second; /* of a move where no rate was measured; 0: PLAN_RATE */
};

/* 100 MiB/s: what one move is taken to reach before anything was measured. */
#define PLAN_RATE (100ull << 20)
/* Of each move, beside its bytes: freeze, rounds, cutover, merge. */
enum { PLAN_FIXED_S = 10 };

/* One disk that goes. */
struct plan_move {
	const struct inventory_disk *disk;   /* borrowed from the inventory, as the next */
	const struct inventory_store *store; /* where to */
	int lun;			     /* on a target; -1: a new file */
	char *to;	       /* for move_start(): the datastore's name, or the LUN's URL */
	guint64 bytes;	       /* to send, as far as is known before */
	guint64 seconds;       /* that it will take */
	gint64 start_s, end_s; /* UNIX time */
};

enum plan_why {
	PLAN_OBSTACLE, /* it cannot be moved as it is */
	PLAN_ROOM,     /* no destination has room, or a LUN */
	PLAN_RULE,     /* avoid or keep-together stand in the way */
	PLAN_WINDOW,   /* it would not end in the window: next time */
};

/* One disk that stays. */
struct plan_stay {
	const struct inventory_disk *disk;
	enum plan_why why;
	char *reason; /* for people, with the way out */
	/* Of PLAN_WINDOW alone: where it would go, and how long that takes. */
	const struct inventory_store *store; /* else NULL */
	int lun;
	guint64 seconds;
};

/* What comes to one destination, disks that are left for the next window included. */
struct plan_target {
	const struct inventory_store *store;
	guint disks;
	guint64 allocated_bytes, virtual_bytes; /* of these disks */
	guint luns_free, luns_taken;		/* of a target, before; by these disks */
	/* Also when they and all disks that are there already grow to their virtual size. */
	gboolean fits_virtual;
	const char *refused; /* why nothing goes there (maintenance, unreachable); or NULL */
};

struct plan {
	const struct inventory_store *from;
	GPtrArray *moves;   /* of struct plan_move *, as they start */
	GPtrArray *stays;   /* of struct plan_stay *, by domain and disk */
	GPtrArray *residue; /* of const struct inventory_residue *, on @from; by domain and path */
	GPtrArray *targets; /* of struct plan_target *, as the request names them */
	guint64 bytes;	    /* of all moves */
	gint64 end_s;	    /* of the last move; window.begin_s where there is none */
	gboolean fits_allocated; /* no disk stays for want of room */
	gboolean fits_virtual;	 /* nor would one if all were full */
	gboolean fits_window;	 /* no disk stays for the window's sake */
};

/*
 * USAGE where a datastore is not in the inventory, is named twice or is its own destination,
 * or a limit is 0.  The plan borrows from @inventory.
 */
struct plan *plan_for(const struct inventory *inventory, const struct plan_request *request,
		      GError **error);
void plan_free(struct plan *plan);
AUTO_DEFINE(plan, plan_free)

/* Disks that stay for another reason than the window, and residue: what a person must see to. */
guint plan_obstacles(const struct plan *plan);

/* "obstacle", "room", "rule", "window". */
const char *plan_why_name(enum plan_why why);
/* "easy", "size", "priority", "name". */
gboolean plan_order_parse(const char *text, enum plan_order *order, GError **error);

#endif
