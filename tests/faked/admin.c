/* What an admin and the guest itself do to the fake domains. */
#include "tests/faked/guest.h"
#include "tests/faked/image.h"

#include "common/error.h"

#include <check.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void fake_domain(const char *name, const char *uuid, const char *disks)
{
	AUTO(guest) guest = guest_new(uuid);
	g_autofree char *xml = g_strdup_printf("<domain type='qemu'>\n"
					       "  <name>%s</name>\n"
					       "  <uuid>%s</uuid>\n"
					       "  <memory unit='KiB'>65536</memory>\n"
					       "  <os>\n"
					       "    <type arch='x86_64'>hvm</type>\n"
					       "  </os>\n"
					       "  <devices>\n"
					       "    %s\n"
					       "  </devices>\n"
					       "</domain>\n",
					       name, uuid, disks);

	guest_set_text(guest, "name", name);
	guest_set_text(guest, "inactive", xml);
	guest_set(guest, "run", RUN_OFF);
	guest_set(guest, "persistent", TRUE);
	guest_save(guest);
}

char *fake_disk(const char *path, const char *format)
{
	return g_strdup_printf("<disk type='file' device='disk'>\n"
			       "      <driver name='qemu' type='%s'/>\n"
			       "      <source file='%s'/>\n"
			       "      <target dev='vda' bus='virtio'/>\n"
			       "    </disk>",
			       format, path);
}

static struct guest *must_load(const char *uuid)
{
	struct guest *guest = guest_load(uuid, NULL);

	ck_assert_ptr_nonnull(guest);
	return guest;
}

/* As QEMU: no start on a file that somebody does not share for writing. */
static gboolean is_barred(const struct layer *top)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 201, .l_len = 1};

	if (top->source.type != SOURCE_FILE)
		return FALSE;
	int fd = open(top->source.path, O_RDWR | O_CLOEXEC);
	gboolean barred = fd < 0 || fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;

	if (fd >= 0)
		close(fd);
	return barred;
}

/* The XML that the next start uses, and whether the guest runs then. */
static char *next_life(const struct guest *guest, enum domain_run *run)
{
	gboolean saved = guest_get(guest, "managed_save");

	*run = saved ? (enum domain_run)guest_get(guest, "saved_run") : RUN_RUNNING;
	return guest_text(guest, saved ? "saved" : "inactive");
}

gboolean fake_start(const char *uuid)
{
	AUTO(guest) guest = must_load(uuid);
	enum domain_run run;
	g_autofree char *xml = next_life(guest, &run);
	AUTO(domain) domain = domain_parse(xml, NULL);

	ck_assert_ptr_nonnull(domain);
	ck_assert(guest_is_off(guest));
	for (guint i = 0; i < domain->disks->len; i++) {
		const struct disk *disk = g_ptr_array_index(domain->disks, i);

		if (is_barred(disk_layer(disk, 0)))
			return FALSE;
	}
	guest_set_text(guest, "live", xml);
	guest_set(guest, "run", run);
	guest_set(guest, "managed_save", FALSE);
	guest_set(guest, "id", guest_get(guest, "starts") + 1);
	guest_set(guest, "starts", guest_get(guest, "starts") + 1);
	guest_set_text(guest, "limits", "");
	for (guint i = 0; i < domain->disks->len; i++) {
		const struct disk *disk = g_ptr_array_index(domain->disks, i);

		guest_set_live_disk(guest, disk->target, disk->layers, NULL, "", NULL);
	}
	guest_save(guest);
	return TRUE;
}

void fake_off(const char *uuid)
{
	AUTO(guest) guest = must_load(uuid);

	guest_set(guest, "run", RUN_OFF);
	guest_set(guest, "id", 0);
	guest_set_text(guest, "live", "");
	guest_save(guest);
}

gboolean fake_managed_save(const char *uuid)
{
	AUTO(guest) guest = must_load(uuid);
	g_autofree char *live = guest_text(guest, "live");
	AUTO(domain) domain = guest_domain(guest, FALSE);

	if (guest_is_off(guest) || domain_disk(domain, "vda")->mirror.present)
		return FALSE;
	guest_set_text(guest, "saved", live);
	guest_set(guest, "saved_run", guest_get(guest, "run"));
	guest_set(guest, "managed_save", TRUE);
	guest_set(guest, "run", RUN_OFF);
	guest_set(guest, "id", 0);
	guest_set_text(guest, "live", "");
	guest_save(guest);
	return TRUE;
}

void fake_pause(const char *uuid)
{
	fake_domain_set(uuid, "run", RUN_PAUSED);
}

void fake_unpause(const char *uuid)
{
	fake_domain_set(uuid, "run", RUN_RUNNING);
}

void fake_domain_set(const char *uuid, const char *key, int value)
{
	AUTO(guest) guest = must_load(uuid);

	guest_set(guest, key, value);
	guest_save(guest);
}

void fake_domain_set_xml(const char *uuid, gboolean inactive, const char *xml)
{
	AUTO(guest) guest = must_load(uuid);

	guest_set_text(guest, inactive ? "inactive" : "live", xml);
	guest_save(guest);
}

char *fake_domain_xml(const char *uuid, gboolean inactive)
{
	AUTO(guest) guest = must_load(uuid);

	return guest_text(guest, inactive || guest_is_off(guest) ? "inactive" : "live");
}

enum domain_run fake_domain_run(const char *uuid)
{
	AUTO(guest) guest = must_load(uuid);

	return (enum domain_run)guest_get(guest, "run");
}

void fake_limits(const char *uuid, struct block_limits *limits)
{
	AUTO(guest) guest = must_load(uuid);

	*limits = guest_limits(guest);
}

void fake_set_limits(const char *uuid, const struct block_limits *limits)
{
	AUTO(guest) guest = must_load(uuid);

	guest_set_limits(guest, limits);
	guest_save(guest);
}

/* ---- the guest ----------------------------------------------------------------------- */

void fake_guest_write(const char *uuid, guint64 offset, guint64 bytes, guint8 value)
{
	AUTO(guest) guest = must_load(uuid);
	AUTO(domain) domain = guest_domain(guest, FALSE);
	const struct layer *top = disk_layer(domain_disk(domain, "vda"), 0);
	g_autofree char *path = fake_layer_file(&top->source);
	g_autofree guint8 *data = g_malloc(bytes);

	ck_assert_int_eq(guest_get(guest, "run"), RUN_RUNNING);
	memset(data, value, bytes);
	fake_image_write(path, top->format, offset, data, bytes);
	guest_set(guest, "written", guest_get(guest, "written") + (int)bytes);
	guest_save(guest);
}

void fake_guest_read(const char *uuid, void *buffer, guint64 bytes)
{
	AUTO(guest) guest = must_load(uuid);
	AUTO(domain) domain = guest_domain(guest, FALSE);

	fake_chain_read(domain_disk(domain, "vda")->layers, buffer, bytes);
}
