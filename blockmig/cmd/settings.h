/*
 * The settings of a copy and of a move: name, help and meaning of each.
 */
#ifndef CMD_SETTINGS_H
#define CMD_SETTINGS_H

#include "blockmig/cmd/options.h"

struct setting {
	const char *name;     /* of the option, and of the key in [blockmig] */
	const char *argument; /* for --help; NULL: a switch (the key takes yes or no) */
	const char *help;
	enum option_groups group;
	gboolean command_line_only; /* it destroys something: never by a forgotten file */
	gboolean (*apply)(const char *text, struct move_options *move, GError **error);
};

/* Ends with a name of NULL. */
extern const struct setting settings[];

#endif
