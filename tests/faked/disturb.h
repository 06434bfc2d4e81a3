/*
 * What goes wrong around a move other than libvirt's calls: the images' own input and
 * output, the ledger's disk, the room for overlays, their folder, libvirtd as a whole, and the
 * clock.
 *
 * The Makefile links these tests with --wrap for what disturb.c defines as __wrap_...:
 * the program's own calls pass through here first.  All of it lasts until the process
 * ends, or disturb_clear().
 */
#ifndef FAKED_DISTURB_H
#define FAKED_DISTURB_H

#include <glib.h>

enum disturb_end { DISTURB_SOURCE, DISTURB_DESTINATION };

/* What is done to an image; a set of bits. */
enum disturb_operation {
	DISTURB_OPEN = 1,
	DISTURB_READ = 2,
	DISTURB_WRITE = 4, /* zeros, resizing and creation too */
	DISTURB_FLUSH = 8,
	DISTURB_REMOVE = 16,
	DISTURB_ANY = 31,
};

struct disturb {
	enum disturb_end end;
	guint operations;
	guint times; /* so many fail, then all is well again; 0: for ever */
	int errnum;  /* the peer's cause; ETIMEDOUT for one that says nothing */
};

void disturb_images(const struct disturb *disturb);
/* SQLite's result code of every write to the ledger's files; SQLITE_OK: well again. */
void disturb_ledger(int sqlite_code);
/* Its @nth look for a pass from now on fails; one look, 0: none. */
void disturb_ledger_look(guint nth);
/* No file system has room, and no overlay can be created. */
void disturb_room(void);
/* Every file system has so much left. */
void disturb_room_left(guint64 bytes);
/* A folder cannot be listed any more once it was listed @times; @name: how its path ends. */
void disturb_folder(const char *name, guint times);
/* Every call to libvirt fails; or does after so many more that are answered. */
void disturb_libvirtd(void);
void disturb_libvirtd_after(guint answers);
/* Whoever waits for something has waited long enough. */
void disturb_deadlines(void);
/* For the fakes: TRUE, or the error of a libvirtd that is not there. */
gboolean disturb_libvirtd_answers(GError **error);
/* The wall clock jumps; the monotonic one, which all deadlines use, does not. */
void disturb_clock(gint64 seconds);
void disturb_clear(void);

/* How many operations of the program met what disturb_images, _ledger, _room or _libvirtd did. */
guint disturb_met(void);

#endif
