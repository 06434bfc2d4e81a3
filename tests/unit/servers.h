/*
 * Private storage servers for one test program: nfs-ganesha with a port mapper, and
 * tgtd.
 *
 * The program runs in mount, PID and network namespaces of its own: when it ends,
 * however it ends, the kernel kills the servers, and the ports are nobody else's.
 * A server that a test starts dies with that test (Check kills its process group);
 * one that an unchecked fixture starts serves the whole case.
 */
#ifndef TESTS_SERVERS_H
#define TESTS_SERVERS_H

#include <glib.h>

/* Runs @tests in private namespaces; returns what it returns.  For main(). */
int servers_run(int (*tests)(void));

/* Begins, and waits until it answers. */
void nfs_server_start(void);
/* As a crash does. */
void nfs_server_kill(void);
/* Stands still, or goes on. */
void nfs_server_freeze(void);
void nfs_server_thaw(void);

/* The exported folder, from the server's side. */
const char *nfs_server_folder(void);
/* nfs://127.0.0.1:PORT/FOLDER/@name?mountport=PORT; the caller frees. */
char *nfs_server_url(const char *name);

/* One target with no LUN yet but the controller's, 0. */
void iscsi_server_start(void);
void iscsi_server_kill(void);
void iscsi_server_freeze(void);
void iscsi_server_thaw(void);

/*
 * Adds a LUN on a sparse file, which is kept over a restart.  A thin one tells and
 * unmaps its holes.
 */
void iscsi_server_add_lun(int lun, guint64 size_bytes, int block_bytes, gboolean thin);
void iscsi_server_set_readonly(int lun);
/* One of the target's own settings: "HeaderDigest", "CRC32C". */
void iscsi_server_set(const char *name, const char *value);
/* CHAP for the initiator; @mutual_user may be NULL. */
void iscsi_server_require_chap(const char *user, const char *password, const char *mutual_user,
			       const char *mutual_password);
/* The file behind the LUN; the caller frees. */
char *iscsi_server_backing(int lun);
/* iscsi://127.0.0.1/IQN/@lun; a negative one: the target.  The caller frees. */
char *iscsi_server_url(int lun);

#endif
