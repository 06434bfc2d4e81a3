/*
 * The wire between a client and a scripted NFS server (nfs_script.h): a process that
 * passes whole RPC messages on, until one comes by that it was told about.
 *
 *     wire->procedure = NFS3_READ, wire->replies = TRUE;
 *     wire->at = 57, wire->action = NFS_WIRE_CUT, wire->times = 1;
 *
 * cuts the link at the 57th byte of the next READ's answer.  Set times last.
 */
#ifndef TESTS_NFS_WIRE_H
#define TESTS_NFS_WIRE_H

#include <glib.h>

enum nfs_wire_action {
	NFS_WIRE_CUT,	/* the link is closed behind the byte */
	NFS_WIRE_RESET, /* and what is still on its way is lost too */
	NFS_WIRE_STALL, /* nothing passes on the link any more, and it stays open */
	NFS_WIRE_FLIP,	/* a bit of the byte changes */
	NFS_WIRE_GONE,	/* every link is closed, and new ones are refused: see gone */
};

struct nfs_wire {
	char host[16];
	int port;

	/* What to do. */
	enum nfs_wire_action action;
	guint procedure;  /* of NFS 3, or NFS_SCRIPT_MOUNT(one of MOUNT's) */
	gboolean replies; /* its answers rather than its calls */
	gsize at;	  /* so many bytes of the message pass, its record mark included */
	guint skip;	  /* so many such messages pass before */
	guint times;	  /* then so many are hit; G_MAXUINT: all */
	gboolean gone;	  /* connections are refused, and those that were there are closed */
	gboolean deaf;	  /* connections are accepted, and nothing passes */

	/* What was done. */
	guint hits;
	gsize message_bytes; /* of the last such message */
};

/*
 * Begins to listen at @host (numeric) and @port (0: a free one), and to pass on what
 * comes to @server_port.  The caller keeps the struct until the test's process ends.
 */
struct nfs_wire *nfs_wire_start(const char *host, int port, int server_port);

#endif
