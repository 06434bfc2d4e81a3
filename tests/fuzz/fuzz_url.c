/* URLs: what is printed is read as the same place; children have parents. */
#include "tests/fuzz/fuzz.h"
#include "transports/url.h"

static void check_child(const struct url *place, const char *name)
{
	AUTO(url) child = url_child(place, name);

	if (!child)
		return;
	g_autofree char *base = url_basename(child);
	g_autofree char *text = url_format(child);
	AUTO(url) again = url_parse(text, NULL);
	AUTO(url) parent = url_parent(child);
	g_autofree char *place_text = url_format(place);
	g_autofree char *parent_text = parent ? url_format(parent) : NULL;

	/* A file in a folder may have any name; one that is typed must be UTF-8. */
	fuzz_require(again ? !again->is_place : !g_utf8_validate(name, -1, NULL));
	fuzz_require(place->scheme == URL_ISCSI || g_str_equal(base, name));
	fuzz_require(parent_text != NULL);
	/* A place without its '/' at the end is the same place. */
	if (place->is_place)
		fuzz_require(g_str_equal(parent_text, place_text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	g_autofree char *text = fuzz_input_text(&input);
	g_autofree char *name = fuzz_input_text(&input);
	g_autoptr(GError) error = NULL;
	AUTO(url) url = url_parse(text, &error);

	if (!url) {
		fuzz_require(error != NULL);
		return 0;
	}
	g_autofree char *printed = url_format(url);
	AUTO(url) again = url_parse(printed, &error);

	if (!again)
		fuzz_fail("'%s' was printed for '%s': %s", printed, text, error->message);
	g_autofree char *printed_again = url_format(again);

	fuzz_require(g_str_equal(printed, printed_again));
	fuzz_require(again->is_place == url->is_place);
	fuzz_require(g_strcmp0(again->path, url->path) == 0);
	fuzz_require(!url->path || g_utf8_validate(url->path, -1, NULL));
	check_child(url, name);
	return 0;
}
