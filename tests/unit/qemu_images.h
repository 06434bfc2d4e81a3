/*
 * Images that QEMU's tools make, in the folder of temp.h.  Names are made anew by each
 * call, so that tests run in any order.
 */
#ifndef TESTS_QEMU_IMAGES_H
#define TESTS_QEMU_IMAGES_H

#include "blockmig/vm/domain.h"

#include <glib.h>

/* temp_make(), and the sockets of a test that is killed go with the folder. */
void qemu_images_make(void);

/* Runs a command that must succeed. */
#define qemu_images_run(...) qemu_images_command((const char *const[]){__VA_ARGS__, NULL})
void qemu_images_command(const char *const *argv);

/* Sparse; the caller frees the path. */
char *qemu_images_raw(const char *name, const char *size);
/* An empty overlay over a file that is not there; the caller frees the path. */
char *qemu_images_overlay(const char *name, guint64 bytes);
/* A command of qemu-io for the file alone. */
void qemu_images_io(const char *path, const char *format, const char *command);

GPtrArray *qemu_images_layers(void);
/* @slice_bytes 0: no slice. */
struct layer *qemu_images_layer(const char *path, const char *format, guint64 slice_bytes);

#endif
