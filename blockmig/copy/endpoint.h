/*
 * One end of a copy as one thread holds it: a handle that is opened again after it
 * was lost, and must then lead to the image that it led to before.
 *
 *     while (!work(endpoint->handle, &cause)) {
 *             endpoint_drop(endpoint);
 *             if (!endpoint_may_retry(&backoff, &cause)) -> report cause
 *             endpoint_open(endpoint, &cause);
 *     }
 */
#ifndef COPY_ENDPOINT_H
#define COPY_ENDPOINT_H

#include "blockmig/copy/engine.h"
#include "common/deadline.h"

struct endpoint {
	struct copy_end *end;
	enum handle_mode mode;
	struct handle *handle;	 /* NULL: not open */
	gboolean is_known;	 /* the image was open before, by this thread or another */
	struct image_info known; /* what it was like then */
};

/*
 * Opens the handle where it is not open.  An image with another identity or size than
 * the one known (or than end->identity asks for) is a PERMANENT error; one that was
 * known and cannot be opened may come back (endpoint_reopen).
 */
gboolean endpoint_open(struct endpoint *endpoint, GError **error);

/*
 * handle_open of what was there before: TRANSIENT where the server may have it again soon.
 * Servers come back in steps.  A target lets initiators in before it has its LUNs, and
 * knows its own name; an NFS server refuses the mount, or shows an empty folder, until it
 * has its exports, and the file systems in them.
 */
struct handle *endpoint_reopen(const struct url *url, const struct transport_config *config,
			       enum handle_mode mode, GError **error);
void endpoint_drop(struct endpoint *endpoint);

/*
 * The very first handle: as endpoint_open, with tries for as long as @backoff allows;
 * the image must hold @content_bytes.  Sets end->identity.
 */
gboolean endpoint_learn(struct endpoint *endpoint, guint64 content_bytes, struct backoff *backoff,
			GError **error);

/*
 * After a failure: where it is transient and time is left, waits, clears *error and
 * returns TRUE.  Else FALSE, with *error as it was, and how long it was tried where the
 * time is used up; or STOPPED.
 */
gboolean endpoint_may_retry(struct backoff *backoff, GError **error);

#endif
