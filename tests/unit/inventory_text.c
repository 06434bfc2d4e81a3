#include "tests/unit/inventory_text.h"

#include "common/units.h"

#include <stdlib.h>
#include <string.h>

/* The words of a line, taken one after the other. */
struct words {
	char **next;
};

static const char *take(struct words *words)
{
	if (!*words->next)
		g_error("an inventory's line ends too early");
	return *words->next++;
}

static gboolean take_word(struct words *words, const char *word)
{
	if (g_strcmp0(*words->next, word) != 0)
		return FALSE;
	words->next++;
	return TRUE;
}

static guint64 size_of(const char *text)
{
	guint64 bytes;

	if (!units_parse_size(text, &bytes, NULL))
		g_error("\"%s\" is no size", text);
	return bytes;
}

static struct inventory_store *store_of(struct inventory *inventory, const char *name)
{
	struct inventory_store *store = inventory_store(inventory, name);

	if (!store)
		g_error("there is no store %s", name);
	return store;
}

static void read_lun(struct inventory_store *store, const char *text)
{
	g_auto(GStrv) parts = g_strsplit_set(text, ":=", 3);
	struct inventory_lun *lun = inventory_add_lun(store, atoi(parts[0]), size_of(parts[1]));

	lun->user = g_strdup(parts[2]);
}

static void read_store(struct inventory *inventory, struct words *words)
{
	const char *name = take(words), *kind = take(words);
	enum store_kind of = g_str_equal(kind, "iscsi") ? STORE_ISCSI
			     : g_str_equal(kind, "nfs") ? STORE_NFS
							: STORE_FOLDER;
	struct inventory_store *store = inventory_add_store(inventory, name, of);

	store->url = of == STORE_ISCSI ? g_strdup_printf("iscsi://%s/iqn.2026-01.example:t", name)
				       : g_strdup_printf("file:///srv/%s/", name);
	while (*words->next) {
		if (take_word(words, "free"))
			store->free_bytes = size_of(take(words));
		else if (take_word(words, "size"))
			store->size_bytes = size_of(take(words));
		else if (take_word(words, "rate"))
			store->bytes_per_second = size_of(take(words));
		else if (take_word(words, "promised"))
			store->promised_bytes = size_of(take(words));
		else if (take_word(words, "maintenance"))
			store->maintenance = TRUE;
		else if (take_word(words, "unreachable"))
			store->unreachable = g_strdup("it does not answer");
		else if (!take_word(words, "luns"))
			read_lun(store, take(words));
	}
}

static struct inventory_domain *read_domain(struct inventory *inventory, struct words *words)
{
	const char *name = take(words);
	g_autofree char *uuid = g_strdup_printf("uuid-of-%s", name);
	struct inventory_domain *domain = inventory_add_domain(inventory, uuid, name);

	domain->host = g_strdup("h");
	while (*words->next) {
		if (take_word(words, "host")) {
			g_free(domain->host);
			domain->host = g_strdup(take(words));
		} else if (take_word(words, "priority")) {
			domain->priority = atoi(take(words));
		} else if (take_word(words, "prefer")) {
			domain->prefer = g_strsplit(take(words), ",", -1);
		} else if (take_word(words, "avoid")) {
			domain->avoid = g_strsplit(take(words), ",", -1);
		} else if (take_word(words, "together")) {
			domain->keep_together = TRUE;
		} else {
			g_error("\"%s\" is no word of a domain", *words->next);
		}
	}
	return domain;
}

static void read_job(struct inventory *inventory, struct inventory_disk *disk, struct words *words)
{
	disk->job = atoi(take(words));
	if (take_word(words, "to")) {
		g_auto(GStrv) parts = g_strsplit(take(words), ":", 2);

		disk->job_store = store_of(inventory, parts[0]);
		disk->job_lun = parts[1] ? atoi(parts[1]) : -1;
	}
}

static void read_disk(struct inventory *inventory, const struct inventory_domain *domain,
		      struct words *words)
{
	struct inventory_disk *disk = inventory_add_disk(inventory, domain, take(words));

	if (take_word(words, "on"))
		disk->store = store_of(inventory, take(words));
	disk->virtual_bytes = disk->allocated_bytes = size_of(take(words));
	if (*words->next && g_ascii_isdigit(**words->next))
		disk->allocated_bytes = size_of(take(words));
	while (*words->next) {
		if (take_word(words, "writes"))
			disk->written_per_second = size_of(take(words));
		else if (take_word(words, "stuck"))
			disk->obstacle = g_strdup("it is stuck");
		else if (take_word(words, "no-lun"))
			disk->lun_obstacle = g_strdup("it has internal snapshots");
		else if (take_word(words, "job"))
			read_job(inventory, disk, words);
		else if (take_word(words, "done"))
			disk->job_bytes = size_of(take(words));
		else
			g_error("\"%s\" is no word of a disk", *words->next);
	}
}

static void read_residue(struct inventory *inventory, const struct inventory_domain *domain,
			 struct words *words)
{
	enum residue_kind kind = RESIDUE_NVRAM;
	const char *name = take(words);

	while (!g_str_equal(residue_kind_name(kind), name))
		kind++;
	take_word(words, "on");
	const struct inventory_store *store = store_of(inventory, take(words));

	inventory_add_residue(inventory, domain, store, kind, take(words));
}

struct inventory *inventory_of_text(const char *text)
{
	struct inventory *inventory = inventory_new();
	const struct inventory_domain *domain = NULL;
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	for (guint i = 0; lines[i]; i++) {
		g_auto(GStrv) split = g_strsplit(g_strstrip(lines[i]), " ", -1);
		struct words words = {.next = split};

		if (take_word(&words, "store"))
			read_store(inventory, &words);
		else if (take_word(&words, "domain"))
			domain = read_domain(inventory, &words);
		else if (take_word(&words, "disk"))
			read_disk(inventory, domain, &words);
		else if (take_word(&words, "residue"))
			read_residue(inventory, domain, &words);
		else if (*words.next)
			g_error("\"%s\" begins no line of an inventory", *words.next);
	}
	return inventory;
}

char *plan_text(const struct plan *plan, const struct plan_request *request)
{
	GString *text = g_string_new(NULL);
	gint64 zero = request->window.begin_s;

	for (guint i = 0; i < plan->moves->len; i++) {
		const struct plan_move *move = g_ptr_array_index(plan->moves, i);

		g_string_append_printf(text, "%d-%d %s/%s > %s", (int)(move->start_s - zero),
				       (int)(move->end_s - zero), move->disk->domain->name,
				       move->disk->target, move->store->name);
		if (move->lun >= 0)
			g_string_append_printf(text, ":%d", move->lun);
		g_string_append_c(text, '\n');
	}
	for (guint i = 0; i < plan->stays->len; i++) {
		const struct plan_stay *stay = g_ptr_array_index(plan->stays, i);

		g_string_append_printf(text, "%s/%s stays: %s\n", stay->disk->domain->name,
				       stay->disk->target, plan_why_name(stay->why));
	}
	for (guint i = 0; i < plan->residue->len; i++) {
		const struct inventory_residue *residue = g_ptr_array_index(plan->residue, i);

		g_string_append_printf(text, "residue: %s\n", residue->path);
	}
	return g_string_free(text, FALSE);
}
