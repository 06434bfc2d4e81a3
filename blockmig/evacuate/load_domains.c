/*
 * The domains of an inventory: every disk, in the live and in the inactive XML, and what else
 * each names.
 */
#include "blockmig/evacuate/load_private.h"

#include "blockmig/vm/domain_load.h"
#include "common/error.h"

#include <string.h>

#define SAVE_FOLDER "/var/lib/libvirt/qemu/save"

enum { CHAIN_MAX = 64 };

/* One domain while it is read. */
struct reading {
	struct loader *loader;
	struct inventory_domain *domain;
	struct domain_state state;
	struct domain *live, *inactive; /* NULL: there is none */
};

/* ---- what is no disk ------------------------------------------------------------ */

static const char *way_out(enum residue_kind kind)
{
	switch (kind) {
	case RESIDUE_NVRAM:
		return "shut the guest off, copy the file, and name the copy in <nvram> (virsh "
		       "edit)";
	case RESIDUE_TPM:
		return "shut the guest off and copy the TPM's state with it";
	case RESIDUE_BOOT:
		return "copy the file and name the copy in <os> (virsh edit)";
	case RESIDUE_MEDIUM:
		return "virsh change-media --eject, or insert a copy that lies elsewhere";
	case RESIDUE_MANAGED_SAVE:
		return "start the guest, or virsh managedsave-remove";
	case RESIDUE_SNAPSHOT:
		return "virsh snapshot-delete, once it is not needed any more";
	case RESIDUE_OTHER:
		break;
	}
	return "copy it and name the copy in the domain's XML (virsh edit)";
}

static gboolean is_known(const struct reading *reading, const struct inventory_store *store,
			 enum residue_kind kind, const char *path)
{
	const GPtrArray *all = reading->loader->inventory->residue;

	for (guint i = all->len; i-- > 0;) {
		const struct inventory_residue *residue = g_ptr_array_index(all, i);

		/* A domain's are added together. */
		if (residue->domain != reading->domain)
			return FALSE;
		if (residue->store == store && residue->kind == kind &&
		    g_str_equal(residue->path, path))
			return TRUE;
	}
	return FALSE;
}

static void add_residue(struct reading *reading, enum residue_kind kind,
			const struct source *source)
{
	int lun;
	AUTO(source) own = source_copy(source);
	g_autofree char *pool =
		own->pool ? session_pool_xml(reading->loader->context->session, own->pool, NULL)
			  : NULL;

	if (pool && own->type == SOURCE_OTHER)
		volume_resolve(own, pool);

	const struct inventory_store *store = store_of_source(reading->loader, own, &lun);
	g_autofree char *path = source_text(own);

	if (!store || is_known(reading, store, kind, path))
		return;
	inventory_add_residue(reading->loader->inventory, reading->domain, store, kind, path)
		->way_out = g_strdup(way_out(kind));
}

static void add_file(struct reading *reading, enum residue_kind kind, const char *path)
{
	AUTO(source) source = source_new(SOURCE_FILE, path);

	if (*path == '/')
		add_residue(reading, kind, source);
}

static void add_files(struct reading *reading, const struct domain *domain)
{
	for (guint i = 0; domain && i < domain->residue->len; i++) {
		const struct domain_residue *residue = g_ptr_array_index(domain->residue, i);

		add_file(reading, residue->kind, residue->path);
	}
}

/* The saved guest wakes up on the disks that it was saved with. */
static void add_managed_save(struct reading *reading)
{
	g_autofree char *file = g_strdup_printf(SAVE_FOLDER "/%s.save", reading->domain->name);
	g_autofree char *xml = session_managed_save_xml(reading->loader->context->session,
							reading->domain->uuid, NULL);
	AUTO(domain) saved = xml ? domain_parse(xml, NULL) : NULL;

	add_file(reading, RESIDUE_MANAGED_SAVE, file);
	for (guint i = 0; saved && i < saved->disks->len; i++) {
		const struct disk *disk = g_ptr_array_index(saved->disks, i);

		add_residue(reading, RESIDUE_MANAGED_SAVE, &disk_layer(disk, 0)->source);
	}
}

static void add_snapshots(struct reading *reading)
{
	g_autoptr(GPtrArray) xmls = session_snapshot_xmls(reading->loader->context->session,
							  reading->domain->uuid, NULL);

	for (guint i = 0; xmls && i < xmls->len; i++) {
		g_autoptr(GPtrArray) sources =
			domain_snapshot_sources(g_ptr_array_index(xmls, i), NULL);

		for (guint n = 0; sources && n < sources->len; n++)
			add_residue(reading, RESIDUE_SNAPSHOT, g_ptr_array_index(sources, n));
	}
}

/* ---- disks ------------------------------------------------------------ */

static gboolean holds_medium(const struct disk *disk)
{
	return g_str_equal(disk->device, "cdrom") || g_str_equal(disk->device, "floppy");
}

/* The layer of the disk that counts: on the datastore that is emptied, else the top one. */
static const struct layer *layer_that_counts(const struct loader *loader, const struct disk *disk,
					     struct inventory_store **store, int *lun)
{
	const struct layer *top = NULL;

	*store = NULL;
	*lun = -1;
	for (guint i = 0; disk && i < disk->layers->len; i++) {
		int here;
		struct inventory_store *found =
			store_of_source(loader, &disk_layer(disk, i)->source, &here);

		if (found && (!top || found == loader->from)) {
			top = disk_layer(disk, i);
			*store = found;
			*lun = here;
		}
	}
	return top ? top : disk ? disk_layer(disk, 0) : NULL;
}

static const struct ledger_job *job_of(const struct loader *loader, const char *uuid,
				       const char *target)
{
	for (guint i = 0; i < loader->jobs->len; i++) {
		const struct ledger_job *job = g_ptr_array_index(loader->jobs, i);

		if (g_str_equal(job->domain_uuid, uuid) && g_str_equal(job->disk, target))
			return job;
	}
	return NULL;
}

/* Where the job comes from counts: under way, the guest has its disk on overlays. */
static void add_job(struct loader *loader, struct inventory_disk *disk,
		    const struct ledger_job *job)
{
	struct ledger_progress progress = {0};
	int lun;
	struct inventory_store *source = store_of_url(loader, job->source, &lun);

	disk->job = job->id;
	disk->job_store = store_of_url(loader, job->destination, &disk->job_lun);
	if (source) {
		disk->store = source;
		disk->lun = lun;
	}
	ledger_job_progress(loader->context->ledger, job->id, &progress, NULL);
	if (progress.units_total)
		disk->job_bytes =
			(guint64)((double)disk->allocated_bytes * (double)progress.units_done /
				  (double)progress.units_total);
}

/* Whether a layer lies on the datastore that only the header of the one above it names. */
static gboolean is_backed_from(const struct loader *loader, const struct disk *disk)
{
	AUTO(layer) layer = NULL;

	if (!loader->from || !disk->layers->len || disk->chain_complete)
		return FALSE;
	layer = layer_copy(disk_layer(disk, disk->layers->len - 1));
	for (guint depth = 0; depth < CHAIN_MAX; depth++) {
		int lun;
		AUTO(source) below = load_backing(loader, layer);

		if (!below)
			return FALSE;
		if (store_of_source(loader, below, &lun) == loader->from)
			return TRUE;
		g_clear_pointer(&layer, layer_free);
		/* Where it is none, load_backing() finds no header. */
		layer = layer_new(below, "qcow2");
	}
	return FALSE;
}

/* What of a disk counts, and where that lies. */
struct finding {
	const struct layer *layer;
	struct inventory_store *store; /* NULL: on none of ours */
	int lun;
	gboolean is_backed; /* only a layer below lies there, which the XML does not name */
};

static struct finding find_disk(const struct loader *loader, const struct disk *live,
				const struct disk *inactive)
{
	struct finding found = {0}, second = {0};

	found.layer = layer_that_counts(loader, live ? live : inactive, &found.store, &found.lun);
	if (live && inactive)
		second.layer = layer_that_counts(loader, inactive, &second.store, &second.lun);
	/* What a restart would bring back counts, too. */
	if (second.store && found.store != loader->from &&
	    (!found.store || second.store == loader->from))
		found = second;
	if (found.store != loader->from && is_backed_from(loader, live ? live : inactive)) {
		found.store = loader->from;
		found.lun = -1;
		found.is_backed = TRUE;
	}
	return found;
}

static void add_disk(struct reading *reading, const struct disk *live, const struct disk *inactive)
{
	struct loader *loader = reading->loader;
	const char *target = live ? live->target : inactive->target;
	const struct ledger_job *job = job_of(loader, reading->domain->uuid, target);
	const struct finding found = find_disk(loader, live, inactive);
	struct inventory_disk *added;

	if (!found.store && !job)
		return;
	added = inventory_add_disk(loader->inventory, reading->domain, target);
	added->source = source_text(&found.layer->source);
	added->store = found.store;
	added->lun = found.lun;
	if (found.store && found.store == loader->from && !job) {
		load_findings(loader, added);
		watch_disk(loader, added);
	} else {
		load_sizes(loader, found.layer, added);
	}
	if (found.is_backed && !added->obstacle)
		added->obstacle = g_strdup("a layer below its image lies on the datastore: virsh "
					   "blockpull makes one layer of both");
	if (job)
		add_job(loader, added, job);
}

static void add_mirror(struct reading *reading, const struct disk *disk)
{
	if (disk->mirror.present && !job_of(reading->loader, reading->domain->uuid, disk->target))
		add_residue(reading, RESIDUE_OTHER, &disk->mirror.to.source);
}

static void add_one(struct reading *reading, const struct disk *live, const struct disk *inactive)
{
	const struct disk *both[] = {live, inactive};

	if (!holds_medium(live ? live : inactive)) {
		add_disk(reading, live, inactive);
		if (live)
			add_mirror(reading, live);
		return;
	}
	for (guint i = 0; i < G_N_ELEMENTS(both); i++)
		if (both[i] && disk_layer(both[i], 0))
			add_residue(reading, RESIDUE_MEDIUM, &disk_layer(both[i], 0)->source);
}

static void add_disks(struct reading *reading)
{
	const struct domain *live = reading->live, *inactive = reading->inactive;

	for (guint i = 0; live && i < live->disks->len; i++) {
		const struct disk *disk = g_ptr_array_index(live->disks, i);

		add_one(reading, disk, inactive ? domain_disk(inactive, disk->target) : NULL);
	}
	for (guint i = 0; inactive && i < inactive->disks->len; i++) {
		const struct disk *disk = g_ptr_array_index(inactive->disks, i);

		if (!live || !domain_disk(live, disk->target))
			add_one(reading, NULL, disk);
	}
}

/* ---- domains ------------------------------------------------------------ */

static void set_rules(struct reading *reading)
{
	struct inventory_domain *domain = reading->domain;
	const struct domain_rule rule =
		config_domain_rule(reading->loader->context->config, domain->name);
	const struct domain *own = reading->inactive ? reading->inactive : reading->live;

	domain->priority = own->has_priority ? own->priority : rule.priority;
	domain->keep_together = rule.keep_together;
	domain->prefer = g_strdupv(rule.prefer);
	domain->avoid = g_strdupv(rule.avoid);
}

static gboolean read_domain(struct reading *reading, const char *uuid, GError **error)
{
	struct session *session = reading->loader->context->session;

	if (!session_state(session, uuid, &reading->state, error))
		return FALSE;
	if (reading->state.run != RUN_OFF) {
		reading->live = domain_load(session, uuid, FALSE, NULL, error);
		if (!reading->live)
			return FALSE;
	}
	if (reading->state.persistent) {
		reading->inactive = domain_load(session, uuid, TRUE, NULL, error);
		if (!reading->inactive)
			return FALSE;
	}
	return reading->live || reading->inactive;
}

static void add_domain(struct reading *reading, const char *uuid)
{
	const struct domain *own = reading->live ? reading->live : reading->inactive;

	reading->domain = inventory_add_domain(reading->loader->inventory, uuid, own->name);
	reading->domain->host = g_strdup(g_get_host_name());
	reading->domain->run = reading->state.run;
	set_rules(reading);
	add_disks(reading);
	add_files(reading, reading->live);
	add_files(reading, reading->inactive);
	if (reading->state.managed_save)
		add_managed_save(reading);
	if (reading->state.snapshots)
		add_snapshots(reading);
}

static gboolean load_domain(struct loader *loader, const char *uuid, GError **error)
{
	struct reading reading = {.loader = loader};
	g_autoptr(GError) failure = NULL;
	gboolean good = read_domain(&reading, uuid, &failure);

	if (good)
		add_domain(&reading, uuid);
	g_clear_pointer(&reading.live, domain_free);
	g_clear_pointer(&reading.inactive, domain_free);
	/* Undefined, or shut off, since it was listed: it names nothing any more. */
	if (good || !failure || error_is(failure, BLOCKMIG_ERROR_NOT_FOUND))
		return TRUE;
	g_propagate_error(error, g_steal_pointer(&failure));
	return FALSE;
}

static void count_disks(const struct inventory *inventory)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GPtrArray) keys = g_ptr_array_new_with_free_func(g_free);

	for (guint i = 0; i < inventory->disks->len; i++) {
		const struct inventory_disk *disk = g_ptr_array_index(inventory->disks, i);
		struct inventory_store *store =
			disk->store ? inventory_store(inventory, disk->store->name) : NULL;
		char *key;

		if (!store)
			continue;
		key = g_strdup_printf("%s %s", disk->domain->uuid, store->name);
		g_ptr_array_add(keys, key);
		store->disks++;
		store->domains += g_hash_table_add(seen, key);
		store->allocated_bytes += disk->allocated_bytes;
		if (disk->virtual_bytes != INVENTORY_UNKNOWN)
			store->promised_bytes += disk->virtual_bytes;
	}
}

gboolean load_domains(struct loader *loader, GError **error)
{
	g_autoptr(GPtrArray) uuids = session_list(loader->context->session, error);

	if (!uuids)
		return FALSE;
	for (guint i = 0; i < uuids->len; i++)
		if (!load_domain(loader, g_ptr_array_index(uuids, i), error))
			return FALSE;
	count_disks(loader->inventory);
	return TRUE;
}
