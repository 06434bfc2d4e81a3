/*
 * The XML documents that libvirt is given: made from nothing.  xml_edit.c changes
 * documents that libvirt gave us.
 */
#include "blockmig/vm/xml.h"

#include <string.h>

static void append_backing(GString *out, GPtrArray *layers, guint position, const char *indent,
			   gboolean terminate)
{
	g_autofree char *deeper = g_strconcat(indent, "  ", NULL);
	const struct layer *layer;

	if (position == layers->len) {
		if (terminate)
			g_string_append_printf(out, "%s<backingStore/>\n", indent);
		return;
	}
	layer = g_ptr_array_index(layers, position);
	g_string_append_printf(out, "%s<backingStore type='%s'>\n", indent,
			       source_xml_type(&layer->source));
	if (layer->format)
		g_string_append_printf(out, "%s<format type='%s'/>\n", deeper, layer->format);
	g_string_append(out, deeper);
	source_append_xml(out, &layer->source, deeper, NULL, NULL);
	g_string_append_c(out, '\n');
	append_backing(out, layers, position + 1, deeper, terminate);
	g_string_append_printf(out, "%s</backingStore>\n", indent);
}

char *xml_backing(GPtrArray *layers, const char *indent, gboolean terminate)
{
	GString *out = g_string_new(NULL);

	append_backing(out, layers, 1, indent, terminate);
	return g_string_free(out, FALSE);
}

char *xml_blockcopy(GPtrArray *layers)
{
	const struct layer *active = g_ptr_array_index(layers, 0);
	g_autofree char *backing = xml_backing(layers, "  ", TRUE);
	GString *out = g_string_new(NULL);

	g_string_append_printf(out, "<disk type='%s'>\n  <driver name='qemu' type='%s'/>\n  ",
			       source_xml_type(&active->source), active->format ?: "raw");
	source_append_xml(out, &active->source, "  ", NULL, NULL);
	g_string_append_printf(out, "\n%s</disk>\n", backing);
	return g_string_free(out, FALSE);
}

char *xml_snapshot(const struct domain *domain, const char *target, const char *overlay_path)
{
	g_autofree char *path = g_markup_escape_text(overlay_path, -1);
	GString *out = g_string_new("<domainsnapshot>\n  <disks>\n");

	for (guint i = 0; i < domain->disks->len; i++) {
		const struct disk *disk = g_ptr_array_index(domain->disks, i);
		g_autofree char *name = g_markup_escape_text(disk->target, -1);

		if (strcmp(disk->target, target) != 0)
			g_string_append_printf(out, "    <disk name='%s' snapshot='no'/>\n", name);
		else
			g_string_append_printf(out,
					       "    <disk name='%s' snapshot='external' "
					       "type='file'>\n"
					       "      <driver type='qcow2'/>\n"
					       "      <source file='%s'/>\n"
					       "    </disk>\n",
					       name, path);
	}
	g_string_append(out, "  </disks>\n</domainsnapshot>\n");
	return g_string_free(out, FALSE);
}

char *xml_metadata(gint64 job, const char *disk, const char *nonce, const char *source,
		   const char *destination, const char *detail)
{
	return g_markup_printf_escaped("<job id='%" G_GINT64_FORMAT "' disk='%s' nonce='%s' "
				       "source='%s' destination='%s' detail='%s'/>",
				       job, disk, nonce, source, destination, detail ? detail : "");
}
