/*
 * A guest with one disk, and everything that a move of it needs: what the tests begin with
 * and what they look at in the end.
 */
#ifndef FAKED_SCENE_H
#define FAKED_SCENE_H

#include "blockmig/move/job.h"
#include "tests/faked/fake.h"

enum { SCENE_BYTES = 8 << 20, SCENE_CHUNK = 1 << 20 };

struct scene {
	const char *format; /* of the source */
	char *source;	    /* its path */
	char *to;	    /* the destination, as a user gives it */
	char *before;	    /* the inactive XML */
	guint8 *content;    /* what the guest must see */
	struct session *session;
	struct ledger *ledger;
	struct config *config;
	struct move_options options;
	struct move_reporter reporter;
	struct move_context context;
	GString *warnings;
};

/* A domain "web" that is off, with a disk of @format that holds something. */
void scene_open(struct scene *scene, const char *format);
void scene_close(struct scene *scene);

/* --to and --format of the moves to come. */
void scene_go_to(struct scene *scene, const char *to);
void scene_want_format(struct scene *scene, const char *format);

/* The guest writes whole clusters, and the test remembers it. */
void scene_write(struct scene *scene, guint64 cluster, guint64 count, guint8 value);
void scene_assert_content(const struct scene *scene);

/* move_start; TRUE with *error NULL, or FALSE. */
gboolean scene_move(struct scene *scene, GError **error);
gboolean scene_resume(struct scene *scene, GError **error);
gboolean scene_abort(struct scene *scene, GError **error);

/*
 * One of these in a process of its own: its exit status, or SCENE_KILLED.  The faults are
 * gone afterwards.
 */
enum { SCENE_KILLED = -1 };
int scene_apart(struct scene *scene, gboolean (*drive)(struct scene *, GError **));

/* The same after the ledger is gone: what `resume`, and `abort` with the job's number, do. */
gboolean scene_adopt_and_resume(struct scene *scene, GError **error);
gboolean scene_adopt_and_abort(struct scene *scene, GError **error);
/* The state folder is empty, as on a new host. */
void scene_lose_ledger(struct scene *scene);

/* As after a new start of the program. */
void scene_new_process(struct scene *scene);

/* The last job's result; a copy of its document. */
enum job_result scene_result(const struct scene *scene);
struct job *scene_job(const struct scene *scene);

/*
 * On one layer of @format at the destination, live and inactive; nothing else there, no
 * overlay, no element, no block job; the content is right.
 */
void scene_assert_moved(const struct scene *scene, const char *format);
/* The same, whatever the ledger has of it. */
void scene_assert_lies(const struct scene *scene, const char *format);
/* Whether its one layer is there. */
gboolean scene_is_moved(const struct scene *scene, const char *format);
/* On its source with the XML of before, byte for byte; nothing at the destination. */
void scene_assert_home(const struct scene *scene);
/* The same, but that the files @left (as of fake_listing) lie at the destination. */
void scene_assert_home_leaving(const struct scene *scene, const char *left);

#endif
