#include "transports/address.h"

#include "common/error.h"
#include "transports/resolve.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void candidate_free(gpointer data)
{
	struct address *address = data;

	g_free(address->host);
	g_free(address);
}

/* ---- failures ----------------------------------------------------------------- */

struct failure {
	guint number; /* the higher the later */
	char *why;
};

static GMutex lock;	     /* for all that is here */
static GHashTable *failures; /* "host port" to struct failure */
static GHashTable *in_use;   /* a server's first "host port" to the one in use */
static guint failures_count;
static address_listener listener;
static void *listener_data;

static void failure_free(gpointer data)
{
	struct failure *failure = data;

	g_free(failure->why);
	g_free(failure);
}

static char *key_of(const char *host, int port)
{
	return g_strdup_printf("%s %d", host, port);
}

void address_blame(const char *host, int port, const char *why)
{
	struct failure *failure = g_new0(struct failure, 1);

	failure->why = g_strdup(why);
	g_mutex_lock(&lock);
	if (!failures)
		failures = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, failure_free);
	failure->number = ++failures_count;
	g_hash_table_replace(failures, key_of(host, port), failure);
	g_mutex_unlock(&lock);
}

static guint latest_failure(const char *host, int port)
{
	g_autofree char *key = key_of(host, port);
	const struct failure *failure = NULL;
	guint failed = 0;

	g_mutex_lock(&lock);
	if (failures)
		failure = g_hash_table_lookup(failures, key);
	if (failure)
		failed = failure->number;
	g_mutex_unlock(&lock);
	return failed;
}

static gint compare_failures(gconstpointer a, gconstpointer b)
{
	const struct address *const *first = a, *const *second = b;

	return ((*first)->failed > (*second)->failed) - ((*first)->failed < (*second)->failed);
}

/* ---- names to numbers --------------------------------------------------------- */

static gboolean add_resolved(GPtrArray *candidates, const char *host, int port, guint stall_ms,
			     GError **error)
{
	struct addrinfo *list = resolve_host(host, stall_ms, error);

	for (struct addrinfo *info = list; info; info = info->ai_next) {
		char numeric[NI_MAXHOST];
		struct address *address;

		if (getnameinfo(info->ai_addr, info->ai_addrlen, numeric, sizeof(numeric), NULL, 0,
				NI_NUMERICHOST) != 0)
			continue;
		address = g_new0(struct address, 1);
		address->host = g_strdup(numeric);
		address->port = port;
		address->order = candidates->len;
		address->failed = latest_failure(numeric, port);
		g_ptr_array_add(candidates, address);
	}
	if (list)
		freeaddrinfo(list);
	return list != NULL;
}

/* "host", "host:port", "[v6]", "[v6]:port", or a bare IPv6 address. */
static gboolean add_alternate(GPtrArray *candidates, const char *text, int default_port,
			      guint stall_ms, GError **error)
{
	const char *colon = strrchr(text, ':');
	g_autofree char *host = NULL;
	guint64 port = default_port;

	if (text[0] == '[' && strchr(text, ']')) {
		const char *end = strchr(text, ']');

		host = g_strndup(text + 1, end - text - 1);
		colon = end[1] == ':' ? end + 1 : NULL;
	} else if (colon && strchr(text, ':') != colon) {
		host = g_strdup(text);
		colon = NULL;
	} else {
		host = colon ? g_strndup(text, colon - text) : g_strdup(text);
	}
	if (colon && !g_ascii_string_to_unsigned(colon + 1, 10, 1, G_MAXUINT16, &port, NULL)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "address '%s': the port is not a number from 1 to 65535", text);
		return FALSE;
	}
	return add_resolved(candidates, host, (int)port, stall_ms, error);
}

GPtrArray *address_candidates(const struct url *url, const struct transport_config *config,
			      int default_port, GError **error)
{
	g_autoptr(GPtrArray) candidates = g_ptr_array_new_with_free_func(candidate_free);
	const guint stall_ms = transport_stall_ms(config);
	int port = url->port ? url->port : default_port;
	GError *first = NULL;

	add_resolved(candidates, url->host, port, stall_ms, &first);
	for (char **text = config->addresses; text && *text; text++)
		add_alternate(candidates, *text, port, stall_ms, first ? NULL : &first);
	if (candidates->len == 0) {
		g_propagate_error(error, first);
		return NULL;
	}
	g_clear_error(&first);
	g_ptr_array_sort(candidates, compare_failures); /* a stable sort */
	return g_steal_pointer(&candidates);
}

/* ---- the one in use ----------------------------------------------------------- */

void address_listen(address_listener new_listener, void *data)
{
	g_mutex_lock(&lock);
	listener = new_listener;
	listener_data = data;
	g_mutex_unlock(&lock);
}

/* With the lock held: why the server is no longer reached at the address before. */
static const char *reason_of_change(const char *first, const char *now)
{
	const char *before;
	const struct failure *failure;

	if (!in_use)
		in_use = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	before = g_hash_table_lookup(in_use, first);
	if (!before)
		before = first;
	if (g_str_equal(before, now) || !failures)
		return NULL;
	failure = g_hash_table_lookup(failures, before);
	return failure ? failure->why : NULL;
}

void address_use(const GPtrArray *candidates, const struct address *address)
{
	const struct address *first = address;

	for (guint i = 0; i < candidates->len; i++) {
		const struct address *candidate = g_ptr_array_index(candidates, i);

		if (candidate->order == 0)
			first = candidate;
	}
	g_autofree char *key = key_of(first->host, first->port);
	char *now = key_of(address->host, address->port);

	g_mutex_lock(&lock);
	const char *why = reason_of_change(key, now);

	if (why && listener) {
		g_autofree char *text =
			g_strdup_printf(strchr(address->host, ':') ? "%s; going on at [%s]:%d"
								   : "%s; going on at %s:%d",
					why, address->host, address->port);
		listener(text, listener_data);
	}
	g_hash_table_replace(in_use, g_steal_pointer(&key), now);
	g_mutex_unlock(&lock);
}

/* ---- sockets ------------------------------------------------------------------ */

const char *address_socket_error(int fd)
{
	int cause = 0;
	socklen_t length = sizeof(cause);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &cause, &length) != 0 || cause == 0)
		return "the connection was closed";
	return g_strerror(cause);
}

void address_tune_socket(int fd)
{
	int on = 1, idle_s = 10, interval_s = 5, probes = 4;
	struct linger drop = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &drop, sizeof(drop));
}
