/*
 * Which boot of this host it is: what a number of the kernel's is good for.
 */
#ifndef COMMON_BOOT_H
#define COMMON_BOOT_H

/* The kernel's random UUID of it; "" where it names none.  The caller frees. */
char *boot_id(void);

#endif
