/*
 * Whole copies to and from a real NFS server, through a wire that breaks, and while the
 * server restarts: what scripted peers do must be what real ones do.
 */
#include "common/units.h"
#include "tests/unit/copying.h"
#include "tests/unit/images.h"
#include "tests/unit/nfs_wire.h"
#include "tests/unit/no_waits.h"
#include "tests/unit/servers.h"
#include "tests/unit/temp.h"

#include <glib/gstdio.h>
#include <string.h>

#include <nfsc/libnfs-raw-nfs.h>

const struct transport transport_nbd = MEMORY_TRANSPORT;

enum { CONTENT = 3 * MiB + 517, STALL_MS = 1000, HEADER = 160, STRIDE = 65521 };

static struct copying copying;
static struct nfs_wire *wire;
static struct memory_image *memory;
static struct transport_config config = {.stall_ms = STALL_MS};
static gboolean from_nfs;

static char *file_path(void)
{
	return g_build_filename(nfs_server_folder(), "disk", NULL);
}

/* The server's own address, or the wire's in its place. */
static struct url *url_through(gboolean through_wire)
{
	g_autofree char *text = nfs_server_url("disk");
	struct url *url = url_parse(text, NULL);

	if (through_wire)
		url->port = wire->port;
	return url;
}

static void file_make(void)
{
	const struct image_create create = {
		.size_bytes = CONTENT, .mode = 0600, .uid = -1, .gid = -1};
	AUTO(url) url = url_through(FALSE);
	g_autoptr(GError) error = NULL;
	g_autofree char *path = file_path();

	g_unlink(path);
	assert_good(image_create(url, &config, &create, &error), error);
}

/* Both sides as they are before a copy. */
static void fill(void)
{
	g_autofree char *path = file_path();

	file_make();
	memset(memory->bytes, 0, CONTENT);
	memset(memory->stable, 0, CONTENT);
	if (from_nfs) {
		g_autofree guint8 *data = g_malloc(CONTENT);

		pattern_fill(data, CONTENT, 1);
		ck_assert(g_file_set_contents_full(path, (char *)data, CONTENT,
						   G_FILE_SET_CONTENTS_NONE, 0600, NULL));
	} else {
		memory_fill_random(memory, 0, CONTENT, 1);
	}
}

static void begin(gboolean of_source)
{
	g_autofree char *text = nfs_server_url("disk");
	AUTO(url) url = url_parse(text, NULL);

	from_nfs = of_source;
	wire = nfs_wire_start("127.0.0.1", 0, url->port);
	memory = memory_add("memory", CONTENT);
	fill();
	copying_begin_urls(&copying, from_nfs ? url_through(TRUE) : memory_url("memory"),
			   from_nfs ? memory_url("memory") : url_through(TRUE), CONTENT);
	copying.source_end.config = copying.destination_end.config = &config;
}

static void assert_copied(void)
{
	g_autofree char *path = file_path(), *found = NULL;
	gsize count = 0;

	ck_assert_msg(copying_run(&copying), "%s", copying.error->message);
	ck_assert(g_file_get_contents(path, &found, &count, NULL));
	ck_assert_uint_eq(count, CONTENT);
	ck_assert_int_eq(memcmp(found, memory->stable, CONTENT), 0);
	ck_assert_uint_eq(copying.totals.units_proven,
			  copying.spec.prove ? copying.totals.units_total : 0);
	ck_assert_uint_eq(copying.totals.mismatches, 0);
}

static void copy_with(enum nfs_wire_action action, gsize at)
{
	const guint hits = wire->hits;

	ck_assert(ledger_pass_clear(copying.ledger, copying.spec.pass, NULL));
	copying.source_end.identity[0] = copying.destination_end.identity[0] = '\0';
	fill();
	wire->action = action;
	wire->at = at;
	wire->times = 1;
	assert_copied();
	ck_assert_uint_eq(wire->hits, hits + 1);
}

static const struct {
	gboolean of_source;
	guint procedure;
	gboolean replies;
} messages[] = {
	{TRUE, NFS3_READ, FALSE},  {TRUE, NFS3_READ, TRUE},	{FALSE, NFS3_WRITE, FALSE},
	{FALSE, NFS3_WRITE, TRUE}, {FALSE, NFS3_COMMIT, FALSE}, {FALSE, NFS3_COMMIT, TRUE},
	{FALSE, NFS3_READ, TRUE},
};

START_TEST(a_wire_to_a_real_server_may_break_anywhere)
{
	begin(messages[_i].of_source);
	wire->procedure = messages[_i].procedure;
	wire->replies = messages[_i].replies;
	assert_copied(); /* learns the message's length */
	for (gsize at = 0, end = wire->message_bytes; at < end; at += at < HEADER ? 13 : STRIDE)
		copy_with(at % 2 ? NFS_WIRE_RESET : NFS_WIRE_CUT, at);
	copy_with(NFS_WIRE_STALL, 0);
	copy_with(NFS_WIRE_STALL, 20);
	copying_end(&copying);
}
END_TEST

/* Its process dies at once, and the next one has another write verifier. */
static gboolean restart_server(const struct memory_event *event, void *data, GError **error)
{
	gboolean *due = data;

	(void)error;
	if (*due && event->op == MEMORY_READ && event->offset >= 2 * MiB) {
		*due = FALSE;
		nfs_server_kill();
		nfs_server_start();
	}
	return TRUE;
}

START_TEST(a_real_server_that_restarts_gets_again_what_it_had_not_flushed)
{
	gboolean due = TRUE;

	begin(FALSE);
	copying.spec.prove = _i;
	copying.spec.workers = 1;
	memory->hook = restart_server;
	memory->hook_data = &due;
	assert_copied();
	ck_assert(!due);
	ck_assert_uint_ge(copying.totals.bytes_resent, 2 * MiB);
	copying_end(&copying);
}
END_TEST

static int run_tests(void)
{
	Suite *suite = suite_create("copies over a real NFS server");
	TCase *tests = tcase_create("real");

	tcase_add_unchecked_fixture(tests, temp_make, temp_remove);
	tcase_add_checked_fixture(tests, nfs_server_start, nfs_server_kill);
	tcase_set_timeout(tests, 120);
	tcase_add_loop_test(tests, a_wire_to_a_real_server_may_break_anywhere, 0,
			    G_N_ELEMENTS(messages));
	tcase_add_loop_test(tests, a_real_server_that_restarts_gets_again_what_it_had_not_flushed,
			    0, 2);
	suite_add_tcase(suite, tests);
	return images_run(suite);
}

int main(void)
{
	return servers_run(run_tests);
}
