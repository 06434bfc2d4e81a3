#include "transports/file_place.h"

#include "common/error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* A new or removed name is durable only once its directory is. */
static gboolean sync_directory(const char *path, GError **error)
{
	g_autofree char *folder = g_path_get_dirname(path);
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	gboolean good = fd >= 0 && fsync(fd) == 0;

	if (!good)
		error_set_errno(error, errno, "%s: sync", folder);
	if (fd >= 0)
		close(fd);
	return good;
}

/* Owner before mode: chown takes permission bits away. */
static gboolean furnish(int fd, const struct image_create *create)
{
	gboolean has_owner = create->uid >= 0 || create->gid >= 0;

	return (!has_owner || fchown(fd, (uid_t)create->uid, (gid_t)create->gid) == 0) &&
	       fchmod(fd, (mode_t)create->mode) == 0 &&
	       ftruncate(fd, (off_t)create->size_bytes) == 0 && fsync(fd) == 0;
}

gboolean file_place_create(const struct url *url, const struct transport_config *config,
			   const struct image_create *create, GError **error)
{
	int fd = open(url->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	(void)config;
	if (fd < 0) {
		error_set_errno(error, errno, "%s: create", url->path);
		return FALSE;
	}

	gboolean good = furnish(fd, create);
	if (!good)
		error_set_errno(error, errno, "%s: create", url->path);
	close(fd);
	good = good && sync_directory(url->path, error);
	if (!good)
		unlink(url->path);
	return good;
}

gboolean file_place_remove(const struct url *url, const struct transport_config *config,
			   GError **error)
{
	struct stat st;

	(void)config;
	if (lstat(url->path, &st) == 0 && !S_ISREG(st.st_mode)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s: remove: not a regular file; remove it by hand", url->path);
		return FALSE;
	}
	if (unlink(url->path) < 0) {
		error_set_errno(error, errno, "%s: remove", url->path);
		return FALSE;
	}
	return sync_directory(url->path, error);
}

gboolean file_place_space(const struct url *place, const struct transport_config *config,
			  guint64 *free_bytes, guint64 *total_bytes, GError **error)
{
	struct statvfs vfs;

	(void)config;
	if (statvfs(place->path, &vfs) < 0) {
		error_set_errno(error, errno, "%s: free space", place->path);
		return FALSE;
	}
	*free_bytes = (guint64)vfs.f_bavail * vfs.f_frsize;
	*total_bytes = (guint64)vfs.f_blocks * vfs.f_frsize;
	return TRUE;
}

static gboolean is_regular(DIR *folder, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_REG;
	return fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode);
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GPtrArray *file_place_list(const struct url *place, const struct transport_config *config,
			   GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	DIR *folder = opendir(place->path);
	const struct dirent *entry = NULL;

	(void)config;
	while (folder && (errno = 0, entry = readdir(folder)))
		if (is_regular(folder, entry))
			g_ptr_array_add(names, g_strdup(entry->d_name));
	int errnum = errno;
	if (folder)
		closedir(folder);
	if (errnum != 0) {
		error_set_errno(error, errnum, "%s: list", place->path);
		return NULL;
	}
	g_ptr_array_sort(names, compare_names);
	return g_steal_pointer(&names);
}
