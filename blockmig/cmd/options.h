/*
 * Options: what the command line says, completed by the configuration file.
 *
 *     options_parse()      the command line alone
 *     options_complete()   [blockmig] keys for what it did not say; checks the values
 *
 * Every move setting is a row of one table (settings.c), so the command line, the
 * configuration file and --help cannot disagree.
 */
#ifndef CMD_OPTIONS_H
#define CMD_OPTIONS_H

#include "blockmig/cmd/evacuate_options.h"
#include "blockmig/move/move.h"
#include "blockmig/report/reporter.h"
#include "common/auto.h"

#include <glib.h>

/* Which options a command takes, beside those that all take. */
enum option_groups {
	OPTIONS_NONE = 0,
	OPTIONS_TO = 1 << 0,	  /* --to */
	OPTIONS_COPY = 1 << 1,	  /* how an image is copied */
	OPTIONS_GUEST = 1 << 2,	  /* how a guest's disk is moved */
	OPTIONS_DRY_RUN = 1 << 3, /* --dry-run */
	OPTIONS_FORMATS = 1 << 4, /* --from-format, --format of two images */
	OPTIONS_WATCH = 1 << 5,	  /* --watch */
	OPTIONS_FROM = 1 << 6,	  /* --from-format */
	OPTIONS_AGAIN = 1 << 7,	  /* what a job may be told anew */
	OPTIONS_PARTIAL = 1 << 8, /* --keep-partial */
	OPTIONS_RATE_FD = 1 << 9, /* --bwlimit-fd */
	OPTIONS_EVACUATE = 1 << 10,
	OPTIONS_HTML = 1 << 11, /* --html */
	OPTIONS_ALL = 1 << 12,	/* --all */
};

enum { SETTINGS_MAX = 24 };

struct options {
	gboolean help, json, quiet, verbose, progress, dry_run, watch, all;
	int rate_fd;   /* new rates come in here; -1: none */
	char *connect; /* NULL: libvirt's default */
	char *config_path;
	char *to;
	char *html;		      /* a file for a page; NULL: none */
	char *a_format, *b_format;    /* of two images; NULL: not said */
	char *settings[SETTINGS_MAX]; /* as typed, by row of the table; NULL: not said */
	char **arguments;	      /* what is left; NULL-terminated */
	struct evacuate_options evacuate;
	struct move_options move;
	struct reporter *reporter; /* set before run(); borrowed */
};

struct command;

void options_init(struct options *options);
void options_clear(struct options *options);

/* USAGE on what cannot be understood.  @argv[0] is skipped. */
gboolean options_parse(struct options *options, const struct command *command, int argc,
		       char **argv, GError **error);
/* The text of --help for @command; the caller frees. */
char *options_help(const struct command *command);
/* Fills options->move.  USAGE names the option, or the key and its file. */
gboolean options_complete(struct options *options, const struct config *config, GError **error);

/*
 * What the command line says of a job that is carried on, into the options that it was
 * begun with; the configuration file counts for new jobs only.  @options is complete.
 */
void options_amend(struct move_options *move, const void *options);

/* The number of a job; USAGE where @text is none. */
gboolean options_parse_job(const char *text, gint64 *job, GError **error);

#endif
