/*
 * One session with an iSCSI target, and SCSI commands over it that end within the
 * stall limit.
 *
 * libiscsi's reconnect would send every command again in a new session while the old
 * one's may still land, and its time-outs are local: neither is used.  A session has
 * one connection for life.  It is lost, for good, with the first failure of the
 * connection, and with every UNIT ATTENTION after the login's own ones: that is how a
 * target tells that it was reset, and with it went what its cache held.
 */
#ifndef TRANSPORTS_ISCSI_SESSION_H
#define TRANSPORTS_ISCSI_SESSION_H

#include "common/auto.h"
#include "common/deadline.h"

#include <glib.h>
#include <stdint.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

struct iscsi_session {
	struct iscsi_context *iscsi; /* NULL once lost */
	char *name;		     /* what is reached over it, for errors */
	char *peer;		     /* the portal */
	char *host;		     /* once it is in use: the address, before any redirection */
	int port;
	char *doing; /* "read of 4096 bytes at 0", for errors */
	int lun;
	guint isid;	      /* see iscsi_login.c */
	GPtrArray *in_flight; /* tasks without an answer, owned by their commands */
	GPtrArray *retired;   /* tasks of answered writes: data of theirs may still be queued */
	guint stall_ms;
	deadline_ms stalled;
	gboolean listens;   /* to what libiscsi logs */
	gboolean cancelled; /* libiscsi gave the tasks up */
};

/*
 * One SCSI command.  The task comes from one of libiscsi's scsi_cdb_...() functions
 * and belongs to the command, its buffer to the caller, until the answer is there.
 */
struct iscsi_command {
	const char *what; /* "read capacity" */
	struct scsi_task *task;
	void *buffer; /* of the data, in or out; may be NULL */
	gsize bytes;
	gboolean in_flight;
	int status; /* enum scsi_status, once answered */
	struct scsi_sense sense;
	gsize transferred; /* by the target's residual count */
};

/*
 * What libiscsi logs up to @level goes to its log function, 0: nothing.  It writes that into
 * one buffer for all sessions, so of those that listen one at a time is served.
 */
void iscsi_session_listen(struct iscsi_session *session, int level);

/* As nfs_link_begin. */
gboolean iscsi_session_begin(struct iscsi_session *session, const char *doing, GError **error);

/*
 * As nfs_link_turn.  Progress is an answer, or data of our commands, a slice of 8 KiB at
 * least: a target whose disk hangs still pings, and is answered.
 */
gboolean iscsi_session_turn(struct iscsi_session *session, int wait_ms, GError **error);

/*
 * Gives the session up: every command in flight is answered as cancelled, and sets
 * TRANSIENT with @why.
 */
void iscsi_session_lose(struct iscsi_session *session, const char *why, GError **error);

/* Sends; the answer comes within a later turn.  FALSE: the session is lost. */
gboolean iscsi_session_submit(struct iscsi_session *session, struct iscsi_command *command,
			      GError **error);

enum iscsi_verdict {
	ISCSI_GOOD,
	ISCSI_AGAIN,  /* the target is busy: the same again, after a while */
	ISCSI_FAILED, /* see iscsi_command_error */
	ISCSI_LOST,   /* the session must be given up */
};

enum iscsi_verdict iscsi_command_verdict(const struct iscsi_command *command);
/* Whether the target does not know this command or a field of it. */
gboolean iscsi_command_unsupported(const struct iscsi_command *command);
/* Sets the error that the target's status and sense stand for. */
void iscsi_command_error(const struct iscsi_command *command, const char *name, const char *what,
			 GError **error);

/* Sets TRANSIENT: called good, by a target that tells it did not transfer all of it. */
void iscsi_command_short_error(const char *name, const char *what, GError **error);

/*
 * Takes the task of a command that was answered.  That of a write is kept until
 * iscsi_session_drain: it may be answered, even as good, while data that the task points
 * to is still queued.
 */
void iscsi_session_retire(struct iscsi_session *session, struct iscsi_command *command);

/* Until no data of an answered command is queued any more: buffers may be freed then. */
gboolean iscsi_session_drain(struct iscsi_session *session, GError **error);

/*
 * Sends one command (and frees its task) and waits; again while the target is busy,
 * up to the stall limit.  A UNIT ATTENTION loses the session, and so does a write that
 * was not transferred as a whole; less data than asked for is the caller's to see.
 */
gboolean iscsi_session_command(struct iscsi_session *session, struct iscsi_command *command,
			       GError **error);

#endif
