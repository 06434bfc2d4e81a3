#include "transports/inode.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

/* Not in linux/magic.h: these two are not, or no longer, in Linux. */
#define ZFS_SUPER_MAGIC	     0x2fc12fc1
#define BCACHEFS_SUPER_MAGIC 0xca451a4e

/*
 * What is known of a kind of file system.  Others have an f_fsid that changes (XFS: the
 * device's number) or none.
 */
static const struct kind {
	guint32 magic;
	gboolean keeps_fsid;
	/* st_dev has no device's number, but belongs to one subvolume or data set. */
	gboolean numbers_volumes;
	/* A handle is a pointer or a count of the process that serves the mount. */
	gboolean forgets_handles;
} kinds[] = {
	{.magic = EXT4_SUPER_MAGIC, .keeps_fsid = TRUE}, /* ext2 and ext3 too */
	{.magic = CEPH_SUPER_MAGIC, .keeps_fsid = TRUE},
	{.magic = BTRFS_SUPER_MAGIC, .keeps_fsid = TRUE, .numbers_volumes = TRUE},
	{.magic = ZFS_SUPER_MAGIC, .keeps_fsid = TRUE, .numbers_volumes = TRUE},
	{.magic = BCACHEFS_SUPER_MAGIC, .keeps_fsid = TRUE, .numbers_volumes = TRUE},
	{.magic = FUSE_SUPER_MAGIC, .forgets_handles = TRUE},
};

static const struct kind *kind_of(const struct statfs *system)
{
	static const struct kind other = {0};

	for (guint i = 0; i < G_N_ELEMENTS(kinds); i++)
		if (kinds[i].magic == (guint32)system->f_type)
			return &kinds[i];
	return &other;
}

/* Appends "TYPE.HEX"; FALSE with errno set. */
static gboolean append_handle(GString *text, int fd)
{
	union {
		struct file_handle handle;
		guint8 room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} known = {.handle.handle_bytes = MAX_HANDLE_SZ};
	int mount;

	if (name_to_handle_at(fd, "", &known.handle, &mount, AT_EMPTY_PATH) < 0)
		return FALSE;
	g_string_append_printf(text, "%x.", (guint)known.handle.handle_type);
	for (guint i = 0; i < known.handle.handle_bytes; i++)
		g_string_append_printf(text, "%02x", known.handle.f_handle[i]);
	return TRUE;
}

/* That there is none is sure: the file system gives none, or seccomp forbids to ask. */
static gboolean lacks_handles(int errnum)
{
	return errnum == EOPNOTSUPP || errnum == EOVERFLOW || errnum == ENOSYS || errnum == EPERM;
}

/* Appends "[FSID.]TYPE.HEX", or the device's number; FALSE with errno set. */
static gboolean append_place(GString *text, int fd, dev_t device)
{
	const gsize length = text->len;
	const struct kind *kind;
	struct statfs system;

	if (TEMP_FAILURE_RETRY(fstatfs(fd, &system)) < 0)
		return FALSE;
	kind = kind_of(&system);
	if (kind->keeps_fsid)
		g_string_append_printf(text, "%08x%08x.", (guint)system.f_fsid.__val[0],
				       (guint)system.f_fsid.__val[1]);
	if (!kind->forgets_handles && append_handle(text, fd))
		return TRUE;
	if (!kind->forgets_handles && !lacks_handles(errno))
		return FALSE;
	g_string_truncate(text, length);
	g_string_append_printf(text, "%" G_GINT64_MODIFIER "x", (guint64)device);
	return TRUE;
}

gboolean inode_identity(int fd, const struct stat *st, char *identity, gsize identity_bytes)
{
	g_autoptr(GString) text = g_string_new("file:");

	if (!append_place(text, fd, st->st_dev))
		return FALSE;
	g_snprintf(identity, identity_bytes, "%s:%" G_GUINT64_FORMAT, text->str,
		   (guint64)st->st_ino);
	return TRUE;
}

gboolean inode_has_own_device(const char *path, const struct stat *st)
{
	struct statfs system;

	return major(st->st_dev) != 0 ||
	       (statfs(path, &system) == 0 && kind_of(&system)->numbers_volumes);
}
