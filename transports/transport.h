/*
 * The transport table: how the bytes of an image are reached.
 *
 * One table of operations a scheme (file.c nfs.c iscsi.c nbd.c), used only through
 * the handle_...() wrappers below, which check bounds, loop over short transfers
 * and supply fall-backs.  Calls are synchronous; one call may keep many requests in
 * flight inside.  A handle belongs to one thread at a time; nothing is shared
 * between handles.
 *
 * Rules that every transport keeps, whatever its library does by default:
 *  - No reconnect and no time-out of the library's.  No progress for
 *    transport_config.stall_ms is an error.
 *  - After any TRANSIENT error the handle is spent: every further call fails, and
 *    all that was left to do with it is handle_close.  The caller opens a new one,
 *    compares its identity and size, and writes again everything that it wrote
 *    since its last successful flush.
 *  - handle_flush succeeds only where everything that was written *through this
 *    handle* since its last flush is on stable storage: a changed NFS write
 *    verifier or an iSCSI unit attention in between is a TRANSIENT error.
 *  - Errors name the URL, the operation, the offset and the peer's own words.
 */
#ifndef TRANSPORTS_TRANSPORT_H
#define TRANSPORTS_TRANSPORT_H

#include "common/auto.h"
#include "transports/extents.h"
#include "transports/url.h"

#include <glib.h>

/*
 * How a datastore is reached, beyond its URL.  Owned by the caller, outlives handles.
 * NULL in its place: the defaults.
 */
struct transport_config {
	guint stall_ms;	  /* 0: the default, 30 s */
	char **addresses; /* alternates "host[:port]", tried in turn; or NULL */
	char *initiator;  /* iSCSI initiator name; NULL: a fixed one of this host */
	char *chap_user;  /* one-way CHAP; NULL: none */
	char *chap_password;
	char *mutual_user; /* the target's, where it must prove itself; NULL: none */
	char *mutual_password;
};

enum handle_mode {
	HANDLE_READ,
	HANDLE_WRITE, /* reading and writing an image that exists */
};

/* A new image (file and nfs; a LUN cannot be created). */
struct image_create {
	guint64 size_bytes;
	int mode;     /* permission bits */
	int uid, gid; /* -1: as the server or kernel gives them */
};

/* A file handle of 128 bytes (MAX_HANDLE_SZ), and what is around it. */
#define IDENTITY_BYTES 320

struct image_info {
	guint64 size_bytes;
	guint64 allocated_bytes; /* G_MAXUINT64 where the peer does not say */
	guint64 changed_ns;	 /* ctime, by the file system's clock; 0 where there is none */
	guint32 block_bytes;	 /* unit of reads and writes without copying: 1, 512, 4096 */
	gboolean is_device;	 /* a block device or LUN: cannot be resized or removed */
	/*
	 * A hole that it reports reads as zeros: nobody reads it, and neither a copy nor a
	 * comparison would find a report that is late.  Whoever sets this has made the
	 * report current (file.c syncs when it opens), or takes it back (holes_refuted).
	 */
	gboolean extents_trusted;
	gboolean zero_deallocates; /* handle_zero makes the range thin */
	/*
	 * The image itself, whatever name it was opened by, after a reboot too:
	 * "file:HANDLE:INODE" (inode.h), "nfs:SERVER-INDEPENDENT-FSID:FILEID",
	 * "scsi:VPD-0x83 designator", for a block device that or what device.h says, which
	 * may be good for this boot only.  Empty where there is none.
	 */
	char identity[IDENTITY_BYTES];
};

struct handle;

struct transport {
	const char *name;
	/* Opens an existing image.  Sets *handle. */
	gboolean (*open)(const struct url *url, const struct transport_config *config,
			 enum handle_mode mode, struct handle **handle, GError **error);
	/* Frees the handle; never blocks longer than it takes to close a socket. */
	void (*close)(struct handle *handle);
	gboolean (*describe)(struct handle *handle, struct image_info *info, GError **error);
	/* NULL: cannot be resized. */
	gboolean (*resize)(struct handle *handle, guint64 size_bytes, GError **error);
	/*
	 * Bytes transferred, may be short but never 0; -1 on error.  Inside the image;
	 * buffer, count and offset are multiples of block_bytes.
	 */
	gssize (*pread)(struct handle *handle, void *buffer, gsize count, guint64 offset,
			GError **error);
	gssize (*pwrite)(struct handle *handle, const void *buffer, gsize count, guint64 offset,
			 GError **error);
	/* NULL, or FALSE with *unsupported = TRUE: the wrapper writes zeros. */
	gboolean (*zero)(struct handle *handle, guint64 count, guint64 offset,
			 gboolean *unsupported, GError **error);
	gboolean (*flush)(struct handle *handle, GError **error);
	/*
	 * NULL: one data extent.  Appends from @offset on; may cover less than @count, or
	 * more.  @offset is a multiple of block_bytes, the list is empty.
	 */
	gboolean (*extents)(struct handle *handle, guint64 count, guint64 offset,
			    struct extents *extents, GError **error);
	/* NULL: images of this kind cannot be created or removed. */
	gboolean (*create)(const struct url *url, const struct transport_config *config,
			   const struct image_create *create, GError **error);
	gboolean (*remove)(const struct url *url, const struct transport_config *config,
			   GError **error);
	/* Free and total bytes of the place; NULL: unknown. */
	gboolean (*space)(const struct url *place, const struct transport_config *config,
			  guint64 *free_bytes, guint64 *total_bytes, GError **error);
	/* Names in a place (files; LUNs as decimal numbers), a GPtrArray of char *. */
	GPtrArray *(*list)(const struct url *place, const struct transport_config *config,
			   GError **error);
};

/* The first member of every transport's own handle; freed, name included, by its close. */
struct handle {
	const struct transport *transport;
	enum handle_mode mode;
	guint64 size_bytes; /* set by open, kept by resize */
	guint32 block_bytes;
	gboolean spent; /* after a TRANSIENT error; kept by the wrappers */
	/*
	 * Set by the transport's extents where a report of holes turned out wrong: nothing
	 * that this image's handles reported before is worth anything either.
	 */
	gboolean holes_refuted;
	char *name; /* url_format() of what was opened, for errors */
};

extern const struct transport transport_file, transport_nfs, transport_iscsi, transport_nbd;

/* The stall limit that @config asks for; NULL: nothing. */
guint transport_stall_ms(const struct transport_config *config);

struct handle *handle_open(const struct url *url, const struct transport_config *config,
			   enum handle_mode mode, GError **error);
void handle_close(struct handle *handle);
AUTO_DEFINE(handle, handle_close)

gboolean handle_describe(struct handle *handle, struct image_info *info, GError **error);
/*
 * Whether @info, of what is called @name, is of the image that was known as @identity.
 * Where it is not, a PERMANENT error names both; without an identity nothing is known again.
 */
gboolean image_info_matches(const struct image_info *info, const char *identity, const char *name,
			    GError **error);
gboolean handle_resize(struct handle *handle, guint64 size_bytes, GError **error);

/*
 * All of @count bytes or an error; 0 bytes inside the known size is an error.  What is
 * no multiple of block_bytes goes through a buffer; a write then reads the rest of its
 * first and last block before, so no two handles may write into one block at a time.
 */
gboolean handle_read(struct handle *handle, void *buffer, gsize count, guint64 offset,
		     GError **error);
gboolean handle_write(struct handle *handle, const void *buffer, gsize count, guint64 offset,
		      GError **error);
/* The range reads as zeros afterwards; thin where the transport can. */
gboolean handle_zero(struct handle *handle, guint64 count, guint64 offset, GError **error);
/*
 * The same, but that no more than a block at either end is written: *zeroed is FALSE where
 * the transport has no operation of its own for the rest, and the zeros remain to be written.
 */
gboolean handle_try_zero(struct handle *handle, guint64 count, guint64 offset, gboolean *zeroed,
			 GError **error);
gboolean handle_flush(struct handle *handle, GError **error);
/* What one request for extents should cover: few requests, and none that takes long. */
#define TRANSPORT_EXTENTS_BYTES (16 * GiB)
/* The whole range, in order; one data extent where nothing is known. */
struct extents *handle_extents(struct handle *handle, guint64 count, guint64 offset,
			       GError **error);

/*
 * Creates a sparse image that must not exist yet (EXISTS), all zeros, with its size
 * and owner set, and makes its name durable.  Over NFS a CREATE that was answered
 * twice is not mistaken for a file of somebody else's.
 */
gboolean image_create(const struct url *url, const struct transport_config *config,
		      const struct image_create *create, GError **error);
/* NOT_FOUND where it does not exist. */
gboolean image_remove(const struct url *url, const struct transport_config *config, GError **error);
gboolean place_space(const struct url *place, const struct transport_config *config,
		     guint64 *free_bytes, guint64 *total_bytes, GError **error);
GPtrArray *place_list(const struct url *place, const struct transport_config *config,
		      GError **error);

/* Buffers for handles are aligned to this: O_DIRECT and every LUN's block. */
enum { TRANSPORT_ALIGN = 4096 };
void *transport_buffer_new(gsize bytes); /* g_free does not fit: transport_buffer_free */
void transport_buffer_free(void *buffer);
/* Whether all @count bytes are zero. */
gboolean buffer_is_zero(const void *data, gsize count);

#endif
