/*
 * Private folders for sockets, which are gone one day even when their owner was killed.
 *
 * The owner holds a lock on its folder, and the kernel drops it with the owner: whoever
 * makes the next folder removes those that nobody holds.
 */
#ifndef VM_SOCKET_FOLDER_H
#define VM_SOCKET_FOLDER_H

#include "common/auto.h"

#include <glib.h>

struct socket_folder {
	char *path;
	char *socket; /* the only file in it */
	int lock_fd;
};

/* Mode 0700, in XDG_RUNTIME_DIR where that can be written, else where temporary files go. */
struct socket_folder *socket_folder_new(GError **error);
/* Removes the socket and the folder. */
void socket_folder_free(struct socket_folder *folder);
AUTO_DEFINE(socket_folder, socket_folder_free)

#endif
