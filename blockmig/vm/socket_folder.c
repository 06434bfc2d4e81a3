#include "blockmig/vm/socket_folder.h"

#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX	    "blockmig-nbd-"
#define SOCKET_NAME "nbd"

/* A sweep of another blockmig may take the folder between its making and its locking. */
enum { TRIES = 10 };

/* Opens and locks a folder of ours; -1 where it is held, or not ours. */
static int lock_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0 &&
	    st.st_uid == geteuid())
		return fd;
	close(fd);
	return -1;
}

static void remove_folder(const char *path, int lock_fd)
{
	unlinkat(lock_fd, SOCKET_NAME, 0);
	g_rmdir(path);
	close(lock_fd);
}

static void sweep(const char *parent)
{
	g_autoptr(GDir) names = g_dir_open(parent, 0, NULL);
	const char *name;

	while (names && (name = g_dir_read_name(names))) {
		g_autofree char *path = g_build_filename(parent, name, NULL);
		int lock_fd = g_str_has_prefix(name, PREFIX) ? lock_folder(path) : -1;

		if (lock_fd >= 0)
			remove_folder(path, lock_fd);
	}
}

struct socket_folder *socket_folder_new(GError **error)
{
	const char *runtime = g_getenv("XDG_RUNTIME_DIR");
	const char *parent =
		runtime && g_access(runtime, W_OK | X_OK) == 0 ? runtime : g_get_tmp_dir();

	sweep(parent);
	for (guint i = 0; i < TRIES; i++) {
		g_autofree char *path = g_build_filename(parent, PREFIX "XXXXXX", NULL);
		int lock_fd = g_mkdtemp_full(path, 0700) ? lock_folder(path) : -1;
		struct socket_folder *folder;

		if (lock_fd < 0)
			continue;
		folder = g_new0(struct socket_folder, 1);
		folder->lock_fd = lock_fd;
		folder->socket = g_build_filename(path, SOCKET_NAME, NULL);
		folder->path = g_steal_pointer(&path);
		return folder;
	}
	error_set_errno(error, errno, "%s: create a folder for a socket", parent);
	return NULL;
}

void socket_folder_free(struct socket_folder *folder)
{
	remove_folder(folder->path, folder->lock_fd);
	g_free(folder->path);
	g_free(folder->socket);
	g_free(folder);
}
