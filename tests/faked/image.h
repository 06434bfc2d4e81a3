/*
 * The fakes' own view of an image file; tests use fake.h.
 */
#ifndef FAKED_IMAGE_H
#define FAKED_IMAGE_H

#include "blockmig/vm/source.h"
#include "common/auto.h"
#include "tests/faked/fake.h"

struct image_header {
	char magic[8];
	guint64 virtual_bytes;
	guint64 flags; /* enum fake_flag */
	guint64 reserved;
	char backing[1024];
};

struct image {
	int fd;
	guint64 virtual_bytes;
	guint64 offset; /* of the guest's byte 0 */
	guint8 *map;	/* NULL: holds every cluster */
	struct image_header header;
};

struct image *image_open(const char *path, const char *format);
void image_close(struct image *image);
AUTO_DEFINE(image, image_close)

/* The file that holds the image: a LUN of the fake target is one too. */
char *fake_layer_file(const struct source *source);

#endif
