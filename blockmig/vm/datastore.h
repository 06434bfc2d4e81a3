/*
 * Datastores and the configuration file: the two addresses of one place.
 *
 * The guest opens a path, a device or a network disk (struct source); blockmig
 * writes through a URL.  This file turns one into the other:
 *
 *  - [datastore NAME] sections: path= as QEMU sees it, url= as we reach it; with only
 *    one of them the other follows from it (path: file://; url: a network disk);
 *  - NFS mounts in /proc/self/mountinfo, and iSCSI devices in sysfs, are datastores
 *    by themselves;
 *  - a bare URL or folder is one without a name.
 */
#ifndef VM_DATASTORE_H
#define VM_DATASTORE_H

#include "blockmig/vm/domain.h"
#include "transports/transport.h"

#include <glib.h>

struct datastore {
	char *name;	 /* section or pool name; NULL for a bare URL */
	char *path;	 /* as QEMU sees it; NULL: network disks */
	struct url *url; /* a place, or one image or LUN where the user named one */
	struct transport_config transport;
	/* Libvirt's secret (usage) for the guest's iSCSI disks, and for us; NULL: none. */
	char *secret;
	gboolean is_pool;	/* of libvirt, called @name */
	gboolean is_iscsi_pool; /* and of type iscsi: the kernel's initiator has its LUNs too */
};

/* The name in a pool's XML; NULL: it is none. */
char *pool_name(const char *xml);

/* [domain PATTERN]: what evacuate does with the disks of the domains of such names. */
struct domain_rule {
	char *pattern; /* '*' and '?' as a shell has them */
	gboolean has_priority, has_together;
	int priority;
	gboolean keep_together;
	char **prefer, **avoid; /* names of datastores; NULL: not said */
};

/* The configuration file, read once. */
struct config {
	char *path;
	char *scratch;	       /* /var/lib/libvirt/blockmig unless given */
	guint64 bwlimit;       /* 0: none */
	GPtrArray *datastores; /* of struct datastore * */
	GPtrArray *domains;    /* of struct domain_rule *, in the file's order */
	GHashTable *defaults;  /* other keys of [blockmig] by name: char * to char * */
};

/* @path NULL: BLOCKMIG_CONFIG, else /etc/blockmig/blockmig.conf, which may be missing. */
struct config *config_load(const char *path, GError **error);
void config_free(struct config *config);
AUTO_DEFINE(config, config_free)

/*
 * Where a chap-file has no password=, libvirt's secret is it: whether there is such a
 * datastore, and asking for them all.
 */
struct session;
gboolean config_lacks_passwords(const struct config *config);
gboolean config_ask_passwords(struct config *config, struct session *session, GError **error);

/*
 * The datastore that --to names: a section, a URL, a path; owned by @config.  @pool_xml
 * may be NULL; it is the XML of a libvirt pool of that name (dir, fs, netfs, iscsi-direct,
 * iscsi: its LUNs are reached, and given to guests, as network disks).
 * A URL or path inside a configured datastore has that one's secrets and path.
 */
const struct datastore *config_datastore(struct config *config, const char *text,
					 const char *pool_xml, GError **error);

/*
 * What the sections that fit a domain called @name say together, a later one before an
 * earlier one; the strings are @config's.
 */
struct domain_rule config_domain_rule(const struct config *config, const char *name);

/* An image at both its addresses. */
struct place {
	const struct datastore *datastore; /* NULL: none of the configured ones */
	struct url *url;
	struct source source;
	struct transport_config *transport; /* borrowed; NULL: defaults */
};
struct place *place_new(void);
void place_free(struct place *place);
AUTO_DEFINE(place, place_free)

/*
 * Where blockmig reaches the image that a guest has: by the datastore with the longest
 * path in front of it, the mount table, the device's own target, or the path itself.
 */
struct place *place_of_source(struct config *config, const struct source *source, GError **error);
/* For an image URL or path that a user typed. */
struct place *place_of_url(struct config *config, const struct url *url, GError **error);

/*
 * The image @name in @datastore (a folder), or the LUN @name of a target; where the
 * datastore is one image or LUN itself, that one, whatever @name says.
 * A URL that QEMU could not open (a port, a mountport) where the datastore has no path is a
 * USAGE error when @for_guest.
 */
struct place *place_in_datastore(struct config *config, const struct datastore *datastore,
				 const char *name, gboolean for_guest, GError **error);

/* Whether the image lies in the place whose URL is @folder, at any depth. */
gboolean place_is_in(const struct place *place, const char *folder);

/*
 * The same image by whatever names: equal canonical URLs, one file (device and inode), or
 * equal identities, which are read by opening both.  Files on two disks, or in two subvolumes
 * or data sets, that this host has mounted are never one.
 */
gboolean place_same_image(const struct place *a, const struct place *b, gboolean *same,
			  GError **error);

/*
 * Which of @datastores (const struct datastore *) has the image that a domain names, by
 * whatever name: a path or URL below it, a mount, another spelling of its server, a symbolic
 * link or bind mount to its folder, a device of its target.  *lun is the LUN's number, else
 * -1.  NULL where none has it.
 */
const struct datastore *datastore_of_source(GPtrArray *datastores, struct config *config,
					    const struct source *source, int *lun);
/* Whether one of both lies in the other, or they are the same place. */
gboolean datastore_overlaps(const struct datastore *a, const struct datastore *b);

#endif
