/*
 * How every call of the session is made; included by session*.c only.
 *
 * A call is a closure with a reference count: what it is called with, what it found,
 * and the function that does it on a worker's thread:
 *
 *     static int suspend(struct call *call, virConnectPtr connection, virDomainPtr domain)
 *     {
 *         return virDomainSuspend(domain);
 *     }
 *
 *     AUTO(call) call = call_new("suspend", CALL_CHANGES, suspend, uuid);
 *     return call_perform(session, call, error);
 *
 * An abandoned worker may use its call long after call_perform gave it up: arguments are
 * copies, and the results are the caller's only after call_perform returned TRUE.
 */
#ifndef VM_SESSION_PRIVATE_H
#define VM_SESSION_PRIVATE_H

#include "blockmig/vm/session.h"
#include "common/auto.h"
#include "common/deadline.h"

#include <glib.h>
#include <libvirt/libvirt.h>

struct call;

/*
 * 0 or more: done.  -1: libvirt's last error of this thread says why not, or call_fail()
 * was called, where cleaning up would overwrite that.
 */
typedef int (*call_run)(struct call *call, virConnectPtr connection, virDomainPtr domain);

enum call_effect {
	CALL_ASKS,    /* tried again on a new connection when the first one breaks */
	CALL_CHANGES, /* never made twice: UNKNOWN when its connection breaks */
};

struct call {
	gint references;
	const char *doing; /* "suspend", for messages */
	enum call_effect effect;
	call_run run;
	char *uuid;	    /* of the domain that @run gets; NULL: none is looked up */
	guint milliseconds; /* 0: the session's deadline */
	gboolean once;	    /* a daemon that is not there is an error at once */
	gint abandoned;	    /* the caller has gone: do not begin any more */

	/* Arguments. */
	char *disk, *xml, *base, *top;
	char *target; /* a file, or the name of a domain or pool */
	guint flags;
	guint64 bytes_per_second;
	struct block_limits limits; /* a result, too */

	/* Results. */
	char *name; /* the domain's, for messages too */
	char *text;
	GPtrArray *list; /* of char * */
	guint64 number, number2;
	struct domain_state state;
	struct block_job job;
	gboolean shared;

	/* The worker's: @run was entered, so something may have happened. */
	gboolean begun;
	/* Libvirt's words and code for a run that failed; cause is NULL until then. */
	char *cause;
	int code;
};

struct call *call_new(const char *doing, enum call_effect effect, call_run run, const char *uuid);
struct call *call_ref(struct call *call);
void call_unref(struct call *call);
AUTO_DEFINE(call, call_unref)

/* For a call_run: keeps libvirt's last error; returns -1. */
int call_fail(struct call *call);

/* Makes the call on an idle or a new worker, and waits for it until its deadline. */
gboolean call_perform(struct session *session, struct call *call, GError **error);

/* ---- workers: session_worker.c --------------------------------------------------- */

enum worker_outcome {
	WORKER_DONE,
	WORKER_FAILED,	  /* refused: call->cause and call->code say why */
	WORKER_BROKEN,	  /* the connection broke while the call was under way */
	WORKER_UNREACHED, /* no connection, or it broke before @run: nothing has happened */
	WORKER_LATE,	  /* the deadline passed, and the worker was abandoned */
};

struct worker;

/* A thread that has yet to connect to @uri. */
struct worker *worker_new(const char *uri, GError **error);
/* WORKER_LATE took @worker along: it ends when libvirt lets it. */
enum worker_outcome worker_perform(struct worker *worker, struct call *call, deadline_ms deadline);
/* Tells an idle worker to disconnect and end, and waits for that until @deadline. */
void worker_dismiss(struct worker *worker, deadline_ms deadline);

/* Runs libvirt's event loop in a thread of this process; once is enough. */
gboolean event_loop_start(GError **error);
/* A connection with keepalive; NULL with libvirt's last error. */
virConnectPtr connection_open(const char *uri);

/* ---- events: session_events.c ------------------------------------------------------ */

struct events;

/* Listens on a connection of its own, which is made anew whenever it breaks. */
struct events *events_start(const char *uri, deadline_ms deadline, GError **error);
void events_stop(struct events *events, deadline_ms deadline);

/* ---- session.c --------------------------------------------------------------------- */

struct session {
	char *uri; /* NULL: libvirt's default */
	struct events *events;
	GMutex lock; /* of what follows */
	guint deadline_ms;
	GPtrArray *idle;   /* of struct worker * */
	GHashTable *names; /* uuid -> name, as last seen */
};

#endif
