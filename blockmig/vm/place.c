#include "blockmig/vm/datastore_private.h"

#include "blockmig/vm/source.h"
#include "common/error.h"
#include "transports/inode.h"

#include <string.h>
#include <sys/stat.h>

struct place *place_new(void)
{
	struct place *place = g_new0(struct place, 1);

	place->source.uid = place->source.gid = -1;
	return place;
}

void place_free(struct place *place)
{
	if (place->url)
		url_free(place->url);
	source_clear(&place->source);
	g_free(place);
}

/* Borrowed from the datastore, which outlives its places. */
static void belong_to(struct place *place, const struct datastore *datastore)
{
	place->datastore = datastore;
	place->transport = datastore ? (struct transport_config *)&datastore->transport : NULL;
}

/* ---- from the guest's address to ours ---------------------------------------------- */

/* Ours for a URL that was found out: in its datastore's own spelling where it has one. */
static void place_at_url(struct config *config, struct place *place, struct url *url)
{
	const struct datastore *datastore = datastore_around_url(config, url);
	g_autofree char *rest = datastore ? url_below(datastore->url, url) : NULL;

	belong_to(place, datastore);
	if (!datastore) {
		place->url = url;
		return;
	}
	place->url = url_at(datastore->url, rest);
	if (url->uid >= 0)
		place->url->uid = url->uid;
	if (url->gid >= 0)
		place->url->gid = url->gid;
	url_free(url);
}

/* By the datastore that has the path.  One LUN has one path; a target's have none. */
static gboolean place_by_path(struct config *config, struct place *place)
{
	const struct datastore *datastore = datastore_around_path(config, place->source.path);
	const char *rest = datastore ? path_below(datastore->path, place->source.path) : NULL;

	if (!datastore || (datastore->url->scheme == URL_ISCSI && *rest))
		return FALSE;
	belong_to(place, datastore);
	place->url = url_at(datastore->url, rest);
	return TRUE;
}

static void place_of_file(struct config *config, struct place *place)
{
	struct url *mounted;

	if (place_by_path(config, place))
		return;
	mounted = host_nfs_url(HOST_MOUNTINFO, place->source.path);
	place_at_url(config, place, mounted ? mounted : url_of_path(place->source.path));
}

static void place_of_device(struct config *config, struct place *place)
{
	struct url *target;

	if (place_by_path(config, place))
		return;
	target = host_iscsi_url(HOST_BY_PATH, place->source.path);
	place_at_url(config, place, target ? target : url_of_path(place->source.path));
}

static void place_of_nfs(struct config *config, struct place *place)
{
	const struct source *source = &place->source;
	struct url *url = url_of_path(source->path);

	url->scheme = URL_NFS;
	url->host = g_strdup(source->host);
	url->uid = source->uid;
	url->gid = source->gid;
	place_at_url(config, place, url);
}

static gboolean place_of_lun(struct config *config, struct place *place, GError **error)
{
	const struct source *source = &place->source;
	g_autofree char *target = NULL;
	struct url *url;
	int lun;

	if (!source_iscsi_split(source, &target, &lun)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "iSCSI disk '%s': its name is not IQN/LUN", source->path);
		return FALSE;
	}
	url = url_of_path("/");
	g_clear_pointer(&url->path, g_free);
	url->scheme = URL_ISCSI;
	url->host = g_strdup(source->host);
	url->port = source->port;
	url->target = g_steal_pointer(&target);
	url->lun = lun;
	place_at_url(config, place, url);
	return TRUE;
}

struct place *place_of_source(struct config *config, const struct source *source, GError **error)
{
	AUTO(place) place = place_new();
	g_autofree char *name = source_text(source);

	source_assign(&place->source, source);
	switch (source->type) {
	case SOURCE_FILE:
		place_of_file(config, place);
		break;
	case SOURCE_BLOCK:
		place_of_device(config, place);
		break;
	case SOURCE_NFS:
		place_of_nfs(config, place);
		break;
	case SOURCE_ISCSI:
		if (!place_of_lun(config, place, error))
			return NULL;
		break;
	case SOURCE_NONE:
	case SOURCE_OTHER:
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s: blockmig reaches files, devices, NFS and iSCSI only", name);
		return NULL;
	}
	return g_steal_pointer(&place);
}

/* ---- from our address to the guest's ------------------------------------------------- */

static enum source_type local_type(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISBLK(st.st_mode) ? SOURCE_BLOCK : SOURCE_FILE;
}

static void network_source(const struct url *url, struct source *source)
{
	source->type = SOURCE_NFS;
	source->path = g_strdup(url->path);
	source->host = g_strdup(url->host);
	source->uid = url->uid;
	source->gid = url->gid;
}

static void lun_source(const struct url *url, const struct datastore *datastore,
		       struct source *source)
{
	source->type = SOURCE_ISCSI;
	source->path = g_strdup_printf("%s/%d", url->target, url->lun);
	source->host = g_strdup(url->host);
	source->port = url->port == URL_ISCSI_PORT ? 0 : url->port;
	if (!datastore)
		return;
	source->initiator = g_strdup(datastore->transport.initiator);
	if (datastore->secret) {
		source->auth_user = g_strdup(datastore->transport.chap_user);
		source->auth_secret_usage = g_strdup(datastore->secret);
	}
}

/* The guest's address of place->url, which lies @rest below the datastore's URL. */
static void source_of_url(struct place *place, const char *rest)
{
	const struct datastore *datastore = place->datastore;
	struct source *source = &place->source;
	const struct url *url = place->url;

	if (datastore && datastore->path && (url->scheme != URL_ISCSI || !*rest)) {
		source->path = *rest ? g_build_filename(datastore->path, rest, NULL)
				     : g_strdup(datastore->path);
		source->type = url->scheme == URL_ISCSI ? SOURCE_BLOCK : local_type(source->path);
	} else if (url->scheme == URL_ISCSI) {
		lun_source(url, datastore, source);
	} else if (url->scheme == URL_NBD) {
		source->type = SOURCE_OTHER;
		source->other = g_strdup("an NBD export");
	} else if (url->scheme == URL_FILE) {
		source->path = g_strdup(url->path);
		source->type = local_type(source->path);
	} else {
		network_source(url, source);
	}
}

struct place *place_of_url(struct config *config, const struct url *url, GError **error)
{
	AUTO(place) place = place_new();
	g_autofree char *rest = NULL;

	if (url->scheme == URL_FILE) {
		AUTO(source) source = source_new(local_type(url->path), url->path);

		return place_of_source(config, source, error);
	}
	place_at_url(config, place, url_copy(url));
	rest = place->datastore ? url_below(place->datastore->url, place->url) : NULL;
	source_of_url(place, rest);
	return g_steal_pointer(&place);
}

/* ---- in a datastore -------------------------------------------------------------------- */

static gboolean refuse(const struct place *place, const char *reason, GError **error)
{
	g_autofree char *name = url_format(place->url);

	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE, "%s: %s", name, reason);
	return FALSE;
}

/* Whether QEMU could open it. */
static gboolean fits_guest(const struct place *place, GError **error)
{
	const struct url *url = place->url;
	gboolean has_port = (url->port && url->port != URL_NFS_PORT) || url->mountport;

	if (place->source.type == SOURCE_OTHER)
		return refuse(place, "a guest's disk cannot be moved to an NBD export", error);
	if (place->source.type == SOURCE_NFS && has_port)
		return refuse(
			place,
			"QEMU's NFS driver knows no ports, so a guest could not open it; mount "
			"it and give the datastore a path=",
			error);
	if (place->source.type == SOURCE_ISCSI && place->transport->chap_user &&
	    !place->datastore->secret)
		return refuse(
			place,
			"the target wants CHAP, so the guest needs a libvirt secret; give the "
			"datastore a secret=",
			error);
	return TRUE;
}

struct place *place_in_datastore(struct config *config, const struct datastore *datastore,
				 const char *name, gboolean for_guest, GError **error)
{
	AUTO(place) place = place_new();
	g_autofree char *rest = NULL;

	(void)config;
	belong_to(place, datastore);
	place->url = datastore->url->is_place ? url_child(datastore->url, name)
					      : url_copy(datastore->url);
	if (!place->url) {
		g_autofree char *folder = url_format(datastore->url);

		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "'%s' is no name for an image in %s", name, folder);
		return NULL;
	}
	rest = url_below(datastore->url, place->url);
	source_of_url(place, rest);
	if (for_guest && !fits_guest(place, error))
		return NULL;
	return g_steal_pointer(&place);
}

gboolean place_is_in(const struct place *place, const char *folder)
{
	AUTO(url) above = url_parse(folder, NULL);
	g_autofree char *rest = above ? url_below(above, place->url) : NULL;

	return rest != NULL;
}

/* ---- the same image ----------------------------------------------------------------------- */

enum sameness { SAME, APART, UNKNOWN };

/*
 * What stat() says of two files or devices of this host.  Two numbers are two file systems
 * where each has one of its own: a block device's, or that of a subvolume or data set of
 * btrfs, ZFS and bcachefs.  What has none (NFS, CIFS, Ceph, FUSE) may be mounted twice, and
 * overlayfs shows a file that lies elsewhere too.
 */
static enum sameness compare_files(const struct source *a, const struct source *b)
{
	gboolean local = (a->type == SOURCE_FILE || a->type == SOURCE_BLOCK) &&
			 (b->type == SOURCE_FILE || b->type == SOURCE_BLOCK);
	struct stat x, y;

	if (!local || stat(a->path, &x) < 0 || stat(b->path, &y) < 0)
		return UNKNOWN;
	if (S_ISBLK(x.st_mode) && S_ISBLK(y.st_mode))
		return x.st_rdev == y.st_rdev ? SAME : UNKNOWN;
	if (x.st_dev == y.st_dev)
		return x.st_ino == y.st_ino ? SAME : APART;
	return inode_has_own_device(a->path, &x) && inode_has_own_device(b->path, &y) ? APART
										      : UNKNOWN;
}

/* "" where there is no such image, or it has no identity. */
static gboolean read_identity(const struct place *place, char *identity, GError **error)
{
	g_autoptr(GError) cause = NULL;
	struct image_info info = {0};
	AUTO(handle) handle = handle_open(place->url, place->transport, HANDLE_READ, &cause);

	if (handle)
		handle_describe(handle, &info, &cause);
	g_strlcpy(identity, info.identity, IDENTITY_BYTES);
	if (!cause || error_is(cause, BLOCKMIG_ERROR_NOT_FOUND))
		return TRUE;
	g_propagate_error(error, g_steal_pointer(&cause));
	return FALSE;
}

gboolean place_same_image(const struct place *a, const struct place *b, gboolean *same,
			  GError **error)
{
	g_autofree char *first = url_format(a->url);
	g_autofree char *second = url_format(b->url);
	const enum sameness sameness =
		strcmp(first, second) == 0 ? SAME : compare_files(&a->source, &b->source);
	char one[IDENTITY_BYTES] = "", two[IDENTITY_BYTES] = "";

	*same = sameness == SAME;
	if (sameness != UNKNOWN)
		return TRUE;
	if (!read_identity(a, one, error) || !read_identity(b, two, error))
		return FALSE;
	*same = one[0] != '\0' && strcmp(one, two) == 0;
	return TRUE;
}
