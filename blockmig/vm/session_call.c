/*
 * Calls: from a closure to a worker, and from libvirt's error codes to ours.
 */
#include "blockmig/vm/session_private.h"
#include "common/error.h"

#include <libvirt/virterror.h>

enum { RETRY_MS = 100 };

struct call *call_new(const char *doing, enum call_effect effect, call_run run, const char *uuid)
{
	struct call *call = g_new0(struct call, 1);

	call->references = 1;
	call->doing = doing;
	call->effect = effect;
	call->run = run;
	call->uuid = g_strdup(uuid);
	return call;
}

struct call *call_ref(struct call *call)
{
	g_atomic_int_inc(&call->references);
	return call;
}

static void clear_results(struct call *call)
{
	g_clear_pointer(&call->name, g_free);
	g_clear_pointer(&call->text, g_free);
	g_clear_pointer(&call->list, g_ptr_array_unref);
	g_clear_pointer(&call->cause, g_free);
}

void call_unref(struct call *call)
{
	if (!g_atomic_int_dec_and_test(&call->references))
		return;
	clear_results(call);
	g_free(call->uuid);
	g_free(call->disk);
	g_free(call->xml);
	g_free(call->target);
	g_free(call->base);
	g_free(call->top);
	g_free(call);
}

int call_fail(struct call *call)
{
	if (call->cause)
		return -1;
	call->code = virGetLastErrorCode();
	call->cause = g_strdup(virGetLastErrorMessage());
	return -1;
}

/* ---- errors ------------------------------------------------------------------------- */

static enum blockmig_error code_of(int libvirt_code)
{
	switch (libvirt_code) {
	case VIR_ERR_NO_DOMAIN:
	case VIR_ERR_NO_STORAGE_POOL:
	case VIR_ERR_NO_SECRET:
		return BLOCKMIG_ERROR_NOT_FOUND;
	case VIR_ERR_OPERATION_TIMEOUT: /* "cannot acquire state change lock" */
		return BLOCKMIG_ERROR_UNKNOWN;
	default:
		return BLOCKMIG_ERROR_PERMANENT;
	}
}

/* Where no connection could be made: a daemon that refuses us will do so again. */
static enum blockmig_error code_of_connect(int libvirt_code)
{
	switch (libvirt_code) {
	case VIR_ERR_AUTH_FAILED:
	case VIR_ERR_AUTH_CANCELLED:
	case VIR_ERR_AUTH_UNAVAILABLE:
	case VIR_ERR_ACCESS_DENIED:
	case VIR_ERR_CONFIG_UNSUPPORTED:
	case VIR_ERR_INVALID_ARG:
		return BLOCKMIG_ERROR_PERMANENT;
	default:
		return BLOCKMIG_ERROR_TRANSIENT;
	}
}

/* "domain web: vda: suspend"; the caller frees. */
static char *describe(struct session *session, const struct call *call)
{
	GString *text = g_string_new(NULL);

	if (call->uuid) {
		const char *name;

		g_mutex_lock(&session->lock);
		name = g_hash_table_lookup(session->names, call->uuid);
		g_string_append_printf(text, "domain %s: ", name ? name : call->uuid);
		g_mutex_unlock(&session->lock);
	}
	if (call->disk)
		g_string_append_printf(text, "%s: ", call->disk);
	g_string_append(text, call->doing);
	return g_string_free(text, FALSE);
}

static void set_error(GError **error, struct session *session, const struct call *call,
		      enum worker_outcome outcome)
{
	g_autofree char *what = describe(session, call);

	switch (outcome) {
	case WORKER_DONE:
		break;
	case WORKER_FAILED:
		g_set_error(error, BLOCKMIG_ERROR, code_of(call->code), "%s: %s", what,
			    call->cause);
		break;
	case WORKER_BROKEN:
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_UNKNOWN,
			    "%s: the connection to libvirt broke, so it may have happened or not: "
			    "%s",
			    what, call->cause);
		break;
	case WORKER_UNREACHED:
		g_set_error(error, BLOCKMIG_ERROR, code_of_connect(call->code),
			    "%s: libvirt at %s cannot be reached (does libvirtd run?): %s", what,
			    session->uri ? session->uri : "its default URI", call->cause);
		break;
	case WORKER_LATE:
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_UNKNOWN,
			    "%s: libvirt did not answer in time, so it may still happen", what);
		break;
	}
}

/* ---- making a call --------------------------------------------------------------------- */

static struct worker *take_worker(struct session *session, GError **error)
{
	struct worker *worker = NULL;

	g_mutex_lock(&session->lock);
	if (session->idle->len > 0)
		worker = g_ptr_array_steal_index_fast(session->idle, session->idle->len - 1);
	g_mutex_unlock(&session->lock);
	return worker ? worker : worker_new(session->uri, error);
}

static void put_worker(struct session *session, struct worker *worker, const struct call *call)
{
	g_mutex_lock(&session->lock);
	g_ptr_array_add(session->idle, worker);
	if (call->uuid && call->name)
		g_hash_table_replace(session->names, g_strdup(call->uuid), g_strdup(call->name));
	g_mutex_unlock(&session->lock);
}

static gboolean may_try_again(const struct call *call, enum worker_outcome outcome,
			      deadline_ms deadline)
{
	if (call->once || deadline_left(deadline) <= RETRY_MS)
		return FALSE;
	if (outcome == WORKER_UNREACHED)
		return code_of_connect(call->code) == BLOCKMIG_ERROR_TRANSIENT;
	return outcome == WORKER_BROKEN && call->effect == CALL_ASKS;
}

gboolean call_perform(struct session *session, struct call *call, GError **error)
{
	enum worker_outcome outcome;
	deadline_ms deadline;

	g_mutex_lock(&session->lock);
	deadline = deadline_in(call->milliseconds ? call->milliseconds : session->deadline_ms);
	g_mutex_unlock(&session->lock);

	for (;;) {
		struct worker *worker = take_worker(session, error);

		if (!worker)
			return FALSE;
		outcome = worker_perform(worker, call, deadline);
		if (outcome != WORKER_LATE)
			put_worker(session, worker, call);
		if (!may_try_again(call, outcome, deadline))
			break;
		clear_results(call);
		g_usleep(RETRY_MS * 1000);
	}
	if (outcome == WORKER_DONE)
		return TRUE;
	set_error(error, session, call, outcome);
	return FALSE;
}
