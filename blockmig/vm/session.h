/*
 * The session: every call that blockmig makes to libvirt.
 *
 * session.c (and its private neighbours session_*.c) are the only files that include libvirt's
 * headers.  Every call runs on a worker thread with a connection of its own and a
 * deadline; when the deadline passes, the call returns UNKNOWN: it may still happen, and
 * the caller looks at the world again.  The worker is abandoned with its connection; the
 * next call gets a new one.  A connection that broke (libvirtd restarted) is made anew
 * for the next call; the call that saw it returns UNKNOWN where it may have had an
 * effect and is tried again where it only asks.
 *
 * Domains are named by UUID.  NOT_FOUND means that libvirt knows no such domain (any
 * more).  Libvirt's own words are in every error.  Only public, supported calls: nothing
 * here taints a domain.
 */
#ifndef VM_SESSION_H
#define VM_SESSION_H

#include "common/auto.h"

#include <glib.h>

struct session;

/*
 * Connects to @uri (NULL: libvirt's default).  A URI of another host, or a daemon that
 * is not of this host, is a USAGE error.  Registers the event loop first, and keepalive.
 */
struct session *session_open(const char *uri, GError **error);
void session_close(struct session *session);
AUTO_DEFINE(session, session_close)
/* Deadline of one call that should be quick (default 30 s). */
void session_set_deadline(struct session *session, guint milliseconds);

/* "9.0.0" style numbers: major * 1000000 + minor * 1000 + release. */
gboolean session_version(struct session *session, guint64 *libvirt, guint64 *qemu, GError **error);
/* uid and gid that QEMU runs as, from the capabilities' DAC baselabel. */
gboolean session_qemu_owner(struct session *session, int *uid, int *gid, GError **error);

enum domain_run { RUN_OFF, RUN_RUNNING, RUN_PAUSED, RUN_OTHER /* dying, crashed, pmsuspended */ };

struct domain_state {
	enum domain_run run;
	gboolean persistent;
	gboolean managed_save;
	gboolean paused_by_error; /* paused because of an I/O error */
	guint snapshots;	  /* libvirt snapshots with metadata */
	guint checkpoints;
	guint64 memory_bytes;
	guint id; /* changes when the guest is started anew; 0 when off */
};

/* By name, UUID or id, as virsh: *uuid is set; the caller frees. */
gboolean session_lookup(struct session *session, const char *domain, char **uuid, char **name,
			GError **error);
/* UUIDs of all domains, a GPtrArray of char *. */
GPtrArray *session_list(struct session *session, GError **error);
gboolean session_state(struct session *session, const char *uuid, struct domain_state *state,
		       GError **error);
/* @inactive: the persistent XML.  With secrets. */
char *session_xml(struct session *session, const char *uuid, gboolean inactive, GError **error);
/* For save and restore: SECURE and MIGRATABLE. */
char *session_xml_migratable(struct session *session, const char *uuid, GError **error);
/* XML of every libvirt snapshot of the domain. */
GPtrArray *session_snapshot_xmls(struct session *session, const char *uuid, GError **error);

/* virDomainDefineXMLFlags with VALIDATE off. */
gboolean session_define(struct session *session, const char *xml, GError **error);

/* Our metadata element; @xml NULL removes it.  @live and @config choose where. */
gboolean session_metadata_set(struct session *session, const char *uuid, const char *xml,
			      gboolean live, gboolean config, GError **error);
/* NULL without error where there is none. */
char *session_metadata_get(struct session *session, const char *uuid, gboolean live,
			   GError **error);

/*
 * External disk-only snapshot, NO_METADATA | ATOMIC | REUSE_EXT.  With @quiesce the file
 * systems are frozen through the guest agent with a time limit and surely thawed;
 * *quiesced says whether that worked (where not, the snapshot is taken without).  OPERATOR
 * where they could not be thawed, whether the snapshot was taken or not.
 */
gboolean session_snapshot(struct session *session, const char *uuid, const char *xml,
			  gboolean quiesce, gboolean *quiesced, GError **error);

/* Shallow, reused, background mode, TRANSIENT_JOB; @bytes_per_second 0: no limit. */
gboolean session_block_copy(struct session *session, const char *uuid, const char *disk,
			    const char *xml, gboolean shallow, guint64 bytes_per_second,
			    GError **error);
/*
 * Active or inactive commit from @top into @base, named as libvirt does: "vda[3]", or
 * NULL (top: the active layer; base: the deepest).  @active for an active one.
 */
gboolean session_block_commit(struct session *session, const char *uuid, const char *disk,
			      const char *base, const char *top, gboolean active,
			      guint64 bytes_per_second, GError **error);

enum block_job_kind {
	BLOCK_JOB_NONE,
	BLOCK_JOB_COPY,
	BLOCK_JOB_COMMIT,
	BLOCK_JOB_ACTIVE_COMMIT,
	BLOCK_JOB_OTHER
};

struct block_job {
	enum block_job_kind kind;
	guint64 current, end; /* progress, libvirt's units */
};
gboolean session_block_job(struct session *session, const char *uuid, const char *disk,
			   struct block_job *job, GError **error);

/* What the events told of a disk's block job since session_events_clear(). */
enum block_event { EVENT_NONE, EVENT_READY, EVENT_COMPLETED, EVENT_FAILED, EVENT_CANCELED };
void session_events_clear(struct session *session, const char *uuid, const char *disk);
/*
 * Waits up to @milliseconds for a new event of this disk's block job, or the guest's end
 * (which returns too), or a stop; returns also when libvirtd came back, as events were
 * missed then.  The answer is the last event since the clear, new or not.  A hint: the
 * caller looks at the XML in any case.
 */
enum block_event session_events_wait(struct session *session, const char *uuid, const char *disk,
				     guint milliseconds);

/* Ends the mirror by switching over to it; waits at most @milliseconds, then UNKNOWN. */
gboolean session_pivot(struct session *session, const char *uuid, const char *disk,
		       guint milliseconds, GError **error);
/* Asks the job to end (ASYNC); whether it has, session_block_job tells. */
gboolean session_block_abort(struct session *session, const char *uuid, const char *disk,
			     GError **error);

gboolean session_suspend(struct session *session, const char *uuid, GError **error);
gboolean session_resume(struct session *session, const char *uuid, GError **error);

/* The running guest is saved to @path with @xml and is off then. */
gboolean session_save(struct session *session, const char *uuid, const char *path, const char *xml,
		      guint milliseconds, GError **error);
/* Restored paused; @xml NULL: as it was saved. */
gboolean session_restore(struct session *session, const char *path, const char *xml,
			 guint milliseconds, GError **error);
/*
 * Rewrites the XML inside a managed-save image; with @running the guest runs when it is
 * started, whatever it did when it was saved.
 */
gboolean session_managed_save_define(struct session *session, const char *uuid, const char *xml,
				     gboolean running, GError **error);
char *session_managed_save_xml(struct session *session, const char *uuid, GError **error);

/* Bytes of the disk as the guest sees it, and written bytes so far (block stats). */
gboolean session_block_capacity(struct session *session, const char *uuid, const char *disk,
				guint64 *bytes, GError **error);
gboolean session_block_written(struct session *session, const char *uuid, const char *disk,
			       guint64 *bytes, GError **error);

/* The value of the iSCSI secret @usage; NOT_FOUND; PERMANENT where it is private. */
char *session_secret(struct session *session, const char *usage, GError **error);

/*
 * Limits of a running guest's disk in bytes a second; 0: none.  A burst is a higher rate
 * for so many seconds.  Limits of requests a second are not looked at, and stay.
 */
struct block_limits {
	guint64 total, read, write;
	guint64 total_burst, read_burst, write_burst;
	guint64 total_burst_s, read_burst_s, write_burst_s;
};
/* *shared: with other disks of the guest, which a change would slow, too. */
gboolean session_block_limits(struct session *session, const char *uuid, const char *disk,
			      struct block_limits *limits, gboolean *shared, GError **error);
/* For as long as the guest runs: the inactive XML keeps what it says. */
gboolean session_block_limits_set(struct session *session, const char *uuid, const char *disk,
				  const struct block_limits *limits, GError **error);

/* A pool's XML; NOT_FOUND. */
char *session_pool_xml(struct session *session, const char *name, GError **error);
/* The XML of every active pool, a GPtrArray of char *. */
GPtrArray *session_pool_list(struct session *session, GError **error);
/* Reads the pool's volumes again; an error is no reason to fail. */
gboolean session_pool_refresh(struct session *session, const char *name, GError **error);

#endif
