#include "blockmig/copy/reader.h"

#include "common/error.h"
#include "common/stop.h"
#include "common/units.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { RUNS_AHEAD = 16 };

struct reader {
	struct reader_spec spec;
	GThread *thread;

	GMutex mutex;
	GCond changed;
	struct reader_run runs[RUNS_AHEAD]; /* a ring: taken .. made */
	guint64 made, taken;
	gboolean is_ended;    /* the thread made its last run */
	gboolean is_unwanted; /* nobody will take another one */
	int unwanted_fd;      /* polls readable then, for the waits between tries */
	GError *error;

	/* The thread's own. */
	struct endpoint endpoint;
	struct backoff backoff;
	void *buffer;
	struct extents *extents; /* of the units behind the current one; NULL: not asked */
	guint64 extents_end;	 /* the first unit that they do not cover */
	guint extents_at;
	gboolean believed; /* zeros were not read, on the word of a report */
	gboolean misled;   /* which was refuted later; of both threads once is_ended */
};

guint64 reader_unit_offset(const struct reader_spec *spec, guint64 index)
{
	return spec->ranges ? spec->ranges[index].offset_bytes : index * spec->unit_bytes;
}

guint64 reader_unit_bytes(const struct reader_spec *spec, guint64 index)
{
	if (spec->ranges)
		return spec->ranges[index].length_bytes;
	return MIN(spec->unit_bytes, spec->content_bytes - index * spec->unit_bytes);
}

static guint64 position(const struct reader *reader, guint64 index)
{
	return reader->spec.end->offset_bytes + reader_unit_offset(&reader->spec, index);
}

/* ---- extents ------------------------------------------------------------------------- */

/* Asks for the extents of the unit and of those behind it that lie in order. */
static gboolean ask_extents(struct reader *reader, guint64 first, GError **error)
{
	const guint64 start_bytes = position(reader, first);
	guint64 end_bytes = start_bytes, index = first;

	for (; index < reader->spec.units; index++) {
		const guint64 next_bytes =
			position(reader, index) + reader_unit_bytes(&reader->spec, index);

		if (position(reader, index) < end_bytes ||
		    (index > first && next_bytes - start_bytes > TRANSPORT_EXTENTS_BYTES))
			break;
		end_bytes = next_bytes;
	}
	g_clear_pointer(&reader->extents, extents_free);
	reader->extents = handle_extents(reader->endpoint.handle, end_bytes - start_bytes,
					 start_bytes, error);
	reader->extents_end = index;
	reader->extents_at = 0;
	return reader->extents != NULL;
}

/* The kinds of extents in a unit, and a digest of where it is not allocated. */
struct survey {
	gboolean has_data;
	struct digest unallocated;
};

static void survey_unit(struct reader *reader, guint64 index, struct survey *survey)
{
	const guint64 start_bytes = position(reader, index);
	const guint64 end_bytes = start_bytes + reader_unit_bytes(&reader->spec, index);
	g_autoptr(GArray) unknown = g_array_new(FALSE, FALSE, sizeof(guint64));

	memset(survey, 0, sizeof *survey);
	for (guint i = reader->extents_at; i < extents_count(reader->extents); i++) {
		const struct extent *extent = extents_get(reader->extents, i);
		const guint64 from = MAX(extent->offset_bytes, start_bytes) - start_bytes;
		const guint64 to =
			MIN(extent->offset_bytes + extent->length_bytes, end_bytes) - start_bytes;

		if (extent->offset_bytes >= end_bytes)
			break;
		reader->extents_at = i;
		if (extent->offset_bytes + extent->length_bytes <= start_bytes)
			continue;
		survey->has_data |= extent->kind == EXTENT_DATA;
		if (extent->kind == EXTENT_UNKNOWN) {
			g_array_append_val(unknown, from);
			g_array_append_val(unknown, to);
		}
	}
	if (unknown->len)
		digest_compute(unknown->data, unknown->len * sizeof(guint64), &survey->unallocated);
}

/* ---- reading ---------------------------------------------------------------------------- */

static gboolean read_unit(struct reader *reader, guint64 index, struct reader_run *run,
			  GError **error)
{
	const gsize count = reader_unit_bytes(&reader->spec, index);
	struct survey survey;

	if (!endpoint_open(&reader->endpoint, error))
		return FALSE;
	if ((!reader->extents || index >= reader->extents_end) &&
	    !ask_extents(reader, index, error))
		return FALSE;
	reader->misled |= reader->believed && reader->endpoint.handle->holes_refuted;
	survey_unit(reader, index, &survey);
	run->index = index;
	run->count = 1;
	run->unallocated = survey.unallocated;
	run->is_zero = !survey.has_data && reader->endpoint.known.extents_trusted;
	reader->believed |= run->is_zero;
	if (!run->is_zero) {
		if (!handle_read(reader->endpoint.handle, reader->buffer, count,
				 position(reader, index), error))
			return FALSE;
		run->is_zero = buffer_is_zero(reader->buffer, count);
	}
	if (run->is_zero)
		digest_zeros(count, &run->digest);
	else
		digest_compute(reader->buffer, count, &run->digest);
	return TRUE;
}

static gboolean read_with_retries(struct reader *reader, guint64 index, struct reader_run *run,
				  GError **error)
{
	GError *cause = NULL;

	if (!stop_check(error))
		return FALSE;
	while (!read_unit(reader, index, run, &cause)) {
		endpoint_drop(&reader->endpoint);
		g_clear_pointer(&reader->extents, extents_free);
		if (!endpoint_may_retry(&reader->backoff, &cause)) {
			g_propagate_error(error, cause);
			return FALSE;
		}
	}
	backoff_success(&reader->backoff);
	return TRUE;
}

/* FALSE where nobody wants any more. */
static gboolean run_put(struct reader *reader, const struct reader_run *run)
{
	gboolean wanted;

	g_mutex_lock(&reader->mutex);
	while (reader->made - reader->taken == RUNS_AHEAD && !reader->is_unwanted)
		g_cond_wait(&reader->changed, &reader->mutex);
	wanted = !reader->is_unwanted;
	if (wanted)
		reader->runs[reader->made++ % RUNS_AHEAD] = *run;
	g_cond_broadcast(&reader->changed);
	g_mutex_unlock(&reader->mutex);
	return wanted;
}

static gboolean run_continues(const struct reader *reader, const struct reader_run *run,
			      const struct reader_run *next)
{
	return run->is_zero && next->is_zero &&
	       digest_equal(&run->unallocated, &next->unallocated) &&
	       reader_unit_bytes(&reader->spec, run->index) ==
		       reader_unit_bytes(&reader->spec, next->index);
}

/* Zeros that were found by reading are handed on at once: they may come slowly. */
static gboolean read_all(struct reader *reader, GError **error)
{
	struct reader_run run = {.count = 0}, next;

	if (!endpoint_learn(&reader->endpoint, reader->spec.content_bytes, &reader->backoff, error))
		return FALSE;
	for (guint64 index = 0; index < reader->spec.units; index++) {
		if (!read_with_retries(reader, index, &next, error))
			return FALSE;
		if (run.count && run_continues(reader, &run, &next) &&
		    reader->endpoint.known.extents_trusted) {
			run.count++;
			continue;
		}
		if (run.count && !run_put(reader, &run))
			return TRUE;
		run = next;
	}
	if (run.count)
		run_put(reader, &run);
	return TRUE;
}

static gpointer reader_thread(gpointer data)
{
	struct reader *reader = data;
	GError *error = NULL;

	read_all(reader, &error);
	endpoint_drop(&reader->endpoint);
	g_mutex_lock(&reader->mutex);
	reader->error = error;
	reader->is_ended = TRUE;
	g_cond_broadcast(&reader->changed);
	g_mutex_unlock(&reader->mutex);
	return NULL;
}

/* ---- the caller's side ------------------------------------------------------------------ */

struct reader *reader_start(const struct reader_spec *spec)
{
	struct reader *reader = g_new0(struct reader, 1);

	reader->spec = *spec;
	reader->endpoint.end = spec->end;
	reader->endpoint.mode = HANDLE_READ;
	reader->buffer = transport_buffer_new(spec->unit_bytes);
	backoff_init(&reader->backoff, spec->retry_for_ms);
	reader->unwanted_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (reader->unwanted_fd < 0)
		g_error("eventfd: %s", g_strerror(errno));
	reader->backoff.wake_fd = reader->unwanted_fd;
	g_mutex_init(&reader->mutex);
	g_cond_init(&reader->changed);
	reader->thread = g_thread_new("image-reader", reader_thread, reader);
	return reader;
}

gboolean reader_next(struct reader *reader, struct reader_run *run, GError **error)
{
	gboolean found;

	g_mutex_lock(&reader->mutex);
	while (reader->made == reader->taken && !reader->is_ended)
		g_cond_wait(&reader->changed, &reader->mutex);
	found = reader->made > reader->taken;
	if (found)
		*run = reader->runs[reader->taken++ % RUNS_AHEAD];
	else if (reader->error)
		g_propagate_error(error, g_steal_pointer(&reader->error));
	g_cond_broadcast(&reader->changed);
	g_mutex_unlock(&reader->mutex);
	return found;
}

gboolean reader_misled(struct reader *reader)
{
	gboolean misled;

	g_mutex_lock(&reader->mutex);
	while (!reader->is_ended)
		g_cond_wait(&reader->changed, &reader->mutex);
	misled = reader->misled;
	g_mutex_unlock(&reader->mutex);
	return misled;
}

void reader_free(struct reader *reader)
{
	if (!reader)
		return;
	g_mutex_lock(&reader->mutex);
	reader->is_unwanted = TRUE;
	g_cond_broadcast(&reader->changed);
	g_mutex_unlock(&reader->mutex);
	eventfd_write(reader->unwanted_fd, 1);
	g_thread_join(reader->thread);
	g_clear_error(&reader->error);
	g_clear_pointer(&reader->extents, extents_free);
	transport_buffer_free(reader->buffer);
	close(reader->unwanted_fd);
	g_cond_clear(&reader->changed);
	g_mutex_clear(&reader->mutex);
	g_free(reader);
}
