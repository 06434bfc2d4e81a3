#include "blockmig/cmd/settings.h"

#include "common/error.h"
#include "common/units.h"

static gboolean fail(GError **error, const char *text, const char *wanted)
{
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE, "\"%s\" is not %s", text, wanted);
	return FALSE;
}

static gboolean apply_switch(const char *text, gboolean *value, GError **error)
{
	static const char *const yes[] = {"yes", "true", "1", "on", NULL};
	static const char *const no[] = {"no", "false", "0", "off", NULL};

	*value = g_strv_contains(yes, text);
	return *value || g_strv_contains(no, text) || fail(error, text, "yes or no");
}

static gboolean apply_bwlimit(const char *text, struct move_options *move, GError **error)
{
	return units_parse_size(text, &move->bwlimit, error);
}

static gboolean apply_chunk_size(const char *text, struct move_options *move, GError **error)
{
	guint64 bytes;

	if (!units_parse_size(text, &bytes, error))
		return FALSE;
	if (bytes < MiB || bytes > 64 * MiB || (bytes & (bytes - 1)))
		return fail(error, text, "a power of two from 1M to 64M");
	move->chunk_bytes = bytes;
	return TRUE;
}

static gboolean apply_workers(const char *text, struct move_options *move, GError **error)
{
	enum { WORKERS_MAX = 16 };
	guint64 workers;

	if (!g_ascii_string_to_unsigned(text, 10, 1, WORKERS_MAX, &workers, NULL))
		return fail(error, text, "a number from 1 to 16");
	move->workers = (guint)workers;
	return TRUE;
}

static gboolean apply_retry_for(const char *text, struct move_options *move, GError **error)
{
	return units_parse_time(text, &move->retry_for_ms, error);
}

static gboolean apply_verify(const char *text, struct move_options *move, GError **error)
{
	move->verify = g_str_equal(text, "full");
	return move->verify || g_str_equal(text, "none") || fail(error, text, "full or none");
}

static gboolean apply_format(const char *text, struct move_options *move, GError **error)
{
	static const char *const formats[] = {"keep", "raw", "qcow2", NULL};

	if (!g_strv_contains(formats, text))
		return fail(error, text, "keep, raw or qcow2");
	g_free(move->format);
	move->format = g_strdup(text);
	return TRUE;
}

static gboolean apply_max_downtime(const char *text, struct move_options *move, GError **error)
{
	return units_parse_time(text, &move->max_downtime_ms, error);
}

static gboolean apply_on_failure(const char *text, struct move_options *move, GError **error)
{
	if (!g_str_equal(text, "hold") && !g_str_equal(text, "rollback"))
		return fail(error, text, "hold or rollback");
	move->on_failure = g_str_equal(text, "hold") ? ON_FAILURE_HOLD : ON_FAILURE_ROLLBACK;
	return TRUE;
}

static gboolean apply_converge(const char *text, struct move_options *move, GError **error)
{
	static const char *const policies[] = {
		[CONVERGE_THROTTLE] = "throttle",
		[CONVERGE_WAIT] = "wait",
		[CONVERGE_FAIL] = "fail",
	};

	for (guint i = 0; i < G_N_ELEMENTS(policies); i++) {
		if (!g_str_equal(policies[i], text))
			continue;
		move->converge = (enum converge_policy)i;
		return TRUE;
	}
	return fail(error, text, "throttle, wait or fail");
}

static gboolean apply_method(const char *text, struct move_options *move, GError **error)
{
	(void)move;
	return g_str_equal(text, "seeded") ||
	       fail(error, text, "a method of this version: seeded is the only one");
}

static gboolean apply_scratch(const char *text, struct move_options *move, GError **error)
{
	if (!g_path_is_absolute(text))
		return fail(error, text, "an absolute path");
	g_free(move->scratch);
	move->scratch = g_strdup(text);
	return TRUE;
}

static gboolean apply_quiesce(const char *text, struct move_options *move, GError **error)
{
	return apply_switch(text, &move->quiesce, error);
}

static gboolean apply_keep_partial(const char *text, struct move_options *move, GError **error)
{
	return apply_switch(text, &move->keep_partial, error);
}

static gboolean apply_delete_source(const char *text, struct move_options *move, GError **error)
{
	return apply_switch(text, &move->delete_source, error);
}

static gboolean apply_overwrite(const char *text, struct move_options *move, GError **error)
{
	return apply_switch(text, &move->overwrite, error);
}

const struct setting settings[] = {
	{"bwlimit", "RATE", "send at most RATE a second (200M = 200 MiB/s)",
	 OPTIONS_COPY | OPTIONS_AGAIN, FALSE, apply_bwlimit},
	{"format", "FORMAT", "keep (default), raw or qcow2", OPTIONS_COPY, FALSE, apply_format},
	{"verify", "HOW", "full (default): read everything back; none", OPTIONS_COPY, FALSE,
	 apply_verify},
	{"retry-for", "TIME", "try again for so long when the network fails (10m)",
	 OPTIONS_COPY | OPTIONS_AGAIN, FALSE, apply_retry_for},
	{"chunk-size", "SIZE", "unit of copying and hashing (4M)", OPTIONS_COPY, FALSE,
	 apply_chunk_size},
	{"workers", "N", "connections in parallel", OPTIONS_COPY, FALSE, apply_workers},
	{"overwrite", NULL, "the destination may hold something, which is lost", OPTIONS_COPY, TRUE,
	 apply_overwrite},
	{"method", "METHOD", "seeded, the only one in this version", OPTIONS_GUEST, FALSE,
	 apply_method},
	{"max-downtime", "TIME", "how long the guest may stand still (500ms)",
	 OPTIONS_GUEST | OPTIONS_AGAIN, FALSE, apply_max_downtime},
	{"on-failure", "WHAT", "hold (default): stay resumable; rollback: put the guest back",
	 OPTIONS_GUEST | OPTIONS_AGAIN, FALSE, apply_on_failure},
	{"converge", "HOW", "a guest that writes too fast: throttle (default), wait or fail",
	 OPTIONS_GUEST | OPTIONS_AGAIN, FALSE, apply_converge},
	{"scratch", "DIR", "for overlays that have no better place", OPTIONS_GUEST, FALSE,
	 apply_scratch},
	{"quiesce", NULL, "freeze file systems through the guest agent", OPTIONS_GUEST, FALSE,
	 apply_quiesce},
	{"keep-partial", NULL, "after a rollback, keep the partial copy for a later run",
	 OPTIONS_GUEST | OPTIONS_PARTIAL, FALSE, apply_keep_partial},
	{"delete-source", NULL, "remove the source when all is proven (default: keep it)",
	 OPTIONS_GUEST, TRUE, apply_delete_source},
	{NULL, NULL, NULL, OPTIONS_NONE, FALSE, NULL},
};
