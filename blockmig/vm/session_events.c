/*
 * Events: a thread keeps one connection registered for them, makes it anew whenever it
 * breaks, and wakes whoever waits: something may have been missed meanwhile.
 *
 * Events are hints.  What counts is what the domain's XML says.
 */
#include "blockmig/vm/session_private.h"
#include "common/stop.h"

#include <string.h>

enum { SLICE_MS = 50, RECONNECT_MS = 200 };

/* What the events told of one disk since session_events_clear(); never removed. */
struct watch {
	char *uuid, *disk;
	enum block_event event;
	gboolean fresh; /* something that session_events_wait() has not yet returned for */
};

struct events {
	gint references; /* the owner's, the thread's, and one for each callback */
	char *uri;
	GMutex lock; /* of what follows */
	GCond changed;
	GPtrArray *watches; /* of struct watch * */
	gboolean tried;	    /* the first connection was made, or failed */
	gboolean broken;
	gboolean leave;
	gboolean gone;
};

static void watch_free(gpointer data)
{
	struct watch *watch = data;

	g_free(watch->uuid);
	g_free(watch->disk);
	g_free(watch);
}

static struct events *events_ref(struct events *events)
{
	g_atomic_int_inc(&events->references);
	return events;
}

static void events_unref(void *data)
{
	struct events *events = data;

	if (!g_atomic_int_dec_and_test(&events->references))
		return;
	g_ptr_array_unref(events->watches);
	g_mutex_clear(&events->lock);
	g_cond_clear(&events->changed);
	g_free(events->uri);
	g_free(events);
}

/* The disk's watch, made where there is none; with the lock held. */
static struct watch *find_watch(struct events *events, const char *uuid, const char *disk)
{
	struct watch *watch;

	for (guint i = 0; i < events->watches->len; i++) {
		watch = g_ptr_array_index(events->watches, i);
		if (strcmp(watch->uuid, uuid) == 0 && strcmp(watch->disk, disk) == 0)
			return watch;
	}
	watch = g_new0(struct watch, 1);
	watch->uuid = g_strdup(uuid);
	watch->disk = g_strdup(disk);
	g_ptr_array_add(events->watches, watch);
	return watch;
}

/* ---- callbacks, on the event loop's thread -------------------------------------------- */

/*
 * Wakes the waiters of @uuid (NULL: of all) and of @disk (NULL: of all its disks), and
 * notes @event unless it is EVENT_NONE.
 */
static void tell(struct events *events, const char *uuid, const char *disk, enum block_event event)
{
	g_mutex_lock(&events->lock);
	for (guint i = 0; i < events->watches->len; i++) {
		struct watch *watch = g_ptr_array_index(events->watches, i);

		if ((uuid && strcmp(watch->uuid, uuid) != 0) ||
		    (disk && strcmp(watch->disk, disk) != 0))
			continue;
		if (event != EVENT_NONE)
			watch->event = event;
		watch->fresh = TRUE;
	}
	g_cond_broadcast(&events->changed);
	g_mutex_unlock(&events->lock);
}

static enum block_event event_of(int status)
{
	switch (status) {
	case VIR_DOMAIN_BLOCK_JOB_READY:
		return EVENT_READY;
	case VIR_DOMAIN_BLOCK_JOB_COMPLETED:
		return EVENT_COMPLETED;
	case VIR_DOMAIN_BLOCK_JOB_FAILED:
		return EVENT_FAILED;
	case VIR_DOMAIN_BLOCK_JOB_CANCELED:
		return EVENT_CANCELED;
	default:
		return EVENT_NONE;
	}
}

static void on_block_job(virConnectPtr connection, virDomainPtr domain, const char *disk, int type,
			 int status, void *data)
{
	char uuid[VIR_UUID_STRING_BUFLEN];

	(void)connection;
	(void)type;
	if (virDomainGetUUIDString(domain, uuid) == 0)
		tell(data, uuid, disk, event_of(status));
}

static void on_lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail,
			 void *data)
{
	char uuid[VIR_UUID_STRING_BUFLEN];

	(void)connection;
	(void)detail;
	if (event != VIR_DOMAIN_EVENT_STOPPED && event != VIR_DOMAIN_EVENT_CRASHED)
		return;
	if (virDomainGetUUIDString(domain, uuid) == 0)
		tell(data, uuid, NULL, EVENT_NONE);
}

static void on_close(virConnectPtr connection, int reason, void *data)
{
	struct events *events = data;

	(void)connection;
	(void)reason;
	g_mutex_lock(&events->lock);
	events->broken = TRUE;
	g_cond_broadcast(&events->changed);
	g_mutex_unlock(&events->lock);
}

/* ---- the thread -------------------------------------------------------------------------- */

struct registration {
	virConnectPtr connection;
	int block_job, lifecycle;
};

/* Libvirt drops the callback's reference with the callback, and only with it. */
static int watch_for(struct events *events, virConnectPtr connection, int id,
		     virConnectDomainEventGenericCallback callback)
{
	int number = virConnectDomainEventRegisterAny(connection, NULL, id, callback,
						      events_ref(events), events_unref);

	if (number < 0)
		events_unref(events);
	return number;
}

static void unregister(struct registration *registration)
{
	virConnectPtr connection = registration->connection;

	if (registration->block_job >= 0)
		virConnectDomainEventDeregisterAny(connection, registration->block_job);
	if (registration->lifecycle >= 0)
		virConnectDomainEventDeregisterAny(connection, registration->lifecycle);
	virConnectUnregisterCloseCallback(connection, on_close);
	virConnectClose(connection);
}

static gboolean register_all(struct events *events, struct registration *registration)
{
	virConnectPtr connection = connection_open(events->uri);

	*registration = (struct registration){connection, -1, -1};
	if (!connection)
		return FALSE;
	if (virConnectRegisterCloseCallback(connection, on_close, events_ref(events),
					    events_unref) < 0)
		events_unref(events);
	registration->block_job = watch_for(events, connection, VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2,
					    VIR_DOMAIN_EVENT_CALLBACK(on_block_job));
	registration->lifecycle = watch_for(events, connection, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
					    VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle));
	if (registration->block_job >= 0 && registration->lifecycle >= 0)
		return TRUE;
	unregister(registration);
	return FALSE;
}

/* Waits while the connection is good, or a moment where there is none. */
static gboolean wait_for_the_end(struct events *events, gboolean registered)
{
	gint64 until = g_get_monotonic_time() + RECONNECT_MS * G_TIME_SPAN_MILLISECOND;
	gboolean leave;

	g_mutex_lock(&events->lock);
	events->tried = TRUE;
	g_cond_broadcast(&events->changed);
	while (!events->leave && !events->broken) {
		if (registered)
			g_cond_wait(&events->changed, &events->lock);
		else if (!g_cond_wait_until(&events->changed, &events->lock, until))
			break;
	}
	events->broken = FALSE;
	leave = events->leave;
	g_mutex_unlock(&events->lock);
	return leave;
}

static gpointer events_thread(gpointer data)
{
	struct events *events = data;
	gboolean leave = FALSE;

	while (!leave) {
		struct registration registration;
		gboolean registered = register_all(events, &registration);

		if (registered)
			tell(events, NULL, NULL, EVENT_NONE);
		leave = wait_for_the_end(events, registered);
		if (registered)
			unregister(&registration);
	}
	g_mutex_lock(&events->lock);
	events->gone = TRUE;
	g_cond_broadcast(&events->changed);
	g_mutex_unlock(&events->lock);
	events_unref(events);
	return NULL;
}

/* ---- the session's side ---------------------------------------------------------------------- */

static void wait_for_flag(struct events *events, const gboolean *flag, deadline_ms deadline)
{
	while (!*flag && g_cond_wait_until(&events->changed, &events->lock, deadline * 1000))
		;
}

struct events *events_start(const char *uri, deadline_ms deadline, GError **error)
{
	struct events *events = g_new0(struct events, 1);
	GThread *thread;

	events->references = 2;
	events->uri = g_strdup(uri);
	g_mutex_init(&events->lock);
	g_cond_init(&events->changed);
	events->watches = g_ptr_array_new_with_free_func(watch_free);
	thread = g_thread_try_new("libvirt listen", events_thread, events, error);
	if (!thread) {
		events->references = 1;
		events_unref(events);
		return NULL;
	}
	g_thread_unref(thread);
	g_mutex_lock(&events->lock);
	wait_for_flag(events, &events->tried, deadline);
	g_mutex_unlock(&events->lock);
	return events;
}

void events_stop(struct events *events, deadline_ms deadline)
{
	g_mutex_lock(&events->lock);
	events->leave = TRUE;
	g_cond_broadcast(&events->changed);
	wait_for_flag(events, &events->gone, deadline);
	g_mutex_unlock(&events->lock);
	events_unref(events);
}

void session_events_clear(struct session *session, const char *uuid, const char *disk)
{
	struct watch *watch;

	g_mutex_lock(&session->events->lock);
	watch = find_watch(session->events, uuid, disk);
	watch->event = EVENT_NONE;
	watch->fresh = FALSE;
	g_mutex_unlock(&session->events->lock);
}

enum block_event session_events_wait(struct session *session, const char *uuid, const char *disk,
				     guint milliseconds)
{
	struct events *events = session->events;
	deadline_ms deadline = deadline_in(milliseconds);
	enum block_event event;
	struct watch *watch;

	g_mutex_lock(&events->lock);
	watch = find_watch(events, uuid, disk);
	/*
	 * A stop is looked for after a slice, not before it: a caller that undoes its work
	 * after a stop would turn in circles here.
	 */
	while (!watch->fresh && !deadline_passed(deadline)) {
		int slice_ms = MIN(SLICE_MS, deadline_left(deadline));

		g_cond_wait_until(&events->changed, &events->lock,
				  g_get_monotonic_time() + slice_ms * G_TIME_SPAN_MILLISECOND);
		if (stop_level() != STOP_NO)
			break;
	}
	watch->fresh = FALSE;
	event = watch->event;
	g_mutex_unlock(&events->lock);
	return event;
}
