#include "tests/unit/lun_copying.h"

#include "tests/unit/servers.h"
#include "tests/unit/temp.h"

#include <check.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Beyond retry_for: a stall that began within it, and its clean-up. */
enum { SLACK_MS = LUN_STALL_MS + 5000 };

static void overwrite(const char *path, const guint8 *bytes, gsize count)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	g_assert(fd >= 0 && pwrite(fd, bytes, count, 0) == (ssize_t)count);
	close(fd);
}

static struct url *url_of(const struct lun_copying *mine, gboolean of_lun)
{
	g_autofree char *text = of_lun ? iscsi_server_url(mine->lun) : g_strdup(mine->file);
	g_autoptr(GError) error = NULL;
	struct url *url = url_parse(text, &error);

	g_assert_no_error(error);
	if (of_lun && mine->proxy)
		url->port = LUN_PROXY_PORT;
	return url;
}

static void copying_prepare(struct lun_copying *mine)
{
	struct copying *copying = &mine->copying;

	copying_begin_urls(copying, url_of(mine, mine->from_lun), url_of(mine, !mine->from_lun),
			   mine->content_bytes);
	copying->source_end.config = &mine->config;
	copying->destination_end.config = &mine->config;
	copying->spec.fresh = FALSE;
	copying->spec.prove = !mine->unproven;
	copying->spec.retry_for_ms = LUN_RETRY_MS;
}

static void fill(struct lun_copying *mine, guint seed)
{
	g_autofree char *backing = iscsi_server_backing(mine->lun);
	g_autofree guint8 *other = g_malloc(mine->content_bytes);

	pattern_fill(mine->content, mine->content_bytes, seed);
	for (gsize i = 0; i < mine->content_bytes; i++)
		other[i] = (guint8)~mine->content[i];
	overwrite(mine->from_lun ? backing : mine->file, mine->content, mine->content_bytes);
	overwrite(mine->from_lun ? mine->file : backing, other, mine->content_bytes);
}

void lun_copying_begin(struct lun_copying *mine, int lun, gsize content_bytes, gboolean from_lun)
{
	memset(mine, 0, sizeof(*mine));
	mine->lun = lun;
	mine->content_bytes = content_bytes;
	mine->content = g_malloc(content_bytes);
	mine->from_lun = from_lun;
	mine->file = temp_path("image.raw");
	mine->config.stall_ms = LUN_STALL_MS;
	mine->proxy = proxy_start(LUN_PROXY_PORT, LUN_TARGET_PORT);
	fill(mine, 1);
	copying_prepare(mine);
}

void lun_copying_again(struct lun_copying *mine, guint seed)
{
	copying_end(&mine->copying);
	fill(mine, seed);
	copying_prepare(mine);
}

void lun_copying_prove(struct lun_copying *mine, gboolean prove)
{
	mine->unproven = !prove;
	mine->copying.spec.prove = prove;
}

void lun_copying_zero(struct lun_copying *mine, gsize offset, gsize count)
{
	g_autofree char *backing = iscsi_server_backing(mine->lun);

	memset(mine->content + offset, 0, count);
	overwrite(mine->from_lun ? backing : mine->file, mine->content, mine->content_bytes);
}

void lun_copying_end(struct lun_copying *mine)
{
	copying_end(&mine->copying);
	g_clear_pointer(&mine->proxy, proxy_stop);
	g_free(mine->content);
	g_free(mine->file);
}

gboolean lun_copying_is_equal(const struct lun_copying *mine)
{
	g_autofree char *backing = iscsi_server_backing(mine->lun);
	g_autofree char *found = NULL;
	gsize found_bytes = 0;

	return g_file_get_contents(mine->from_lun ? mine->file : backing, &found, &found_bytes,
				   NULL) &&
	       found_bytes >= mine->content_bytes &&
	       memcmp(found, mine->content, mine->content_bytes) == 0;
}

static void assert_equal(struct lun_copying *mine)
{
	struct copying *copying = &mine->copying;

	ck_assert_msg(copying_run(copying), "%s", copying->error ? copying->error->message : "?");
	ck_assert(lun_copying_is_equal(mine));
	ck_assert_uint_eq(copying->totals.units_proven,
			  mine->unproven ? 0 : copying->totals.units_total);
}

void lun_copying_assert_copied(struct lun_copying *mine)
{
	assert_equal(mine);
	ck_assert_uint_eq(mine->copying.totals.mismatches, 0);
}

void lun_copying_assert_mended(struct lun_copying *mine)
{
	assert_equal(mine);
	ck_assert_uint_ge(mine->copying.totals.mismatches, 1);
}

void lun_copying_assert_fails(struct lun_copying *mine, enum blockmig_error code, const char *words)
{
	const gint64 begin_us = g_get_monotonic_time();
	struct copying *copying = &mine->copying;

	ck_assert(!copying_run(copying));
	ck_assert_int_le((g_get_monotonic_time() - begin_us) / 1000, LUN_RETRY_MS + SLACK_MS);
	ck_assert_msg(error_is(copying->error, code), "%s", copying->error->message);
	lun_copying_assert_says(mine, words);
	ck_assert_uint_lt(copying->totals.units_proven, copying->totals.units_total);
}

void lun_copying_assert_says(const struct lun_copying *mine, const char *words)
{
	const char *message = mine->copying.error->message;

	ck_assert_msg(strstr(message, words) != NULL, "%s", message);
}

void lun_copying_assert_names_it(const struct lun_copying *mine)
{
	const struct copying *copying = &mine->copying;
	g_autofree char *name =
		url_format(mine->from_lun ? copying->source_url : copying->destination_url);

	lun_copying_assert_says(mine, name);
}
