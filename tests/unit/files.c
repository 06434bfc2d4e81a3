#include "tests/unit/files.h"

#include "tests/unit/temp.h"

#include <check.h>

struct url *files_url(const char *name)
{
	g_autofree char *path = temp_path(name);

	return url_parse(path, NULL);
}

void files_create(const struct url *url, guint64 size_bytes)
{
	struct image_create create = {.size_bytes = size_bytes, .mode = 0640, .uid = -1, .gid = -1};
	g_autoptr(GError) error = NULL;

	ck_assert_msg(image_create(url, NULL, &create, &error), "%s", error ? error->message : "");
}

struct handle *files_open(const struct url *url, enum handle_mode mode)
{
	g_autoptr(GError) error = NULL;
	struct handle *handle = handle_open(url, NULL, mode, &error);

	ck_assert_msg(handle, "%s", error ? error->message : "");
	return handle;
}

struct handle *files_new(const char *name, guint64 size_bytes, struct url **url)
{
	*url = files_url(name);
	files_create(*url, size_bytes);
	return files_open(*url, HANDLE_WRITE);
}
