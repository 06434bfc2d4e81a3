/*
 * A word to systemd, where it started us: nothing happens where it did not.
 */
#ifndef REPORT_SERVICE_H
#define REPORT_SERVICE_H

#include <glib.h>

/* What `systemctl status` shows beside us; a text that was told last is not told again. */
void service_status(const char *text);
/* The end is near: whatever runs reaches its checkpoint. */
void service_stopping(void);

#endif
