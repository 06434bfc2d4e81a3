#include "blockmig/cmd/evacuate_options.h"

#include "common/error.h"

void evacuate_options_clear(struct evacuate_options *options)
{
	g_free(options->order);
	g_free(options->window);
	g_free(options->until);
	g_free(options->at_end);
	g_free(options->then);
	g_free(options->per_host);
	g_free(options->per_datastore);
	g_free(options->per_target);
	g_strfreev(options->reports);
}

static gboolean apply_limit(const char *name, const char *text, guint *limit, GError **error)
{
	enum { LIMIT_MAX = 1000 };
	guint64 number;

	if (!text)
		return TRUE;
	if (g_ascii_string_to_unsigned(text, 10, 1, LIMIT_MAX, &number, NULL)) {
		*limit = (guint)number;
		return TRUE;
	}
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
		    "--%s: \"%s\" is not a number from 1 to %d", name, text, LIMIT_MAX);
	return FALSE;
}

static gboolean apply_at_end(const char *text, enum dispatch_at_end *at_end, GError **error)
{
	*at_end = text && g_str_equal(text, "rollback") ? DISPATCH_ROLLBACK : DISPATCH_HOLD;
	if (!text || *at_end == DISPATCH_ROLLBACK || g_str_equal(text, "hold"))
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
		    "--at-end: \"%s\" is not hold or rollback", text);
	return FALSE;
}

static gboolean apply_hours(const struct evacuate_options *options, gint64 now_s,
			    struct evacuation_request *request, struct window **window,
			    GError **error)
{
	request->until_s = G_MAXINT64;
	if (options->window) {
		request->window = *window = window_parse(options->window, error);
		if (!*window) {
			g_prefix_error(error, "--window: ");
			return FALSE;
		}
	}
	if (!options->until ||
	    window_until(request->window, options->until, now_s, &request->until_s, error))
		return TRUE;
	g_prefix_error(error, "--until: ");
	return FALSE;
}

gboolean evacuate_options_apply(const struct evacuate_options *options, gint64 now_s,
				struct evacuation_request *request, struct window **window,
				GError **error)
{
	struct plan_limits *limits = &request->limits;

	plan_limits_init(limits);
	if (options->order && !plan_order_parse(options->order, &request->order, error)) {
		g_prefix_error(error, "--order: ");
		return FALSE;
	}
	return apply_limit("per-host", options->per_host, &limits->per_host, error) &&
	       apply_limit("per-datastore", options->per_datastore, &limits->per_datastore,
			   error) &&
	       apply_limit("per-target", options->per_target, &limits->per_target, error) &&
	       apply_at_end(options->at_end, &request->at_end, error) &&
	       apply_hours(options, now_s, request, window, error);
}
