/*
 * Sizes, rates and times as people type and read them.
 *
 * Sizes and rates take the suffixes K M G T (powers of 1024, case ignored, an
 * optional "iB" or "B" behind them is accepted: 4M = 4MiB); times take ms s m h,
 * and a bare number is seconds.  Fractions ("1.5G") are accepted.  Negative,
 * empty, trailing-junk and overflowing input is a USAGE error that quotes it.
 */
#ifndef COMMON_UNITS_H
#define COMMON_UNITS_H

#include <glib.h>

#define KiB (1024ull)
#define MiB (1024ull * KiB)
#define GiB (1024ull * MiB)
#define TiB (1024ull * GiB)

#define NS_PER_S 1000000000ull

gboolean units_parse_size(const char *text, guint64 *bytes, GError **error);
gboolean units_parse_time(const char *text, guint64 *milliseconds, GError **error);

/* "1.5 GiB", "512 B"; the caller frees. */
char *units_format_size(guint64 bytes);
/* "1h02m", "3m20s", "4.2 s", "120 ms"; the caller frees. */
char *units_format_time(guint64 milliseconds);

static inline guint64 units_round_up(guint64 value, guint64 unit)
{
	return (value + unit - 1) / unit * unit;
}

#endif
