#include "transports/inode.h"

#include <fcntl.h>

/* The handle of @fd's file, "TYPE.HEX"; NULL where it has none. */
static char *handle_text(int fd)
{
	union {
		struct file_handle handle;
		guint8 room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} known = {.handle.handle_bytes = MAX_HANDLE_SZ};
	GString *text;
	int mount;

	if (name_to_handle_at(fd, "", &known.handle, &mount, AT_EMPTY_PATH) < 0)
		return NULL;
	text = g_string_new(NULL);
	g_string_printf(text, "%x.", (guint)known.handle.handle_type);
	for (guint i = 0; i < known.handle.handle_bytes; i++)
		g_string_append_printf(text, "%02x", known.handle.f_handle[i]);
	return g_string_free(text, FALSE);
}

void inode_identity(int fd, const struct stat *st, char *identity, gsize identity_bytes)
{
	g_autofree char *handle = handle_text(fd);
	g_autofree char *device = g_strdup_printf("%" G_GINT64_MODIFIER "x", (guint64)st->st_dev);

	g_snprintf(identity, identity_bytes, "file:%s:%" G_GUINT64_FORMAT, handle ? handle : device,
		   (guint64)st->st_ino);
}
