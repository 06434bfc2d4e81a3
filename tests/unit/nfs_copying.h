/*
 * A copy between an image in memory and one on a scripted NFS server, with a wire to the
 * server that can be cut: what the tests of the engine over NFS start from.  The rules of
 * copying.h hold.
 */
#ifndef TESTS_NFS_COPYING_H
#define TESTS_NFS_COPYING_H

#include "tests/unit/copying.h"
#include "tests/unit/nfs_script.h"
#include "tests/unit/nfs_wire.h"

enum nfs_side { NFS_IS_SOURCE, NFS_IS_DESTINATION };

struct nfs_copying {
	struct copying copying;
	enum nfs_side side;
	struct nfs_script *script;
	struct nfs_wire *wire;
	struct memory_image *memory;	/* the other side */
	struct transport_config config; /* the NFS side's; stall limit 2 s */
	/*
	 * Bits flip, or the server does not keep what it acknowledged: the read-back may find
	 * that.  Where it is FALSE it must find nothing: it is no cure for faults that the
	 * protocol tells.
	 */
	gboolean server_lies;
};

/* A source full of random data, 1 MiB chunks, requests of 64 KiB, 10 s of tries. */
void nfs_copying_begin(struct nfs_copying *nfs, enum nfs_side side, guint64 content_bytes);

/*
 * Runs it.  Copied: everything is proven (or done, where spec.prove is FALSE), and equal
 * to what the server (or the memory) would still have after a restart.  Fails: with this
 * code, the image's URL and these words, within the time of the tries; what the ledger
 * calls done is equal all the same, or what it calls proven where the server lies.
 */
void nfs_copying_assert_copied(struct nfs_copying *nfs);
void nfs_copying_assert_fails(struct nfs_copying *nfs, enum blockmig_error code, const char *words);
/* Runs it, and looks at no more than that what the ledger promises is equal. */
gboolean nfs_copying_run(struct nfs_copying *nfs);
/* For copies that are repeated: forgets what the destination and the ledger have. */
void nfs_copying_start_over(struct nfs_copying *nfs);
void nfs_copying_end(struct nfs_copying *nfs);

#endif
