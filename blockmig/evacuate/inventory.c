#include "blockmig/evacuate/inventory.h"

/* ---- life ------------------------------------------------------------ */

static void lun_free(gpointer data)
{
	struct inventory_lun *lun = data;

	g_free(lun->user);
	g_free(lun);
}

static void store_free(gpointer data)
{
	struct inventory_store *store = data;

	g_free(store->name);
	g_free(store->url);
	g_free(store->path);
	g_free(store->pool);
	g_free(store->unreachable);
	if (store->luns)
		g_ptr_array_unref(store->luns);
	g_free(store);
}

static void one_domain_free(gpointer data)
{
	struct inventory_domain *domain = data;

	g_free(domain->uuid);
	g_free(domain->name);
	g_free(domain->host);
	g_strfreev(domain->prefer);
	g_strfreev(domain->avoid);
	g_free(domain);
}

static void disk_free(gpointer data)
{
	struct inventory_disk *disk = data;

	g_free(disk->target);
	g_free(disk->source);
	g_free(disk->format);
	g_free(disk->obstacle);
	g_free(disk->lun_obstacle);
	g_free(disk);
}

static void residue_free(gpointer data)
{
	struct inventory_residue *residue = data;

	g_free(residue->path);
	g_free(residue->way_out);
	g_free(residue);
}

struct inventory *inventory_new(void)
{
	struct inventory *inventory = g_new0(struct inventory, 1);

	inventory->stores = g_ptr_array_new_with_free_func(store_free);
	inventory->domains = g_ptr_array_new_with_free_func(one_domain_free);
	inventory->disks = g_ptr_array_new_with_free_func(disk_free);
	inventory->residue = g_ptr_array_new_with_free_func(residue_free);
	return inventory;
}

void inventory_free(struct inventory *inventory)
{
	g_ptr_array_unref(inventory->residue);
	g_ptr_array_unref(inventory->disks);
	g_ptr_array_unref(inventory->domains);
	g_ptr_array_unref(inventory->stores);
	g_free(inventory);
}

/* ---- filling it ------------------------------------------------------------ */

struct inventory_store *inventory_add_store(struct inventory *inventory, const char *name,
					    enum store_kind kind)
{
	struct inventory_store *store = g_new0(struct inventory_store, 1);

	store->name = g_strdup(name);
	store->kind = kind;
	store->size_bytes = store->free_bytes = INVENTORY_UNKNOWN;
	if (kind == STORE_ISCSI)
		store->luns = g_ptr_array_new_with_free_func(lun_free);
	g_ptr_array_add(inventory->stores, store);
	return store;
}

struct inventory_lun *inventory_add_lun(struct inventory_store *store, int number, guint64 bytes)
{
	struct inventory_lun *lun = g_new0(struct inventory_lun, 1);

	lun->number = number;
	lun->bytes = bytes;
	g_ptr_array_add(store->luns, lun);
	return lun;
}

struct inventory_domain *inventory_add_domain(struct inventory *inventory, const char *uuid,
					      const char *name)
{
	struct inventory_domain *domain = g_new0(struct inventory_domain, 1);

	domain->uuid = g_strdup(uuid);
	domain->name = g_strdup(name);
	g_ptr_array_add(inventory->domains, domain);
	return domain;
}

struct inventory_disk *inventory_add_disk(struct inventory *inventory,
					  const struct inventory_domain *domain, const char *target)
{
	struct inventory_disk *disk = g_new0(struct inventory_disk, 1);

	disk->domain = domain;
	disk->target = g_strdup(target);
	disk->lun = disk->job_lun = -1;
	g_ptr_array_add(inventory->disks, disk);
	return disk;
}

struct inventory_residue *inventory_add_residue(struct inventory *inventory,
						const struct inventory_domain *domain,
						const struct inventory_store *store,
						enum residue_kind kind, const char *path)
{
	struct inventory_residue *residue = g_new0(struct inventory_residue, 1);

	residue->domain = domain;
	residue->store = store;
	residue->kind = kind;
	residue->path = g_strdup(path);
	g_ptr_array_add(inventory->residue, residue);
	return residue;
}

struct inventory_store *inventory_store(const struct inventory *inventory, const char *name)
{
	for (guint i = 0; i < inventory->stores->len; i++) {
		struct inventory_store *store = g_ptr_array_index(inventory->stores, i);

		if (g_str_equal(store->name, name))
			return store;
	}
	return NULL;
}

/* ---- names ------------------------------------------------------------ */

const char *store_kind_name(enum store_kind kind)
{
	static const char *const names[] = {
		[STORE_FOLDER] = "folder",
		[STORE_NFS] = "nfs",
		[STORE_ISCSI] = "iscsi",
	};

	return names[kind];
}

const char *residue_kind_name(enum residue_kind kind)
{
	static const char *const names[] = {
		[RESIDUE_NVRAM] = "nvram",
		[RESIDUE_TPM] = "tpm",
		[RESIDUE_BOOT] = "boot",
		[RESIDUE_MEDIUM] = "medium",
		[RESIDUE_MANAGED_SAVE] = "managed-save",
		[RESIDUE_SNAPSHOT] = "snapshot",
		[RESIDUE_OTHER] = "other",
	};

	return names[kind];
}
