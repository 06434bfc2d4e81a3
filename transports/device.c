#include "transports/device.h"

#include "common/boot.h"

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

char *device_name(const char *kind, const char *name)
{
	guint partition;
	int skipped = 0;

	/* kpartx has the number in front of the disk's UUID, udev behind its name. */
	if (sscanf(name, "part%u-mpath-%n", &partition, &skipped) == 1 && skipped > 0)
		return g_strdup_printf("scsi:%s-part%u", name + skipped, partition);
	for (guint i = 0; i < G_N_ELEMENTS(notations); i++)
		if (g_str_has_prefix(name, notations[i].prefix))
			return g_strconcat(notations[i].replacement,
					   name + strlen(notations[i].prefix), NULL);
	return g_strconcat(kind, ":", name, NULL);
}

/* An array without a superblock of Linux's own has zeros there, as the next one has. */
static char *array_uuid(dev_t disk)
{
	char *uuid = sysfs_read(disk, "md/uuid");

	if (uuid && strspn(uuid, "0-") == strlen(uuid))
		g_clear_pointer(&uuid, g_free);
	return uuid;
}

/* A name that nothing has after a reboot, or after this number was given out anew. */
static char *passing_name(dev_t disk)
{
	g_autofree char *boot = boot_id();
	g_autofree char *sequence = sysfs_read(disk, "diskseq");

	if (*boot == '\0')
		return NULL;
	return g_strdup_printf("dev:%u:%u@%s%s%s", major(disk), minor(disk), boot,
			       sequence ? "." : "", sequence ? sequence : "");
}

/* NULL where there is none. */
static char *disk_name(dev_t disk)
{
	g_autofree char *scsi = sysfs_read(disk, "device/wwid");
	g_autofree char *nvme = sysfs_read(disk, "wwid");
	g_autofree char *map = sysfs_read(disk, "dm/uuid");
	g_autofree char *array = array_uuid(disk);

	if (scsi || nvme)
		return device_name("scsi", scsi ? scsi : nvme);
	if (map || array)
		return device_name(map ? "dm" : "md", map ? map : array);
	return passing_name(disk);
}

/* A partition is known by its disk's name with "-partN" behind it. */
static char *full_name(dev_t device)
{
	g_autofree char *partition = sysfs_read(device, "partition");
	g_autofree char *whole = partition ? sysfs_read(device, "../dev") : NULL;
	g_autofree char *disk = NULL;
	guint numbers[2];

	if (!whole || sscanf(whole, "%u:%u", &numbers[0], &numbers[1]) != 2)
		return disk_name(device);
	disk = disk_name(makedev(numbers[0], numbers[1]));
	return disk ? g_strconcat(disk, "-part", partition, NULL) : NULL;
}

void device_identity(dev_t device, char *identity, gsize identity_bytes)
{
	g_autofree char *name = full_name(device);

	/* Cut off it could be the disk's, or another partition's. */
	identity[0] = '\0';
	if (name && strlen(name) < identity_bytes)
		g_strlcpy(identity, name, identity_bytes);
}

gboolean device_can_discard(dev_t device)
{
	g_autofree char *most = sysfs_read(device, "queue/discard_max_bytes");

	return most && strcmp(most, "0") != 0;
}
