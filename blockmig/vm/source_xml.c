#include "blockmig/vm/source.h"

#include "blockmig/vm/xml_text.h"
#include "transports/url.h"

#include <string.h>

/* ---- reading ------------------------------------------------------------------- */

static void be_other(struct source *source, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void be_other(struct source *source, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	g_free(source->other);
	source->other = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	source->type = SOURCE_OTHER;
	g_clear_pointer(&source->pool, g_free);
	g_clear_pointer(&source->volume, g_free);
}

/* "+64055" or "64055"; names are not looked up.  -1 where there is none, -2: not a number. */
static int identity_number(const xmlNode *identity, const char *name)
{
	g_autofree char *text = xml_attribute(identity, name);
	guint64 number;

	if (!text)
		return -1;
	if (!g_ascii_string_to_unsigned(text[0] == '+' ? text + 1 : text, 10, 0, G_MAXINT, &number,
					NULL))
		return -2;
	return (int)number;
}

static void read_nfs(const xmlNode *element, struct source *source)
{
	const xmlNode *identity = xml_child(element, "identity");

	source->type = SOURCE_NFS;
	source->path = xml_attribute(element, "name");
	source->uid = identity_number(identity, "user");
	source->gid = identity_number(identity, "group");
	if (source->uid == -2 || source->gid == -2)
		be_other(source, "an NFS image whose <identity> is not written as numbers");
	else if (source->path && source->path[0] != '/')
		be_other(source, "an NFS image whose name is not an absolute path");
}

/* <auth> stands in <source>, or in the <disk> as older libvirt has it. */
static void read_auth(const xmlNode *auth, struct source *source)
{
	const xmlNode *secret = xml_child(auth, "secret");

	source->auth_user = xml_attribute(auth, "username");
	source->auth_secret_usage = xml_attribute(secret, "usage");
	source->auth_secret_uuid = xml_attribute(secret, "uuid");
}

static void read_iscsi(const xmlNode *holder, const xmlNode *element, struct source *source)
{
	const xmlNode *auth = xml_child(element, "auth");
	g_autofree char *name = xml_attribute(element, "name");

	source->type = SOURCE_ISCSI;
	if (name)
		source->path =
			strchr(name, '/') ? g_steal_pointer(&name) : g_strconcat(name, "/0", NULL);
	source->initiator =
		xml_attribute(xml_child(xml_child(element, "initiator"), "iqn"), "name");
	read_auth(auth ? auth : xml_child(holder, "auth"), source);
}

static void read_network(const xmlNode *holder, const xmlNode *element, struct source *source)
{
	const xmlNode *host = xml_child(element, "host");
	g_autofree char *protocol = xml_attribute(element, "protocol");
	g_autofree char *transport = xml_attribute(host, "transport");
	guint64 port = xml_attribute_number(host, "port");

	source->host = xml_attribute(host, "name");
	if (g_strcmp0(protocol, "nfs") == 0) {
		read_nfs(element, source);
	} else if (g_strcmp0(protocol, "iscsi") == 0) {
		read_iscsi(holder, element, source);
		source->port = port == URL_ISCSI_PORT ? 0 : (int)port;
	} else {
		be_other(source, "a network disk of protocol '%s'", protocol ? protocol : "");
		return;
	}
	if (!source->host || !source->path)
		be_other(source, "a network disk of protocol '%s' without host or name", protocol);
	else if (xml_next(host, "host"))
		be_other(source, "a network disk with several hosts");
	else if (transport && strcmp(transport, "tcp") != 0)
		be_other(source, "a network disk over transport '%s'", transport);
}

static void read_slice(const xmlNode *element, struct source *source)
{
	const xmlNode *slice = xml_child(xml_child(element, "slices"), "slice");

	source->slice_offset = xml_attribute_number(slice, "offset");
	source->slice_bytes = xml_attribute_number(slice, "size");
}

/* Children of <source> that change what the image is, or how it is opened. */
static void refuse_extras(const xmlNode *element, struct source *source)
{
	static const char *const extras[] = {"encryption", "reservations", "cookies", "ssl",
					     "dataStore"};

	for (guint i = 0; i < G_N_ELEMENTS(extras); i++)
		if (xml_child(element, extras[i]))
			be_other(source, "an image with <%s>", extras[i]);
	if (xml_attribute_is(element, "tls", "yes"))
		be_other(source, "a network disk with TLS");
	if (!xml_attribute_is(element, "fdgroup", NULL))
		be_other(source, "an image behind passed descriptors");
}

void source_read_xml(const xmlNode *holder, struct source *source)
{
	const xmlNode *element = xml_child(holder, "source");
	g_autofree char *type = xml_attribute(holder, "type");

	memset(source, 0, sizeof(*source));
	source->uid = source->gid = -1;
	if (!type || strcmp(type, "file") == 0) {
		source->path = xml_attribute(element, "file");
		source->type = source->path ? SOURCE_FILE : SOURCE_NONE;
	} else if (strcmp(type, "block") == 0) {
		source->path = xml_attribute(element, "dev");
		source->type = source->path ? SOURCE_BLOCK : SOURCE_NONE;
	} else if (strcmp(type, "network") == 0 && element) {
		read_network(holder, element, source);
	} else if (strcmp(type, "volume") == 0) {
		g_autofree char *pool = xml_attribute(element, "pool");
		g_autofree char *volume = xml_attribute(element, "volume");

		if (pool && volume) {
			be_other(source, "the volume '%s' of pool '%s'", volume, pool);
			source->pool = g_steal_pointer(&pool);
			source->volume = g_steal_pointer(&volume);
			source->volume_mode = xml_attribute(element, "mode");
		}
	} else {
		be_other(source, "a disk of type '%s'", type);
	}
	if (!element || source->type == SOURCE_NONE)
		return;
	read_slice(element, source);
	refuse_extras(element, source);
}

/* ---- writing ------------------------------------------------------------------- */

const char *source_xml_type(const struct source *source)
{
	switch (source->type) {
	case SOURCE_BLOCK:
		return "block";
	case SOURCE_NFS:
	case SOURCE_ISCSI:
		return "network";
	case SOURCE_NONE:
	case SOURCE_FILE:
	case SOURCE_OTHER:
		break;
	}
	return "file";
}

static void append_attribute(GString *out, const char *name, const char *value)
{
	g_autofree char *escaped = value ? g_markup_escape_text(value, -1) : NULL;

	if (value)
		g_string_append_printf(out, " %s='%s'", name, escaped);
}

static void append_host(GString *out, const struct source *source, const char *indent)
{
	g_string_append_printf(out, "%s  <host", indent);
	append_attribute(out, "name", source->host);
	if (source->type == SOURCE_ISCSI)
		g_string_append_printf(out, " port='%d'",
				       source->port ? source->port : URL_ISCSI_PORT);
	g_string_append(out, "/>\n");
}

static void append_initiator(GString *out, const struct source *source, const char *indent)
{
	if (!source->initiator)
		return;
	g_string_append_printf(out, "%s  <initiator>\n%s    <iqn", indent, indent);
	append_attribute(out, "name", source->initiator);
	g_string_append_printf(out, "/>\n%s  </initiator>\n", indent);
}

static void append_slice(GString *out, const struct source *source, const char *indent)
{
	if (source->slice_bytes)
		g_string_append_printf(
			out,
			"%s  <slices>\n%s    <slice type='storage' offset='%" G_GUINT64_FORMAT
			"' size='%" G_GUINT64_FORMAT "'/>\n%s  </slices>\n",
			indent, indent, source->slice_offset, source->slice_bytes, indent);
}

static void append_identity(GString *out, const struct source *source, const char *indent)
{
	if (source->uid < 0 && source->gid < 0)
		return;
	g_string_append_printf(out, "%s  <identity", indent);
	if (source->uid >= 0)
		g_string_append_printf(out, " user='+%d'", source->uid);
	if (source->gid >= 0)
		g_string_append_printf(out, " group='+%d'", source->gid);
	g_string_append(out, "/>\n");
}

static void append_auth(GString *out, const struct source *source, const char *indent)
{
	if (!source->auth_user)
		return;
	g_string_append_printf(out, "%s  <auth", indent);
	append_attribute(out, "username", source->auth_user);
	g_string_append_printf(out, ">\n%s    <secret type='iscsi'", indent);
	append_attribute(out, "usage", source->auth_secret_usage);
	append_attribute(out, "uuid", source->auth_secret_usage ? NULL : source->auth_secret_uuid);
	g_string_append_printf(out, "/>\n%s  </auth>\n", indent);
}

void source_append_volume(GString *out, const struct source *source, const char *attributes)
{
	g_string_append(out, "<source");
	append_attribute(out, "pool", source->pool);
	append_attribute(out, "volume", source->volume);
	append_attribute(out, "mode", source->volume_mode);
	g_string_append_printf(out, "%s/>", attributes ? attributes : "");
}

void source_append_xml(GString *out, const struct source *source, const char *indent,
		       const char *attributes, const char *children)
{
	gboolean network = source->type == SOURCE_NFS || source->type == SOURCE_ISCSI;
	gsize opened;

	g_string_append(out, "<source");
	if (network) {
		append_attribute(out, "protocol", source->type == SOURCE_NFS ? "nfs" : "iscsi");
		append_attribute(out, "name", source->path);
	} else {
		append_attribute(out, source->type == SOURCE_BLOCK ? "dev" : "file", source->path);
	}
	g_string_append(out, attributes ? attributes : "");
	opened = out->len;
	g_string_append(out, ">\n");
	if (network)
		append_host(out, source, indent);
	append_initiator(out, source, indent);
	append_slice(out, source, indent);
	append_identity(out, source, indent);
	append_auth(out, source, indent);
	g_string_append(out, children ? children : "");
	if (out->len == opened + 2) {
		g_string_truncate(out, opened);
		g_string_append(out, "/>");
	} else {
		g_string_append_printf(out, "%s</source>", indent);
	}
}
