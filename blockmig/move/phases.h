/*
 * The bodies of the seeded method's phases, one file each; the table is in seeded.c.
 * Every one keeps the contract of runner.h.
 */
#ifndef MOVE_PHASES_H
#define MOVE_PHASES_H

#include "blockmig/move/runner.h"

/* claim.c: our element in the domain's metadata; locks are taken by the caller. */
enum standing claim_probe(struct move *move, GError **error);
gboolean claim_run(struct move *move, GError **error);
gboolean claim_undo(struct move *move, GError **error);
/* Writes into the element what a resume without the ledger has to know (adopt.h). */
gboolean claim_update(struct move *move, GError **error);
/* The element is still ours: asked before each phase that destroys or switches. */
gboolean claim_check(struct move *move, GError **error);
/* Takes our element out of the inactive XML and, where the guest runs, the live one. */
gboolean claim_release(struct move *move, GError **error);

gboolean backup_run(struct move *move, GError **error);

/* prepare.c */
gboolean prepare_run(struct move *move, GError **error);
gboolean prepare_undo(struct move *move, GError **error);
/*
 * Creates a file at the destination, as QEMU's user's.  Where it was tried before (@again),
 * one that this job made may be there already: it is taken, or made again where it has no
 * size yet.
 */
gboolean prepare_create(struct move *move, const struct url *url, guint64 size_bytes,
			gboolean again, GError **error);
/*
 * The job's destination once it is prepared: PERMANENT where another image answers there by
 * now.  One without an identity is told from another by nothing.
 */
struct handle *prepare_open(struct move *move, enum handle_mode mode, GError **error);

/* freeze.c */
enum standing freeze_probe(struct move *move, GError **error);
gboolean freeze_run(struct move *move, GError **error);
gboolean freeze_undo(struct move *move, GError **error);
/* Puts the guest onto a new overlay of ours. */
gboolean freeze_again(struct move *move, GError **error);
/*
 * A recorded overlay that the guest never got onto is no layer, and the one below it is not
 * frozen.  That is known for sure only where the guest is on the layer below it.
 */
gboolean freeze_drop_unused(struct move *move, const struct world *world, GError **error);
/* What the host still has in its page cache must be where our URL reads it. */
gboolean freeze_sync(const struct source *source, GError **error);

/* seed.c */
gboolean seed_run(struct move *move, GError **error);

/* rounds.c */
gboolean rounds_run(struct move *move, GError **error);
/* What the last overlay may hold, in bytes, for the guest to stand still no longer than allowed. */
guint64 rounds_budget(const struct job *job);
/*
 * Copies to the destination, proven, the overlays below the last one: nobody writes to them.
 */
gboolean rounds_catch_up(struct move *move, GError **error);
/* Whether the last overlay holds anything.  The guest must be off. */
gboolean rounds_left(struct move *move, gboolean *left, GError **error);
/* After the cutover: every chunk that a round touched is compared and hashed as a whole. */
gboolean attest_run(struct move *move, GError **error);

/* mirror.c */
enum standing mirror_probe(struct move *move, GError **error);
gboolean mirror_run(struct move *move, GError **error);
gboolean mirror_undo(struct move *move, GError **error);
/* Mirrors the active layer onto the overlay @path over @below; waits until it is ready. */
gboolean mirror_onto(struct move *move, GPtrArray *chain, GError **error);
/* An active commit of everything above @base into it; waits for its pivot. */
gboolean mirror_commit(struct move *move, const struct source *base, GError **error);

/* cutover.c */
gboolean cutover_run(struct move *move, GError **error);
gboolean cutover_undo(struct move *move, GError **error);

/* awake.c */
/* Before a suspend: from now on a guardian ends it where we cannot. */
gboolean cutover_guard(struct move *move, GError **error);
/* It goes where the guest is not suspended (any more). */
void cutover_unguard(struct move *move);
/* The guest as it was before the suspend; the caller saves the job. */
gboolean cutover_resume(struct move *move, GError **error);
/*
 * The guest that QEMU stopped at a failed write while it was on overlays of ours, which are
 * gone now.  It ran when the job began: preflight refuses one that stands there already.
 */
void wake_stopped(struct move *move);

/*
 * ended.c: the guest is off, its XML names the destination's overlay, and the commit point
 * was not reached.
 */
enum ended {
	ENDED_EQUAL,   /* both overlays hold the same: either side is right */
	ENDED_WRONG,   /* the destination's is the wrong mirror that we saw: its source is right */
	ENDED_UNKNOWN, /* the error says what a person has to find out */
};
enum ended ended_look(struct move *move, const struct world *world, GError **error);
/* Where the guest stands still on a wrong mirror: remembers what that holds. */
void ended_note_wrong(struct move *move);
/* Back onto the source. */
gboolean ended_define_back(struct move *move, GError **error);
/*
 * For a person who finds the source right: the path of a file with @world's XML, but on
 * the source; the caller frees.
 */
char *ended_write_way_back(struct move *move, const struct world *world, GError **error);
/* Sets the error of a wrong mirror. */
void ended_tell_wrong(const struct move *move, GError **error);

/* putback.c: the guest is suspended on a destination that is wrong or gone. */
/*
 * Back onto the source's data: where the destination @answers and the source's overlay
 * hides all of the wrong one, by a graft (job->grafted), else by save and restore.
 */
gboolean putback_leave(struct move *move, gboolean answers, GError **error);
/* Finishes a save and restore that we died in; nothing where there is none. */
gboolean putback_wake(struct move *move, GError **error);
/* Where it keeps the guest's memory meanwhile; the caller frees. */
char *putback_save_path(const struct job *job);
/* From a graft to the source's own chain; nothing where there is no graft. */
gboolean putback_bring_home(struct move *move, GError **error);

/* finish.c */
/*
 * While the guest is suspended on the destination's overlay: its inactive XML names that, too.
 * libvirt's pivot has seen to it, or could not save the XML, and has only logged that.
 */
gboolean persist_early(struct move *move, GError **error);
gboolean persist_run(struct move *move, GError **error);
gboolean merge_run(struct move *move, GError **error);
gboolean retire_run(struct move *move, GError **error);

#endif
