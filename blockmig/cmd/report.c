#include "blockmig/cmd/command.h"
#include "blockmig/cmd/views.h"
#include "blockmig/cmd/workbench.h"
#include "blockmig/report/page.h"

static gboolean tell(struct workbench *workbench, gint64 id, GError **error)
{
	const struct options *options = workbench->options;
	AUTO(ledger_job) record = ledger_job_get(workbench->ledger, id, error);
	g_autoptr(GPtrArray) phases =
		record ? ledger_phase_list(workbench->ledger, id, error) : NULL;
	AUTO(move_summary) summary = phases ? move_report(&workbench->context, id, error) : NULL;

	if (!summary)
		return FALSE;
	if (options->html)
		return page_write(summary, record, phases, options->html, error);
	AUTO(room) room = NULL;
	struct job_view view = views_of(workbench->ledger, record, &room);

	reporter_job(options->reporter, &view, phases);
	reporter_summary(options->reporter, summary);
	return TRUE;
}

static int run(struct options *options, GError **error)
{
	struct workbench workbench = {0};
	gint64 id;

	if (options_parse_job(options->arguments[0], &id, error) &&
	    workbench_open(&workbench, options, error))
		tell(&workbench, id, error);
	workbench_close(&workbench);
	return 0;
}

const struct command command_report = {
	.name = "report",
	.arguments = "JOB",
	.summary = "what a job did, with its time line; as a page with --html",
	.description =
		"Of any job, ended or not: what was sent and proven, the digest of what was\n"
		"copied, how long the guest stood still, and each phase with its time.",
	.groups = OPTIONS_HTML,
	.arguments_min = 1,
	.arguments_max = 1,
	.run = run,
};
