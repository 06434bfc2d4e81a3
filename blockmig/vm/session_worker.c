/*
 * Workers: threads with a libvirt connection each, which may hang in libvirt for as long
 * as they like without anybody else waiting for them.
 */
#include "blockmig/vm/session_private.h"
#include "common/error.h"

#include <libvirt/virterror.h>

/* A dead daemon or network is noticed after about half a minute. */
enum { KEEPALIVE_SECONDS = 5, KEEPALIVE_COUNT = 6 };

struct worker {
	gint references; /* the thread's and the owner's */
	char *uri;
	virConnectPtr connection; /* the thread's own */

	GMutex lock;
	GCond changed;
	struct call *call; /* handed over, until the thread takes it */
	gboolean finished; /* the call, and @outcome is valid */
	enum worker_outcome outcome;
	gboolean leave; /* abandoned or dismissed */
	gboolean gone;	/* disconnected */
};

/* ---- the process's event loop ------------------------------------------------------ */

static void ignore_error(void *data, virErrorPtr error)
{
	(void)data;
	(void)error;
}

static gpointer event_loop(gpointer data)
{
	(void)data;
	for (;;) {
		if (virEventRunDefaultImpl() < 0)
			g_usleep(G_USEC_PER_SEC / 10);
	}
	return NULL;
}

static GThread *start_loop(GError **error)
{
	virSetErrorFunc(NULL, ignore_error);
	if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "libvirt cannot be initialised: %s", virGetLastErrorMessage());
		return NULL;
	}
	return g_thread_try_new("libvirt events", event_loop, NULL, error);
}

gboolean event_loop_start(GError **error)
{
	static GMutex lock;
	static GThread *thread;
	gboolean started;

	g_mutex_lock(&lock);
	if (!thread)
		thread = start_loop(error);
	started = thread != NULL;
	g_mutex_unlock(&lock);
	return started;
}

virConnectPtr connection_open(const char *uri)
{
	virConnectPtr connection = virConnectOpen(uri);

	/* A driver without keepalive is one without a network. */
	if (connection)
		virConnectSetKeepAlive(connection, KEEPALIVE_SECONDS, KEEPALIVE_COUNT);
	return connection;
}

/* ---- the thread ----------------------------------------------------------------------- */

static void worker_unref(struct worker *worker)
{
	if (!g_atomic_int_dec_and_test(&worker->references))
		return;
	if (worker->call)
		call_unref(worker->call);
	g_free(worker->uri);
	g_mutex_clear(&worker->lock);
	g_cond_clear(&worker->changed);
	g_free(worker);
}

static void disconnect(struct worker *worker)
{
	if (worker->connection)
		virConnectClose(worker->connection);
	worker->connection = NULL;
}

/*
 * A connection to a daemon that stood still may come about long after everybody went on:
 * a guest must not be suspended then.
 */
static int run_unless_abandoned(struct worker *worker, struct call *call, virDomainPtr domain)
{
	int result;

	if (g_atomic_int_get(&call->abandoned))
		return -1;
	call->begun = TRUE;
	result = call->run(call, worker->connection, domain);
	return result < 0 ? call_fail(call) : result;
}

static int look_up_and_run(struct worker *worker, struct call *call)
{
	virDomainPtr domain;
	int result;

	if (!call->uuid)
		return run_unless_abandoned(worker, call, NULL);
	domain = virDomainLookupByUUIDString(worker->connection, call->uuid);
	if (!domain)
		return call_fail(call);
	call->name = g_strdup(virDomainGetName(domain));
	result = run_unless_abandoned(worker, call, domain);
	virDomainFree(domain);
	return result;
}

static enum worker_outcome execute(struct worker *worker, struct call *call)
{
	call->begun = FALSE;
	if (worker->connection && virConnectIsAlive(worker->connection) != 1)
		disconnect(worker);
	if (!worker->connection)
		worker->connection = connection_open(worker->uri);
	if (!worker->connection) {
		call_fail(call);
		return WORKER_UNREACHED;
	}
	if (look_up_and_run(worker, call) >= 0)
		return WORKER_DONE;
	if (call->code != VIR_ERR_RPC && virConnectIsAlive(worker->connection) == 1)
		return WORKER_FAILED;
	disconnect(worker);
	return call->begun ? WORKER_BROKEN : WORKER_UNREACHED;
}

static gpointer worker_thread(gpointer data)
{
	struct worker *worker = data;

	g_mutex_lock(&worker->lock);
	while (!worker->leave) {
		struct call *call = g_steal_pointer(&worker->call);
		enum worker_outcome outcome;

		if (!call) {
			g_cond_wait(&worker->changed, &worker->lock);
			continue;
		}
		g_mutex_unlock(&worker->lock);
		outcome = execute(worker, call);
		call_unref(call);
		g_mutex_lock(&worker->lock);
		worker->outcome = outcome;
		worker->finished = TRUE;
		g_cond_broadcast(&worker->changed);
	}
	g_mutex_unlock(&worker->lock);
	disconnect(worker);

	g_mutex_lock(&worker->lock);
	worker->gone = TRUE;
	g_cond_broadcast(&worker->changed);
	g_mutex_unlock(&worker->lock);
	worker_unref(worker);
	return NULL;
}

/* ---- its owner ---------------------------------------------------------------------------- */

struct worker *worker_new(const char *uri, GError **error)
{
	struct worker *worker = g_new0(struct worker, 1);
	GThread *thread;

	worker->references = 2;
	worker->uri = g_strdup(uri);
	g_mutex_init(&worker->lock);
	g_cond_init(&worker->changed);
	thread = g_thread_try_new("libvirt call", worker_thread, worker, error);
	if (!thread) {
		worker->references = 1;
		worker_unref(worker);
		return NULL;
	}
	g_thread_unref(thread);
	return worker;
}

/* g_cond_wait_until() takes microseconds, and DEADLINE_NEVER would overflow them. */
static gint64 microseconds(deadline_ms deadline)
{
	return deadline > G_MAXINT64 / 1000 ? G_MAXINT64 : deadline * 1000;
}

static void worker_wait(struct worker *worker, const gboolean *flag, deadline_ms deadline)
{
	while (!*flag && g_cond_wait_until(&worker->changed, &worker->lock, microseconds(deadline)))
		;
}

enum worker_outcome worker_perform(struct worker *worker, struct call *call, deadline_ms deadline)
{
	enum worker_outcome outcome = WORKER_LATE;

	g_mutex_lock(&worker->lock);
	worker->call = call_ref(call);
	worker->finished = FALSE;
	g_cond_broadcast(&worker->changed);
	worker_wait(worker, &worker->finished, deadline);
	if (worker->finished) {
		outcome = worker->outcome;
	} else {
		worker->leave = TRUE;
		g_atomic_int_set(&call->abandoned, TRUE);
	}
	g_mutex_unlock(&worker->lock);

	if (outcome == WORKER_LATE)
		worker_unref(worker);
	return outcome;
}

void worker_dismiss(struct worker *worker, deadline_ms deadline)
{
	g_mutex_lock(&worker->lock);
	worker->leave = TRUE;
	g_cond_broadcast(&worker->changed);
	worker_wait(worker, &worker->gone, deadline);
	g_mutex_unlock(&worker->lock);
	worker_unref(worker);
}
