/*
 * What a command that works on jobs needs around it: configuration, ledger, libvirt, the
 * stop notice; and the end of it all on every way out.
 *
 *     struct workbench workbench = {0};
 *     workbench_open(&workbench, options, error) && workbench_connect(&workbench, error);
 *     ... workbench.context ...
 *     workbench_close(&workbench);       in any case
 */
#ifndef CMD_WORKBENCH_H
#define CMD_WORKBENCH_H

#include "blockmig/cmd/options.h"
#include "blockmig/cmd/rate_pipe.h"
#include "blockmig/cmd/stop_notice.h"

struct workbench {
	struct options *options; /* borrowed */
	struct config *config;
	struct ledger *ledger;
	struct session *session; /* NULL until workbench_connect */
	struct stop_notice *notice;
	struct rate_pipe rate;
	struct move_context context;
};

/* Completes @options from the configuration, and opens the ledger. */
gboolean workbench_open(struct workbench *workbench, struct options *options, GError **error);
/* Connects to libvirt, once. */
gboolean workbench_connect(struct workbench *workbench, GError **error);
/* The same where @job is one of a domain; a bare copy needs no libvirt. */
gboolean workbench_connect_for(struct workbench *workbench, gint64 job, GError **error);
/*
 * The same; where the ledger has no such job but a domain carries it, it is taken up again,
 * under the number that *@job then is.
 */
gboolean workbench_take(struct workbench *workbench, gint64 *job, GError **error);
void workbench_close(struct workbench *workbench);

/* BLOCKMIG_STATE, else the default; borrowed. */
const char *workbench_state_folder(void);

#endif
