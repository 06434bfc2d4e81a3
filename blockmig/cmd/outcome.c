#include "blockmig/cmd/outcome.h"

#include "common/error.h"

enum { STATUS_FAILED = 1, STATUS_INTERRUPTED = 3, STATUS_OPERATOR = 5 };

int outcome_status(const struct move_summary *summary, const GError *error)
{
	int status = error_exit_status(error);
	gboolean resumable = summary && g_strcmp0(summary->result, "interrupted") == 0;

	return status == STATUS_FAILED && resumable ? STATUS_INTERRUPTED : status;
}

static int badness(int status)
{
	static const int from_good_to_bad[] = {0, 3, 75, 2, 1, 4, 5};

	for (guint i = 0; i < G_N_ELEMENTS(from_good_to_bad); i++)
		if (from_good_to_bad[i] == status)
			return (int)i;
	return G_N_ELEMENTS(from_good_to_bad);
}

int outcome_worst(int a, int b)
{
	return badness(a) > badness(b) ? a : b;
}

gboolean outcome_goes_on(int status)
{
	return status != STATUS_INTERRUPTED && status != STATUS_OPERATOR;
}

static void tell_stub(struct reporter *reporter, const struct outcome_subject *subject,
		      const char *result, const char *guarantee)
{
	g_autofree char *kind = g_strdup(subject->kind ? subject->kind : "");
	g_autofree char *domain = g_strdup(subject->domain ? subject->domain : "");
	g_autofree char *disk = g_strdup(subject->disk ? subject->disk : "");
	g_autofree char *source = g_strdup(subject->source ? subject->source : "");
	g_autofree char *destination = g_strdup(subject->destination ? subject->destination : "");
	g_autofree char *result_copy = g_strdup(result);
	g_autofree char *guarantee_copy = g_strdup(guarantee);
	char none[] = "";
	struct move_summary summary = {
		.kind = kind,
		.domain = domain,
		.disk = disk,
		.source = source,
		.destination = destination,
		.result = result_copy,
		.guarantee = guarantee_copy,
		.sha256 = none,
		.downtime_ms = -1,
		.source_allocated_bytes = G_MAXUINT64,
		.destination_allocated_bytes = G_MAXUINT64,
	};

	reporter_summary(reporter, &summary);
}

int outcome_tell(struct reporter *reporter, const struct outcome_subject *subject,
		 const struct move_summary *summary, const GError *error)
{
	int status = outcome_status(summary, error);

	if (error)
		reporter_error(reporter, summary ? summary->job : 0, error, status);
	if (summary)
		reporter_summary(reporter, summary);
	else
		tell_stub(reporter, subject, "failed", "nothing was changed");
	return status;
}

void outcome_tell_nothing(struct reporter *reporter, const char *why)
{
	const struct outcome_subject nothing = {0};

	reporter_note(reporter, 0, why);
	tell_stub(reporter, &nothing, "done", why);
}
