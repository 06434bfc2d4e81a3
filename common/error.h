/*
 * Errors: GLib's GError with one domain and few codes.
 *
 * The code, not the text, decides what happens next: whether the same thing is
 * tried again, whether a move is rolled back, and with which status the program
 * ends (error_exit_status).  The text is written for the admin: it names the
 * object, what was being done, and the cause that the peer gave.  Each layer that
 * knows more puts its object in front with g_prefix_error():
 *
 *     vda: chunk 812: write nfs://filer/x: No space left on device
 *
 * Nothing below blockmig/cmd prints or exits.
 */
#ifndef COMMON_ERROR_H
#define COMMON_ERROR_H

#include <glib.h>

#define BLOCKMIG_ERROR (blockmig_error_quark())
GQuark blockmig_error_quark(void);

enum blockmig_error {
	BLOCKMIG_ERROR_USAGE,	  /* wrong argument, configuration, or unanswerable question */
	BLOCKMIG_ERROR_TRANSIENT, /* a connection or peer failed; a new handle may succeed */
	BLOCKMIG_ERROR_UNKNOWN,	  /* a deadline passed: it may have happened or not, look again */
	BLOCKMIG_ERROR_PERMANENT, /* refused or failed; trying again will not help */
	BLOCKMIG_ERROR_NOT_FOUND, /* permanent: the object does not exist */
	BLOCKMIG_ERROR_EXISTS,	  /* permanent: the object exists already */
	BLOCKMIG_ERROR_INTEGRITY, /* data read back is not what was written */
	BLOCKMIG_ERROR_STOPPED,	 /* the user asked to stop, or the job is held; resume carries on */
	BLOCKMIG_ERROR_BUSY,	 /* another living process holds the job, domain or image */
	BLOCKMIG_ERROR_OPERATOR, /* past the commit point, and a person must act */
	/* was tried for as long as may be, or cannot be for now: another run may succeed */
	BLOCKMIG_ERROR_LATER,
	BLOCKMIG_ERROR_FULL, /* the same, but a partial copy would take the room that is missing */
};

/* Whether a fresh handle and another try may succeed (TRANSIENT or UNKNOWN). */
gboolean error_is_transient(const GError *error);

/* Whether the cause may pass by itself: the same, or LATER. */
gboolean error_may_pass(const GError *error);
/* The same of a code that was kept. */
gboolean error_code_may_pass(int code);

/*
 * Whether @error has blockmig's domain and @code.  NULL is no error: FALSE.
 */
gboolean error_is(const GError *error, enum blockmig_error code);

/* The process's exit status for @error, by the table in README.md; 0 for NULL. */
int error_exit_status(const GError *error);

/*
 * Sets a PERMANENT error (NOT_FOUND for ENOENT, EXISTS for EEXIST, TRANSIENT for
 * errno values that mean a lost connection) whose text is the formatted object
 * followed by ": " and the system's words for @errnum.
 */
void error_set_errno(GError **error, int errnum, const char *format, ...) G_GNUC_PRINTF(3, 4);

#endif
