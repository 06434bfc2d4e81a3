/*
 * The inventory: what there is to evacuate and where it could go, as plain structs.
 *
 *     inventory_load()    from libvirt, the configuration, the ledger and the datastores
 *     plan_for()          (plan.h) what to do about it; a pure function
 *     inventory_free()
 *
 * Everything in it is a copy as of one moment; nobody is asked again.  All strings are the
 * inventory's own; the pointers between its structs stay valid as long as it does.  The
 * order of its arrays means nothing.
 */
#ifndef EVACUATE_INVENTORY_H
#define EVACUATE_INVENTORY_H

#include "blockmig/vm/domain.h"
#include "blockmig/vm/session.h"
#include "common/auto.h"

#include <glib.h>

/* Of sizes, rooms and rates that nobody told. */
#define INVENTORY_UNKNOWN G_MAXUINT64

enum store_kind {
	STORE_FOLDER, /* a local directory */
	STORE_NFS,
	STORE_ISCSI, /* a target: one image a LUN */
};

/* One LUN of a target. */
struct inventory_lun {
	int number;
	guint64 bytes;
	char *user; /* who has it, in words ("domain web, disk vda", "not empty"); NULL: free */
};

/* A datastore. */
struct inventory_store {
	char *name; /* as --to takes it: a section, a pool, or the URL; unique */
	enum store_kind kind;
	char *url;			/* the place, as blockmig reaches it: url_format() */
	char *path;			/* as QEMU sees it; NULL: network disks */
	char *pool;			/* the libvirt pool that is this place; NULL: none */
	guint64 size_bytes, free_bytes; /* INVENTORY_UNKNOWN: it does not say, or not reached */
	char *unreachable;		/* why it cannot be used at all; NULL: it answers */
	GPtrArray *luns;		/* of struct inventory_lun *; NULL but for a target */
	gboolean maintenance; /* being emptied, or to be left alone: never a destination */
	/* What one move to or from it has reached lately; 0: not measured. */
	guint64 bytes_per_second;
	/* Of the domains' disks on it: how many, what they take now, and what they may grow to. */
	guint domains, disks;
	guint64 allocated_bytes, promised_bytes;
};

struct inventory_domain {
	char *uuid, *name;
	char *host; /* where it runs, or is defined */
	enum domain_run run;
	int priority;		/* higher ones first; 0 unless the metadata or configuration say */
	gboolean keep_together; /* its disks go to one datastore, or stay */
	char **prefer, **avoid; /* names of datastores, NULL-terminated; NULL: none */
};

struct inventory_disk {
	const struct inventory_domain *domain;
	char *target;			     /* "vda" */
	char *source;			     /* for people: a path or URL */
	const struct inventory_store *store; /* NULL: on none of the inventory's */
	int lun;			     /* on a target; else -1 */
	guint64 virtual_bytes;		     /* INVENTORY_UNKNOWN only with an obstacle */
	guint64 allocated_bytes;	     /* what it takes; virtual_bytes where nobody says */
	guint64 written_per_second;	     /* what the guest writes, bytes; 0: idle or off */
	char *format;			     /* "raw", "qcow2"; NULL with an obstacle */
	char *obstacle;	    /* why it cannot be moved, and the way out; NULL: it can be */
	char *lun_obstacle; /* why it cannot be moved to a LUN; NULL: it can be */
	/* An open job of the ledger that moves it already; 0: none. */
	gint64 job;
	const struct inventory_store *job_store; /* its destination; NULL: none of ours */
	int job_lun;				 /* -1: a file */
	guint64 job_bytes;			 /* of it, what is there already */
};

/* What a domain names on a datastore and no move of a disk takes away. */
struct inventory_residue {
	const struct inventory_domain *domain;
	const struct inventory_store *store;
	enum residue_kind kind;
	char *path;
	char *way_out;
};

struct inventory {
	GPtrArray *stores;  /* of struct inventory_store * */
	GPtrArray *domains; /* of struct inventory_domain * */
	GPtrArray *disks;   /* of struct inventory_disk * */
	GPtrArray *residue; /* of struct inventory_residue * */
};

/* Empty. */
struct inventory *inventory_new(void);
void inventory_free(struct inventory *inventory);
AUTO_DEFINE(inventory, inventory_free)

/* Added with nothing in them (LUNs -1, sizes 0); borrowed. */
struct inventory_store *inventory_add_store(struct inventory *inventory, const char *name,
					    enum store_kind kind);
struct inventory_lun *inventory_add_lun(struct inventory_store *store, int number, guint64 bytes);
struct inventory_domain *inventory_add_domain(struct inventory *inventory, const char *uuid,
					      const char *name);
struct inventory_disk *inventory_add_disk(struct inventory *inventory,
					  const struct inventory_domain *domain,
					  const char *target);
struct inventory_residue *inventory_add_residue(struct inventory *inventory,
						const struct inventory_domain *domain,
						const struct inventory_store *store,
						enum residue_kind kind, const char *path);

/* By name; NULL where there is none. */
struct inventory_store *inventory_store(const struct inventory *inventory, const char *name);

/* "folder", "nfs", "iscsi"; "nvram", "tpm", "boot", "medium", "managed-save" … */
const char *store_kind_name(enum store_kind kind);
const char *residue_kind_name(enum residue_kind kind);

#endif
