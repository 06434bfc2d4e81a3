#include "blockmig/move/preflight.h"

#include "blockmig/move/overlay.h"
#include "blockmig/vm/domain_load.h"
#include "blockmig/vm/image_tool.h"
#include "common/error.h"
#include "common/units.h"

#include <string.h>

/* libvirt 12.1.0: virt-aa-helper grants write access to backing files. */
static const guint64 apparmor_fixed_version = 12001000;

void preflight_free(struct preflight *preflight)
{
	g_clear_pointer(&preflight->job, job_free);
	g_clear_pointer(&preflight->plan, move_plan_free);
	g_clear_pointer(&preflight->world, world_free);
	g_clear_pointer(&preflight->source, place_free);
	g_clear_pointer(&preflight->destination, place_free);
	g_free(preflight);
}

void preflight_obstacle(struct preflight *preflight, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	g_ptr_array_add(preflight->plan->obstacles, g_strdup_vprintf(format, arguments));
	va_end(arguments);
}

void preflight_warning(struct preflight *preflight, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	g_ptr_array_add(preflight->plan->warnings, g_strdup_vprintf(format, arguments));
	va_end(arguments);
}

char *preflight_obstacles(const struct preflight *preflight)
{
	const GPtrArray *obstacles = preflight->plan->obstacles;
	GString *text = obstacles->len ? g_string_new(NULL) : NULL;

	for (guint i = 0; i < obstacles->len; i++)
		g_string_append_printf(text, "%s%s", i ? "; also: " : "",
				       (const char *)g_ptr_array_index(obstacles, i));
	return text ? g_string_free(text, FALSE) : NULL;
}

gboolean preflight_passed(const struct preflight *preflight, GError **error)
{
	g_autofree char *text = preflight_obstacles(preflight);

	if (!text)
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT, "%s/%s: %s",
		    preflight->plan->domain, preflight->plan->disk, text);
	return FALSE;
}

gboolean preflight_apparmor_denies(const char *enabled_file, const struct domain *domain,
				   guint64 libvirt_version)
{
	g_autofree char *enabled = NULL;

	if (!g_file_get_contents(enabled_file, &enabled, NULL, NULL) || enabled[0] != 'Y')
		return FALSE;
	return domain->apparmor && libvirt_version < apparmor_fixed_version;
}

static void check_apparmor(struct preflight *preflight)
{
	guint64 libvirt = 0, qemu = 0;
	enum source_type type = preflight->job->source->source.type;

	/* The helper's profile is for local paths; network disks are not confined by it. */
	if (preflight->world->state.run == RUN_OFF ||
	    (type != SOURCE_FILE && type != SOURCE_BLOCK) ||
	    !session_version(preflight->context->session, &libvirt, &qemu, NULL))
		return;
	if (preflight_apparmor_denies("/sys/module/apparmor/parameters/enabled",
				      preflight->world->domain, libvirt))
		preflight_obstacle(
			preflight,
			"AppArmor would let the guest be frozen and then deny the commit (libvirt "
			"before 12.1): shut the guest off and move it then, or give the domain "
			"<seclabel type='none' model='apparmor'/>, or upgrade libvirt");
}

/* ---- the domain ------------------------------------------------------------------------------ */

static void check_domain(struct preflight *preflight)
{
	const struct domain_state *state = &preflight->world->state;
	const char *name = preflight->plan->domain;

	if (!state->persistent)
		preflight_obstacle(
			preflight,
			"the domain is transient: whoever makes it again would start it on "
			"its old disk. Define it (virsh define), or copy the image while it "
			"is off");
	if (state->managed_save)
		preflight_obstacle(
			preflight,
			"the domain has a managed save image, which would wake up on the old "
			"disk: start the guest, or virsh managedsave-remove %s",
			name);
	if (state->checkpoints)
		preflight_obstacle(
			preflight,
			"the domain has %u checkpoint(s), which stand in the way of external "
			"snapshots: virsh checkpoint-delete --metadata after the next backup",
			state->checkpoints);
	if (state->paused_by_error)
		preflight_obstacle(
			preflight,
			"the guest is paused because of an I/O error: mend that and resume it");
	else if (state->run == RUN_OTHER)
		preflight_obstacle(
			preflight,
			"the guest is neither running, paused nor off (crashed, dying or "
			"suspended to RAM): wait, or wake it up");
}

static void check_snapshots(struct preflight *preflight)
{
	const char *path = preflight->job->source->source.path;
	/* As an attribute's whole value: other paths may begin with this one. */
	g_autofree char *value = g_markup_printf_escaped("='%s'", path);
	g_autoptr(GPtrArray) xmls = session_snapshot_xmls(preflight->context->session,
							  preflight->job->domain_uuid, NULL);

	for (guint i = 0; xmls && i < xmls->len; i++)
		if (strstr(g_ptr_array_index(xmls, i), value)) {
			preflight_obstacle(
				preflight,
				"a libvirt snapshot of the domain names %s: delete it first "
				"(virsh snapshot-list, virsh snapshot-delete)",
				path);
			return;
		}
}

/* ---- the disk -------------------------------------------------------------------------------- */

static void check_disk_kind(struct preflight *preflight, const struct disk *disk)
{
	if (!g_str_equal(disk->device, "disk"))
		preflight_obstacle(preflight, "a %s is not moved: only device='disk' is",
				   disk->device);
	if (disk->readonly)
		preflight_obstacle(preflight,
				   "the disk is read-only: nothing of the guest's is on it");
	if (disk->shareable)
		preflight_obstacle(
			preflight,
			"the disk is shareable: another guest may write to it. Shut all of its "
			"users off and take <shareable/> away");
	if (disk->transient)
		preflight_obstacle(preflight,
				   "the disk is <transient/>: what it holds is thrown away");
	if (disk->vhost_user)
		preflight_obstacle(preflight, "the disk is vhost-user: QEMU does not see its data");
	if (disk->mirror.present)
		preflight_obstacle(preflight,
				   "a block job (%s) is under way on the disk: let it end, or "
				   "virsh blockjob --abort",
				   disk->mirror.job ? disk->mirror.job : "unknown");
}

static void check_block_job(struct preflight *preflight, const struct disk *disk)
{
	struct block_job job = {0};

	if (preflight->world->state.run == RUN_OFF || disk->mirror.present ||
	    !session_block_job(preflight->context->session, preflight->job->domain_uuid,
			       disk->target, &job, NULL) ||
	    job.kind == BLOCK_JOB_NONE)
		return;
	preflight_obstacle(preflight,
			   "a block job is under way on the disk: let it end, or virsh "
			   "blockjob %s %s --abort",
			   preflight->plan->domain, disk->target);
}

/* The inactive XML has to name what the guest runs on, or a restart would change disks. */
static void check_inactive(struct preflight *preflight, const struct disk *live)
{
	struct job *job = preflight->job;
	g_autofree char *xml = NULL;
	AUTO(domain)
	domain = domain_load(preflight->context->session, job->domain_uuid, TRUE, &xml, NULL);
	const struct disk *disk = domain ? domain_disk(domain, live->target) : NULL;

	if (!disk || !disk_layer(disk, 0) ||
	    !source_equal(&disk_layer(disk, 0)->source, &disk_layer(live, 0)->source)) {
		preflight_obstacle(preflight,
				   "live and inactive XML name different images for the disk: "
				   "make them agree (virsh edit) first");
		return;
	}
	job->disk_element = xml_disk_element(xml, live->target, NULL);
}

static void check_image(struct preflight *preflight, const struct image_format_info *info)
{
	if (info->backing_name)
		preflight_obstacle(
			preflight,
			"the image has a backing file (%s): only disks of one layer are moved. "
			"virsh blockpull or blockcommit makes one layer of it",
			info->backing_name);
	if (info->is_corrupt)
		preflight_obstacle(preflight, "the image is marked corrupt: qemu-img check -r all");
	if (info->is_encrypted)
		preflight_obstacle(preflight, "the image is encrypted (qcow2): not supported");
	if (info->has_data_file)
		preflight_obstacle(preflight, "the image has an external data file: not supported");
}

/* Opens the source by our own address, and learns what it is. */
static void open_source(struct preflight *preflight)
{
	struct job *job = preflight->job;
	struct image_info info;
	g_autoptr(GError) failure = NULL;

	preflight->source =
		place_of_source(preflight->context->config, &job->source->source, &failure);
	AUTO(handle) handle =
		preflight->source ? handle_open(preflight->source->url,
						preflight->source->transport, HANDLE_READ, &failure)
				  : NULL;

	if (!handle || !handle_describe(handle, &info, &failure)) {
		preflight_obstacle(preflight, "the source cannot be read: %s", failure->message);
		return;
	}
	job->source_url = url_format(preflight->source->url);
	job->source_identity = g_strdup(info.identity);
	preflight->source_file_bytes = info.size_bytes;
	preflight->source_allocated = info.allocated_bytes;
	preflight->plan->allocated_bytes = info.allocated_bytes;
}

static void learn_format(struct preflight *preflight)
{
	struct job *job = preflight->job;
	const struct source *source = &job->source->source;
	g_autoptr(GError) failure = NULL;
	AUTO(image_format_info) info = NULL;

	if (g_str_equal(job->source->format, "raw")) {
		/* QEMU sees whole sectors, whatever the file's size. */
		job->virtual_bytes = source->slice_bytes
					     ? source->slice_bytes
					     : units_round_up(preflight->source_file_bytes, 512);
		return;
	}
	info = image_tool_info(source, job->source->format, &failure);
	if (!info) {
		preflight_obstacle(preflight, "qemu-img cannot read the source as %s: %s",
				   job->source->format, failure->message);
		return;
	}
	job->virtual_bytes = info->virtual_bytes;
	check_image(preflight, info);
	preflight->has_snapshots = info->has_snapshots || info->has_bitmaps;
}

static void check_disk(struct preflight *preflight)
{
	const struct disk *disk = preflight->world->disk;
	struct job *job = preflight->job;
	const struct layer *top = disk_layer(disk, 0);

	check_disk_kind(preflight, disk);
	check_block_job(preflight, disk);
	if (!top || top->source.type == SOURCE_NONE) {
		preflight_obstacle(preflight, "the drive is empty");
		return;
	}
	if (top->source.type == SOURCE_OTHER) {
		preflight_obstacle(preflight,
				   "its source is not a file, a block device, NFS or iSCSI: %s",
				   top->source.other);
		return;
	}
	if (disk->layers->len > 1) {
		preflight_obstacle(
			preflight,
			"the disk has %u layers: only disks of one layer are moved. virsh "
			"blockpull %s %s --wait makes one layer of it",
			disk->layers->len, preflight->plan->domain, disk->target);
		return;
	}
	if (!top->format) {
		preflight_obstacle(preflight,
				   "the XML does not say which format the disk has (<driver "
				   "type=…>): it is not guessed from what the guest wrote");
		return;
	}
	job->source = layer_copy(top);
	job->source->index = 0;
	open_source(preflight);
	if (job->source_url)
		learn_format(preflight);
	check_inactive(preflight, disk);
	check_snapshots(preflight);
	check_apparmor(preflight);
	if (top->source.type == SOURCE_NFS)
		preflight_warning(
			preflight,
			"the guest uses QEMU's own NFS client, which can return wrong bytes "
			"after a lost connection: a mounted path is the better way");
}

/* ---- all of it ----------------------------------------------------------------------- */

static struct preflight *begin(struct move_context *context, const char *domain, const char *disk,
			       GError **error)
{
	AUTO(preflight) preflight = g_new0(struct preflight, 1);
	struct job *job = job_new();

	preflight->context = context;
	preflight->options = context->options;
	preflight->job = job;
	preflight->plan = g_new0(struct move_plan, 1);
	preflight->plan->obstacles = g_ptr_array_new_with_free_func(g_free);
	preflight->plan->warnings = g_ptr_array_new_with_free_func(g_free);
	preflight->plan->steps = g_ptr_array_new_with_free_func(g_free);
	preflight->plan->free_bytes = G_MAXUINT64;
	if (!session_lookup(context->session, domain, &job->domain_uuid, &job->domain_name, error))
		return NULL;
	job->disk = g_strdup(disk);
	preflight->plan->domain = g_strdup(job->domain_name);
	preflight->plan->disk = g_strdup(disk);

	struct move asking = {.context = *context, .job = job};

	preflight->world = world_look(&asking, error);
	return preflight->world ? g_steal_pointer(&preflight) : NULL;
}

static void fill_plan(struct preflight *preflight)
{
	struct move_plan *plan = preflight->plan;
	struct job *job = preflight->job;
	enum domain_run run = preflight->world->state.run;

	plan->state = g_strdup(run == RUN_OFF ? "off" : run == RUN_PAUSED ? "paused" : "running");
	plan->virtual_bytes = job->virtual_bytes;
	plan->source = job->source ? source_text(&job->source->source) : g_strdup("");
	plan->source_format = g_strdup(job->source ? job->source->format : "");
	plan->destination =
		job->destination ? source_text(&job->destination->source) : g_strdup("");
	plan->destination_format = g_strdup(job->destination ? job->destination->format : "");
}

struct preflight *preflight_of_source(struct move_context *context, const char *domain,
				      const char *disk, GError **error)
{
	AUTO(preflight) preflight = begin(context, domain, disk, error);

	if (!preflight)
		return NULL;
	check_domain(preflight);
	check_disk(preflight);
	return g_steal_pointer(&preflight);
}

struct preflight *preflight_run(struct move_context *context, const char *domain, const char *disk,
				const char *to, GError **error)
{
	AUTO(preflight) preflight = begin(context, domain, disk, error);

	if (!preflight)
		return NULL;
	g_autofree char *pool = session_pool_xml(context->session, to, NULL);

	preflight->datastore = config_datastore(context->config, to, pool, error);
	if (!preflight->datastore)
		return NULL;
	if (!session_qemu_owner(context->session, &preflight->job->qemu_uid,
				&preflight->job->qemu_gid, error))
		return NULL;
	check_domain(preflight);
	check_disk(preflight);
	if (preflight->job->source_url && preflight->job->virtual_bytes)
		preflight_target(preflight);
	fill_plan(preflight);
	return g_steal_pointer(&preflight);
}
