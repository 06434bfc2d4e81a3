#include "tests/faked/disturb.h"

#include "blockmig/ledger/ledger_private.h"
#include "common/deadline.h"
#include "common/error.h"
#include "tests/faked/fake.h"
#include "tests/unit/sqlite_files.h"
#include "transports/transport.h"

#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <time.h>

static GMutex mutex;
static struct disturb images;
static gboolean images_fail, room_fails, libvirtd_fails, deadlines_pass;
static guint libvirtd_answers; /* so many calls more, before it fails */
static int ledger_code = SQLITE_OK;
static guint looks; /* into the ledger, to the one that fails; 0: none */
static gint64 clock_offset_us;
static const char *folder;
static guint folder_times;
static guint *met; /* shared with processes that are killed */

static void note_met(void)
{
	if (!met) {
		met = mmap(NULL, sizeof *met, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			   -1, 0);
		ck_assert(met != MAP_FAILED);
	}
	g_atomic_int_inc(met);
}

guint disturb_met(void)
{
	return met ? *met : 0;
}

void disturb_clear(void)
{
	images_fail = room_fails = libvirtd_fails = deadlines_pass = FALSE;
	ledger_code = SQLITE_OK;
	clock_offset_us = 0;
	looks = 0;
	folder = NULL;
	note_met();
	*met = 0;
}

/* ---- images ------------------------------------------------------------------------------ */

void disturb_images(const struct disturb *disturb)
{
	g_mutex_lock(&mutex);
	images = *disturb;
	images_fail = TRUE;
	g_mutex_unlock(&mutex);
}

/* Served layers, overlays and frozen images are the source; what lies in dst/ is not, nor a LUN. */
static enum disturb_end end_of(const char *name)
{
	return strstr(name, "/dst/") || g_str_has_prefix(name, "iscsi:") ? DISTURB_DESTINATION
									 : DISTURB_SOURCE;
}

static gboolean passes(const char *name, enum disturb_operation operation, GError **error)
{
	gboolean good = TRUE;
	int errnum = 0;

	g_mutex_lock(&mutex);
	if (images_fail && (images.operations & operation) && end_of(name) == images.end) {
		good = FALSE;
		errnum = images.errnum;
		images_fail = images.times != 1;
		images.times -= images.times > 1;
	}
	g_mutex_unlock(&mutex);
	if (good)
		return TRUE;
	note_met();
	error_set_errno(error, errnum, "%s", name);
	return FALSE;
}

static gboolean handle_passes(struct handle *handle, enum disturb_operation operation,
			      GError **error)
{
	g_autoptr(GError) failure = NULL;

	if (passes(handle->name, operation, &failure))
		return TRUE;
	handle->spent = handle->spent || error_is(failure, BLOCKMIG_ERROR_TRANSIENT);
	g_propagate_error(error, g_steal_pointer(&failure));
	return FALSE;
}

static gboolean url_passes(const struct url *url, enum disturb_operation operation, GError **error)
{
	g_autofree char *name = url_format(url);

	return passes(name, operation, error);
}

struct handle *__real_handle_open(const struct url *, const struct transport_config *,
				  enum handle_mode, GError **);
struct handle *__wrap_handle_open(const struct url *url, const struct transport_config *config,
				  enum handle_mode mode, GError **error);

struct handle *__wrap_handle_open(const struct url *url, const struct transport_config *config,
				  enum handle_mode mode, GError **error)
{
	return url_passes(url, DISTURB_OPEN, error) ? __real_handle_open(url, config, mode, error)
						    : NULL;
}

/* WRAP(OPERATION, name, (declared arguments), (passed arguments)): of one that has a handle. */
#define WRAP(operation, name, declared, passed)                                                    \
	gboolean __real_##name declared;                                                           \
	gboolean __wrap_##name declared;                                                           \
	gboolean __wrap_##name declared                                                            \
	{                                                                                          \
		return handle_passes(handle, operation, error) && __real_##name passed;            \
	}

WRAP(DISTURB_READ, handle_read,
     (struct handle * handle, void *buffer, gsize count, guint64 offset, GError **error),
     (handle, buffer, count, offset, error))
WRAP(DISTURB_WRITE, handle_write,
     (struct handle * handle, const void *buffer, gsize count, guint64 offset, GError **error),
     (handle, buffer, count, offset, error))
WRAP(DISTURB_WRITE, handle_zero,
     (struct handle * handle, guint64 count, guint64 offset, GError **error),
     (handle, count, offset, error))
WRAP(DISTURB_WRITE, handle_try_zero,
     (struct handle * handle, guint64 count, guint64 offset, gboolean *zeroed, GError **error),
     (handle, count, offset, zeroed, error))
WRAP(DISTURB_WRITE, handle_resize, (struct handle * handle, guint64 bytes, GError **error),
     (handle, bytes, error))

gboolean __real_handle_flush(struct handle *handle, GError **error);
gboolean __wrap_handle_flush(struct handle *handle, GError **error);

/* A step of a move like a call to libvirt: what was flushed is known to be stable. */
gboolean __wrap_handle_flush(struct handle *handle, GError **error)
{
	return handle_passes(handle, DISTURB_FLUSH, error) &&
	       fake_step("flush", FAKE_BEFORE, error) && __real_handle_flush(handle, error) &&
	       fake_step("flush", FAKE_AFTER, error);
}

gboolean __real_image_create(const struct url *, const struct transport_config *,
			     const struct image_create *, GError **);
gboolean __wrap_image_create(const struct url *url, const struct transport_config *config,
			     const struct image_create *create, GError **error);

gboolean __wrap_image_create(const struct url *url, const struct transport_config *config,
			     const struct image_create *create, GError **error)
{
	return url_passes(url, DISTURB_WRITE, error) && fake_step("create", FAKE_BEFORE, error) &&
	       __real_image_create(url, config, create, error) &&
	       fake_step("create", FAKE_AFTER, error);
}

gboolean __real_image_remove(const struct url *, const struct transport_config *, GError **);
gboolean __wrap_image_remove(const struct url *url, const struct transport_config *config,
			     GError **error);

gboolean __wrap_image_remove(const struct url *url, const struct transport_config *config,
			     GError **error)
{
	return url_passes(url, DISTURB_REMOVE, error) && fake_step("remove", FAKE_BEFORE, error) &&
	       __real_image_remove(url, config, error) && fake_step("remove", FAKE_AFTER, error);
}

/* ---- the ledger ---------------------------------------------------------------------------- */

gboolean __real_ledger_end(struct ledger *ledger, gboolean ok, GError **error);
gboolean __wrap_ledger_end(struct ledger *ledger, gboolean ok, GError **error);

gboolean __wrap_ledger_end(struct ledger *ledger, gboolean ok, GError **error)
{
	if (!ok)
		return __real_ledger_end(ledger, FALSE, error);
	ok = fake_step("commit", FAKE_BEFORE, error);
	return __real_ledger_end(ledger, ok, error) && fake_step("commit", FAKE_AFTER, error);
}

void disturb_ledger_look(guint nth)
{
	looks = nth;
}

gboolean __real_ledger_pass_find(struct ledger *, gint64, const char *, gint64 *, GError **);
gboolean __wrap_ledger_pass_find(struct ledger *ledger, gint64 job, const char *name, gint64 *id,
				 GError **error);

gboolean __wrap_ledger_pass_find(struct ledger *ledger, gint64 job, const char *name, gint64 *id,
				 GError **error)
{
	if (!looks || --looks > 0)
		return __real_ledger_pass_find(ledger, job, name, id, error);
	note_met();
	*id = 0;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT, "ledger.db: disk I/O error");
	return FALSE;
}

static int ledger_access(enum sqlite_file_access access)
{
	if (ledger_code == SQLITE_OK || access != SQLITE_FILE_WRITE)
		return SQLITE_OK;
	note_met();
	return ledger_code;
}

void disturb_ledger(int sqlite_code)
{
	ledger_code = sqlite_code;
}

/* Before the first ledger is opened. */
static void __attribute__((constructor)) watch_ledger(void)
{
	sqlite_files_watch(ledger_access);
}

/* ---- room ------------------------------------------------------------------------------------ */

static void meet(void *data)
{
	(void)data;
	note_met();
}

void disturb_room(void)
{
	room_fails = TRUE;
	fake_fault(&(struct fake_fault){.call = "create-overlay",
					.lasting = TRUE,
					.code = BLOCKMIG_ERROR_PERMANENT,
					.hook = meet});
}

static guint64 room_left = G_MAXUINT64;

void disturb_room_left(guint64 bytes)
{
	room_left = bytes;
}

int __real_statvfs(const char *path, struct statvfs *fs);
int __wrap_statvfs(const char *path, struct statvfs *fs);

int __wrap_statvfs(const char *path, struct statvfs *fs)
{
	int result = __real_statvfs(path, fs);

	if (result == 0 && room_left != G_MAXUINT64)
		fs->f_bavail = fs->f_bfree = room_left / fs->f_frsize;
	if (result == 0 && room_fails) {
		note_met();
		fs->f_bavail = fs->f_bfree = 0;
	}
	return result;
}

/* ---- a folder -------------------------------------------------------------------------------- */

void disturb_folder(const char *name, guint times)
{
	folder = name;
	folder_times = times;
}

GDir *__real_g_dir_open(const char *path, guint flags, GError **error);
GDir *__wrap_g_dir_open(const char *path, guint flags, GError **error);

GDir *__wrap_g_dir_open(const char *path, guint flags, GError **error)
{
	if (!folder || !g_str_has_suffix(path, folder) || folder_times-- > 0)
		return __real_g_dir_open(path, flags, error);
	folder_times = 0;
	note_met();
	error_set_errno(error, EIO, "%s", path);
	return NULL;
}

/* ---- libvirtd and the clocks --------------------------------------------------------------- */

void disturb_libvirtd(void)
{
	disturb_libvirtd_after(0);
}

void disturb_libvirtd_after(guint answers)
{
	libvirtd_fails = TRUE;
	libvirtd_answers = answers;
}

gboolean disturb_libvirtd_answers(GError **error)
{
	if (!libvirtd_fails)
		return TRUE;
	if (libvirtd_answers > 0) {
		libvirtd_answers--;
		return TRUE;
	}
	note_met();
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT,
		    "libvirt: cannot connect: Connection refused");
	return FALSE;
}

void disturb_clock(gint64 seconds)
{
	clock_offset_us = seconds * G_USEC_PER_SEC;
}

gint64 __wrap_g_get_real_time(void);

gint64 __wrap_g_get_real_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * G_USEC_PER_SEC + now.tv_nsec / 1000 + clock_offset_us;
}

void disturb_deadlines(void)
{
	deadlines_pass = TRUE;
}

gboolean __real_deadline_passed(deadline_ms deadline);
gboolean __wrap_deadline_passed(deadline_ms deadline);

gboolean __wrap_deadline_passed(deadline_ms deadline)
{
	return deadlines_pass || __real_deadline_passed(deadline);
}
