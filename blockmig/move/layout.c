#include "blockmig/move/layout.h"

#include "blockmig/copy/qcow2.h"
#include "blockmig/move/passes.h"
#include "blockmig/move/phases.h"
#include "blockmig/vm/image_tool.h"
#include "common/error.h"

/* Which chunks hold data, as the ledger's passes say. */
struct map {
	guint64 chunk_bytes;
	guint64 chunks;
	guint8 *data; /* a byte a chunk */
};

static gboolean mark_chunk(const struct ledger_unit *unit, void *data)
{
	struct map *map = data;

	for (guint64 i = unit->index; i < unit->index + unit->count && i < map->chunks; i++)
		map->data[i] = !unit->is_zero;
	return TRUE;
}

static struct extents *map_extents(const struct map *map, guint64 virtual_bytes)
{
	struct extents *extents = extents_new();

	for (guint64 i = 0; i < map->chunks; i++) {
		guint64 offset = i * map->chunk_bytes;

		extents_append(extents, offset, MIN(map->chunk_bytes, virtual_bytes - offset),
			       map->data[i] ? EXTENT_DATA : EXTENT_ZERO);
	}
	return extents;
}

static gboolean write_layout(struct move *move, const struct extents *allocated, GError **error)
{
	guint64 bytes = move->job->virtual_bytes;
	AUTO(handle) writer = prepare_open(move, HANDLE_WRITE, error);

	if (!writer || !qcow2_finish(writer, bytes, allocated, error))
		return FALSE;
	AUTO(handle) reader = prepare_open(move, HANDLE_READ, error);

	return reader && qcow2_prove(reader, bytes, allocated, error);
}

/* A guest is to run on it: QEMU's own tool has to find it sound, at QEMU's address. */
static gboolean check_by_qemu(const struct job *job, GError **error)
{
	const struct source *source = &job->destination->source;

	/* Where only libvirt has the secret, the mirror's start is the first to see it. */
	return !job->domain_uuid || source->auth_user || image_tool_check(source, "qcow2", error);
}

gboolean layout_finish(struct move *move, GError **error)
{
	struct job *job = move->job;
	struct map map = {.chunk_bytes = job->options.chunk_bytes};

	if (!job->data_offset || job->laid_out)
		return TRUE;
	gint64 pass;

	if (!pass_base(move, &pass, error))
		return FALSE;
	map.chunks = copy_units(job->virtual_bytes, map.chunk_bytes);
	map.data = g_malloc0(map.chunks);

	gboolean good = ledger_units_each(move->context.ledger, pass, mark_chunk, &map, error);

	if (good) {
		AUTO(extents) allocated = map_extents(&map, job->virtual_bytes);

		good = write_layout(move, allocated, error) && check_by_qemu(job, error);
	}
	g_free(map.data);
	job->laid_out = good;
	return good && move_save(move, error);
}
