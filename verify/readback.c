#include "verify/readback.h"

#include "common/error.h"

gboolean readback_prove(struct handle *handle, void *buffer, gsize count, guint64 offset,
			const struct digest *expected, GError **error)
{
	g_autofree char *read_hex = NULL, *expected_hex = NULL;
	struct digest digest;

	if (!handle_read(handle, buffer, count, offset, error))
		return FALSE;
	digest_compute(buffer, count, &digest);
	if (digest_equal(&digest, expected))
		return TRUE;

	read_hex = digest_hex(&digest);
	expected_hex = digest_hex(expected);
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_INTEGRITY,
		    "%s: %" G_GSIZE_FORMAT " bytes at offset %" G_GUINT64_FORMAT
		    " read back with SHA-256 %s, written with %s",
		    handle->name, count, offset, read_hex, expected_hex);
	return FALSE;
}
