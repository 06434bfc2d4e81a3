/*
 * One TCP connection to an ONC RPC program, and calls over it that end within the
 * stall limit.
 *
 * libnfs is used for nothing but its raw calls: its reconnect mixes the bytes of two
 * connections, and its time-outs leave half a request in the stream.  So a link has
 * one connection for life.  The first failure destroys libnfs's context, which calls
 * the callbacks of all that was in flight: whatever they point to must still be
 * there.  After that the link is lost and every call fails.
 */
#ifndef TRANSPORTS_NFS_LINK_H
#define TRANSPORTS_NFS_LINK_H

#include "common/auto.h"
#include "common/deadline.h"

#include <glib.h>
#include <stdint.h>
#include <sys/time.h>

#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-nfs.h>

struct nfs_link {
	struct rpc_context *rpc; /* NULL once lost */
	char *name;		 /* what is reached over it, for errors */
	int uid, gid;		 /* that the calls are made as */
	char *peer;		 /* "HOST:PORT" */
	char *doing;		 /* "read of 4096 bytes at 0", for errors */
	char *loss;		 /* why it was lost, in full */
	guint stall_ms;
	deadline_ms stalled;
};

struct nfs_link_owner {
	int uid, gid; /* -1: this process's */
};

/* One call and what becomes of its answer. */
struct nfs_call {
	const char *what; /* "LOOKUP disk.img" */
	int (*issue)(struct rpc_context *rpc, rpc_cb callback, void *arguments, void *data);
	void *arguments;
	gboolean plain; /* the answer does not begin with a status */
	/* Copies what is wanted, while libnfs's answer lives; may be NULL. */
	void (*take)(const void *answer, void *into);
	void *into;
};

/* TRANSIENT where nobody answers at @host (numeric) and @port; @program is for errors. */
struct nfs_link *nfs_link_open(const char *name, const char *program, const char *host, int port,
			       const struct nfs_link_owner *owner, guint stall_ms, GError **error);
void nfs_link_close(struct nfs_link *link);
AUTO_DEFINE(nfs_link, nfs_link_close)

/*
 * A new stall limit begins; errors will say that it was for @doing (copied).  FALSE and
 * TRANSIENT where the link is lost.
 */
gboolean nfs_link_begin(struct nfs_link *link, const char *doing, GError **error);

/*
 * Waits until bytes moved, and lets libnfs call back; at most @wait_ms long where
 * that is not negative.  FALSE with TRANSIENT where the connection failed or nothing
 * moved for the stall limit: the link is lost then.
 */
gboolean nfs_link_turn(struct nfs_link *link, int wait_ms, GError **error);

/* Gives the link up: cancels what is in flight, and sets TRANSIENT with @why. */
void nfs_link_lose(struct nfs_link *link, const char *why, GError **error);

/*
 * Makes one call and waits for its answer; asks again, more and more slowly, while
 * the server says that it needs time (JUKEBOX), up to the stall limit.
 */
gboolean nfs_link_call(struct nfs_link *link, const struct nfs_call *call, GError **error);

/* Sets the error that @status (not NFS3_OK) stands for. */
void nfs_status_error(GError **error, nfsstat3 status, const char *name, const char *what);

#endif
