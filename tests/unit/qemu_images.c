#include "tests/unit/qemu_images.h"

#include "blockmig/vm/image_tool.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <string.h>
#include <unistd.h>

void qemu_images_make(void)
{
	g_autofree char *folder = NULL;

	temp_make();
	folder = temp_path("");
	g_setenv("XDG_RUNTIME_DIR", folder, TRUE);
}

void qemu_images_command(const char *const *argv)
{
	g_autoptr(GError) error = NULL;
	gboolean ok = tool_run(argv, 60000, NULL, &error);

	ck_assert_msg(ok, "%s", error ? error->message : "");
}

char *qemu_images_raw(const char *name, const char *size)
{
	char *path = temp_path(name);

	unlink(path);
	qemu_images_run("truncate", "-s", size, path);
	return path;
}

char *qemu_images_overlay(const char *name, guint64 bytes)
{
	AUTO(source) nowhere = source_new(SOURCE_FILE, "/nonexistent/base");
	g_autoptr(GError) error = NULL;
	char *path = temp_path(name);
	gboolean ok;

	unlink(path);
	ok = image_tool_create_overlay(path, nowhere, NULL, "raw", bytes, (int)getuid(),
				       (int)getgid(), &error);
	ck_assert_msg(ok, "%s", error ? error->message : "");
	return path;
}

void qemu_images_io(const char *path, const char *format, const char *command)
{
	gboolean raw = strcmp(format, "raw") == 0;
	g_autofree char *alone =
		g_strdup_printf("json:{\"driver\":\"%s\",\"file\":{\"driver\":\"file\","
				"\"filename\":\"%s\"}%s}",
				format, path, raw ? "" : ",\"backing\":null");

	qemu_images_run("qemu-io", "-c", command, alone);
}

GPtrArray *qemu_images_layers(void)
{
	return g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);
}

struct layer *qemu_images_layer(const char *path, const char *format, guint64 slice_bytes)
{
	AUTO(source) source = source_new(SOURCE_FILE, path);

	source->slice_bytes = slice_bytes;
	return layer_new(source, format);
}
