#include "blockmig/vm/datastore_private.h"

#include "blockmig/vm/xml_text.h"
#include "common/error.h"

#include <string.h>

/* ---- life ------------------------------------------------------------------------- */

struct datastore *datastore_new(const char *name)
{
	struct datastore *datastore = g_new0(struct datastore, 1);

	datastore->name = g_strdup(name);
	return datastore;
}

void datastore_free(struct datastore *datastore)
{
	struct transport_config *transport = &datastore->transport;

	g_free(datastore->name);
	g_free(datastore->path);
	if (datastore->url)
		url_free(datastore->url);
	g_free(datastore->secret);
	g_strfreev(transport->addresses);
	g_free(transport->initiator);
	g_free(transport->chap_user);
	g_free(transport->chap_password);
	g_free(transport->mutual_user);
	g_free(transport->mutual_password);
	g_free(datastore);
}

/* How @to is reached is how @from is. */
static void inherit(struct datastore *to, const struct datastore *from)
{
	const struct transport_config *transport = &from->transport;

	to->secret = g_strdup(from->secret);
	to->transport.stall_ms = transport->stall_ms;
	to->transport.addresses = g_strdupv(transport->addresses);
	to->transport.initiator = g_strdup(transport->initiator);
	to->transport.chap_user = g_strdup(transport->chap_user);
	to->transport.chap_password = g_strdup(transport->chap_password);
	to->transport.mutual_user = g_strdup(transport->mutual_user);
	to->transport.mutual_password = g_strdup(transport->mutual_password);
}

gboolean datastore_complete(struct datastore *datastore, GError **error)
{
	if (!datastore->url && !datastore->path) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "a datastore needs path= or url=");
		return FALSE;
	}
	if (datastore->url)
		return TRUE;
	datastore->url = host_nfs_url(HOST_MOUNTINFO, datastore->path);
	if (!datastore->url)
		datastore->url = host_iscsi_url(HOST_BY_PATH, datastore->path);
	if (!datastore->url)
		datastore->url = url_of_path(datastore->path);
	datastore->url->is_place = datastore->url->scheme != URL_ISCSI;
	return TRUE;
}

/* ---- what lies where ------------------------------------------------------------------ */

const char *path_below(const char *above, const char *path)
{
	gsize length = strlen(above);

	while (length > 0 && above[length - 1] == '/')
		length--;
	if (strncmp(above, path, length) != 0 || (path[length] != '/' && path[length] != '\0'))
		return NULL;
	while (path[length] == '/')
		length++;
	return path + length;
}

char *url_below(const struct url *above, const struct url *url)
{
	if (above->scheme != url->scheme || g_strcmp0(above->host, url->host) != 0 ||
	    above->port != url->port)
		return NULL;
	switch (url->scheme) {
	case URL_FILE:
	case URL_NFS:
		return g_strdup(path_below(above->path, url->path));
	case URL_ISCSI:
		if (g_strcmp0(above->target, url->target) != 0 ||
		    (above->lun >= 0 && above->lun != url->lun))
			return NULL;
		return above->lun == url->lun ? g_strdup("") : g_strdup_printf("%d", url->lun);
	case URL_NBD:
		break;
	}
	return NULL;
}

struct url *url_at(const struct url *above, const char *rest)
{
	struct url *url = url_copy(above);

	if (*rest == '\0')
		return url;
	url->is_place = FALSE;
	if (url->scheme == URL_ISCSI) {
		url->lun = (int)g_ascii_strtoll(rest, NULL, 10);
	} else {
		g_free(url->path);
		url->path = g_build_filename(above->path, rest, NULL);
	}
	return url;
}

struct url *url_of_path(const char *path)
{
	struct url *url = g_new0(struct url, 1);

	url->scheme = URL_FILE;
	url->path = g_canonicalize_filename(path, "/");
	url->lun = url->uid = url->gid = -1;
	return url;
}

const struct datastore *datastore_around_path(const struct config *config, const char *path)
{
	const struct datastore *best = NULL;

	for (guint i = 0; i < config->datastores->len; i++) {
		const struct datastore *datastore = g_ptr_array_index(config->datastores, i);

		if (datastore->path && path_below(datastore->path, path) &&
		    (!best || strlen(datastore->path) > strlen(best->path)))
			best = datastore;
	}
	return best;
}

const struct datastore *datastore_around_url(const struct config *config, const struct url *url)
{
	const struct datastore *best = NULL;
	gsize best_rest = G_MAXSIZE;

	for (guint i = 0; i < config->datastores->len; i++) {
		const struct datastore *datastore = g_ptr_array_index(config->datastores, i);
		g_autofree char *rest = url_below(datastore->url, url);

		if (rest && strlen(rest) < best_rest) {
			best = datastore;
			best_rest = strlen(rest);
		}
	}
	return best;
}

/* ---- pools -------------------------------------------------------------------------------- */

static char *pool_url(const char *type, const xmlNode *source)
{
	const xmlNode *host = xml_child(source, "host");
	g_autofree char *name = xml_attribute(host, "name");
	g_autofree char *port = xml_attribute(host, "port");
	gboolean brackets = name && strchr(name, ':');
	g_autofree char *authority =
		g_strdup_printf("%s%s%s%s%s", brackets ? "[" : "", name ? name : "",
				brackets ? "]" : "", port ? ":" : "", port ? port : "");

	if (strcmp(type, "netfs") == 0) {
		g_autofree char *folder = xml_attribute(xml_child(source, "dir"), "path");
		g_autofree char *escaped = g_uri_escape_string(folder ? folder : "", "/", TRUE);

		return g_strdup_printf("nfs://%s%s/", authority, escaped);
	} else {
		g_autofree char *target = xml_attribute(xml_child(source, "device"), "path");

		return g_strdup_printf("iscsi://%s/%s", authority, target ? target : "");
	}
}

static gboolean read_pool(const xmlNode *pool, struct datastore *datastore, GError **error)
{
	const xmlNode *source = xml_child(pool, "source");
	const xmlNode *target_path = xml_child(xml_child(pool, "target"), "path");
	g_autofree char *type = xml_attribute(pool, "type");
	gboolean is_folder = g_strcmp0(type, "dir") == 0 || g_strcmp0(type, "fs") == 0;
	gboolean is_netfs = g_strcmp0(type, "netfs") == 0;
	g_autofree char *url = NULL;

	datastore->is_pool = TRUE;
	datastore->is_iscsi_pool = g_strcmp0(type, "iscsi") == 0;
	if (!is_folder && !is_netfs && !datastore->is_iscsi_pool &&
	    g_strcmp0(type, "iscsi-direct") != 0) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "a pool of type '%s' is no datastore (dir, fs, netfs, iscsi-direct "
			    "and iscsi are); name a URL or a section of the configuration",
			    type ? type : "");
		return FALSE;
	}
	if ((is_folder || is_netfs) && target_path)
		datastore->path = xml_content(target_path);
	if (is_folder)
		return datastore_complete(datastore, error);
	if (xml_child(source, "auth")) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "it needs CHAP, and its password stays in libvirt; give it a section "
			    "of the configuration with url=, chap-file= and secret=");
		return FALSE;
	}
	url = pool_url(type, source);
	datastore->url = url_parse(url, error);
	datastore->transport.initiator =
		xml_attribute(xml_child(xml_child(source, "initiator"), "iqn"), "name");
	return datastore->url != NULL;
}

struct datastore *datastore_of_pool(const char *text, GError **error)
{
	AUTO(xml_text) xml = xml_text_parse(text, error);
	const xmlNode *pool = xml ? xml_text_root(xml) : NULL;
	g_autofree char *name = xml_content(xml_child(pool, "name"));
	AUTO(datastore) datastore = datastore_new(name);

	if (!pool)
		return NULL;
	if (!read_pool(pool, datastore, error)) {
		g_prefix_error(error, "pool '%s': ", name);
		return NULL;
	}
	return g_steal_pointer(&datastore);
}

char *pool_name(const char *text)
{
	AUTO(xml_text) xml = xml_text_parse(text, NULL);
	const xmlNode *name = xml ? xml_child(xml_text_root(xml), "name") : NULL;

	return name ? xml_content(name) : NULL;
}

/* ---- by what the user typed ---------------------------------------------------------- */

/* The path as QEMU sees it of what lies @rest below @above; NULL for network disks. */
static char *path_at(const struct datastore *above, const char *rest)
{
	if (!above->path)
		return NULL;
	return *rest ? g_build_filename(above->path, rest, NULL) : g_strdup(above->path);
}

/* A URL, or a path in libvirt's eyes too. */
static struct datastore *bare_datastore(const struct config *config, const char *text,
					GError **error)
{
	AUTO(datastore) datastore = datastore_new(NULL);
	AUTO(url) url = url_parse(text, error);
	const struct datastore *around;
	g_autofree char *rest = NULL;

	if (!url)
		return NULL;
	if (url->scheme == URL_FILE) {
		gboolean is_place = url->is_place || g_file_test(url->path, G_FILE_TEST_IS_DIR);

		datastore->path = g_strdup(url->path);
		around = datastore_around_path(config, url->path);
		datastore->url =
			around ? url_at(around->url, path_below(around->path, url->path)) : NULL;
		if (!datastore_complete(datastore, error))
			return NULL;
		datastore->url->is_place = is_place;
	} else {
		around = datastore_around_url(config, url);
		rest = around ? url_below(around->url, url) : NULL;
		datastore->path = around ? path_at(around, rest) : NULL;
		datastore->url = url_copy(url);
	}
	if (around)
		inherit(datastore, around);
	return g_steal_pointer(&datastore);
}

static const struct datastore *find_named(const struct config *config, const char *name)
{
	for (guint i = 0; i < config->datastores->len; i++) {
		const struct datastore *datastore = g_ptr_array_index(config->datastores, i);

		if (g_strcmp0(datastore->name, name) == 0)
			return datastore;
	}
	return NULL;
}

const struct datastore *config_datastore(struct config *config, const char *text,
					 const char *pool_xml, GError **error)
{
	const struct datastore *named = find_named(config, text);
	struct datastore *added = NULL;

	if (named)
		return named;
	if (pool_xml)
		added = datastore_of_pool(pool_xml, error);
	else if (text[0] == '/' || strstr(text, ":/"))
		added = bare_datastore(config, text, error);
	else
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "%s: no such datastore: it is no section of %s, no libvirt pool, and "
			    "no URL or absolute path",
			    text, config->path);
	if (added)
		g_ptr_array_add(config->datastores, added);
	return added;
}
