#include "tests/unit/copying.h"

#include "common/stop.h"
#include "common/units.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <glib/gstdio.h>
#include <string.h>

void copying_begin_urls(struct copying *copying, struct url *source, struct url *destination,
			guint64 content_bytes)
{
	memset(copying, 0, sizeof *copying);
	copying->folder = folder_make("copying");
	copying->ledger = ledger_open(copying->folder, &copying->error);
	g_assert_no_error(copying->error);
	copying->source_url = source;
	copying->destination_url = destination;
	copying->source_end.url = source;
	copying->destination_end.url = destination;
	copying->spec = (struct copy_spec){.ledger = copying->ledger,
					   .source = &copying->source_end,
					   .destination = &copying->destination_end,
					   .content_bytes = content_bytes,
					   .unit_bytes = MiB,
					   .fresh = TRUE,
					   .prove = TRUE,
					   .retry_for_ms = 10000};
}

void copying_begin(struct copying *copying, guint64 content_bytes)
{
	struct memory_image *source = memory_add("source", content_bytes);
	struct memory_image *destination = memory_add("destination", content_bytes);

	copying_begin_urls(copying, memory_url("source"), memory_url("destination"), content_bytes);
	copying->source = source;
	copying->destination = destination;
}

void copying_begin_dense(struct copying *copying, guint64 content_bytes)
{
	copying_begin(copying, content_bytes);
	memory_fill_random(copying->source, 0, content_bytes, 1);
}

void copying_begin_sparse(struct copying *copying)
{
	copying_begin(copying, 16 * MiB);
	memory_fill_random(copying->source, 4 * MiB, MiB, 1);
	memory_fill_random(copying->source, 9 * MiB - 4096, 4096, 2);
}

gboolean copying_run(struct copying *copying)
{
	struct copy_spec *spec = &copying->spec;
	const guint64 units = spec->ranges ? spec->range_count
					   : copy_units(spec->content_bytes, spec->unit_bytes);

	g_clear_error(&copying->error);
	if (!ledger_pass_open(copying->ledger, 1, "seed", spec->unit_bytes, units, &spec->pass,
			      &copying->error))
		return FALSE;
	return copy_run(spec, &copying->totals, &copying->error);
}

void copying_assert_copied(struct copying *copying)
{
	ck_assert_msg(copying_run(copying), "%s", copying->error ? copying->error->message : "?");
	ck_assert(copying_is_equal(copying));
	ck_assert_uint_eq(copying->totals.units_proven, copying->totals.units_total);
}

void copying_assert_fails(struct copying *copying, enum blockmig_error code, const char *words)
{
	ck_assert(!copying_run(copying));
	ck_assert_msg(error_is(copying->error, code), "%s", copying->error->message);
	ck_assert_msg(strstr(copying->error->message, words) != NULL, "%s",
		      copying->error->message);
}

gboolean copying_is_equal(const struct copying *copying)
{
	return memcmp(copying->source->bytes + copying->source_end.offset_bytes,
		      copying->destination->stable + copying->destination_end.offset_bytes,
		      copying->spec.content_bytes) == 0;
}

enum unit_state copying_state(struct copying *copying, guint64 index)
{
	AUTO(ledger) ledger = ledger_open(copying->folder, NULL);
	struct ledger_unit unit;

	g_assert(ledger && ledger_unit_get(ledger, copying->spec.pass, index, &unit, NULL));
	return unit.state;
}

char *folder_make(const char *name)
{
	g_autofree char *pattern = g_strdup_printf("%s-XXXXXX", name);
	char *folder = temp_path(pattern);

	g_assert(g_mkdtemp(folder));
	return folder;
}

void folder_remove(const char *folder)
{
	g_autoptr(GDir) entries = g_dir_open(folder, 0, NULL);
	const char *name;

	while (entries && (name = g_dir_read_name(entries))) {
		g_autofree char *path = g_build_filename(folder, name, NULL);

		g_unlink(path);
	}
	g_rmdir(folder);
}

void copying_end(struct copying *copying)
{
	stop_reset();
	ledger_close(copying->ledger);
	folder_remove(copying->folder);
	g_free(copying->folder);
	g_clear_error(&copying->error);
	url_free(copying->source_url);
	url_free(copying->destination_url);
	memory_reset();
}
