#include "transports/transport.h"

#include <stdlib.h>

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
