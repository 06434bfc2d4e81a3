#include "blockmig/move/job.h"

#include "blockmig/copy/qcow2.h"
#include "common/error.h"

#include <jansson.h>
#include <stddef.h>

enum field_type { FIELD_TEXT, FIELD_U64, FIELD_INT, FIELD_BOOL, FIELD_LAYER };

struct field {
	const char *name;
	enum field_type type;
	size_t offset;
	gboolean brief; /* in the domain's metadata, too */
};

#define FIELD(type, member)                                                                        \
	{                                                                                          \
#member, type, offsetof(struct job, member), FALSE                                 \
	}
#define BRIEF(type, member)                                                                        \
	{                                                                                          \
#member, type, offsetof(struct job, member), TRUE                                  \
	}

static const struct field fields[] = {
	FIELD(FIELD_TEXT, domain_uuid),
	FIELD(FIELD_TEXT, domain_name),
	FIELD(FIELD_TEXT, disk),
	FIELD(FIELD_TEXT, nonce),
	BRIEF(FIELD_U64, number),
	BRIEF(FIELD_TEXT, host),
	BRIEF(FIELD_TEXT, state_folder),
	FIELD(FIELD_BOOL, adopted),
	FIELD(FIELD_TEXT, options.format),
	FIELD(FIELD_TEXT, options.from_format),
	FIELD(FIELD_TEXT, options.scratch),
	FIELD(FIELD_U64, options.bwlimit),
	FIELD(FIELD_U64, options.chunk_bytes),
	FIELD(FIELD_INT, options.workers),
	FIELD(FIELD_U64, options.max_downtime_ms),
	FIELD(FIELD_U64, options.retry_for_ms),
	FIELD(FIELD_INT, options.on_failure),
	FIELD(FIELD_INT, options.converge),
	FIELD(FIELD_BOOL, options.verify),
	FIELD(FIELD_BOOL, options.delete_source),
	FIELD(FIELD_BOOL, options.overwrite),
	FIELD(FIELD_BOOL, options.quiesce),
	FIELD(FIELD_BOOL, options.keep_partial),
	BRIEF(FIELD_TEXT, source_url),
	BRIEF(FIELD_LAYER, source),
	BRIEF(FIELD_TEXT, source_identity),
	BRIEF(FIELD_TEXT, disk_element),
	BRIEF(FIELD_U64, virtual_bytes),
	FIELD(FIELD_BOOL, through_qemu),
	BRIEF(FIELD_INT, shape),
	BRIEF(FIELD_U64, content_bytes),
	BRIEF(FIELD_U64, data_offset),
	FIELD(FIELD_BOOL, laid_out),
	BRIEF(FIELD_TEXT, destination_url),
	BRIEF(FIELD_LAYER, destination),
	BRIEF(FIELD_TEXT, destination_identity),
	BRIEF(FIELD_BOOL, destination_made),
	FIELD(FIELD_BOOL, destination_begun),
	FIELD(FIELD_BOOL, destination_fresh),
	FIELD(FIELD_U64, kept_ns),
	FIELD(FIELD_U64, taken_over),
	FIELD(FIELD_INT, qemu_uid),
	FIELD(FIELD_INT, qemu_gid),
	BRIEF(FIELD_TEXT, overlay_folder),
	BRIEF(FIELD_BOOL, overlay_beside),
	BRIEF(FIELD_TEXT, destination_overlay),
	FIELD(FIELD_INT, rounds),
	BRIEF(FIELD_U64, pace_bytes),
	BRIEF(FIELD_U64, pace_before_bytes),
	BRIEF(FIELD_INT, pace_guest),
	FIELD(FIELD_BOOL, pace_given_up),
	BRIEF(FIELD_U64, limits.total),
	BRIEF(FIELD_U64, limits.read),
	BRIEF(FIELD_U64, limits.write),
	BRIEF(FIELD_U64, limits.total_burst),
	BRIEF(FIELD_U64, limits.read_burst),
	BRIEF(FIELD_U64, limits.write_burst),
	BRIEF(FIELD_U64, limits.total_burst_s),
	BRIEF(FIELD_U64, limits.read_burst_s),
	BRIEF(FIELD_U64, limits.write_burst_s),
	BRIEF(FIELD_INT, return_to),
	BRIEF(FIELD_BOOL, suspended),
	FIELD(FIELD_BOOL, awaited),
	FIELD(FIELD_BOOL, restoring),
	FIELD(FIELD_BOOL, grafted),
	BRIEF(FIELD_BOOL, cut_over),
	BRIEF(FIELD_BOOL, going_back),
	BRIEF(FIELD_BOOL, finished_cold),
	BRIEF(FIELD_U64, suspended_us),
	FIELD(FIELD_U64, suspended_at_s),
	FIELD(FIELD_TEXT, wrong_sha256),
	FIELD(FIELD_U64, downtime_ms),
	FIELD(FIELD_U64, totals.bytes_total),
	FIELD(FIELD_U64, totals.bytes_data),
	FIELD(FIELD_U64, totals.bytes_sent),
	FIELD(FIELD_U64, totals.bytes_resent),
	FIELD(FIELD_U64, totals.bytes_skipped),
	FIELD(FIELD_U64, totals.units_total),
	FIELD(FIELD_U64, totals.units_proven),
	FIELD(FIELD_U64, totals.mismatches),
	FIELD(FIELD_U64, partial.bytes_total),
	FIELD(FIELD_U64, partial.bytes_data),
	FIELD(FIELD_U64, partial.bytes_skipped),
	FIELD(FIELD_U64, partial.units_total),
	FIELD(FIELD_U64, partial.units_proven),
	FIELD(FIELD_U64, stamp_us),
	FIELD(FIELD_U64, stamp_bytes),
	FIELD(FIELD_INT, failure),
	FIELD(FIELD_TEXT, sha256),
	FIELD(FIELD_TEXT, guarantee),
};

G_STATIC_ASSERT(sizeof(enum on_failure) == sizeof(int));
G_STATIC_ASSERT(sizeof(enum converge_policy) == sizeof(int));
G_STATIC_ASSERT(sizeof(enum job_shape) == sizeof(int));
G_STATIC_ASSERT(sizeof(enum disk_state) == sizeof(int));

static void *member(const struct job *job, const struct field *field)
{
	return (char *)job + field->offset;
}

static void overlay_free(void *pointer)
{
	struct overlay *overlay = pointer;

	g_free(overlay->path);
	g_free(overlay->landed);
	g_free(overlay);
}

struct job *job_new(void)
{
	struct job *job = g_new0(struct job, 1);

	move_options_init(&job->options);
	job->overlays = g_ptr_array_new_with_free_func(overlay_free);
	job->qemu_uid = job->qemu_gid = -1;
	job->downtime_ms = -1;
	return job;
}

void job_free(struct job *job)
{
	for (guint i = 0; i < G_N_ELEMENTS(fields); i++) {
		void *value = member(job, &fields[i]);

		if (fields[i].type == FIELD_TEXT)
			g_free(*(char **)value);
		else if (fields[i].type == FIELD_LAYER && *(struct layer **)value)
			layer_free(*(struct layer **)value);
	}
	g_ptr_array_unref(job->overlays);
	g_free(job);
}

static json_t *layer_to_json(const struct layer *layer)
{
	if (!layer)
		return json_null();
	g_autofree char *source = source_to_json(&layer->source);

	return json_pack("{s:s, s:s?}", "source", source, "format", layer->format);
}

static json_t *field_to_json(const struct job *job, const struct field *field)
{
	const void *value = member(job, field);

	switch (field->type) {
	case FIELD_TEXT:
		return *(char *const *)value ? json_string(*(char *const *)value) : json_null();
	case FIELD_U64:
		return json_integer((json_int_t) * (const guint64 *)value);
	case FIELD_INT:
		return json_integer(*(const int *)value);
	case FIELD_BOOL:
		return json_boolean(*(const gboolean *)value);
	case FIELD_LAYER:
		return layer_to_json(*(struct layer *const *)value);
	}
	g_assert_not_reached();
}

/* Takes @root over; the caller frees the text. */
static char *dump(json_t *root)
{
	char *text = json_dumps(root, JSON_COMPACT);
	char *copy = g_strdup(text);

	free(text);
	json_decref(root);
	return copy;
}

char *job_to_json(const struct job *job)
{
	json_t *root = json_object();
	json_t *overlays = json_array();

	for (guint i = 0; i < G_N_ELEMENTS(fields); i++)
		json_object_set_new(root, fields[i].name, field_to_json(job, &fields[i]));
	for (guint i = 0; i < job->overlays->len; i++) {
		const struct overlay *overlay = job_overlay(job, i);

		json_array_append_new(overlays,
				      json_pack("{s:s, s:s?, s:b}", "path", overlay->path, "landed",
						overlay->landed, "copied", overlay->copied));
	}
	json_object_set_new(root, "overlays", overlays);
	return dump(root);
}

/* What a job has from the start and reads as if it were missing. */
static gboolean is_plain(const json_t *value)
{
	return json_is_null(value) || json_is_false(value) ||
	       (json_is_integer(value) && json_integer_value(value) == 0);
}

char *job_to_brief(const struct job *job)
{
	json_t *root = json_object();

	for (guint i = 0; i < G_N_ELEMENTS(fields); i++) {
		json_t *value = fields[i].brief ? field_to_json(job, &fields[i]) : NULL;

		if (value && !is_plain(value))
			json_object_set(root, fields[i].name, value);
		json_decref(value);
	}
	return dump(root);
}

static struct layer *layer_from_json(const json_t *value, GError **error)
{
	AUTO(source) source =
		source_from_json(json_string_value(json_object_get(value, "source")), error);

	if (!source)
		return NULL;
	return layer_new(source, json_string_value(json_object_get(value, "format")));
}

static gboolean field_from_json(struct job *job, const struct field *field, const json_t *value,
				GError **error)
{
	void *place = member(job, field);

	if (!value || json_is_null(value))
		return TRUE;
	switch (field->type) {
	case FIELD_TEXT:
		g_free(*(char **)place);
		*(char **)place = g_strdup(json_string_value(value));
		break;
	case FIELD_U64:
		*(guint64 *)place = (guint64)json_integer_value(value);
		break;
	case FIELD_INT:
		*(int *)place = (int)json_integer_value(value);
		break;
	case FIELD_BOOL:
		*(gboolean *)place = json_is_true(value);
		break;
	case FIELD_LAYER:
		*(struct layer **)place = layer_from_json(value, error);
		return *(struct layer **)place != NULL;
	}
	return TRUE;
}

static gboolean overlay_from_json(struct job *job, const json_t *item, GError **error)
{
	const char *path = json_string_value(json_object_get(item, "path"));
	struct overlay *overlay;

	if (!path) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "the ledger's document of the job has an overlay without a path");
		return FALSE;
	}
	overlay = job_add_overlay(job, path);
	overlay->landed = g_strdup(json_string_value(json_object_get(item, "landed")));
	overlay->copied = json_is_true(json_object_get(item, "copied"));
	return TRUE;
}

static gboolean require_both_ends(const struct job *job, GError **error)
{
	if (job->source && job->source_url && job->destination && job->destination_url)
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "the ledger's document of the job does not tell its source or its destination");
	return FALSE;
}

struct job *job_from_json(const char *text, GError **error)
{
	json_error_t problem;
	json_t *root = json_loads(text, 0, &problem);
	struct job *job = job_new();
	gboolean good = json_is_object(root);
	size_t i;
	const json_t *item;

	if (!good)
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "the ledger's document of the job cannot be read: %s", problem.text);
	for (guint f = 0; good && f < G_N_ELEMENTS(fields); f++)
		good = field_from_json(job, &fields[f], json_object_get(root, fields[f].name),
				       error);
	json_array_foreach (json_object_get(root, "overlays"), i, item)
		good = good && overlay_from_json(job, item, error);
	good = good && require_both_ends(job, error);
	json_decref(root);
	if (!good)
		g_clear_pointer(&job, job_free);
	return job;
}

guint64 job_destination_bytes(const struct job *job)
{
	if (job->data_offset)
		return qcow2_file_bytes(job->virtual_bytes);
	return job->shape == SHAPE_APPEND ? job->content_bytes : job->virtual_bytes;
}

struct overlay *job_add_overlay(struct job *job, const char *path)
{
	struct overlay *overlay = g_new0(struct overlay, 1);

	overlay->path = g_strdup(path);
	g_ptr_array_add(job->overlays, overlay);
	return overlay;
}

struct overlay *job_overlay(const struct job *job, guint index)
{
	return g_ptr_array_index(job->overlays, index);
}

struct overlay *job_active_overlay(const struct job *job)
{
	return job->overlays->len ? job_overlay(job, job->overlays->len - 1) : NULL;
}

static GPtrArray *chain_new(void)
{
	return g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);
}

static struct layer *file_layer(const char *path)
{
	struct source source = {.type = SOURCE_FILE, .path = (char *)path, .uid = -1, .gid = -1};

	return layer_new(&source, "qcow2");
}

GPtrArray *job_source_chain(const struct job *job, guint count)
{
	GPtrArray *chain = chain_new();

	for (guint i = count; i-- > 0;)
		g_ptr_array_add(chain, file_layer(job_overlay(job, i)->path));
	g_ptr_array_add(chain, layer_copy(job->source));
	return chain;
}

/* Where a round's file lies: beside the destination's first layer. */
static struct layer *landed_layer(const struct job *job, const char *name)
{
	struct layer *layer = layer_copy(job->destination);
	g_autofree char *folder = g_path_get_dirname(job->destination->source.path);

	g_free(layer->source.path);
	layer->source.path = g_build_filename(folder, name, NULL);
	g_free(layer->format);
	layer->format = g_strdup("qcow2");
	return layer;
}

GPtrArray *job_destination_chain(const struct job *job, gboolean overlay)
{
	GPtrArray *chain = chain_new();

	if (overlay && job->destination_overlay)
		g_ptr_array_add(chain, file_layer(job->destination_overlay));
	for (guint i = job->overlays->len; i-- > 0;) {
		const struct overlay *round = job_overlay(job, i);

		if (round->landed && round->copied)
			g_ptr_array_add(chain, landed_layer(job, round->landed));
	}
	g_ptr_array_add(chain, layer_copy(job->destination));
	return chain;
}
