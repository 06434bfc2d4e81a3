#include "tests/unit/sqlite_files.h"

#include <glib.h>
#include <sqlite3.h>

static sqlite_files_ask asked;
static sqlite3_io_methods real;
static int (*real_open)(sqlite3_vfs *, const char *, sqlite3_file *, int, int *);

static int file_read(sqlite3_file *file, void *data, int count, sqlite3_int64 offset)
{
	const int code = asked(SQLITE_FILE_READ);

	return code == SQLITE_OK ? real.xRead(file, data, count, offset) : code;
}

static int file_write(sqlite3_file *file, const void *data, int count, sqlite3_int64 offset)
{
	const int code = asked(SQLITE_FILE_WRITE);

	return code == SQLITE_OK ? real.xWrite(file, data, count, offset) : code;
}

static int file_sync(sqlite3_file *file, int flags)
{
	const int code = asked(SQLITE_FILE_SYNC);

	return code == SQLITE_OK ? real.xSync(file, flags) : code;
}

/* SQLite has a set of methods for each way of locking; these three are the same in all. */
static const sqlite3_io_methods *watched(const sqlite3_io_methods *methods)
{
	static struct {
		const sqlite3_io_methods *real;
		sqlite3_io_methods ours;
	} sets[8];
	guint i = 0;

	while (sets[i].real && sets[i].real != methods)
		g_assert(++i < G_N_ELEMENTS(sets));
	if (!sets[i].real) {
		g_assert(!real.xWrite ||
			 (real.xRead == methods->xRead && real.xWrite == methods->xWrite &&
			  real.xSync == methods->xSync));
		real = *methods;
		sets[i].real = methods;
		sets[i].ours = *methods;
		sets[i].ours.xRead = file_read;
		sets[i].ours.xWrite = file_write;
		sets[i].ours.xSync = file_sync;
	}
	return &sets[i].ours;
}

static int file_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
		     int *out_flags)
{
	const int code = real_open(vfs, name, file, flags, out_flags);

	if (file->pMethods)
		file->pMethods = watched(file->pMethods);
	return code;
}

void sqlite_files_watch(sqlite_files_ask ask)
{
	static sqlite3_vfs vfs;

	asked = ask;
	sqlite3_initialize();
	vfs = *sqlite3_vfs_find(NULL);
	vfs.zName = "watched";
	real_open = vfs.xOpen;
	vfs.xOpen = file_open;
	sqlite3_vfs_register(&vfs, 1);
}
