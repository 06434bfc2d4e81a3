/*
 * A private folder for a test case, and bytes to put into its files.
 *
 * The folder belongs to the process that runs the tests, so it goes away however a
 * test ends:  tcase_add_unchecked_fixture(tcase, temp_make, temp_remove);
 */
#ifndef TESTS_TEMP_H
#define TESTS_TEMP_H

#include <glib.h>

void temp_make(void);
void temp_remove(void);

/* The path of @name in the folder; the caller frees. */
char *temp_path(const char *name);

/* Bytes that differ from place to place and from seed to seed; never zero. */
void pattern_fill(void *buffer, gsize count, guint seed);

#endif
