/*
 * Calls about one disk of a domain: block jobs, figures; and about storage pools.
 */
#include "blockmig/vm/session.h"
#include "blockmig/vm/session_private.h"

#include <stdlib.h>
#include <string.h>

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

/* ---- limits ------------------------------------------------------------------------------ */

static const struct {
	const char *name;
	gsize offset;
} limit_fields[] = {
	{VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC, offsetof(struct block_limits, total)},
	{VIR_DOMAIN_BLOCK_IOTUNE_READ_BYTES_SEC, offsetof(struct block_limits, read)},
	{VIR_DOMAIN_BLOCK_IOTUNE_WRITE_BYTES_SEC, offsetof(struct block_limits, write)},
	{VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC_MAX, offsetof(struct block_limits, total_burst)},
	{VIR_DOMAIN_BLOCK_IOTUNE_READ_BYTES_SEC_MAX, offsetof(struct block_limits, read_burst)},
	{VIR_DOMAIN_BLOCK_IOTUNE_WRITE_BYTES_SEC_MAX, offsetof(struct block_limits, write_burst)},
	{VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC_MAX_LENGTH,
	 offsetof(struct block_limits, total_burst_s)},
	{VIR_DOMAIN_BLOCK_IOTUNE_READ_BYTES_SEC_MAX_LENGTH,
	 offsetof(struct block_limits, read_burst_s)},
	{VIR_DOMAIN_BLOCK_IOTUNE_WRITE_BYTES_SEC_MAX_LENGTH,
	 offsetof(struct block_limits, write_burst_s)},
};

static unsigned long long *limit_of(struct call *call, guint field)
{
	G_STATIC_ASSERT(sizeof(unsigned long long) == sizeof(guint64));
	return (unsigned long long *)(void *)((char *)&call->limits + limit_fields[field].offset);
}

/* Every disk with limits is in a group, by default in one of its own. */
static gboolean has_other_disks(virDomainPtr domain, const char *group)
{
	g_autofree char *name = g_markup_escape_text(group, -1);
	g_autofree char *element = g_strdup_printf("<group_name>%s</group_name>", name);
	char *xml = virDomainGetXMLDesc(domain, 0);
	const char *first = xml ? strstr(xml, element) : NULL;
	gboolean others = first && strstr(first + 1, element);

	free(xml);
	return others;
}

static int ask_limits(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	const char *group = NULL;
	int count = 0;

	(void)connection;
	if (virDomainGetBlockIoTune(domain, call->disk, NULL, &count, call->flags) < 0)
		return -1;
	g_autofree virTypedParameterPtr found = g_new0(virTypedParameter, MAX(count, 1));

	if (virDomainGetBlockIoTune(domain, call->disk, found, &count, call->flags) < 0)
		return -1;
	call->limits = (struct block_limits){0};
	for (guint i = 0; i < G_N_ELEMENTS(limit_fields); i++)
		virTypedParamsGetULLong(found, count, limit_fields[i].name, limit_of(call, i));
	virTypedParamsGetString(found, count, VIR_DOMAIN_BLOCK_IOTUNE_GROUP_NAME, &group);
	call->shared = group && *group && has_other_disks(domain, group);
	virTypedParamsClear(found, count);
	return 0;
}

gboolean session_block_limits(struct session *session, const char *uuid, const char *disk,
			      struct block_limits *limits, gboolean *shared, GError **error)
{
	AUTO(call) call = call_new("read its I/O limits", CALL_ASKS, ask_limits, uuid);

	call->disk = g_strdup(disk);
	call->flags = VIR_DOMAIN_AFFECT_LIVE;
	if (!call_perform(session, call, error))
		return FALSE;
	*limits = call->limits;
	*shared = call->shared;
	return TRUE;
}

static int set_limits(struct call *call, virConnectPtr connection, virDomainPtr domain)
{
	virTypedParameterPtr wanted = NULL;
	int count = 0, room = 0, result = 0;

	(void)connection;
	/* Each of them: libvirt takes what is left out of a group of them for 0. */
	for (guint i = 0; result == 0 && i < G_N_ELEMENTS(limit_fields); i++)
		result = virTypedParamsAddULLong(&wanted, &count, &room, limit_fields[i].name,
						 *limit_of(call, i));
	if (result == 0)
		result = virDomainSetBlockIoTune(domain, call->disk, wanted, count, call->flags);
	if (result < 0)
		call_fail(call);
	virTypedParamsFree(wanted, count);
	return result;
}

gboolean session_block_limits_set(struct session *session, const char *uuid, const char *disk,
				  const struct block_limits *limits, GError **error)
{
	AUTO(call) call = call_new("set its I/O limits", CALL_CHANGES, set_limits, uuid);

	call->disk = g_strdup(disk);
	call->limits = *limits;
	call->flags = VIR_DOMAIN_AFFECT_LIVE;
	return call_perform(session, call, error);
}
