#include "transports/device.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

gboolean device_geometry(int fd, guint64 *size_bytes, guint32 *block_bytes)
{
	int block = 0;

	if (ioctl(fd, BLKGETSIZE64, size_bytes) < 0 || ioctl(fd, BLKSSZGET, &block) < 0)
		return FALSE;
	*block_bytes = (guint32)block;
	return TRUE;
}

void device_drop_cache(int fd)
{
	ioctl(fd, BLKFLSBUF, 0);
}

/* The stripped text of /sys/dev/block/M:m/@name; NULL where there is none. */
static char *sysfs_read(dev_t device, const char *name)
{
	g_autofree char *path =
		g_strdup_printf("/sys/dev/block/%u:%u/%s", major(device), minor(device), name);
	char *text = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return NULL;
	g_strstrip(text);
	if (text[0] != '\0')
		return text;
	g_free(text);
	return NULL;
}

/*
 * All in udev's notation: the type of the designator (3 NAA, 2 EUI-64), then its
 * hexadecimal digits.  sysfs spells the type, multipath's UUID has "mpath-" in front.
 */
static const struct {
	const char *prefix, *replacement;
} notations[] = {{"naa.", "scsi:3"}, {"eui.", "scsi:2"}, {"mpath-", "scsi:"}};

static void identity_set(const char *kind, const char *text, char *identity, gsize identity_bytes)
{
	g_snprintf(identity, identity_bytes, "%s:%s", kind, text);
	for (guint i = 0; i < G_N_ELEMENTS(notations); i++)
		if (g_str_has_prefix(text, notations[i].prefix))
			g_snprintf(identity, identity_bytes, "%s%s", notations[i].replacement,
				   text + strlen(notations[i].prefix));
}

void device_identity(dev_t device, char *identity, gsize identity_bytes)
{
	g_autofree char *scsi = sysfs_read(device, "device/wwid");
	g_autofree char *nvme = sysfs_read(device, "wwid");
	g_autofree char *map = sysfs_read(device, "dm/uuid");
	g_autofree char *numbers = g_strdup_printf("%u:%u", major(device), minor(device));

	if (scsi || nvme)
		identity_set("scsi", scsi ? scsi : nvme, identity, identity_bytes);
	else if (map)
		identity_set("dm", map, identity, identity_bytes);
	else
		identity_set("dev", numbers, identity, identity_bytes);
}

gboolean device_can_discard(dev_t device)
{
	g_autofree char *most = sysfs_read(device, "queue/discard_max_bytes");

	return most && strcmp(most, "0") != 0;
}
