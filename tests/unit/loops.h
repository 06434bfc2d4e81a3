/*
 * Loop devices, and small file systems on them, mounted where nobody else sees it.
 */
#ifndef TESTS_UNIT_LOOPS_H
#define TESTS_UNIT_LOOPS_H

#include <glib.h>

/* The loop device, open, and its path; it frees itself when nobody uses it any more. */
int loop_attach(const char *backing, char **path);
/* Its first partition, as a device of its own, whose path the caller frees. */
char *loop_add_partition(int device, const char *path, guint64 offset_bytes, guint64 length_bytes);

/* From now on what this process mounts is its own, and goes with it. */
void loop_mounts_begin(void);
/* Makes the file, of 8 MiB, and an ext4 in it, with what is in @content (NULL: nothing). */
void loop_make_ext4(const char *backing, const char *content);
/* Mounts it, by a device of its own, at the folder, which is made; returns the device. */
int loop_mount(const char *backing, const char *folder);

#endif
