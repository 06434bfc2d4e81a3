#include "transports/resolve.h"

#include "common/error.h"

#include <sys/socket.h>

/* Shared by the one that waits and the thread, which may outlive the wait. */
struct question {
	char *host;
	GMutex mutex;
	GCond changed;
	gboolean answered;
	int status;
	struct addrinfo *list;
};

static void question_clear(gpointer data)
{
	struct question *question = data;

	if (question->list)
		freeaddrinfo(question->list);
	g_cond_clear(&question->changed);
	g_mutex_clear(&question->mutex);
	g_free(question->host);
}

static int ask(const char *host, int flags, struct addrinfo **list)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};

	return getaddrinfo(host, NULL, &hints, list);
}

static gpointer question_run(gpointer data)
{
	struct question *question = data;
	struct addrinfo *list = NULL;
	const int status = ask(question->host, 0, &list);

	g_mutex_lock(&question->mutex);
	question->status = status;
	question->list = list;
	question->answered = TRUE;
	g_cond_signal(&question->changed);
	g_mutex_unlock(&question->mutex);
	g_atomic_rc_box_release_full(question, question_clear);
	return NULL;
}

static void set_error(GError **error, const char *host, int status)
{
	const gboolean permanent = status == EAI_NONAME || status == EAI_FAMILY;

	g_set_error(error, BLOCKMIG_ERROR,
		    permanent ? BLOCKMIG_ERROR_PERMANENT : BLOCKMIG_ERROR_TRANSIENT, "host %s: %s",
		    host, gai_strerror(status));
}

/* FALSE where no answer came in time. */
static gboolean await(struct question *question, guint stall_ms)
{
	const gint64 until_us = g_get_monotonic_time() + (gint64)stall_ms * 1000;
	gboolean answered;

	g_mutex_lock(&question->mutex);
	while (!question->answered &&
	       g_cond_wait_until(&question->changed, &question->mutex, until_us))
		;
	answered = question->answered;
	g_mutex_unlock(&question->mutex);
	return answered;
}

struct addrinfo *resolve_host(const char *host, guint stall_ms, GError **error)
{
	struct addrinfo *list = NULL;
	struct question *question;

	if (ask(host, AI_NUMERICHOST, &list) == 0)
		return list;
	question = g_atomic_rc_box_new0(struct question);
	question->host = g_strdup(host);
	g_mutex_init(&question->mutex);
	g_cond_init(&question->changed);
	g_thread_unref(g_thread_new("resolve", question_run, g_atomic_rc_box_acquire(question)));
	if (!await(question, stall_ms))
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT,
			    "host %s: the name service gave no answer for %u ms", host, stall_ms);
	else if (question->status != 0)
		set_error(error, host, question->status);
	else
		list = g_steal_pointer(&question->list);
	g_atomic_rc_box_release_full(question, question_clear);
	return list;
}
