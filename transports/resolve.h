/*
 * Names to numbers, within a stall limit.
 *
 * The system's resolver takes as long as it likes: with resolv.conf's defaults 10 s for
 * one name server that is silent, and a minute for three and a search list.  So it is asked
 * in a thread of its own, which is left to itself where no answer comes in time.
 */
#ifndef TRANSPORTS_RESOLVE_H
#define TRANSPORTS_RESOLVE_H

#include <glib.h>
#include <netdb.h>

/*
 * The addresses of @host (a name, or numeric: then nobody is asked), for freeaddrinfo.
 * NULL: PERMANENT where there is no such name, else TRANSIENT.
 */
struct addrinfo *resolve_host(const char *host, guint stall_ms, GError **error);

#endif
