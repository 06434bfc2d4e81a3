/*
 * A scripted NFS 3 server with one file, for what a real one cannot be made to do: it
 * answers in a process of its own and does what the shared struct says at that moment.
 */
#ifndef TESTS_NFS_SCRIPT_H
#define TESTS_NFS_SCRIPT_H

#include <glib.h>

enum { NFS_SCRIPT_BYTES = 4 * 1024 * 1024 };

/* For counts: more often than any test asks. */
#define NFS_SCRIPT_ALWAYS G_MAXUINT

/* MOUNT's procedures, beside those of NFS. */
#define NFS_SCRIPT_MOUNT(procedure) (1000 + (procedure))

struct nfs_script {
	int port; /* of NFS and MOUNT */

	/* What it is like. */
	guint64 size_bytes;	   /* of the file */
	guint request_bytes;	   /* the most that it announces for one READ or WRITE */
	guint committed;	   /* of every WRITE, a stable_how */
	gboolean mixes;		   /* every other WRITE is answered as FILE_SYNC all the same */
	gboolean hides_allocation; /* the file never seems to use any room */

	/* What to do. */
	guint jukebox;	       /* so many READs and WRITEs are told to wait */
	guint write_status;    /* of every WRITE; 0: good */
	guint most_bytes;      /* of one READ or WRITE, longer ones are answered short; 0: any */
	gboolean cut_read;     /* the next READ's answer breaks off in its data, and the link too */
	gboolean flood_read;   /* the next READ is answered by empty fragments, for ever */
	gboolean flood_tail;   /* or by an error with an endless tail */
	gboolean list_repeats; /* the folder's list begins anew whenever it is to go on */
	gboolean replaced;     /* at the next SETATTR the name is another file's */
	gboolean swallow_create; /* the next CREATE is done, and its answer lost with the link */
	/* So many calls of this procedure pass, then so many fail. */
	guint fail_procedure, fail_skip, fail_times, fail_status;
	/* The same of MOUNT's MNT. */
	guint mount_skip, mount_times, mount_status;
	guint flip_reads;    /* so many READs' answers have one bit flipped */
	guint flip_writes;   /* so many WRITEs are stored with one bit flipped */
	guint ignore_writes; /* so many WRITEs are acknowledged and not stored */

	/* After so many more WRITEs it restarts, with another verifier; 0: never. */
	guint restart_after;
	guint restart_every;	  /* and again after so many more; 0: not again */
	gboolean restart_forgets; /* what was not committed is lost */
	gboolean restart_disconnects;
	gboolean restart_replaces; /* another file has the name */

	/* What was done. */
	guint reads, writes, commits, creates, removes, restarts;
	guint64 verifier, fileid;
	gboolean exists;
	guint64 create_verifier;
	guint8 data[NFS_SCRIPT_BYTES];	  /* what is read */
	guint8 durable[NFS_SCRIPT_BYTES]; /* what a restart leaves */
};

/* Starts the server; the caller keeps the struct until the test's process ends. */
struct nfs_script *nfs_script_start(void);

/* nfs://127.0.0.1:PORT/export/disk; the caller frees. */
char *nfs_script_url(const struct nfs_script *script);

#endif
