#include "blockmig/cmd/views.h"

struct job_view views_of(struct ledger *ledger, const struct ledger_job *job, struct room **room)
{
	g_autofree char *key = g_strdup_printf("job:%" G_GINT64_FORMAT, job->id);
	struct job_view view = {.job = job};

	*room = NULL;
	if (job->result != JOB_OPEN)
		return view;
	view.room = *room = room_of_record(job);
	view.holder = ledger_lock_holder(ledger, key);
	/* What cannot be told is left at zero: a job is shown in any case. */
	ledger_job_progress(ledger, job->id, &view.progress, NULL);
	return view;
}

static void free_room(void *room)
{
	room_free(room);
}

struct views *views_load(struct ledger *ledger, enum views_which which, GError **error)
{
	g_autoptr(GPtrArray) jobs = ledger_job_list(ledger, which == VIEWS_OPEN, error);

	if (!jobs)
		return NULL;
	struct views *views = g_new0(struct views, 1);

	views->list = g_array_new(FALSE, FALSE, sizeof(struct job_view));
	views->rooms = g_ptr_array_new_with_free_func(free_room);
	for (guint i = 0; i < jobs->len; i++) {
		struct room *room;
		struct job_view view = views_of(ledger, g_ptr_array_index(jobs, i), &room);

		if (room)
			g_ptr_array_add(views->rooms, room);
		if ((view.job->result == JOB_OPEN) == (which == VIEWS_OPEN))
			g_array_append_val(views->list, view);
	}
	views->jobs = g_steal_pointer(&jobs);
	return views;
}

void views_free(struct views *views)
{
	g_array_unref(views->list);
	g_ptr_array_unref(views->rooms);
	g_ptr_array_unref(views->jobs);
	g_free(views);
}
