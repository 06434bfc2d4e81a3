/*
 * What the kernel of this host says about paths and devices: no network, no access to the
 * storage itself.
 */
#include "blockmig/vm/datastore_private.h"

#include <stdlib.h>
#include <string.h>

/* ---- mounts ---------------------------------------------------------------------- */

/* One line of mountinfo, as far as it matters (proc(5)). */
struct mount {
	char *root;  /* what of the file system is mounted here, a bind mount's folder */
	char *point; /* where */
	char *type, *device, *options;
};

static void mount_clear(struct mount *mount)
{
	g_free(mount->root);
	g_free(mount->point);
	g_free(mount->type);
	g_free(mount->device);
	g_free(mount->options);
	memset(mount, 0, sizeof(*mount));
}

/* 36 35 98:0 /root /point options [optional …] - type device options; octal escapes. */
static gboolean mount_parse(const char *line, struct mount *mount)
{
	g_auto(GStrv) words = g_strsplit(line, " ", -1);
	guint count = g_strv_length(words), dash = 6;

	while (dash < count && strcmp(words[dash], "-") != 0)
		dash++;
	if (dash + 3 >= count)
		return FALSE;
	mount->root = g_strcompress(words[3]);
	mount->point = g_strcompress(words[4]);
	mount->type = g_strcompress(words[dash + 1]);
	mount->device = g_strcompress(words[dash + 2]);
	mount->options = g_strcompress(words[dash + 3]);
	return TRUE;
}

/* The mount that @path is on: the longest point, and of equal ones the last. */
static gboolean mount_of_path(const char *mountinfo, const char *path, struct mount *best)
{
	g_autofree char *table = NULL;
	g_auto(GStrv) lines = NULL;

	if (!g_file_get_contents(mountinfo, &table, NULL, NULL))
		return FALSE;
	lines = g_strsplit(table, "\n", -1);
	for (guint i = 0; lines[i]; i++) {
		struct mount mount = {0};

		if (mount_parse(lines[i], &mount) && path_below(mount.point, path) &&
		    (!best->point || strlen(mount.point) >= strlen(best->point))) {
			mount_clear(best);
			*best = mount;
		} else {
			mount_clear(&mount);
		}
	}
	return best->point != NULL;
}

/* The port where it is not NFS's own; 0 otherwise. */
static int mount_port(const struct mount *mount)
{
	g_auto(GStrv) options = g_strsplit(mount->options, ",", -1);

	for (guint i = 0; options[i]; i++) {
		int port = g_str_has_prefix(options[i], "port=") ? atoi(options[i] + 5) : 0;

		if (port > 0 && port != URL_NFS_PORT)
			return port;
	}
	return 0;
}

/* What stands before the ":/" of "host:/export" or "[::1]:/export"; NULL: no host. */
static char *mount_host(const char *device, const char *colon)
{
	gsize length = (gsize)(colon - device);

	if (length > 2 && device[0] == '[' && colon[-1] == ']')
		return g_strndup(device + 1, length - 2);
	return length > 0 && device[0] != '[' ? g_strndup(device, length) : NULL;
}

static struct url *mount_url(const struct mount *mount, const char *path)
{
	const char *colon = strstr(mount->device, ":/");
	char *host = colon ? mount_host(mount->device, colon) : NULL;
	g_autofree char *root = NULL;
	struct url *url;

	if (!host)
		return NULL;
	root = g_build_filename(colon + 1, mount->root, path_below(mount->point, path), NULL);
	if (strlen(root) > 1 && g_str_has_suffix(root, "/"))
		root[strlen(root) - 1] = '\0';
	url = url_of_path(root);
	url->scheme = URL_NFS;
	url->host = host;
	url->port = mount_port(mount);
	return url;
}

static struct url *nfs_url_as_written(const char *mountinfo, const char *path)
{
	struct mount mount = {0};
	struct url *url = NULL;

	if (mount_of_path(mountinfo, path, &mount) &&
	    (strcmp(mount.type, "nfs") == 0 || strcmp(mount.type, "nfs4") == 0))
		url = mount_url(&mount, path);
	mount_clear(&mount);
	return url;
}

struct url *host_nfs_url(const char *mountinfo, const char *path)
{
	/* As written first: resolving a path on a dead server would hang in the kernel. */
	struct url *url = nfs_url_as_written(mountinfo, path);
	char *resolved = url ? NULL : realpath(path, NULL);

	if (resolved && strcmp(resolved, path) != 0)
		url = nfs_url_as_written(mountinfo, resolved);
	free(resolved);
	return url;
}

/* ---- iSCSI devices ---------------------------------------------------------------- */

/* "ip-HOST:PORT-iscsi-IQN-lun-N", HOST perhaps an IPv6 address in brackets. */
static struct url *url_of_link(const char *name)
{
	g_autoptr(GRegex) pattern = g_regex_new("^ip-(\\[[0-9a-fA-F:.]+\\]|[^:]+):([0-9]+)-iscsi-"
						"(.+)-lun-([0-9]+)$",
						0, 0, NULL);
	g_autoptr(GMatchInfo) match = NULL;
	g_autofree char *text = NULL;

	if (!g_regex_match(pattern, name, 0, &match))
		return NULL;
	text = g_match_info_expand_references(match, "iscsi://\\1:\\2/\\3/\\4", NULL);
	return url_parse(text, NULL);
}

struct url *host_iscsi_url(const char *by_path, const char *device)
{
	g_autoptr(GDir) links = g_dir_open(by_path, 0, NULL);
	char *wanted = realpath(device, NULL);
	struct url *url = NULL;
	const char *name;

	while (wanted && links && !url && (name = g_dir_read_name(links))) {
		g_autofree char *link = g_build_filename(by_path, name, NULL);
		char *resolved = realpath(link, NULL);

		if (resolved && strcmp(resolved, wanted) == 0)
			url = url_of_link(name);
		free(resolved);
	}
	free(wanted);
	return url;
}
