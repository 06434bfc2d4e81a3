/*
 * The addresses at which a server may answer, in the order in which they are tried:
 * the URL's own host, then the datastore's alternates; names resolved to numbers.  One
 * that has failed moves behind those that have not, or not as lately: a path that lets
 * a login pass and no data must not be all that is ever tried.
 */
#ifndef TRANSPORTS_ADDRESS_H
#define TRANSPORTS_ADDRESS_H

#include "transports/transport.h"

struct address {
	char *host; /* numeric, IPv6 without brackets */
	int port;
	guint order;  /* its place before the failures moved it */
	guint failed; /* the higher the later; 0: not yet */
};

/*
 * A GPtrArray of struct address, never empty: names that cannot be resolved are left
 * out as long as another one can.  TRANSIENT where only the name service failed, or gave
 * no answer for the stall limit.
 */
GPtrArray *address_candidates(const struct url *url, const struct transport_config *config,
			      int default_port, GError **error);

/* A connection to it failed, or was lost: @why in full.  As long as this process lives. */
void address_blame(const char *host, int port, const char *why);

/*
 * A connection to @address, one of @candidates, is there.  Where it is another one than
 * the server was reached at before, or than its first one, because that has failed,
 * whoever listens is told so: once for each change.
 */
void address_use(const GPtrArray *candidates, const struct address *address);

/* Who is told, in words and by any thread; NULL: nobody.  One listener for the process. */
typedef void (*address_listener)(const char *text, void *data);
void address_listen(address_listener listener, void *data);

/*
 * Small requests leave at once, a dead peer is noticed, and closing drops what was
 * not sent yet: a write of a session given up must not reach the disk after its
 * successor's.
 */
void address_tune_socket(int fd);

/* Why poll(2) reported POLLERR or POLLHUP, in the system's words. */
const char *address_socket_error(int fd);

#endif
