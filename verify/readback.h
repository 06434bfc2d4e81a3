/*
 * Read-back: proof that a range of an image is what was written to it.
 *
 * The handle must be one that never wrote, so that no cache of the writer's answers.
 */
#ifndef VERIFY_READBACK_H
#define VERIFY_READBACK_H

#include "transports/transport.h"
#include "verify/digest.h"

/*
 * Reads @count bytes at @offset into @buffer and compares their SHA-256 with
 * @expected.  FALSE with INTEGRITY where they differ (the text has both digests), or
 * with the handle's own error.
 */
gboolean readback_prove(struct handle *handle, void *buffer, gsize count, guint64 offset,
			const struct digest *expected, GError **error);

#endif
