/* What load*.c share. */
#ifndef EVACUATE_LOAD_PRIVATE_H
#define EVACUATE_LOAD_PRIVATE_H

#include "blockmig/evacuate/load.h"
#include "blockmig/vm/domain.h"

struct loader {
	struct move_context *context;
	struct inventory *inventory;
	/* const struct datastore *, and those of them that answered at the same positions of
	 * inventory->stores. */
	GPtrArray *datastores;
	struct inventory_store *from; /* NULL: all are listed */
	GPtrArray *jobs;	      /* the ledger's open ones, of struct ledger_job * */
	GPtrArray *watched;	      /* of struct watched *, see load_writes.c */
};

/* ---- load_stores.c */

/* The datastore that is called @name, or NULL with USAGE. */
struct inventory_store *load_store(struct loader *loader, const char *name, GError **error);
gboolean load_all_stores(struct loader *loader, GError **error);
/* Space, LUNs, maintenance and rates; what does not answer says why. */
gboolean load_store_figures(struct loader *loader, GError **error);
/* Which of the stores has an image, and its LUN; NULL. */
struct inventory_store *store_of_source(const struct loader *loader, const struct source *source,
					int *lun);
/* The same for a URL of the ledger. */
struct inventory_store *store_of_url(const struct loader *loader, const char *url, int *lun);
/* LUNs that nobody names: whether they are empty.  After the domains. */
void load_lun_users(struct loader *loader);

/* ---- load_domains.c */

gboolean load_domains(struct loader *loader, GError **error);

/* ---- load_disk.c */

/* Sizes of an image that is only listed; what cannot be read is 0. */
void load_sizes(const struct loader *loader, const struct layer *layer,
		struct inventory_disk *disk);
/*
 * The layer below that a qcow2 file's own header names, which the XML of a domain that is off
 * does not tell; NULL where there is none, or the image is not of this host or a datastore of
 * the inventory.  The caller frees.
 */
struct source *load_backing(const struct loader *loader, const struct layer *layer);
/* What a move would find out before it began. */
void load_findings(const struct loader *loader, struct inventory_disk *disk);

/* ---- load_writes.c: what running guests write a second */

void watch_disk(struct loader *loader, struct inventory_disk *disk);
void watch_end(struct loader *loader);

#endif
