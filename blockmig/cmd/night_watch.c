#include "blockmig/cmd/night_watch.h"

#include "blockmig/report/service.h"
#include "common/stop.h"

static void say(struct night_watch *watch, const struct dispatch_move *move, const char *what)
{
	g_autofree char *text = g_strdup_printf("%s/%s -> %s: %s", move->domain, move->disk,
						move->target->name, what);

	if (watch->verbose)
		reporter_note(watch->reporter, move->job, text);
}

static void on_begun(const struct dispatch_move *move, void *data)
{
	struct night_watch *watch = data;

	watch->running++;
	say(watch, move, move->job ? "goes on" : "begins");
}

static void on_ended(const struct dispatch_move *move, void *data)
{
	struct night_watch *watch = data;
	const struct dispatch_outcome *outcome = &move->outcome;

	watch->running -= watch->running > 0;
	if (outcome->status == 0 && !move->rolling_back)
		watch->moved++;
	else
		watch->others++;
	say(watch, move,
	    outcome->message && outcome->status ? outcome->message
	    : move->rolling_back		? "rolled back"
						: "moved");
}

static void on_line(const char *text, void *data)
{
	reporter_relay(((struct night_watch *)data)->reporter, text);
}

static void on_tick(void *data)
{
	struct night_watch *watch = data;
	g_autofree char *text = g_strdup_printf("%u moves run, %u disks moved, %u not%s",
						watch->running, watch->moved, watch->others,
						stop_level() == STOP_NO ? "" : "; stopping");

	if (stop_level() != STOP_NO)
		service_stopping();
	service_status(text);
}

struct live_listener night_watch_listener(struct night_watch *watch)
{
	return (struct live_listener){
		.begun = on_begun,
		.ended = on_ended,
		.line = on_line,
		.tick = on_tick,
		.data = watch,
	};
}
