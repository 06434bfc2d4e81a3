#include "blockmig/vm/datastore_private.h"

#include "blockmig/vm/session.h"
#include "common/error.h"
#include "common/units.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_PATH	"/etc/blockmig/blockmig.conf"
#define MAIN_SECTION	"blockmig"
#define SECTION_PREFIX	"datastore "
#define DOMAIN_PREFIX	"domain "
#define SCRATCH_DEFAULT "/var/lib/libvirt/blockmig"

/* Keys of [blockmig] that stand for a command line option of the same name. */
static const char *const default_keys[] = {
	"connect",  "format",	  "method",  "max-downtime",  "retry-for",    "on-failure",
	"verify",   "chunk-size", "workers", "delete-source", "keep-partial", "quiesce",
	"converge", NULL};
static const char *const datastore_keys[] = {"path",   "url",	    "address", "chap-file",
					     "secret", "initiator", NULL};
static const char *const domain_keys[] = {"priority", "keep-together", "prefer", "avoid", NULL};

static gboolean usage(GError **error, const char *path, const char *format, ...)
	G_GNUC_PRINTF(3, 4);

static gboolean usage(GError **error, const char *path, const char *format, ...)
{
	g_autofree char *words = NULL;
	va_list arguments;

	va_start(arguments, format);
	words = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE, "%s: %s", path, words);
	return FALSE;
}

/* ---- CHAP ------------------------------------------------------------------------------ */

/* The file's text, where nobody but its owner, root or us, can read it. */
static char *read_secret_file(const char *path, GError **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char buffer[8192];
	struct stat st;
	ssize_t count;

	if (fd < 0 || fstat(fd, &st) < 0) {
		usage(error, path, "%s", g_strerror(errno));
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	if ((st.st_mode & 077) != 0 || (st.st_uid != 0 && st.st_uid != geteuid())) {
		usage(error, path,
		      "it holds secrets, but has mode %04o and owner %u; run: chmod 600, "
		      "and chown to root",
		      (guint)(st.st_mode & 07777), (guint)st.st_uid);
		close(fd);
		return NULL;
	}
	count = read(fd, buffer, sizeof(buffer) - 1);
	close(fd);
	if (count < 0) {
		usage(error, path, "%s", g_strerror(errno));
		return NULL;
	}
	buffer[count] = '\0';
	return g_strdup(buffer);
}

/* key=value; the value is everything behind the '=', blanks too.  Never quoted in errors. */
static gboolean set_chap_line(struct transport_config *transport, const char *path, guint number,
			      const char *line, GError **error)
{
	const struct {
		const char *prefix;
		char **value;
	} keys[] = {
		{"user=", &transport->chap_user},
		{"password=", &transport->chap_password},
		{"mutual-user=", &transport->mutual_user},
		{"mutual-password=", &transport->mutual_password},
	};

	if (line[0] == '\0' || line[0] == '#')
		return TRUE;
	for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
		if (!g_str_has_prefix(line, keys[i].prefix))
			continue;
		g_free(*keys[i].value);
		*keys[i].value = g_strdup(line + strlen(keys[i].prefix));
		return TRUE;
	}
	return usage(error, path,
		     "line %u is none of user=, password=, mutual-user=, mutual-password=", number);
}

/* RFC 7143, 9.2.1: else a target could prove itself with our own answer. */
static gboolean passwords_differ(const struct transport_config *transport, const char *where,
				 GError **error)
{
	if (!transport->chap_password ||
	    g_strcmp0(transport->chap_password, transport->mutual_password) != 0)
		return TRUE;
	return usage(error, where, "password= and mutual-password= must not be the same");
}

static gboolean load_chap(struct transport_config *transport, const char *path, GError **error)
{
	g_autofree char *text = read_secret_file(path, error);
	g_auto(GStrv) lines = text ? g_strsplit(text, "\n", -1) : NULL;

	if (!text)
		return FALSE;
	for (guint i = 0; lines[i]; i++)
		if (!set_chap_line(transport, path, i + 1, lines[i], error))
			return FALSE;
	if (!transport->chap_user)
		return usage(error, path, "user= is needed");
	if (!transport->mutual_user != !transport->mutual_password)
		return usage(error, path, "mutual-user= and mutual-password= go together");
	return passwords_differ(transport, path, error);
}

/* ---- sections ----------------------------------------------------------------------------- */

static gboolean check_keys(GKeyFile *file, const char *path, const char *section,
			   const char *const *known, GError **error)
{
	g_auto(GStrv) keys = g_key_file_get_keys(file, section, NULL, NULL);

	for (guint i = 0; keys[i]; i++)
		if (!g_strv_contains(known, keys[i]))
			return usage(error, path, "[%s]: unknown key '%s'", section, keys[i]);
	return TRUE;
}

/* GLib gives NULL, or half of it, for a value that it cannot decode. */
static gboolean check_values(GKeyFile *file, const char *path, const char *section, GError **error)
{
	g_auto(GStrv) keys = g_key_file_get_keys(file, section, NULL, NULL);

	for (guint i = 0; keys[i]; i++) {
		g_autoptr(GError) cause = NULL;

		g_free(g_key_file_get_string(file, section, keys[i], &cause));
		if (cause)
			return usage(error, path,
				     "[%s]: the value of %s is not UTF-8, or has a backslash in "
				     "front of something else than s, n, t, r or a backslash",
				     section, keys[i]);
	}
	return TRUE;
}

/* "a, b;c" as a list without empty members. */
static char **read_list(GKeyFile *file, const char *section, const char *key)
{
	g_autofree char *text = g_key_file_get_string(file, section, key, NULL);
	g_auto(GStrv) words = g_strsplit_set(text ? text : "", ",; \t", -1);
	g_autoptr(GStrvBuilder) list = g_strv_builder_new();

	for (guint i = 0; words[i]; i++)
		if (words[i][0] != '\0')
			g_strv_builder_add(list, words[i]);
	return text ? g_strv_builder_end(list) : NULL;
}

static gboolean read_places(GKeyFile *file, const char *section, struct datastore *datastore,
			    GError **error)
{
	g_autofree char *url = g_key_file_get_string(file, section, "url", NULL);

	datastore->path = g_key_file_get_string(file, section, "path", NULL);
	if (datastore->path && datastore->path[0] != '/')
		return usage(error, "path", "'%s' is not an absolute path", datastore->path);
	if (!url)
		return datastore_complete(datastore, error);
	datastore->url = url_parse(url, error);
	if (!datastore->url)
		return FALSE;
	if (datastore->url->scheme == URL_NBD)
		return usage(error, "url", "an NBD export is no datastore");
	/* A section names a place even where its URL lacks the '/' at the end. */
	if (datastore->url->scheme != URL_ISCSI)
		datastore->url->is_place = TRUE;
	return TRUE;
}

static gboolean read_access(GKeyFile *file, const char *section, struct datastore *datastore,
			    GError **error)
{
	g_autofree char *chap = g_key_file_get_string(file, section, "chap-file", NULL);
	struct transport_config *transport = &datastore->transport;

	transport->addresses = read_list(file, section, "address");
	transport->initiator = g_key_file_get_string(file, section, "initiator", NULL);
	datastore->secret = g_key_file_get_string(file, section, "secret", NULL);
	if (chap && chap[0] != '/')
		return usage(error, "chap-file", "'%s' is not an absolute path", chap);
	if (chap && !load_chap(transport, chap, error))
		return FALSE;
	if (datastore->secret && !transport->chap_user)
		return usage(error, "secret", "needs chap-file=, which has the user's name");
	if (transport->chap_user && !transport->chap_password && !datastore->secret)
		return usage(error, chap, "password= is needed, or a libvirt secret: secret=");
	return TRUE;
}

static gboolean lacks_password(const struct datastore *datastore)
{
	return datastore->transport.chap_user && !datastore->transport.chap_password;
}

gboolean config_lacks_passwords(const struct config *config)
{
	for (guint i = 0; i < config->datastores->len; i++)
		if (lacks_password(config->datastores->pdata[i]))
			return TRUE;
	return FALSE;
}

gboolean config_ask_passwords(struct config *config, struct session *session, GError **error)
{
	for (guint i = 0; i < config->datastores->len; i++) {
		struct datastore *datastore = config->datastores->pdata[i];
		struct transport_config *transport = &datastore->transport;

		if (!lacks_password(datastore))
			continue;
		transport->chap_password = session_secret(session, datastore->secret, error);
		if (!transport->chap_password) {
			g_prefix_error(error, "datastore %s: secret=%s: ", datastore->name,
				       datastore->secret);
			return FALSE;
		}
		if (!passwords_differ(transport, datastore->name, error))
			return FALSE;
	}
	return TRUE;
}

static gboolean read_datastore(struct config *config, GKeyFile *file, const char *section,
			       GError **error)
{
	g_autofree char *name = g_strstrip(g_strdup(section + strlen(SECTION_PREFIX)));
	AUTO(datastore) datastore = datastore_new(name);

	if (!check_keys(file, config->path, section, datastore_keys, error))
		return FALSE;
	if (!*name || strchr(name, '/'))
		return usage(error, config->path, "[%s]: a datastore's name has no '/'", section);
	if (!read_places(file, section, datastore, error) ||
	    !read_access(file, section, datastore, error)) {
		g_prefix_error(error, "%s: [%s]: ", config->path, section);
		return FALSE;
	}
	g_ptr_array_add(config->datastores, g_steal_pointer(&datastore));
	return TRUE;
}

static void domain_rule_free(gpointer data)
{
	struct domain_rule *rule = data;

	g_free(rule->pattern);
	g_strfreev(rule->prefer);
	g_strfreev(rule->avoid);
	g_free(rule);
}

static gboolean read_rule(GKeyFile *file, const char *section, struct domain_rule *rule,
			  GError **error)
{
	static const char *const yes_or_no[] = {"no", "yes", NULL};
	g_autofree char *priority = g_key_file_get_string(file, section, "priority", NULL);
	g_autofree char *together = g_key_file_get_string(file, section, "keep-together", NULL);
	gint64 number = 0;

	if (priority && !g_ascii_string_to_signed(priority, 10, -1000, 1000, &number, NULL))
		return usage(error, "priority", "'%s' is no number from -1000 to 1000", priority);
	if (together && !g_strv_contains(yes_or_no, together))
		return usage(error, "keep-together", "'%s' is not yes or no", together);
	rule->has_priority = priority != NULL;
	rule->priority = (int)number;
	rule->has_together = together != NULL;
	rule->keep_together = g_strcmp0(together, "yes") == 0;
	rule->prefer = read_list(file, section, "prefer");
	rule->avoid = read_list(file, section, "avoid");
	return TRUE;
}

static gboolean read_domain(struct config *config, GKeyFile *file, const char *section,
			    GError **error)
{
	struct domain_rule *rule = g_new0(struct domain_rule, 1);

	g_ptr_array_add(config->domains, rule);
	rule->pattern = g_strstrip(g_strdup(section + strlen(DOMAIN_PREFIX)));
	if (!check_keys(file, config->path, section, domain_keys, error))
		return FALSE;
	if (read_rule(file, section, rule, error))
		return TRUE;
	g_prefix_error(error, "%s: [%s]: ", config->path, section);
	return FALSE;
}

struct domain_rule config_domain_rule(const struct config *config, const char *name)
{
	struct domain_rule all = {0};

	for (guint i = 0; i < config->domains->len; i++) {
		const struct domain_rule *rule = g_ptr_array_index(config->domains, i);

		if (!g_pattern_match_simple(rule->pattern, name))
			continue;
		if (rule->has_priority) {
			all.has_priority = TRUE;
			all.priority = rule->priority;
		}
		if (rule->has_together) {
			all.has_together = TRUE;
			all.keep_together = rule->keep_together;
		}
		all.prefer = rule->prefer ? rule->prefer : all.prefer;
		all.avoid = rule->avoid ? rule->avoid : all.avoid;
	}
	return all;
}

/* Keys with a member of their own in struct config; the rest are defaults of options. */
static gboolean read_main_key(struct config *config, const char *key, char *value, GError **error)
{
	if (strcmp(key, "scratch") == 0) {
		g_free(config->scratch);
		config->scratch = value;
		return value[0] == '/' ? TRUE
				       : usage(error, config->path,
					       "[%s]: scratch '%s' is not an absolute path",
					       MAIN_SECTION, value);
	}
	if (strcmp(key, "bwlimit") == 0) {
		g_autofree char *text = value;

		if (units_parse_size(text, &config->bwlimit, error))
			return TRUE;
		g_prefix_error(error, "%s: [%s]: bwlimit: ", config->path, MAIN_SECTION);
		return FALSE;
	}
	if (!g_strv_contains(default_keys, key)) {
		g_free(value);
		return usage(error, config->path, "[%s]: unknown key '%s'", MAIN_SECTION, key);
	}
	g_hash_table_insert(config->defaults, g_strdup(key), value);
	return TRUE;
}

static gboolean read_main(struct config *config, GKeyFile *file, GError **error)
{
	g_auto(GStrv) keys = g_key_file_get_keys(file, MAIN_SECTION, NULL, NULL);

	for (guint i = 0; keys[i]; i++)
		if (!read_main_key(config, keys[i],
				   g_key_file_get_string(file, MAIN_SECTION, keys[i], NULL), error))
			return FALSE;
	return TRUE;
}

static gboolean read_sections(struct config *config, GKeyFile *file, GError **error)
{
	g_auto(GStrv) sections = g_key_file_get_groups(file, NULL);

	for (guint i = 0; sections[i]; i++) {
		gboolean ok;

		if (!check_values(file, config->path, sections[i], error))
			return FALSE;
		if (strcmp(sections[i], MAIN_SECTION) == 0)
			ok = read_main(config, file, error);
		else if (g_str_has_prefix(sections[i], SECTION_PREFIX))
			ok = read_datastore(config, file, sections[i], error);
		else if (g_str_has_prefix(sections[i], DOMAIN_PREFIX))
			ok = read_domain(config, file, sections[i], error);
		else
			ok = usage(error, config->path, "unknown section [%s]", sections[i]);
		if (!ok)
			return FALSE;
	}
	return TRUE;
}

/* ---- the file ------------------------------------------------------------------------ */

static struct config *config_new(const char *path)
{
	struct config *config = g_new0(struct config, 1);

	config->path = g_strdup(path);
	config->scratch = g_strdup(SCRATCH_DEFAULT);
	config->datastores = g_ptr_array_new_with_free_func((GDestroyNotify)datastore_free);
	config->domains = g_ptr_array_new_with_free_func(domain_rule_free);
	config->defaults = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	return config;
}

struct config *config_load(const char *path, GError **error)
{
	const char *chosen = path ? path : g_getenv("BLOCKMIG_CONFIG");
	AUTO(config) config = config_new(chosen ? chosen : CONFIG_PATH);
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autoptr(GError) cause = NULL;

	if (!g_key_file_load_from_file(file, config->path, G_KEY_FILE_NONE, &cause)) {
		if (!chosen && g_error_matches(cause, G_FILE_ERROR, G_FILE_ERROR_NOENT))
			return g_steal_pointer(&config);
		usage(error, config->path, "%s", cause->message);
		return NULL;
	}
	if (!read_sections(config, file, error))
		return NULL;
	return g_steal_pointer(&config);
}

void config_free(struct config *config)
{
	g_free(config->path);
	g_free(config->scratch);
	g_ptr_array_unref(config->datastores);
	g_ptr_array_unref(config->domains);
	g_hash_table_unref(config->defaults);
	g_free(config);
}
