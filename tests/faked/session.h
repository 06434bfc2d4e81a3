/* What the two halves of the fake session share. */
#ifndef FAKED_SESSION_H
#define FAKED_SESSION_H

#include "tests/faked/guest.h"

typedef gboolean (*session_effect)(struct guest *guest, void *arguments, GError **error);

/* As guest_load, where libvirtd answers. */
struct guest *session_guest(const char *uuid, GError **error);

/* One call that changes the domain: the fault before, the effect, the fault after. */
gboolean session_change(const char *uuid, const char *name, const char *detail,
			session_effect effect, void *arguments, GError **error);

/* PERMANENT, in libvirt's words; returns FALSE. */
gboolean session_refuse(GError **error, const char *words);

#endif
