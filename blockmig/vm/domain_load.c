#include "blockmig/vm/domain_load.h"

#include "blockmig/vm/datastore_private.h"
#include "blockmig/vm/source.h"
#include "blockmig/vm/xml_text.h"

#include <string.h>

/* libvirt's name of a LUN as a volume. */
#define LUN_PREFIX "unit:0:0:"

/* ---- from a volume's name to its address --------------------------------------------- */

static gboolean resolve_file(struct source *source, const xmlNode *pool)
{
	const xmlNode *path = xml_child(xml_child(pool, "target"), "path");
	g_autofree char *folder = path ? xml_content(path) : NULL;

	/* A volume of a folder is a file right in it. */
	if (!folder || *folder != '/' || strchr(source->volume, '/'))
		return FALSE;
	source->type = SOURCE_FILE;
	source->path = g_build_filename(folder, source->volume, NULL);
	return TRUE;
}

static gboolean lun_of_volume(const char *volume, int *lun)
{
	guint64 number;

	if (!g_str_has_prefix(volume, LUN_PREFIX) ||
	    !g_ascii_string_to_unsigned(volume + strlen(LUN_PREFIX), 10, 0, 16383, &number, NULL))
		return FALSE;
	*lun = (int)number;
	return TRUE;
}

static gboolean resolve_lun(struct source *source, const xmlNode *pool, gboolean direct)
{
	const xmlNode *from = xml_child(pool, "source");
	const xmlNode *host = xml_child(from, "host");
	const xmlNode *auth = xml_child(from, "auth");
	const xmlNode *secret = xml_child(auth, "secret");
	g_autofree char *name = xml_attribute(host, "name");
	g_autofree char *target = xml_attribute(xml_child(from, "device"), "path");
	int port = (int)xml_attribute_number(host, "port"), lun;

	if (!name || !target || !lun_of_volume(source->volume, &lun))
		return FALSE;
	if (!direct) {
		source->type = SOURCE_BLOCK;
		source->path = g_strdup_printf("/dev/disk/by-path/ip-%s:%d-iscsi-%s-lun-%d", name,
					       port ? port : URL_ISCSI_PORT, target, lun);
		return TRUE;
	}
	source->type = SOURCE_ISCSI;
	source->path = g_strdup_printf("%s/%d", target, lun);
	source->host = g_steal_pointer(&name);
	source->port = port == URL_ISCSI_PORT ? 0 : port;
	source->initiator = xml_attribute(xml_child(xml_child(from, "initiator"), "iqn"), "name");
	source->auth_user = xml_attribute(auth, "username");
	source->auth_secret_usage = xml_attribute(secret, "usage");
	source->auth_secret_uuid = xml_attribute(secret, "uuid");
	return TRUE;
}

gboolean volume_resolve(struct source *source, const char *pool_xml)
{
	AUTO(xml_text) xml = xml_text_parse(pool_xml, NULL);
	const xmlNode *pool = xml ? xml_text_root(xml) : NULL;
	g_autofree char *type = xml_attribute(pool, "type");
	gboolean found = FALSE;

	if (!type)
		return FALSE;
	if (strcmp(type, "dir") == 0 || strcmp(type, "fs") == 0 || strcmp(type, "netfs") == 0)
		found = resolve_file(source, pool);
	else if (strcmp(type, "iscsi-direct") == 0)
		found = resolve_lun(source, pool, TRUE);
	else if (strcmp(type, "iscsi") == 0)
		found = resolve_lun(source, pool, g_strcmp0(source->volume_mode, "direct") == 0);
	if (found)
		g_clear_pointer(&source->other, g_free);
	return found;
}

static void resolve(struct session *session, struct source *source)
{
	g_autofree char *pool = source->type == SOURCE_OTHER && source->pool
					? session_pool_xml(session, source->pool, NULL)
					: NULL;

	if (pool)
		volume_resolve(source, pool);
}

void domain_resolve(struct session *session, struct domain *domain)
{
	for (guint d = 0; d < domain->disks->len; d++) {
		const struct disk *disk = g_ptr_array_index(domain->disks, d);

		for (guint l = 0; l < disk->layers->len; l++)
			resolve(session, &disk_layer(disk, l)->source);
	}
}

struct domain *domain_load(struct session *session, const char *uuid, gboolean inactive, char **xml,
			   GError **error)
{
	g_autofree char *text = session_xml(session, uuid, inactive, error);
	struct domain *domain = text ? domain_parse(text, error) : NULL;

	if (!domain)
		return NULL;
	domain_resolve(session, domain);
	if (xml)
		*xml = g_steal_pointer(&text);
	return domain;
}

/* ---- and back ------------------------------------------------------------ */

/* The volume's name in @pool where @place lies in it. */
static char *name_in_pool(const struct datastore *pool, const struct place *place)
{
	const struct source *source = &place->source;
	const char *rest = pool->path && source->type == SOURCE_FILE
				   ? path_below(pool->path, source->path)
				   : NULL;
	g_autofree char *lun = NULL;

	if (rest && *rest && !strchr(rest, '/'))
		return g_strdup(rest);
	if (pool->url->scheme != URL_ISCSI || source->type != SOURCE_ISCSI)
		return NULL;
	lun = url_below(pool->url, place->url);
	return lun && *lun ? g_strconcat(LUN_PREFIX, lun, NULL) : NULL;
}

gboolean volume_of_place(struct session *session, const struct place *place, char **pool,
			 char **volume, char **mode)
{
	g_autoptr(GPtrArray) xmls = session_pool_list(session, NULL);

	for (guint i = 0; xmls && i < xmls->len; i++) {
		const char *xml = g_ptr_array_index(xmls, i);
		AUTO(datastore) datastore = datastore_of_pool(xml, NULL);
		char *name = datastore ? name_in_pool(datastore, place) : NULL;

		if (!name)
			continue;
		*pool = g_strdup(datastore->name);
		*volume = name;
		/* Without it libvirt would take the kernel's device. */
		*mode = datastore->is_iscsi_pool ? g_strdup("direct") : NULL;
		return TRUE;
	}
	return FALSE;
}

void volume_refresh(struct session *session, const struct place *place)
{
	g_autofree char *pool = NULL, *volume = NULL, *mode = NULL;

	if (place && volume_of_place(session, place, &pool, &volume, &mode))
		session_pool_refresh(session, pool, NULL);
}
