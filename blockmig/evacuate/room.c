#include "blockmig/evacuate/room.h"

/* ---- LUNs ------------------------------------------------------------ */

const struct inventory_lun *room_lun(const struct room *room, guint slot)
{
	return &g_array_index(room->luns, struct inventory_lun, slot);
}

static int compare_luns(gconstpointer a, gconstpointer b)
{
	const struct inventory_lun *first = a, *second = b;

	if (first->bytes != second->bytes)
		return first->bytes < second->bytes ? -1 : 1;
	return first->number - second->number;
}

static void list_luns(struct room *room)
{
	const GPtrArray *luns = room->target->store->luns;

	room->luns = g_array_new(FALSE, FALSE, sizeof(struct inventory_lun));
	room->had = 0;
	for (guint i = 0; i < luns->len; i++) {
		const struct inventory_lun *lun = g_ptr_array_index(luns, i);

		if (lun->user)
			continue;
		g_array_append_val(room->luns, *lun);
		room->had += lun->bytes;
	}
	g_array_sort(room->luns, compare_luns);
	room->left = room->had;
	room->target->luns_free = room->luns->len;
	room->next = g_new(guint, room->luns->len + 1);
	for (guint i = 0; i <= room->luns->len; i++)
		room->next[i] = i;
}

/* The first free slot from @slot on; shortens the way for the next who asks. */
static guint next_free(struct room *room, guint slot)
{
	guint found = slot;

	while (room->next[found] != found)
		found = room->next[found];
	while (room->next[slot] != found) {
		guint step = room->next[slot];

		room->next[slot] = found;
		slot = step;
	}
	return found;
}

guint room_find_lun(struct room *room, guint64 bytes, guint from)
{
	guint low = from, high = room->luns->len;

	while (low < high) {
		guint middle = low + (high - low) / 2;

		if (room_lun(room, middle)->bytes < bytes)
			low = middle + 1;
		else
			high = middle;
	}
	return next_free(room, low);
}

/* ---- all kinds ------------------------------------------------------------ */

void room_open(struct room *room, struct plan_target *target, guint64 rate)
{
	*room = (struct room){
		.target = target,
		.rate = rate,
		.had = target->store->free_bytes,
		.left = target->store->free_bytes,
	};
	if (target->store->kind == STORE_ISCSI)
		list_luns(room);
}

void room_take(struct room *room, struct candidate *candidate)
{
	const struct inventory_disk *disk = candidate->disk;
	struct plan_target *target = room->target;

	room->sent += candidate->bytes;
	target->disks++;
	target->allocated_bytes += disk->allocated_bytes;
	target->virtual_bytes += disk->virtual_bytes;
	if (disk->job) {
		/* Its LUN is in use already. */
		candidate->lun = disk->job_lun;
	} else if (room->luns) {
		candidate->lun = room_lun(room, candidate->slot)->number;
		room->left -= room_lun(room, candidate->slot)->bytes;
		room->next[candidate->slot] = candidate->slot + 1;
		target->luns_taken++;
	}
	if (!room->luns && room->left != INVENTORY_UNKNOWN)
		room->left -= MIN(room->left, candidate->bytes);
}

void room_close(struct room *room)
{
	struct plan_target *target = room->target;
	const struct inventory_store *store = target->store;
	guint64 growth = store->promised_bytes - MIN(store->allocated_bytes, store->promised_bytes);

	target->fits_virtual = room->luns || !target->disks ||
			       store->free_bytes == INVENTORY_UNKNOWN ||
			       (growth <= store->free_bytes &&
				target->virtual_bytes <= store->free_bytes - growth);
	g_clear_pointer(&room->luns, g_array_unref);
	g_clear_pointer(&room->next, g_free);
}
