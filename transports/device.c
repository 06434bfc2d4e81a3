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
 * multipath's UUID is "mpath-" and the udev serial: the type of the designator (3 NAA,
 * 2 EUI-64), then its hexadecimal digits.
 */
static void identity_of_map(const char *uuid, char *identity, gsize identity_bytes)
{
	if (g_str_has_prefix(uuid, "mpath-3"))
		g_snprintf(identity, identity_bytes, "scsi:naa.%s", uuid + strlen("mpath-3"));
	else if (g_str_has_prefix(uuid, "mpath-2"))
		g_snprintf(identity, identity_bytes, "scsi:eui.%s", uuid + strlen("mpath-2"));
	else
		g_snprintf(identity, identity_bytes, "dm:%s", uuid);
}

void device_identity(dev_t device, char *identity, gsize identity_bytes)
{
	g_autofree char *scsi = sysfs_read(device, "device/wwid");
	g_autofree char *nvme = sysfs_read(device, "wwid");
	g_autofree char *map = sysfs_read(device, "dm/uuid");

	if (scsi || nvme)
		g_snprintf(identity, identity_bytes, "scsi:%s", scsi ? scsi : nvme);
	else if (map)
		identity_of_map(map, identity, identity_bytes);
	else
		g_snprintf(identity, identity_bytes, "dev:%u:%u", major(device), minor(device));
}

gboolean device_can_discard(dev_t device)
{
	g_autofree char *most = sysfs_read(device, "queue/discard_max_bytes");

	return most && strcmp(most, "0") != 0;
}
