#include "tests/faked/script.h"

#include "blockmig/move/start.h"
#include "common/error.h"
#include "common/stop.h"
#include "tests/faked/disturb.h"

#include <check.h>
#include <sqlite3.h>
#include <string.h>

struct move *move;

struct script script;

static gboolean fails(const char *name, const char *culprit, int code, GError **error)
{
	if (g_strcmp0(name, culprit) != 0)
		return FALSE;
	g_set_error(error, BLOCKMIG_ERROR, code, "the cause");
	return TRUE;
}

static gboolean scripted_run(const char *name, GError **error)
{
	g_string_append_printf(script.steps, "+%s", name);
	if (g_strcmp0(name, script.stop) == 0)
		stop_request();
	if (g_strcmp0(name, script.full) == 0)
		disturb_ledger(SQLITE_FULL);
	if (!fails(name, script.run, script.run_code, error))
		return TRUE;
	move->job->totals.bytes_sent += script.advances;
	g_usleep(script.takes_us);
	if (script.run_times && --script.run_times == 0)
		script.run = NULL;
	return FALSE;
}

static gboolean undo(const char *name, GError **error)
{
	g_string_append_printf(script.steps, "-%s", name);
	if (g_strcmp0(name, script.lost) == 0)
		fake_fault(&(struct fake_fault){
			.call = "commit", .nth = 2, .code = BLOCKMIG_ERROR_PERMANENT});
	return !fails(name, script.undo, script.undo_code, error);
}

#define PHASE(name)                                                                                \
	static gboolean run_##name(struct move *its, GError **error)                               \
	{                                                                                          \
		ck_assert_ptr_eq(its, move);                                                       \
		return scripted_run(#name, error);                                                 \
	}                                                                                          \
	static gboolean undo_##name(struct move *its, GError **error)                              \
	{                                                                                          \
		ck_assert_ptr_eq(its, move);                                                       \
		return undo(#name, error);                                                         \
	}

PHASE(a)
PHASE(b)
PHASE(d)

static enum standing probe_b(struct move *its, GError **error)
{
	(void)its;
	if (g_strcmp0("probe", script.full) == 0)
		disturb_ledger(SQLITE_FULL);
	if (script.standing == STANDING_UNKNOWN)
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT, "nobody answers");
	return script.done_when_run && strstr(script.steps->str, "+b") ? STANDING_DONE
								       : script.standing;
}

static gboolean run_c(struct move *its, GError **error)
{
	its->job->cut_over = script.commits;
	return scripted_run("c", error);
}

const struct phase script_table[] = {
	{.name = "a", .run = run_a, .undo = undo_a},
	{.name = "b", .run = run_b, .undo = undo_b, .probe = probe_b},
	{.name = "c", .run = run_c},
	{.name = "d", .run = run_d, .undo = undo_d},
	{.name = NULL},
};

void script_open(void)
{
	struct job *job = job_new();
	g_autoptr(GError) error = NULL;

	scene_open(&scene, "raw");
	memset(&script, 0, sizeof script);
	script.steps = g_string_new(NULL);
	job->options.retry_for_ms = 0;
	job->domain_uuid = g_strdup(FAKE_UUID);
	job->domain_name = g_strdup("web");
	job->disk = g_strdup("vda");
	job->source_url = g_strconcat("file://", scene.source, NULL);
	job->destination_url = g_strconcat("file://", scene.source, ".new", NULL);
	ck_assert_msg(start_add(&scene.context, "migrate", job, NULL, &error), "%s",
		      error ? error->message : "");
	move = move_new(&scene.context, job, &error);
	ck_assert_msg(move != NULL, "%s", error ? error->message : "");
}

void script_close(void)
{
	g_clear_pointer(&move, move_free);
	g_string_free(script.steps, TRUE);
	scene_close(&scene);
}

void script_expect(script_drive drive, int status, const char *steps, enum job_result result)
{
	g_autoptr(GError) error = NULL;

	g_string_truncate(script.steps, 0);
	gboolean good = drive(move, script_table, &error);

	ck_assert_int_eq(good, status == 0);
	ck_assert_msg(error_exit_status(error) == status, "exit %d: %s", error_exit_status(error),
		      error ? error->message : "");
	ck_assert_str_eq(script.steps->str, steps);
	ck_assert_int_eq(scene_result(&scene), result);
}
