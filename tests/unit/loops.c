#include "tests/unit/loops.h"

#include "common/units.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/blkpg.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

int loop_attach(const char *backing, char **path)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int file = open(backing, O_RDWR | O_CLOEXEC), device = -1;
	struct loop_config config = {.fd = (guint32)file,
				     /* PARTSCAN: its partitions go when it goes. */
				     .info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO |
						      LO_FLAGS_PARTSCAN};

	ck_assert_msg(control >= 0, "needs root and loop devices: %s", g_strerror(errno));
	/* Another process may take the number between the question and the answer. */
	for (int attempt = 0; attempt < 50 && device < 0; attempt++) {
		g_free(*path);
		*path = g_strdup_printf("/dev/loop%d", ioctl(control, LOOP_CTL_GET_FREE));
		device = open(*path, O_RDWR | O_CLOEXEC);
		if (device >= 0 && ioctl(device, LOOP_CONFIGURE, &config) < 0) {
			close(device);
			device = -1;
		}
	}
	ck_assert_int_ge(device, 0);
	close(control);
	close(file);
	return device;
}

char *loop_add_partition(int device, const char *path, guint64 offset_bytes, guint64 length_bytes)
{
	struct blkpg_partition partition = {
		.start = (long long)offset_bytes, .length = (long long)length_bytes, .pno = 1};
	struct blkpg_ioctl_arg argument = {
		.op = BLKPG_ADD_PARTITION, .datalen = sizeof partition, .data = &partition};

	ck_assert_msg(ioctl(device, BLKPG, &argument) == 0, "%s: partition: %s", path,
		      g_strerror(errno));
	return g_strconcat(path, "p1", NULL);
}

void loop_mounts_begin(void)
{
	ck_assert_msg(unshare(CLONE_NEWNS) == 0, "needs root: %s", g_strerror(errno));
	ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
}

void loop_make_ext4(const char *backing, const char *content)
{
	const char *words[] = {"mkfs.ext4",	      "-q",    "-F", backing, "8M",
			       content ? "-d" : NULL, content, NULL};
	g_autoptr(GError) error = NULL;
	int status = -1;

	ck_assert_msg(g_spawn_sync(NULL, (char **)words, NULL,
				   G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL |
					   G_SPAWN_STDERR_TO_DEV_NULL,
				   NULL, NULL, NULL, NULL, &status, &error) &&
			      status == 0,
		      "mkfs.ext4: %s", error ? error->message : "failed");
}

int loop_mount(const char *backing, const char *folder)
{
	g_autofree char *path = NULL;
	const int device = loop_attach(backing, &path);

	g_mkdir(folder, 0700);
	ck_assert_msg(mount(path, folder, "ext4", 0, NULL) == 0, "%s: %s", path, g_strerror(errno));
	return device;
}
