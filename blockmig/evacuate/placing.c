/*
 * Which disk goes to which destination.
 *
 * What an open job moves goes on to where it went.  Of the others, what has to keep together
 * is one group (mostly: one disk).  Groups are placed one after the other, by priority, then
 * the largest first; each where, of the destinations that may and can take it, the sum of two
 * shares is least afterwards: of its room that is used, and of its time, where 1 is an even
 * load on all of them.
 */
#include "blockmig/evacuate/plan_private.h"
#include "blockmig/evacuate/room.h"

#include "common/units.h"

#include <string.h>

struct group {
	guint first, count; /* candidates */
	int priority;
	guint64 virtual_bytes, allocated_bytes, bytes;
	const guchar *bound; /* by target: whether it may go there; NULL: no such bond */
};

struct placing {
	struct planning *planning;
	struct room *rooms; /* as plan->targets */
	guint count;
	double all_rates, all_bytes;
	GHashTable *positions; /* inventory_store to its position + 1 */
	GHashTable *held;      /* keep-together domain to guchar by target: has a disk of it */
	GHashTable *stuck;     /* keep-together domain to a candidate that cannot move */
};

/* ---- groups ------------------------------------------------------------ */

static struct candidate *member(const struct placing *placing, const struct group *group, guint i)
{
	return planning_candidate(placing->planning, group->first + i);
}

static const struct inventory_domain *group_domain(const struct placing *placing,
						   const struct group *group)
{
	return member(placing, group, 0)->disk->domain;
}

static void add_member(struct placing *placing, struct group *group)
{
	const struct candidate *added = member(placing, group, group->count++);

	group->priority = added->disk->domain->priority;
	group->virtual_bytes += added->disk->virtual_bytes;
	group->allocated_bytes += added->disk->allocated_bytes;
	group->bytes += added->bytes;
}

/*
 * Candidates that stay, or have a target already, are in none.  Of a domain that keeps
 * together they stand in front of the others.
 */
static GArray *make_groups(struct placing *placing)
{
	GArray *candidates = placing->planning->candidates;
	GArray *groups = g_array_new(FALSE, TRUE, sizeof(struct group));
	struct group *last = NULL;

	for (guint i = 0; i < candidates->len; i++) {
		const struct candidate *candidate = planning_candidate(placing->planning, i);
		const struct inventory_domain *domain = candidate->disk->domain;

		if (candidate->reason || candidate->target != NOWHERE)
			continue;
		if (!last || !domain->keep_together || group_domain(placing, last) != domain) {
			struct group group = {.first = i};

			g_array_append_val(groups, group);
			last = &g_array_index(groups, struct group, groups->len - 1);
			last->bound = g_hash_table_lookup(placing->held, domain);
		}
		add_member(placing, last);
	}
	return groups;
}

static int compare_groups(gconstpointer a, gconstpointer b)
{
	const struct group *first = a, *second = b;

	if (first->priority != second->priority)
		return first->priority > second->priority ? -1 : 1;
	if (first->virtual_bytes != second->virtual_bytes)
		return first->virtual_bytes > second->virtual_bytes ? -1 : 1;
	return first->first < second->first ? -1 : 1;
}

/* ---- rules ------------------------------------------------------------ */

static int position_of(const struct placing *placing, const struct inventory_store *store)
{
	return GPOINTER_TO_INT(g_hash_table_lookup(placing->positions, store)) - 1;
}

/* Marks the destinations that have disks of keep-together domains, and those with a stuck one. */
static void bind_domains(struct placing *placing)
{
	const struct planning *planning = placing->planning;
	const GPtrArray *disks = planning->inventory->disks;

	for (guint i = 0; i < disks->len; i++) {
		const struct inventory_disk *disk = g_ptr_array_index(disks, i);
		int position = position_of(placing, disk->job ? disk->job_store : disk->store);
		guchar *marks;

		if (!disk->domain->keep_together || position < 0)
			continue;
		marks = g_hash_table_lookup(placing->held, disk->domain);
		if (!marks) {
			marks = g_new0(guchar, placing->count);
			g_hash_table_insert(placing->held, (gpointer)disk->domain, marks);
		}
		marks[position] = TRUE;
	}
	for (guint i = 0; i < planning->candidates->len; i++) {
		struct candidate *candidate = planning_candidate(planning, i);

		if (candidate->reason && candidate->disk->domain->keep_together &&
		    !g_hash_table_contains(placing->stuck, candidate->disk->domain))
			g_hash_table_insert(placing->stuck, (gpointer)candidate->disk->domain,
					    candidate);
	}
}

/* Of those that are left alone because of one that is stuck. */
static void keep_with_stuck(struct placing *placing)
{
	const struct planning *planning = placing->planning;

	for (guint i = 0; i < planning->candidates->len; i++) {
		struct candidate *candidate = planning_candidate(planning, i);
		const struct candidate *stuck =
			g_hash_table_lookup(placing->stuck, candidate->disk->domain);

		if (stuck && !candidate->reason && candidate->target == NOWHERE)
			candidate_stay(candidate, PLAN_RULE,
				       g_strdup_printf("keep-together, and %s cannot move: %s",
						       stuck->disk->target, stuck->reason));
	}
}

static gboolean names_store(char **names, const struct inventory_store *store)
{
	return names && g_strv_contains((const char *const *)names, store->name);
}

static gboolean may_go(const struct placing *placing, const struct group *group, guint position)
{
	const struct plan_target *target = placing->rooms[position].target;

	return !target->refused && (!group->bound || group->bound[position]) &&
	       !names_store(group_domain(placing, group)->avoid, target->store);
}

/* ---- choosing ------------------------------------------------------------ */

/* The members' slots, smallest disk first as the candidates are. */
static gboolean fits_luns(const struct placing *placing, const struct group *group,
			  struct room *room)
{
	guint from = 0;

	for (guint i = 0; i < group->count; i++) {
		struct candidate *candidate = member(placing, group, i);

		if (candidate->disk->lun_obstacle)
			return FALSE;
		candidate->slot = room_find_lun(room, candidate->disk->virtual_bytes, from);
		if (candidate->slot == room->luns->len)
			return FALSE;
		from = candidate->slot + 1;
	}
	return TRUE;
}

static guint64 lun_bytes(const struct placing *placing, const struct group *group,
			 const struct room *room)
{
	guint64 bytes = 0;

	for (guint i = 0; i < group->count; i++)
		bytes += room_lun(room, member(placing, group, i)->slot)->bytes;
	return bytes;
}

static gboolean fits(const struct placing *placing, const struct group *group, struct room *room)
{
	return room->luns ? fits_luns(placing, group, room) : group->allocated_bytes <= room->left;
}

/* Less is better; @group fits. */
static double score(const struct placing *placing, const struct group *group,
		    const struct room *room)
{
	guint64 takes = room->luns ? lun_bytes(placing, group, room) : group->allocated_bytes;
	double even_s = placing->all_bytes / placing->all_rates;
	double time_s = (double)(room->sent + group->bytes) / (double)room->rate;
	double space = 0, load = even_s > 0 ? time_s / even_s : 0;

	if (room->had != INVENTORY_UNKNOWN && room->had > 0)
		space = (double)(room->had - room->left + takes) / (double)room->had;
	return space + load;
}

/* Of the destinations that are preferred, or of all; NOWHERE. */
static int choose(const struct placing *placing, const struct group *group, gboolean preferred)
{
	int best = NOWHERE;
	double best_score = 0;

	for (guint i = 0; i < placing->count; i++) {
		struct room *room = &placing->rooms[i];

		if (!may_go(placing, group, i) ||
		    (preferred &&
		     !names_store(group_domain(placing, group)->prefer, room->target->store)) ||
		    !fits(placing, group, room))
			continue;
		double here = score(placing, group, room);

		if (best == NOWHERE || here < best_score) {
			best = (int)i;
			best_score = here;
		}
	}
	return best;
}

static void take(struct placing *placing, struct candidate *candidate, guint position)
{
	struct room *room = &placing->rooms[position];

	candidate->target = (int)position;
	candidate->seconds = planning_seconds(placing->planning, candidate, room->target->store);
	room_take(room, candidate);
}

/* ---- reasons ------------------------------------------------------------ */

/* "a has 3 GiB left, b has no free LUN of 20 GiB"; of many destinations the first few. */
static char *rooms_text(const struct placing *placing, const struct group *group)
{
	enum { NAMED = 3 };
	GString *text = g_string_new(NULL);
	guint named = 0;

	for (guint i = 0; i < placing->count; i++) {
		const struct room *room = &placing->rooms[i];
		const char *lun_obstacle = member(placing, group, 0)->disk->lun_obstacle;
		g_autofree char *left = units_format_size(room->left);

		if (!room->target->refused && !may_go(placing, group, i))
			continue;
		if (named++ == NAMED) {
			g_string_append(text, "; …");
			break;
		}
		g_string_append_printf(text, "%s%s: ", named > 1 ? "; " : "",
				       room->target->store->name);
		if (room->target->refused)
			g_string_append(text, room->target->refused);
		else if (!room->luns)
			g_string_append_printf(text, "%s left", left);
		else if (lun_obstacle)
			g_string_append(text, lun_obstacle);
		else
			g_string_append(text, "no free LUN that is large enough");
	}
	return g_string_free(text, FALSE);
}

static char *why_no_room(const struct placing *placing, const struct group *group)
{
	g_autofree char *rooms = rooms_text(placing, group);
	g_autofree char *now = units_format_size(group->allocated_bytes);
	g_autofree char *later = units_format_size(group->virtual_bytes);
	g_autofree char *what =
		group->count > 1 ? g_strdup_printf("its domain's %u disks, which keep together",
						   group->count)
				 : g_strdup("it");

	return g_strdup_printf("no destination has room for %s (%s now, %s when full; %s): make "
			       "room, or name another with --to",
			       what, now, later, rooms);
}

static void leave(struct placing *placing, const struct group *group)
{
	gboolean may = FALSE, all_refused = TRUE;

	for (guint i = 0; i < placing->count; i++) {
		may |= may_go(placing, group, i);
		all_refused &= placing->rooms[i].target->refused != NULL;
	}
	for (guint i = 0; i < group->count; i++) {
		const char *rule = group->bound ? "keep-together" : "avoid";

		candidate_stay(member(placing, group, i),
			       may || all_refused ? PLAN_ROOM : PLAN_RULE,
			       may || all_refused
				       ? why_no_room(placing, group)
				       : g_strdup_printf("%s in the configuration rules every "
							 "destination out: name another with --to",
							 rule));
	}
}

/* What an open job moves goes where that job goes. */
static void place_job(struct placing *placing, struct candidate *candidate)
{
	const struct inventory_disk *disk = candidate->disk;
	int position = position_of(placing, disk->job_store);
	const char *refused = position == NOWHERE ? NULL : placing->rooms[position].target->refused;

	if (position != NOWHERE && !refused) {
		take(placing, candidate, (guint)position);
		return;
	}
	candidate_stay(candidate, PLAN_OBSTACLE,
		       g_strdup_printf(
			       "job %" G_GINT64_FORMAT " takes it to %s already%s%s: "
			       "blockmig resume %" G_GINT64_FORMAT ", or abort %" G_GINT64_FORMAT,
			       disk->job, disk->job_store ? disk->job_store->name : "another place",
			       refused ? ", and " : "", refused ? refused : "", disk->job,
			       disk->job));
}

static void place_group(struct placing *placing, struct group *group)
{
	int position =
		group_domain(placing, group)->prefer ? choose(placing, group, TRUE) : NOWHERE;

	if (position == NOWHERE)
		position = choose(placing, group, FALSE);
	if (position == NOWHERE) {
		leave(placing, group);
		return;
	}
	/* The slots are those of the last destination that was looked at. */
	fits(placing, group, &placing->rooms[position]);
	for (guint i = 0; i < group->count; i++)
		take(placing, member(placing, group, i), (guint)position);
}

/* ---- all of it ------------------------------------------------------------ */

static void open_rooms(struct placing *placing)
{
	const struct planning *planning = placing->planning;

	placing->rooms = g_new0(struct room, placing->count);
	for (guint i = 0; i < placing->count; i++) {
		struct room *room = &placing->rooms[i];

		struct plan_target *target = planning_target(planning, i);

		room_open(room, target, planning_rate(planning, target->store));
		if (!room->target->refused)
			placing->all_rates += (double)room->rate;
		g_hash_table_insert(placing->positions, (gpointer)room->target->store,
				    GUINT_TO_POINTER(i + 1));
	}
	for (guint i = 0; i < planning->candidates->len; i++)
		if (!planning_candidate(planning, i)->reason)
			placing->all_bytes += (double)planning_candidate(planning, i)->bytes;
}

static void close_rooms(struct placing *placing)
{
	for (guint i = 0; i < placing->count; i++)
		room_close(&placing->rooms[i]);
	g_free(placing->rooms);
}

void placing_run(struct planning *planning)
{
	g_autoptr(GHashTable) positions = g_hash_table_new(NULL, NULL);
	g_autoptr(GHashTable) held = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	g_autoptr(GHashTable) stuck = g_hash_table_new(NULL, NULL);
	struct placing placing = {
		.planning = planning,
		.count = planning->plan->targets->len,
		.positions = positions,
		.held = held,
		.stuck = stuck,
	};

	open_rooms(&placing);
	for (guint i = 0; i < planning->candidates->len; i++) {
		struct candidate *candidate = planning_candidate(planning, i);

		if (candidate->disk->job && !candidate->reason)
			place_job(&placing, candidate);
	}
	bind_domains(&placing);
	keep_with_stuck(&placing);

	g_autoptr(GArray) groups = make_groups(&placing);

	g_array_sort(groups, compare_groups);
	for (guint i = 0; i < groups->len; i++)
		place_group(&placing, &g_array_index(groups, struct group, i));
	close_rooms(&placing);
}
