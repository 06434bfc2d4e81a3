/*
 * A job from the inside: what has to survive our death, and what the phases share.
 *
 * struct job is written to the ledger as one JSON document *before* each step that it
 * announces (an overlay's name before the overlay is made).  After a crash it says what
 * may be there; the phases' probes look at what is.
 */
#ifndef MOVE_JOB_H
#define MOVE_JOB_H

#include "blockmig/move/move.h"
#include "blockmig/move/room.h"

#include <glib.h>

/* How the content below the last overlay gets to the destination. */
enum job_shape {
	SHAPE_APPLY,  /* the guest's view is copied into one image; rounds are written into it */
	SHAPE_APPEND, /* the layer's file is copied as it is; each round becomes a layer above it */
};

enum disk_state { DISK_OFF, DISK_PAUSED, DISK_RUNNING };

/* An overlay of ours on the source's side, oldest first in job->overlays. */
struct overlay {
	char *path;
	char *landed;	 /* append: its name at the destination, once the round was copied */
	gboolean copied; /* its round is at the destination, proven */
};

struct job {
	gint64 id;
	guint64 number;		   /* the id that it was begun with: our files' names have it */
	char *host, *state_folder; /* where its ledger is, or was */
	gboolean adopted;	   /* its ledger was lost: adopt.h */
	char *domain_uuid, *domain_name, *disk;
	struct move_options options;
	char *nonce;

	char *source_url;     /* ours */
	struct layer *source; /* the guest's: the layer that is frozen first */
	char *source_identity;
	char *disk_element; /* the inactive XML's <disk>, as it was before us */
	guint64 virtual_bytes;
	gboolean through_qemu; /* the source is read through qemu-nbd */

	enum job_shape shape;
	guint64 content_bytes; /* of the first pass */
	guint64 data_offset;   /* where the content lies in the destination */
	gboolean laid_out;     /* the destination's own metadata tell of all that was copied */
	char *destination_url;
	struct layer *destination;
	char *destination_identity;
	gboolean destination_made;  /* a file that we create */
	gboolean destination_begun; /* set before we do: what is there may be ours */
	gboolean destination_fresh;
	/* When the partial copy that was kept last changed (its ctime); 0: not known. */
	guint64 kept_ns;
	guint64 taken_over; /* the rolled back job whose partial copy this one uses; 0: none */

	int qemu_uid, qemu_gid;
	char *overlay_folder;
	gboolean overlay_beside;   /* in the layer's own folder */
	GPtrArray *overlays;	   /* of struct overlay * */
	char *destination_overlay; /* where the mirror writes */

	guint rounds;

	/* The limit that we put on the guest's writes: pace.h. */
	guint64 pace_bytes;	    /* a second; 0: none */
	guint64 pace_before_bytes;  /* the one before, which counts where we died in between */
	guint pace_guest;	    /* the guest's id then; started anew it has no limit of ours */
	gboolean pace_given_up;	    /* it cannot be slowed, or somebody else set limits */
	struct block_limits limits; /* as they were before us */

	enum disk_state return_to; /* the state before the cutover's suspend */
	gboolean suspended;	   /* set before the suspend, cleared after the resume */
	gboolean awaited;	   /* suspended; what it waits for may come about by itself */
	gboolean restoring;	   /* put-back: the guest goes through a save and restore */
	gboolean grafted;	   /* put-back: the source's overlay lies over the bad chain */
	gboolean cut_over;	   /* the commit point is behind us */
	gboolean going_back;	   /* set before the overlays are committed into the source */
	gboolean finished_cold;	   /* the cutover was done with the guest off */
	guint64 suspended_us;	   /* monotonic clock, the same for all processes of a boot */
	guint64 suspended_at_s;	   /* the same as UNIX time */
	/* What the destination's overlay held when it was found wrong; NULL: it was not. */
	char *wrong_sha256;
	gint64 downtime_ms;

	guint64 stamp_us;    /* UNIX time of this document */
	guint64 stamp_bytes; /* what the overlays held then: room.h */

	int failure;		    /* enum blockmig_error: what made the job go back */
	struct copy_totals totals;  /* of whole passes; what was sent, of all runs */
	struct copy_totals partial; /* of the pass that was cut off last */
	char *sha256;
	char *guarantee;
};

struct job *job_new(void);
void job_free(struct job *job);
AUTO_DEFINE(job, job_free)
char *job_to_json(const struct job *job);
/* As little as adopt.h needs; the same reader. */
char *job_to_brief(const struct job *job);
struct job *job_from_json(const char *text, GError **error);

/* The size that the destination has, or must at least have. */
guint64 job_destination_bytes(const struct job *job);

struct overlay *job_add_overlay(struct job *job, const char *path);
struct overlay *job_overlay(const struct job *job, guint index);
/* The one that the guest writes to; NULL before the freeze. */
struct overlay *job_active_overlay(const struct job *job);

/* Chains as GPtrArray of struct layer *, active one first. */
/* Overlays number @count - 1 down to 0, then the frozen layer. */
GPtrArray *job_source_chain(const struct job *job, guint count);
/* The destination's layers; with its overlay on top where @overlay. */
GPtrArray *job_destination_chain(const struct job *job, gboolean overlay);

/* A running job. */
struct move {
	struct move_context context;
	struct job *job;
	struct place *source, *destination; /* both addresses of both images */
	struct throttle *throttle;
	struct move_summary *summary;
	struct room_watch room;
	struct guardian *guardian;	 /* while the guest is suspended; or NULL */
	gboolean may_pass;		 /* what failed with OPERATOR */
	struct transport_config probing; /* the destination's, with less patience at the cutover */
};

struct move *move_new(const struct move_context *context, struct job *job, GError **error);
void move_free(struct move *move);
AUTO_DEFINE(move, move_free)

/* Takes over a new rate where there is one. */
void move_follow_rate(struct move *move);

/* The job's document into the ledger. */
gboolean move_save(struct move *move, GError **error);
void move_warn(struct move *move, const char *format, ...) G_GNUC_PRINTF(2, 3);

/*
 * The world as it is now: the domain's state and its live or, when off, inactive XML; that
 * inside the managed save image where there is one, as it wins at the next start.
 */
struct world {
	struct domain_state state;
	struct domain *domain;
	struct disk *disk; /* in domain */
	char *xml;	   /* the text of domain */
};
struct world *world_look(struct move *move, GError **error);
void world_free(struct world *world);
AUTO_DEFINE(world, world_free)
/*
 * Whether the guest was started or stopped since @world, so that what failed with @failure
 * may do in another try.
 */
gboolean world_changed(struct move *move, const struct world *world, const GError *failure);
/*
 * Does @step for the guest as it is, and again where that was started or shut off meanwhile:
 * what has to be done has changed then.
 */
gboolean world_step(struct move *move,
		    gboolean (*step)(struct move *, const struct world *, GError **),
		    GError **error);
/* Whether the guest's active layer is the file @path. */
gboolean world_on_path(const struct world *world, const char *path);
/* The position in the guest's chain of @source; -1: not in it. */
int world_chain_position(const struct world *world, const struct source *source);
/* Whether the guest's active layer is the destination, its overlay, or a round that landed. */
gboolean world_on_destination(const struct world *world, const struct job *job);

#endif
