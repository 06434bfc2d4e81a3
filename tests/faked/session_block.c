/* The session's calls about a domain's disks. */
#include "tests/faked/image.h"
#include "tests/faked/session.h"

#include "common/error.h"
#include "common/stop.h"

#include <check.h>
#include <string.h>
#include <unistd.h>

/* A file, so that a process that dies takes the fault along. */
void fake_corrupt_mirror(void)
{
	g_autofree char *path = fake_path("corrupt");

	ck_assert(g_file_set_contents(path, "", 0, NULL));
}

static gboolean corrupts(void)
{
	g_autofree char *path = fake_path("corrupt");

	return unlink(path) == 0;
}

struct call {
	const char *disk, *xml, *base;
};

static gboolean has_job(const struct disk *disk, GError **error)
{
	return disk->mirror.present &&
	       !session_refuse(error, "disk 'vda' already in active block job");
}

static struct disk *running_disk(const struct guest *guest, struct domain **domain,
				 const char *target, GError **error)
{
	if (guest_is_off(guest)) {
		session_refuse(error, "domain is not running");
		return NULL;
	}
	*domain = guest_domain(guest, FALSE);
	ck_assert_ptr_nonnull(domain_disk(*domain, target));
	return domain_disk(*domain, target);
}

/* The text of an attribute that stands in @xml once. */
static char *attribute(const char *xml, const char *name)
{
	g_autofree char *begin = g_strdup_printf(" %s='", name);
	const char *at = strstr(xml, begin);

	ck_assert_ptr_nonnull(at);
	at += strlen(begin);
	return g_strndup(at, strcspn(at, "'"));
}

/* ---- snapshot ------------------------------------------------------------------------- */

static gboolean snapshot(struct guest *guest, void *arguments, GError **error)
{
	const struct call *call = arguments;
	AUTO(domain) domain = NULL;
	struct disk *disk = running_disk(guest, &domain, "vda", error);

	if (!disk || has_job(disk, error))
		return FALSE;
	g_autofree char *path = attribute(call->xml, "file");
	AUTO(source) source = source_new(SOURCE_FILE, path);
	g_autoptr(GPtrArray) chain = guest_chain_copy(disk->layers, 0);

	/* REUSE_EXT: it must be there. */
	if (!g_file_test(path, G_FILE_TEST_EXISTS))
		return session_refuse(error, "missing existing file for disk vda");
	g_ptr_array_insert(chain, 0, layer_new(source, "qcow2"));
	guest_set_live_disk(guest, "vda", chain, NULL, "", NULL);
	AUTO(domain) inactive = guest_domain(guest, TRUE);
	g_autoptr(GPtrArray) kept = guest_chain_copy(domain_disk(inactive, "vda")->layers, 0);

	g_ptr_array_insert(kept, 0, layer_new(source, "qcow2"));
	guest_follow_inactive(guest, "vda", &disk_layer(disk, 0)->source, kept);
	return TRUE;
}

gboolean session_snapshot(struct session *session, const char *uuid, const char *xml,
			  gboolean quiesce, gboolean *quiesced, GError **error)
{
	struct call call = {.xml = xml};
	g_autofree char *path = attribute(xml, "file");
	g_autofree char *name = g_path_get_basename(path);

	(void)session;
	*quiesced = quiesce;
	return session_change(uuid, "snapshot", name, snapshot, &call, error);
}

/* ---- block jobs ------------------------------------------------------------------------ */

static GPtrArray *chain_of_disk(const char *xml)
{
	g_autofree char *indented = g_strdup_printf("<domain><name>x</name><devices>%s</devices>"
						    "</domain>",
						    xml);
	AUTO(domain) domain = domain_parse(indented, NULL);

	ck_assert_ptr_nonnull(domain);
	return guest_chain_copy(((struct disk *)g_ptr_array_index(domain->disks, 0))->layers, 0);
}

static gboolean block_copy(struct guest *guest, void *arguments, GError **error)
{
	const struct call *call = arguments;
	AUTO(domain) domain = NULL;
	struct disk *disk = running_disk(guest, &domain, call->disk, error);
	g_autoptr(GPtrArray) mirror = chain_of_disk(call->xml);
	const struct layer *to = g_ptr_array_index(mirror, 0);

	if (!disk || has_job(disk, error))
		return FALSE;
	if (!g_file_test(to->source.path, G_FILE_TEST_EXISTS))
		return session_refuse(error, "missing destination file for disk vda");
	guest_set_live_disk(guest, call->disk, disk->layers, "copy", "", mirror);
	guest_set_text(guest, "mirror", call->xml);
	return TRUE;
}

gboolean session_block_copy(struct session *session, const char *uuid, const char *disk,
			    const char *xml, gboolean shallow, guint64 bytes_per_second,
			    GError **error)
{
	struct call call = {.disk = disk, .xml = xml};

	(void)session;
	(void)bytes_per_second;
	ck_assert(shallow);
	return session_change(uuid, "block-copy", NULL, block_copy, &call, error);
}

static gboolean block_commit(struct guest *guest, void *arguments, GError **error)
{
	const struct call *call = arguments;
	AUTO(domain) domain = NULL;
	struct disk *disk = running_disk(guest, &domain, call->disk, error);

	if (!disk || has_job(disk, error))
		return FALSE;
	/* "vda[3]": libvirt's id of the node. */
	guint index = (guint)g_ascii_strtoull(call->base + strlen(call->disk) + 1, NULL, 10);

	for (guint i = 1; i < disk->layers->len; i++) {
		g_autoptr(GPtrArray) base = guest_chain_copy(disk->layers, i);

		if (disk_layer(disk, i)->index != index)
			continue;
		guest_set_live_disk(guest, call->disk, disk->layers, "active-commit", "", base);
		return TRUE;
	}
	return session_refuse(error, "no such backing image");
}

gboolean session_block_commit(struct session *session, const char *uuid, const char *disk,
			      const char *base, const char *top, gboolean active,
			      guint64 bytes_per_second, GError **error)
{
	struct call call = {.disk = disk, .base = base};

	(void)session;
	(void)bytes_per_second;
	ck_assert(active && !top && base);
	return session_change(uuid, "block-commit", NULL, block_commit, &call, error);
}

/* The chain that the mirror leads to; it is in the XML only as far as it is read. */
static GPtrArray *mirror_chain(const struct guest *guest, const struct disk *disk)
{
	if (strcmp(disk->mirror.job, "copy") == 0) {
		g_autofree char *xml = guest_text(guest, "mirror");

		return chain_of_disk(xml);
	}
	for (guint i = 1; i < disk->layers->len; i++)
		if (source_equal(&disk_layer(disk, i)->source, &disk->mirror.to.source))
			return guest_chain_copy(disk->layers, i);
	ck_abort_msg("the commit's base is not in the chain");
}

static gboolean make_ready(struct guest *guest, void *arguments, GError **error)
{
	const struct call *call = arguments;
	AUTO(domain) domain = NULL;
	struct disk *disk = running_disk(guest, &domain, call->disk, error);

	if (!disk || !disk->mirror.present || *disk->mirror.ready)
		return FALSE;
	g_autoptr(GPtrArray) mirror = mirror_chain(guest, disk);

	guest_set_live_disk(guest, call->disk, disk->layers, disk->mirror.job, "yes", mirror);
	return TRUE;
}

enum block_event session_events_wait(struct session *session, const char *uuid, const char *disk,
				     guint milliseconds)
{
	struct call call = {.disk = disk};

	(void)session;
	(void)milliseconds;
	return session_change(uuid, "ready", NULL, make_ready, &call, NULL) ? EVENT_READY
									    : EVENT_NONE;
}

void session_events_clear(struct session *session, const char *uuid, const char *disk)
{
	(void)session;
	(void)uuid;
	(void)disk;
}

gboolean session_block_job(struct session *session, const char *uuid, const char *disk,
			   struct block_job *job, GError **error)
{
	AUTO(guest) guest = session_guest(uuid, error);
	AUTO(domain) domain = NULL;
	const struct disk *its = guest ? running_disk(guest, &domain, disk, error) : NULL;

	(void)session;
	if (!its)
		return FALSE;
	*job = (struct block_job){.kind = (enum block_job_kind)guest_get(guest, "block_job")};
	if (its->mirror.present)
		job->kind = strcmp(its->mirror.job, "copy") == 0 ? BLOCK_JOB_COPY
								 : BLOCK_JOB_ACTIVE_COMMIT;
	return TRUE;
}

/* ---- pivot ------------------------------------------------------------------------------ */

/* In the first cluster that the image holds, as a mirror's errors are. */
static void flip_byte(const char *path)
{
	g_autofree guint8 *cluster = g_malloc0(FAKE_CLUSTER);
	guint64 clusters, at = 0;
	g_autofree guint8 *map = fake_image_map(path, "qcow2", &clusters);

	while (at + 1 < clusters && !map[at])
		at++;
	cluster[17] = 0x55;
	fake_image_write(path, "qcow2", at * FAKE_CLUSTER, cluster, FAKE_CLUSTER);
}

/* All that the layers above number @count hold goes down into it, the deepest first. */
static void commit_layers(const struct disk *disk, guint count)
{
	for (guint i = count; i-- > 0;)
		fake_image_commit(disk_layer(disk, i)->source.path, disk_layer(disk, count));
}

static gboolean pivot(struct guest *guest, void *arguments, GError **error)
{
	const struct call *call = arguments;
	AUTO(domain) domain = NULL;
	struct disk *disk = running_disk(guest, &domain, call->disk, error);

	if (!disk)
		return FALSE;
	if (!disk->mirror.present || strcmp(disk->mirror.ready, "yes") != 0)
		return session_refuse(error, "block job is not ready yet for pivot");
	g_autoptr(GPtrArray) chain = mirror_chain(guest, disk);
	const struct layer *to = g_ptr_array_index(chain, 0);

	if (strcmp(disk->mirror.job, "copy") == 0) {
		fake_image_mirror(disk_layer(disk, 0)->source.path, to->source.path);
		if (corrupts())
			flip_byte(to->source.path);
	} else {
		commit_layers(disk, disk->layers->len - chain->len);
	}
	guest_set_live_disk(guest, call->disk, chain, NULL, "", NULL);
	guest_follow_inactive(guest, call->disk, &disk_layer(disk, 0)->source, chain);
	return TRUE;
}

gboolean session_pivot(struct session *session, const char *uuid, const char *disk,
		       guint milliseconds, GError **error)
{
	struct call call = {.disk = disk};
	struct block_job job = {0};

	(void)milliseconds;
	session_block_job(session, uuid, disk, &job, NULL);
	return session_change(uuid, job.kind == BLOCK_JOB_COPY ? "pivot" : "pivot-commit", NULL,
			      pivot, &call, error);
}

static gboolean block_abort(struct guest *guest, void *arguments, GError **error)
{
	const struct call *call = arguments;
	AUTO(domain) domain = NULL;
	struct disk *disk = running_disk(guest, &domain, call->disk, error);

	if (!disk)
		return FALSE;
	guest_set_live_disk(guest, call->disk, disk->layers, NULL, "", NULL);
	return TRUE;
}

gboolean session_block_abort(struct session *session, const char *uuid, const char *disk,
			     GError **error)
{
	struct call call = {.disk = disk};

	(void)session;
	return session_change(uuid, "block-abort", NULL, block_abort, &call, error);
}

/* ---- figures --------------------------------------------------------------------------- */

gboolean session_block_capacity(struct session *session, const char *uuid, const char *disk,
				guint64 *bytes, GError **error)
{
	(void)session;
	(void)uuid;
	(void)disk;
	*bytes = 0;
	return session_refuse(error, "not asked for by the move");
}

gboolean session_block_written(struct session *session, const char *uuid, const char *disk,
			       guint64 *bytes, GError **error)
{
	AUTO(guest) guest = session_guest(uuid, error);
	AUTO(domain) domain = NULL;

	(void)session;
	if (!guest || !running_disk(guest, &domain, disk, error))
		return FALSE;
	*bytes = (guint64)guest_get(guest, "written");
	return TRUE;
}

/* ---- limits ---------------------------------------------------------------------------- */

gboolean session_block_limits(struct session *session, const char *uuid, const char *disk,
			      struct block_limits *limits, gboolean *shared, GError **error)
{
	AUTO(guest) guest = session_guest(uuid, error);
	AUTO(domain) domain = NULL;

	(void)session;
	if (!guest || !running_disk(guest, &domain, disk, error))
		return FALSE;
	*limits = guest_limits(guest);
	*shared = guest_get(guest, "limits_shared");
	return TRUE;
}

static gboolean set_limits(struct guest *guest, void *limits, GError **error)
{
	const struct block_limits *wanted = limits;

	if (guest_is_off(guest))
		return session_refuse(error, "domain is not running");
	if (wanted->total && (wanted->read || wanted->write))
		return session_refuse(error, "total and read/write of bytes_sec cannot be set at "
					     "the same time");
	guest_set_limits(guest, wanted);
	return TRUE;
}

gboolean session_block_limits_set(struct session *session, const char *uuid, const char *disk,
				  const struct block_limits *limits, GError **error)
{
	g_autofree char *detail = g_strdup_printf("write %" G_GUINT64_FORMAT, limits->write);
	struct block_limits wanted = *limits;

	(void)session;
	(void)disk;
	return session_change(uuid, "limits", detail, set_limits, &wanted, error);
}
