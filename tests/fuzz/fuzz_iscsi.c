/*
 * A target that answers anything: the input is the answers, and this file stands for
 * libiscsi's connection and for the login.  Whatever it answers, no command may reach
 * beyond what was asked for, nor be a WRITE SAME of no blocks, which is one of all.
 */
#include "tests/fuzz/fuzz.h"
#include "transports/iscsi_image.h"

#include <poll.h>
#include <sys/eventfd.h>

enum { STALL_MS = 5, MOST_BYTES = 3 * 512 * 1024, READ_16 = 0x88, WRITE_16 = 0x8a, SAME_16 = 0x93 };

struct pending {
	struct scsi_task *task;
	iscsi_command_cb callback;
	void *data;
};

static struct fuzz_input answers;
static GQueue pending = G_QUEUE_INIT;
static guint64 asked_first, asked_end; /* bytes that data commands may touch */
static guint32 block_bytes;
static int always_ready = -1;

/* ---- in place of libiscsi ------------------------------------------------------------ */

static void check_range(const struct scsi_task *task)
{
	const guint8 *cdb = task->cdb;

	if (cdb[0] != READ_16 && cdb[0] != WRITE_16 && cdb[0] != SAME_16)
		return;
	const guint64 first = scsi_get_uint64(cdb + 2), blocks = scsi_get_uint32(cdb + 10);

	fuzz_require(block_bytes > 0 && blocks > 0);
	fuzz_require(first >= asked_first / block_bytes && first * block_bytes < asked_end);
	fuzz_require(blocks <= asked_end / block_bytes - first);
}

int iscsi_scsi_command_async(struct iscsi_context *iscsi G_GNUC_UNUSED, int lun G_GNUC_UNUSED,
			     struct scsi_task *task, iscsi_command_cb callback,
			     struct iscsi_data *data G_GNUC_UNUSED, void *private_data)
{
	const struct pending next = {task, callback, private_data};

	check_range(task);
	g_queue_push_tail(&pending, g_memdup2(&next, sizeof(next)));
	return 0;
}

static void answer(int status)
{
	g_autofree struct pending *next = g_queue_pop_head(&pending);

	next->callback(NULL, status, next->task, next->data);
}

static void fill_data(struct scsi_task *task)
{
	const guint16 count = (guint16)(fuzz_input_byte(&answers) | fuzz_input_byte(&answers) << 8);

	if (task->xfer_dir == SCSI_XFER_READ && task->iovector_in.niov == 1)
		fuzz_input_take(&answers, task->iovector_in.iov[0].iov_base,
				MIN((gsize)count, task->iovector_in.iov[0].iov_len));
}

int iscsi_service(struct iscsi_context *iscsi G_GNUC_UNUSED, int events G_GNUC_UNUSED)
{
	const struct pending *next = g_queue_peek_head(&pending);

	if (answers.left == 0 || !next)
		return -1;
	const guint8 status = fuzz_input_byte(&answers);

	if (status == SCSI_STATUS_CHECK_CONDITION) {
		next->task->sense.error_type = 0x70 | (fuzz_input_byte(&answers) & 3);
		next->task->sense.key = fuzz_input_byte(&answers) & 15;
		next->task->sense.ascq = fuzz_input_byte(&answers) << 8;
		next->task->sense.ascq |= fuzz_input_byte(&answers);
	} else if (fuzz_input_byte(&answers) & 1) {
		next->task->residual_status = SCSI_RESIDUAL_UNDERFLOW;
		next->task->residual = fuzz_input_byte(&answers) * 64u;
	}
	fill_data(next->task);
	answer(status);
	return 0;
}

int iscsi_get_fd(struct iscsi_context *iscsi G_GNUC_UNUSED)
{
	return always_ready;
}

int iscsi_which_events(struct iscsi_context *iscsi G_GNUC_UNUSED)
{
	return POLLIN;
}

void iscsi_set_log_level(struct iscsi_context *iscsi G_GNUC_UNUSED, int level G_GNUC_UNUSED)
{
}

const char *iscsi_get_error(struct iscsi_context *iscsi G_GNUC_UNUSED)
{
	return "the fuzzer's input ended";
}

int iscsi_destroy_context(struct iscsi_context *iscsi G_GNUC_UNUSED)
{
	while (!g_queue_is_empty(&pending))
		answer(SCSI_STATUS_CANCELLED);
	return 0;
}

/* Waits would only make it slow. */
void g_usleep(gulong microseconds G_GNUC_UNUSED)
{
}

/* ---- in place of the login ------------------------------------------------------------- */

struct iscsi_session *iscsi_session_open(const struct url *url, int lun,
					 const struct transport_config *config, GError **error)
{
	static char context;
	struct iscsi_session *session = g_new0(struct iscsi_session, 1);

	fuzz_require(url && config && error);
	session->iscsi = (struct iscsi_context *)&context;
	session->name = url_format(url);
	session->peer = g_strdup("peer");
	session->doing = g_strdup("connect");
	session->lun = MAX(lun, 0);
	session->stall_ms = STALL_MS;
	session->in_flight = g_ptr_array_new();
	session->retired = g_ptr_array_new_with_free_func((GDestroyNotify)scsi_free_scsi_task);
	return session;
}

void iscsi_session_close(struct iscsi_session *session)
{
	iscsi_destroy_context(session->iscsi);
	g_ptr_array_unref(session->in_flight);
	g_ptr_array_unref(session->retired);
	g_free(session->name);
	g_free(session->peer);
	g_free(session->doing);
	g_free(session);
}

/* ---- what is done with such a target ------------------------------------------------------ */

static void ask_for(guint64 first, guint64 count)
{
	asked_first = first / block_bytes * block_bytes;
	asked_end = (first + count + block_bytes - 1) / block_bytes * block_bytes;
}

static void check_extents(struct handle *handle, guint64 count, guint64 offset)
{
	AUTO(extents) extents = handle_extents(handle, count, offset, NULL);
	guint64 bytes = 0;

	if (!extents)
		return;
	for (guint i = 0; i < extents_count(extents); i++)
		bytes += extents_get(extents, i)->length_bytes;
	fuzz_require(bytes == count);
	fuzz_require(count == 0 || extents_get(extents, 0)->offset_bytes == offset);
}

static void use(struct handle *handle)
{
	const guint64 size_bytes = handle->size_bytes;
	const gsize count = (gsize)MIN(size_bytes, MOST_BYTES);
	void *buffer = transport_buffer_new(MOST_BYTES);
	struct image_info info;

	memset(buffer, 1, MOST_BYTES);
	block_bytes = handle->block_bytes;
	fuzz_require(block_bytes >= 512 && size_bytes % block_bytes == 0);
	fuzz_require(size_bytes > 0 && size_bytes <= G_MAXINT64);
	if (handle_describe(handle, &info, NULL))
		fuzz_require(memchr(info.identity, 0, sizeof(info.identity)) != NULL);
	ask_for(0, size_bytes);
	check_extents(handle, size_bytes, 0);
	ask_for(size_bytes - count, count);
	handle_write(handle, buffer, count, size_bytes - count, NULL);
	handle_zero(handle, count, size_bytes - count, NULL);
	handle_flush(handle, NULL);
	handle_read(handle, buffer, count, size_bytes - count, NULL);
	transport_buffer_free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct transport_config config = {.stall_ms = STALL_MS};
	static guint inputs; /* another target each: one that was refuted stays so */
	g_autofree char *text =
		g_strdup_printf("iscsi://127.0.0.1/iqn.2024-01.example:%u/1", inputs++);
	AUTO(url) image = url_parse(text, NULL);
	AUTO(url) place = url_parent(image);
	g_autoptr(GError) error = NULL;

	answers = (struct fuzz_input){data, size};
	block_bytes = 0;
	if (always_ready < 0)
		always_ready = eventfd(1, EFD_CLOEXEC);
	if (fuzz_input_byte(&answers) & 1) {
		g_autoptr(GPtrArray) names = place_list(place, &config, &error);

		fuzz_require(!names == (error != NULL));
		return 0;
	}
	struct handle *handle = handle_open(image, &config, HANDLE_WRITE, &error);

	fuzz_require(!handle == (error != NULL));
	if (handle)
		use(handle);
	handle_close(handle);
	return 0;
}
