/*
 * The datastores of an inventory: their names, and what they say of themselves.
 */
#include "blockmig/evacuate/load_private.h"

#include "blockmig/move/image_open.h"
#include "common/error.h"
#include "transports/transport.h"

#include <string.h>

/* ---- which there are ------------------------------------------------------------ */

static enum store_kind kind_of(const struct url *url)
{
	return url->scheme == URL_ISCSI ? STORE_ISCSI
	       : url->scheme == URL_NFS ? STORE_NFS
					: STORE_FOLDER;
}

static struct inventory_store *add_store(struct loader *loader, const char *name,
					 const struct datastore *datastore)
{
	struct inventory_store *store =
		inventory_add_store(loader->inventory, name, kind_of(datastore->url));

	store->url = url_format(datastore->url);
	store->path = g_strdup(datastore->path);
	store->pool = datastore->is_pool ? g_strdup(datastore->name) : NULL;
	g_ptr_array_add(loader->datastores, (gpointer)datastore);
	return store;
}

static const struct datastore *datastore_at(const struct loader *loader, guint position)
{
	return g_ptr_array_index(loader->datastores, position);
}

static struct inventory_store *store_at(const struct loader *loader, guint position)
{
	return g_ptr_array_index(loader->inventory->stores, position);
}

struct inventory_store *load_store(struct loader *loader, const char *name, GError **error)
{
	struct move_context *context = loader->context;
	g_autofree char *pool = session_pool_xml(context->session, name, NULL);
	const struct datastore *datastore = config_datastore(context->config, name, pool, error);

	if (!datastore)
		return NULL;
	if (!datastore->url->is_place) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "%s is one image, and no datastore: a URL of one ends in '/'", name);
		return NULL;
	}
	for (guint i = 0; i < loader->datastores->len; i++)
		if (datastore_overlaps(datastore_at(loader, i), datastore)) {
			g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
				    "%s and %s are one place, or one lies in the other",
				    store_at(loader, i)->name, name);
			return NULL;
		}
	return add_store(loader, name, datastore);
}

/* The store at the same place; a section may be a pool, too. */
static struct inventory_store *same_place(const struct loader *loader,
					  const struct datastore *datastore)
{
	g_autofree char *url = url_format(datastore->url);

	for (guint i = 0; i < loader->datastores->len; i++)
		if (g_str_equal(store_at(loader, i)->url, url))
			return store_at(loader, i);
	return NULL;
}

static void add_pool(struct loader *loader, const char *xml)
{
	g_autoptr(GError) failure = NULL;
	g_autofree char *name = pool_name(xml);
	const struct datastore *datastore =
		name ? config_datastore(loader->context->config, name, xml, &failure) : NULL;
	struct inventory_store *there = datastore ? same_place(loader, datastore) : NULL;

	/* A section of the same name hides it. */
	if (!datastore || !datastore->is_pool)
		return;
	if (there && !there->pool)
		there->pool = g_strdup(name);
	else if (!there)
		add_store(loader, name, datastore);
}

gboolean load_all_stores(struct loader *loader, GError **error)
{
	const struct config *config = loader->context->config;
	g_autoptr(GPtrArray) pools = session_pool_list(loader->context->session, error);

	if (!pools)
		return FALSE;
	for (guint i = 0; i < config->datastores->len; i++) {
		const struct datastore *datastore = g_ptr_array_index(config->datastores, i);

		if (datastore->name)
			add_store(loader, datastore->name, datastore);
	}
	for (guint i = 0; i < pools->len; i++)
		add_pool(loader, g_ptr_array_index(pools, i));
	return TRUE;
}

/* ---- what lies where ------------------------------------------------------------ */

struct inventory_store *store_of_source(const struct loader *loader, const struct source *source,
					int *lun)
{
	const struct datastore *datastore =
		datastore_of_source(loader->datastores, loader->context->config, source, lun);
	guint position;

	if (!datastore ||
	    !g_ptr_array_find(loader->datastores, (gconstpointer)datastore, &position))
		return NULL;
	return store_at(loader, position);
}

struct inventory_store *store_of_url(const struct loader *loader, const char *text, int *lun)
{
	AUTO(url) url = url_parse(text, NULL);
	AUTO(place) place = url ? place_of_url(loader->context->config, url, NULL) : NULL;

	*lun = -1;
	return place ? store_of_source(loader, &place->source, lun) : NULL;
}

/* ---- what they say of themselves ------------------------------------------------------------ */

static void load_luns(struct loader *loader, guint position)
{
	const struct datastore *datastore = datastore_at(loader, position);
	struct inventory_store *store = store_at(loader, position);
	g_autoptr(GError) failure = NULL;
	g_autoptr(GPtrArray) names = place_list(datastore->url, &datastore->transport, &failure);

	if (!names) {
		store->unreachable = g_strdup(failure->message);
		return;
	}
	store->size_bytes = store->free_bytes = 0;
	for (guint i = 0; i < names->len; i++) {
		const char *name = g_ptr_array_index(names, i);
		AUTO(url) url = url_child(datastore->url, name);
		g_autoptr(GError) closed = NULL;
		AUTO(handle)
		handle = url ? handle_open(url, &datastore->transport, HANDLE_READ, &closed) : NULL;
		struct inventory_lun *lun = inventory_add_lun(store, url ? url->lun : -1,
							      handle ? handle->size_bytes : 0);

		if (!handle)
			lun->user = g_strdup_printf("cannot be opened: %s",
						    closed ? closed->message : "no such LUN");
		store->size_bytes += lun->bytes;
	}
}

static void load_space(struct loader *loader, guint position)
{
	const struct datastore *datastore = datastore_at(loader, position);
	struct inventory_store *store = store_at(loader, position);
	g_autoptr(GError) failure = NULL;

	if (store->kind == STORE_ISCSI)
		load_luns(loader, position);
	else if (!place_space(datastore->url, &datastore->transport, &store->free_bytes,
			      &store->size_bytes, &failure))
		store->unreachable = g_strdup(failure->message);
}

static gboolean load_rate(const struct loader *loader, struct inventory_store *store,
			  GError **error)
{
	if (!loader->from || store == loader->from)
		return TRUE;
	return ledger_rate_get(loader->context->ledger, loader->from->url, store->url,
			       &store->bytes_per_second, error);
}

gboolean load_store_figures(struct loader *loader, GError **error)
{
	g_autoptr(GPtrArray) maintenance = ledger_maintenance_list(loader->context->ledger, error);

	if (!maintenance)
		return FALSE;
	for (guint i = 0; i < loader->datastores->len; i++) {
		struct inventory_store *store = store_at(loader, i);

		for (guint m = 0; m < maintenance->len; m++) {
			const struct ledger_maintenance *one = g_ptr_array_index(maintenance, m);

			store->maintenance |= g_str_equal(one->place, store->url);
		}
		if (!load_rate(loader, store, error))
			return FALSE;
		load_space(loader, i);
	}
	return TRUE;
}

/* ---- who has a LUN ------------------------------------------------------------ */

static void use_lun(const struct inventory_store *store, int number, char *user)
{
	for (guint i = 0; store && store->luns && i < store->luns->len; i++) {
		struct inventory_lun *lun = g_ptr_array_index(store->luns, i);

		if (lun->number == number && !lun->user)
			lun->user = g_steal_pointer(&user);
	}
	g_free(user);
}

static void look_into_lun(const struct datastore *datastore, struct inventory_lun *lun)
{
	g_autofree char *name = g_strdup_printf("%d", lun->number);
	AUTO(url) url = url_child(datastore->url, name);
	AUTO(handle) handle = handle_open(url, &datastore->transport, HANDLE_READ, NULL);

	if (!handle || image_looks_used(handle))
		lun->user = g_strdup("nobody names it, but it is not empty");
}

void load_lun_users(struct loader *loader)
{
	const struct inventory *inventory = loader->inventory;

	for (guint i = 0; i < inventory->disks->len; i++) {
		const struct inventory_disk *disk = g_ptr_array_index(inventory->disks, i);

		use_lun(disk->store, disk->lun,
			g_strdup_printf("domain %s, disk %s", disk->domain->name, disk->target));
		use_lun(disk->job_store, disk->job_lun,
			g_strdup_printf("job %" G_GINT64_FORMAT, disk->job));
	}
	for (guint i = 0; i < loader->datastores->len; i++) {
		struct inventory_store *store = store_at(loader, i);

		for (guint n = 0; store->luns && n < store->luns->len; n++) {
			struct inventory_lun *lun = g_ptr_array_index(store->luns, n);

			if (!lun->user)
				look_into_lun(datastore_at(loader, i), lun);
			store->free_bytes += lun->user ? 0 : lun->bytes;
		}
	}
}
