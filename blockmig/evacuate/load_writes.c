/*
 * What running guests write a second: two looks at libvirt's counters, a second apart.
 */
#include "blockmig/evacuate/load_private.h"

#include "common/stop.h"

enum { WATCH_US = 1000000 };

struct watched {
	struct inventory_disk *disk;
	guint64 written; /* at the first look */
	gint64 begun_us;
};

void watch_disk(struct loader *loader, struct inventory_disk *disk)
{
	struct watched watched = {.disk = disk, .begun_us = g_get_monotonic_time()};

	if (disk->domain->run != RUN_RUNNING ||
	    !session_block_written(loader->context->session, disk->domain->uuid, disk->target,
				   &watched.written, NULL))
		return;
	g_ptr_array_add(loader->watched, g_memdup2(&watched, sizeof(watched)));
}

void watch_end(struct loader *loader)
{
	for (guint i = 0; i < loader->watched->len; i++) {
		const struct watched *watched = g_ptr_array_index(loader->watched, i);
		gint64 passed_us = g_get_monotonic_time() - watched->begun_us;
		guint64 written = 0;

		if (passed_us < WATCH_US)
			stop_sleep((guint)((WATCH_US - passed_us) / 1000 + 1), NULL);
		if (!session_block_written(loader->context->session, watched->disk->domain->uuid,
					   watched->disk->target, &written, NULL) ||
		    written < watched->written)
			continue;
		passed_us = MAX(g_get_monotonic_time() - watched->begun_us, 1);
		watched->disk->written_per_second =
			(written - watched->written) * G_USEC_PER_SEC / (guint64)passed_us;
	}
}
