/*
 * Tells the user that Ctrl-C was heard: a copy may take a moment to its next checkpoint,
 * and a libvirt call longer.
 */
#ifndef CMD_STOP_NOTICE_H
#define CMD_STOP_NOTICE_H

#include "blockmig/report/reporter.h"

struct stop_notice;
/* Watches for the first stop, on a thread of its own.  @reporter outlives it. */
struct stop_notice *stop_notice_start(struct reporter *reporter);
void stop_notice_end(struct stop_notice *notice);

#endif
