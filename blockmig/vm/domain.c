#include "blockmig/vm/domain.h"

#include "blockmig/vm/source.h"
#include "blockmig/vm/xml_text.h"
#include "common/error.h"

#include <libxml/xpath.h>
#include <string.h>

static void residue_free(gpointer data)
{
	struct domain_residue *residue = data;

	g_free(residue->path);
	g_free(residue);
}

static void disk_free(gpointer data)
{
	struct disk *disk = data;

	g_free(disk->target);
	g_free(disk->device);
	g_free(disk->bus);
	g_free(disk->serial);
	g_ptr_array_unref(disk->layers);
	g_free(disk->mirror.job);
	g_free(disk->mirror.ready);
	source_clear(&disk->mirror.to.source);
	g_free(disk->mirror.to.format);
	g_free(disk);
}

void domain_free(struct domain *domain)
{
	g_free(domain->name);
	g_free(domain->uuid);
	g_ptr_array_unref(domain->disks);
	g_ptr_array_unref(domain->residue);
	g_free(domain->metadata);
	g_free(domain->dac_label);
	g_free(domain);
}

struct disk *domain_disk(const struct domain *domain, const char *target)
{
	for (guint i = 0; i < domain->disks->len; i++) {
		struct disk *disk = g_ptr_array_index(domain->disks, i);

		if (g_strcmp0(disk->target, target) == 0)
			return disk;
	}
	return NULL;
}

struct layer *disk_layer(const struct disk *disk, guint position)
{
	return position < disk->layers->len ? g_ptr_array_index(disk->layers, position) : NULL;
}

/* ---- disks ---------------------------------------------------------------------- */

/* libvirt's id of the node stands on the <source> or on the <backingStore>. */
static guint read_index(const xmlNode *holder)
{
	guint64 index = xml_attribute_number(xml_child(holder, "source"), "index");

	return (guint)(index ? index : xml_attribute_number(holder, "index"));
}

static void read_layer(const xmlNode *holder, struct layer *layer)
{
	source_read_xml(holder, &layer->source);
	layer->format = xml_attribute(xml_child(holder, "format"), "type");
	layer->index = read_index(holder);
}

/* The <backingStore> elements inside @holder, down to the end or the terminator. */
static void read_chain(const xmlNode *holder, struct disk *disk)
{
	const xmlNode *backing = xml_child(holder, "backingStore");

	while (backing && xml_child(backing, "source")) {
		struct layer *layer = g_new0(struct layer, 1);

		read_layer(backing, layer);
		g_ptr_array_add(disk->layers, layer);
		backing = xml_child(backing, "backingStore");
	}
	disk->chain_complete = backing != NULL;
}

static void read_mirror(const xmlNode *element, struct mirror *mirror)
{
	if (!element)
		return;
	mirror->present = TRUE;
	mirror->job = xml_attribute(element, "job");
	mirror->ready = xml_attribute(element, "ready");
	if (!mirror->ready)
		mirror->ready = g_strdup("");
	read_layer(element, &mirror->to);
}

static struct disk *read_disk(const xmlNode *element)
{
	struct disk *disk = g_new0(struct disk, 1);
	struct layer *active = g_new0(struct layer, 1);
	const xmlNode *target = xml_child(element, "target");

	disk->layers = g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);
	disk->target = xml_attribute(target, "dev");
	if (!disk->target)
		disk->target = g_strdup("");
	disk->bus = xml_attribute(target, "bus");
	disk->device = xml_attribute(element, "device");
	if (!disk->device)
		disk->device = g_strdup("disk");
	disk->serial =
		xml_child(element, "serial") ? xml_content(xml_child(element, "serial")) : NULL;
	disk->readonly = xml_child(element, "readonly") != NULL;
	disk->shareable = xml_child(element, "shareable") != NULL;
	disk->transient = xml_child(element, "transient") != NULL;
	disk->has_throttle = xml_child(element, "iotune") != NULL;
	disk->vhost_user = xml_attribute_is(element, "type", "vhostuser");

	source_read_xml(element, &active->source);
	active->format = xml_attribute(xml_child(element, "driver"), "type");
	active->index = read_index(element);
	g_ptr_array_add(disk->layers, active);
	read_chain(element, disk);
	read_mirror(xml_child(element, "mirror"), &disk->mirror);
	return disk;
}

static void read_disks(const xmlNode *root, struct domain *domain)
{
	const xmlNode *disk = xml_child(xml_child(root, "devices"), "disk");

	for (; disk; disk = xml_next(disk, "disk"))
		g_ptr_array_add(domain->disks, read_disk(disk));
}

/* ---- what is not a disk ------------------------------------------------------------ */

/* Where a domain names files and folders that a move of its disks leaves behind. */
static const struct {
	enum residue_kind kind;
	const char *path;
} residue_paths[] = {
	{RESIDUE_BOOT, "/domain/os/loader/text()"},
	{RESIDUE_NVRAM, "/domain/os/nvram/text()"},
	{RESIDUE_NVRAM, "/domain/os/nvram/source/@file"},
	{RESIDUE_NVRAM, "/domain/os/nvram/source/@dev"},
	{RESIDUE_BOOT, "/domain/os/kernel/text()"},
	{RESIDUE_BOOT, "/domain/os/initrd/text()"},
	{RESIDUE_BOOT, "/domain/os/dtb/text()"},
	{RESIDUE_TPM, "/domain/devices/tpm/backend/source/@path"},
	{RESIDUE_OTHER, "/domain/devices/filesystem/source/@dir"},
	{RESIDUE_OTHER, "//devices/*[self::serial or self::parallel or self::console]"
			"[@type='file']/source/@path"},
	{RESIDUE_OTHER, "/domain/devices/*/log/@file"},
};

static gboolean same_residue(gconstpointer residue, gconstpointer path)
{
	return g_str_equal(((const struct domain_residue *)residue)->path, path);
}

static void add_residue(struct domain *domain, enum residue_kind kind, const char *text)
{
	g_autofree char *path = g_strstrip(g_strdup(text));
	struct domain_residue *residue;

	if (!*path || g_ptr_array_find_with_equal_func(domain->residue, path, same_residue, NULL))
		return;
	residue = g_new0(struct domain_residue, 1);
	residue->kind = kind;
	residue->path = g_steal_pointer(&path);
	g_ptr_array_add(domain->residue, residue);
}

static void read_residue(const struct xml_text *xml, struct domain *domain)
{
	xmlXPathContext *context = xmlXPathNewContext(xml->doc);
	const xmlNode *tpm = xml_child(xml_child(xml_text_root(xml), "devices"), "tpm");

	for (guint i = 0; i < G_N_ELEMENTS(residue_paths); i++) {
		xmlXPathObject *found =
			xmlXPathEvalExpression((const xmlChar *)residue_paths[i].path, context);

		for (int n = 0; found && n < xmlXPathNodeSetGetLength(found->nodesetval); n++) {
			g_autofree char *text = xml_content(found->nodesetval->nodeTab[n]);

			add_residue(domain, residue_paths[i].kind, text);
		}
		xmlXPathFreeObject(found);
	}
	xmlXPathFreeContext(context);
	/* swtpm's state has no name in the XML: libvirt puts it here. */
	if (xml_attribute_is(xml_child(tpm, "backend"), "type", "emulator")) {
		g_autofree char *state = g_strconcat("/var/lib/libvirt/swtpm/", domain->uuid, NULL);

		add_residue(domain, RESIDUE_TPM, state);
	}
}

static void read_labels(const xmlNode *root, struct domain *domain)
{
	const xmlNode *label = xml_child(root, "seclabel");

	for (; label; label = xml_next(label, "seclabel")) {
		if (xml_attribute_is(label, "type", "none"))
			continue;
		if (xml_attribute_is(label, "model", "apparmor"))
			domain->apparmor = TRUE;
		if (xml_attribute_is(label, "model", "dac") && xml_child(label, "label") &&
		    !domain->dac_label)
			domain->dac_label = xml_content(xml_child(label, "label"));
	}
}

static void read_priority(const xmlNode *element, struct domain *domain)
{
	g_autofree char *text = xml_attribute(element, "priority");
	gint64 number;

	if (!text || !g_ascii_string_to_signed(text, 10, -1000, 1000, &number, NULL))
		return;
	domain->has_priority = TRUE;
	domain->priority = (int)number;
}

static void read_metadata(const struct xml_text *xml, struct domain *domain)
{
	const xmlNode *metadata = xml_child(xml_text_root(xml), "metadata");
	xmlNode *element = metadata ? xmlFirstElementChild((xmlNode *)metadata) : NULL;

	for (; element; element = xmlNextElementSibling(element)) {
		const struct xml_span *span = xml_text_span(xml, element);

		const char *uri = element->ns ? (const char *)element->ns->href : "";

		if (strcmp(uri, XML_METADATA_URI) == 0 && !domain->metadata)
			domain->metadata =
				g_strndup(xml->text + span->start, span->end - span->start);
		else if (strcmp(uri, XML_EVACUATE_URI) == 0)
			read_priority(element, domain);
	}
}

static char *text_attribute(const xmlNode *element, const char *name)
{
	char *value = xml_attribute(element, name);

	return value ? value : g_strdup("");
}

struct metadata *metadata_parse(const char *element, GError **error)
{
	AUTO(xml_text) xml = xml_text_parse(element, error);
	const xmlNode *root = xml ? xml_text_root(xml) : NULL;
	struct metadata *metadata;

	if (!root)
		return NULL;
	metadata = g_new0(struct metadata, 1);
	metadata->job = (gint64)MIN(xml_attribute_number(root, "id"), G_MAXINT64);
	metadata->disk = text_attribute(root, "disk");
	metadata->nonce = text_attribute(root, "nonce");
	metadata->source = text_attribute(root, "source");
	metadata->destination = text_attribute(root, "destination");
	metadata->detail = text_attribute(root, "detail");
	return metadata;
}

void metadata_free(struct metadata *metadata)
{
	g_free(metadata->disk);
	g_free(metadata->nonce);
	g_free(metadata->source);
	g_free(metadata->destination);
	g_free(metadata->detail);
	g_free(metadata);
}

struct domain *domain_parse(const char *text, GError **error)
{
	AUTO(xml_text) xml = xml_text_parse(text, error);
	xmlNode *root = xml ? xml_text_root(xml) : NULL;
	struct domain *domain;

	if (!xml)
		return NULL;
	if (strcmp((const char *)root->name, "domain") != 0 || !xml_child(root, "name")) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "this is not a domain's XML: its outermost element is <%s>%s",
			    (const char *)root->name,
			    xml_child(root, "name") ? "" : " without <name>");
		return NULL;
	}
	domain = g_new0(struct domain, 1);
	domain->disks = g_ptr_array_new_with_free_func(disk_free);
	domain->residue = g_ptr_array_new_with_free_func(residue_free);
	domain->name = xml_content(xml_child(root, "name"));
	domain->uuid = xml_content(xml_child(root, "uuid"));
	read_disks(root, domain);
	read_residue(xml, domain);
	read_labels(root, domain);
	read_metadata(xml, domain);
	return domain;
}

/* ---- snapshots ---------------------------------------------------------------------- */

/* Of <disk> elements, and of <memory file=…>. */
static void add_snapshot_source(GPtrArray *sources, const xmlNode *element)
{
	g_autofree char *memory = xml_attribute(element, "file");
	AUTO(source) source = source_new(memory ? SOURCE_FILE : SOURCE_NONE, memory);

	if (!memory) {
		source_clear(source);
		source_read_xml(element, source);
	}
	if (source->type != SOURCE_NONE)
		g_ptr_array_add(sources, g_steal_pointer(&source));
}

GPtrArray *domain_snapshot_sources(const char *text, GError **error)
{
	AUTO(xml_text) xml = xml_text_parse(text, error);
	GPtrArray *sources;
	xmlXPathContext *context;
	xmlXPathObject *found;

	if (!xml)
		return NULL;
	sources = g_ptr_array_new_with_free_func((GDestroyNotify)source_free);
	context = xmlXPathNewContext(xml->doc);
	found = xmlXPathEvalExpression((const xmlChar *)"//disk | //memory[@file]", context);
	for (int n = 0; found && n < xmlXPathNodeSetGetLength(found->nodesetval); n++)
		add_snapshot_source(sources, found->nodesetval->nodeTab[n]);
	xmlXPathFreeObject(found);
	xmlXPathFreeContext(context);
	return sources;
}
