#include "blockmig/cmd/disks.h"

#include "common/error.h"

static GPtrArray *all_disks(struct workbench *workbench, const char *domain, GError **error)
{
	GPtrArray *skipped = NULL;
	GPtrArray *disks = move_disks(&workbench->context, domain, &skipped, error);

	for (guint i = 0; disks && skipped && i < skipped->len; i++) {
		g_autofree char *text =
			g_strdup_printf("%s: skipped", (char *)g_ptr_array_index(skipped, i));

		reporter_note(workbench->options->reporter, 0, text);
	}
	g_clear_pointer(&skipped, g_ptr_array_unref);
	return disks;
}

GPtrArray *disks_choose(struct workbench *workbench, GError **error)
{
	char **arguments = workbench->options->arguments;
	const char *domain = arguments[0];

	if (!arguments[1]) {
		g_autoptr(GPtrArray) all = all_disks(workbench, domain, error);

		if (!all || all->len)
			return g_steal_pointer(&all);
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s: has no disk that can be moved (virsh domblklist %s shows them)",
			    domain, domain);
		return NULL;
	}

	g_autoptr(GPtrArray) named = g_ptr_array_new_with_free_func(g_free);

	for (char **disk = arguments + 1; *disk; disk++) {
		if (g_ptr_array_find_with_equal_func(named, *disk, g_str_equal, NULL)) {
			g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_USAGE,
				    "disk %s is named twice", *disk);
			return NULL;
		}
		g_ptr_array_add(named, g_strdup(*disk));
	}
	return g_steal_pointer(&named);
}
