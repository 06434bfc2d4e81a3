#include "blockmig/vm/source.h"

#include "common/error.h"

#include <string.h>

/* ---- life --------------------------------------------------------------------- */

struct source *source_new(enum source_type type, const char *path)
{
	struct source *source = g_new0(struct source, 1);

	source->type = type;
	source->path = g_strdup(path);
	source->uid = source->gid = -1;
	return source;
}

void source_assign(struct source *to, const struct source *from)
{
	*to = *from;
	to->path = g_strdup(from->path);
	to->host = g_strdup(from->host);
	to->initiator = g_strdup(from->initiator);
	to->auth_user = g_strdup(from->auth_user);
	to->auth_secret_usage = g_strdup(from->auth_secret_usage);
	to->auth_secret_uuid = g_strdup(from->auth_secret_uuid);
	to->other = g_strdup(from->other);
	to->pool = g_strdup(from->pool);
	to->volume = g_strdup(from->volume);
	to->volume_mode = g_strdup(from->volume_mode);
}

void source_clear(struct source *source)
{
	g_clear_pointer(&source->path, g_free);
	g_clear_pointer(&source->host, g_free);
	g_clear_pointer(&source->initiator, g_free);
	g_clear_pointer(&source->auth_user, g_free);
	g_clear_pointer(&source->auth_secret_usage, g_free);
	g_clear_pointer(&source->auth_secret_uuid, g_free);
	g_clear_pointer(&source->other, g_free);
	g_clear_pointer(&source->pool, g_free);
	g_clear_pointer(&source->volume, g_free);
	g_clear_pointer(&source->volume_mode, g_free);
}

struct source *source_copy(const struct source *source)
{
	struct source *copy = g_new(struct source, 1);

	source_assign(copy, source);
	return copy;
}

void source_free(struct source *source)
{
	source_clear(source);
	g_free(source);
}

struct layer *layer_new(const struct source *source, const char *format)
{
	struct layer *layer = g_new0(struct layer, 1);

	source_assign(&layer->source, source);
	layer->format = g_strdup(format);
	return layer;
}

struct layer *layer_copy(const struct layer *layer)
{
	struct layer *copy = layer_new(&layer->source, layer->format);

	copy->index = layer->index;
	return copy;
}

void layer_free(struct layer *layer)
{
	source_clear(&layer->source);
	g_free(layer->format);
	g_free(layer);
}

/* ---- questions ---------------------------------------------------------------- */

gboolean source_equal(const struct source *a, const struct source *b)
{
	return a->type == b->type && a->port == b->port && a->uid == b->uid && a->gid == b->gid &&
	       g_strcmp0(a->path, b->path) == 0 && g_strcmp0(a->host, b->host) == 0 &&
	       g_strcmp0(a->initiator, b->initiator) == 0 &&
	       g_strcmp0(a->auth_user, b->auth_user) == 0 &&
	       g_strcmp0(a->auth_secret_usage, b->auth_secret_usage) == 0 &&
	       g_strcmp0(a->auth_secret_uuid, b->auth_secret_uuid) == 0 &&
	       g_strcmp0(a->other, b->other) == 0;
}

gboolean source_is_volume(const struct source *source)
{
	return source->pool && source->volume && !source->slice_bytes;
}

gboolean source_iscsi_split(const struct source *source, char **target, int *lun)
{
	const char *slash = source->path ? strrchr(source->path, '/') : NULL;
	guint64 number;

	if (!slash || !g_ascii_string_to_unsigned(slash + 1, 10, 0, 16383, &number, NULL))
		return FALSE;
	*target = g_strndup(source->path, (gsize)(slash - source->path));
	*lun = (int)number;
	return TRUE;
}

static char *host_text(const struct source *source)
{
	GString *text = g_string_new(source->host);

	if (strchr(text->str, ':')) {
		g_string_prepend_c(text, '[');
		g_string_append_c(text, ']');
	}
	if (source->port)
		g_string_append_printf(text, ":%d", source->port);
	return g_string_free(text, FALSE);
}

char *source_text(const struct source *source)
{
	g_autofree char *host = host_text(source);

	switch (source->type) {
	case SOURCE_NONE:
		return g_strdup("(no image)");
	case SOURCE_FILE:
	case SOURCE_BLOCK:
		return g_strdup(source->path);
	case SOURCE_NFS:
		return g_strdup_printf("nfs://%s%s", host, source->path);
	case SOURCE_ISCSI:
		return g_strdup_printf("iscsi://%s/%s", host, source->path);
	case SOURCE_OTHER:
		break;
	}
	return g_strdup(source->other);
}

/* ---- the job's document --------------------------------------------------------- */

static const char *const type_names[] = {
	[SOURCE_NONE] = "none", [SOURCE_FILE] = "file",	  [SOURCE_BLOCK] = "block",
	[SOURCE_NFS] = "nfs",	[SOURCE_ISCSI] = "iscsi", [SOURCE_OTHER] = "other",
};

/* The members of struct source that are strings, by their names in the document. */
static const struct {
	const char *name;
	gsize offset;
} string_members[] = {
	{"path", G_STRUCT_OFFSET(struct source, path)},
	{"host", G_STRUCT_OFFSET(struct source, host)},
	{"initiator", G_STRUCT_OFFSET(struct source, initiator)},
	{"auth_user", G_STRUCT_OFFSET(struct source, auth_user)},
	{"auth_secret_usage", G_STRUCT_OFFSET(struct source, auth_secret_usage)},
	{"auth_secret_uuid", G_STRUCT_OFFSET(struct source, auth_secret_uuid)},
	{"other", G_STRUCT_OFFSET(struct source, other)},
	{"pool", G_STRUCT_OFFSET(struct source, pool)},
	{"volume", G_STRUCT_OFFSET(struct source, volume)},
	{"volume_mode", G_STRUCT_OFFSET(struct source, volume_mode)},
};

char *source_to_json(const struct source *source)
{
	json_t *document = json_pack("{ss si si si sI sI}", "type", type_names[source->type],
				     "port", source->port, "uid", source->uid, "gid", source->gid,
				     "slice_bytes", (json_int_t)source->slice_bytes, "slice_offset",
				     (json_int_t)source->slice_offset);
	char *dumped, *text;

	for (guint i = 0; i < G_N_ELEMENTS(string_members); i++) {
		const char *value =
			G_STRUCT_MEMBER(char *, source, (glong)string_members[i].offset);

		if (value)
			json_object_set_new(document, string_members[i].name,
					    json_string_nocheck(value));
	}
	dumped = json_dumps(document, JSON_COMPACT);
	json_decref(document);
	text = g_strdup(dumped);
	free(dumped);
	return text;
}

struct source *source_from_json(const char *json, GError **error)
{
	AUTO(source) source = source_new(SOURCE_NONE, NULL);
	json_error_t cause;
	json_t *document = json_loads(json, 0, &cause);
	const char *type = json_string_value(json_object_get(document, "type"));
	guint kind = 0;

	while (kind < G_N_ELEMENTS(type_names) && g_strcmp0(type, type_names[kind]) != 0)
		kind++;
	if (kind == G_N_ELEMENTS(type_names)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "the ledger's description of an image cannot be read: %s",
			    document ? "its type is unknown" : cause.text);
		json_decref(document);
		return NULL;
	}
	source->type = (enum source_type)kind;
	source->port = (int)json_integer_value(json_object_get(document, "port"));
	source->uid = (int)json_integer_value(json_object_get(document, "uid"));
	source->gid = (int)json_integer_value(json_object_get(document, "gid"));
	source->slice_bytes = (guint64)json_integer_value(json_object_get(document, "slice_bytes"));
	source->slice_offset =
		(guint64)json_integer_value(json_object_get(document, "slice_offset"));
	for (guint i = 0; i < G_N_ELEMENTS(string_members); i++)
		G_STRUCT_MEMBER(char *, source, (glong)string_members[i].offset) = g_strdup(
			json_string_value(json_object_get(document, string_members[i].name)));
	json_decref(document);
	return g_steal_pointer(&source);
}
