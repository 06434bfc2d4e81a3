#include "tests/faked/guest.h"

#include "blockmig/vm/source.h"
#include "common/error.h"

#include <check.h>
#include <string.h>

#define GROUP "domain"

static char *file_of(const char *uuid)
{
	g_autofree char *name = g_strconcat("libvirt/", uuid, NULL);

	return fake_path(name);
}

struct guest *guest_new(const char *uuid)
{
	struct guest *guest = g_new0(struct guest, 1);

	guest->uuid = g_strdup(uuid);
	guest->file = g_key_file_new();
	return guest;
}

struct guest *guest_load(const char *uuid, GError **error)
{
	g_autofree char *path = file_of(uuid);
	AUTO(guest) guest = guest_new(uuid);

	if (g_key_file_load_from_file(guest->file, path, G_KEY_FILE_NONE, NULL))
		return g_steal_pointer(&guest);
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_NOT_FOUND,
		    "Domain not found: no domain with matching uuid '%s'", uuid);
	return NULL;
}

void guest_save(struct guest *guest)
{
	g_autofree char *path = file_of(guest->uuid);

	ck_assert(g_key_file_save_to_file(guest->file, path, NULL));
}

void guest_free(struct guest *guest)
{
	g_key_file_unref(guest->file);
	g_free(guest->uuid);
	g_free(guest);
}

int guest_get(const struct guest *guest, const char *key)
{
	return g_key_file_get_integer(guest->file, GROUP, key, NULL);
}

void guest_set(struct guest *guest, const char *key, int value)
{
	g_key_file_set_integer(guest->file, GROUP, key, value);
}

char *guest_text(const struct guest *guest, const char *key)
{
	char *text = g_key_file_get_string(guest->file, GROUP, key, NULL);

	return text ? text : g_strdup("");
}

void guest_set_text(struct guest *guest, const char *key, const char *text)
{
	g_key_file_set_string(guest->file, GROUP, key, text);
}

struct block_limits guest_limits(const struct guest *guest)
{
	g_autofree char *text = guest_text(guest, "limits");
	gsize bytes = 0;
	g_autofree guchar *data = g_base64_decode(text, &bytes);
	struct block_limits limits = {0};

	if (bytes == sizeof limits)
		memcpy(&limits, data, bytes);
	return limits;
}

void guest_set_limits(struct guest *guest, const struct block_limits *limits)
{
	g_autofree char *text = g_base64_encode((const guchar *)limits, sizeof *limits);

	guest_set_text(guest, "limits", text);
}

gboolean guest_is_off(const struct guest *guest)
{
	return guest_get(guest, "run") == RUN_OFF;
}

struct domain *guest_domain(const struct guest *guest, gboolean inactive)
{
	g_autofree char *xml =
		guest_text(guest, inactive || guest_is_off(guest) ? "inactive" : "live");
	g_autoptr(GError) error = NULL;
	struct domain *domain = domain_parse(xml, &error);

	ck_assert_msg(domain != NULL, "%s: %s", error ? error->message : "", xml);
	return domain;
}

/* ---- the disk of a running guest ---------------------------------------------------- */

GPtrArray *guest_chain_new(void)
{
	return g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);
}

GPtrArray *guest_chain_copy(GPtrArray *layers, guint from)
{
	GPtrArray *copy = guest_chain_new();

	for (guint i = from; i < layers->len; i++)
		g_ptr_array_add(copy, layer_copy(g_ptr_array_index(layers, i)));
	return copy;
}

static const char *type_of(const struct layer *layer)
{
	return layer->source.type == SOURCE_FILE    ? "file"
	       : layer->source.type == SOURCE_BLOCK ? "block"
						    : "network";
}

static void append_source(GString *out, const struct layer *layer, const char *indent)
{
	g_autofree char *index = g_strdup_printf(" index='%u'", layer->index);

	g_string_append(out, indent);
	source_append_xml(out, &layer->source, indent, index, NULL);
	g_string_append_c(out, '\n');
}

static void append_backing(GString *out, GPtrArray *layers, guint at, const char *indent)
{
	g_autofree char *deeper = g_strconcat(indent, "  ", NULL);

	if (at == layers->len) {
		g_string_append_printf(out, "%s<backingStore/>\n", indent);
		return;
	}
	const struct layer *layer = g_ptr_array_index(layers, at);

	g_string_append_printf(out, "%s<backingStore type='%s'>\n%s<format type='%s'/>\n", indent,
			       type_of(layer), deeper, layer->format);
	append_source(out, layer, deeper);
	append_backing(out, layers, at + 1, deeper);
	g_string_append_printf(out, "%s</backingStore>\n", indent);
}

static void append_mirror(GString *out, const char *job, const char *ready, GPtrArray *mirror)
{
	const struct layer *to = g_ptr_array_index(mirror, 0);

	g_string_append_printf(out, "      <mirror type='%s' job='%s'%s%s%s>\n", type_of(to), job,
			       *ready ? " ready='" : "", ready, *ready ? "'" : "");
	g_string_append_printf(out, "        <format type='%s'/>\n", to->format);
	append_source(out, to, "        ");
	if (strcmp(job, "copy") == 0)
		append_backing(out, mirror, 1, "        ");
	g_string_append(out, "      </mirror>\n");
}

static void number_layers(GPtrArray *layers, guint *next)
{
	for (guint i = 0; layers && i < layers->len; i++)
		*next = MAX(*next, ((struct layer *)g_ptr_array_index(layers, i))->index);
	for (guint i = 0; layers && i < layers->len; i++) {
		struct layer *layer = g_ptr_array_index(layers, i);

		if (!layer->index)
			layer->index = ++*next;
	}
}

void guest_set_live_disk(struct guest *guest, const char *target, GPtrArray *layers,
			 const char *job, const char *ready, GPtrArray *mirror)
{
	g_autofree char *live = guest_text(guest, "live");
	g_autoptr(GString) out = g_string_new(NULL);
	g_autoptr(GError) error = NULL;
	guint next = 0;

	number_layers(layers, &next);
	number_layers(mirror, &next);
	const struct layer *top = g_ptr_array_index(layers, 0);

	g_string_append_printf(out,
			       "<disk type='%s' device='disk'>\n"
			       "      <driver name='qemu' type='%s'/>\n",
			       type_of(top), top->format);
	append_source(out, top, "      ");
	append_backing(out, layers, 1, "      ");
	if (job)
		append_mirror(out, job, ready, mirror);
	g_string_append_printf(out,
			       "      <target dev='%s' bus='virtio'/>\n"
			       "      <alias name='virtio-disk0'/>\n"
			       "    </disk>",
			       target);
	g_autofree char *wanted = xml_replace_disk_element(live, target, out->str, &error);

	ck_assert_msg(wanted != NULL, "%s", error ? error->message : "");
	guest_set_text(guest, "live", wanted);
}

void guest_follow_inactive(struct guest *guest, const char *target, const struct source *was,
			   GPtrArray *layers)
{
	g_autofree char *inactive = guest_text(guest, "inactive");
	AUTO(domain) domain = guest_domain(guest, TRUE);
	const struct disk *disk = domain_disk(domain, target);

	if (!disk || !source_equal(&disk_layer(disk, 0)->source, was))
		return;
	g_autofree char *wanted = xml_with_disk(inactive, target, layers, TRUE, NULL);

	ck_assert_ptr_nonnull(wanted);
	guest_set_text(guest, "inactive", wanted);
}
