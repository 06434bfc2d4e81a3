/*
 * From a URL to a session: connecting, logging in, and waiting until the LUN is ready.
 *
 * The header digest is asked for as "CRC32C,None", of which a target has to take the
 * first that it knows (RFC 7143, 6.2.1): one that cannot is still usable, since every
 * byte is proven by reading it back.  CHAP is offered where it is configured; only
 * mutual CHAP proves the target to us.
 *
 * Each session of this process has an ISID of its own, the lowest that is free, and
 * gives it back when it is closed: the session that a worker opens after a failure
 * makes the target drop the failed one and all that was under way in it (RFC 7143,
 * 6.3.5).
 */
#ifndef TRANSPORTS_ISCSI_LOGIN_H
#define TRANSPORTS_ISCSI_LOGIN_H

#include "transports/iscsi_session.h"
#include "transports/transport.h"

/*
 * @lun is that of the session's commands; -1: the target itself, whose LUN 0 need not
 * be a disk or ready.  Secrets are in no error's text.
 */
struct iscsi_session *iscsi_session_open(const struct url *url, int lun,
					 const struct transport_config *config, GError **error);
void iscsi_session_close(struct iscsi_session *session);
AUTO_DEFINE(iscsi_session, iscsi_session_close)

#endif
