/*
 * Where an image lies, by whatever name a domain calls it.
 */
#include "blockmig/vm/datastore_private.h"

#include <gio/gio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- servers ------------------------------------------------------------ */

static GList *addresses_of(const char *host)
{
	return g_resolver_lookup_by_name(g_resolver_get_default(), host, NULL, NULL);
}

/* Two names, or a name and an address, of one server. */
static gboolean same_server(const char *a, const char *b)
{
	gboolean same = FALSE;
	GList *first, *second;

	if (g_ascii_strcasecmp(a, b) == 0)
		return TRUE;
	first = addresses_of(a);
	second = first ? addresses_of(b) : NULL;
	for (const GList *x = first; x && !same; x = x->next)
		for (const GList *y = second; y && !same; y = y->next)
			same = g_inet_address_equal(x->data, y->data);
	g_resolver_free_addresses(first);
	g_resolver_free_addresses(second);
	return same;
}

/* url_below(), whatever each of them calls the server; names are looked up only where the rest
 * fits. */
static char *below(const struct url *above, const struct url *url)
{
	AUTO(url) other = url_copy(url);
	g_autofree char *rest = NULL;

	if (above->host && other->host) {
		g_free(other->host);
		other->host = g_strdup(above->host);
	}
	rest = url_below(above, other);
	if (!rest || (above->host && !same_server(above->host, url->host)))
		return NULL;
	return g_steal_pointer(&rest);
}

/* ---- folders ------------------------------------------------------------ */

/* The local folder of a datastore; NULL where there is none, or a dead server may be behind. */
static const char *local_folder(const struct datastore *datastore)
{
	const char *folder = datastore->path			  ? datastore->path
			     : datastore->url->scheme == URL_FILE ? datastore->url->path
								  : NULL;
	AUTO(url) mounted = folder ? host_nfs_url(HOST_MOUNTINFO, folder) : NULL;

	return mounted ? NULL : folder;
}

/* Whether @path is the folder or lies below it by another name: a symbolic link or a bind mount. */
static gboolean lies_in_folder(const struct datastore *datastore, const char *path)
{
	const char *folder = local_folder(datastore);
	char *resolved = folder ? realpath(path, NULL) : NULL;
	g_autofree char *at = g_strdup(resolved ? resolved : path);
	struct stat wanted, here;
	gboolean found;

	free(resolved);
	if (!folder || stat(folder, &wanted) < 0 || !S_ISDIR(wanted.st_mode))
		return FALSE;
	for (;;) {
		char *parent = g_path_get_dirname(at);

		found = stat(at, &here) == 0 && here.st_dev == wanted.st_dev &&
			here.st_ino == wanted.st_ino;
		if (found || strlen(at) <= 1) {
			g_free(parent);
			return found;
		}
		g_free(at);
		at = parent;
	}
}

/* ---- all of it ------------------------------------------------------------ */

const struct datastore *datastore_of_source(GPtrArray *datastores, struct config *config,
					    const struct source *source, int *lun)
{
	AUTO(place) place = place_of_source(config, source, NULL);
	const struct datastore *best = NULL;
	gsize best_rest = G_MAXSIZE;

	*lun = -1;
	if (!place)
		return NULL;
	for (guint i = 0; i < datastores->len; i++) {
		const struct datastore *datastore = g_ptr_array_index(datastores, i);
		g_autofree char *rest = below(datastore->url, place->url);

		if (rest && strlen(rest) < best_rest) {
			best = datastore;
			best_rest = strlen(rest);
		}
	}
	for (guint i = 0; !best && i < datastores->len; i++)
		if (place->url->scheme == URL_FILE && source->path[0] == '/' &&
		    lies_in_folder(g_ptr_array_index(datastores, i), source->path))
			best = g_ptr_array_index(datastores, i);
	if (best && best->url->scheme == URL_ISCSI)
		*lun = place->url->lun;
	return best;
}

gboolean datastore_overlaps(const struct datastore *a, const struct datastore *b)
{
	g_autofree char *down = below(a->url, b->url);
	g_autofree char *up = below(b->url, a->url);
	const char *a_folder = local_folder(a), *b_folder = local_folder(b);

	return down || up ||
	       (a_folder && b_folder &&
		(lies_in_folder(a, b_folder) || lies_in_folder(b, a_folder)));
}
