/*
 * What the tests of the phases' probes and undos share: a move that is killed, an abort that
 * is barred at one of its steps and held, and the next, which finishes it.
 *
 *     undos_die("ready", FAKE_AFTER, RUN_RUNNING);
 *     undos_at("mirror", hook);
 *     undos_held("undoing: mirror|Is a directory");
 *     undos_done(RUN_RUNNING);
 */
#ifndef FAKED_UNDOS_H
#define FAKED_UNDOS_H

#include "tests/faked/moves.h"

/* At which call the move is killed. */
struct undos_death {
	const char *call;
	enum fake_when when;
	enum domain_run run;
	guint nth; /* as in struct fake_fault */
};

/* A move of a raw image, to be killed; the guest writes a little once it is frozen. */
void undos_open(const struct undos_death *death);
/* The move itself, in a process of its own. */
void undos_killed(void);
/* Both. */
void undos_die(const char *call, enum fake_when when, enum domain_run run);

/* virsh blockcopy to the file or device "theirs" of the private folder. */
void undos_copy_elsewhere(enum source_type type);
/* What virsh detach-disk leaves of @xml; the caller frees. */
char *undos_without_disk(const char *xml);

/* @hook is called as the undo of @phase begins. */
void undos_at(const char *phase, void (*hook)(void));

/* The abort fails; @words, separated by '|', are all in its message, and the job is open. */
void undos_fails(int status, const char *words);
/* The same with exit status 3, and the guest has all it wrote. */
void undos_held(const char *words);

/* All is well again, and the next abort puts the guest home, which is then as @run. */
void undos_finished(enum domain_run run);
/* The same, and closes the scene. */
void undos_done(enum domain_run run);

#endif
