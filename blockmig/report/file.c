#include "blockmig/report/file.h"

#include "common/error.h"

gboolean report_write(const char *path, const char *text, GError **error)
{
	g_autoptr(GError) cause = NULL;

	if (g_file_set_contents_full(path, text, -1,
				     G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE,
				     0644, &cause))
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT, "write the report %s: %s",
		    path, cause->message);
	return FALSE;
}
