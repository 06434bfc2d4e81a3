#include "tests/faked/refusal.h"

#include "common/error.h"

#include <check.h>
#include <string.h>

/* What must be the same afterwards. */
static char *everything(void)
{
	static const char *const folders[] = {"src", "dst", "scratch", "luns", "libvirt"};
	GString *text = g_string_new(NULL);
	g_autofree char *live = fake_domain_xml(FAKE_UUID, FALSE);
	g_autofree char *inactive = fake_domain_xml(FAKE_UUID, TRUE);

	for (guint i = 0; i < G_N_ELEMENTS(folders); i++) {
		g_autofree char *listing = fake_listing(folders[i]);

		g_string_append(text, listing);
	}
	g_string_append_printf(text, "%s%s", live, inactive);
	return g_string_free(text, FALSE);
}

void refusal_assert_words(const char *message, const char *words)
{
	g_auto(GStrv) parts = g_strsplit(words, "|", -1);

	for (guint i = 0; parts[i]; i++)
		ck_assert_msg(strstr(message, parts[i]) != NULL, "no \"%s\" in: %s", parts[i],
			      message);
}

void refusal_assert_status(struct scene *scene, int status, const char *words)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *before = everything();

	fake_log_clear();
	ck_assert_msg(!scene_move(scene, &error), "it was not refused: %s", words);
	g_autofree char *after = everything();
	g_autofree char *log = fake_log();
	g_autoptr(GPtrArray) jobs = ledger_job_list(scene->ledger, FALSE, NULL);

	refusal_assert_words(error->message, words);
	ck_assert_msg(error_exit_status(error) == status, "exit %d: %s", error_exit_status(error),
		      error->message);
	ck_assert_str_eq(before, after);
	ck_assert_str_eq(log, "");
	ck_assert_uint_eq(jobs->len, 0);
}

void refusal_assert(struct scene *scene, const char *words)
{
	refusal_assert_status(scene, 1, words);
}

void refusal_assert_none(struct scene *scene)
{
	g_autoptr(GError) error = NULL;
	AUTO(move_plan) plan = move_plan(&scene->context, "web", "vda", scene->to, &error);

	ck_assert_msg(plan != NULL, "%s", error ? error->message : "");
	ck_assert_msg(plan->obstacles->len == 0, "%s",
		      plan->obstacles->len ? (char *)plan->obstacles->pdata[0] : "");
}
