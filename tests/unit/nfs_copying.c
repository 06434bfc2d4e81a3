#include "tests/unit/nfs_copying.h"

#include "common/units.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <signal.h>
#include <string.h>

enum { STALL_MS = 2000, PIECE_BYTES = 64 * 1024, SLACK_MS = 8000 };

static struct url *wire_url(const struct nfs_wire *wire)
{
	g_autofree char *text = g_strdup_printf("nfs://%s:%d/export/disk?mountport=%d", wire->host,
						wire->port, wire->port);

	return url_parse(text, NULL);
}

void nfs_copying_begin(struct nfs_copying *nfs, enum nfs_side side, guint64 content_bytes)
{
	struct url *nfs_url;

	signal(SIGPIPE, SIG_IGN); /* as stop_install does */
	memset(nfs, 0, sizeof *nfs);
	nfs->side = side;
	nfs->script = nfs_script_start();
	nfs->script->size_bytes = content_bytes;
	nfs->script->request_bytes = PIECE_BYTES;
	nfs->wire = nfs_wire_start("127.0.0.1", 0, nfs->script->port);
	nfs->memory = memory_add("memory", content_bytes);
	nfs->config.stall_ms = STALL_MS;
	nfs_url = wire_url(nfs->wire);
	if (side == NFS_IS_SOURCE) {
		pattern_fill(nfs->script->data, content_bytes, 1);
		copying_begin_urls(&nfs->copying, nfs_url, memory_url("memory"), content_bytes);
		nfs->copying.source_end.config = &nfs->config;
	} else {
		memory_fill_random(nfs->memory, 0, content_bytes, 1);
		copying_begin_urls(&nfs->copying, memory_url("memory"), nfs_url, content_bytes);
		nfs->copying.destination_end.config = &nfs->config;
	}
}

static gboolean is_equal(const struct nfs_copying *nfs, guint64 offset, gsize count)
{
	if (nfs->side == NFS_IS_SOURCE)
		return memcmp(nfs->script->data + offset, nfs->memory->stable + offset, count) == 0;
	return memcmp(nfs->memory->bytes + offset, nfs->script->durable + offset, count) == 0;
}

/* How many units are as far as this; each that the ledger calls stable must be equal. */
static guint64 count_units(struct nfs_copying *nfs, enum unit_state wanted)
{
	const struct copy_spec *spec = &nfs->copying.spec;
	const guint64 units = copy_units(spec->content_bytes, spec->unit_bytes);
	const enum unit_state promise = nfs->server_lies ? UNIT_PROVEN : UNIT_DONE;
	struct ledger_unit unit;
	guint64 count = 0;

	for (guint64 i = 0; i < units; i++) {
		const guint64 offset = i * spec->unit_bytes;

		ck_assert(ledger_unit_get(spec->ledger, spec->pass, i, &unit, NULL));
		count += unit.state >= wanted;
		if (unit.state < promise)
			continue;
		ck_assert_msg(
			is_equal(nfs, offset, MIN(spec->unit_bytes, spec->content_bytes - offset)),
			"unit %" G_GUINT64_FORMAT " is called %s, and differs", i,
			unit.state == UNIT_PROVEN ? "proven" : "done");
	}
	return count;
}

void nfs_copying_assert_copied(struct nfs_copying *nfs)
{
	const struct copy_spec *spec = &nfs->copying.spec;
	const enum unit_state last = spec->prove ? UNIT_PROVEN : UNIT_DONE;

	ck_assert_msg(copying_run(&nfs->copying), "%s", nfs->copying.error->message);
	ck_assert_uint_eq(count_units(nfs, last),
			  copy_units(spec->content_bytes, spec->unit_bytes));
	ck_assert(is_equal(nfs, 0, spec->content_bytes));
	if (!nfs->server_lies)
		ck_assert_uint_eq(nfs->copying.totals.mismatches, 0);
}

void nfs_copying_assert_fails(struct nfs_copying *nfs, enum blockmig_error code, const char *words)
{
	const gint64 begin_us = g_get_monotonic_time();
	struct copying *copying = &nfs->copying;
	gint64 took_ms;

	ck_assert_msg(!copying_run(copying), "it was copied");
	took_ms = (g_get_monotonic_time() - begin_us) / 1000;
	g_autofree char *name = url_format(nfs->side == NFS_IS_SOURCE ? copying->source_url
								      : copying->destination_url);
	ck_assert_msg(error_is(copying->error, code), "%s", copying->error->message);
	ck_assert_msg(strstr(copying->error->message, name) != NULL, "%s lacks %s",
		      copying->error->message, name);
	ck_assert_msg(strstr(copying->error->message, words) != NULL, "%s lacks %s",
		      copying->error->message, words);
	ck_assert_int_lt(took_ms, (gint64)copying->spec.retry_for_ms + SLACK_MS);
	count_units(nfs, UNIT_PROVEN);
}

gboolean nfs_copying_run(struct nfs_copying *nfs)
{
	const gboolean copied = copying_run(&nfs->copying);

	count_units(nfs, UNIT_PROVEN);
	return copied;
}

void nfs_copying_start_over(struct nfs_copying *nfs)
{
	const gsize count = nfs->copying.spec.content_bytes;

	ck_assert(ledger_pass_clear(nfs->copying.ledger, nfs->copying.spec.pass, NULL));
	if (nfs->side == NFS_IS_SOURCE) {
		memset(nfs->memory->bytes, 0, count);
		memset(nfs->memory->stable, 0, count);
	} else {
		memset(nfs->script->data, 0, count);
		memset(nfs->script->durable, 0, count);
	}
}

void nfs_copying_end(struct nfs_copying *nfs)
{
	copying_end(&nfs->copying);
}
