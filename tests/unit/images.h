/*
 * What tests of images need everywhere: content to write, and comparing it.
 */
#ifndef TESTS_IMAGES_H
#define TESTS_IMAGES_H

#include "common/error.h"
#include "transports/transport.h"

#include <check.h>

/* The call comes before a look at the error. */
#define assert_good(call, error)                                                                   \
	do {                                                                                       \
		gboolean good = (call);                                                            \
		ck_assert_msg(good, "%s", (error) ? (error)->message : "failed without an error"); \
	} while (0)

#define assert_code(error, code)                                                                   \
	ck_assert_msg(error_is(error, code), "%s", (error) ? (error)->message : "no error")

/* @bytes that no other seed gives; transport_buffer_free. */
guint8 *images_noise(gsize bytes, guint32 seed);

/* Whether the range reads as @expected. */
gboolean images_hold(struct handle *handle, const guint8 *expected, gsize count, guint64 offset);

/* Runs @suite; what main returns. */
int images_run(Suite *suite);

#endif
