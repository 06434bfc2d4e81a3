/*
 * The copy engine and an NFS server whose host drops what asks for a connection, as a
 * firewall does: neither refused nor accepted.
 */
#include "common/error.h"
#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/nfs_copying.h"
#include "tests/unit/temp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const struct transport transport_nbd = MEMORY_TRANSPORT;

enum { CONTENT = 2 * MiB, STALL_MS = 300, RETRY_MS = 800 };

static struct nfs_copying nfs;

static int connect_to(const struct sockaddr_in *address, int flags)
{
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		ck_assert_int_eq(errno, EINPROGRESS);
	return fd;
}

/* Its queue is full with one connection that nobody accepts: the next SYN is dropped. */
static int silent_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd next = {.events = POLLOUT};

	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(listen(listener, 0), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	connect_to(&address, 0);
	next.fd = connect_to(&address, SOCK_NONBLOCK);
	ck_assert_int_eq(poll(&next, 1, 0), 0);
	close(next.fd);
	return ntohs(address.sin_port);
}

static void begin(enum nfs_side side)
{
	nfs_copying_begin(&nfs, side, CONTENT);
	nfs.config.stall_ms = STALL_MS;
	nfs.copying.spec.retry_for_ms = RETRY_MS;
}

static void end(void)
{
	nfs_copying_end(&nfs);
}

static struct url *server_url(void)
{
	return nfs.side == NFS_IS_SOURCE ? nfs.copying.source_url : nfs.copying.destination_url;
}

static void assert_fails_at(const char *program, int port)
{
	g_autofree char *words = g_strdup_printf(
		"connect to %s: server 127.0.0.1:%d: no answer for 300 ms", program, port);

	nfs_copying_assert_fails(&nfs, BLOCKMIG_ERROR_TRANSIENT, words);
}

START_TEST(a_host_that_drops_every_connection_ends_the_copy)
{
	const int port = silent_port();

	begin((enum nfs_side)_i);
	server_url()->port = server_url()->mountport = port;
	assert_fails_at("MOUNT", port);
	end();
}
END_TEST

START_TEST(a_host_that_drops_connections_to_nfs_alone_ends_the_copy)
{
	const int port = silent_port();

	begin((enum nfs_side)_i);
	server_url()->port = port;
	assert_fails_at("NFS", port);
	end();
}
END_TEST

START_TEST(another_address_of_a_host_that_drops_connections_is_used)
{
	char *addresses[] = {(char[]){"127.0.0.2"}, NULL};
	const int port = silent_port();

	begin((enum nfs_side)_i);
	nfs_wire_start("127.0.0.2", port, nfs.script->port);
	nfs.config.addresses = addresses;
	server_url()->port = server_url()->mountport = port;
	nfs_copying_assert_copied(&nfs);
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("copy over nfs, silent hosts");
	TCase *tests = tcase_create("silent");

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, a_host_that_drops_every_connection_ends_the_copy, 0, 2);
	tcase_add_loop_test(tests, a_host_that_drops_connections_to_nfs_alone_ends_the_copy, 0, 2);
	tcase_add_loop_test(tests, another_address_of_a_host_that_drops_connections_is_used, 0, 2);
	suite_add_tcase(suite, tests);
	return suite;
}

int main(void)
{
	return images_run(suite());
}
