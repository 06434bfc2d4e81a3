#include "blockmig/move/image_open.h"
#include "blockmig/move/kept.h"
#include "blockmig/move/passes.h"
#include "blockmig/move/phases.h"
#include "blockmig/move/start.h"

#include "blockmig/copy/endpoint.h"
#include "blockmig/vm/image_tool.h"
#include "common/error.h"
#include "common/units.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { NONCE_BYTES = 512, TOOL_DEADLINE_MS = 60 * 1000, REMOVAL_MS = 10 * 1000 };

/* More than what a nonce and a header take: somebody else's data. */
static const guint64 used_bytes = 1 * MiB;

/*
 * Whether the file at the destination is the one that this job made: by its identity where
 * that is known, else by its size, and because nobody put anything into it.  Where the job
 * was cut off as it made it, it has no size yet.  What landed as a layer has a name that no
 * other file has.
 */
static gboolean owns_file(struct move *move, const struct url *url, guint64 *size_bytes,
			  GError **error)
{
	const struct job *job = move->job;
	struct image_info info;
	AUTO(handle) handle = handle_open(url, move->destination->transport, HANDLE_READ, error);

	if (!handle || !handle_describe(handle, &info, error))
		return FALSE;
	*size_bytes = info.size_bytes;
	if (url != move->destination->url)
		return TRUE;
	if (job->destination_identity
		    ? g_str_equal(job->destination_identity, info.identity)
		    : info.allocated_bytes <= used_bytes &&
			      (info.size_bytes == job_destination_bytes(job) || !info.size_bytes))
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "it is not the file that job %" G_GINT64_FORMAT " made", job->id);
	return FALSE;
}

/* What an earlier try made, which died, or lost its connection, before it could say so. */
static gboolean take_file(struct move *move, const struct url *url,
			  const struct image_create *create, GError *exists, GError **error)
{
	const struct transport_config *transport = move->destination->transport;
	g_autoptr(GError) other = NULL;
	guint64 size_bytes;

	if (!owns_file(move, url, &size_bytes, &other)) {
		g_propagate_error(error, error_is_transient(other) ? g_steal_pointer(&other)
								   : g_error_copy(exists));
		return FALSE;
	}
	/* An empty one may lack its owner and mode, too. */
	return size_bytes ||
	       (image_remove(url, transport, error) && image_create(url, transport, create, error));
}

gboolean prepare_create(struct move *move, const struct url *url, guint64 size_bytes,
			gboolean again, GError **error)
{
	const struct image_create create = {
		.size_bytes = size_bytes,
		.mode = 0600,
		.uid = move->job->qemu_uid,
		.gid = move->job->qemu_gid,
	};
	g_autoptr(GError) failure = NULL;

	if (image_create(url, move->destination->transport, &create, &failure))
		return TRUE;
	if (again && error_is(failure, BLOCKMIG_ERROR_EXISTS))
		return take_file(move, url, &create, failure, error);
	g_propagate_error(error, g_steal_pointer(&failure));
	return FALSE;
}

/* Whether a file at the destination may be ours. */
static gboolean has_begun(const struct job *job)
{
	return job->destination_begun || job->destination_identity || job->adopted;
}

static gboolean make_file(struct move *move, GError **error)
{
	struct job *job = move->job;
	const gboolean again = has_begun(job);
	g_autoptr(GError) failure = NULL;

	job->destination_begun = TRUE;
	if (!again && !move_save(move, error))
		return FALSE;
	if (prepare_create(move, move->destination->url, job_destination_bytes(job), again,
			   &failure))
		return TRUE;
	/* Somebody else was there before us. */
	job->destination_begun = again || !error_is(failure, BLOCKMIG_ERROR_EXISTS);
	g_propagate_error(error, g_steal_pointer(&failure));
	return FALSE;
}

/* A LUN or device of which every block is known to be thin reads as zeros. */
static gboolean is_blank(struct handle *handle, const struct image_info *info, gboolean *blank,
			 GError **error)
{
	gboolean has_data = TRUE;

	if (info->extents_trusted && !image_has_data(handle, &has_data, error))
		return FALSE;
	*blank = !has_data;
	return TRUE;
}

/* The bytes that `qemu-io read -v` prints, as text: "00000000:  9f 0a …  ....". */
static gboolean dump_matches(const char *dump, const guint8 *nonce)
{
	g_auto(GStrv) lines = g_strsplit(dump, "\n", -1);
	guint matched = 0;

	for (guint i = 0; lines[i]; i++) {
		unsigned int address;
		int used = 0;

		if (sscanf(lines[i], "%x: %n", &address, &used) != 1 || used == 0)
			continue;
		for (const char *at = lines[i] + used; matched < NONCE_BYTES;) {
			unsigned int byte;
			int length = 0;

			if (sscanf(at, "%2x%n", &byte, &length) != 1 || length != 2)
				break;
			if (address >= NONCE_BYTES || byte != nonce[matched])
				return FALSE;
			matched++;
			at += length;
			if (matched % 16 == 0)
				break;
			while (*at == ' ')
				at++;
		}
	}
	return matched == NONCE_BYTES;
}

/* Reads the first block as QEMU will: its address, its user. */
static gboolean read_as_qemu(struct move *move, char **dump, GError **error)
{
	const struct job *job = move->job;
	g_autofree char *name = source_qemu_name(&job->destination->source, error);

	if (!name)
		return FALSE;

	g_autofree char *uid = g_strdup_printf("--reuid=%d", job->qemu_uid);
	g_autofree char *gid = g_strdup_printf("--regid=%d", job->qemu_gid);
	const char *plain[] = {"qemu-io", "-r", "-f", "raw", "-c", "read -v 0 512", name, NULL};
	const char *other[] = {"setpriv", uid,	"--clear-groups", gid,	"qemu-io", "-r", "-f",
			       "raw",	  "-c", "read -v 0 512",  name, NULL};
	/* libvirt gives a device to QEMU's user when QEMU is about to open it, not before. */
	gboolean as_other = geteuid() == 0 && job->qemu_uid > 0 &&
			    job->destination->source.type != SOURCE_BLOCK;

	return tool_run(as_other ? other : plain, TOOL_DEADLINE_MS, dump, error);
}

/*
 * The first block as it was @before.  A new file loses it, too: its allocation proves what
 * was left out (NFS).
 */
static gboolean erase_nonce(struct move *move, struct handle *handle, const void *before,
			    GError **error)
{
	const struct job *job = move->job;
	guint64 size_bytes = handle->size_bytes;

	if (job->taken_over && !buffer_is_zero(before, TRANSPORT_ALIGN))
		return handle_write(handle, before, TRANSPORT_ALIGN, 0, error);
	if (job->taken_over || !job->destination_made)
		return handle_zero(handle, TRANSPORT_ALIGN, 0, error);
	return handle_resize(handle, 0, error) && handle_resize(handle, size_bytes, error);
}

/* Writes the nonce, and has QEMU's address read; *dump is what that showed. */
static gboolean show_nonce(struct move *move, struct handle *handle, const guint8 *nonce,
			   char **dump, GError **error)
{
	void *block = transport_buffer_new(TRANSPORT_ALIGN);
	void *before = transport_buffer_new(TRANSPORT_ALIGN);
	g_autoptr(GError) failure = NULL;
	gboolean good =
		!move->job->taken_over || handle_read(handle, before, TRANSPORT_ALIGN, 0, error);

	if (good) {
		memset(block, 0, TRANSPORT_ALIGN);
		memcpy(block, nonce, NONCE_BYTES);
		good = handle_write(handle, block, TRANSPORT_ALIGN, 0, &failure) &&
		       handle_flush(handle, &failure) && read_as_qemu(move, dump, &failure);
		/* Whatever happened, the image is to be as it was. */
		if (!erase_nonce(move, handle, before, good ? &failure : NULL) ||
		    !handle_flush(handle, good ? &failure : NULL))
			good = FALSE;
		if (!good)
			g_propagate_error(error, g_steal_pointer(&failure));
	}
	transport_buffer_free(before);
	transport_buffer_free(block);
	return good;
}

/*
 * A nonce written through our address is read through QEMU's: both mean one image, and
 * QEMU may open it.
 */
static gboolean prove_same_place(struct move *move, struct handle *handle, GError **error)
{
	const struct source *source = &move->job->destination->source;
	guint8 nonce[NONCE_BYTES];
	g_autofree char *dump = NULL;

	if (source->type == SOURCE_ISCSI && source->auth_user) {
		move_warn(move, "the guest's own address of the destination was not tried: it "
				"needs a secret that only libvirt has");
		return TRUE;
	}
	for (guint i = 0; i < NONCE_BYTES; i++)
		nonce[i] = (guint8)g_random_int_range(0, 256);
	if (!show_nonce(move, handle, nonce, &dump, error))
		return FALSE;
	if (dump_matches(dump, nonce))
		return TRUE;
	g_autofree char *theirs = source_text(source);

	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "%s and %s are not the same place: what was written to the first does not "
		    "show in the second. Check path= and url= of the datastore",
		    move->job->destination_url, theirs);
	return FALSE;
}

/*
 * What is overwritten may be the source by another way (an export's file beside its NFS URL):
 * their inodes have one number then.  Two images may have one as well; nobody knows.
 */
static gboolean may_be_source(const struct job *job, const struct image_info *info)
{
	const char *source = job->source_identity ? strrchr(job->source_identity, ':') : NULL;
	const char *destination = strrchr(info->identity, ':');

	return !source || !destination || g_str_equal(source, destination);
}

/*
 * A file that is overwritten is emptied first: what was a hole in the source is one there,
 * and nobody writes its zeros.
 */
static gboolean settle_overwritten(struct move *move, struct handle *handle,
				   const struct image_info *info, GError **error)
{
	struct job *job = move->job;
	const guint64 size_bytes = job_destination_bytes(job);

	if (image_is_written(move->destination)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_BUSY,
			    "%s is open for writing in a running guest: shut the guest off first",
			    job->destination_url);
		return FALSE;
	}
	job->destination_fresh = !may_be_source(job, info);
	return (!job->destination_fresh || handle_resize(handle, 0, error)) &&
	       (handle->size_bytes == size_bytes || handle_resize(handle, size_bytes, error));
}

/* The size that is needed, and whether it reads as zeros where nothing was written. */
static gboolean settle(struct move *move, struct handle *handle, GError **error)
{
	struct job *job = move->job;
	struct image_info info;

	if (job->taken_over && !kept_settle(move, handle, error))
		return FALSE;
	if (!handle_describe(handle, &info, error))
		return FALSE;
	if (!job->destination_made && !job->taken_over && !info.is_device)
		return settle_overwritten(move, handle, &info, error);
	if (info.size_bytes < job_destination_bytes(job)) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s has %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT " are needed",
			    job->destination_url, info.size_bytes, job_destination_bytes(job));
		return FALSE;
	}
	if (job->taken_over)
		return TRUE;
	job->destination_fresh = job->destination_made;
	return job->destination_made || is_blank(handle, &info, &job->destination_fresh, error);
}

gboolean prepare_run(struct move *move, GError **error)
{
	struct job *job = move->job;
	struct image_info info;

	if (job->destination_identity)
		return TRUE;
	if (job->destination_made && !job->taken_over && !make_file(move, error))
		return FALSE;

	AUTO(handle) handle = handle_open(move->destination->url, move->destination->transport,
					  HANDLE_WRITE, error);

	/* By whatever name another blockmig knows it: before the first byte is written. */
	if (!handle || !handle_describe(handle, &info, error) ||
	    !start_lock_image(move->context.ledger, info.identity, job->destination_url, job->id,
			      error) ||
	    !settle(move, handle, error))
		return FALSE;
	if (move->context.session && !prove_same_place(move, handle, error))
		return FALSE;
	job->destination_identity = g_strdup(info.identity);
	return kept_forget_replaced(move, error) && move_save(move, error) &&
	       (!move->context.session || claim_update(move, error));
}

struct handle *prepare_open(struct move *move, enum handle_mode mode, GError **error)
{
	const char *identity = move->job->destination_identity;
	struct image_info info;
	AUTO(handle) handle =
		endpoint_reopen(move->destination->url, move->destination->transport, mode, error);

	if (!handle || !handle_describe(handle, &info, error) ||
	    (*identity && !image_info_matches(&info, identity, handle->name, error)))
		return NULL;
	return g_steal_pointer(&handle);
}

/*
 * FALSE, with a warning, where it may still be there.  An NFS server that is on its way back
 * shows an empty folder where what it exports is not mounted yet.
 */
static gboolean is_gone(struct move *move, GError **failure)
{
	const struct job *job = move->job;
	const gboolean missing = error_is(*failure, BLOCKMIG_ERROR_NOT_FOUND);
	const gboolean gone = missing && !(job->destination_identity &&
					   move->destination->url->scheme == URL_NFS);

	if (!gone)
		move_warn(move,
			  missing ? "%s is gone, or left behind where its server has not all of "
				    "its files back (blockmig gc looks again): %s"
				  : "%s is left behind: %s",
			  job->destination_url, (*failure)->message);
	g_clear_error(failure);
	return gone;
}

static gboolean remove_file(struct move *move, const struct url *url, GError **error)
{
	guint64 size_bytes;

	/* What landed as a layer has a name that no other file has. */
	return (url != move->destination->url || owns_file(move, url, &size_bytes, error)) &&
	       image_remove(url, move->destination->transport, error);
}

/* The guest is home already: a connection that was cut is made again. */
static gboolean remove_patiently(struct move *move, const struct url *url, GError **error)
{
	g_autoptr(GError) failure = NULL;
	struct backoff backoff;

	backoff_init(&backoff, MIN(move->job->options.retry_for_ms, REMOVAL_MS));
	while (!remove_file(move, url, &failure))
		if (!endpoint_may_retry(&backoff, &failure)) {
			g_propagate_error(error, g_steal_pointer(&failure));
			return FALSE;
		}
	return TRUE;
}

/* The rounds that became layers of their own: no later run can use them. */
static void remove_landed(struct move *move)
{
	const struct job *job = move->job;
	g_autoptr(GError) failure = NULL;

	for (guint i = 0; i < job->overlays->len; i++) {
		const struct overlay *overlay = job_overlay(job, i);

		if (!overlay->landed)
			continue;
		AUTO(url) folder = url_parent(move->destination->url);
		AUTO(url) landed = url_child(folder, overlay->landed);

		if (!remove_patiently(move, landed, &failure))
			is_gone(move, &failure);
	}
}

/*
 * A LUN or device that held nothing, or a file that was emptied, unless another one answers
 * in its place by now.
 */
static gboolean empty_image(struct move *move, GError **error)
{
	struct image_info info;
	AUTO(handle) handle = handle_open(move->destination->url, move->destination->transport,
					  HANDLE_WRITE, error);

	if (!handle || !handle_describe(handle, &info, error) ||
	    !image_info_matches(&info, move->job->destination_identity, handle->name, error))
		return FALSE;
	if (!info.is_device)
		return handle_resize(handle, 0, error) &&
		       handle_resize(handle, info.size_bytes, error);
	return handle_zero(handle, info.size_bytes, 0, error) && handle_flush(handle, error);
}

/* Whether nothing of the copy is there any more. */
static gboolean remove_copy(struct move *move)
{
	const struct job *job = move->job;
	g_autoptr(GError) failure = NULL;

	if (job->destination_made)
		return !has_begun(job) ||
		       remove_patiently(move, move->destination->url, &failure) ||
		       is_gone(move, &failure);
	if (!job->destination_identity || !job->destination_fresh)
		return TRUE;
	return empty_image(move, &failure) || is_gone(move, &failure);
}

/* What a dead peer does not let us remove is no reason to keep the guest waiting. */
gboolean prepare_undo(struct move *move, GError **error)
{
	const struct job *job = move->job;
	gint64 pass;

	if (!pass_base(move, &pass, error))
		return FALSE;
	/* Until its passes are this job's, the copy is the one's that left it. */
	if (job->taken_over && !pass)
		return kept_stamp(move, error);
	remove_landed(move);
	if (pass && kept_wanted(move)) {
		move_warn(move,
			  "the partial copy stays at %s: the same command again hashes the source "
			  "and sends only what changed",
			  job->destination_url);
		return kept_stamp(move, error);
	}
	/* What is left behind stays known. */
	return !remove_copy(move) || ledger_kept_forget(move->context.ledger, job->id, error);
}
