/*
 * What the fuzz targets share.  Each is one function that libFuzzer calls with bytes of
 * its own making; what it must never do is crash, leak, or break a promise that
 * fuzz_require names.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <glib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* libFuzzer's entry: always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What libFuzzer takes for a crash; g_error's signal would lose it the input. */
#define fuzz_fail(...)                                                                             \
	do {                                                                                       \
		g_printerr(__VA_ARGS__);                                                           \
		g_printerr("\n");                                                                  \
		abort();                                                                           \
	} while (0)

#define fuzz_require(condition)                                                                    \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fuzz_fail("%s:%d: not so: %s", __FILE__, __LINE__, #condition);            \
	} while (0)

/* The bytes, taken from the front; zeros and empty strings once they are used up. */
struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

static inline gboolean fuzz_input_take(struct fuzz_input *input, void *into, size_t count)
{
	const size_t here = MIN(count, input->left);

	memset(into, 0, count);
	if (here)
		memcpy(into, input->at, here);
	input->at += here;
	input->left -= here;
	return here == count;
}

static inline guint8 fuzz_input_byte(struct fuzz_input *input)
{
	guint8 byte;

	fuzz_input_take(input, &byte, 1);
	return byte;
}

static inline guint64 fuzz_input_u64(struct fuzz_input *input)
{
	guint64 number;

	fuzz_input_take(input, &number, sizeof(number));
	return number;
}

/* Up to the next NUL byte or the end; the caller frees. */
static inline char *fuzz_input_text(struct fuzz_input *input)
{
	const size_t length = input->left ? strnlen((const char *)input->at, input->left) : 0;
	char *text = g_strndup((const char *)input->at, length);
	const size_t used = MIN(length + 1, input->left);

	input->at += used;
	input->left -= used;
	return text;
}

#endif
