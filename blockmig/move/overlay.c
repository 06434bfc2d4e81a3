#include "blockmig/move/overlay.h"

#include "blockmig/vm/image_tool.h"
#include "common/error.h"
#include "common/units.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* The least that must be free beside what is known to be needed. */
static const guint64 margin_bytes = 64 * MiB;

/* Of the overlay that takes another's place on the way home. */
#define HOME_SUFFIX ".home"

char *overlay_scratch(const struct move_context *context, const struct move_options *options,
		      GError **error)
{
	const char *path =
		options && options->scratch ? options->scratch : context->config->scratch;

	if (g_mkdir_with_parents(path, 0711) != 0) {
		error_set_errno(error, errno, "scratch folder %s", path);
		return NULL;
	}
	return g_strdup(path);
}

guint64 overlay_free_bytes(const char *folder)
{
	struct statvfs fs;

	return statvfs(folder, &fs) == 0 ? (guint64)fs.f_bavail * fs.f_frsize : 0;
}

gboolean overlay_place(struct job *job, const char *scratch, guint64 layer_allocated,
		       GError **error)
{
	/* A tenth of what is there to be copied will be written meanwhile, at least. */
	guint64 overlays = MIN(layer_allocated / 10, job->virtual_bytes) + margin_bytes;
	gboolean is_file = job->source->source.type == SOURCE_FILE;
	g_autofree char *beside = is_file ? g_path_get_dirname(job->source->source.path) : NULL;

	g_clear_pointer(&job->overlay_folder, g_free);
	job->overlay_beside = beside && overlay_free_bytes(beside) >= 2 * overlays;
	if (!job->overlay_beside && beside && overlay_free_bytes(beside) < overlays) {
		g_autofree char *need = units_format_size(overlays);
		g_autofree char *have = units_format_size(overlay_free_bytes(beside));

		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "too little room in %s to take the guest's writes back if the move "
			    "fails: %s needed, %s free. Free some, or shut the guest off",
			    beside, need, have);
		return FALSE;
	}
	job->overlay_folder = g_strdup(job->overlay_beside ? beside : scratch);
	if (overlay_free_bytes(scratch) < overlays) {
		g_autofree char *need = units_format_size(overlays);
		g_autofree char *have = units_format_size(overlay_free_bytes(scratch));

		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "too little room for overlays in %s: %s needed, %s free. Name "
			    "another folder with --scratch",
			    scratch, need, have);
		return FALSE;
	}
	return TRUE;
}

/* ---- names ------------------------------------------------------------------------------ */

/* "IMAGE.blockmig-JOB-" */
static char *name_begin(const struct job *job, const char *image)
{
	return g_strdup_printf("%s.blockmig-%" G_GUINT64_FORMAT "-", image, job->number);
}

static char *own_name_begin(const struct job *job, gboolean beside)
{
	g_autofree char *image = beside ? g_path_get_basename(job->source->source.path)
					: g_strdup_printf("%s-%s", job->domain_name, job->disk);

	return name_begin(job, image);
}

char *overlay_path(const struct job *job, guint number)
{
	g_autofree char *begin = own_name_begin(job, job->overlay_beside);
	g_autofree char *name = g_strdup_printf("%s%u.qcow2", begin, number);

	return g_build_filename(job->overlay_folder, name, NULL);
}

guint overlay_number(const struct job *job, const char *path)
{
	g_autofree char *begin = own_name_begin(job, job->overlay_beside);
	g_autofree char *folder = g_path_get_dirname(path);
	g_autofree char *name = g_path_get_basename(path);
	char *end = NULL;

	if (g_strcmp0(folder, job->overlay_folder) != 0 || !g_str_has_prefix(name, begin))
		return 0;
	guint64 number = g_ascii_strtoull(name + strlen(begin), &end, 10);

	if (number > G_MAXUINT16 || !g_str_has_prefix(end, ".qcow2"))
		return 0;
	for (end += strlen(".qcow2"); g_str_has_prefix(end, HOME_SUFFIX);)
		end += strlen(HOME_SUFFIX);
	return *end ? 0 : (guint)number;
}

char *overlay_landed_name(const struct job *job, guint number)
{
	g_autofree char *image = g_path_get_basename(job->destination->source.path);
	g_autofree char *begin = name_begin(job, image);

	return g_strdup_printf("%s%u.qcow2", begin, number);
}

char *overlay_destination_path(const struct job *job, const char *scratch)
{
	g_autofree char *begin = own_name_begin(job, FALSE);
	g_autofree char *name = g_strconcat(begin, "destination.qcow2", NULL);

	return g_build_filename(scratch, name, NULL);
}

/* ---- files ------------------------------------------------------------------------------ */

gboolean overlay_create(const struct move *move, const char *path, const struct layer *backing,
			const char *backing_name, GError **error)
{
	if (unlink(path) != 0 && errno != ENOENT) {
		error_set_errno(error, errno, "remove %s", path);
		return FALSE;
	}
	return image_tool_create_overlay(path, &backing->source, backing_name, backing->format,
					 move->job->virtual_bytes, move->job->qemu_uid,
					 move->job->qemu_gid, error);
}

guint64 overlay_allocated(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (guint64)st.st_blocks * 512 : 0;
}

gboolean overlay_reachable(const char *folder, int uid, int gid, char **blocker)
{
	g_autofree char *path = g_strdup(folder);

	for (;;) {
		struct stat st;

		if (stat(path, &st) != 0)
			break;
		mode_t bit = (int)st.st_uid == uid   ? S_IXUSR
			     : (int)st.st_gid == gid ? S_IXGRP
						     : S_IXOTH;
		if (uid != 0 && !(st.st_mode & bit))
			break;
		if (g_str_equal(path, "/"))
			return TRUE;

		char *parent = g_path_get_dirname(path);

		g_free(path);
		path = parent;
	}
	*blocker = g_steal_pointer(&path);
	return FALSE;
}

gboolean overlay_remove(const char *path, GError **error)
{
	if (unlink(path) == 0 || errno == ENOENT)
		return TRUE;
	error_set_errno(error, errno, "remove %s", path);
	return FALSE;
}

char *overlay_home_path(const char *path)
{
	return g_strconcat(path, HOME_SUFFIX, NULL);
}

gboolean overlay_forget(const struct overlay *overlay, GError **error)
{
	g_autofree char *grafted = g_strdup(overlay->path);

	while (g_str_has_suffix(grafted, HOME_SUFFIX)) {
		grafted[strlen(grafted) - strlen(HOME_SUFFIX)] = '\0';
		if (!overlay_remove(grafted, error))
			return FALSE;
	}
	return overlay_remove(overlay->path, error);
}
