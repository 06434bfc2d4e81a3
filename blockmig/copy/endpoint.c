#include "blockmig/copy/endpoint.h"

#include "common/error.h"

#include <string.h>

static gboolean is_same_image(struct endpoint *endpoint, const struct image_info *info,
			      GError **error)
{
	const char *wanted = endpoint->end->identity;

	if (wanted[0] && !image_info_matches(info, wanted, endpoint->handle->name, error)) {
		g_prefix_error(error, "nothing more was written: ");
		return FALSE;
	}
	if (endpoint->is_known && info->size_bytes != endpoint->known.size_bytes) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "nothing more was written: %s is not the image it was: its size is "
			    "%" G_GUINT64_FORMAT " now, and was %" G_GUINT64_FORMAT,
			    endpoint->handle->name, info->size_bytes, endpoint->known.size_bytes);
		return FALSE;
	}
	return TRUE;
}

/*
 * A target that starts again lets initiators in before it has its LUNs, and before it
 * knows its own name: what was there a moment ago is waited for.
 */
static gboolean open_handle(struct endpoint *endpoint, GError **error)
{
	const struct copy_end *end = endpoint->end;
	GError *cause = NULL;

	endpoint->handle = handle_open(end->url, end->config, endpoint->mode, &cause);
	if (endpoint->handle)
		return TRUE;
	if (endpoint->is_known && end->url->scheme == URL_ISCSI &&
	    error_is(cause, BLOCKMIG_ERROR_NOT_FOUND))
		cause->code = BLOCKMIG_ERROR_TRANSIENT;
	g_propagate_error(error, cause);
	return FALSE;
}

gboolean endpoint_open(struct endpoint *endpoint, GError **error)
{
	struct image_info info;

	if (endpoint->handle)
		return TRUE;
	if (!open_handle(endpoint, error))
		return FALSE;
	if (!handle_describe(endpoint->handle, &info, error) ||
	    !is_same_image(endpoint, &info, error)) {
		endpoint_drop(endpoint);
		return FALSE;
	}
	endpoint->known = info;
	endpoint->is_known = TRUE;
	return TRUE;
}

void endpoint_drop(struct endpoint *endpoint)
{
	if (endpoint->handle)
		handle_close(endpoint->handle);
	endpoint->handle = NULL;
}

gboolean endpoint_learn(struct endpoint *endpoint, guint64 content_bytes, struct backoff *backoff,
			GError **error)
{
	const guint64 offset_bytes = endpoint->end->offset_bytes;
	guint64 size_bytes;
	GError *cause = NULL;

	while (!endpoint_open(endpoint, &cause)) {
		if (!endpoint_may_retry(backoff, &cause)) {
			g_propagate_error(error, cause);
			return FALSE;
		}
	}
	backoff_success(backoff);
	size_bytes = endpoint->known.size_bytes;
	if (offset_bytes > size_bytes || content_bytes > size_bytes - offset_bytes) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s: its %" G_GUINT64_FORMAT " bytes do not hold %" G_GUINT64_FORMAT
			    " at offset %" G_GUINT64_FORMAT "; give an image that is large enough",
			    endpoint->handle->name, size_bytes, content_bytes, offset_bytes);
		return FALSE;
	}
	memcpy(endpoint->end->identity, endpoint->known.identity, IDENTITY_BYTES);
	return TRUE;
}

gboolean endpoint_may_retry(struct backoff *backoff, GError **error)
{
	GError *stopped = NULL;

	if (!error_is_transient(*error))
		return FALSE;
	if (backoff_wait(backoff, &stopped)) {
		g_clear_error(error);
		return TRUE;
	}
	if (stopped) {
		g_clear_error(error);
		g_propagate_error(error, stopped);
	}
	return FALSE;
}
