/*
 * What the session's tests share: a session to the private libvirtd, and short questions
 * and waits that fail the test where the session fails.
 */
#ifndef TESTS_SESSION_SUPPORT_H
#define TESTS_SESSION_SUPPORT_H

#include "blockmig/vm/session.h"
#include "common/error.h"
#include "tests/unit/libvirt.h"

#include <check.h>

enum { PATIENCE_MS = 20000 };

#define ck_done(call)                                                                              \
	do {                                                                                       \
		g_autoptr(GError) error = NULL;                                                    \
		gboolean done = !!(call);                                                          \
		ck_assert_msg(done, "%s: %s", #call, error ? error->message : "no error");         \
	} while (0)

#define ck_fails(call, expected)                                                                   \
	do {                                                                                       \
		g_autoptr(GError) error = NULL;                                                    \
		ck_assert_msg(!(call), "%s succeeded", #call);                                     \
		ck_assert_msg(error_is(error, expected), "%s: %s", #call, error->message);         \
	} while (0)

struct session *open_session(void);
struct domain_state state_of(struct session *session, const char *uuid);
struct block_job job_of(struct session *session, const char *uuid);
char *xml_of(struct session *session, const char *uuid, gboolean inactive);
gboolean xml_has(struct session *session, const char *uuid, gboolean inactive, const char *text);
/* How many images the guest's live chain has. */
int layers_of(struct session *session, const char *uuid);

/* Waits until the XML says so, as every caller does: an event is only a hint. */
void wait_ready(struct session *session, const char *uuid);
/* As wait_ready, but for the event alone. */
void wait_event(struct session *session, const char *uuid, enum block_event expected);

/* Puts the disk of the guest @name onto NAME-overlay.qcow2. */
void take_snapshot(struct session *session, const char *uuid, const char *name, gboolean quiesce,
		   gboolean *quiesced);

/* Runs the tests of @tests beside a private libvirtd, and exits.  For main(). */
void run_with_libvirt(TCase *(*tests)(void)) G_GNUC_NORETURN;

#endif
