/* A guardian that is only noted: no test needs a second process to resume its guest. */
#include "blockmig/move/guardian.h"

#include "tests/faked/fake.h"

struct guardian *guardian_start(gint64 job, const char *uri, GError **error)
{
	(void)job;
	(void)uri;
	if (!fake_begin("guard", NULL, error) || !fake_end("guard", error))
		return NULL;
	return g_malloc0(1);
}

void guardian_dismiss(struct guardian *guardian)
{
	fake_begin("unguard", NULL, NULL);
	g_free(guardian);
}

void guardian_leave(struct guardian *guardian)
{
	fake_begin("stand guard", NULL, NULL);
	g_free(guardian);
}

int guardian_pid(const struct guardian *guardian)
{
	(void)guardian;
	return 1;
}

char *guardian_key(gint64 job)
{
	return g_strdup_printf("guardian:%" G_GINT64_FORMAT, job);
}
