/* The session's calls about domains; those about their disks are in session_block.c. */
#include "tests/faked/session.h"

#include "common/error.h"
#include "tests/faked/disturb.h"

#include <check.h>
#include <string.h>
#include <unistd.h>

static int qemu_uid = -1, qemu_gid = -1;

void fake_qemu_owner(int uid, int gid)
{
	qemu_uid = uid;
	qemu_gid = gid;
}

struct guest *session_guest(const char *uuid, GError **error)
{
	return disturb_libvirtd_answers(error) ? guest_load(uuid, error) : NULL;
}

gboolean session_change(const char *uuid, const char *name, const char *detail,
			session_effect effect, void *arguments, GError **error)
{
	if (!disturb_libvirtd_answers(error) || !fake_begin(name, detail, error))
		return FALSE;
	AUTO(guest) guest = session_guest(uuid, error);

	if (!guest || !effect(guest, arguments, error))
		return FALSE;
	guest_save(guest);
	return fake_end(name, error);
}

gboolean session_refuse(GError **error, const char *words)
{
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT, "libvirt: %s", words);
	return FALSE;
}

struct session *session_open(const char *uri, GError **error)
{
	(void)uri;
	(void)error;
	return g_malloc0(1);
}

void session_close(struct session *session)
{
	g_free(session);
}

void session_set_deadline(struct session *session, guint milliseconds)
{
	(void)session;
	(void)milliseconds;
}

gboolean session_version(struct session *session, guint64 *libvirt, guint64 *qemu, GError **error)
{
	(void)session;
	(void)error;
	*libvirt = 9000000;
	*qemu = 7002000;
	return TRUE;
}

gboolean session_qemu_owner(struct session *session, int *uid, int *gid, GError **error)
{
	(void)session;
	(void)error;
	*uid = qemu_uid < 0 ? (int)getuid() : qemu_uid;
	*gid = qemu_gid < 0 ? (int)getgid() : qemu_gid;
	return TRUE;
}

/* ---- questions ----------------------------------------------------------------------- */

GPtrArray *session_list(struct session *session, GError **error)
{
	g_autofree char *path = fake_path("libvirt");
	g_autoptr(GDir) entries = g_dir_open(path, 0, error);
	GPtrArray *uuids = g_ptr_array_new_with_free_func(g_free);
	const char *name;

	(void)session;
	ck_assert_ptr_nonnull(entries);
	if (!disturb_libvirtd_answers(error)) {
		g_ptr_array_unref(uuids);
		return NULL;
	}
	while ((name = g_dir_read_name(entries)))
		g_ptr_array_add(uuids, g_strdup(name));
	return uuids;
}

gboolean session_lookup(struct session *session, const char *domain, char **uuid, char **name,
			GError **error)
{
	g_autoptr(GPtrArray) uuids = session_list(session, error);

	for (guint i = 0; uuids && i < uuids->len; i++) {
		AUTO(guest) guest = guest_load(g_ptr_array_index(uuids, i), error);
		g_autofree char *its = guest_text(guest, "name");

		if (strcmp(its, domain) != 0 && strcmp(guest->uuid, domain) != 0)
			continue;
		*uuid = g_strdup(guest->uuid);
		*name = g_steal_pointer(&its);
		return TRUE;
	}
	if (uuids)
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_NOT_FOUND, "no domain '%s'",
			    domain);
	return FALSE;
}

gboolean session_state(struct session *session, const char *uuid, struct domain_state *state,
		       GError **error)
{
	AUTO(guest) guest = session_guest(uuid, error);

	(void)session;
	if (!guest)
		return FALSE;
	*state = (struct domain_state){
		.run = (enum domain_run)guest_get(guest, "run"),
		.persistent = guest_get(guest, "persistent"),
		.managed_save = guest_get(guest, "managed_save"),
		.paused_by_error = guest_get(guest, "paused_by_error"),
		.snapshots = (guint)guest_get(guest, "snapshots"),
		.checkpoints = (guint)guest_get(guest, "checkpoints"),
		.memory_bytes = 64 << 20,
		.id = (guint)guest_get(guest, "id"),
	};
	return TRUE;
}

char *session_xml(struct session *session, const char *uuid, gboolean inactive, GError **error)
{
	AUTO(guest) guest = session_guest(uuid, error);

	(void)session;
	if (!guest)
		return NULL;
	return guest_text(guest, inactive || guest_is_off(guest) ? "inactive" : "live");
}

char *session_xml_migratable(struct session *session, const char *uuid, GError **error)
{
	return session_xml(session, uuid, FALSE, error);
}

GPtrArray *session_snapshot_xmls(struct session *session, const char *uuid, GError **error)
{
	GPtrArray *xmls = g_ptr_array_new_with_free_func(g_free);
	g_autofree char *path = fake_path("snapshot.xml");
	char *xml = NULL;

	(void)session;
	(void)uuid;
	(void)error;
	if (g_file_get_contents(path, &xml, NULL, NULL))
		g_ptr_array_add(xmls, xml);
	return xmls;
}

char *session_pool_xml(struct session *session, const char *name, GError **error)
{
	(void)session;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_NOT_FOUND, "no pool '%s'", name);
	return NULL;
}

GPtrArray *session_pool_list(struct session *session, GError **error)
{
	(void)session;
	(void)error;
	return g_ptr_array_new_with_free_func(g_free);
}

char *session_secret(struct session *session, const char *usage, GError **error)
{
	(void)session;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_NOT_FOUND, "no secret '%s'", usage);
	return NULL;
}

gboolean session_pool_refresh(struct session *session, const char *name, GError **error)
{
	(void)session;
	(void)name;
	(void)error;
	return TRUE;
}

/* ---- definition and metadata ----------------------------------------------------------- */

static gboolean define(struct guest *guest, void *xml, GError **error)
{
	(void)error;
	guest_set_text(guest, "inactive", xml);
	return TRUE;
}

gboolean session_define(struct session *session, const char *xml, GError **error)
{
	AUTO(domain) domain = domain_parse(xml, error);

	(void)session;
	return domain && session_change(domain->uuid, "define", NULL, define, (void *)xml, error);
}

/* libvirt takes our element as a child of <metadata>, and leaves that there, empty. */
static char *with_metadata(const char *xml, const char *element)
{
	g_autofree char *bare = xml_without_metadata(xml, NULL);
	g_autoptr(GString) text = g_string_new(NULL);
	const char *at;

	ck_assert_ptr_nonnull(bare);
	ck_assert_ptr_null(strstr(bare, "<metadata>"));
	at = strstr(bare, "</uuid>") + strlen("</uuid>");
	g_string_append_len(text, bare, at - bare);
	if (!element && !strstr(at, "<metadata/>"))
		g_string_append(text, "\n  <metadata/>");
	if (element) {
		ck_assert(g_str_has_prefix(element, "<job "));
		g_string_append_printf(text,
				       "\n  <metadata>\n    <blockmig:job xmlns:blockmig='%s' %s\n"
				       "  </metadata>",
				       XML_METADATA_URI, element + strlen("<job "));
		at = g_str_has_prefix(at, "\n  <metadata/>") ? at + strlen("\n  <metadata/>") : at;
	}
	g_string_append(text, at);
	return g_strdup(text->str);
}

struct element {
	const char *element;
	gboolean live, config;
};

static gboolean set_metadata(struct guest *guest, void *data, GError **error)
{
	const struct element *metadata = data;
	const char *const keys[] = {"live", "inactive"};
	const gboolean wanted[] = {metadata->live, metadata->config};

	if (metadata->live && guest_is_off(guest))
		return session_refuse(error, "domain is not running");
	for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
		g_autofree char *now = guest_text(guest, keys[i]);
		g_autofree char *xml = wanted[i] ? with_metadata(now, metadata->element) : NULL;

		if (xml)
			guest_set_text(guest, keys[i], xml);
	}
	return TRUE;
}

gboolean session_metadata_set(struct session *session, const char *uuid, const char *xml,
			      gboolean live, gboolean config, GError **error)
{
	struct element metadata = {xml, live, config};

	(void)session;
	return session_change(uuid, "metadata", xml ? "set" : "remove", set_metadata, &metadata,
			      error);
}

char *session_metadata_get(struct session *session, const char *uuid, gboolean live, GError **error)
{
	AUTO(guest) guest = session_guest(uuid, error);

	(void)session;
	if (!guest)
		return NULL;
	if (live && guest_is_off(guest)) {
		session_refuse(error, "domain is not running");
		return NULL;
	}
	AUTO(domain) domain = guest_domain(guest, !live);

	return g_strdup(domain->metadata);
}

/* ---- life ------------------------------------------------------------------------------ */

static gboolean suspend(struct guest *guest, void *arguments, GError **error)
{
	(void)arguments;
	if (guest_is_off(guest))
		return session_refuse(error, "domain is not running");
	guest_set(guest, "run", RUN_PAUSED);
	return TRUE;
}

gboolean session_suspend(struct session *session, const char *uuid, GError **error)
{
	(void)session;
	return session_change(uuid, "suspend", NULL, suspend, NULL, error);
}

static gboolean resume(struct guest *guest, void *arguments, GError **error)
{
	(void)arguments;
	if (guest_is_off(guest))
		return session_refuse(error, "domain is not running");
	if (guest_get(guest, "run") == RUN_RUNNING)
		return session_refuse(error, "domain is already running");
	guest_set(guest, "run", RUN_RUNNING);
	return TRUE;
}

gboolean session_resume(struct session *session, const char *uuid, GError **error)
{
	(void)session;
	return session_change(uuid, "resume", NULL, resume, NULL, error);
}

struct save {
	const char *path, *xml;
};

static gboolean save(struct guest *guest, void *arguments, GError **error)
{
	const struct save *save = arguments;

	if (guest_is_off(guest))
		return session_refuse(error, "domain is not running");
	ck_assert(g_file_set_contents(save->path, save->xml, -1, NULL));
	guest_set(guest, "run", RUN_OFF);
	guest_set_text(guest, "live", "");
	return TRUE;
}

gboolean session_save(struct session *session, const char *uuid, const char *path, const char *xml,
		      guint milliseconds, GError **error)
{
	struct save arguments = {path, xml};

	(void)session;
	(void)milliseconds;
	return session_change(uuid, "save", NULL, save, &arguments, error);
}

static gboolean restore(struct guest *guest, void *arguments, GError **error)
{
	const struct save *saved = arguments;
	AUTO(domain) domain = domain_parse(saved->xml, error);

	ck_assert_ptr_nonnull(domain);
	if (!g_file_test(saved->path, G_FILE_TEST_EXISTS))
		return session_refuse(error, "no such file");
	guest_set_text(guest, "live", saved->xml);
	guest_set_live_disk(guest, "vda", domain_disk(domain, "vda")->layers, NULL, "", NULL);
	guest_set(guest, "run", RUN_PAUSED);
	return TRUE;
}

/* @xml NULL: as it was saved. */
gboolean session_restore(struct session *session, const char *path, const char *xml,
			 guint milliseconds, GError **error)
{
	g_autofree char *saved = NULL;

	(void)session;
	(void)milliseconds;
	if (!g_file_get_contents(path, &saved, NULL, NULL))
		return session_refuse(error, "no such file");
	struct save arguments = {path, xml ? xml : saved};
	AUTO(domain) domain = domain_parse(arguments.xml, error);

	return domain && session_change(domain->uuid, "restore", NULL, restore, &arguments, error);
}

struct saved_change {
	const char *xml;
	gboolean running;
};

static gboolean rewrite_saved(struct guest *guest, void *arguments, GError **error)
{
	const struct saved_change *change = arguments;

	if (!guest_get(guest, "managed_save"))
		return session_refuse(error, "no managed save image");
	guest_set_text(guest, "saved", change->xml);
	if (change->running)
		guest_set(guest, "saved_run", RUN_RUNNING);
	return TRUE;
}

gboolean session_managed_save_define(struct session *session, const char *uuid, const char *xml,
				     gboolean running, GError **error)
{
	struct saved_change change = {xml, running};

	(void)session;
	return session_change(uuid, "saved-define", NULL, rewrite_saved, &change, error);
}

char *session_managed_save_xml(struct session *session, const char *uuid, GError **error)
{
	AUTO(guest) guest = session_guest(uuid, error);

	(void)session;
	if (!guest)
		return NULL;
	g_autofree char *saved = guest_text(guest, "saved");

	if (guest_get(guest, "managed_save"))
		return *saved ? g_steal_pointer(&saved) : guest_text(guest, "inactive");
	session_refuse(error, "no managed save image");
	return NULL;
}
