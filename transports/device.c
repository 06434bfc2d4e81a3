#include "transports/device.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
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

static void disk_identity(dev_t disk, char *identity, gsize identity_bytes)
{
	g_autofree char *scsi = sysfs_read(disk, "device/wwid");
	g_autofree char *nvme = sysfs_read(disk, "wwid");
	g_autofree char *map = sysfs_read(disk, "dm/uuid");
	g_autofree char *numbers = g_strdup_printf("%u:%u", major(disk), minor(disk));

	if (scsi || nvme)
		identity_set("scsi", scsi ? scsi : nvme, identity, identity_bytes);
	else if (map)
		identity_set("dm", map, identity, identity_bytes);
	else
		identity_set("dev", numbers, identity, identity_bytes);
}

void device_identity(dev_t device, char *identity, gsize identity_bytes)
{
	g_autofree char *partition = sysfs_read(device, "partition");
	g_autofree char *whole = partition ? sysfs_read(device, "../dev") : NULL;
	guint numbers[2];

	if (!whole || sscanf(whole, "%u:%u", &numbers[0], &numbers[1]) != 2) {
		disk_identity(device, identity, identity_bytes);
		return;
	}
	disk_identity(makedev(numbers[0], numbers[1]), identity, identity_bytes);
	g_strlcat(identity, "-part", identity_bytes);
	g_strlcat(identity, partition, identity_bytes);
}

gboolean device_can_discard(dev_t device)
{
	g_autofree char *most = sysfs_read(device, "queue/discard_max_bytes");

	return most && strcmp(most, "0") != 0;
}
