/*
 * A server that answers anything: the input is its answers in XDR, each behind a byte
 * that says how the call ends, and this file stands for libnfs's connection and for
 * transports/nfs_wire.c (whose bytes are fuzz_nfs_wire.c's).  Whatever it answers: a flush that
 * succeeds means that no verifier changed since the first write, and what was read is what was
 * answered.
 */
#include "tests/fuzz/fuzz.h"
#include "transports/nfs_image.h"

#include <dlfcn.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-portmap.h>

enum { STALL_MS = 5, MOST_BYTES = 100 * 1000, HUNG_UP = 0xff, FAILED = 0xfe, RESULT_BYTES = 512 };

struct pending {
	rpc_cb callback;
	void *data;
	zdrproc_t decode; /* NULL: an answer without content */
	guint32 asked;	  /* bytes of a READ or WRITE */
};

static struct fuzz_input answers;
static GQueue pending = G_QUEUE_INIT;
static int always_ready = -1;

/* What a server said to the writes since the last flush. */
static gboolean unstable, verifier_changed;
static writeverf3 verifier;

/* ---- in place of libnfs ------------------------------------------------------------------ */

static int ask(rpc_cb callback, void *data, zdrproc_t decode, guint32 asked)
{
	const struct pending next = {callback, data, decode, asked};

	g_queue_push_tail(&pending, g_memdup2(&next, sizeof(next)));
	return 0;
}

/* The promise of nfs_image.h, kept here without its code. */
static void watch_verifier(const WRITE3res *result, guint32 asked)
{
	const WRITE3resok *written = &result->WRITE3res_u.resok;

	if (result->status != NFS3_OK || written->count == 0 || written->count > asked)
		return;
	if (unstable && memcmp(verifier, written->verf, sizeof(verifier)) != 0)
		verifier_changed = TRUE;
	if (written->committed == FILE_SYNC)
		return;
	unstable = TRUE;
	memcpy(verifier, written->verf, sizeof(verifier));
}

static void watch(const struct pending *call, const void *result)
{
	const COMMIT3res *commit = result;

	if (call->decode == (zdrproc_t)zdr_WRITE3res)
		watch_verifier(result, call->asked);
	if (call->decode == (zdrproc_t)zdr_COMMIT3res && commit->status == NFS3_OK &&
	    memcmp(verifier, commit->COMMIT3res_u.resok.verf, sizeof(verifier)) != 0)
		verifier_changed = TRUE;
}

/* libnfs reads a string's NUL where the string ends: there is one behind the input. */
static gboolean deliver(const struct pending *call)
{
	_Alignas(16) char result[RESULT_BYTES] = {0};
	g_autofree char *bytes = g_malloc0(answers.left + 8);
	gboolean good;
	gsize used;
	ZDR zdr;

	memcpy(bytes, answers.at, answers.left);
	zdrmem_create(&zdr, bytes, (u_int)answers.left, ZDR_DECODE);
	good = call->decode(&zdr, result);
	/* It counts padding that is not there. */
	used = MIN(zdr_getpos(&zdr), answers.left);
	answers.at += used;
	answers.left -= used;
	if (good) {
		watch(call, result);
		call->callback(NULL, RPC_STATUS_SUCCESS, result, call->data);
	} else {
		call->callback(NULL, RPC_STATUS_ERROR, (char *)"garbage", call->data);
	}
	zdr_destroy(&zdr);
	return good;
}

/*
 * libnfs 4.0.0 believes a length that a server tells: it allocates that many elements, and
 * reads in front of its buffer where the sum with its position wraps around.  That is
 * its own to mend; here such answers are garbage, as they are in the end.
 */
static gboolean is_length_sound(const ZDR *zdr)
{
	guint32 told;

	if (zdr->pos < 0 || zdr->pos + 4 > zdr->size)
		return FALSE;
	memcpy(&told, zdr->buf + zdr->pos, sizeof(told));
	return GUINT32_FROM_BE(told) <= (guint32)zdr->size;
}

uint32_t libnfs_zdr_array(ZDR *zdr, char **array, uint32_t *count, uint32_t most, uint32_t bytes,
			  zdrproc_t element)
{
	uint32_t (*real)(ZDR *, char **, uint32_t *, uint32_t, uint32_t, zdrproc_t) =
		dlsym(RTLD_NEXT, "libnfs_zdr_array");

	return is_length_sound(zdr) && real(zdr, array, count, most, bytes, element);
}

uint32_t libnfs_zdr_bytes(ZDR *zdr, char **bytes, uint32_t *count, uint32_t most)
{
	uint32_t (*real)(ZDR *, char **, uint32_t *, uint32_t) =
		dlsym(RTLD_NEXT, "libnfs_zdr_bytes");

	return is_length_sound(zdr) && real(zdr, bytes, count, most);
}

uint32_t libnfs_zdr_string(ZDR *zdr, char **text, uint32_t most)
{
	uint32_t (*real)(ZDR *, char **, uint32_t) = dlsym(RTLD_NEXT, "libnfs_zdr_string");

	return is_length_sound(zdr) && real(zdr, text, most);
}

static int finish(const struct pending *call)
{
	const guint8 end = fuzz_input_byte(&answers);

	if (end == HUNG_UP) {
		call->callback(NULL, RPC_STATUS_CANCEL, NULL, call->data);
		return -1;
	}
	if (end == FAILED)
		call->callback(NULL, RPC_STATUS_ERROR, (char *)"refused", call->data);
	else if (call->decode)
		deliver(call);
	else
		call->callback(NULL, RPC_STATUS_SUCCESS, NULL, call->data);
	return 0;
}

int rpc_service(struct rpc_context *rpc G_GNUC_UNUSED, int events G_GNUC_UNUSED)
{
	if (answers.left == 0 || g_queue_is_empty(&pending))
		return -1;
	g_autofree struct pending *next = g_queue_pop_head(&pending);

	return finish(next);
}

struct rpc_context *rpc_init_context(void)
{
	static char context;

	return (struct rpc_context *)&context;
}

void rpc_destroy_context(struct rpc_context *rpc G_GNUC_UNUSED)
{
	struct pending *next;

	while ((next = g_queue_pop_head(&pending))) {
		next->callback(NULL, RPC_STATUS_CANCEL, NULL, next->data);
		g_free(next);
	}
}

int rpc_get_fd(struct rpc_context *rpc G_GNUC_UNUSED)
{
	return always_ready;
}

int rpc_which_events(struct rpc_context *rpc G_GNUC_UNUSED)
{
	return POLLIN;
}

char *rpc_get_error(struct rpc_context *rpc G_GNUC_UNUSED)
{
	return (char *)"the fuzzer's input ended";
}

void rpc_set_uid(struct rpc_context *rpc G_GNUC_UNUSED, int uid G_GNUC_UNUSED)
{
}
void rpc_set_gid(struct rpc_context *rpc G_GNUC_UNUSED, int gid G_GNUC_UNUSED)
{
}

int rpc_connect_async(struct rpc_context *rpc G_GNUC_UNUSED, const char *server G_GNUC_UNUSED,
		      int port G_GNUC_UNUSED, rpc_cb callback, void *data)
{
	return ask(callback, data, NULL, 0);
}

int rpc_mount3_mnt_async(struct rpc_context *rpc G_GNUC_UNUSED, rpc_cb callback,
			 char *path G_GNUC_UNUSED, void *data)
{
	return ask(callback, data, (zdrproc_t)zdr_mountres3, 0);
}

int rpc_mount3_export_async(struct rpc_context *rpc G_GNUC_UNUSED, rpc_cb callback, void *data)
{
	return ask(callback, data, (zdrproc_t)zdr_exports, 0);
}

int rpc_pmap2_getport_async(struct rpc_context *rpc G_GNUC_UNUSED, int program G_GNUC_UNUSED,
			    int version G_GNUC_UNUSED, int protocol G_GNUC_UNUSED, rpc_cb callback,
			    void *data)
{
	return ask(callback, data, (zdrproc_t)zdr_u_int, 0);
}

int rpc_pmap3_getaddr_async(struct rpc_context *rpc G_GNUC_UNUSED,
			    struct pmap3_mapping *mapping G_GNUC_UNUSED, rpc_cb callback,
			    void *data)
{
	return ask(callback, data, (zdrproc_t)zdr_pmap3_string_result, 0);
}

#define NFS_CALL(name, capitals, asked)                                                            \
	int rpc_nfs3_##name##_async(struct rpc_context *rpc G_GNUC_UNUSED, rpc_cb callback,        \
				    struct capitals##3args * arguments, void *data)                \
	{                                                                                          \
		(void)arguments;                                                                   \
		G_STATIC_ASSERT(sizeof(capitals##3res) <= RESULT_BYTES);                           \
		return ask(callback, data, (zdrproc_t)zdr_##capitals##3res, asked);                \
	}

NFS_CALL(lookup, LOOKUP, 0)
NFS_CALL(getattr, GETATTR, 0)
NFS_CALL(setattr, SETATTR, 0)
NFS_CALL(fsinfo, FSINFO, 0)
NFS_CALL(fsstat, FSSTAT, 0)
NFS_CALL(create, CREATE, 0)
NFS_CALL(remove, REMOVE, 0)
NFS_CALL(readdirplus, READDIRPLUS, 0)
NFS_CALL(commit, COMMIT, 0)

/* ---- in place of transports/nfs_wire.c --------------------------------------------------- */

struct nfs_wire {
	struct nfs_link *link;
	gboolean broken; /* an answer that the real one does not believe */
};

static struct nfs_wire the_wire;

struct nfs_wire *nfs_wire_new(struct nfs_link *link)
{
	the_wire = (struct nfs_wire){link, FALSE};
	return &the_wire;
}

void nfs_wire_free(struct nfs_wire *wire G_GNUC_UNUSED)
{
}

static void take_read(struct nfs_wire_request *request, const READ3res *result)
{
	const READ3resok *read = &result->READ3res_u.resok;

	request->status = result->status;
	if (result->status != NFS3_OK)
		return;
	request->count = read->count;
	the_wire.broken = read->count > request->bytes || read->count != read->data.data_len;
	if (!the_wire.broken && read->count)
		memcpy(request->buffer, read->data.data_val, read->count);
}

static void take_write(struct nfs_wire_request *request, const WRITE3res *result)
{
	const WRITE3resok *written = &result->WRITE3res_u.resok;

	request->status = result->status;
	if (result->status != NFS3_OK)
		return;
	request->count = written->count;
	request->committed = written->committed;
	memcpy(request->verifier, written->verf, sizeof(request->verifier));
	the_wire.broken = written->count > request->bytes || written->count == 0;
}

static void on_wire_answer(struct rpc_context *rpc G_GNUC_UNUSED, int rpc_status, void *result,
			   void *data)
{
	struct nfs_wire_request *request = data;

	request->in_flight = FALSE;
	if (rpc_status != RPC_STATUS_SUCCESS)
		the_wire.broken = TRUE;
	else if (request->writing)
		take_write(request, result);
	else
		take_read(request, result);
}

void nfs_wire_submit(struct nfs_wire *wire G_GNUC_UNUSED, struct nfs_wire_request *request)
{
	request->in_flight = TRUE;
	ask(on_wire_answer, request,
	    request->writing ? (zdrproc_t)zdr_WRITE3res : (zdrproc_t)zdr_READ3res, request->bytes);
}

gboolean nfs_wire_turn(struct nfs_wire *wire, int wait_ms G_GNUC_UNUSED, GError **error)
{
	if (rpc_service(NULL, 0) == 0 && !wire->broken)
		return TRUE;
	nfs_link_lose(wire->link, "the fuzzer broke it", error);
	return FALSE;
}

/* Waits would only make it slow. */
void g_usleep(gulong microseconds G_GNUC_UNUSED)
{
}

/* ---- what is done with such a server --------------------------------------------------------- */

static void use(struct handle *handle)
{
	const gsize count = (gsize)MIN(handle->size_bytes, MOST_BYTES);
	g_autofree char *buffer = g_malloc0(MOST_BYTES);
	struct image_info info;

	unstable = verifier_changed = FALSE;
	if (handle_describe(handle, &info, NULL))
		fuzz_require(memchr(info.identity, 0, sizeof(info.identity)) != NULL);
	handle_write(handle, buffer, count / 2, 0, NULL);
	if (handle_flush(handle, NULL)) {
		fuzz_require(!verifier_changed);
		unstable = FALSE;
	}
	handle_write(handle, buffer, count - count / 2, count / 2, NULL);
	fuzz_require(!handle_flush(handle, NULL) || !verifier_changed);
	handle_read(handle, buffer, count, handle->size_bytes - count, NULL);
	handle_resize(handle, 4096, NULL);
}

static void open_and_use(const struct url *url, const struct transport_config *config)
{
	g_autoptr(GError) error = NULL;
	struct handle *handle = handle_open(url, config, HANDLE_WRITE, &error);

	fuzz_require(!handle == (error != NULL));
	if (handle)
		use(handle);
	handle_close(handle);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct transport_config config = {.stall_ms = STALL_MS};
	const struct image_create create = {.size_bytes = 1, .mode = 0600, .uid = 1, .gid = -1};
	AUTO(url) image = url_parse("nfs://127.0.0.1/export/a/disk?mountport=1", NULL);
	AUTO(url) mapped = url_parse("nfs://[::1]/export/a/disk", NULL);
	AUTO(url) place = url_parent(image);
	g_autoptr(GPtrArray) names = NULL;
	guint64 free_bytes, total_bytes;

	answers = (struct fuzz_input){data, size};
	if (always_ready < 0)
		always_ready = eventfd(1, EFD_CLOEXEC);
	switch (fuzz_input_byte(&answers) % 6) {
	case 0:
		image_create(image, &config, &create, NULL);
		break;
	case 1:
		image_remove(image, &config, NULL);
		break;
	case 2:
		place_space(place, &config, &free_bytes, &total_bytes, NULL);
		break;
	case 3:
		names = place_list(place, &config, NULL);
		break;
	case 4:
		open_and_use(mapped, &config);
		break;
	default:
		open_and_use(image, &config);
		break;
	}
	return 0;
}
