#include "tests/unit/temp.h"

#include <ftw.h>
#include <stdio.h>

static char *folder;

void temp_make(void)
{
	folder = g_dir_make_tmp("blockmig-test-XXXXXX", NULL);
	g_assert(folder);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *place)
{
	(void)st;
	(void)kind;
	(void)place;
	return remove(path);
}

void temp_remove(void)
{
	nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	g_clear_pointer(&folder, g_free);
}

char *temp_path(const char *name)
{
	return g_build_filename(folder, name, NULL);
}

void pattern_fill(void *buffer, gsize count, guint seed)
{
	guint8 *bytes = buffer;
	guint32 state = seed * 2654435761u + 1;

	for (gsize i = 0; i < count; i++) {
		state = state * 1664525u + 1013904223u;
		bytes[i] = (guint8)(state >> 24) | 1;
	}
}
