#include "blockmig/vm/source.h"

#include "common/error.h"

#include <string.h>

static gboolean refuse(const struct source *source, const char *reason, GError **error)
{
	g_autofree char *name = source_text(source);

	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "%s: QEMU's tools cannot open it: %s", name, reason);
	return FALSE;
}

static json_t *local_node(const struct source *source, gboolean locking)
{
	return json_pack("{ss ss ss*}", "driver",
			 source->type == SOURCE_BLOCK ? "host_device" : "file", "filename",
			 source->path, "locking", locking ? NULL : "off");
}

static json_t *nfs_node(const struct source *source)
{
	json_t *node = json_pack("{ss s{ss ss} ss}", "driver", "nfs", "server", "type", "inet",
				 "host", source->host, "path", source->path);

	if (source->uid >= 0)
		json_object_set_new(node, "user", json_integer(source->uid));
	if (source->gid >= 0)
		json_object_set_new(node, "group", json_integer(source->gid));
	return node;
}

static json_t *iscsi_node(const struct source *source)
{
	g_autofree char *target = NULL;
	g_autofree char *portal = NULL;
	gboolean brackets = source->host && strchr(source->host, ':');
	int lun = 0;

	if (!source->host || !source_iscsi_split(source, &target, &lun))
		return NULL;
	portal = g_strdup_printf("%s%s%s:%d", brackets ? "[" : "", source->host,
				 brackets ? "]" : "", source->port ? source->port : 3260);
	return json_pack("{ss ss ss ss si ss*}", "driver", "iscsi", "transport", "tcp", "portal",
			 portal, "target", target, "lun", lun, "initiator-name", source->initiator);
}

json_t *source_node(const struct source *source, gboolean locking, GError **error)
{
	json_t *node = NULL;

	switch (source->type) {
	case SOURCE_FILE:
	case SOURCE_BLOCK:
		node = local_node(source, locking);
		break;
	case SOURCE_NFS:
		node = nfs_node(source);
		break;
	case SOURCE_ISCSI:
		if (source->auth_user) {
			refuse(source, "it needs a CHAP secret, which only libvirt can hand over",
			       error);
			return NULL;
		}
		node = iscsi_node(source);
		break;
	case SOURCE_NONE:
	case SOURCE_OTHER:
		refuse(source, "it is not a file, a device, an NFS image or an iSCSI LUN", error);
		return NULL;
	}
	if (!node) {
		refuse(source, "its address is malformed or not UTF-8", error);
		return NULL;
	}
	if (source->slice_bytes)
		node = json_pack("{ss sI sI so}", "driver", "raw", "offset",
				 (json_int_t)source->slice_offset, "size",
				 (json_int_t)source->slice_bytes, "file", node);
	return node;
}

/* Formats whose header can name a backing file that QEMU would open by itself. */
static gboolean format_has_backing(const char *format)
{
	static const char *const formats[] = {"qcow2", "qcow", "qed", "vmdk", NULL};

	return g_strv_contains(formats, format);
}

json_t *layer_node(const struct layer *layer, gboolean locking, GError **error)
{
	const char *format = layer->format ? layer->format : "raw";
	json_t *file = source_node(&layer->source, locking, error);
	json_t *node = file ? json_pack("{ss so}", "driver", format, "file", file) : NULL;

	if (node && format_has_backing(format))
		json_object_set_new(node, "backing", json_null());
	return node;
}

/* Named, and over the next layer by that one's name. */
static json_t *chain_node(GPtrArray *layers, guint position, guint count, GError **error)
{
	const struct layer *layer = g_ptr_array_index(layers, position);
	json_t *node = layer_node(layer, FALSE, error);

	if (!node)
		return NULL;
	json_object_set_new(node, "node-name", json_sprintf("layer%u", position));
	json_object_set_new(node, "read-only", json_true());
	if (position + 1 == count)
		return node;
	if (!json_object_get(node, "backing")) {
		refuse(&layer->source, "its format has no layer below, but the chain goes on",
		       error);
		json_decref(node);
		return NULL;
	}
	json_object_set_new(node, "backing", json_sprintf("layer%u", position + 1));
	return node;
}

GPtrArray *chain_nodes(GPtrArray *layers, guint count, GError **error)
{
	g_autoptr(GPtrArray) nodes = g_ptr_array_new_with_free_func(g_free);

	for (guint position = count; position-- > 0;) {
		json_t *node = chain_node(layers, position, count, error);
		char *dumped;

		if (!node)
			return NULL;
		dumped = json_dumps(node, JSON_COMPACT);
		g_ptr_array_add(nodes, g_strdup(dumped));
		free(dumped);
		json_decref(node);
	}
	return g_steal_pointer(&nodes);
}

char *node_name(json_t *node)
{
	char *dumped = json_dumps(node, JSON_COMPACT);
	char *name = g_strconcat("json:", dumped, NULL);

	free(dumped);
	json_decref(node);
	return name;
}

char *source_qemu_name(const struct source *source, GError **error)
{
	json_t *node;

	if ((source->type == SOURCE_FILE || source->type == SOURCE_BLOCK) && !source->slice_bytes)
		return g_strdup(source->path);
	node = source_node(source, TRUE, error);
	/* The format, which the reader gives or the header of the layer above, goes on top. */
	return node ? node_name(json_pack("{so}", "file", node)) : NULL;
}
