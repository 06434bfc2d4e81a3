/*
 * What the tests of whole moves share: the scene in all its shapes, moves that must end in
 * one way, a guest that writes meanwhile, and something that happens at a certain call.
 *
 *     moves_open(&moves_shapes[_i], RUN_RUNNING);
 *     moves_write_in_between();
 *     moves_done();
 *     scene_assert_moved(&scene, moves_shapes[_i].gets);
 *     scene_close(&scene);
 */
#ifndef FAKED_MOVES_H
#define FAKED_MOVES_H

#include "tests/faked/scene.h"

/* Of the test that runs. */
extern struct scene scene;

/* The source's format, --format, and what the destination gets. */
struct moves_shape {
	const char *had, *option, *gets;
};

enum { MOVES_SHAPES = 4 };
extern const struct moves_shape moves_shapes[MOVES_SHAPES];

void moves_open(const struct moves_shape *shape, enum domain_run run);
/* Raw, kept, and the guest is running. */
void moves_open_running(void);

/* Each is the whole command; @status: its exit status. */
void moves_done(void);
/* Nothing to do where an abort behind the commit point finished it. */
void moves_resume_done(void);
void moves_abort_done(void);
void moves_fails(int status);

/* The ledger is gone, as for a process that comes later. */
void moves_lose_ledger(void);
/*
 * Then @adopt, one of scene_adopt_and_..., has to put the guest back, or to go on to the
 * end; a second one finds nothing to do.
 */
void moves_go_on_without_ledger(gboolean (*adopt)(struct scene *, GError **));

/* ---- at which call ------------------------------------------------------------------ */

/* @hook is called with @data; the call itself succeeds. */
void moves_at(const char *call, guint nth, enum fake_when when, void (*hook)(void *), void *data);

/* Loops count to twice these: a move, or an abort, makes no more calls that change something. */
enum { MOVES_CALLS_MOST = 40, MOVES_CALLS_BACK_MOST = 16 };

/* A loop's number @i: before (even) and after (odd) each call, over all shapes in turn. */
const struct moves_shape *moves_shape_of(int i);
/* @code as in struct fake_fault. */
void moves_disturb(int i, int code);

/* A job that a fault held as it switched (pivot, or define), seen by a new process. */
void moves_hold_late(int i, enum domain_run run);

/* ---- what the guest does meanwhile: hooks ------------------------------------------- */

/* So little that one round is enough; @value: what it writes. */
void moves_write_little(void *value);
/* A guest that is off is started, writes, and is off again. */
void moves_start_and_stop(void *data);

/* Something in every phase that lets the guest run. */
void moves_write_in_between(void);

/* Somebody else writes to the image at @path, and the file system's clock shows it. */
void moves_flip_byte(const char *path, guint64 offset);
/* The last job's partial copy is as one of which only the identity is known. */
void moves_forget_stamp(void);

#endif
