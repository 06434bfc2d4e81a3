/*
 * Every refusal names what it is about, why, and a way out; and it leaves everything as it
 * was.
 */
#ifndef FAKED_REFUSAL_H
#define FAKED_REFUSAL_H

#include "tests/faked/scene.h"

/* The words, separated by '|', are all in the message. */
void refusal_assert_words(const char *message, const char *words);

/* The move is refused with these words and exit status 1, or @status. */
void refusal_assert(struct scene *scene, const char *words);
void refusal_assert_status(struct scene *scene, int status, const char *words);

/* Nothing stands in the way of the move. */
void refusal_assert_none(struct scene *scene);

#endif
