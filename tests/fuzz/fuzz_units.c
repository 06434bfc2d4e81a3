/* Sizes and times: whole numbers are read as what they are, and all can be printed. */
#include "common/units.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	g_autofree char *text = fuzz_input_text(&input);
	guint64 bytes = 0, milliseconds = 0, number = 0;
	const gboolean is_number =
		g_ascii_isdigit(*text) &&
		g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, &number, NULL);
	const gboolean is_size = units_parse_size(text, &bytes, NULL);
	const gboolean is_time = units_parse_time(text, &milliseconds, NULL);

	if (is_number) {
		fuzz_require(is_size && bytes == number);
		fuzz_require(is_time == (number <= G_MAXUINT64 / 1000));
		fuzz_require(!is_time || milliseconds == number * 1000);
	}
	if (is_size) {
		g_autofree char *printed = units_format_size(bytes);

		fuzz_require(*printed);
	}
	if (is_time) {
		g_autofree char *printed = units_format_time(milliseconds);

		fuzz_require(*printed);
	}
	return 0;
}
