/*
 * A domain's disks and their backing chains as plain structs, read from libvirt's
 * XML, and the XML that libvirt is given back.
 *
 * Reading never guesses: what this file does not know becomes SOURCE_OTHER and is
 * refused by the preflight.  Editing changes only the element that it is about: the
 * rest of the document stays byte for byte as libvirt printed it.
 */
#ifndef VM_DOMAIN_H
#define VM_DOMAIN_H

#include "common/auto.h"

#include <glib.h>

enum source_type {
	SOURCE_NONE,  /* an empty drive, or the end of a chain */
	SOURCE_FILE,  /* <source file=…> */
	SOURCE_BLOCK, /* <source dev=…> */
	SOURCE_NFS,   /* <source protocol='nfs' name='/export/path/image'> */
	SOURCE_ISCSI, /* <source protocol='iscsi' name='iqn/lun'> */
	SOURCE_OTHER, /* anything else: pool volumes, vhost-user, rbd, nvme … */
};

/* Where QEMU finds an image: the guest's address of it. */
struct source {
	enum source_type type;
	char *path;	 /* file, block: the path; nfs: /export/path/image; iscsi: iqn/lun */
	char *host;	 /* nfs, iscsi */
	int port;	 /* iscsi; 0 = default */
	char *initiator; /* iscsi: <initiator><iqn name=…> */
	char *auth_user; /* iscsi: <auth username=…><secret type='iscsi' usage=…|uuid=…> */
	char *auth_secret_usage;
	char *auth_secret_uuid;
	int uid, gid;	     /* nfs: <identity user='+N' group='+N'>; -1 = not given */
	guint64 slice_bytes; /* <slices><slice type='storage' offset='0' size=…>; 0 = none */
	guint64 slice_offset;
	char *other; /* other: what it is, for messages */
	/*
	 * <source pool=… volume=… mode=…>: how the XML names it.  domain_load() finds out the
	 * address, and makes it one of the types above.
	 */
	char *pool, *volume, *volume_mode;
};

/* One image of a chain. */
struct layer {
	struct source source;
	char *format; /* "raw", "qcow2", …; NULL where libvirt does not say */
	guint index;  /* libvirt's id of the node in a live XML; 0 = none */
};

/* <mirror> of a running blockCopy or active commit. */
struct mirror {
	gboolean present;
	char *job;   /* "copy", "active-commit" */
	char *ready; /* "", "yes", "pivot", "abort" */
	struct layer to;
};

struct disk {
	char *target; /* "vda" */
	char *device; /* "disk", "cdrom", "floppy", "lun" */
	char *bus;
	char *serial;
	gboolean readonly, shareable, transient, vhost_user;
	gboolean has_throttle; /* <iotune> */
	/* layers[0] is the active one; chain_complete: libvirt printed the terminator. */
	GPtrArray *layers; /* of struct layer * */
	gboolean chain_complete;
	struct mirror mirror;
};

/* Files that a domain names and that are not its disks. */
enum residue_kind {
	RESIDUE_NVRAM,
	RESIDUE_TPM,
	RESIDUE_BOOT,	/* kernel, initrd, dtb, loader */
	RESIDUE_MEDIUM, /* in a CD-ROM or floppy drive */
	RESIDUE_MANAGED_SAVE,
	RESIDUE_SNAPSHOT, /* named by a libvirt snapshot: overlays, memory */
	RESIDUE_OTHER,	  /* serial logs, shared folders … */
};

struct domain_residue {
	enum residue_kind kind; /* NVRAM, TPM, BOOT or OTHER */
	char *path;
};

struct domain {
	char *name;
	char *uuid;
	GPtrArray *disks;   /* of struct disk *, in the XML's order */
	GPtrArray *residue; /* of struct domain_residue *: NVRAM, TPM state, kernel … */
	char *metadata;	    /* our own element's text, or NULL */
	/* What <blockmig:evacuate priority=…> in the metadata says; has_priority: it is there. */
	gboolean has_priority;
	int priority;
	char *dac_label;   /* "+64055:+64055" of <seclabel model='dac'>, or NULL */
	gboolean apparmor; /* a <seclabel model='apparmor'> that confines */
};

struct domain *domain_parse(const char *xml, GError **error);
void domain_free(struct domain *domain);
AUTO_DEFINE(domain, domain_free)

/* The images that a <domainsnapshot> names, a GPtrArray of struct source *; NULL: no XML. */
GPtrArray *domain_snapshot_sources(const char *xml, GError **error);

/* By target name; NULL where there is none. */
struct disk *domain_disk(const struct domain *domain, const char *target);
struct layer *disk_layer(const struct disk *disk, guint position);

/* Of @type at @path (may be NULL), all else not given. */
struct source *source_new(enum source_type type, const char *path);
struct source *source_copy(const struct source *source);
void source_free(struct source *source);
AUTO_DEFINE(source, source_free)
struct layer *layer_new(const struct source *source, const char *format);
struct layer *layer_copy(const struct layer *layer);
void layer_free(struct layer *layer);
AUTO_DEFINE(layer, layer_free)

/* The same address, letter for letter (index and slice do not count). */
gboolean source_equal(const struct source *a, const struct source *b);
/* Whether the XML names it as a pool's volume, and can: a slice has no place there. */
gboolean source_is_volume(const struct source *source);
/* For messages: the path, or nfs://host/path, iscsi://host/iqn/lun; the caller frees. */
char *source_text(const struct source *source);
/* A JSON object (jansson's text) and back, for the job's document. */
char *source_to_json(const struct source *source);
struct source *source_from_json(const char *json, GError **error);

/*
 * What QEMU's own tools open for this image: a json:{…} file name for qemu-img,
 * qemu-nbd and backing file names (a plain absolute path for files and devices without
 * a slice).  Secrets are not in it: an iSCSI source with auth is a PERMANENT error.
 */
char *source_qemu_name(const struct source *source, GError **error);

/* ---- XML for libvirt ---------------------------------------------------------- */

/*
 * <domainsnapshot> that puts @target onto the overlay @overlay_path (qcow2, created
 * by us, REUSE_EXT) and leaves every other disk of @domain alone.
 */
char *xml_snapshot(const struct domain *domain, const char *target, const char *overlay_path);

/*
 * <disk> for virDomainBlockCopy: the destination's layers, active one first, closed by
 * <backingStore/>.
 */
char *xml_blockcopy(GPtrArray *layers);

/*
 * @xml with disk @target's <source>, <driver type=…> and <backingStore> replaced by
 * @layers (active first).  With one layer and @terminate FALSE no <backingStore> is written
 * at all, as in an inactive XML that an admin wrote.  Everything else is kept byte for byte.
 */
char *xml_with_disk(const char *xml, const char *target, GPtrArray *layers, gboolean terminate,
		    GError **error);

/*
 * The text of @target's whole <disk> element in @xml, and @xml with that element replaced
 * by @element: an undo puts back exactly what was there.
 */
char *xml_disk_element(const char *xml, const char *target, GError **error);
char *xml_replace_disk_element(const char *xml, const char *target, const char *element,
			       GError **error);

#define XML_METADATA_URI "https://blockmig.example/job/1"
/* Of the element that admins write, for evacuate. */
#define XML_EVACUATE_URI "https://blockmig.example/evacuate/1"
/* @xml without our metadata element, and without <metadata> where that leaves it empty. */
char *xml_without_metadata(const char *xml, GError **error);
/*
 * Our element: job id, disk, nonce, source and destination, and in @detail (JSON) what a
 * resume without the ledger has to know: where the job stands, and what was changed of the
 * guest and has to be as it was again.  Written without namespace:
 * virDomainSetMetadata adds "blockmig:" and the URI itself, and refuses an element that
 * has them; virDomainGetMetadata takes them off again.
 */
char *xml_metadata(gint64 job, const char *disk, const char *nonce, const char *source,
		   const char *destination, const char *detail);

/* The same, read again. */
struct metadata {
	gint64 job;
	char *disk, *nonce, *source, *destination, *detail; /* "" where it has none */
};
struct metadata *metadata_parse(const char *element, GError **error);
void metadata_free(struct metadata *metadata);
AUTO_DEFINE(metadata, metadata_free)

#endif
