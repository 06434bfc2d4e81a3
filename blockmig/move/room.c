#include "blockmig/move/room.h"

#include "blockmig/move/overlay.h"
#include "common/error.h"
#include "common/units.h"

#include <sys/stat.h>

/* The least that is to be free beside what is known to be needed. */
static const guint64 margin_bytes = 16 * MiB;

/* What a commit back takes, at the least, and how fast a slow disk takes it. */
static const double commit_least_s = 5;
static const guint64 commit_bytes_per_second = 50 * MiB;

/* Between two looks whose difference counts; a file system may allocate in leaps. */
enum { GROWTH_LEAST_US = 2 * G_USEC_PER_SEC, HOLD_LEAST_US = 5 * G_USEC_PER_SEC };

static guint64 held(const struct job *job)
{
	guint64 sum = 0;

	for (guint i = 0; i < job->overlays->len; i++)
		sum += overlay_allocated(job_overlay(job, i)->path);
	return sum;
}

/* ---- the rate ------------------------------------------------------------------------ */

void room_stamp(struct job *job)
{
	job->stamp_bytes = held(job);
	job->stamp_us = (guint64)g_get_real_time();
}

/* Since the document was written, perhaps by another process; G_MAXUINT64: not known. */
static guint64 rate_since_stamp(const struct job *job, guint64 now_held)
{
	gint64 elapsed_us = g_get_real_time() - (gint64)job->stamp_us;

	if (!job->stamp_us || elapsed_us < HOLD_LEAST_US || now_held < job->stamp_bytes)
		return G_MAXUINT64;
	return (guint64)((double)(now_held - job->stamp_bytes) * G_USEC_PER_SEC /
			 (double)elapsed_us);
}

/* Up at once, and slowly down: what wrote so fast may do it again. */
static void follow(struct move *move, guint64 now_held)
{
	struct room_watch *seen = &move->room;
	gint64 now_us = g_get_monotonic_time();

	if (!seen->at_us) {
		guint64 rate = rate_since_stamp(move->job, now_held);

		*seen = (struct room_watch){now_us, now_held,
					    rate == G_MAXUINT64 ? 0 : (double)rate};
	}
	if (now_us - seen->at_us < GROWTH_LEAST_US)
		return;
	double rate = now_held < seen->held_bytes
			      ? 0
			      : (double)(now_held - seen->held_bytes) * G_USEC_PER_SEC /
					(double)(now_us - seen->at_us);

	seen->bytes_per_second = MAX(rate, (rate + seen->bytes_per_second) / 2);
	seen->held_bytes = now_held;
	seen->at_us = now_us;
}

/* ---- the mark ------------------------------------------------------------------------ */

static gboolean one_file_system(const char *a, const char *b)
{
	struct stat first, second;

	return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev;
}

/* By how much the base may grow when @bytes are committed into it. */
static guint64 growth_of_base(const struct job *job, guint64 bytes)
{
	guint64 allocated = overlay_allocated(job->source->source.path);

	/* A raw image has an end; a qcow2 may hold more than the guest sees. */
	if (g_strcmp0(job->source->format, "raw") != 0)
		return bytes;
	return MIN(bytes, job->virtual_bytes - MIN(allocated, job->virtual_bytes));
}

/* By how much the guest's overlay may grow until a commit back is done. */
static guint64 growth_meanwhile(const struct move *move, guint64 now_held)
{
	const struct job *job = move->job;
	guint64 active = overlay_allocated(job_active_overlay(job)->path);
	double commit_s = commit_least_s + (double)now_held / (double)commit_bytes_per_second;
	double written = move->room.bytes_per_second * commit_s;
	guint64 most = job->virtual_bytes - MIN(active, job->virtual_bytes);

	return written < (double)most ? (guint64)written : most;
}

static gboolean check_folder(const struct job *job, const char *folder, guint64 needed,
			     GError **error)
{
	guint64 free_bytes = overlay_free_bytes(folder);

	if (free_bytes >= needed)
		return TRUE;
	g_autofree char *have = units_format_size(free_bytes);
	g_autofree char *need = units_format_size(needed);

	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "%s: low water in %s: %s free, and %s may be needed to take back what the "
		    "guest writes meanwhile",
		    job->disk, folder, have, need);
	return FALSE;
}

gboolean room_watch(void *data, GError **error)
{
	struct move *move = data;
	const struct job *job = move->job;

	if (!job->overlays->len)
		return TRUE;
	guint64 now_held = held(job);

	follow(move, now_held);
	guint64 written = growth_meanwhile(move, now_held) + margin_bytes;

	if (job->source->source.type != SOURCE_FILE)
		return check_folder(job, job->overlay_folder, written, error);
	g_autofree char *base = g_path_get_dirname(job->source->source.path);
	guint64 taken_back = growth_of_base(job, now_held + written);

	if (one_file_system(base, job->overlay_folder))
		return check_folder(job, base, written + taken_back, error);
	return check_folder(job, base, taken_back, error) &&
	       check_folder(job, job->overlay_folder, written, error);
}

/* ---- for those who ask --------------------------------------------------------------- */

void room_free(struct room *room)
{
	g_free(room->folder);
	g_free(room);
}

struct room *room_of_job(const struct job *job)
{
	if (!job->overlays->len || job->cut_over || job->suspended)
		return NULL;
	struct room *room = g_new0(struct room, 1);

	room->folder = g_strdup(job->overlay_folder);
	room->held_bytes = held(job);
	room->free_bytes = overlay_free_bytes(room->folder);
	room->bytes_per_second = rate_since_stamp(job, room->held_bytes);
	room->lasts_ms = G_MAXUINT64;
	if (room->bytes_per_second && room->bytes_per_second != G_MAXUINT64)
		room->lasts_ms = room->free_bytes / room->bytes_per_second * 1000;
	return room;
}

struct room *room_of_record(const struct ledger_job *record)
{
	AUTO(job) job = record->result == JOB_OPEN ? job_from_json(record->state, NULL) : NULL;

	return job ? room_of_job(job) : NULL;
}

static char *lasts_text(const struct room *room)
{
	if (room->bytes_per_second == G_MAXUINT64)
		return g_strdup("how long that lasts is not known yet");
	if (!room->bytes_per_second)
		return g_strdup("the guest writes nothing new at present");
	g_autofree char *rate = units_format_size(room->bytes_per_second);
	g_autofree char *time = units_format_time(room->lasts_ms);

	return g_strdup_printf("enough for %s at the guest's present rate (%s a second)", time,
			       rate);
}

char *room_text(const struct room *room)
{
	g_autofree char *held_text = units_format_size(room->held_bytes);
	g_autofree char *free_text = units_format_size(room->free_bytes);
	g_autofree char *lasts = lasts_text(room);

	return g_strdup_printf("%s in overlays, %s free in %s: %s", held_text, free_text,
			       room->folder, lasts);
}
