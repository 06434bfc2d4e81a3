#include "blockmig/report/service.h"

#include <systemd/sd-daemon.h>

void service_status(const char *text)
{
	static char *told;

	if (g_strcmp0(told, text) == 0)
		return;
	g_free(told);
	told = g_strdup(text);
	/* Whether anybody listens is not our matter. */
	sd_notifyf(0, "STATUS=%s", text);
}

void service_stopping(void)
{
	sd_notify(0, "STOPPING=1");
}
