/* Stands for blockmig/move/space.c. */
#include "blockmig/move/space.h"

#include "common/units.h"
#include "tests/faked/fake.h"

static guint64 free_bytes = 100 * GiB;

void fake_free_bytes(guint64 bytes)
{
	free_bytes = bytes;
}

guint64 space_free_bytes(const char *folder)
{
	return g_file_test(folder, G_FILE_TEST_IS_DIR) ? free_bytes : 0;
}
