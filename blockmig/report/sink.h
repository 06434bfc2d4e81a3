/*
 * One form of output: the table that a sink implements.  A slot may be NULL.
 *
 * reporter.c calls the slots, one at a time; a sink needs no lock of its own.
 */
#ifndef REPORT_SINK_H
#define REPORT_SINK_H

#include "blockmig/report/reporter.h"

enum message_kind { MESSAGE_NOTE, MESSAGE_WARNING, MESSAGE_ERROR };

struct message {
	enum message_kind kind;
	gint64 job; /* 0: of none */
	const char *text;
	int exit_status; /* of an error */
};

struct sink {
	const struct sink_operations *operations;
};

struct sink_operations {
	void (*phase)(struct sink *sink, gint64 job, const char *phase, gboolean undo,
		      gboolean begun);
	void (*progress)(struct sink *sink, gint64 job, const char *phase, guint round,
			 const struct copy_progress *progress);
	/* Something else is about to be written to the same terminal. */
	void (*clear)(struct sink *sink);
	void (*message)(struct sink *sink, const struct message *message);
	void (*summary)(struct sink *sink, const struct move_summary *summary);
	void (*relay)(struct sink *sink, const char *line);
	void (*night)(struct sink *sink, const struct evacuation *evacuation, gboolean loud);
	void (*plan)(struct sink *sink, const struct move_plan *plan);
	void (*plans)(struct sink *sink, guint disks, guint obstacles);
	void (*stores)(struct sink *sink, const struct inventory *inventory);
	void (*evacuation_plan)(struct sink *sink, const struct plan *plan);
	void (*comparison)(struct sink *sink, const struct comparison *comparison,
			   const GError *error);
	void (*jobs)(struct sink *sink, GArray *views);
	void (*job)(struct sink *sink, const struct job_view *view, GPtrArray *phases);
	void (*leftovers)(struct sink *sink, GPtrArray *leftovers, gboolean dry_run);
	void (*free)(struct sink *sink);
};

/* Errors and warnings to err; the rest to out, where that is not NULL. */
struct sink *sink_text_new(FILE *out, FILE *err, gboolean quiet, gboolean verbose);
struct sink *sink_json_new(FILE *out);
/* @terminal: one line that is drawn again; otherwise a plain line every few seconds. */
struct sink *sink_bar_new(FILE *err, gboolean terminal);

#endif
