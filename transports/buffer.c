#include "transports/transport.h"

#include <stdlib.h>
#include <string.h>

void *transport_buffer_new(gsize bytes)
{
	void *buffer = NULL;

	if (posix_memalign(&buffer, TRANSPORT_ALIGN, bytes) != 0)
		g_error("out of memory: %" G_GSIZE_FORMAT " bytes", bytes);
	return buffer;
}

void transport_buffer_free(void *buffer)
{
	free(buffer);
}

/* Compares the buffer with itself, shifted: memcmp is the fastest loop there is. */
gboolean buffer_is_zero(const void *data, gsize count)
{
	enum { HEAD = 16 };
	static const guint8 zeros[HEAD];
	const guint8 *bytes = data;

	if (count <= HEAD)
		return memcmp(bytes, zeros, count) == 0;
	return memcmp(bytes, zeros, HEAD) == 0 && memcmp(bytes, bytes + HEAD, count - HEAD) == 0;
}
