#include "common/units.h"

#include "common/error.h"

struct unit {
	const char *suffix;
	guint64 factor;
};

static const struct unit size_units[] = {
	{"", 1},      {"B", 1},	   {"K", KiB},	 {"KB", KiB},  {"KiB", KiB},
	{"M", MiB},   {"MB", MiB}, {"MiB", MiB}, {"G", GiB},   {"GB", GiB},
	{"GiB", GiB}, {"T", TiB},  {"TB", TiB},	 {"TiB", TiB}, {NULL, 0},
};

static const struct unit time_units[] = {
	{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {NULL, 0},
};

static guint64 unit_factor(const struct unit *units, const char *suffix)
{
	for (; units->suffix; units++)
		if (g_ascii_strcasecmp(units->suffix, suffix) == 0)
			return units->factor;
	return 0;
}

/*
 * Integers throughout: a double would round sizes above 2^53.  A fraction is rounded
 * down to whole bytes or milliseconds.
 */
static gboolean parse_number(const char *text, const struct unit *units, guint64 *result)
{
	enum { FRACTION_DIGITS = 9 };
	guint64 whole = 0, fraction = 0, fraction_scale = 1;
	const char *at = text;

	if (!g_ascii_isdigit(*at))
		return FALSE;
	for (; g_ascii_isdigit(*at); at++)
		if (!g_uint64_checked_mul(&whole, whole, 10) ||
		    !g_uint64_checked_add(&whole, whole, (guint64)g_ascii_digit_value(*at)))
			return FALSE;

	if (*at == '.') {
		if (!g_ascii_isdigit(*++at))
			return FALSE;
		for (int digit = 0; g_ascii_isdigit(*at); at++, digit++) {
			if (digit >= FRACTION_DIGITS)
				continue;
			fraction = fraction * 10 + (guint64)g_ascii_digit_value(*at);
			fraction_scale *= 10;
		}
	}

	guint64 factor = unit_factor(units, at);
	guint64 part = (guint64)((unsigned __int128)fraction * factor / fraction_scale);
	return factor && g_uint64_checked_mul(&whole, whole, factor) &&
	       g_uint64_checked_add(result, whole, part);
}

gboolean units_parse_size(const char *text, guint64 *bytes, GError **error)
{
	if (parse_number(text, size_units, bytes))
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
		    "\"%s\" is not a size: give a number of bytes, or one with K, M, G or T, "
		    "such as 200M",
		    text);
	return FALSE;
}

gboolean units_parse_time(const char *text, guint64 *milliseconds, GError **error)
{
	if (parse_number(text, time_units, milliseconds))
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
		    "\"%s\" is not a time: give a number of seconds, or one with ms, s, m or h, "
		    "such as 500ms",
		    text);
	return FALSE;
}

char *units_format_size(guint64 bytes)
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	guint64 unit = 1;
	guint name = 0;

	while (name + 1 < G_N_ELEMENTS(names) && bytes / unit >= 1024) {
		unit *= 1024;
		name++;
	}

	/* Rounded down: 1023.99 KiB must not read as 1024.0 KiB. */
	guint64 tenths = bytes % unit * 10 / unit;
	if (tenths == 0)
		return g_strdup_printf("%" G_GUINT64_FORMAT " %s", bytes / unit, names[name]);
	return g_strdup_printf("%" G_GUINT64_FORMAT ".%" G_GUINT64_FORMAT " %s", bytes / unit,
			       tenths, names[name]);
}

char *units_format_time(guint64 milliseconds)
{
	guint64 seconds = milliseconds / 1000;

	if (seconds == 0)
		return g_strdup_printf("%" G_GUINT64_FORMAT " ms", milliseconds);
	if (seconds < 60)
		return g_strdup_printf("%" G_GUINT64_FORMAT ".%" G_GUINT64_FORMAT " s", seconds,
				       milliseconds % 1000 / 100);
	if (seconds < 3600)
		return g_strdup_printf("%" G_GUINT64_FORMAT "m%02" G_GUINT64_FORMAT "s",
				       seconds / 60, seconds % 60);
	return g_strdup_printf("%" G_GUINT64_FORMAT "h%02" G_GUINT64_FORMAT "m", seconds / 3600,
			       seconds / 60 % 60);
}
