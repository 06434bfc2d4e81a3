/*
 * A domain's XML: the disk that an edit wrote is read back as that, and putting the old
 * element back gives the original, byte for byte.
 */
#include "blockmig/vm/domain.h"
#include "tests/fuzz/fuzz.h"

#include <libxml/xmlerror.h>

static GPtrArray *layers_new(guint count)
{
	GPtrArray *layers = g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);
	AUTO(source) nfs = source_new(SOURCE_NFS, "/export/a & b/<disk>.img");
	AUTO(source) file = source_new(SOURCE_FILE, "/images/it's \"new\".qcow2");

	nfs->host = g_strdup("filer");
	g_ptr_array_add(layers, layer_new(file, "qcow2"));
	if (count > 1)
		g_ptr_array_add(layers, layer_new(nfs, "raw"));
	return layers;
}

static void check_edit(const char *xml, const char *target, guint count)
{
	g_autoptr(GPtrArray) layers = layers_new(count);
	const struct layer *wanted = g_ptr_array_index(layers, 0);
	g_autofree char *element = xml_disk_element(xml, target, NULL);
	g_autofree char *edited = xml_with_disk(xml, target, layers, count > 1, NULL);

	if (!edited)
		return;
	fuzz_require(element != NULL);
	AUTO(domain) domain = domain_parse(edited, NULL);

	fuzz_require(domain != NULL);
	const struct disk *disk = domain_disk(domain, target);

	fuzz_require(disk != NULL && disk->layers->len == count);
	fuzz_require(source_equal(&disk_layer(disk, 0)->source, &wanted->source));
	fuzz_require(g_strcmp0(disk_layer(disk, 0)->format, wanted->format) == 0);

	g_autofree char *restored = xml_replace_disk_element(edited, target, element, NULL);

	fuzz_require(restored != NULL && g_str_equal(restored, xml));
}

static void check_metadata(const char *xml)
{
	g_autofree char *bare = xml_without_metadata(xml, NULL);
	g_autofree char *again = bare ? xml_without_metadata(bare, NULL) : NULL;

	fuzz_require(!bare || g_strcmp0(bare, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	g_autofree char *xml = fuzz_input_text(&input);
	AUTO(domain) domain = domain_parse(xml, NULL);

	if (!domain) {
		xmlResetLastError();
		return 0;
	}
	for (guint i = 0; i < domain->disks->len; i++) {
		const struct disk *disk = g_ptr_array_index(domain->disks, i);
		if (!disk->target || domain_disk(domain, disk->target) != disk)
			continue;
		check_edit(xml, disk->target, 1);
		check_edit(xml, disk->target, 2);
		g_free(xml_snapshot(domain, disk->target, "/o.qcow2"));
	}
	check_metadata(xml);
	xmlResetLastError();
	return 0;
}
