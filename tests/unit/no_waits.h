/*
 * A stop flag that is never up, and waits between tries that take no time: for programs
 * that make hundreds of copies whose connection breaks once.
 *
 * Definitions, not declarations: they take the place of the real ones in the programs that
 * include this, and in no other.
 */
#ifndef TESTS_UNIT_NO_WAITS_H
#define TESTS_UNIT_NO_WAITS_H

#include "common/stop.h"

enum stop_level stop_level(void)
{
	return STOP_NO;
}

void stop_reset(void)
{
}

gboolean stop_check(GError **error G_GNUC_UNUSED)
{
	return TRUE;
}

gboolean stop_sleep_unless(guint milliseconds G_GNUC_UNUSED, int wake_fd G_GNUC_UNUSED,
			   GError **error G_GNUC_UNUSED)
{
	return TRUE;
}

gboolean stop_sleep(guint milliseconds G_GNUC_UNUSED, GError **error G_GNUC_UNUSED)
{
	return TRUE;
}

#endif
