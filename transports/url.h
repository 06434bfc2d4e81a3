/*
 * Image URLs, and nothing but them: parsing and printing.
 *
 *     /path  or  file:///path                     a local file or block device
 *     nfs://host[:port]/export/path/image?mountport=N&uid=N&gid=N
 *     iscsi://host[:port]/iqn/lun
 *     nbd+unix:///[export]?socket=PATH&layer=top  (libnbd's notation; layer= is ours)
 *
 * A path that ends in '/' (for iSCSI, a target without a LUN) names a place for
 * images rather than an image.  Percent-escapes are decoded.  Only the arguments
 * named above are accepted; a user or password in a URL is refused without
 * repeating it (secrets come from the configuration only).
 *
 * layer=top asks for extents of the exported image's top layer alone: what it does
 * not hold itself is EXTENT_UNKNOWN.  Reads go through the whole chain all the same.
 */
#ifndef TRANSPORTS_URL_H
#define TRANSPORTS_URL_H

#include "common/auto.h"

#include <glib.h>

enum url_scheme { URL_FILE, URL_NFS, URL_ISCSI, URL_NBD };

enum { URL_NFS_PORT = 2049, URL_ISCSI_PORT = 3260 };

struct url {
	enum url_scheme scheme;
	gboolean is_place; /* ends in '/', or an iSCSI target without a LUN */
	char *host;	   /* nfs, iscsi; IPv6 without its brackets */
	int port;	   /* 0 where none was given: the scheme's default */
	char *path;   /* file, nfs: absolute, without trailing '/' but for "/"; nbd: the export */
	char *target; /* iscsi: the IQN */
	int lun;      /* iscsi: -1 for a place */
	char *socket; /* nbd: an absolute path */
	gboolean top_layer_only; /* nbd: layer=top */
	int mountport;		 /* nfs: 0 = ask the port mapper */
	int uid, gid;		 /* nfs: -1 = this process's */
};

struct url *url_parse(const char *text, GError **error);
struct url *url_copy(const struct url *url);
void url_free(struct url *url);
AUTO_DEFINE(url, url_free)

/* The canonical text: equal for equal places, defaults left out; the caller frees. */
char *url_format(const struct url *url);

/*
 * The image called @name in the place @url (for iSCSI: a decimal LUN).  NULL where
 * @name cannot be an image's name: empty, "." or "..", with a '/', not a LUN.
 */
struct url *url_child(const struct url *place, const char *name);
/* The place that holds the image @url; NULL for nbd, which has none. */
struct url *url_parent(const struct url *url);
/* The last part of the path, or the LUN's number ("" for a place); the caller frees. */
char *url_basename(const struct url *url);

#endif
