/*
 * The preflight: every reason for which a move cannot work is found here, before anything
 * changes.  `plan` prints what it finds; a move begins with it.
 */
#ifndef MOVE_PREFLIGHT_H
#define MOVE_PREFLIGHT_H

#include "blockmig/move/job.h"

struct preflight {
	struct move_context *context;
	const struct move_options *options;
	struct job *job;		   /* filled as far as things could be found out */
	struct move_plan *plan;		   /* obstacles and warnings */
	struct world *world;		   /* the domain as it is */
	const struct datastore *datastore; /* that the user named; the configuration's */
	struct place *source, *destination;
	guint64 source_file_bytes, source_allocated;
	gboolean has_snapshots; /* internal snapshots or bitmaps, which flattening would lose */
};
void preflight_free(struct preflight *preflight);
AUTO_DEFINE(preflight, preflight_free)

/*
 * An error only where there is no such domain, disk or datastore, or libvirt could not be
 * asked at all.
 */
struct preflight *preflight_run(struct move_context *context, const char *domain, const char *disk,
				const char *to, GError **error);

/*
 * The source's side alone: whether the disk can be moved anywhere.  As above.
 */
struct preflight *preflight_of_source(struct move_context *context, const char *domain,
				      const char *disk, GError **error);

/* All obstacles in one text; NULL where there is none.  The caller frees. */
char *preflight_obstacles(const struct preflight *preflight);

/* The first obstacle as an error, with the number of the others; TRUE where there is none. */
gboolean preflight_passed(const struct preflight *preflight, GError **error);

void preflight_obstacle(struct preflight *preflight, const char *format, ...) G_GNUC_PRINTF(2, 3);
void preflight_warning(struct preflight *preflight, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* preflight_target.c: the destination's side; needs the source's side done. */
void preflight_target(struct preflight *preflight);

/*
 * Whether AppArmor would deny the commit back: it confines the guest, and libvirt before
 * 12.1 does not let QEMU write to backing files.  @enabled_file is
 * /sys/module/apparmor/parameters/enabled.
 */
gboolean preflight_apparmor_denies(const char *enabled_file, const struct domain *domain,
				   guint64 libvirt_version);

#endif
