#include "transports/iscsi_session.h"

#include "common/error.h"
#include "transports/address.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum {
	BUSY_FIRST_MS = 50,
	BUSY_MOST_MS = 2000,
	SLICE_BYTES = 8192, /* so much data counts as progress */
	ASCQ_NEEDS_INITIALIZING = 0x0402,
	ASCQ_THIN_POOL_FULL = 0x2707,
};

/* ---- the connection ----------------------------------------------------------- */

void iscsi_session_lose(struct iscsi_session *session, const char *why, GError **error)
{
	g_autofree char *loss =
		g_strdup_printf("%s: %s: target at %s: %s", session->name, session->doing,
				session->peer, why && *why ? why : "the connection was closed");

	g_set_error_literal(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT, loss);
	if (session->iscsi) {
		iscsi_session_listen(session, 0);
		iscsi_destroy_context(session->iscsi);
	}
	session->iscsi = NULL;
	g_ptr_array_set_size(session->in_flight, 0);
	if (session->host)
		address_blame(session->host, session->port, loss);
	g_ptr_array_set_size(session->retired, 0);
}

static GMutex log_mutex;

void iscsi_session_listen(struct iscsi_session *session, int level)
{
	g_mutex_lock(&log_mutex);
	iscsi_set_log_level(session->iscsi, level);
	g_mutex_unlock(&log_mutex);
	session->listens = level > 0;
}

gboolean iscsi_session_begin(struct iscsi_session *session, const char *doing, GError **error)
{
	g_free(session->doing);
	session->doing = g_strdup(doing);
	if (!session->iscsi) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT,
			    "%s: %s: the session with %s was lost before", session->name,
			    session->doing, session->peer);
		return FALSE;
	}
	session->stalled = deadline_in(session->stall_ms);
	return TRUE;
}

/* In whole slices: libiscsi keeps count of those that it has left behind. */
static gsize moved_bytes(const GPtrArray *tasks)
{
	gsize bytes = 0;

	for (guint i = 0; i < tasks->len; i++) {
		const struct scsi_task *task = tasks->pdata[i];

		bytes += task->iovector_in.offset + task->iovector_out.offset;
	}
	return bytes;
}

/*
 * Corked while it writes: a target that names no MaxRecvDataSegmentLength gets its data
 * in PDUs of 8 KiB, with two system calls each, which would be a packet each.
 */
static int service_corked(struct iscsi_session *session, int fd, short events)
{
	int on = 1, off = 0, status;

	if (events & POLLOUT)
		setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
	status = iscsi_service(session->iscsi, events);
	if (events & POLLOUT)
		setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
	return status;
}

static int service(struct iscsi_session *session, int fd, short events)
{
	const gsize before = moved_bytes(session->in_flight) + moved_bytes(session->retired);
	const gboolean listens = session->listens;

	if (listens)
		g_mutex_lock(&log_mutex);
	const int status = service_corked(session, fd, events);

	if (listens)
		g_mutex_unlock(&log_mutex);
	if (moved_bytes(session->in_flight) + moved_bytes(session->retired) != before)
		session->stalled = deadline_in(session->stall_ms);
	return status;
}

static gboolean lose_with_cause(struct iscsi_session *session, GError **error)
{
	/* When the target closes the connection, all that libiscsi tells is its own next step. */
	g_autofree char *why =
		g_strdup(session->cancelled ? NULL : iscsi_get_error(session->iscsi));

	iscsi_session_lose(session, why, error);
	return FALSE;
}

gboolean iscsi_session_turn(struct iscsi_session *session, int wait_ms, GError **error)
{
	struct pollfd wait = {.fd = iscsi_get_fd(session->iscsi),
			      .events = (short)iscsi_which_events(session->iscsi)};
	int left_ms = deadline_left(session->stalled);
	int ready = poll(&wait, 1, wait_ms < 0 ? left_ms : MIN(left_ms, wait_ms));

	if (ready < 0 && errno != EINTR) {
		iscsi_session_lose(session, g_strerror(errno), error);
		return FALSE;
	}
	if (ready > 0 && (wait.revents & (POLLERR | POLLHUP))) {
		iscsi_session_lose(session, address_socket_error(wait.fd), error);
		return FALSE;
	}
	if (ready > 0 && (service(session, wait.fd, wait.revents) != 0 || session->cancelled))
		return lose_with_cause(session, error);
	if (deadline_passed(session->stalled)) {
		g_autofree char *why = g_strdup_printf("no answer for %u ms", session->stall_ms);
		iscsi_session_lose(session, why, error);
		return FALSE;
	}
	return TRUE;
}

gboolean iscsi_session_drain(struct iscsi_session *session, GError **error)
{
	if (session->retired->len == 0)
		return TRUE;
	session->stalled = deadline_in(session->stall_ms);
	while (iscsi_which_events(session->iscsi) & POLLOUT)
		if (!iscsi_session_turn(session, -1, error))
			return FALSE;
	g_ptr_array_set_size(session->retired, 0);
	return TRUE;
}

/* ---- commands ----------------------------------------------------------------- */

struct submission {
	struct iscsi_session *session;
	struct iscsi_command *command;
};

static void on_answer(struct iscsi_context *iscsi G_GNUC_UNUSED, int status,
		      void *data G_GNUC_UNUSED, void *private_data)
{
	struct submission *submission = private_data;
	struct iscsi_command *command = submission->command;
	const struct scsi_task *task = command->task;

	g_ptr_array_remove_fast(submission->session->in_flight, command->task);
	command->in_flight = FALSE;
	command->status = status;
	command->sense = task->sense;
	command->transferred = command->bytes;
	if (task->residual_status == SCSI_RESIDUAL_UNDERFLOW)
		command->transferred -= MIN(command->bytes, task->residual);
	submission->session->stalled = deadline_in(submission->session->stall_ms);
	/* libiscsi's own, beside the target's one byte of status. */
	if (status >= SCSI_STATUS_CANCELLED)
		submission->session->cancelled = TRUE;
	g_free(submission);
}

/* In the task's own memory: it is looked at as long as the task lives. */
static void attach_buffer(const struct iscsi_command *command)
{
	const gsize count = (command->bytes + SLICE_BYTES - 1) / SLICE_BYTES;
	struct scsi_iovec *slices = scsi_malloc(command->task, count * sizeof(*slices));
	char *at = command->buffer;
	gsize left = command->bytes;

	for (gsize i = 0; i < count; i++) {
		slices[i] = (struct scsi_iovec){at, MIN(left, (gsize)SLICE_BYTES)};
		at += slices[i].iov_len;
		left -= slices[i].iov_len;
	}
	if (command->task->xfer_dir == SCSI_XFER_WRITE)
		scsi_task_set_iov_out(command->task, slices, (int)count);
	else
		scsi_task_set_iov_in(command->task, slices, (int)count);
}

gboolean iscsi_session_submit(struct iscsi_session *session, struct iscsi_command *command,
			      GError **error)
{
	struct submission *submission = g_new0(struct submission, 1);

	submission->session = session;
	submission->command = command;
	if (command->buffer)
		attach_buffer(command);
	if (iscsi_scsi_command_async(session->iscsi, session->lun, command->task, on_answer, NULL,
				     submission) != 0) {
		g_free(submission);
		return lose_with_cause(session, error);
	}
	g_ptr_array_add(session->in_flight, command->task);
	command->in_flight = TRUE;
	return TRUE;
}

void iscsi_session_retire(struct iscsi_session *session, struct iscsi_command *command)
{
	if (command->task->xfer_dir == SCSI_XFER_WRITE)
		g_ptr_array_add(session->retired, command->task);
	else
		scsi_free_scsi_task(command->task);
	command->task = NULL;
}

static struct scsi_task *task_again(const struct scsi_task *task)
{
	guint8 cdb[SCSI_CDB_MAX_SIZE];

	memcpy(cdb, task->cdb, sizeof(cdb));
	return scsi_create_task(task->cdb_size, cdb, task->xfer_dir, task->expxferlen);
}

static gboolean command_once(struct iscsi_session *session, struct iscsi_command *command,
			     GError **error)
{
	gboolean alive = iscsi_session_begin(session, command->what, error) &&
			 iscsi_session_submit(session, command, error);

	while (alive && command->in_flight)
		alive = iscsi_session_turn(session, -1, error);
	if (!alive)
		return FALSE;
	if (iscsi_command_verdict(command) != ISCSI_LOST)
		return TRUE;
	iscsi_command_error(command, session->name, command->what, error);
	iscsi_session_lose(session, "given up", NULL);
	return FALSE;
}

gboolean iscsi_session_command(struct iscsi_session *session, struct iscsi_command *command,
			       GError **error)
{
	deadline_ms patience = deadline_in(session->stall_ms);
	guint wait_ms = BUSY_FIRST_MS;
	gboolean answered, is_whole;

	while ((answered = command_once(session, command, error)) &&
	       iscsi_command_verdict(command) == ISCSI_AGAIN && !deadline_passed(patience)) {
		struct scsi_task *again = task_again(command->task);

		iscsi_session_retire(session, command);
		command->task = again;
		g_usleep((gulong)MIN(wait_ms, (guint)deadline_left(patience)) * 1000);
		wait_ms = MIN(wait_ms * 2, (guint)BUSY_MOST_MS);
	}
	if (!answered) {
		g_clear_pointer(&command->task, scsi_free_scsi_task);
		return FALSE;
	}
	is_whole = command->task->xfer_dir != SCSI_XFER_WRITE ||
		   command->transferred == command->bytes;
	iscsi_session_retire(session, command);
	if (!iscsi_session_drain(session, error))
		return FALSE;
	if (iscsi_command_verdict(command) != ISCSI_GOOD) {
		iscsi_command_error(command, session->name, command->what, error);
		return FALSE;
	}
	if (!is_whole) {
		iscsi_command_short_error(session->name, command->what, error);
		iscsi_session_lose(session, "given up", NULL);
	}
	return is_whole;
}

/* ---- verdicts ----------------------------------------------------------------- */

/* Told with a later command than the one that it is about: what that wrote is lost. */
static gboolean is_deferred(const struct scsi_sense *sense)
{
	return sense->error_type == SCSI_SENSE_FIXED_DEFERRED_ERRORS ||
	       sense->error_type == SCSI_SENSE_DESCRIPTOR_DEFERRED_ERRORS;
}

enum iscsi_verdict iscsi_command_verdict(const struct iscsi_command *command)
{
	switch (command->status) {
	case SCSI_STATUS_GOOD:
	case SCSI_STATUS_CONDITION_MET:
		return ISCSI_GOOD;
	case SCSI_STATUS_BUSY:
	case SCSI_STATUS_TASK_SET_FULL:
		return ISCSI_AGAIN;
	case SCSI_STATUS_RESERVATION_CONFLICT:
		return ISCSI_FAILED;
	case SCSI_STATUS_CHECK_CONDITION:
		break;
	default:
		return ISCSI_LOST;
	}
	if (is_deferred(&command->sense) || command->sense.key == SCSI_SENSE_UNIT_ATTENTION ||
	    command->sense.key == SCSI_SENSE_COMMAND_ABORTED)
		return ISCSI_LOST;
	return command->sense.key == SCSI_SENSE_RECOVERED_ERROR ? ISCSI_GOOD : ISCSI_FAILED;
}

gboolean iscsi_command_unsupported(const struct iscsi_command *command)
{
	return command->status == SCSI_STATUS_CHECK_CONDITION &&
	       command->sense.key == SCSI_SENSE_ILLEGAL_REQUEST &&
	       command->sense.ascq != SCSI_SENSE_ASCQ_LOGICAL_UNIT_NOT_SUPPORTED;
}

static enum blockmig_error code_of_sense(const struct scsi_sense *sense)
{
	if (is_deferred(sense))
		return BLOCKMIG_ERROR_TRANSIENT;
	if (sense->ascq == ASCQ_THIN_POOL_FULL)
		return BLOCKMIG_ERROR_FULL;
	switch ((int)sense->key) {
	case SCSI_SENSE_UNIT_ATTENTION:
	case SCSI_SENSE_COMMAND_ABORTED:
		return BLOCKMIG_ERROR_TRANSIENT;
	case SCSI_SENSE_NOT_READY:
		return sense->ascq == ASCQ_NEEDS_INITIALIZING ? BLOCKMIG_ERROR_PERMANENT
							      : BLOCKMIG_ERROR_TRANSIENT;
	case SCSI_SENSE_MEDIUM_ERROR:
	case SCSI_SENSE_HARDWARE_ERROR:
		return BLOCKMIG_ERROR_LATER;
	case SCSI_SENSE_ILLEGAL_REQUEST:
		return sense->ascq == SCSI_SENSE_ASCQ_LOGICAL_UNIT_NOT_SUPPORTED
			       ? BLOCKMIG_ERROR_NOT_FOUND
			       : BLOCKMIG_ERROR_PERMANENT;
	default:
		return BLOCKMIG_ERROR_PERMANENT;
	}
}

static const char *consequence(const struct scsi_sense *sense)
{
	if (is_deferred(sense))
		return ": a write before it failed";
	if (sense->key == SCSI_SENSE_UNIT_ATTENTION)
		return ": what the target's cache held may be lost";
	if (sense->ascq == ASCQ_THIN_POOL_FULL)
		return ": the target's thin pool is full; give it room, then resume";
	if (sense->ascq == SCSI_SENSE_ASCQ_LOGICAL_UNIT_NOT_SUPPORTED)
		return ": the target has no such LUN, or none for this initiator";
	return "";
}

/* libiscsi does not have a text for every code. */
static const char *known(const char *words)
{
	return words ? words : "unknown";
}

static void sense_error(const struct iscsi_command *command, const char *name, const char *what,
			GError **error)
{
	const struct scsi_sense *sense = &command->sense;

	g_set_error(error, BLOCKMIG_ERROR, (gint)code_of_sense(sense),
		    "%s: %s: %s, %s (sense key %d, ASC/ASCQ %02x/%02x)%s", name, what,
		    known(scsi_sense_key_str((int)sense->key)),
		    known(scsi_sense_ascq_str(sense->ascq)), (int)sense->key,
		    (guint)sense->ascq >> 8, (guint)sense->ascq & 0xff, consequence(sense));
}

void iscsi_command_short_error(const char *name, const char *what, GError **error)
{
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT,
		    "%s: %s: the target did not transfer all of it, and called it good", name,
		    what);
}

void iscsi_command_error(const struct iscsi_command *command, const char *name, const char *what,
			 GError **error)
{
	const char *words = "the connection was lost";
	enum blockmig_error code = BLOCKMIG_ERROR_TRANSIENT;

	switch (command->status) {
	case SCSI_STATUS_CHECK_CONDITION:
		sense_error(command, name, what, error);
		return;
	case SCSI_STATUS_RESERVATION_CONFLICT:
		code = BLOCKMIG_ERROR_PERMANENT;
		words = "RESERVATION CONFLICT: another host holds a reservation on this LUN";
		break;
	case SCSI_STATUS_BUSY:
	case SCSI_STATUS_TASK_SET_FULL:
		words = "the target was busy for the whole stall limit";
		break;
	case SCSI_STATUS_TASK_ABORTED:
		words = "TASK ABORTED: another initiator reset the LUN";
		break;
	default:
		break;
	}
	g_set_error(error, BLOCKMIG_ERROR, (gint)code, "%s: %s: %s", name, what, words);
}
