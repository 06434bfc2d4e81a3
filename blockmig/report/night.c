#include "blockmig/report/night.h"

#include "blockmig/report/file.h"
#include "blockmig/report/json_text.h"
#include "common/units.h"

static const enum dispatch_state states[] = {
	DISPATCH_MOVED,	 DISPATCH_HELD,	    DISPATCH_ROLLED_BACK, DISPATCH_FAILED,
	DISPATCH_UNSENT, DISPATCH_OPERATOR, DISPATCH_WAITING,
};

/* ---- sums ---------------------------------------------------------------------------------- */

struct sums {
	guint64 bytes_sent, bytes_resent;
	guint64 seconds;
	const struct dispatch_move *longest; /* downtime; NULL: no guest stood still */
};

static const struct dispatch_move *move_at(const struct evacuation *evacuation, guint i)
{
	return g_ptr_array_index(evacuation->dispatch->moves, i);
}

static struct sums sums_of(const struct evacuation *evacuation)
{
	struct sums sums = {
		.seconds = (guint64)MAX(evacuation->ended_s - evacuation->begun_s, 0),
	};

	for (guint i = 0; i < evacuation->dispatch->moves->len; i++) {
		const struct dispatch_move *move = move_at(evacuation, i);
		const struct dispatch_outcome *outcome = &move->outcome;

		sums.bytes_sent += outcome->bytes_sent;
		sums.bytes_resent += outcome->bytes_resent;
		if (outcome->downtime_ms >= 0 &&
		    (!sums.longest || outcome->downtime_ms > sums.longest->outcome.downtime_ms))
			sums.longest = move;
	}
	return sums;
}

/* Of what one move copied, bytes a second; 0: it copied nothing. */
static guint64 rate_of(const struct dispatch_move *move)
{
	return move->outcome.copy_ms ? move->outcome.bytes_sent * 1000 / move->outcome.copy_ms : 0;
}

/* ---- text ------------------------------------------------------------------------------------ */

static void add_counts(GString *text, const struct evacuation *evacuation)
{
	static const char *const words[] = {
		[DISPATCH_MOVED] = "moved",
		[DISPATCH_HELD] = "held",
		[DISPATCH_ROLLED_BACK] = "rolled back",
		[DISPATCH_FAILED] = "failed",
		[DISPATCH_UNSENT] = "not sent",
		[DISPATCH_OPERATOR] = "in need of a person",
		[DISPATCH_WAITING] = "not begun",
	};

	for (guint i = 0; i < G_N_ELEMENTS(states); i++) {
		guint count = dispatch_count(evacuation->dispatch, states[i]);

		if (states[i] == DISPATCH_MOVED)
			g_string_append_printf(text, "%u disk%s moved", count,
					       count == 1 ? "" : "s");
		else if (count)
			g_string_append_printf(text, ", %u %s", count, words[states[i]]);
	}
	if (evacuation->stays->len)
		g_string_append_printf(text, ", %u cannot be moved", evacuation->stays->len);
}

static void add_sums(GString *text, const struct evacuation *evacuation)
{
	struct sums sums = sums_of(evacuation);
	g_autofree char *sent = units_format_size(sums.bytes_sent);
	g_autofree char *again = units_format_size(sums.bytes_resent);
	g_autofree char *time = units_format_time(sums.seconds * 1000);
	g_autofree char *rate = units_format_size(sums.bytes_sent / MAX(sums.seconds, 1));

	g_string_append_printf(text, "  %s sent (%s of it again) in %s, %s/s", sent, again, time,
			       rate);
	if (sums.longest)
		g_string_append_printf(text,
				       "; the longest that a guest stood still: %" G_GINT64_FORMAT
				       " ms (%s)",
				       sums.longest->outcome.downtime_ms, sums.longest->domain);
	g_string_append_c(text, '\n');
}

static void add_move(GString *text, const struct dispatch_move *move)
{
	g_string_append_printf(text, "  %-11s %s/%s -> %s", dispatch_state_name(move->state),
			       move->domain, move->disk, move->target->name);
	if (move->reason)
		g_string_append_printf(text, ": %s", move->reason);
	if (move->state == DISPATCH_HELD && move->job)
		g_string_append_printf(text, " (job %" G_GINT64_FORMAT ")", move->job);
	g_string_append_c(text, '\n');
}

static void add_rests(GString *text, const char *head, const GPtrArray *rests)
{
	for (guint i = 0; i < rests->len; i++) {
		const struct evacuation_rest *rest = g_ptr_array_index(rests, i);

		g_string_append_printf(text, "  %-11s %s %s: %s\n", head, rest->domain, rest->what,
				       rest->reason ? rest->reason : rest->kind);
	}
}

/* What a destination's failures are worth saying about it as a whole. */
static void add_targets(GString *text, const struct evacuation *evacuation)
{
	for (guint i = 0; i < evacuation->dispatch->targets->len; i++) {
		const struct dispatch_target *target =
			g_ptr_array_index(evacuation->dispatch->targets, i);

		if (target->broken)
			g_string_append_printf(text, "  %s\n", target->broken);
	}
}

static void add_what_next(GString *text, const struct evacuation *evacuation)
{
	if (evacuation->problem)
		g_string_append_printf(text, "  ended early: %s\n", evacuation->problem);
	if (evacuation->empty)
		return;
	g_string_append(text, "  the same command goes on with what is left");
	if (evacuation->opens_s) {
		g_autofree char *opens = window_format_moment(NULL, evacuation->opens_s);

		g_string_append_printf(text, "; the window opens at %s", opens);
	}
	g_string_append_c(text, '\n');
}

char *night_text(const struct evacuation *evacuation)
{
	GString *text = g_string_new(NULL);

	g_string_append_printf(text, "evacuation of %s: ", evacuation->datastore);
	add_counts(text, evacuation);
	g_string_append_printf(text, "; %s\n", evacuation->empty ? "empty" : "not empty");
	add_sums(text, evacuation);
	add_targets(text, evacuation);
	for (guint i = 0; i < evacuation->dispatch->moves->len; i++)
		if (move_at(evacuation, i)->state != DISPATCH_MOVED)
			add_move(text, move_at(evacuation, i));
	add_rests(text, "stays", evacuation->stays);
	add_rests(text, "residue", evacuation->residue);
	add_what_next(text, evacuation);
	return g_string_free(text, FALSE);
}

/* ---- JSON ---------------------------------------------------------------------------- */

static json_t *move_object(const struct dispatch_move *move)
{
	return json_pack("{s:I, s:o, s:o, s:o, s:o, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "job",
			 (json_int_t)move->job, "domain", text_or_null(move->domain), "disk",
			 text_or_null(move->disk), "source", text_or_null(move->source),
			 "destination", text_or_null(move->target->name), "state",
			 dispatch_state_name(move->state), "reason", text_or_null(move->reason),
			 "bytes_sent", (json_int_t)move->outcome.bytes_sent, "bytes_resent",
			 (json_int_t)move->outcome.bytes_resent, "bytes_per_second",
			 (json_int_t)rate_of(move), "downtime_ms",
			 (json_int_t)move->outcome.downtime_ms, "begun", (json_int_t)move->begun_s,
			 "ended", (json_int_t)move->ended_s);
}

static json_t *rest_array(const GPtrArray *rests, const char *what)
{
	json_t *array = json_array();

	for (guint i = 0; i < rests->len; i++) {
		const struct evacuation_rest *rest = g_ptr_array_index(rests, i);

		json_array_append_new(array, json_pack("{s:o, s:o, s:o, s:o}", "domain",
						       text_or_null(rest->domain), what,
						       text_or_null(rest->what), "why",
						       text_or_null(rest->kind), "reason",
						       text_or_null(rest->reason)));
	}
	return array;
}

static const char *result_word(int status)
{
	switch (status) {
	case 0:
		return "done";
	case 3:
		return "interrupted";
	case 6:
		return "partial";
	default:
		return "failed";
	}
}

char *night_json(const struct evacuation *evacuation)
{
	int status = evacuation_status(evacuation);
	struct sums sums = sums_of(evacuation);
	json_t *moves = json_array();
	json_t *line =
		json_pack("{s:s, s:I, s:s, s:i, s:o, s:b}", "type", "summary", "job", (json_int_t)0,
			  "result", result_word(status), "exit", status, "datastore",
			  text_or_null(evacuation->datastore), "empty", evacuation->empty);

	for (guint i = 0; i < G_N_ELEMENTS(states); i++)
		json_object_set_new(line, dispatch_state_name(states[i]),
				    json_integer(dispatch_count(evacuation->dispatch, states[i])));
	for (guint i = 0; i < evacuation->dispatch->moves->len; i++)
		json_array_append_new(moves, move_object(move_at(evacuation, i)));
	json_object_set_new(line, "bytes_sent", json_integer((json_int_t)sums.bytes_sent));
	json_object_set_new(line, "bytes_resent", json_integer((json_int_t)sums.bytes_resent));
	json_object_set_new(line, "seconds", json_integer((json_int_t)sums.seconds));
	json_object_set_new(line, "downtime_ms",
			    json_integer(sums.longest ? sums.longest->outcome.downtime_ms : -1));
	json_object_set_new(line, "problem", text_or_null(evacuation->problem));
	json_object_set_new(line, "opens",
			    evacuation->opens_s ? json_integer(evacuation->opens_s) : json_null());
	json_object_set_new(line, "moves", moves);
	json_object_set_new(line, "stays", rest_array(evacuation->stays, "disk"));
	json_object_set_new(line, "residue", rest_array(evacuation->residue, "path"));

	char *text = json_dumps(line, JSON_COMPACT);
	char *copy = g_strconcat(text, "\n", NULL);

	free(text);
	json_decref(line);
	return copy;
}

/* ---- metrics --------------------------------------------------------------------------------- */

/* As the format wants labels: backslash, quote and newline escaped. */
static char *label(const char *text)
{
	GString *escaped = g_string_new(NULL);
	g_autofree char *valid = g_utf8_make_valid(text, -1);

	for (const char *c = valid; *c; c++) {
		if (*c == '\n')
			g_string_append(escaped, "\\n");
		else if (*c == '\\' || *c == '"')
			g_string_append_printf(escaped, "\\%c", *c);
		else
			g_string_append_c(escaped, *c);
	}
	return g_string_free(escaped, FALSE);
}

static void add_head(GString *text, const char *name, const char *help)
{
	g_string_append_printf(text, "# HELP blockmig_evacuation_%s %s\n", name, help);
	g_string_append_printf(text, "# TYPE blockmig_evacuation_%s gauge\n", name);
}

static void add_gauge(GString *text, const char *name, const char *datastore, double value,
		      const char *help)
{
	char number[G_ASCII_DTOSTR_BUF_SIZE];

	add_head(text, name, help);
	g_string_append_printf(text, "blockmig_evacuation_%s{datastore=\"%s\"} %s\n", name,
			       datastore, g_ascii_dtostr(number, sizeof number, value));
}

static void add_disks(GString *text, const struct evacuation *evacuation, const char *datastore)
{
	add_head(text, "disks", "Disks by what became of them in the last run.");
	for (guint i = 0; i < G_N_ELEMENTS(states); i++)
		g_string_append_printf(
			text, "blockmig_evacuation_disks{datastore=\"%s\",state=\"%s\"} %u\n",
			datastore, dispatch_state_name(states[i]),
			dispatch_count(evacuation->dispatch, states[i]));
	g_string_append_printf(text,
			       "blockmig_evacuation_disks{datastore=\"%s\",state=\"stays\"} %u\n",
			       datastore, evacuation->stays->len);
}

static void add_rates(GString *text, const struct evacuation *evacuation, const char *datastore)
{
	add_head(text, "bytes_per_second", "What one move to the destination reaches.");
	for (guint i = 0; i < evacuation->dispatch->targets->len; i++) {
		const struct dispatch_target *target =
			g_ptr_array_index(evacuation->dispatch->targets, i);
		g_autofree char *name = label(target->name);

		if (target->bytes_per_second)
			g_string_append_printf(text,
					       "blockmig_evacuation_bytes_per_second{datastore="
					       "\"%s\",destination=\"%s\"} %" G_GUINT64_FORMAT "\n",
					       datastore, name, target->bytes_per_second);
	}
}

char *night_metrics(const struct evacuation *evacuation)
{
	GString *text = g_string_new(NULL);
	struct sums sums = sums_of(evacuation);
	g_autofree char *datastore = label(evacuation->datastore);
	const struct {
		const char *name;
		double value;
		const char *help;
	} gauges[] = {
		{"empty", evacuation->empty, "1 where no domain names anything on the datastore."},
		{"residue", evacuation->residue->len, "Things that no move takes away."},
		{"exit_status", evacuation_status(evacuation), "Of the last run."},
		{"sent_bytes", (double)sums.bytes_sent, "Sent by the last run's jobs."},
		{"resent_bytes", (double)sums.bytes_resent, "Of these, sent before."},
		{"duration_seconds", (double)sums.seconds, "Of the last run."},
		{"end_time_seconds", (double)evacuation->ended_s,
		 "When the last run ended, UNIX time."},
		{"downtime_seconds",
		 sums.longest ? (double)sums.longest->outcome.downtime_ms / 1000 : 0,
		 "The longest that a guest stood still."},
	};

	add_disks(text, evacuation, datastore);
	add_rates(text, evacuation, datastore);
	for (guint i = 0; i < G_N_ELEMENTS(gauges); i++)
		add_gauge(text, gauges[i].name, datastore, gauges[i].value, gauges[i].help);
	return g_string_free(text, FALSE);
}

/* ---- files --------------------------------------------------------------------------- */

gboolean night_write(const struct evacuation *evacuation, const char *path, GError **error)
{
	char *(*format)(const struct evacuation *) = g_str_has_suffix(path, ".prom") ? night_metrics
						     : g_str_has_suffix(path, ".json") ? night_json
										       : night_text;
	g_autofree char *text = format(evacuation);

	return report_write(path, text, error);
}
