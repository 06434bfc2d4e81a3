#include "blockmig/move/space.h"

#include <sys/statvfs.h>

guint64 space_free_bytes(const char *folder)
{
	struct statvfs fs;

	return statvfs(folder, &fs) == 0 ? (guint64)fs.f_bavail * fs.f_frsize : 0;
}
