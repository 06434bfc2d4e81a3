#include "blockmig/report/stores.h"

#include "blockmig/report/json_text.h"
#include "blockmig/report/table.h"
#include "common/units.h"

static char *size_text(guint64 bytes)
{
	return bytes == INVENTORY_UNKNOWN ? g_strdup("-") : units_format_size(bytes);
}

static json_t *bytes_json(guint64 bytes)
{
	return bytes == INVENTORY_UNKNOWN ? json_null() : json_integer((json_int_t)bytes);
}

/* ---- datastores ------------------------------------------------------------ */

static void add_store(struct table *table, const struct inventory_store *store)
{
	g_autofree char *size = size_text(store->size_bytes);
	g_autofree char *room = size_text(store->free_bytes);
	g_autofree char *allocated = size_text(store->allocated_bytes);
	g_autofree char *promised = size_text(store->promised_bytes);
	g_autofree char *domains = g_strdup_printf("%u", store->domains);
	const char *cells[] = {
		store->name, store_kind_name(store->kind),
		size,	     room,
		allocated,   promised,
		domains,     store->maintenance ? "yes" : "-",
		store->url,
	};

	table_add(table, cells);
	if (store->pool && !g_str_equal(store->pool, store->name)) {
		g_autofree char *remark = g_strdup_printf("pool %s", store->pool);

		table_add_remark(table, remark);
	}
	if (store->unreachable)
		table_add_remark(table, store->unreachable);
}

char *stores_text(const struct inventory *inventory)
{
	static const char *const heads[] = {"NAME",	"KIND",	   "SIZE",	  "FREE",  "TAKEN",
					    "PROMISED", "DOMAINS", "MAINTENANCE", "WHERE", NULL};
	AUTO(table) table = table_new(heads);

	if (!inventory->stores->len)
		return g_strdup("no datastores: no section of the configuration, and no pool\n");
	for (guint i = 0; i < inventory->stores->len; i++)
		add_store(table, g_ptr_array_index(inventory->stores, i));
	return table_format(table);
}

static json_t *luns_json(const struct inventory_store *store)
{
	json_t *array = json_array();

	for (guint i = 0; store->luns && i < store->luns->len; i++) {
		const struct inventory_lun *lun = g_ptr_array_index(store->luns, i);

		json_array_append_new(array, json_pack("{s:i, s:o, s:o}", "lun", lun->number,
						       "bytes", bytes_json(lun->bytes), "user",
						       text_or_null(lun->user)));
	}
	return array;
}

json_t *store_json(const struct inventory_store *store)
{
	json_t *line = json_pack("{s:s, s:o, s:s, s:o, s:o, s:o}", "type", "datastore", "name",
				 text_or_null(store->name), "kind", store_kind_name(store->kind),
				 "url", text_or_null(store->url), "path", text_or_null(store->path),
				 "pool", text_or_null(store->pool));

	json_object_set_new(line, "size_bytes", bytes_json(store->size_bytes));
	json_object_set_new(line, "free_bytes", bytes_json(store->free_bytes));
	json_object_set_new(line, "allocated_bytes", bytes_json(store->allocated_bytes));
	json_object_set_new(line, "promised_bytes", bytes_json(store->promised_bytes));
	json_object_set_new(line, "domains", json_integer(store->domains));
	json_object_set_new(line, "disks", json_integer(store->disks));
	json_object_set_new(line, "maintenance", json_boolean(store->maintenance));
	json_object_set_new(line, "unreachable", text_or_null(store->unreachable));
	if (store->luns)
		json_object_set_new(line, "luns", luns_json(store));
	return line;
}

/* ---- the plan in words ------------------------------------------------------------ */

static char *clock_text(gint64 unix_s)
{
	g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(unix_s);

	return time ? g_date_time_format(time, "%Y-%m-%d %H:%M:%S") : g_strdup("?");
}

static char *target_text(const struct inventory_store *store, int lun)
{
	return lun < 0 ? g_strdup(store->name) : g_strdup_printf("%s, LUN %d", store->name, lun);
}

static void append_table(GString *text, const struct table *table)
{
	g_autofree char *lines = table_format(table);

	g_string_append(text, lines);
}

static void append_moves(GString *text, const struct plan *plan)
{
	static const char *const heads[] = {"BEGINS", "ENDS",  "DOMAIN", "DISK",
					    "SENDS",  "TAKES", "TO",	 NULL};
	AUTO(table) table = table_new(heads);

	for (guint i = 0; i < plan->moves->len; i++) {
		const struct plan_move *move = g_ptr_array_index(plan->moves, i);
		g_autofree char *begins = clock_text(move->start_s);
		g_autofree char *ends = clock_text(move->end_s);
		g_autofree char *sends = units_format_size(move->bytes);
		g_autofree char *takes = units_format_time(move->seconds * 1000);
		g_autofree char *to = target_text(move->store, move->lun);
		const char *cells[] = {
			begins, ends, move->disk->domain->name, move->disk->target, sends,
			takes,	to};

		table_add(table, cells);
		if (move->disk->job) {
			g_autofree char *remark = g_strdup_printf(
				"goes on with job %" G_GINT64_FORMAT, move->disk->job);

			table_add_remark(table, remark);
		}
	}
	if (plan->moves->len)
		append_table(text, table);
}

static void append_stays(GString *text, const struct plan *plan)
{
	for (guint i = 0; i < plan->stays->len; i++) {
		const struct plan_stay *stay = g_ptr_array_index(plan->stays, i);

		g_string_append_printf(text, "stays: %s %s (%s): %s\n", stay->disk->domain->name,
				       stay->disk->target, plan_why_name(stay->why), stay->reason);
	}
	for (guint i = 0; i < plan->residue->len; i++) {
		const struct inventory_residue *residue = g_ptr_array_index(plan->residue, i);

		g_string_append_printf(text, "remains: %s of %s (%s): %s\n", residue->path,
				       residue->domain->name, residue_kind_name(residue->kind),
				       residue->way_out ? residue->way_out : "");
	}
}

static void append_targets(GString *text, const struct plan *plan)
{
	static const char *const heads[] = {"DESTINATION", "DISKS", "NOW",	 "FULL",
					    "FREE",	   "LUNS",  "FITS FULL", NULL};
	AUTO(table) table = table_new(heads);

	for (guint i = 0; i < plan->targets->len; i++) {
		const struct plan_target *target = g_ptr_array_index(plan->targets, i);
		g_autofree char *disks = g_strdup_printf("%u", target->disks);
		g_autofree char *now = units_format_size(target->allocated_bytes);
		g_autofree char *full = units_format_size(target->virtual_bytes);
		g_autofree char *room = size_text(target->store->free_bytes);
		g_autofree char *luns =
			target->store->luns
				? g_strdup_printf("%u of %u", target->luns_taken, target->luns_free)
				: g_strdup("-");
		const char *cells[] = {target->store->name,
				       disks,
				       now,
				       full,
				       room,
				       luns,
				       target->fits_virtual ? "yes" : "no"};

		table_add(table, cells);
		if (target->refused)
			table_add_remark(table, target->refused);
	}
	append_table(text, table);
}

char *evacuation_plan_text(const struct plan *plan)
{
	GString *text = g_string_new(NULL);
	g_autofree char *bytes = units_format_size(plan->bytes);
	g_autofree char *end = clock_text(plan->end_s);
	guint obstacles = plan_obstacles(plan);

	append_moves(text, plan);
	append_stays(text, plan);
	append_targets(text, plan);
	g_string_append_printf(text, "%s: %u of %u disks go, %s, by %s", plan->from->name,
			       plan->moves->len, plan->moves->len + plan->stays->len, bytes, end);
	g_string_append(text, plan->fits_window ? "" : "; the rest in the next window");
	if (obstacles)
		g_string_append_printf(text, "; %u obstacle%s keep%s it from being empty",
				       obstacles, obstacles == 1 ? "" : "s",
				       obstacles == 1 ? "s" : "");
	g_string_append(text, plan->fits_virtual ? "; all fits, also when the disks are full\n"
			      : plan->fits_allocated
				      ? "; all fits now, but would not if the disks were full\n"
				      : "; not all fits\n");
	return g_string_free(text, FALSE);
}

/* ---- the plan as JSON ------------------------------------------------------------ */

static json_t *disk_json(const char *type, const struct inventory_disk *disk)
{
	json_t *line = json_pack("{s:s, s:o, s:o, s:o, s:o}", "type", type, "domain",
				 text_or_null(disk->domain->name), "disk",
				 text_or_null(disk->target), "source", text_or_null(disk->source),
				 "format", text_or_null(disk->format));

	json_object_set_new(line, "virtual_bytes", bytes_json(disk->virtual_bytes));
	json_object_set_new(line, "allocated_bytes", bytes_json(disk->allocated_bytes));
	json_object_set_new(line, "priority", json_integer(disk->domain->priority));
	json_object_set_new(line, "job", json_integer(disk->job));
	return line;
}

static void set_target(json_t *line, const struct inventory_store *store, int lun, guint64 seconds)
{
	json_object_set_new(line, "destination", text_or_null(store ? store->name : NULL));
	json_object_set_new(line, "lun", lun < 0 ? json_null() : json_integer(lun));
	json_object_set_new(line, "seconds", json_integer((json_int_t)seconds));
}

static json_t *move_json(const struct plan_move *move)
{
	json_t *line = disk_json("move", move->disk);

	set_target(line, move->store, move->lun, move->seconds);
	json_object_set_new(line, "to", text_or_null(move->to));
	json_object_set_new(line, "bytes", json_integer((json_int_t)move->bytes));
	json_object_set_new(line, "start", json_integer(move->start_s));
	json_object_set_new(line, "end", json_integer(move->end_s));
	return line;
}

static json_t *stay_json(const struct plan_stay *stay)
{
	json_t *line = disk_json("stay", stay->disk);

	set_target(line, stay->store, stay->lun, stay->seconds);
	json_object_set_new(line, "why", json_string(plan_why_name(stay->why)));
	json_object_set_new(line, "reason", text_or_null(stay->reason));
	return line;
}

static json_t *residue_json(const struct inventory_residue *residue)
{
	return json_pack("{s:s, s:o, s:s, s:o, s:o}", "type", "residue", "domain",
			 text_or_null(residue->domain->name), "kind",
			 residue_kind_name(residue->kind), "path", text_or_null(residue->path),
			 "way_out", text_or_null(residue->way_out));
}

static json_t *target_json(const struct plan_target *target)
{
	json_t *line = json_pack("{s:s, s:o, s:i, s:i, s:i, s:b, s:o}", "type", "destination",
				 "name", text_or_null(target->store->name), "disks",
				 (int)target->disks, "luns_free", (int)target->luns_free,
				 "luns_taken", (int)target->luns_taken, "fits_virtual",
				 target->fits_virtual, "refused", text_or_null(target->refused));

	json_object_set_new(line, "allocated_bytes", bytes_json(target->allocated_bytes));
	json_object_set_new(line, "virtual_bytes", bytes_json(target->virtual_bytes));
	json_object_set_new(line, "free_bytes", bytes_json(target->store->free_bytes));
	return line;
}

json_t *evacuation_plan_json(const struct plan *plan)
{
	json_t *lines = json_array();

	for (guint i = 0; i < plan->moves->len; i++)
		json_array_append_new(lines, move_json(g_ptr_array_index(plan->moves, i)));
	for (guint i = 0; i < plan->stays->len; i++)
		json_array_append_new(lines, stay_json(g_ptr_array_index(plan->stays, i)));
	for (guint i = 0; i < plan->residue->len; i++)
		json_array_append_new(lines, residue_json(g_ptr_array_index(plan->residue, i)));
	for (guint i = 0; i < plan->targets->len; i++)
		json_array_append_new(lines, target_json(g_ptr_array_index(plan->targets, i)));
	return lines;
}

json_t *evacuation_plan_summary(const struct plan *plan)
{
	guint obstacles = plan_obstacles(plan);
	json_t *line = json_pack("{s:s, s:i, s:s, s:o, s:i, s:i, s:i}", "type", "summary", "job", 0,
				 "result", obstacles ? "refused" : "planned", "source",
				 text_or_null(plan->from->name), "moves", (int)plan->moves->len,
				 "stays", (int)plan->stays->len, "obstacles", (int)obstacles);

	json_object_set_new(line, "bytes_total", bytes_json(plan->bytes));
	json_object_set_new(line, "end", json_integer(plan->end_s));
	json_object_set_new(line, "fits_allocated", json_boolean(plan->fits_allocated));
	json_object_set_new(line, "fits_virtual", json_boolean(plan->fits_virtual));
	json_object_set_new(line, "fits_window", json_boolean(plan->fits_window));
	return line;
}
