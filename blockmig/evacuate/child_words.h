/*
 * What a child says: JSON Lines on its stdout, which make its outcome, and complaints on
 * its stderr, which count only where it gave no reason as JSON.
 *
 * Words of any length and kind do no harm: what is no JSON object is passed over.
 */
#ifndef EVACUATE_CHILD_WORDS_H
#define EVACUATE_CHILD_WORDS_H

#include "blockmig/evacuate/dispatch.h"

#include <glib.h>

struct child_words {
	struct dispatch_outcome *outcome; /* borrowed */
	GString *line;			  /* the one that is not at its end yet */
	GString *complaints;		  /* the first few KiB */
};

/* Clears @outcome, which then grows with the words. */
void child_words_init(struct child_words *words, struct dispatch_outcome *outcome);
void child_words_clear(struct child_words *words);

/* @each is called for every whole line, after it was taken in. */
void child_words_take(struct child_words *words, const char *text, gsize length,
		      void (*each)(const char *line, void *data), void *data);
void child_words_complain(struct child_words *words, const char *text, gsize length);
/* There is no more to come. */
void child_words_end(struct child_words *words);

#endif
