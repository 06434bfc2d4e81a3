/* What file systems have left; a file of its own, as tests fill none for real. */
#ifndef MOVE_SPACE_H
#define MOVE_SPACE_H

#include <glib.h>

/* What is free in a folder's file system; 0 where that cannot be told. */
guint64 space_free_bytes(const char *folder);

#endif
