/*
 * An NFS image is made and removed at a server, or over a wire, that fails one call of it:
 * once, and for ever.
 */
#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/nfs_script.h"
#include "tests/unit/nfs_wire.h"

#include <signal.h>
#include <string.h>

#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>

enum { STALL_MS = 300, LIMIT_MS = 4 * STALL_MS + 2000, SIZE = MiB + 512, HEADER = 20 };
enum { EXPORT = NFS_SCRIPT_MOUNT(MOUNT3_EXPORT), MNT = NFS_SCRIPT_MOUNT(MOUNT3_MNT) };
enum act { CREATE, REMOVE };

static const struct transport_config config = {.stall_ms = STALL_MS};

static struct nfs_script *script;
static struct nfs_wire *wire;
static struct url *url;

/* Every call that either of them makes. */
static const struct call {
	enum act act;
	guint procedure;
	const char *words;
} calls[] = {
	{CREATE, EXPORT, "list the exports"},	  {CREATE, MNT, "mount the export /export"},
	{REMOVE, EXPORT, "list the exports"},	  {REMOVE, MNT, "mount the export /export"},
	{CREATE, NFS3_CREATE, "create"},	  {CREATE, NFS3_LOOKUP, "look up 'disk'"},
	{CREATE, NFS3_SETATTR, "set the size"},	  {REMOVE, NFS3_LOOKUP, "look up 'disk'"},
	{REMOVE, NFS3_GETATTR, "get attributes"}, {REMOVE, NFS3_SETATTR, "set the size"},
	{REMOVE, NFS3_REMOVE, "remove"},
};

/* MOUNT's, which cannot ask for time, come first. */
enum { MOUNT_CALLS = 4 };

static void begin(enum act act)
{
	g_autofree char *text = NULL;

	signal(SIGPIPE, SIG_IGN); /* as stop_install does */
	script = nfs_script_start();
	script->exists = act == REMOVE;
	wire = nfs_wire_start("127.0.0.1", 0, script->port);
	text = g_strdup_printf("nfs://127.0.0.1:%d/export/disk?mountport=%d", wire->port,
			       wire->port);
	url = url_parse(text, NULL);
}

static gboolean run(enum act act, GError **error)
{
	const struct image_create wanted = {.size_bytes = SIZE, .mode = 0600, .uid = -1, .gid = -1};

	return act == CREATE ? image_create(url, &config, &wanted, error)
			     : image_remove(url, &config, error);
}

static void assert_done(enum act act)
{
	ck_assert_int_eq(script->exists, act == CREATE);
	if (act == CREATE)
		ck_assert_uint_eq(script->size_bytes, SIZE);
}

static void assert_succeeds(enum act act)
{
	g_autoptr(GError) error = NULL;

	assert_good(run(act, &error), error);
	assert_done(act);
}

/* In time, in words for what was done to what, and in the server's or the system's. */
static void assert_fails(const struct call *call, enum blockmig_error code, const char *cause)
{
	const gint64 begin_us = g_get_monotonic_time();
	g_autofree char *name = url_format(url);
	g_autofree char *what = g_strdup_printf("%s: %s: ", name, call->words);
	g_autoptr(GError) error = NULL;

	ck_assert(!run(call->act, &error));
	ck_assert_int_lt((g_get_monotonic_time() - begin_us) / 1000, LIMIT_MS);
	assert_code(error, code);
	ck_assert_msg(strstr(error->message, what) != NULL, "%s lacks %s", error->message, what);
	ck_assert_msg(strstr(error->message, cause) != NULL, "%s lacks %s", error->message, cause);
}

static void plan_status(guint procedure, guint status, guint times)
{
	script->fail_procedure = procedure;
	script->fail_status = status;
	script->fail_times = times;
}

static void plan_wire(enum nfs_wire_action action, const struct call *call, gboolean replies,
		      guint times)
{
	wire->action = action;
	wire->procedure = call->procedure;
	wire->replies = replies;
	wire->at = replies ? 0 : HEADER;
	wire->times = times;
}

/* ---- a server that asks for time --------------------------------------------------- */

START_TEST(a_server_that_asks_for_time_gets_it)
{
	begin(calls[_i].act);
	plan_status(calls[_i].procedure, NFS3ERR_JUKEBOX, 2);
	assert_succeeds(calls[_i].act);
	ck_assert_uint_eq(script->fail_times, 0);
}
END_TEST

/* To empty a file before it is removed only gives its space back sooner. */
static gboolean is_dispensable(const struct call *call)
{
	return call->act == REMOVE && call->procedure == NFS3_SETATTR;
}

START_TEST(a_server_that_asks_for_time_for_ever_is_left)
{
	begin(calls[_i].act);
	plan_status(calls[_i].procedure, NFS3ERR_JUKEBOX, NFS_SCRIPT_ALWAYS);
	if (is_dispensable(&calls[_i]))
		assert_succeeds(calls[_i].act);
	else
		assert_fails(&calls[_i], BLOCKMIG_ERROR_TRANSIENT, "JUKEBOX");
}
END_TEST

/* ---- the wire ---------------------------------------------------------------------- */

/* Once the file may be there only this creation knows that it is its own. */
static gboolean tries_again_itself(const struct call *call)
{
	return call->act == CREATE && call->procedure < NFS_SCRIPT_MOUNT(0);
}

/* Others leave that to their caller, to whom a file that is gone is removed. */
static void assert_succeeds_when_asked_again(const struct call *call, const char *cause)
{
	g_autoptr(GError) error = NULL;

	assert_fails(call, BLOCKMIG_ERROR_TRANSIENT, cause);
	if (!run(call->act, &error)) {
		ck_assert_int_eq(call->act, REMOVE);
		assert_code(error, BLOCKMIG_ERROR_NOT_FOUND);
	}
	assert_done(call->act);
}

static void assert_survives(enum nfs_wire_action action, const struct call *call, gboolean replies,
			    const char *cause)
{
	begin(call->act);
	plan_wire(action, call, replies, 1);
	if (tries_again_itself(call))
		assert_succeeds(call->act);
	else
		assert_succeeds_when_asked_again(call, cause);
	ck_assert_uint_eq(wire->hits, 1);
}

START_TEST(a_connection_cut_in_a_call_is_survived)
{
	assert_survives(NFS_WIRE_CUT, &calls[_i], FALSE, "server 127.0.0.1:");
}
END_TEST

START_TEST(a_connection_cut_before_the_answer_is_survived)
{
	assert_survives(NFS_WIRE_CUT, &calls[_i], TRUE, "server 127.0.0.1:");
}
END_TEST

START_TEST(an_answer_that_does_not_come_is_survived)
{
	assert_survives(NFS_WIRE_STALL, &calls[_i], TRUE, "no answer for 300 ms");
}
END_TEST

/* The file that was made is there: whether it is the same one nobody can say any more. */
static void assert_name_is_taken(void)
{
	g_autoptr(GError) error = NULL;

	ck_assert(!run(CREATE, &error));
	assert_code(error, BLOCKMIG_ERROR_EXISTS);
}

START_TEST(connections_that_break_for_ever_end_it)
{
	const struct call *call = &calls[_i];

	begin(call->act);
	plan_wire(NFS_WIRE_CUT, call, FALSE, G_MAXUINT);
	assert_fails(call, BLOCKMIG_ERROR_TRANSIENT, "server 127.0.0.1:");
	wire->times = 0;
	if (tries_again_itself(call) && call->procedure != NFS3_CREATE)
		assert_name_is_taken();
	else
		assert_succeeds(call->act);
}
END_TEST

START_TEST(answers_that_never_come_end_it)
{
	begin(calls[_i].act);
	plan_wire(NFS_WIRE_STALL, &calls[_i], TRUE, G_MAXUINT);
	assert_fails(&calls[_i], BLOCKMIG_ERROR_TRANSIENT, "no answer for 300 ms");
}
END_TEST

/* ---- a server that refuses ----------------------------------------------------------- */

static const struct {
	struct call call;
	guint status;
	enum blockmig_error code;
	const char *cause;
} errors[] = {
	{{CREATE, MNT, "mount the export /export"},
	 MNT3ERR_ACCES,
	 BLOCKMIG_ERROR_PERMANENT,
	 "Permission denied"},
	{{CREATE, MNT, "mount the export /export"},
	 MNT3ERR_SERVERFAULT,
	 BLOCKMIG_ERROR_PERMANENT,
	 "SERVERFAULT"},
	{{CREATE, NFS3_CREATE, "create"},
	 NFS3ERR_NOSPC,
	 BLOCKMIG_ERROR_FULL,
	 "No space left on device"},
	{{CREATE, NFS3_CREATE, "create"},
	 NFS3ERR_DQUOT,
	 BLOCKMIG_ERROR_FULL,
	 "Disk quota exceeded"},
	{{CREATE, NFS3_CREATE, "create"},
	 NFS3ERR_ACCES,
	 BLOCKMIG_ERROR_PERMANENT,
	 "Permission denied"},
	{{CREATE, NFS3_CREATE, "create"},
	 NFS3ERR_ROFS,
	 BLOCKMIG_ERROR_PERMANENT,
	 "Read-only file system"},
	{{CREATE, NFS3_CREATE, "create"}, NFS3ERR_IO, BLOCKMIG_ERROR_LATER, "Input/output error"},
	{{CREATE, NFS3_LOOKUP, "look up 'disk'"},
	 NFS3ERR_ACCES,
	 BLOCKMIG_ERROR_PERMANENT,
	 "Permission denied"},
	{{CREATE, NFS3_SETATTR, "set the size"},
	 NFS3ERR_NOSPC,
	 BLOCKMIG_ERROR_FULL,
	 "No space left on device"},
	{{CREATE, NFS3_SETATTR, "set the size"},
	 NFS3ERR_FBIG,
	 BLOCKMIG_ERROR_PERMANENT,
	 "File too large"},
	{{CREATE, NFS3_SETATTR, "set the size"},
	 NFS3ERR_PERM,
	 BLOCKMIG_ERROR_PERMANENT,
	 "Operation not permitted"},
	{{CREATE, NFS3_SETATTR, "set the size"},
	 NFS3ERR_IO,
	 BLOCKMIG_ERROR_LATER,
	 "Input/output error"},
	{{REMOVE, MNT, "mount the export /export"},
	 MNT3ERR_ACCES,
	 BLOCKMIG_ERROR_PERMANENT,
	 "Permission denied"},
	{{REMOVE, NFS3_LOOKUP, "look up 'disk'"},
	 NFS3ERR_ACCES,
	 BLOCKMIG_ERROR_PERMANENT,
	 "Permission denied"},
	{{REMOVE, NFS3_GETATTR, "get attributes"},
	 NFS3ERR_STALE,
	 BLOCKMIG_ERROR_TRANSIENT,
	 "Stale file handle"},
	{{REMOVE, NFS3_REMOVE, "remove"},
	 NFS3ERR_ACCES,
	 BLOCKMIG_ERROR_PERMANENT,
	 "Permission denied"},
	{{REMOVE, NFS3_REMOVE, "remove"},
	 NFS3ERR_ROFS,
	 BLOCKMIG_ERROR_PERMANENT,
	 "Read-only file system"},
	{{REMOVE, NFS3_REMOVE, "remove"}, NFS3ERR_IO, BLOCKMIG_ERROR_LATER, "Input/output error"},
};

/* A creation that failed leaves no file behind: the next one finds the name free. */
START_TEST(an_error_of_the_server_is_told_as_long_as_it_lasts)
{
	const enum act act = errors[_i].call.act;

	begin(act);
	plan_status(errors[_i].call.procedure, errors[_i].status, NFS_SCRIPT_ALWAYS);
	for (guint tries = 0; tries < 2; tries++) {
		assert_fails(&errors[_i].call, errors[_i].code, errors[_i].cause);
		ck_assert_int_eq(script->exists, act == REMOVE);
	}
	script->fail_times = 0;
	assert_succeeds(act);
}
END_TEST

/* Somebody removed it, and put a file of their own there, before it had its size. */
START_TEST(a_file_that_took_the_name_meanwhile_is_not_taken_back)
{
	const struct call call = {CREATE, NFS3_SETATTR, "set the size"};

	begin(CREATE);
	script->replaced = TRUE;
	plan_status(NFS3_SETATTR, NFS3ERR_PERM, NFS_SCRIPT_ALWAYS);
	assert_fails(&call, BLOCKMIG_ERROR_PERMANENT, "Operation not permitted");
	ck_assert(script->exists);
	ck_assert_uint_eq(script->removes, 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("nfs names");
	TCase *tests = tcase_create("names");
	const int all = G_N_ELEMENTS(calls);

	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, a_server_that_asks_for_time_gets_it, MOUNT_CALLS, all);
	tcase_add_loop_test(tests, a_server_that_asks_for_time_for_ever_is_left, MOUNT_CALLS, all);
	tcase_add_loop_test(tests, a_connection_cut_in_a_call_is_survived, 0, all);
	tcase_add_loop_test(tests, a_connection_cut_before_the_answer_is_survived, 0, all);
	tcase_add_loop_test(tests, an_answer_that_does_not_come_is_survived, 0, all);
	tcase_add_loop_test(tests, connections_that_break_for_ever_end_it, 0, all);
	tcase_add_loop_test(tests, answers_that_never_come_end_it, 0, all);
	tcase_add_loop_test(tests, an_error_of_the_server_is_told_as_long_as_it_lasts, 0,
			    G_N_ELEMENTS(errors));
	tcase_add_test(tests, a_file_that_took_the_name_meanwhile_is_not_taken_back);
	suite_add_tcase(suite, tests);
	return suite;
}

int main(void)
{
	return images_run(suite());
}
