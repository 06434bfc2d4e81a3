#include "common/boot.h"

#include <glib.h>

char *boot_id(void)
{
	char *text = NULL;

	if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, NULL))
		return g_strdup("");
	return g_strchomp(text);
}
