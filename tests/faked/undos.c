#include "tests/faked/undos.h"

#include "common/error.h"
#include "tests/faked/disturb.h"
#include "tests/faked/refusal.h"

#include <check.h>
#include <string.h>

void undos_open(const struct undos_death *death)
{
	moves_open(&moves_shapes[0], death->run);
	moves_at("snapshot", 1, FAKE_AFTER, moves_write_little, GUINT_TO_POINTER(0x22));
	fake_fault(&(struct fake_fault){
		.call = death->call, .nth = death->nth, .when = death->when, .code = FAKE_KILL});
}

void undos_killed(void)
{
	ck_assert_int_eq(scene_apart(&scene, scene_move), SCENE_KILLED);
}

void undos_die(const char *call, enum fake_when when, enum domain_run run)
{
	undos_open(&(struct undos_death){.call = call, .when = when, .run = run});
	undos_killed();
}

/* ---- somebody else --------------------------------------------------------------------------- */

void undos_copy_elsewhere(enum source_type type)
{
	g_autofree char *path = fake_path("theirs");
	g_autoptr(GPtrArray) chain = g_ptr_array_new();
	AUTO(source) source = source_new(type, path);
	AUTO(layer) layer = layer_new(source, "raw");

	ck_assert(g_file_set_contents(path, "", 0, NULL));
	g_ptr_array_add(chain, layer);
	g_autofree char *xml = xml_blockcopy(chain);

	ck_assert(session_block_copy(scene.session, FAKE_UUID, "vda", xml, TRUE, 0, NULL));
}

char *undos_without_disk(const char *xml)
{
	const char *from = strstr(xml, "<disk "), *to = strstr(xml, "</disk>");

	ck_assert(from && to);
	return g_strdup_printf("%.*s%s", (int)(from - xml), xml, to + strlen("</disk>"));
}

/* ---- at the beginning of which undo -------------------------------------------------------- */

static struct {
	const char *phase;
	void (*hook)(void);
} begin;

static void tell(gint64 job, const char *phase, gboolean undo, gboolean begun, void *data)
{
	(void)job;
	(void)data;
	if (undo && begun && g_strcmp0(phase, begin.phase) == 0) {
		begin.phase = NULL;
		begin.hook();
	}
}

void undos_at(const char *phase, void (*hook)(void))
{
	begin.phase = phase;
	begin.hook = hook;
	scene.reporter.phase = tell;
}

/* ---- the abort that is held, and the next -------------------------------------------------- */

void undos_fails(int status, const char *words)
{
	g_autoptr(GError) error = NULL;

	ck_assert(!scene_abort(&scene, &error));
	ck_assert_msg(error_exit_status(error) == status, "exit %d: %s", error_exit_status(error),
		      error->message);
	refusal_assert_words(error->message, words);
	ck_assert_ptr_null(begin.phase);
	ck_assert_int_eq(scene_result(&scene), JOB_OPEN);
}

void undos_held(const char *words)
{
	undos_fails(3, words);
	scene_assert_content(&scene);
}

void undos_finished(enum domain_run run)
{
	disturb_clear();
	scene_new_process(&scene);
	moves_abort_done();
	ck_assert_int_eq(scene_result(&scene), JOB_ROLLED_BACK);
	scene_assert_home(&scene);
	ck_assert_int_eq(fake_domain_run(FAKE_UUID), run);
}

void undos_done(enum domain_run run)
{
	undos_finished(run);
	scene_close(&scene);
}
