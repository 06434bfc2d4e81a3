/*
 * Automatic clean-up for our own structs, as g_autoptr does for GLib's types.
 *
 *     AUTO_DEFINE(url, url_free)            in the header, after the declarations
 *     AUTO(url) place = url_parse(...);     freed when it leaves its scope, if not NULL
 */
#ifndef COMMON_AUTO_H
#define COMMON_AUTO_H

#define AUTO_DEFINE(name, function)                                                                \
	static inline void name##_auto_cleanup(struct name **pointer)                              \
	{                                                                                          \
		if (*pointer)                                                                      \
			function(*pointer);                                                        \
	}

#define AUTO(name) __attribute__((cleanup(name##_auto_cleanup))) struct name *

#endif
