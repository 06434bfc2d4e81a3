#include "tests/unit/nfs_script.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <signal.h>
#include <unistd.h>

#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>

enum {
	LINKS = 32,
	REQUEST_BYTES = 512 * 1024,
	REPLY_ROOM = REQUEST_BYTES + 4096,
	BLOCK = 4096,
	LISTED = 500
};

static struct nfs_script *script;
static gboolean drop_links;
static char root_handle[] = "root", file_handle[] = "file";

/* A copy of the call's arguments, which libnfs may have decoded to any address. */
#define ARGUMENTS(type, name)                                                                      \
	type name;                                                                                 \
	memcpy(&name, call->body.cbody.args, sizeof(name))

static int reply(struct rpc_context *rpc, struct rpc_msg *call, void *result, zdrproc_t encode)
{
	return rpc_send_reply(rpc, call, result, encode, REPLY_ROOM);
}

/* Takes one off what is left to do; FALSE where nothing is. */
static gboolean is_due(guint *count)
{
	if (*count == 0)
		return FALSE;
	if (*count != NFS_SCRIPT_ALWAYS)
		(*count)--;
	return TRUE;
}

/* What the script has for this call of a procedure. */
static nfsstat3 planned_status(guint procedure)
{
	if (script->fail_status == NFS3_OK || script->fail_procedure != procedure ||
	    is_due(&script->fail_skip) || !is_due(&script->fail_times))
		return NFS3_OK;
	return (nfsstat3)script->fail_status;
}

static u_int shortened(u_int bytes)
{
	return script->most_bytes ? MIN(bytes, script->most_bytes) : bytes;
}

/* ---- MOUNT -------------------------------------------------------------------- */

static int on_export(struct rpc_context *rpc, struct rpc_msg *call)
{
	struct exportnode node = {.ex_dir = (char *)"/export"};
	exports list = &node;

	return reply(rpc, call, &list, (zdrproc_t)zdr_exports);
}

static int on_mount(struct rpc_context *rpc, struct rpc_msg *call)
{
	int flavour = 1;
	mountres3 result = {.fhs_status = (mountstat3)planned_status(NFS_SCRIPT_MOUNT(MOUNT3_MNT))};
	mountres3_ok *mounted = &result.mountres3_u.mountinfo;

	if (script->mount_status != MNT3_OK && !is_due(&script->mount_skip) &&
	    is_due(&script->mount_times))
		result.fhs_status = (mountstat3)script->mount_status;
	mounted->fhandle.fhandle3_len = sizeof(root_handle);
	mounted->fhandle.fhandle3_val = root_handle;
	mounted->auth_flavors.auth_flavors_len = 1;
	mounted->auth_flavors.auth_flavors_val = &flavour;
	return reply(rpc, call, &result, (zdrproc_t)zdr_mountres3);
}

/* ---- NFS ---------------------------------------------------------------------- */

static int on_lookup(struct rpc_context *rpc, struct rpc_msg *call)
{
	LOOKUP3res result = {.status = planned_status(NFS3_LOOKUP)};

	if (!script->exists)
		result.status = NFS3ERR_NOENT;
	if (result.status == NFS3_OK) {
		result.LOOKUP3res_u.resok.object.data.data_len = sizeof(file_handle);
		result.LOOKUP3res_u.resok.object.data.data_val = file_handle;
	}
	return reply(rpc, call, &result, (zdrproc_t)zdr_LOOKUP3res);
}

/* Blocks of zeros count as holes. */
static guint64 used_bytes(void)
{
	static const guint8 zeros[BLOCK];
	const guint64 end = MIN(script->size_bytes, (guint64)NFS_SCRIPT_BYTES);
	guint64 used = 0;

	for (guint64 at = 0; at < end && !script->hides_allocation; at += BLOCK)
		used += memcmp(script->data + at, zeros, BLOCK) ? (guint64)BLOCK : 0;
	return used;
}

static int on_getattr(struct rpc_context *rpc, struct rpc_msg *call)
{
	GETATTR3res result = {.status = planned_status(NFS3_GETATTR)};

	result.GETATTR3res_u.resok.obj_attributes = (fattr3){.type = NF3REG,
							     .nlink = 1,
							     .size = script->size_bytes,
							     .used = used_bytes(),
							     .fsid = 1,
							     .fileid = script->fileid};
	return reply(rpc, call, &result, (zdrproc_t)zdr_GETATTR3res);
}

static int on_setattr(struct rpc_context *rpc, struct rpc_msg *call)
{
	ARGUMENTS(SETATTR3args, request);
	SETATTR3res result = {.status = planned_status(NFS3_SETATTR)};
	const set_size3 *size = &request.new_attributes.size;

	if (script->replaced)
		file_handle[0] = 'n';
	if (request.object.data.data_len != sizeof(file_handle))
		result.status = NFS3ERR_BADHANDLE;
	if (result.status == NFS3_OK && size->set_it)
		script->size_bytes = size->set_size3_u.size;
	return reply(rpc, call, &result, (zdrproc_t)zdr_SETATTR3res);
}

static int on_fsinfo(struct rpc_context *rpc, struct rpc_msg *call)
{
	FSINFO3res result = {.status = planned_status(NFS3_FSINFO)};

	result.FSINFO3res_u.resok.rtmax = script->request_bytes;
	result.FSINFO3res_u.resok.wtmax = script->request_bytes;
	return reply(rpc, call, &result, (zdrproc_t)zdr_FSINFO3res);
}

/* A record marker and a header that promise more than comes before the end. */
static int cut_off(struct rpc_context *rpc, const struct rpc_msg *call, u_int bytes)
{
	guint32 header[] = {htonl(0x80000000u | (24 + 28 + bytes)), htonl(call->xid), htonl(1)};

	script->cut_read = FALSE;
	if (write(rpc_get_fd(rpc), header, sizeof(header)) < 0 ||
	    write(rpc_get_fd(rpc), script->data, bytes / 2) < 0)
		return -1;
	return -1;
}

/* Until the client has had enough; the rest of the script waits. */
static int flood(struct rpc_context *rpc, const guint32 *head, gsize head_bytes)
{
	static const guint8 zeros[BLOCK];
	struct pollfd wait = {.fd = rpc_get_fd(rpc), .events = POLLOUT};

	if (head_bytes && write(wait.fd, head, head_bytes) < 0)
		return -1;
	while (write(wait.fd, zeros, sizeof(zeros)) >= 0 || errno == EAGAIN)
		poll(&wait, 1, -1);
	return -1;
}

/* The answer is an error, without attributes; its fragment is as long as one can be. */
static int flood_tail(struct rpc_context *rpc, const struct rpc_msg *call)
{
	const guint32 head[] = {htonl(0x7fffffff),
				htonl(call->xid),
				htonl(REPLY),
				0,
				0,
				0,
				0,
				htonl(NFS3ERR_IO),
				0};

	return flood(rpc, head, sizeof(head));
}

static int on_read(struct rpc_context *rpc, struct rpc_msg *call)
{
	static guint8 bytes[REQUEST_BYTES];
	ARGUMENTS(READ3args, read);
	READ3res result = {.status = planned_status(NFS3_READ)};
	READ3resok *good = &result.READ3res_u.resok;

	script->reads++;
	if (script->flood_read)
		return flood(rpc, NULL, 0);
	if (script->flood_tail)
		return flood_tail(rpc, call);
	if (script->cut_read)
		return cut_off(rpc, call, read.count);
	if (is_due(&script->jukebox))
		result.status = NFS3ERR_JUKEBOX;
	if (result.status == NFS3_OK && read.offset > NFS_SCRIPT_BYTES - REQUEST_BYTES)
		read.count = read.offset < script->size_bytes
				     ? (u_int)MIN(read.count, script->size_bytes - read.offset)
				     : 0;
	if (result.status == NFS3_OK && read.count > 0) {
		good->count = good->data.data_len = shortened(MIN(read.count, REQUEST_BYTES));
		good->data.data_val = (char *)bytes;
		memcpy(bytes, script->data + read.offset, good->count);
		if (is_due(&script->flip_reads))
			bytes[good->count / 2] ^= 0x10;
	}
	return reply(rpc, call, &result, (zdrproc_t)zdr_READ3res);
}

static stable_how stability(void)
{
	return script->mixes && script->writes % 2 ? FILE_SYNC : (stable_how)script->committed;
}

/* What is not UNSTABLE is durable before it is answered. */
static void store(const WRITE3args *request, u_int count)
{
	guint8 *data = script->data + request->offset;

	if (is_due(&script->ignore_writes))
		return;
	memcpy(data, request->data.data_val, count);
	if (is_due(&script->flip_writes))
		data[count / 2] ^= 0x10;
	if (stability() != UNSTABLE)
		memcpy(script->durable + request->offset, data, count);
}

static void restart(void)
{
	script->restarts++;
	script->verifier++;
	script->restart_after = script->restart_every;
	if (script->restart_forgets)
		memcpy(script->data, script->durable, NFS_SCRIPT_BYTES);
	drop_links = script->restart_disconnects;
	script->fileid += script->restart_replaces;
}

static int on_write(struct rpc_context *rpc, struct rpc_msg *call)
{
	ARGUMENTS(WRITE3args, request);
	WRITE3res result = {.status = (nfsstat3)script->write_status};
	WRITE3resok *good = &result.WRITE3res_u.resok;

	script->writes++;
	if (is_due(&script->jukebox))
		result.status = NFS3ERR_JUKEBOX;
	if (result.status == NFS3_OK)
		result.status = planned_status(NFS3_WRITE);
	if (result.status == NFS3_OK && request.count != request.data.data_len)
		result.status = NFS3ERR_INVAL;
	if (result.status == NFS3_OK && (request.offset > NFS_SCRIPT_BYTES ||
					 request.count > NFS_SCRIPT_BYTES - request.offset))
		result.status = NFS3ERR_FBIG;
	if (result.status == NFS3_OK) {
		good->count = shortened(request.count);
		good->committed = stability();
		memcpy(good->verf, &script->verifier, sizeof(good->verf));
		store(&request, good->count);
	}
	if (script->restart_after && --script->restart_after == 0)
		restart();
	return reply(rpc, call, &result, (zdrproc_t)zdr_WRITE3res);
}

static int on_commit(struct rpc_context *rpc, struct rpc_msg *call)
{
	COMMIT3res result = {.status = planned_status(NFS3_COMMIT)};

	script->commits++;
	if (result.status == NFS3_OK)
		memcpy(script->durable, script->data, NFS_SCRIPT_BYTES);
	memcpy(result.COMMIT3res_u.resok.verf, &script->verifier, sizeof(script->verifier));
	return reply(rpc, call, &result, (zdrproc_t)zdr_COMMIT3res);
}

/* As RFC 1813 has it: the file is there, and good, for whoever brings its verifier. */
static int on_create(struct rpc_context *rpc, struct rpc_msg *call)
{
	ARGUMENTS(CREATE3args, request);
	CREATE3res result = {.status = planned_status(NFS3_CREATE)};
	guint64 verifier;

	script->creates++;
	if (result.status != NFS3_OK)
		return reply(rpc, call, &result, (zdrproc_t)zdr_CREATE3res);
	memcpy(&verifier, request.how.createhow3_u.verf, sizeof(verifier));
	if (!script->exists)
		script->size_bytes = 0;
	else if (verifier != script->create_verifier)
		result.status = NFS3ERR_EXIST;
	if (result.status == NFS3_OK)
		script->create_verifier = verifier;
	script->exists = TRUE;
	if (script->swallow_create) {
		script->swallow_create = FALSE;
		return -1;
	}
	return reply(rpc, call, &result, (zdrproc_t)zdr_CREATE3res);
}

static int on_remove(struct rpc_context *rpc, struct rpc_msg *call)
{
	REMOVE3res result = {.status = planned_status(NFS3_REMOVE)};

	script->removes++;
	if (result.status == NFS3_OK && !script->exists)
		result.status = NFS3ERR_NOENT;
	if (result.status == NFS3_OK)
		script->exists = FALSE;
	return reply(rpc, call, &result, (zdrproc_t)zdr_REMOVE3res);
}

/* A folder of so many files that it has no end. */
static int on_readdirplus(struct rpc_context *rpc, struct rpc_msg *call)
{
	static entryplus3 entries[LISTED];
	ARGUMENTS(READDIRPLUS3args, request);
	READDIRPLUS3res result = {.status = NFS3_OK};
	const cookie3 from = script->list_repeats ? 0 : request.cookie;

	for (guint i = 0; i < LISTED; i++)
		entries[i] = (entryplus3){.name = (char *)"disk",
					  .cookie = from + i + 1,
					  .nextentry = i + 1 < LISTED ? &entries[i + 1] : NULL};
	result.READDIRPLUS3res_u.resok.reply.entries = entries;
	return reply(rpc, call, &result, (zdrproc_t)zdr_READDIRPLUS3res);
}

/* ---- the process -------------------------------------------------------------- */

/* libnfs decodes strings only into memory that is zero, and gives memory that is not. */
#define DECODER(type)                                                                              \
	static uint32_t decode_##type(ZDR *zdr, void *arguments, ...)                              \
	{                                                                                          \
		memset(arguments, 0, sizeof(type));                                                \
		return zdr_##type(zdr, arguments);                                                 \
	}

DECODER(READ3args)
DECODER(WRITE3args)
DECODER(CREATE3args)
DECODER(SETATTR3args)
DECODER(READDIRPLUS3args)

static uint32_t decode_nothing(ZDR *zdr G_GNUC_UNUSED, void *arguments G_GNUC_UNUSED, ...)
{
	return 1;
}

static struct service_proc mount_procedures[] = {
	{MOUNT3_EXPORT, on_export, decode_nothing, 0},
	{MOUNT3_MNT, on_mount, decode_nothing, 0},
};

static struct service_proc nfs_procedures[] = {
	{NFS3_GETATTR, on_getattr, decode_nothing, 0},
	{NFS3_SETATTR, on_setattr, decode_SETATTR3args, sizeof(SETATTR3args)},
	{NFS3_LOOKUP, on_lookup, decode_nothing, 0},
	{NFS3_READ, on_read, decode_READ3args, sizeof(READ3args)},
	{NFS3_WRITE, on_write, decode_WRITE3args, sizeof(WRITE3args)},
	{NFS3_CREATE, on_create, decode_CREATE3args, sizeof(CREATE3args)},
	{NFS3_REMOVE, on_remove, decode_nothing, 0},
	{NFS3_READDIRPLUS, on_readdirplus, decode_READDIRPLUS3args, sizeof(READDIRPLUS3args)},
	{NFS3_FSINFO, on_fsinfo, decode_nothing, 0},
	{NFS3_COMMIT, on_commit, decode_nothing, 0},
};

static struct rpc_context *accept_link(int listener)
{
	int on = 1, fd = accept(listener, NULL, NULL);
	struct rpc_context *rpc = rpc_init_server_context(fd);

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	rpc_register_service(rpc, MOUNT_PROGRAM, MOUNT_V3, mount_procedures,
			     G_N_ELEMENTS(mount_procedures));
	rpc_register_service(rpc, NFS_PROGRAM, NFS_V3, nfs_procedures,
			     G_N_ELEMENTS(nfs_procedures));
	return rpc;
}

/* libnfs calls back for connections that fail, and a server has no callback. */
static gboolean link_serve(struct rpc_context *rpc, int events)
{
	return !(events & (POLLERR | POLLHUP)) && rpc_service(rpc, events) == 0;
}

/* The same for answers that were never sent: such a context is left behind. */
static void link_drop(struct rpc_context **link)
{
	struct rpc_context *rpc = g_steal_pointer(link);

	if (!rpc)
		return;
	if (rpc_queue_length(rpc) == 0)
		rpc_destroy_context(rpc);
	else
		close(rpc_get_fd(rpc));
}

static void G_GNUC_NORETURN serve(int listener)
{
	struct rpc_context *links[LINKS] = {0};

	for (;;) {
		struct pollfd wait[LINKS + 1] = {{.fd = listener, .events = POLLIN}};

		for (guint i = 0; i < LINKS; i++) {
			wait[i + 1].fd = links[i] ? rpc_get_fd(links[i]) : -1;
			wait[i + 1].events = links[i] ? (short)rpc_which_events(links[i]) : 0;
		}
		if (poll(wait, LINKS + 1, -1) < 0)
			_exit(1);
		for (guint i = 0; i < LINKS; i++) {
			if (wait[i + 1].revents && !link_serve(links[i], wait[i + 1].revents))
				link_drop(&links[i]);
			if (drop_links)
				break;
			if (!links[i] && (wait[0].revents & POLLIN)) {
				links[i] = accept_link(listener);
				wait[0].revents = 0;
			}
		}
		for (guint i = 0; i < LINKS && drop_links; i++)
			link_drop(&links[i]);
		drop_links = FALSE;
	}
}

struct nfs_script *nfs_script_start(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	script = mmap(NULL, sizeof(*script), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (listener < 0 || script == MAP_FAILED ||
	    bind(listener, (struct sockaddr *)&address, length) < 0 ||
	    listen(listener, LINKS) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &length) < 0)
		abort();
	script->port = ntohs(address.sin_port);
	script->verifier = 1;
	script->fileid = 2;
	script->size_bytes = NFS_SCRIPT_BYTES;
	script->request_bytes = REQUEST_BYTES;
	script->exists = TRUE;
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGPIPE, SIG_IGN);
		serve(listener);
	}
	close(listener);
	return script;
}

char *nfs_script_url(const struct nfs_script *of)
{
	return g_strdup_printf("nfs://127.0.0.1:%d/export/disk?mountport=%d", of->port, of->port);
}
