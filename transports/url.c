#include "transports/url.h"

#include "common/error.h"

#include <string.h>

enum { PORT_MOST = 65535, LUN_MOST = 16383 };

/* Kept as they are when a path is printed; everything else outside letters and digits
 * is escaped. */
static const char path_characters[] = "/:@!$'()*+,;=~";

static const struct scheme {
	const char *prefix;
	enum url_scheme scheme;
	int port;
} schemes[] = {
	{"file://", URL_FILE, 0},
	{"nfs://", URL_NFS, URL_NFS_PORT},
	{"iscsi://", URL_ISCSI, URL_ISCSI_PORT},
	{"nbd+unix://", URL_NBD, 0},
};

/* ---- parsing ------------------------------------------------------------------ */

/*
 * Says what is wrong with @text without repeating what may be a secret: nothing of a
 * text with an '@', no arguments of any.
 */
static gboolean refuse(const char *text, GError **error, const char *reason)
{
	g_autofree char *shown =
		strchr(text, '@') ? g_strdup("the URL") : g_strndup(text, strcspn(text, "?"));

	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE, "%s: %s", shown, reason);
	return FALSE;
}

static gboolean parse_int(const char *text, int most, int *value)
{
	guint64 number;

	if (!g_ascii_string_to_unsigned(text, 10, 0, (guint64)most, &number, NULL))
		return FALSE;
	*value = (int)number;
	return TRUE;
}

static gboolean is_host(const char *host, gboolean is_ipv6)
{
	/* Brackets are printed by the colon. */
	if (host[0] == '\0' || (is_ipv6 && !strchr(host, ':')))
		return FALSE;
	for (const char *at = host; *at; at++)
		if (!g_ascii_isalnum(*at) && !strchr(is_ipv6 ? ":.%" : "-._", *at))
			return FALSE;
	return TRUE;
}

/* "host", "host:port", "[address]:port". */
static gboolean parse_authority(struct url *url, const char *authority, int default_port,
				const char *text, GError **error)
{
	gboolean is_ipv6 = authority[0] == '[';
	const char *host = is_ipv6 ? authority + 1 : authority;
	gsize length = strcspn(host, is_ipv6 ? "]" : ":");
	const char *rest = host + length;

	if (is_ipv6) {
		if (*rest != ']')
			return refuse(text, error, "the address has no closing bracket");
		rest++;
	}
	g_autofree char *name = g_strndup(host, length);
	if (!is_host(name, is_ipv6))
		return refuse(text, error, "no valid host name or address");
	url->host = g_ascii_strdown(name, -1);

	if (*rest == '\0')
		return TRUE;
	if (*rest != ':' || !parse_int(rest + 1, PORT_MOST, &url->port) || url->port == 0)
		return refuse(text, error, "the port is not a number from 1 to 65535");
	if (url->port == default_port)
		url->port = 0;
	return TRUE;
}

/* Removes empty and "." parts, so that equal paths have equal texts. */
static char *path_normalise(const char *path)
{
	GString *result = g_string_new(NULL);
	g_auto(GStrv) parts = g_strsplit(path, "/", -1);

	for (char **part = parts; *part; part++)
		if (**part && strcmp(*part, ".") != 0)
			g_string_append_printf(result, "/%s", *part);
	if (result->len == 0)
		g_string_append_c(result, '/');
	return g_string_free(result, FALSE);
}

static gboolean path_has_dotdot(const char *path)
{
	g_auto(GStrv) parts = g_strsplit(path, "/", -1);

	return g_strv_contains((const char *const *)parts, "..");
}

/* Takes the decoded @path. */
static gboolean parse_path(struct url *url, const char *path, const char *text, GError **error)
{
	if (path[0] != '/')
		return refuse(text, error, "the path is not absolute");
	/* An export has no directory above it; locally, ".." may follow a symbolic link. */
	if (url->scheme == URL_NFS && path_has_dotdot(path))
		return refuse(text, error, "\"..\" leads out of the export");
	url->path = path_normalise(path);
	url->is_place = g_str_has_suffix(path, "/") || g_str_has_suffix(path, "/.");
	return TRUE;
}

static gboolean is_target(const char *name)
{
	if (name[0] == '\0')
		return FALSE;
	for (const char *at = name; *at; at++)
		if (!g_ascii_isalnum(*at) && !strchr("-.:_", *at) && !((guchar)*at & 0x80))
			return FALSE;
	return TRUE;
}

/* "/iqn", "/iqn/" or "/iqn/lun". */
static gboolean parse_target(struct url *url, const char *path, const char *text, GError **error)
{
	g_auto(GStrv) parts = g_strsplit(path[0] == '/' ? path + 1 : path, "/", -1);
	guint count = g_strv_length(parts);

	if (count < 1 || count > 2 || !is_target(parts[0]))
		return refuse(text, error, "not of the form iscsi://host[:port]/target/lun");
	url->target = g_strdup(parts[0]);
	url->is_place = count == 1 || parts[1][0] == '\0';
	if (!url->is_place && !parse_int(parts[1], LUN_MOST, &url->lun))
		return refuse(text, error, "the LUN is not a number from 0 to 16383");
	return TRUE;
}

static gboolean parse_where(struct url *url, const struct scheme *scheme, const char *authority,
			    const char *path, const char *text, GError **error)
{
	switch (scheme->scheme) {
	case URL_FILE:
		if (authority[0] != '\0' && g_ascii_strcasecmp(authority, "localhost") != 0)
			return refuse(text, error,
				      "a file URL names no host: file:///path has three slashes");
		return parse_path(url, path, text, error);
	case URL_NFS:
		return parse_authority(url, authority, scheme->port, text, error) &&
		       parse_path(url, path, text, error);
	case URL_ISCSI:
		return parse_authority(url, authority, scheme->port, text, error) &&
		       parse_target(url, path, text, error);
	case URL_NBD:
		if (authority[0] != '\0' || path[0] != '/')
			return refuse(text, error,
				      "not of the form nbd+unix:///[export]?socket=PATH");
		url->path = g_strdup(path + 1);
		return TRUE;
	}
	return FALSE;
}

/* One "name=value"; @value is decoded.  FALSE where the scheme does not know it. */
static gboolean set_argument(struct url *url, const char *name, const char *value)
{
	if (url->scheme == URL_NFS) {
		if (strcmp(name, "mountport") == 0)
			return url->mountport == 0 &&
			       parse_int(value, PORT_MOST, &url->mountport) && url->mountport > 0;
		if (strcmp(name, "uid") == 0)
			return url->uid == -1 && parse_int(value, G_MAXINT, &url->uid);
		if (strcmp(name, "gid") == 0)
			return url->gid == -1 && parse_int(value, G_MAXINT, &url->gid);
	}
	if (url->scheme == URL_NBD) {
		if (strcmp(name, "socket") == 0 && !url->socket && value[0] == '/') {
			url->socket = g_strdup(value);
			return TRUE;
		}
		if (strcmp(name, "layer") == 0 && !url->top_layer_only)
			return url->top_layer_only = strcmp(value, "top") == 0;
	}
	return FALSE;
}

static gboolean parse_arguments(struct url *url, const char *query, const char *text,
				GError **error)
{
	g_auto(GStrv) arguments = g_strsplit(query, "&", -1);

	for (char **argument = arguments; *argument; argument++) {
		gsize length = strcspn(*argument, "=");
		const char *encoded = *argument + length + ((*argument)[length] == '=');
		g_autofree char *name = g_strndup(*argument, length);
		g_autofree char *value = g_uri_unescape_string(encoded, NULL);

		if (value && set_argument(url, name, value))
			continue;
		g_autofree char *reason = g_strdup_printf(
			"the argument \"%s\" is unknown here, given twice, or has no valid value",
			strchr(text, '@') ? "..." : name);
		return refuse(text, error, reason);
	}
	return TRUE;
}

static gboolean parse_remote(struct url *url, const char *text, GError **error)
{
	const struct scheme *scheme = NULL;

	for (guint i = 0; i < G_N_ELEMENTS(schemes); i++)
		if (g_ascii_strncasecmp(text, schemes[i].prefix, strlen(schemes[i].prefix)) == 0)
			scheme = &schemes[i];
	if (!scheme)
		return refuse(text, error,
			      "neither an absolute path nor a URL with file://, nfs://, iscsi:// "
			      "or nbd+unix://");
	url->scheme = scheme->scheme;

	const char *rest = text + strlen(scheme->prefix);
	gsize authority_length = strcspn(rest, "/?");
	g_autofree char *authority = g_strndup(rest, authority_length);
	if (strchr(authority, '@'))
		return refuse(text, error,
			      "a user or password does not belong into a URL; name a chap-file in "
			      "the configuration");

	rest += authority_length;
	gsize path_length = strcspn(rest, "?");
	g_autofree char *path = g_uri_unescape_segment(rest, rest + path_length, NULL);
	if (!path)
		return refuse(text, error, "a percent-escape is not valid");
	if (!parse_where(url, scheme, authority, path, text, error))
		return FALSE;
	if (rest[path_length] == '?' && !parse_arguments(url, rest + path_length + 1, text, error))
		return FALSE;
	if (url->scheme == URL_NBD && !url->socket)
		return refuse(text, error, "the argument socket=PATH is missing");
	return TRUE;
}

/* Neither libvirt's XML nor QEMU's and the ledger's JSON have a way to write other bytes. */
static gboolean require_utf8(const struct url *url, const char *text, GError **error)
{
	const char *const parts[] = {url->path, url->target, url->socket};

	for (guint i = 0; i < G_N_ELEMENTS(parts); i++)
		if (parts[i] && !g_utf8_validate(parts[i], -1, NULL))
			return refuse(text, error,
				      "the name is not UTF-8, which libvirt and QEMU require; "
				      "rename it");
	return TRUE;
}

struct url *url_parse(const char *text, GError **error)
{
	AUTO(url) url = g_new0(struct url, 1);
	gboolean good;

	url->lun = url->uid = url->gid = -1;
	/* A bare path is taken as it is: "%41" is part of a name there. */
	if (text[0] == '/')
		good = parse_path(url, text, text, error);
	else
		good = parse_remote(url, text, error);
	good = good && require_utf8(url, text, error);
	return good ? g_steal_pointer(&url) : NULL;
}

/* ---- what is done with them --------------------------------------------------- */

struct url *url_copy(const struct url *url)
{
	struct url *copy = g_memdup2(url, sizeof(*url));

	copy->host = g_strdup(url->host);
	copy->path = g_strdup(url->path);
	copy->target = g_strdup(url->target);
	copy->socket = g_strdup(url->socket);
	return copy;
}

void url_free(struct url *url)
{
	if (!url)
		return;
	g_free(url->host);
	g_free(url->path);
	g_free(url->target);
	g_free(url->socket);
	g_free(url);
}

static void append_argument(GString *text, char *separator, const char *name, const char *value)
{
	g_string_append_printf(text, "%c%s=%s", *separator, name, value);
	*separator = '&';
}

static void append_number(GString *text, char *separator, const char *name, int value)
{
	g_autofree char *number = g_strdup_printf("%d", value);

	append_argument(text, separator, name, number);
}

static void append_host(GString *text, const char *scheme, const struct url *url)
{
	gboolean is_ipv6 = strchr(url->host, ':') != NULL;

	g_string_append_printf(text, is_ipv6 ? "%s[%s]" : "%s%s", scheme, url->host);
	if (url->port)
		g_string_append_printf(text, ":%d", url->port);
}

static void append_path(GString *text, const struct url *url)
{
	g_string_append_uri_escaped(text, url->path, path_characters, FALSE);
	if (url->is_place && strcmp(url->path, "/") != 0)
		g_string_append_c(text, '/');
}

static void append_nfs(GString *text, const struct url *url)
{
	char separator = '?';

	append_host(text, "nfs://", url);
	append_path(text, url);
	if (url->mountport)
		append_number(text, &separator, "mountport", url->mountport);
	if (url->uid >= 0)
		append_number(text, &separator, "uid", url->uid);
	if (url->gid >= 0)
		append_number(text, &separator, "gid", url->gid);
}

static void append_nbd(GString *text, const struct url *url)
{
	char separator = '?';
	g_autofree char *escaped = g_uri_escape_string(url->socket, path_characters, FALSE);

	g_string_append(text, "nbd+unix:///");
	append_path(text, url);
	append_argument(text, &separator, "socket", escaped);
	if (url->top_layer_only)
		append_argument(text, &separator, "layer", "top");
}

char *url_format(const struct url *url)
{
	GString *text = g_string_new(NULL);

	switch (url->scheme) {
	case URL_FILE:
		g_string_append(text, url->path);
		if (url->is_place && strcmp(url->path, "/") != 0)
			g_string_append_c(text, '/');
		break;
	case URL_NFS:
		append_nfs(text, url);
		break;
	case URL_ISCSI:
		append_host(text, "iscsi://", url);
		g_string_append_printf(text, "/%s/", url->target);
		if (!url->is_place)
			g_string_append_printf(text, "%d", url->lun);
		break;
	case URL_NBD:
		append_nbd(text, url);
		break;
	}
	return g_string_free(text, FALSE);
}

struct url *url_child(const struct url *place, const char *name)
{
	AUTO(url) child = url_copy(place);

	child->is_place = FALSE;
	if (place->scheme == URL_ISCSI)
		return parse_int(name, LUN_MOST, &child->lun) ? g_steal_pointer(&child) : NULL;
	if (place->scheme == URL_NBD || name[0] == '\0' || strchr(name, '/') ||
	    strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return NULL;
	g_free(child->path);
	child->path = g_build_path("/", place->path, name, NULL);
	return g_steal_pointer(&child);
}

struct url *url_parent(const struct url *url)
{
	if (url->scheme == URL_NBD)
		return NULL;

	struct url *parent = url_copy(url);
	parent->is_place = TRUE;
	parent->lun = -1;
	if (url->path) {
		g_free(parent->path);
		parent->path = g_path_get_dirname(url->path);
	}
	return parent;
}

char *url_basename(const struct url *url)
{
	if (url->scheme == URL_ISCSI)
		return url->is_place ? g_strdup("") : g_strdup_printf("%d", url->lun);

	const char *slash = strrchr(url->path, '/');
	return g_strdup(slash ? slash + 1 : url->path);
}
