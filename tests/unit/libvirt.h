/*
 * A private libvirtd with QEMU guests for one test program.
 *
 * The program runs in mount, PID and network namespaces of its own, and everything that
 * libvirt writes lies on tmpfs there: when the program ends, however it ends, the kernel
 * kills libvirtd and the guests and drops their files.
 */
#ifndef TESTS_LIBVIRT_H
#define TESTS_LIBVIRT_H

#include <glib.h>
#include <sys/types.h>

/* Runs @tests beside a private libvirtd, and exits with what it returns.  For main(). */
void libvirt_run(int (*tests)(void)) G_GNUC_NORETURN;

void libvirtd_start(void);
/* As a host's update does: killed, while the guests run on. */
void libvirtd_kill(void);
/* Stands still, or goes on. */
void libvirtd_freeze(void);
void libvirtd_thaw(void);

/* Runs virsh with these arguments (NULL at the end); aborts the test where it fails. */
void virsh(const char *argument, ...) G_GNUC_NULL_TERMINATED;

/* A folder that QEMU's user can reach. */
const char *libvirt_folder(void);
/* The path of a new empty qcow2 image there; @backing may be NULL.  The caller frees. */
char *libvirt_image(const char *name, const char *backing);

/*
 * Defines a guest with one qcow2 disk "vda", NAME.qcow2, and starts it where asked; it
 * stays in its BIOS.  Any guest of that name is removed first.  Returns its UUID.
 */
char *libvirt_guest(const char *name, gboolean start);

#endif
