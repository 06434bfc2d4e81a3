#include "tests/unit/proxy_pdu.h"

#include "common/deadline.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	LOGIN = 0x03,
	LUN_AT = 9, /* flat and peripheral addressing of small numbers */
	CDB_AT = 32,
	DIGEST_BYTES = 4,
	NO_SUCH_OPERATION = 0xff, /* what a refused command becomes for the target */
};

struct proxy {
	int listener, target_port;
	GThread *thread;
	GPtrArray *links; /* of GThread * */

	GMutex mutex;
	struct proxy_fault fault;
	int spoiled, connections, lun;
	gboolean has_digest;
	gint stopping; /* atomic */
};

/* One connection of the initiator, and its own one to the target. */
struct link {
	struct proxy *proxy;
	int initiator, target;
	int lun;		/* -1: as asked */
	GHashTable *operations; /* by the initiator's task tag */
	GHashTable *refused;	/* task tag to struct proxy_fault */
	gboolean is_silent;
	guint ping_ms;		    /* 0: silence is silent */
	struct pdu_serials serials; /* the target's latest */
};

/* ---- sockets ------------------------------------------------------------------------- */

static struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons((guint16)port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int listen_at(int port)
{
	const struct sockaddr_in address = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 64) < 0)
		g_error("proxy: port %d: %s", port, g_strerror(errno));
	return fd;
}

static int connect_to(int port)
{
	const struct sockaddr_in address = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

/* Waits for bytes as long as the proxy runs. */
static gboolean await(const struct link *link, struct pollfd *fds, nfds_t count)
{
	while (!g_atomic_int_get(&link->proxy->stopping)) {
		if (poll(fds, count, 50) > 0)
			return TRUE;
	}
	return FALSE;
}

static gboolean receive(const struct link *link, int fd, guint8 *buffer, gsize count)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};

	while (count > 0) {
		ssize_t got = await(link, &wait, 1) ? recv(fd, buffer, count, 0) : -1;

		if (got <= 0)
			return FALSE;
		buffer += got;
		count -= (gsize)got;
	}
	return TRUE;
}

static gboolean transmit(int fd, const guint8 *buffer, gsize count)
{
	while (count > 0) {
		ssize_t sent = send(fd, buffer, count, MSG_NOSIGNAL);

		if (sent <= 0)
			return FALSE;
		buffer += sent;
		count -= (gsize)sent;
	}
	return TRUE;
}

/* ---- PDUs and faults ----------------------------------------------------------------------------
 */

static GByteArray *pdu_receive(const struct link *link, int fd)
{
	g_autoptr(GByteArray) pdu = g_byte_array_new();
	gsize rest;

	g_byte_array_set_size(pdu, PROXY_HEADER_BYTES);
	if (!receive(link, fd, pdu->data, PROXY_HEADER_BYTES))
		return NULL;
	rest = pdu_rest_bytes(pdu);
	g_mutex_lock(&link->proxy->mutex);
	if (link->proxy->has_digest && pdu_opcode(pdu) != LOGIN &&
	    pdu_opcode(pdu) != PROXY_LOGIN_RESPONSE)
		rest += DIGEST_BYTES;
	g_mutex_unlock(&link->proxy->mutex);
	g_byte_array_set_size(pdu, (guint)(PROXY_HEADER_BYTES + rest));
	if (!receive(link, fd, pdu->data + PROXY_HEADER_BYTES, rest))
		return NULL;
	return g_steal_pointer(&pdu);
}

static void remember_command(struct link *link, GByteArray *pdu)
{
	if (pdu_opcode(pdu) != PROXY_COMMAND)
		return;
	g_hash_table_insert(link->operations, GUINT_TO_POINTER(pdu_tag(pdu)),
			    GINT_TO_POINTER((int)pdu->data[CDB_AT]));
	if (link->lun >= 0)
		pdu->data[LUN_AT] = (guint8)link->lun;
}

/* The fault that is to spoil @pdu, once for each call. */
static struct proxy_fault fault_for(struct link *link, const GByteArray *pdu)
{
	const int operation = GPOINTER_TO_INT(
		g_hash_table_lookup(link->operations, GUINT_TO_POINTER(pdu_tag(pdu))));
	struct proxy *proxy = link->proxy;
	struct proxy_fault *fault = &proxy->fault, strike = {.act = PROXY_NOTHING};

	g_mutex_lock(&proxy->mutex);
	if (fault->act != PROXY_NOTHING && fault->pdu == pdu_opcode(pdu) && fault->times > 0 &&
	    (fault->operation == PROXY_ANY || fault->operation == operation)) {
		if (fault->skip > 0) {
			fault->skip--;
		} else {
			if (fault->times != PROXY_FOR_EVER)
				fault->times--;
			proxy->spoiled++;
			strike = *fault;
		}
	}
	g_mutex_unlock(&proxy->mutex);
	return strike;
}

/* The target answers an operation that it does not know; the answer becomes ours. */
static void refuse(struct link *link, GByteArray *pdu, const struct proxy_fault *fault)
{
	g_hash_table_insert(link->refused, GUINT_TO_POINTER(pdu_tag(pdu)),
			    g_memdup2(fault, sizeof(*fault)));
	pdu->data[CDB_AT] = NO_SUCH_OPERATION;
}

/* The target sends zeros with its own answer. */
static gboolean is_data_of_refused(struct link *link, const GByteArray *pdu)
{
	return pdu_opcode(pdu) == PROXY_DATA_IN &&
	       g_hash_table_contains(link->refused, GUINT_TO_POINTER(pdu_tag(pdu)));
}

static void rewrite_answer(struct link *link, GByteArray *pdu)
{
	const gpointer tag = GUINT_TO_POINTER(pdu_tag(pdu));
	const struct proxy_fault *fault = g_hash_table_lookup(link->refused, tag);

	if (pdu_opcode(pdu) != PROXY_RESPONSE || !fault)
		return;
	pdu_answer(pdu, fault);
	g_hash_table_remove(link->refused, tag);
}

/* ---- connections --------------------------------------------------------------------- */

static void swallow(const struct link *link)
{
	struct pollfd wait = {.fd = link->initiator, .events = POLLIN};
	guint8 ignored[4096];

	while (await(link, &wait, 1) && recv(link->initiator, ignored, sizeof(ignored), 0) > 0)
		;
}

/* What was sent arrives before the end does: a reset would overtake it. */
static void cut(struct link *link)
{
	shutdown(link->target, SHUT_WR);
	shutdown(link->initiator, SHUT_WR);
	swallow(link);
}

/* Passes one PDU on.  FALSE: the connection is at its end. */
static gboolean pass(struct link *link, int from, int to)
{
	g_autoptr(GByteArray) pdu = pdu_receive(link, from);
	struct proxy_fault fault;

	if (!pdu)
		return FALSE;
	remember_command(link, pdu);
	if (from == link->target)
		pdu_read_serials(pdu, &link->serials);
	fault = fault_for(link, pdu);
	switch (fault.act) {
	case PROXY_NOTHING:
		break;
	case PROXY_CUT:
		transmit(to, pdu->data, MIN(fault.at, (gsize)pdu->len));
		cut(link);
		return FALSE;
	case PROXY_FLIP:
		g_assert(fault.at < pdu->len);
		pdu->data[fault.at] ^= fault.bits ? fault.bits : 1;
		break;
	case PROXY_PING:
		link->ping_ms = fault.ping_ms;
		G_GNUC_FALLTHROUGH;
	case PROXY_BLACKHOLE:
		link->is_silent = TRUE;
		return transmit(to, pdu->data, MIN(fault.at, (gsize)pdu->len));
	case PROXY_DROP:
		return TRUE;
	case PROXY_REFUSE:
		if (fault.call)
			fault.call(fault.data);
		refuse(link, pdu, &fault);
		break;
	case PROXY_CALL:
		fault.call(fault.data);
		break;
	case PROXY_APPEND:
		pdu_append(pdu, fault.text, fault.bytes);
		break;
	case PROXY_SHORT:
		pdu_tell_residual(pdu, (guint32)fault.bytes);
		break;
	}
	if (is_data_of_refused(link, pdu))
		return TRUE;
	rewrite_answer(link, pdu);
	return transmit(to, pdu->data, pdu->len);
}

/* One ping that wants an answer and one that does not, again and again. */
static void ping_from_now_on(const struct link *link)
{
	struct pollfd wait = {.fd = link->initiator, .events = POLLIN};
	g_autoptr(GByteArray) pings = g_byte_array_new();
	guint8 ignored[4096];

	pdu_append_ping(pings, TRUE, &link->serials);
	pdu_append_ping(pings, FALSE, &link->serials);
	while (!g_atomic_int_get(&link->proxy->stopping) &&
	       transmit(link->initiator, pings->data, pings->len)) {
		const deadline_ms next = deadline_in(link->ping_ms);

		while (poll(&wait, 1, deadline_left(next)) > 0)
			if (recv(link->initiator, ignored, sizeof(ignored), 0) <= 0)
				return;
	}
}

static void pass_all(struct link *link)
{
	struct pollfd waits[] = {{.fd = link->initiator, .events = POLLIN},
				 {.fd = link->target, .events = POLLIN}};
	gboolean open = TRUE;

	while (open && !link->is_silent && await(link, waits, 2)) {
		if (waits[0].revents)
			open = pass(link, link->initiator, link->target);
		if (open && !link->is_silent && waits[1].revents)
			open = pass(link, link->target, link->initiator);
	}
	if (open && link->ping_ms)
		ping_from_now_on(link);
	else if (open && link->is_silent)
		swallow(link);
}

static gpointer link_run(gpointer data)
{
	struct link *link = data;

	link->target = connect_to(link->proxy->target_port);
	if (link->target >= 0) {
		pass_all(link);
		close(link->target);
	}
	close(link->initiator);
	g_hash_table_unref(link->operations);
	g_hash_table_unref(link->refused);
	g_free(link);
	return NULL;
}

static void link_begin(struct proxy *proxy, int fd)
{
	struct link *link = g_new0(struct link, 1);
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	link->proxy = proxy;
	link->initiator = fd;
	link->operations = g_hash_table_new(NULL, NULL);
	link->refused = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	g_mutex_lock(&proxy->mutex);
	link->lun = proxy->lun;
	proxy->connections++;
	g_mutex_unlock(&proxy->mutex);
	g_ptr_array_add(proxy->links, g_thread_new("proxy-link", link_run, link));
}

static gpointer proxy_run(gpointer data)
{
	struct proxy *proxy = data;
	struct pollfd wait = {.fd = proxy->listener, .events = POLLIN};

	while (!g_atomic_int_get(&proxy->stopping)) {
		int fd = poll(&wait, 1, 50) > 0 ? accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC)
						: -1;

		if (fd >= 0)
			link_begin(proxy, fd);
	}
	close(proxy->listener);
	return NULL;
}

/* ---- the test's side ------------------------------------------------------------------- */

struct proxy *proxy_start(int port, int target_port)
{
	struct proxy *proxy = g_new0(struct proxy, 1);

	proxy->listener = listen_at(port);
	proxy->target_port = target_port;
	proxy->lun = -1;
	proxy->links = g_ptr_array_new();
	g_mutex_init(&proxy->mutex);
	proxy->thread = g_thread_new("proxy", proxy_run, proxy);
	return proxy;
}

void proxy_die(struct proxy *proxy)
{
	g_atomic_int_set(&proxy->stopping, TRUE);
}

void proxy_stop(struct proxy *proxy)
{
	proxy_die(proxy);
	g_thread_join(proxy->thread);
	for (guint i = 0; i < proxy->links->len; i++)
		g_thread_join(proxy->links->pdata[i]);
	g_ptr_array_unref(proxy->links);
	g_mutex_clear(&proxy->mutex);
	g_free(proxy);
}

void proxy_spoil(struct proxy *proxy, const struct proxy_fault *fault)
{
	g_mutex_lock(&proxy->mutex);
	proxy->fault = *fault;
	proxy->spoiled = 0;
	g_mutex_unlock(&proxy->mutex);
}

int proxy_spoiled(struct proxy *proxy)
{
	int spoiled;

	g_mutex_lock(&proxy->mutex);
	spoiled = proxy->spoiled;
	g_mutex_unlock(&proxy->mutex);
	return spoiled;
}

void proxy_swap_lun(struct proxy *proxy, int lun)
{
	g_mutex_lock(&proxy->mutex);
	proxy->lun = lun;
	g_mutex_unlock(&proxy->mutex);
}

void proxy_expect_header_digest(struct proxy *proxy)
{
	g_mutex_lock(&proxy->mutex);
	proxy->has_digest = TRUE;
	g_mutex_unlock(&proxy->mutex);
}

int proxy_connections(struct proxy *proxy)
{
	int connections;

	g_mutex_lock(&proxy->mutex);
	connections = proxy->connections;
	g_mutex_unlock(&proxy->mutex);
	return connections;
}
