/*
 * What the tests of the commands share: a state folder for each test, libvirt and the move
 * room as the test says, and a command run from its words to its exit status.
 *
 * Definitions, not declarations: they take the place of the real ones in the programs that
 * include this, and in no other.
 */
#ifndef TESTS_UNIT_COMMANDS_H
#define TESTS_UNIT_COMMANDS_H

#include "blockmig/cmd/command.h"
#include "common/error.h"
#include "common/stop.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* How one job ends; code -1: well. */
struct ending {
	const char *disk;
	int code;
	const char *result; /* NULL: refused before there was a job */
};

static const struct ending *endings;
static GString *calls; /* what was asked of the room, one word each */
static gboolean session_fails;

void move_options_init(struct move_options *options)
{
	*options = (struct move_options){.format = g_strdup("keep"), .verify = TRUE};
}

void move_options_clear(struct move_options *options)
{
	g_free(options->format);
	g_free(options->from_format);
	g_free(options->scratch);
}

void move_summary_free(struct move_summary *summary)
{
	g_free(summary->result);
	g_free(summary);
}

struct session *session_open(const char *uri, GError **error)
{
	(void)uri;
	if (session_fails) {
		g_set_error_literal(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT, "no libvirtd");
		return NULL;
	}
	return (struct session *)calls;
}

void session_close(struct session *session)
{
	(void)session;
}

char *session_secret(struct session *session, const char *usage, GError **error)
{
	(void)error;
	ck_assert_ptr_nonnull(session);
	g_string_append_printf(calls, "secret(%s) ", usage);
	return g_strdup("its value");
}

static gboolean end(const char *disk, struct move_summary **summary, GError **error)
{
	const struct ending *ending = endings;

	while (ending->disk && !g_str_equal(ending->disk, disk))
		ending++;
	ck_assert_msg(ending->disk != NULL, "%s", disk);
	if (ending->result) {
		*summary = g_new0(struct move_summary, 1);
		(*summary)->job = 7;
		(*summary)->result = g_strdup(ending->result);
	}
	if (ending->code >= 0)
		g_set_error(error, BLOCKMIG_ERROR, ending->code, "%s: so it ends", disk);
	return ending->code < 0;
}

/* A job whose ledger is lost; NULL: none. */
static const struct move_orphan *orphan;

void move_orphan_free(struct move_orphan *copy)
{
	(void)copy;
}

GPtrArray *move_orphans(struct move_context *context, GError **error)
{
	GPtrArray *orphans = g_ptr_array_new();

	(void)error;
	ck_assert_ptr_nonnull(context->session);
	if (orphan)
		g_ptr_array_add(orphans, (gpointer)orphan);
	return orphans;
}

gboolean move_adopt(struct move_context *context, const struct move_orphan *lost, gint64 *job,
		    GError **error)
{
	(void)context;
	(void)error;
	g_string_append_printf(calls, "adopt(%s,%s) ", lost->domain, lost->disk);
	*job = lost->job;
	return TRUE;
}

static char *out_text, *err_text;

static void forget_output(void)
{
	g_clear_pointer(&out_text, free);
	g_clear_pointer(&err_text, free);
	g_string_truncate(calls, 0);
}

static int run(const struct command *command, const char *line)
{
	g_autofree char *text = g_strdup_printf("%s %s", command->name, line);
	g_auto(GStrv) words = g_strsplit(g_strchomp(text), " ", -1);
	size_t out_bytes, err_bytes;

	forget_output();
	FILE *out = open_memstream(&out_text, &out_bytes);
	FILE *err = open_memstream(&err_text, &err_bytes);
	int status = command_run(command, (int)g_strv_length(words), words, out, err);

	fclose(out);
	fclose(err);
	return status;
}

/* A test's own: what one leaves in the ledger must not be another's. */
static char *state;

static void make(void)
{
	g_autofree char *config = temp_path("blockmig.conf");

	state = g_mkdtemp(temp_path("state-XXXXXX"));
	ck_assert_ptr_nonnull(state);
	ck_assert(g_file_set_contents(config, "", -1, NULL));
	g_setenv("BLOCKMIG_STATE", state, TRUE);
	g_setenv("BLOCKMIG_CONFIG", config, TRUE);
	calls = g_string_new(NULL);
	endings = NULL;
	orphan = NULL;
	session_fails = FALSE;
}

static void unmake(void)
{
	forget_output();
	g_string_free(calls, TRUE);
	stop_reset();
	g_clear_pointer(&state, g_free);
}

static gint64 add_job(const char *kind, enum job_result result)
{
	AUTO(ledger) ledger = ledger_open(state, NULL);
	static guint number;
	g_autofree char *disk = g_strdup_printf("vd%u", number++);
	struct ledger_job job = {
		.kind = (char *)kind,
		.domain_uuid = (char *)"u",
		.domain_name = (char *)"web",
		.disk = disk,
		.source = (char *)"/a",
		.destination = (char *)"/b",
		.state = (char *)"{}",
		.phase = (char *)"",
		.message = (char *)"",
	};

	ck_assert(ledger_job_add(ledger, &job, NULL));
	if (result != JOB_OPEN)
		ck_assert(ledger_job_end(ledger, job.id, result, "", NULL));
	return job.id;
}

#endif
