/*
 * Subcommands: one file each, found by main.c through its table.
 *
 * command_run parses the options that the command says it takes and calls run(), whose
 * result is the exit status.  What a command has to say goes to options->reporter; an
 * error that it returns is told by command_run, with the status that belongs to its code.
 */
#ifndef CMD_COMMAND_H
#define CMD_COMMAND_H

#include "blockmig/cmd/options.h"

#include <glib.h>
#include <stdio.h>

struct command {
	const char *name;
	const char *arguments;	 /* "DOMAIN [DISK...] --to DATASTORE" */
	const char *summary;	 /* one line for --help; NULL: hidden */
	const char *description; /* for the command's own --help */
	enum option_groups groups;
	guint arguments_min, arguments_max;
	int (*run)(struct options *options, GError **error);
};

/*
 * Runs @command with its own arguments (argv[0] is its name); tells every error; returns
 * the exit status.
 */
int command_run(const struct command *command, int argc, char **argv, FILE *out, FILE *err);
void command_print_help(const struct command *command, FILE *file);

extern const struct command command_plan, command_migrate, command_copy, command_verify,
	command_status, command_resume, command_abort, command_history, command_evacuate,
	command_datastores, command_report, command_gc, command_guardian;

#endif
