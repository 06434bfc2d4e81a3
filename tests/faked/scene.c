#include "tests/faked/scene.h"

#include "common/error.h"
#include "common/stop.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void make_folder(const char *name)
{
	g_autofree char *path = fake_path(name);

	ck_assert_int_eq(g_mkdir_with_parents(path, 0711), 0);
}

static void warn(gint64 job, const char *text, void *data)
{
	(void)job;
	g_string_append_printf(data, "%s\n", text);
}

static void open_ledger(struct scene *scene)
{
	g_autofree char *state = fake_path("state");
	g_autoptr(GError) error = NULL;

	scene->ledger = ledger_open(state, &error);
	ck_assert_msg(scene->ledger != NULL, "%s", error ? error->message : "");
	scene->context.ledger = scene->ledger;
}

static void open_config(struct scene *scene)
{
	g_autofree char *path = fake_path("blockmig.conf");
	g_autofree char *scratch = fake_path("scratch");
	g_autofree char *text = g_strdup_printf("[blockmig]\nscratch=%s\n", scratch);
	g_autoptr(GError) error = NULL;

	ck_assert(g_file_set_contents(path, text, -1, NULL));
	scene->config = config_load(path, &error);
	ck_assert_msg(scene->config != NULL, "%s", error ? error->message : "");
}

/* Something in some clusters, zeros in some, nothing in the rest. */
static void fill(struct scene *scene)
{
	for (guint64 at = 0; at < SCENE_BYTES; at += 3 * FAKE_CLUSTER) {
		guint64 bytes = MIN(FAKE_CLUSTER, SCENE_BYTES - at);

		for (guint64 i = 0; i < bytes; i++)
			scene->content[at + i] = (guint8)(1 + (at / FAKE_CLUSTER + i) % 251);
		fake_image_write(scene->source, scene->format, at, scene->content + at, bytes);
	}
}

void scene_open(struct scene *scene, const char *format)
{
	g_autofree char *name = g_strdup_printf("src/disk.%s", format);

	memset(scene, 0, sizeof *scene);
	fake_open();
	make_folder("src");
	make_folder("dst");
	make_folder("scratch");
	make_folder("luns");
	scene->format = format;
	scene->source = fake_path(name);
	g_autofree char *destination = fake_path("dst");
	g_autofree char *disk = fake_disk(scene->source, format);

	scene->to = g_strdup_printf("file://%s/", destination);
	/* Shared with processes that are killed: what the guest wrote then was written. */
	scene->content =
		mmap(NULL, SCENE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(scene->content != MAP_FAILED);
	fake_image_create(scene->source, format, SCENE_BYTES, NULL, 0);
	fill(scene);
	fake_domain("web", FAKE_UUID, disk);
	scene->before = fake_domain_xml(FAKE_UUID, TRUE);
	scene->warnings = g_string_new(NULL);
	scene->session = session_open(NULL, NULL);
	open_ledger(scene);
	open_config(scene);
	move_options_init(&scene->options);
	scene->options.chunk_bytes = SCENE_CHUNK;
	scene->options.workers = 1;
	scene->options.retry_for_ms = 200;
	scene->reporter = (struct move_reporter){.warning = warn, .data = scene->warnings};
	scene->context = (struct move_context){
		.session = scene->session,
		.ledger = scene->ledger,
		.config = scene->config,
		.options = &scene->options,
		.reporter = &scene->reporter,
	};
}

void scene_close(struct scene *scene)
{
	stop_reset();
	ledger_close(scene->ledger);
	config_free(scene->config);
	session_close(scene->session);
	move_options_clear(&scene->options);
	g_string_free(scene->warnings, TRUE);
	munmap(scene->content, SCENE_BYTES);
	g_free(scene->before);
	g_free(scene->to);
	g_free(scene->source);
	fake_close();
}

void scene_go_to(struct scene *scene, const char *to)
{
	g_free(scene->to);
	scene->to = g_strdup(to);
}

void scene_want_format(struct scene *scene, const char *format)
{
	g_free(scene->options.format);
	scene->options.format = g_strdup(format);
}

void scene_new_process(struct scene *scene)
{
	ledger_close(scene->ledger);
	open_ledger(scene);
	fake_faults_clear();
	stop_reset();
}

/* ---- the guest ----------------------------------------------------------------------- */

void scene_write(struct scene *scene, guint64 cluster, guint64 count, guint8 value)
{
	memset(scene->content + cluster * FAKE_CLUSTER, value, count * FAKE_CLUSTER);
	fake_guest_write(FAKE_UUID, cluster * FAKE_CLUSTER, count * FAKE_CLUSTER, value);
}

void scene_assert_content(const struct scene *scene)
{
	g_autofree guint8 *seen = g_malloc(SCENE_BYTES);

	fake_guest_read(FAKE_UUID, seen, SCENE_BYTES);
	for (guint64 at = 0; at < SCENE_BYTES; at += FAKE_CLUSTER)
		ck_assert_msg(memcmp(seen + at, scene->content + at, FAKE_CLUSTER) == 0,
			      "cluster %d: the guest sees %u, not %u", (int)(at / FAKE_CLUSTER),
			      seen[at], scene->content[at]);
}

/* ---- jobs ------------------------------------------------------------------------------ */

static gboolean drive(gboolean good, struct move_summary *summary, const GError *error)
{
	if (summary)
		move_summary_free(summary);
	ck_assert_msg(good == (error == NULL), "good %d, but: %s", good,
		      error ? error->message : "no error");
	return good;
}

gboolean scene_move(struct scene *scene, GError **error)
{
	struct move_summary *summary = NULL;
	gboolean good = move_start(&scene->context, "web", "vda", scene->to, &summary, error);

	return drive(good, summary, *error);
}

static struct ledger_job *last_record(const struct scene *scene)
{
	g_autoptr(GPtrArray) jobs = ledger_job_list(scene->ledger, FALSE, NULL);

	ck_assert_ptr_nonnull(jobs);
	ck_assert_uint_gt(jobs->len, 0);
	gint64 id = ((struct ledger_job *)g_ptr_array_index(jobs, jobs->len - 1))->id;

	return ledger_job_get(scene->ledger, id, NULL);
}

gboolean scene_resume(struct scene *scene, GError **error)
{
	AUTO(ledger_job) record = last_record(scene);
	struct move_summary *summary = NULL;
	gboolean good = move_resume(&scene->context, record->id, &summary, error);

	return drive(good, summary, *error);
}

gboolean scene_abort(struct scene *scene, GError **error)
{
	AUTO(ledger_job) record = last_record(scene);
	struct move_summary *summary = NULL;
	gboolean good = move_abort(&scene->context, record->id, &summary, error);

	return drive(good, summary, *error);
}

/* TRUE where no domain carries a job: there is nothing to do. */
static gboolean adopt_and(struct scene *scene,
			  gboolean (*go_on)(struct move_context *, gint64, struct move_summary **,
					    GError **),
			  GError **error)
{
	g_autoptr(GPtrArray) orphans = move_orphans(&scene->context, error);
	struct move_summary *summary = NULL;
	gint64 job;

	ck_assert_msg(orphans != NULL, "%s", *error ? (*error)->message : "");
	ck_assert_uint_le(orphans->len, 1);
	if (!orphans->len)
		return TRUE;
	if (!move_adopt(&scene->context, g_ptr_array_index(orphans, 0), &job, error))
		return FALSE;
	gboolean good = go_on(&scene->context, job, &summary, error);

	return drive(good, summary, *error);
}

gboolean scene_adopt_and_resume(struct scene *scene, GError **error)
{
	return adopt_and(scene, move_resume, error);
}

gboolean scene_adopt_and_abort(struct scene *scene, GError **error)
{
	return adopt_and(scene, move_abort, error);
}

void scene_lose_ledger(struct scene *scene)
{
	static const char *const files[] = {"state/ledger.db", "state/ledger.db-wal",
					    "state/ledger.db-shm"};

	ledger_close(scene->ledger);
	for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autofree char *path = fake_path(files[i]);

		unlink(path);
	}
	open_ledger(scene);
}

/* Of `make coverage`: a process that leaves by _exit would tell nothing. */
void __gcov_dump(void) __attribute__((weak));

int scene_apart(struct scene *scene, gboolean (*drive_it)(struct scene *, GError **))
{
	pid_t child;
	int status;

	fflush(NULL);
	ledger_close(scene->ledger);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		g_autoptr(GError) error = NULL;

		open_ledger(scene);
		drive_it(scene, &error);
		if (__gcov_dump)
			__gcov_dump();
		_exit(error_exit_status(error));
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	open_ledger(scene);
	fake_faults_clear();
	return WIFSIGNALED(status) ? SCENE_KILLED : WEXITSTATUS(status);
}

enum job_result scene_result(const struct scene *scene)
{
	AUTO(ledger_job) record = last_record(scene);

	return record->result;
}

struct job *scene_job(const struct scene *scene)
{
	AUTO(ledger_job) record = last_record(scene);
	struct job *job = job_from_json(record->state, NULL);

	ck_assert_ptr_nonnull(job);
	job->id = record->id;
	return job;
}

/* ---- the end --------------------------------------------------------------------------- */

static struct domain *domain_of(gboolean inactive, char **xml)
{
	*xml = fake_domain_xml(FAKE_UUID, inactive);
	struct domain *domain = domain_parse(*xml, NULL);

	ck_assert_ptr_nonnull(domain);
	return domain;
}

static void assert_listing(const char *folder, const char *wanted)
{
	g_autofree char *listing = fake_listing(folder);

	ck_assert_msg(strcmp(listing, wanted) == 0, "%s holds:\n%sand not:\n%s", folder, listing,
		      wanted);
}

/* One layer, which is the file @path; nothing of ours in the XML. */
static void assert_one_layer(gboolean inactive, const char *path, const char *format)
{
	g_autofree char *xml = NULL;
	AUTO(domain) domain = domain_of(inactive, &xml);
	const struct disk *disk = domain_disk(domain, "vda");

	ck_assert_msg(disk->layers->len == 1, "%s", xml);
	ck_assert_msg(strcmp(disk_layer(disk, 0)->source.path, path) == 0, "%s", xml);
	ck_assert_str_eq(disk_layer(disk, 0)->format, format);
	ck_assert(!disk->mirror.present);
	ck_assert_msg(domain->metadata == NULL, "%s", xml);
}

static void assert_source_folder(const struct scene *scene)
{
	g_autofree char *name = g_path_get_basename(scene->source);
	g_autofree char *line = g_strconcat(name, "\n", NULL);

	assert_listing("src", line);
	assert_listing("scratch", "");
}

gboolean scene_is_moved(const struct scene *scene, const char *format)
{
	g_autofree char *name = g_strdup_printf("dst/disk.%s", format);
	g_autofree char *path = fake_path(name);
	g_autofree char *xml = NULL;
	AUTO(domain) domain = domain_of(FALSE, &xml);

	(void)scene;
	return strcmp(disk_layer(domain_disk(domain, "vda"), 0)->source.path, path) == 0;
}

void scene_assert_moved(const struct scene *scene, const char *format)
{
	ck_assert_int_eq(scene_result(scene), JOB_DONE);
	scene_assert_lies(scene, format);
}

void scene_assert_lies(const struct scene *scene, const char *format)
{
	g_autofree char *name = g_strdup_printf("dst/disk.%s", format);
	g_autofree char *path = fake_path(name);
	g_autofree char *line = g_strdup_printf("disk.%s\n", format);

	assert_one_layer(FALSE, path, format);
	assert_one_layer(TRUE, path, format);
	assert_listing("dst", line);
	assert_source_folder(scene);
	scene_assert_content(scene);
}

void scene_assert_home(const struct scene *scene)
{
	scene_assert_home_leaving(scene, "");
}

void scene_assert_home_leaving(const struct scene *scene, const char *left)
{
	g_autofree char *inactive = fake_domain_xml(FAKE_UUID, TRUE);

	ck_assert_msg(strcmp(inactive, scene->before) == 0, "the inactive XML is:\n%s", inactive);
	assert_one_layer(FALSE, scene->source, scene->format);
	assert_listing("dst", left);
	assert_source_folder(scene);
	scene_assert_content(scene);
}
