/*
 * A transport whose images lie in memory, with a volatile cache, faults and a log.
 *
 * A test program that wants it defines
 *
 *     const struct transport transport_nbd = MEMORY_TRANSPORT;
 *
 * which takes the place of the real one when the program is linked, and reaches an
 * image through memory_url("name").
 *
 * Handles see each other's writes at once.  A write is durable when its handle was
 * flushed; a handle that dies (a TRANSIENT error) takes back all that it did not flush,
 * as a server does that restarts.
 */
#ifndef TESTS_UNIT_MEMORY_H
#define TESTS_UNIT_MEMORY_H

#include "transports/transport.h"

enum memory_op { MEMORY_OPEN, MEMORY_READ, MEMORY_WRITE, MEMORY_ZERO, MEMORY_FLUSH, MEMORY_OPS };

/* A call as it is about to happen; a read's buffer is filled already. */
struct memory_event {
	enum memory_op op;
	guint handle; /* number of the handle, from 1 on */
	enum handle_mode mode;
	guint64 offset, count;
	guint8 *buffer;
};

/* FALSE with an error: the call fails.  Called by one thread at a time. */
typedef gboolean (*memory_hook)(const struct memory_event *event, void *data, GError **error);

struct memory_image {
	guint64 size_bytes;
	guint8 *bytes;	   /* what is read */
	guint8 *stable;	   /* what was flushed */
	guint8 *allocated; /* a byte for each block of 4 KiB */
	char identity[IDENTITY_BYTES];
	gboolean extents_trusted, zero_deallocates;
	gboolean cannot_zero; /* zeros have to be written */
	memory_hook hook;
	void *hook_data;
	GArray *log; /* of struct memory_event, without buffers */
	guint calls[MEMORY_OPS];
	guint handles;
};

/* A new image of zeros; owned by memory_reset. */
struct memory_image *memory_add(const char *name, guint64 size_bytes);
void memory_reset(void);
struct url *memory_url(const char *name);
/* Puts @count bytes there, flushed. */
void memory_fill(struct memory_image *image, guint64 offset, const void *data, gsize count);
/* Puts random bytes there; never a block of zeros. */
void memory_fill_random(struct memory_image *image, guint64 offset, gsize count, guint32 seed);
/* An error as a lost connection makes it. */
gboolean memory_lost(GError **error);

gboolean memory_open(const struct url *url, const struct transport_config *config,
		     enum handle_mode mode, struct handle **handle, GError **error);
void memory_close(struct handle *handle);
gboolean memory_describe(struct handle *handle, struct image_info *info, GError **error);
gssize memory_pread(struct handle *handle, void *buffer, gsize count, guint64 offset,
		    GError **error);
gssize memory_pwrite(struct handle *handle, const void *buffer, gsize count, guint64 offset,
		     GError **error);
gboolean memory_zero(struct handle *handle, guint64 count, guint64 offset, gboolean *unsupported,
		     GError **error);
gboolean memory_flush(struct handle *handle, GError **error);
gboolean memory_extents(struct handle *handle, guint64 count, guint64 offset,
			struct extents *extents, GError **error);

#define MEMORY_TRANSPORT                                                                           \
	MEMORY_TRANSPORT_WITH(memory_close, memory_pwrite, memory_flush, memory_extents)

/* With a test's own functions, which call those above, in the place of some. */
#define MEMORY_TRANSPORT_WITH(its_close, its_pwrite, its_flush, its_extents)                       \
	{                                                                                          \
		.name = "memory", .open = memory_open, .close = its_close,                         \
		.describe = memory_describe, .pread = memory_pread, .pwrite = its_pwrite,          \
		.zero = memory_zero, .flush = its_flush, .extents = its_extents,                   \
	}

#endif
