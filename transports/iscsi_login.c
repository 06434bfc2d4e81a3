#include "transports/iscsi_login.h"

#include "common/error.h"
#include "transports/address.h"

#include <string.h>
#include <unistd.h>

enum {
	REDIRECTS_MOST = 3,
	ATTENTIONS_MOST = 10,
	READY_WAIT_MS = 250,
	ISIDS = 1024,
	LOG_LOGIN_REPLIES = 6, /* libiscsi's level for them */
	/* Status-Class and Status-Detail of a login response (RFC 7143, 11.13.5) */
	LOGIN_NOT_FOUND = 0x0203,
	LOGIN_CLASS_TARGET = 0x03,
};

struct progress {
	gboolean done;
	int status;
};

/* ---- ISIDs and environment ---------------------------------------------------- */

static GMutex isid_lock;
static guint8 isid_used[ISIDS];

/* ISIDS where all are taken. */
static guint isid_take(void)
{
	guint isid = 0;

	g_mutex_lock(&isid_lock);
	while (isid < ISIDS && isid_used[isid])
		isid++;
	if (isid < ISIDS)
		isid_used[isid] = TRUE;
	g_mutex_unlock(&isid_lock);
	return isid;
}

static void isid_give_back(guint isid)
{
	g_mutex_lock(&isid_lock);
	if (isid < ISIDS)
		isid_used[isid] = FALSE;
	g_mutex_unlock(&isid_lock);
}

/* libiscsi lets them override what we set. */
static void clear_environment(void)
{
	static gsize cleared;

	if (!g_once_init_enter(&cleared))
		return;
	g_auto(GStrv) names = g_listenv();
	for (char **name = names; *name; name++)
		if (g_str_has_prefix(*name, "LIBISCSI_"))
			g_unsetenv(*name);
	g_once_init_leave(&cleared, 1);
}

static char *default_initiator(void)
{
	g_autofree char *host = g_ascii_strdown(g_get_host_name(), -1);

	g_strcanon(host, "abcdefghijklmnopqrstuvwxyz0123456789.-", '-');
	return g_strdup_printf("iqn.2026-01.io.blockmig:%s", host);
}

/* ---- the target's proof -------------------------------------------------------- */

/*
 * libiscsi compares the target's CHAP_R with a buffer that is zeros until it has sent a
 * challenge, so an impostor that never asks for one passes with zeros.  What the target
 * answered is told in the library's log alone.  Of the thread's latest login.
 */
static _Thread_local gboolean target_proved;

static void on_log(int level G_GNUC_UNUSED, const char *text)
{
	static const char answer[] = "TargetLoginReply: CHAP_R=0x";

	if (!g_str_has_prefix(text, answer))
		return;
	text += strlen(answer);
	target_proved = g_ascii_isxdigit(text[strspn(text, "0")]);
}

static gboolean require_proof(struct iscsi_session *session, const struct transport_config *config,
			      GError **error)
{
	iscsi_session_listen(session, 0);
	if (!config->mutual_user || target_proved)
		return TRUE;
	iscsi_session_lose(session, "not proven", NULL);
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "%s: log in: target at %s did not prove itself, as mutual-user= asks; make it "
		    "use CHAP in both directions, or take mutual-user= out of the chap-file",
		    session->name, session->peer);
	return FALSE;
}

/* ---- login -------------------------------------------------------------------- */

static gboolean configure(struct iscsi_session *session, const struct url *url,
			  const struct transport_config *config, GError **error)
{
	g_autofree char *initiator =
		config->initiator ? g_strdup(config->initiator) : default_initiator();
	struct iscsi_context *iscsi = iscsi_create_context(initiator);

	session->iscsi = iscsi;
	if (!iscsi || iscsi_set_targetname(iscsi, url->target) != 0 ||
	    iscsi_set_session_type(iscsi, ISCSI_SESSION_NORMAL) != 0 ||
	    iscsi_set_header_digest(iscsi, ISCSI_HEADER_DIGEST_CRC32C_NONE) != 0 ||
	    iscsi_set_isid_random(iscsi, (guint32)getpid(), session->isid) != 0 ||
	    (config->chap_user && iscsi_set_initiator_username_pwd(iscsi, config->chap_user,
								   config->chap_password) != 0) ||
	    (config->mutual_user && iscsi_set_target_username_pwd(iscsi, config->mutual_user,
								  config->mutual_password) != 0)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
			    "%s: libiscsi refuses the initiator's name '%s' or another setting",
			    session->name, initiator);
		g_clear_pointer(&session->iscsi, iscsi_destroy_context);
		return FALSE;
	}
	iscsi_set_noautoreconnect(iscsi, 1);
	target_proved = FALSE;
	iscsi_set_log_fn(iscsi, on_log);
	return TRUE;
}

static void on_progress(struct iscsi_context *iscsi G_GNUC_UNUSED, int status,
			void *data G_GNUC_UNUSED, void *private_data)
{
	struct progress *progress = private_data;

	progress->done = TRUE;
	progress->status = status;
}

/* "... Status: Authentication failure(513)": libiscsi has the number in its text alone. */
static guint login_status(const char *text)
{
	const char *number = strrchr(text, '(');

	return number ? (guint)g_ascii_strtoull(number + 1, NULL, 10) : 0;
}

static void refuse_login(struct iscsi_session *session, GError **error)
{
	g_autofree char *text = g_strdup(iscsi_get_error(session->iscsi));
	guint status = login_status(text);
	enum blockmig_error code = BLOCKMIG_ERROR_PERMANENT;

	if (status == LOGIN_NOT_FOUND)
		code = BLOCKMIG_ERROR_NOT_FOUND;
	else if (status >> 8 == LOGIN_CLASS_TARGET)
		code = BLOCKMIG_ERROR_TRANSIENT;
	iscsi_session_lose(session, "login refused", NULL);
	g_set_error(error, BLOCKMIG_ERROR, (gint)code, "%s: log in: target at %s: %s",
		    session->name, session->peer, text);
}

static gboolean await(struct iscsi_session *session, struct progress *progress, GError **error)
{
	while (!progress->done)
		if (!iscsi_session_turn(session, -1, error))
			return FALSE;
	return TRUE;
}

static gboolean connect_portal(struct iscsi_session *session, GError **error)
{
	struct progress progress = {0};

	progress.status =
		iscsi_connect_async(session->iscsi, session->peer, on_progress, &progress);
	if (progress.status == 0 && !await(session, &progress, error))
		return FALSE;
	if (progress.status != SCSI_STATUS_GOOD) {
		g_autofree char *why = g_strdup(iscsi_get_error(session->iscsi));
		iscsi_session_lose(session, why, error);
		return FALSE;
	}
	address_tune_socket(iscsi_get_fd(session->iscsi));
	return TRUE;
}

/*
 * Within another stall limit.  Sets *redirect to the portal that the target sends us to,
 * if it does.
 */
static gboolean log_in(struct iscsi_session *session, const struct transport_config *config,
		       char **redirect, GError **error)
{
	struct progress progress = {0};

	session->stalled = deadline_in(session->stall_ms);
	if (iscsi_login_async(session->iscsi, on_progress, &progress) != 0) {
		refuse_login(session, error);
		return FALSE;
	}
	if (config->mutual_user)
		iscsi_session_listen(session, LOG_LOGIN_REPLIES);
	if (!await(session, &progress, error))
		return FALSE;
	if (progress.status == SCSI_STATUS_REDIRECT) {
		*redirect = g_strdup(iscsi_get_target_address(session->iscsi));
		iscsi_session_lose(session, "redirected", NULL);
		return TRUE;
	}
	if (progress.status != SCSI_STATUS_GOOD) {
		refuse_login(session, error);
		return FALSE;
	}
	return TRUE;
}

/* Connects to @portal (taken over) and to where it redirects us. */
static gboolean start(struct iscsi_session *session, const struct url *url,
		      const struct transport_config *config, char *portal, GError **error)
{
	for (guint i = 0; i <= REDIRECTS_MOST; i++) {
		g_free(session->peer);
		session->peer = g_steal_pointer(&portal);
		session->cancelled = FALSE;
		if (!configure(session, url, config, error) ||
		    !iscsi_session_begin(session, "log in", error) ||
		    !connect_portal(session, error) || !log_in(session, config, &portal, error))
			return FALSE;
		if (!portal)
			return require_proof(session, config, error);
	}
	g_free(portal);
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "%s: the target redirects from portal to portal", session->name);
	return FALSE;
}

/* ---- ready -------------------------------------------------------------------- */

static gboolean ask_ready(struct iscsi_session *session, struct iscsi_command *command,
			  GError **error)
{
	*command = (struct iscsi_command){.what = "wait until the LUN is ready",
					  .task = scsi_cdb_testunitready()};
	gboolean alive = iscsi_session_begin(session, command->what, error) &&
			 iscsi_session_submit(session, command, error);

	while (alive && command->in_flight)
		alive = iscsi_session_turn(session, -1, error);
	g_clear_pointer(&command->task, scsi_free_scsi_task);
	return alive;
}

/*
 * The attentions that wait for a new session are not about anything that it wrote:
 * here, and nowhere else, they are passed over.
 */
static gboolean await_ready(struct iscsi_session *session, GError **error)
{
	deadline_ms patience = deadline_in(session->stall_ms);
	struct iscsi_command command;
	guint attentions = 0;

	for (;;) {
		if (!ask_ready(session, &command, error))
			return FALSE;
		if (iscsi_command_verdict(&command) == ISCSI_GOOD)
			return TRUE;
		if (command.status == SCSI_STATUS_CHECK_CONDITION &&
		    command.sense.key == SCSI_SENSE_UNIT_ATTENTION &&
		    ++attentions <= ATTENTIONS_MOST)
			continue;
		GError *failure = NULL;
		iscsi_command_error(&command, session->name, command.what, &failure);
		if (!error_is_transient(failure) || deadline_passed(patience)) {
			g_propagate_error(error, failure);
			return FALSE;
		}
		g_error_free(failure);
		g_usleep(READY_WAIT_MS * 1000);
	}
}

/* A session is of no use where the LUN is not ready, as in an array's standby path. */
static gboolean start_at(struct iscsi_session *session, const struct address *address,
			 const struct url *url, const struct transport_config *config,
			 gboolean must_be_ready, GError **error)
{
	char *portal = g_strdup_printf(strchr(address->host, ':') ? "[%s]:%d" : "%s:%d",
				       address->host, address->port);
	GError *failure = NULL;

	if (start(session, url, config, portal, &failure) &&
	    (!must_be_ready || await_ready(session, &failure))) {
		session->host = g_strdup(address->host);
		session->port = address->port;
		return TRUE;
	}
	iscsi_session_lose(session, "not used", NULL);
	address_blame(address->host, address->port, failure->message);
	g_propagate_error(error, failure);
	return FALSE;
}

static gboolean start_at_any(struct iscsi_session *session, const struct url *url,
			     const struct transport_config *config, gboolean must_be_ready,
			     GError **error)
{
	g_autoptr(GPtrArray) candidates = address_candidates(url, config, URL_ISCSI_PORT, error);
	GError *first = NULL;

	for (guint i = 0; candidates && i < candidates->len; i++) {
		const struct address *address = g_ptr_array_index(candidates, i);
		GError *failure = NULL;

		if (start_at(session, address, url, config, must_be_ready, &failure)) {
			address_use(candidates, address);
			g_clear_error(&first);
			return TRUE;
		}
		if (first)
			g_error_free(failure);
		else
			first = failure;
	}
	if (first)
		g_propagate_error(error, first);
	else
		g_prefix_error(error, "%s: ", session->name);
	return FALSE;
}

static void free_task(gpointer task)
{
	scsi_free_scsi_task(task);
}

struct iscsi_session *iscsi_session_open(const struct url *url, int lun,
					 const struct transport_config *config, GError **error)
{
	AUTO(iscsi_session) session = g_new0(struct iscsi_session, 1);

	clear_environment();
	session->name = url_format(url);
	session->lun = MAX(lun, 0);
	session->stall_ms = transport_stall_ms(config);
	session->in_flight = g_ptr_array_new();
	session->retired = g_ptr_array_new_with_free_func(free_task);
	session->isid = isid_take();
	if (session->isid == ISIDS) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s: more than %d sessions at once", session->name, ISIDS);
		return NULL;
	}
	if (!start_at_any(session, url, config, lun >= 0, error))
		return NULL;
	return g_steal_pointer(&session);
}

void iscsi_session_close(struct iscsi_session *session)
{
	if (session->iscsi)
		iscsi_destroy_context(session->iscsi);
	isid_give_back(session->isid);
	g_ptr_array_unref(session->in_flight);
	g_ptr_array_unref(session->retired);
	g_free(session->name);
	g_free(session->peer);
	g_free(session->host);
	g_free(session->doing);
	g_free(session);
}
