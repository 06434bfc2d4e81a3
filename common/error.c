#include "common/error.h"

#include <errno.h>

/* G_DEFINE_QUARK keeps the number in a variable that threads would share without a lock. */
GQuark blockmig_error_quark(void)
{
	return g_quark_from_static_string("blockmig-error-quark");
}

gboolean error_is(const GError *error, enum blockmig_error code)
{
	return error && g_error_matches(error, BLOCKMIG_ERROR, (gint)code);
}

gboolean error_is_transient(const GError *error)
{
	return error_is(error, BLOCKMIG_ERROR_TRANSIENT) || error_is(error, BLOCKMIG_ERROR_UNKNOWN);
}

gboolean error_code_may_pass(int code)
{
	return code == BLOCKMIG_ERROR_TRANSIENT || code == BLOCKMIG_ERROR_UNKNOWN ||
	       code == BLOCKMIG_ERROR_LATER || code == BLOCKMIG_ERROR_FULL;
}

gboolean error_may_pass(const GError *error)
{
	return error && error->domain == BLOCKMIG_ERROR && error_code_may_pass(error->code);
}

int error_exit_status(const GError *error)
{
	if (!error)
		return 0;
	if (error->domain != BLOCKMIG_ERROR)
		return 1;

	switch ((enum blockmig_error)error->code) {
	case BLOCKMIG_ERROR_USAGE:
		return 2;
	case BLOCKMIG_ERROR_STOPPED:
		return 3;
	case BLOCKMIG_ERROR_INTEGRITY:
		return 4;
	case BLOCKMIG_ERROR_OPERATOR:
		return 5;
	case BLOCKMIG_ERROR_BUSY:
		return 75;
	case BLOCKMIG_ERROR_TRANSIENT:
	case BLOCKMIG_ERROR_UNKNOWN:
	case BLOCKMIG_ERROR_PERMANENT:
	case BLOCKMIG_ERROR_NOT_FOUND:
	case BLOCKMIG_ERROR_EXISTS:
	case BLOCKMIG_ERROR_LATER:
	case BLOCKMIG_ERROR_FULL:
		break;
	}
	return 1;
}

static enum blockmig_error code_of_errno(int errnum)
{
	switch (errnum) {
	case ENOENT:
		return BLOCKMIG_ERROR_NOT_FOUND;
	case EEXIST:
		return BLOCKMIG_ERROR_EXISTS;
	case ECONNABORTED:
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENETDOWN:
	case ENETRESET:
	case ENETUNREACH:
	case ENOTCONN:
	case EPIPE:
	case ESHUTDOWN:
	case ETIMEDOUT:
		return BLOCKMIG_ERROR_TRANSIENT;
	case EDQUOT:
	case ENOSPC:
		return BLOCKMIG_ERROR_FULL;
	case EIO: /* a disk, or what is below it, that somebody may mend */
		return BLOCKMIG_ERROR_LATER;
	default:
		return BLOCKMIG_ERROR_PERMANENT;
	}
}

void error_set_errno(GError **error, int errnum, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	g_autofree char *object = g_strdup_vprintf(format, arguments);
	va_end(arguments);

	g_set_error(error, BLOCKMIG_ERROR, (gint)code_of_errno(errnum), "%s: %s", object,
		    g_strerror(errnum));
}
