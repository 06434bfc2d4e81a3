#include "tests/unit/nfs_wire.h"

#include "tests/unit/nfs_script.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>

enum { LINKS = 32, LOOK_MS = 5, MARK_BYTES = 4, READ_BYTES = 64 * 1024 };

/* Where words lie in a message, behind its record mark. */
enum { WORD_XID = 1, WORD_TYPE = 2, WORD_PROGRAM = 4, WORD_PROCEDURE = 6 };

struct link {
	int fd[2];	       /* the client's end and the server's; -1: no link */
	GByteArray *coming[2]; /* from each end, not yet a whole message */
	GHashTable *calls;     /* xid -> procedure + 1, of calls without an answer */
	gboolean stalled;
};

static struct nfs_wire *wire;
static struct sockaddr_in server;
static struct link links[LINKS];

static guint32 word(const GByteArray *bytes, guint at)
{
	guint32 value;

	memcpy(&value, bytes->data + at * sizeof(value), sizeof(value));
	return ntohl(value);
}

static void link_close(struct link *link, gboolean reset)
{
	struct linger drop = {.l_onoff = 1, .l_linger = 0};

	for (int end = 0; end < 2; end++) {
		if (reset)
			setsockopt(link->fd[end], SOL_SOCKET, SO_LINGER, &drop, sizeof(drop));
		close(link->fd[end]);
		link->fd[end] = -1;
		g_byte_array_unref(link->coming[end]);
	}
	g_hash_table_unref(link->calls);
}

static void close_all(void)
{
	for (guint i = 0; i < LINKS; i++) {
		if (links[i].fd[0] >= 0)
			link_close(&links[i], TRUE);
	}
}

static void send_at_once(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static int connect_server(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	send_at_once(fd);
	if (connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0)
		_exit(1);
	return fd;
}

static void link_accept(int listener)
{
	for (guint i = 0; i < LINKS; i++) {
		struct link *link = &links[i];

		if (link->fd[0] >= 0)
			continue;
		link->fd[0] = accept(listener, NULL, NULL);
		if (link->fd[0] < 0)
			return;
		send_at_once(link->fd[0]);
		link->fd[1] = connect_server();
		link->coming[0] = g_byte_array_new();
		link->coming[1] = g_byte_array_new();
		link->calls = g_hash_table_new(NULL, NULL);
		link->stalled = FALSE;
		return;
	}
}

/* ---- messages ------------------------------------------------------------------- */

/* The procedure that a whole message belongs to, plus one; 0: another program's. */
static guint procedure_of(struct link *link, int from, const GByteArray *bytes)
{
	gpointer xid = GUINT_TO_POINTER(word(bytes, WORD_XID));
	guint procedure;

	if (from == 0 && word(bytes, WORD_TYPE) == CALL) {
		procedure = word(bytes, WORD_PROCEDURE) + 1;
		if (word(bytes, WORD_PROGRAM) == MOUNT_PROGRAM)
			procedure = NFS_SCRIPT_MOUNT(procedure);
		else if (word(bytes, WORD_PROGRAM) != NFS_PROGRAM)
			return 0;
		g_hash_table_insert(link->calls, xid, GUINT_TO_POINTER(procedure));
		return procedure;
	}
	procedure = GPOINTER_TO_UINT(g_hash_table_lookup(link->calls, xid));
	g_hash_table_remove(link->calls, xid);
	return procedure;
}

static gboolean is_meant(struct link *link, int from, const GByteArray *bytes, gsize message_bytes)
{
	if (procedure_of(link, from, bytes) != wire->procedure + 1 || wire->replies != (from == 1))
		return FALSE;
	wire->message_bytes = message_bytes;
	if (wire->times == 0 || wire->at >= message_bytes)
		return FALSE;
	if (wire->skip) {
		wire->skip--;
		return FALSE;
	}
	if (wire->times != G_MAXUINT)
		wire->times--;
	wire->hits++;
	return TRUE;
}

static gboolean pass(struct link *link, int from, const guint8 *bytes, gsize count)
{
	while (count > 0) {
		gssize sent = send(link->fd[1 - from], bytes, count, MSG_NOSIGNAL);

		if (sent < 0) {
			link_close(link, FALSE);
			return FALSE;
		}
		bytes += sent;
		count -= (gsize)sent;
	}
	return TRUE;
}

/* FALSE where the link passes nothing any more. */
static gboolean hit(struct link *link, int from, guint8 *bytes, gsize count)
{
	if (wire->action == NFS_WIRE_FLIP) {
		bytes[wire->at] ^= 0x10;
		return pass(link, from, bytes, count);
	}
	if (!pass(link, from, bytes, wire->at))
		return FALSE;
	if (wire->action == NFS_WIRE_STALL)
		link->stalled = TRUE;
	else if (wire->action == NFS_WIRE_GONE)
		wire->gone = TRUE;
	else
		link_close(link, wire->action == NFS_WIRE_RESET);
	return FALSE;
}

/* Passes the whole messages on that came from one end. */
static void pass_messages(struct link *link, int from)
{
	GByteArray *bytes = link->coming[from];

	while (bytes->len >= MARK_BYTES) {
		const gsize count = MARK_BYTES + (word(bytes, 0) & 0x7fffffffu);

		if (bytes->len < count)
			return;
		if (!(is_meant(link, from, bytes, count) ? hit(link, from, bytes->data, count)
							 : pass(link, from, bytes->data, count)))
			return;
		g_byte_array_remove_range(bytes, 0, (guint)count);
	}
}

static void on_bytes(struct link *link, int from)
{
	static guint8 buffer[READ_BYTES];
	gssize count = recv(link->fd[from], buffer, sizeof(buffer), 0);

	if (count <= 0) {
		link_close(link, FALSE);
		return;
	}
	g_byte_array_append(link->coming[from], buffer, (guint)count);
	pass_messages(link, from);
}

/* ---- the process ------------------------------------------------------------------ */

static int listen_at(const char *host, int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((guint16)port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (inet_pton(AF_INET, host, &address.sin_addr) != 1 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, LINKS) < 0)
		abort();
	return fd;
}

static void obey_gone(int *listener)
{
	if (wire->gone && *listener >= 0) {
		close(*listener);
		*listener = -1;
		close_all();
	} else if (!wire->gone && *listener < 0) {
		*listener = listen_at(wire->host, wire->port);
	}
}

static void G_GNUC_NORETURN serve(int listener)
{
	for (;;) {
		struct pollfd wait[2 * LINKS + 1];

		obey_gone(&listener);
		wait[2 * LINKS] = (struct pollfd){.fd = listener, .events = POLLIN};
		for (guint i = 0; i < 2 * LINKS; i++) {
			const struct link *link = &links[i / 2];
			const gboolean listens = !link->stalled && !wire->deaf;

			wait[i].fd = link->fd[i % 2];
			wait[i].events = listens ? POLLIN : 0;
		}
		if (poll(wait, G_N_ELEMENTS(wait), LOOK_MS) < 0)
			_exit(1);
		for (guint i = 0; i < 2 * LINKS && !wire->gone; i++) {
			struct link *link = &links[i / 2];

			if (!wait[i].revents || link->fd[i % 2] != wait[i].fd)
				continue;
			if (wait[i].events)
				on_bytes(link, (int)i % 2);
			else
				link_close(link, TRUE);
		}
		if (wait[2 * LINKS].revents & POLLIN)
			link_accept(listener);
	}
}

struct nfs_wire *nfs_wire_start(const char *host, int port, int server_port)
{
	int listener = listen_at(host, port);
	struct sockaddr_in address;
	socklen_t length = sizeof(address);

	wire = mmap(NULL, sizeof(*wire), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (wire == MAP_FAILED || getsockname(listener, (struct sockaddr *)&address, &length) < 0)
		abort();
	g_strlcpy(wire->host, host, sizeof(wire->host));
	wire->port = ntohs(address.sin_port);
	server = (struct sockaddr_in){.sin_family = AF_INET,
				      .sin_port = htons((guint16)server_port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	for (guint i = 0; i < LINKS; i++)
		links[i].fd[0] = links[i].fd[1] = -1;
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGPIPE, SIG_IGN);
		serve(listener);
	}
	close(listener);
	return wire;
}
