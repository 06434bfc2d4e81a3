/*
 * A token bucket shared by all workers of a copy.  The rate may be changed while it
 * runs.  The bucket holds a quarter of a second, so that a rate is kept closely.
 */
#ifndef COPY_THROTTLE_H
#define COPY_THROTTLE_H

#include "common/auto.h"

#include <glib.h>

struct throttle;

/* 0 bytes a second: no limit. */
struct throttle *throttle_new(guint64 bytes_per_second);
void throttle_free(struct throttle *throttle);
AUTO_DEFINE(throttle, throttle_free)
void throttle_set(struct throttle *throttle, guint64 bytes_per_second);
/* What may be sent in a quarter of a second; G_MAXUINT64 without a limit. */
guint64 throttle_slice(struct throttle *throttle);
/* Waits until @bytes may be sent.  FALSE with STOPPED where a stop at once is asked for. */
gboolean throttle_take(struct throttle *throttle, guint64 bytes, GError **error);

#endif
