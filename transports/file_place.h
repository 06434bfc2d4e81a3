/*
 * Directories as places for images: the file transport's operations on names.
 */
#ifndef TRANSPORTS_FILE_PLACE_H
#define TRANSPORTS_FILE_PLACE_H

#include "transports/transport.h"

/* As the table's create, remove, space and list. */
gboolean file_place_create(const struct url *url, const struct transport_config *config,
			   const struct image_create *create, GError **error);
/* Refuses everything but a regular file: a symbolic link would leave its image behind. */
gboolean file_place_remove(const struct url *url, const struct transport_config *config,
			   GError **error);
gboolean file_place_space(const struct url *place, const struct transport_config *config,
			  guint64 *free_bytes, guint64 *total_bytes, GError **error);
/* Regular files only, sorted. */
GPtrArray *file_place_list(const struct url *place, const struct transport_config *config,
			   GError **error);

#endif
