#include "tests/unit/images.h"

#include <stdlib.h>
#include <string.h>

guint8 *images_noise(gsize bytes, guint32 seed)
{
	g_autoptr(GRand) random = g_rand_new_with_seed(seed);
	guint8 *data = transport_buffer_new(bytes);

	for (gsize i = 0; i < bytes; i++)
		data[i] = (guint8)g_rand_int(random);
	return data;
}

gboolean images_hold(struct handle *handle, const guint8 *expected, gsize count, guint64 offset)
{
	guint8 *found = transport_buffer_new(count);
	g_autoptr(GError) error = NULL;

	memset(found, 0xee, count);
	assert_good(handle_read(handle, found, count, offset, &error), error);
	gboolean equal = memcmp(found, expected, count) == 0;
	transport_buffer_free(found);
	return equal;
}

int images_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
