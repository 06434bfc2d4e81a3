#include "blockmig/copy/endpoint.h"

#include "common/error.h"
#include "common/units.h"

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

static gboolean may_come_back(const struct url *url, const GError *cause)
{
	if (url->scheme == URL_NFS && error_is(cause, BLOCKMIG_ERROR_PERMANENT))
		return TRUE;
	return (url->scheme == URL_NFS || url->scheme == URL_ISCSI) &&
	       error_is(cause, BLOCKMIG_ERROR_NOT_FOUND);
}

struct handle *endpoint_reopen(const struct url *url, const struct transport_config *config,
			       enum handle_mode mode, GError **error)
{
	GError *cause = NULL;
	struct handle *handle = handle_open(url, config, mode, &cause);

	if (handle)
		return handle;
	if (may_come_back(url, cause))
		cause->code = BLOCKMIG_ERROR_TRANSIENT;
	g_propagate_error(error, cause);
	return NULL;
}

static gboolean open_handle(struct endpoint *endpoint, GError **error)
{
	const struct copy_end *end = endpoint->end;
	const gboolean was_there = endpoint->is_known || end->identity[0];

	endpoint->handle = was_there ? endpoint_reopen(end->url, end->config, endpoint->mode, error)
				     : handle_open(end->url, end->config, endpoint->mode, error);
	return endpoint->handle != NULL;
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

static void add_how_long(GError *error, const struct backoff *backoff)
{
	g_autofree char *text = g_steal_pointer(&error->message);
	g_autofree char *tried = units_format_time(backoff->retry_for_ms);

	error->message = g_strdup_printf("%s (tried for %s)", text, tried);
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
	} else if (backoff->retry_for_ms) {
		add_how_long(*error, backoff);
	}
	return FALSE;
}
