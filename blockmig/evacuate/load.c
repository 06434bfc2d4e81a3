#include "blockmig/evacuate/load.h"

#include "blockmig/evacuate/load_private.h"

static gboolean load_named(struct loader *loader, const char *from, const char *const *to,
			   GError **error)
{
	loader->from = load_store(loader, from, error);
	if (!loader->from)
		return FALSE;
	for (guint i = 0; to[i]; i++)
		if (!load_store(loader, to[i], error))
			return FALSE;
	return TRUE;
}

static gboolean load_world(struct loader *loader, GError **error)
{
	loader->jobs = ledger_job_list(loader->context->ledger, TRUE, error);
	if (!loader->jobs || !load_store_figures(loader, error) || !load_domains(loader, error))
		return FALSE;
	load_lun_users(loader);
	watch_end(loader);
	return TRUE;
}

struct inventory *inventory_load(struct move_context *context, const char *from,
				 const char *const *to, GError **error)
{
	AUTO(inventory) inventory = inventory_new();
	g_autoptr(GPtrArray) datastores = g_ptr_array_new();
	g_autoptr(GPtrArray) watched = g_ptr_array_new_with_free_func(g_free);
	struct loader loader = {
		.context = context,
		.inventory = inventory,
		.datastores = datastores,
		.watched = watched,
	};
	gboolean good =
		from ? load_named(&loader, from, to, error) : load_all_stores(&loader, error);

	good = good && load_world(&loader, error);
	g_clear_pointer(&loader.jobs, g_ptr_array_unref);
	return good ? g_steal_pointer(&inventory) : NULL;
}
