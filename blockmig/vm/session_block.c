/*
 * Calls about one disk of a domain: block jobs, figures; and about storage pools.
 */
#include "blockmig/vm/session.h"
#include "blockmig/vm/session_private.h"

/* ---- block jobs ---------------------------------------------------------------------- */

static int block_copy(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	g_autofree virTypedParameterPtr limit = g_new0(virTypedParameter, 1);

	(void)connection;
	g_strlcpy(limit->field, VIR_DOMAIN_BLOCK_COPY_BANDWIDTH, sizeof(limit->field));
	limit->type = VIR_TYPED_PARAM_ULLONG;
	limit->value.ul = call->bytes_per_second;
	return virDomainBlockCopy(domain, call->disk, call->xml, limit,
				  call->bytes_per_second > 0 ? 1 : 0, call->flags);
}

gboolean session_block_copy(struct session *session, const char *uuid, const char *disk,
			    const char *xml, gboolean shallow, guint64 bytes_per_second,
			    GError **error)
{
	AUTO(call) call = call_new("start the block copy", CALL_CHANGES, block_copy, uuid);

	call->disk = g_strdup(disk);
	call->xml = g_strdup(xml);
	call->bytes_per_second = bytes_per_second;
	call->flags = VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB |
		      (shallow ? VIR_DOMAIN_BLOCK_COPY_SHALLOW : 0);
	return call_perform(session, call, error);
}

static int block_commit(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	(void)connection;
	return virDomainBlockCommit(domain, call->disk, call->base, call->top,
				    call->bytes_per_second, call->flags);
}

gboolean session_block_commit(struct session *session, const char *uuid, const char *disk,
			      const char *base, const char *top, gboolean active,
			      guint64 bytes_per_second, GError **error)
{
	AUTO(call) call = call_new("start the block commit", CALL_CHANGES, block_commit, uuid);

	call->disk = g_strdup(disk);
	call->base = g_strdup(base);
	call->top = g_strdup(top);
	call->bytes_per_second = bytes_per_second;
	call->flags = VIR_DOMAIN_BLOCK_COMMIT_BANDWIDTH_BYTES |
		      (active ? VIR_DOMAIN_BLOCK_COMMIT_ACTIVE : 0);
	return call_perform(session, call, error);
}

static enum block_job_kind kind_of(int type)
{
	switch (type) {
	case VIR_DOMAIN_BLOCK_JOB_TYPE_COPY:
		return BLOCK_JOB_COPY;
	case VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT:
		return BLOCK_JOB_COMMIT;
	case VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT:
		return BLOCK_JOB_ACTIVE_COMMIT;
	default:
		return BLOCK_JOB_OTHER;
	}
}

static int ask_block_job(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	virDomainBlockJobInfo info = {0};
	int found = virDomainGetBlockJobInfo(domain, call->disk, &info, 0);

	(void)connection;
	call->job = (struct block_job){BLOCK_JOB_NONE, 0, 0};
	if (found > 0)
		call->job = (struct block_job){kind_of(info.type), info.cur, info.end};
	return found;
}

gboolean session_block_job(struct session *session, const char *uuid, const char *disk,
			   struct block_job *job, GError **error)
{
	AUTO(call) call = call_new("look at its block job", CALL_ASKS, ask_block_job, uuid);

	call->disk = g_strdup(disk);
	if (!call_perform(session, call, error))
		return FALSE;
	*job = call->job;
	return TRUE;
}

static int block_job_abort(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	(void)connection;
	return virDomainBlockJobAbort(domain, call->disk, call->flags);
}

gboolean session_pivot(struct session *session, const char *uuid, const char *disk,
		       guint milliseconds, GError **error)
{
	AUTO(call) call = call_new("pivot", CALL_CHANGES, block_job_abort, uuid);

	call->disk = g_strdup(disk);
	call->flags = VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT;
	call->milliseconds = milliseconds;
	return call_perform(session, call, error);
}

gboolean session_block_abort(struct session *session, const char *uuid, const char *disk,
			     GError **error)
{
	AUTO(call) call = call_new("abort its block job", CALL_CHANGES, block_job_abort, uuid);

	call->disk = g_strdup(disk);
	call->flags = VIR_DOMAIN_BLOCK_JOB_ABORT_ASYNC;
	return call_perform(session, call, error);
}

/* ---- figures ---------------------------------------------------------------------------- */

static gboolean ask_number(struct session *session, const char *doing, call_run run,
			   const char *uuid, const char *disk, guint64 *number, GError **error)
{
	AUTO(call) call = call_new(doing, CALL_ASKS, run, uuid);

	call->disk = g_strdup(disk);
	if (!call_perform(session, call, error))
		return FALSE;
	*number = call->number;
	return TRUE;
}

static int ask_capacity(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	virDomainBlockInfo info = {0};

	(void)connection;
	if (virDomainGetBlockInfo(domain, call->disk, &info, 0) < 0)
		return -1;
	call->number = info.capacity;
	return 0;
}

gboolean session_block_capacity(struct session *session, const char *uuid, const char *disk,
				guint64 *bytes, GError **error)
{
	return ask_number(session, "read its size", ask_capacity, uuid, disk, bytes, error);
}

static int ask_written(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	virDomainBlockStatsStruct stats;

	(void)connection;
	if (virDomainBlockStats(domain, call->disk, &stats, sizeof(stats)) < 0)
		return -1;
	/* -1: the hypervisor does not count. */
	call->number = stats.wr_bytes > 0 ? (guint64)stats.wr_bytes : 0;
	return 0;
}

gboolean session_block_written(struct session *session, const char *uuid, const char *disk,
			       guint64 *bytes, GError **error)
{
	return ask_number(session, "read how much it wrote", ask_written, uuid, disk, bytes, error);
}
