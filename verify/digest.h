/*
 * SHA-256 of chunks, and the root over a whole image.
 *
 * The root is the SHA-256 of the digests of all chunks in order, 32 bytes each.
 * Two images of equal content, size and chunk size have equal roots, wherever they
 * lie.  The digest of a chunk of zeros is computed once for each length.
 */
#ifndef VERIFY_DIGEST_H
#define VERIFY_DIGEST_H

#include "common/auto.h"

#include <glib.h>

enum { DIGEST_BYTES = 32 };

struct digest {
	guint8 bytes[DIGEST_BYTES];
};

void digest_compute(const void *data, gsize count, struct digest *digest);
/* As digest_compute over @count zero bytes; cached, safe from any thread. */
void digest_zeros(gsize count, struct digest *digest);
gboolean digest_equal(const struct digest *a, const struct digest *b);
/* Lower-case hex; the caller frees. */
char *digest_hex(const struct digest *digest);

struct manifest_root;
struct manifest_root *manifest_root_new(void);
void manifest_root_free(struct manifest_root *root);
AUTO_DEFINE(manifest_root, manifest_root_free)
/* @times equal digests in a row. */
void manifest_root_add(struct manifest_root *root, const struct digest *digest, guint64 times);
void manifest_root_finish(struct manifest_root *root, struct digest *digest);

#endif
