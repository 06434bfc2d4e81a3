#include "blockmig/move/usage.h"

#include "blockmig/vm/domain_load.h"
#include "blockmig/vm/image_tool.h"
#include "common/error.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* One file under two names. */
static gboolean same_file(const struct source *a, const struct source *b)
{
	struct stat first, second;

	if (a->type != SOURCE_FILE && a->type != SOURCE_BLOCK)
		return FALSE;
	if ((b->type != SOURCE_FILE && b->type != SOURCE_BLOCK) || stat(a->path, &first) != 0 ||
	    stat(b->path, &second) != 0)
		return FALSE;
	if (S_ISBLK(first.st_mode) && S_ISBLK(second.st_mode))
		return first.st_rdev == second.st_rdev;
	return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

static gboolean names(struct config *config, const struct source *source, const struct place *image,
		      const char *url)
{
	if (source->type == SOURCE_NONE || source->type == SOURCE_OTHER)
		return FALSE;
	if (source_equal(source, &image->source) || same_file(source, &image->source))
		return TRUE;
	AUTO(place) place = place_of_source(config, source, NULL);
	g_autofree char *theirs = place ? url_format(place->url) : NULL;

	return g_strcmp0(theirs, url) == 0;
}

static char *find_in(struct move_context *context, const struct domain *domain,
		     const struct place *image, const char *except_disk)
{
	g_autofree char *url = url_format(image->url);

	for (guint d = 0; d < domain->disks->len; d++) {
		const struct disk *disk = g_ptr_array_index(domain->disks, d);

		if (g_strcmp0(disk->target, except_disk) == 0)
			continue;
		for (guint l = 0; l < disk->layers->len; l++)
			if (names(context->config, &disk_layer(disk, l)->source, image, url))
				return g_strdup_printf("domain %s, disk %s", domain->name,
						       disk->target);
		if (disk->mirror.present &&
		    names(context->config, &disk->mirror.to.source, image, url))
			return g_strdup_printf("domain %s, disk %s (a mirror)", domain->name,
					       disk->target);
	}
	return NULL;
}

char *usage_find(struct move_context *context, const struct place *image, const char *except_uuid,
		 const char *except_disk, GError **error)
{
	g_autoptr(GPtrArray) uuids = session_list(context->session, error);

	for (guint i = 0; uuids && i < uuids->len; i++) {
		const char *uuid = g_ptr_array_index(uuids, i);
		const char *except = g_strcmp0(uuid, except_uuid) == 0 ? except_disk : NULL;

		for (int inactive = 0; inactive <= 1; inactive++) {
			g_autoptr(GError) failure = NULL;
			AUTO(domain)
			domain = domain_load(context->session, uuid, inactive, NULL, &failure);

			/* Undefined since it was listed: it names nothing any more. */
			if (!domain && error_is(failure, BLOCKMIG_ERROR_NOT_FOUND))
				break;
			char *user = domain ? find_in(context, domain, image, except) : NULL;

			if (user)
				return user;
			if (failure) {
				g_propagate_error(error, g_steal_pointer(&failure));
				return NULL;
			}
		}
	}
	return NULL;
}

static gboolean is_qcow2(const char *path)
{
	char magic[4] = "";
	FILE *file = fopen(path, "re");
	gboolean found = file && fread(magic, 1, 4, file) == 4 && memcmp(magic, "QFI\xfb", 4) == 0;

	if (file)
		fclose(file);
	return found;
}

/* Whether the qcow2 file @path has @image as its backing file, in words; in doubt it has. */
static char *lies_over(const char *path, const char *folder, const struct source *image)
{
	struct source file = {.type = SOURCE_FILE, .path = (char *)path, .uid = -1, .gid = -1};
	g_autoptr(GError) failure = NULL;
	AUTO(image_format_info) info = image_tool_info(&file, "qcow2", &failure);

	if (!info)
		return g_strdup_printf("file %s (what it is backed by is not known: %s)", path,
				       failure->message);
	if (!info->backing_name)
		return NULL;
	g_autofree char *backing = g_path_is_absolute(info->backing_name)
					   ? g_strdup(info->backing_name)
					   : g_build_filename(folder, info->backing_name, NULL);
	struct source below = {.type = SOURCE_FILE, .path = backing, .uid = -1, .gid = -1};

	return same_file(&below, image) ? g_strdup_printf("file %s", path) : NULL;
}

char *usage_beside(const struct place *image, GError **error)
{
	if (image->source.type != SOURCE_FILE)
		return NULL;
	g_autofree char *folder = g_path_get_dirname(image->source.path);
	g_autoptr(GDir) entries = g_dir_open(folder, 0, error);
	const char *name;

	while (entries && (name = g_dir_read_name(entries))) {
		g_autofree char *path = g_build_filename(folder, name, NULL);
		char *user = !g_str_equal(path, image->source.path) &&
					     g_file_test(path, G_FILE_TEST_IS_REGULAR) &&
					     is_qcow2(path)
				     ? lies_over(path, folder, &image->source)
				     : NULL;

		if (user)
			return user;
	}
	return NULL;
}
