#include "transports/nfs_link.h"

#include "common/error.h"
#include "transports/address.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { JUKEBOX_FIRST_MS = 100, JUKEBOX_MOST_MS = 5000 };

/* libnfs counts through the reserved ports in a static variable. */
static GMutex connect_lock;

struct answer {
	const struct nfs_call *call;
	gboolean done;
	int rpc_status;
	char *rpc_error;
	nfsstat3 status;
};

static const struct {
	nfsstat3 status;
	enum blockmig_error code;
	const char *words;
} status_words[] = {
	{NFS3ERR_PERM, BLOCKMIG_ERROR_PERMANENT,
	 "Operation not permitted (NFS3ERR_PERM): only the owner or root may do this; see uid= "
	 "and gid= in the URL, and root squashing in the export"},
	{NFS3ERR_NOENT, BLOCKMIG_ERROR_NOT_FOUND, "No such file or directory (NFS3ERR_NOENT)"},
	{NFS3ERR_IO, BLOCKMIG_ERROR_LATER,
	 "the server's disk failed: Input/output error (NFS3ERR_IO); look at the server's log"},
	{NFS3ERR_ACCES, BLOCKMIG_ERROR_PERMANENT,
	 "Permission denied (NFS3ERR_ACCES); see uid= and gid= in the URL, and the export's "
	 "clients"},
	{NFS3ERR_EXIST, BLOCKMIG_ERROR_EXISTS, "File exists (NFS3ERR_EXIST)"},
	{NFS3ERR_NOTDIR, BLOCKMIG_ERROR_PERMANENT, "Not a directory (NFS3ERR_NOTDIR)"},
	{NFS3ERR_ISDIR, BLOCKMIG_ERROR_PERMANENT, "Is a directory (NFS3ERR_ISDIR)"},
	{NFS3ERR_FBIG, BLOCKMIG_ERROR_PERMANENT,
	 "File too large for the server's file system (NFS3ERR_FBIG)"},
	{NFS3ERR_NOSPC, BLOCKMIG_ERROR_FULL,
	 "No space left on device (NFS3ERR_NOSPC); free some at the server, then resume"},
	{NFS3ERR_ROFS, BLOCKMIG_ERROR_PERMANENT,
	 "Read-only file system (NFS3ERR_ROFS); the export must be writable for this host"},
	{NFS3ERR_DQUOT, BLOCKMIG_ERROR_FULL,
	 "Disk quota exceeded (NFS3ERR_DQUOT); raise it at the server, then resume"},
	/* The name may lead to the file still, once the file system is exported again. */
	{NFS3ERR_STALE, BLOCKMIG_ERROR_TRANSIENT,
	 "Stale file handle (NFS3ERR_STALE): the file was removed or replaced at the server, or "
	 "is not exported for now"},
	{NFS3ERR_JUKEBOX, BLOCKMIG_ERROR_TRANSIENT,
	 "the server asked for patience for the whole stall limit (NFS3ERR_JUKEBOX)"},
};

void nfs_status_error(GError **error, nfsstat3 status, const char *name, const char *what)
{
	for (gsize i = 0; i < G_N_ELEMENTS(status_words); i++) {
		if (status_words[i].status != status)
			continue;
		g_set_error(error, BLOCKMIG_ERROR, (gint)status_words[i].code, "%s: %s: %s", name,
			    what, status_words[i].words);
		return;
	}
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT, "%s: %s: %s", name, what,
		    nfsstat3_to_str((int)status));
}

void nfs_link_lose(struct nfs_link *link, const char *why, GError **error)
{
	g_free(link->loss);
	link->loss = g_strdup_printf("%s: %s: server %s: %s", link->name, link->doing, link->peer,
				     why ? why : "the connection was closed");
	g_set_error_literal(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT, link->loss);
	g_clear_pointer(&link->rpc, rpc_destroy_context);
}

gboolean nfs_link_begin(struct nfs_link *link, const char *doing, GError **error)
{
	g_free(link->doing);
	link->doing = g_strdup(doing);
	if (!link->rpc) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT,
			    "%s: %s: the connection to %s was lost before", link->name, link->doing,
			    link->peer);
		return FALSE;
	}
	link->stalled = deadline_in(link->stall_ms);
	return TRUE;
}

gboolean nfs_link_turn(struct nfs_link *link, int wait_ms, GError **error)
{
	struct pollfd wait = {.fd = rpc_get_fd(link->rpc),
			      .events = (short)rpc_which_events(link->rpc)};
	int left_ms = deadline_left(link->stalled);
	int ready = poll(&wait, 1, wait_ms < 0 ? left_ms : MIN(left_ms, wait_ms));

	if (ready < 0 && errno != EINTR) {
		nfs_link_lose(link, g_strerror(errno), error);
		return FALSE;
	}
	if (ready > 0 && (wait.revents & (POLLERR | POLLHUP))) {
		nfs_link_lose(link, address_socket_error(wait.fd), error);
		return FALSE;
	}
	if (ready > 0) {
		link->stalled = deadline_in(link->stall_ms);
		if (rpc_service(link->rpc, wait.revents) == 0)
			return TRUE;
		g_autofree char *why = g_strdup(rpc_get_error(link->rpc));
		nfs_link_lose(link, why, error);
		return FALSE;
	}
	if (deadline_passed(link->stalled)) {
		g_autofree char *why = g_strdup_printf("no answer for %u ms", link->stall_ms);
		nfs_link_lose(link, why, error);
		return FALSE;
	}
	return TRUE;
}

static void on_answer(struct rpc_context *rpc G_GNUC_UNUSED, int rpc_status, void *data,
		      void *private_data)
{
	struct answer *answer = private_data;

	answer->done = TRUE;
	answer->rpc_status = rpc_status;
	if (rpc_status == RPC_STATUS_SUCCESS) {
		if (answer->call && !answer->call->plain)
			memcpy(&answer->status, data, sizeof(answer->status));
		if (answer->call && answer->status == NFS3_OK && answer->call->take)
			answer->call->take(data, answer->call->into);
	} else if (rpc_status == RPC_STATUS_ERROR) {
		answer->rpc_error = g_strdup(data);
	}
}

/* Until @answer is there; an answer of RPC's own that is an error is one here too. */
static gboolean await(struct nfs_link *link, struct answer *answer, GError **error)
{
	gboolean alive = TRUE;

	while (alive && !answer->done)
		alive = nfs_link_turn(link, -1, error);
	g_autofree char *why = g_steal_pointer(&answer->rpc_error);
	if (!alive)
		return FALSE;
	if (answer->rpc_status != RPC_STATUS_SUCCESS) {
		nfs_link_lose(link, why, error);
		return FALSE;
	}
	return TRUE;
}

static gboolean call_once(struct nfs_link *link, const struct nfs_call *call, nfsstat3 *status,
			  GError **error)
{
	struct answer answer = {.call = call};

	if (!nfs_link_begin(link, call->what, error))
		return FALSE;
	if (call->issue(link->rpc, on_answer, call->arguments, &answer) != 0) {
		nfs_link_lose(link, "the request could not be built", error);
		return FALSE;
	}
	if (!await(link, &answer, error))
		return FALSE;
	*status = answer.status;
	return TRUE;
}

gboolean nfs_link_call(struct nfs_link *link, const struct nfs_call *call, GError **error)
{
	deadline_ms patience = deadline_in(link->stall_ms);
	guint wait_ms = JUKEBOX_FIRST_MS;
	nfsstat3 status;

	for (;;) {
		if (!call_once(link, call, &status, error))
			return FALSE;
		if (status != NFS3ERR_JUKEBOX || deadline_passed(patience))
			break;
		g_usleep((gulong)MIN(wait_ms, (guint)deadline_left(patience)) * 1000);
		wait_ms = MIN(wait_ms * 2, (guint)JUKEBOX_MOST_MS);
	}
	if (status == NFS3_OK)
		return TRUE;
	nfs_status_error(error, status, link->name, call->what);
	return FALSE;
}

static int start_connecting(struct nfs_link *link, const char *host, int port,
			    struct answer *answer)
{
	g_mutex_lock(&connect_lock);
	int status = rpc_connect_async(link->rpc, host, port, on_answer, answer);
	g_mutex_unlock(&connect_lock);
	return status;
}

struct nfs_link *nfs_link_open(const char *name, const char *program, const char *host, int port,
			       const struct nfs_link_owner *owner, guint stall_ms, GError **error)
{
	g_autofree char *doing = g_strdup_printf("connect to %s", program);
	AUTO(nfs_link) link = g_new0(struct nfs_link, 1);
	struct answer answer = {0};

	link->name = g_strdup(name);
	link->peer = g_strdup_printf(strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port);
	link->stall_ms = stall_ms;
	link->rpc = rpc_init_context();
	if (!nfs_link_begin(link, doing, error))
		return NULL;
	link->uid = owner->uid >= 0 ? owner->uid : (int)geteuid();
	link->gid = owner->gid >= 0 ? owner->gid : (int)getegid();
	rpc_set_uid(link->rpc, link->uid);
	rpc_set_gid(link->rpc, link->gid);
	if (start_connecting(link, host, port, &answer) != 0) {
		g_autofree char *why = g_strdup(rpc_get_error(link->rpc));
		nfs_link_lose(link, why, error);
		return NULL;
	}
	if (!await(link, &answer, error))
		return NULL;
	address_tune_socket(rpc_get_fd(link->rpc));
	return g_steal_pointer(&link);
}

void nfs_link_close(struct nfs_link *link)
{
	g_clear_pointer(&link->rpc, rpc_destroy_context);
	g_free(link->name);
	g_free(link->peer);
	g_free(link->doing);
	g_free(link->loss);
	g_free(link);
}
