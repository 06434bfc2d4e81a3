/*
 * What a destination has left while the plan fills it: bytes, or LUNs one by one.
 */
#ifndef EVACUATE_ROOM_H
#define EVACUATE_ROOM_H

#include "blockmig/evacuate/plan_private.h"

struct room {
	struct plan_target *target;
	guint64 rate;	   /* bytes a second of one move */
	guint64 sent;	   /* bytes, by what was placed there so far */
	guint64 had, left; /* bytes of room: before, now; INVENTORY_UNKNOWN: no limit known */
	GArray *luns;	   /* the free ones, of struct inventory_lun, smallest first; or NULL */
	guint *next;	   /* by slot: the next free one from there on; luns->len: none */
};

void room_open(struct room *room, struct plan_target *target, guint64 rate);
/* Whether what was placed there fits also when all is full; frees what room_open made. */
void room_close(struct room *room);

const struct inventory_lun *room_lun(const struct room *room, guint slot);
/* The slot of the smallest free LUN of @bytes or more, not before @from; luns->len: none. */
guint room_find_lun(struct room *room, guint64 bytes, guint from);
/* @candidate goes there; to the LUN in its slot, where it is a target. */
void room_take(struct room *room, struct candidate *candidate);

#endif
