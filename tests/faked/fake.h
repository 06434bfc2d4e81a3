/*
 * A world for tests of the move without libvirt and QEMU: what these files define stands
 * for blockmig/vm/session*.c, image_tool*.c, move/guardian.c and two transports.
 *
 * Everything lies in files of one private folder (domains as libvirt would print them,
 * images in a small format of our own, the log of operations), so that it survives a
 * process that is killed in the middle of a move, as libvirtd and the disks would.
 *
 *     fake_open();
 *     fake_domain("web", FAKE_UUID, disk_element);
 *     fake_start(FAKE_UUID);
 *     fake_fault(&(struct fake_fault){.call = "pivot", .code = BLOCKMIG_ERROR_TRANSIENT});
 *     ... the code under test ...
 *     fake_close();
 *
 * Operations in the log are "name" or "name detail", one a line, in order.  Only calls
 * that change something are there.
 */
#ifndef FAKED_FAKE_H
#define FAKED_FAKE_H

#include "blockmig/vm/domain.h"
#include "blockmig/vm/session.h"

#include <glib.h>

#define FAKE_UUID "11111111-2222-3333-4444-555555555555"

/* Makes the private folder; no domain, no fault. */
void fake_open(void);
/* Removes it. */
void fake_close(void);
/* A path in it; the caller frees. */
char *fake_path(const char *name);
/* The names of all files below @name in it, sorted, one a line; the caller frees. */
char *fake_listing(const char *name);

/* ---- faults and the log: fake.c ---------------------------------------------------- */

enum fake_when { FAKE_BEFORE, FAKE_AFTER };

/* Instead of an error code: the process is killed (SIGKILL), or no error at all. */
enum { FAKE_KILL = -1, FAKE_NO_ERROR = -2 };

/* Any call that changes something, and what fake_step is told of. */
#define FAKE_ANY_STEP "any step"

struct fake_fault {
	/* An operation's name; NULL: any call that changes something; FAKE_ANY_STEP. */
	const char *call;
	guint nth;	  /* at the how-manieth from now on; 0: the first */
	gboolean lasting; /* and at every one after it */
	enum fake_when when;
	int code;	      /* enum blockmig_error, FAKE_KILL, FAKE_NO_ERROR */
	void (*hook)(void *); /* called first; or NULL */
	void *data;
};

void fake_fault(const struct fake_fault *fault);
void fake_faults_clear(void);

/* For the fakes: an operation begins, and has had its effect.  FALSE: a fault's error. */
gboolean fake_begin(const char *call, const char *detail, GError **error);
gboolean fake_end(const char *call, GError **error);
/* The same for what changes something but is not in the log: "commit", "flush", ... */
gboolean fake_step(const char *name, enum fake_when when, GError **error);
/* For hooks: the operation that is going on. */
const char *fake_current(void);

/* The log; the caller frees. */
char *fake_log(void);
void fake_log_clear(void);
/* The number of the first line behind line @from that begins with @text; -1: none. */
int fake_log_find(const char *text, int from);

/* ---- domains: session.c ------------------------------------------------------------ */

/* Defines a domain that is off; @disks are <disk> elements. */
void fake_domain(const char *name, const char *uuid, const char *disks);
/* <disk> of an image file, target vda. */
char *fake_disk(const char *path, const char *format);

/* Each as an admin would do it, from elsewhere.  FALSE: QEMU refused (a lock). */
gboolean fake_start(const char *uuid);
void fake_off(const char *uuid);
void fake_pause(const char *uuid);
/* Its memory to a file: it is off, and wakes up as it was.  FALSE: off already, or a block job. */
gboolean fake_managed_save(const char *uuid);
void fake_unpause(const char *uuid);

/*
 * "persistent", "managed_save", "paused_by_error", "snapshots", "checkpoints", "run",
 * "limits_shared".
 */
void fake_domain_set(const char *uuid, const char *key, int value);
void fake_domain_set_xml(const char *uuid, gboolean inactive, const char *xml);
char *fake_domain_xml(const char *uuid, gboolean inactive);
enum domain_run fake_domain_run(const char *uuid);
/* The next mirror is wrong by one byte. */
void fake_corrupt_mirror(void);
/* The limits of its disk as they are now, and as an admin sets them. */
void fake_limits(const char *uuid, struct block_limits *limits);
void fake_set_limits(const char *uuid, const struct block_limits *limits);
/* The user that QEMU runs as; this process's unless told otherwise. */
void fake_qemu_owner(int uid, int gid);

/* What the guest does with disk vda. */
void fake_guest_write(const char *uuid, guint64 offset, guint64 bytes, guint8 value);
void fake_guest_read(const char *uuid, void *buffer, guint64 bytes);

/* ---- images: image.c --------------------------------------------------------------- */

enum { FAKE_CLUSTER = 64 << 10 };

enum fake_flag {
	FAKE_SNAPSHOTS = 1,
	FAKE_BITMAPS = 2,
	FAKE_ENCRYPTED = 4,
	FAKE_DATA_FILE = 8,
	FAKE_CORRUPT = 16,
};

/* An empty image; @backing may be NULL. */
void fake_image_create(const char *path, const char *format, guint64 bytes, const char *backing,
		       guint flags);
/* Whole clusters. */
void fake_image_write(const char *path, const char *format, guint64 offset, const void *data,
		      guint64 bytes);
/* What a guest would see of the layers, active one first. */
void fake_chain_read(GPtrArray *layers, void *buffer, guint64 bytes);
/* 1 where the layer holds the cluster itself. */
guint8 *fake_image_map(const char *path, const char *format, guint64 *clusters);
/* All that @overlay (qcow2) holds goes into @below. */
void fake_image_commit(const char *overlay, const struct layer *below);
/* Adds what @from holds to @to, both qcow2. */
void fake_image_mirror(const char *from, const char *to);

#endif
