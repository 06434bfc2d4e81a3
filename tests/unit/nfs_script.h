/*
 * A scripted NFS 3 server with one file, for what a real one cannot be made to do: it
 * answers in a process of its own and does what the shared struct says at that moment.
 */
#ifndef TESTS_NFS_SCRIPT_H
#define TESTS_NFS_SCRIPT_H

#include <glib.h>

enum { NFS_SCRIPT_BYTES = 4 * 1024 * 1024 };

struct nfs_script {
	int port; /* of NFS and MOUNT */

	/* What to do. */
	guint jukebox;	     /* so many READs and WRITEs are told to wait */
	guint write_status;  /* of every WRITE; 0: good */
	guint most_bytes;    /* of one READ or WRITE, longer ones are answered short; 0: any */
	gboolean cut_read;   /* the next READ's answer breaks off in its data, and the link too */
	guint restart_after; /* after so many more WRITEs the verifier changes; 0: never */
	gboolean stable;     /* WRITEs are answered FILE_SYNC */
	gboolean swallow_create; /* the next CREATE is done, and its answer lost with the link */

	/* What was done. */
	guint reads, writes, commits, creates;
	guint64 verifier;
	gboolean exists;
	guint64 create_verifier;
	guint8 data[NFS_SCRIPT_BYTES];
};

/* Starts the server; the caller keeps the struct until the test's process ends. */
struct nfs_script *nfs_script_start(void);

/* nfs://127.0.0.1:PORT/export/disk; the caller frees. */
char *nfs_script_url(const struct nfs_script *script);

#endif
