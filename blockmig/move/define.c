#include "blockmig/move/define.h"

#include <string.h>

struct change {
	GPtrArray *chain; /* NULL: not to a chain */
	gboolean terminate;
	gboolean home;
	gboolean release;
	gboolean awake;
};

static char *disk_at_home(const struct job *job, const char *xml, gboolean saved, GError **error)
{
	g_autoptr(GPtrArray) chain = job_source_chain(job, 0);

	/* What the saved guest has beside its source (addresses, aliases) is its own. */
	return saved ? xml_with_disk(xml, job->disk, chain, FALSE, error)
		     : xml_replace_disk_element(xml, job->disk, job->disk_element, error);
}

static char *apply(const struct job *job, const char *xml, const struct change *change,
		   gboolean saved, GError **error)
{
	g_autofree char *bare = change->release ? xml_without_metadata(xml, error) : g_strdup(xml);

	if (!bare)
		return NULL;
	if (change->chain)
		return xml_with_disk(bare, job->disk, change->chain, change->terminate, error);
	return change->home ? disk_at_home(job, bare, saved, error) : g_steal_pointer(&bare);
}

static gboolean change_inactive(struct move *move, const struct change *change, GError **error)
{
	struct session *session = move->context.session;
	g_autofree char *now = session_xml(session, move->job->domain_uuid, TRUE, error);
	g_autofree char *wanted = now ? apply(move->job, now, change, FALSE, error) : NULL;

	if (!wanted)
		return FALSE;
	return g_str_equal(wanted, now) || session_define(session, wanted, error);
}

static gboolean is_saved(struct move *move, gboolean *saved, GError **error)
{
	struct domain_state state;

	if (!session_state(move->context.session, move->job->domain_uuid, &state, error))
		return FALSE;
	*saved = state.run == RUN_OFF && state.managed_save;
	return TRUE;
}

static gboolean rewrite_saved(struct move *move, const struct change *change, GError **error)
{
	struct session *session = move->context.session;
	const char *uuid = move->job->domain_uuid;
	g_autofree char *now = session_managed_save_xml(session, uuid, error);
	g_autofree char *wanted = now ? apply(move->job, now, change, TRUE, error) : NULL;

	if (!wanted)
		return FALSE;
	return (g_str_equal(wanted, now) && !change->awake) ||
	       session_managed_save_define(session, uuid, wanted, change->awake, error);
}

static gboolean change_saved(struct move *move, const struct change *change, GError **error)
{
	g_autoptr(GError) failure = NULL;
	gboolean saved;

	if (!is_saved(move, &saved, error))
		return FALSE;
	if (!saved || rewrite_saved(move, change, &failure))
		return TRUE;
	/* Started, or its image removed, just now: whoever called looks again. */
	if (is_saved(move, &saved, NULL) && !saved)
		return TRUE;
	g_propagate_prefixed_error(error, g_steal_pointer(&failure),
				   "the guest's managed save image, which would wake up on another "
				   "disk: ");
	return FALSE;
}

static gboolean change_both(struct move *move, const struct change *change, GError **error)
{
	return change_inactive(move, change, error) && change_saved(move, change, error);
}

gboolean define_chain(struct move *move, GPtrArray *chain, gboolean terminate, GError **error)
{
	return change_both(move, &(struct change){.chain = chain, .terminate = terminate}, error);
}

gboolean define_home(struct move *move, GError **error)
{
	return change_both(move, &(struct change){.home = TRUE}, error);
}

gboolean define_released(struct move *move, gboolean home, GError **error)
{
	return change_both(move, &(struct change){.home = home, .release = TRUE}, error);
}

gboolean define_awake(struct move *move, GError **error)
{
	return change_saved(move, &(struct change){.awake = TRUE}, error);
}
