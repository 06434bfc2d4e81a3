/*
 * Regular files and block devices.
 *
 * Two descriptors of one open image: writes, and reads of what the page cache does not
 * hold, go through the O_DIRECT one, so that a copy does not push everything else out
 * of the host's memory, and a read-back comes from the disk.  The ordinary one serves
 * what is cached anyway, ends that are no multiple of a block, and file systems
 * without O_DIRECT; what was written through it is dropped from the cache after the
 * flush.  A device's page cache is never asked: the LUN may have been written from
 * elsewhere.
 */
#include "transports/device.h"
#include "transports/file_place.h"
#include "transports/inode.h"
#include "transports/transport.h"

#include "common/error.h"
#include "common/units.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Alignment that O_DIRECT asks for at every file system that we know. */
enum { DIRECT_BYTES = 4096 };

/* Pages that are looked up in the page cache at a time: 4 MiB of them. */
enum { CACHED_PAGES = 1024 };

/* From the cheapest to the dearest; one that is refused is not tried again. */
enum zero_way { ZERO_PUNCH, ZERO_RANGE, ZERO_DEVICE, ZERO_WRITE };

struct file_image {
	struct handle base;
	int fd;
	int direct_fd; /* -1: O_DIRECT does not work here */
	gsize direct_bytes, page_bytes;
	gboolean is_device;
	dev_t device;
	gboolean nowait_refused;
	enum zero_way zero_way;
	/* What went through the page cache since the last flush. */
	guint64 cached_begin, cached_end;
	int flush_errnum; /* the kernel tells of a lost write once only */
};

static struct file_image *file_of(struct handle *handle)
{
	return (struct file_image *)handle;
}

static gboolean io_failed(const struct handle *handle, const char *operation, guint64 offset,
			  int errnum, GError **error)
{
	error_set_errno(error, errnum, "%s: %s at %" G_GUINT64_FORMAT, handle->name, operation,
			offset);
	return FALSE;
}

static gboolean file_failed(const struct handle *handle, const char *operation, int errnum,
			    GError **error)
{
	error_set_errno(error, errnum, "%s: %s", handle->name, operation);
	return FALSE;
}

/* ---- opening ------------------------------------------------------------------ */

static void file_close(struct handle *handle)
{
	struct file_image *file = file_of(handle);

	if (file->fd >= 0)
		close(file->fd);
	if (file->direct_fd >= 0)
		close(file->direct_fd);
	g_free(handle->name);
	g_free(file);
}

static gboolean require_kind(const struct handle *handle, mode_t mode, GError **error)
{
	if (S_ISREG(mode) || S_ISBLK(mode))
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "%s: is %s; an image is a regular file or a block device", handle->name,
		    S_ISDIR(mode)    ? "a directory"
		    : S_ISFIFO(mode) ? "a named pipe"
		    : S_ISCHR(mode)  ? "a character device"
				     : "a socket or something stranger");
	return FALSE;
}

/*
 * The kind is looked at before the open, which can have effects at a character device,
 * and after it, in case that the name changed in between.
 */
static gboolean open_plain(struct file_image *file, const char *path, int flags, struct stat *st,
			   GError **error)
{
	struct handle *handle = &file->base;

	if (stat(path, st) < 0)
		return file_failed(handle, "open", errno, error);
	if (!require_kind(handle, st->st_mode, error))
		return FALSE;
	file->fd = (int)TEMP_FAILURE_RETRY(open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
	if (file->fd < 0 || fstat(file->fd, st) < 0)
		return file_failed(handle, "open", errno, error);
	return require_kind(handle, st->st_mode, error);
}

/* By way of /proc, so that it is the same image whatever the name means by now. */
static void open_direct(struct file_image *file, int flags)
{
	g_autofree char *same = g_strdup_printf("/proc/self/fd/%d", file->fd);

	file->direct_fd = (int)TEMP_FAILURE_RETRY(open(same, flags | O_CLOEXEC | O_DIRECT));
}

static gboolean measure(struct file_image *file, const struct stat *st, GError **error)
{
	struct handle *handle = &file->base;

	file->is_device = S_ISBLK(st->st_mode);
	file->page_bytes = (gsize)sysconf(_SC_PAGESIZE);
	if (!file->is_device) {
		handle->size_bytes = (guint64)st->st_size;
		handle->block_bytes = 1;
		file->direct_bytes = DIRECT_BYTES;
		return TRUE;
	}
	if (!device_geometry(file->fd, &handle->size_bytes, &handle->block_bytes))
		return file_failed(handle, "size", errno, error);
	file->device = st->st_rdev;
	file->direct_bytes = handle->block_bytes;
	return TRUE;
}

/*
 * What others left in the cache goes to the disk, so that holes can be believed and
 * another host reads what we read.  Where it fails, the image has lost writes already.
 */
static gboolean settle(struct file_image *file, GError **error)
{
	if (file->is_device) {
		device_drop_cache(file->fd);
		return TRUE;
	}
	if (TEMP_FAILURE_RETRY(fsync(file->fd)) == 0 || errno == EINVAL || errno == EROFS)
		return TRUE;
	return file_failed(&file->base, "sync", errno, error);
}

static gboolean file_open(const struct url *url, const struct transport_config *config,
			  enum handle_mode mode, struct handle **handle, GError **error)
{
	int flags = mode == HANDLE_WRITE ? O_RDWR : O_RDONLY;
	AUTO(handle) opened = (struct handle *)g_new0(struct file_image, 1);
	struct file_image *file = file_of(opened);
	struct stat st;

	(void)config;
	opened->transport = &transport_file;
	opened->name = url_format(url);
	file->fd = file->direct_fd = -1;
	if (!open_plain(file, url->path, flags, &st, error) || !measure(file, &st, error) ||
	    !settle(file, error))
		return FALSE;
	open_direct(file, flags);
	*handle = g_steal_pointer(&opened);
	return TRUE;
}

static gboolean file_describe(struct handle *handle, struct image_info *info, GError **error)
{
	struct file_image *file = file_of(handle);
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return file_failed(handle, "describe", errno, error);
	info->is_device = file->is_device;
	if (file->is_device) {
		info->zero_deallocates =
			file->zero_way == ZERO_PUNCH && device_can_discard(file->device);
		device_identity(file->device, info->identity, sizeof(info->identity));
		return TRUE;
	}
	info->size_bytes = (guint64)st.st_size;
	info->allocated_bytes = (guint64)st.st_blocks * 512;
	info->changed_ns = (guint64)st.st_ctim.tv_sec * NS_PER_S + (guint64)st.st_ctim.tv_nsec;
	info->extents_trusted = TRUE;
	info->zero_deallocates = file->zero_way == ZERO_PUNCH;
	return inode_identity(file->fd, &st, info->identity, sizeof(info->identity)) ||
	       file_failed(handle, "describe", errno, error);
}

static gboolean file_resize(struct handle *handle, guint64 size_bytes, GError **error)
{
	struct file_image *file = file_of(handle);

	if (file->is_device) {
		g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
			    "%s: a block device cannot be resized", handle->name);
		return FALSE;
	}
	if (ftruncate(file->fd, (off_t)size_bytes) < 0 || fsync(file->fd) < 0)
		return file_failed(handle, "resize", errno, error);
	return TRUE;
}

/* ---- reading and writing ------------------------------------------------------ */

static void drop_direct(struct file_image *file)
{
	close(file->direct_fd);
	file->direct_fd = -1;
}

/* How many of the bytes may go through the O_DIRECT descriptor. */
static gsize direct_part(const struct file_image *file, const void *buffer, gsize count,
			 guint64 offset)
{
	if (file->direct_fd < 0 || offset % file->direct_bytes != 0 ||
	    (guintptr)buffer % file->direct_bytes != 0)
		return 0;
	return count - count % file->direct_bytes;
}

/* Up to where the next direct transfer can begin, if there may be one. */
static gsize buffered_part(const struct file_image *file, gsize count, guint64 offset)
{
	gsize skew = offset % file->direct_bytes;

	if (file->direct_fd < 0 || skew == 0)
		return count;
	return MIN(count, file->direct_bytes - skew);
}

/* How many bytes from @offset on the page cache holds; 0 where that cannot be told. */
static gsize cached_part(const struct file_image *file, gsize count, guint64 offset)
{
	guint8 resident[CACHED_PAGES];
	gsize page = file->page_bytes, skew = offset % page, pages = 0;
	gsize length = MIN(skew + count, CACHED_PAGES * page);
	void *map = mmap(NULL, length, PROT_READ, MAP_SHARED, file->fd, (off_t)(offset - skew));

	if (map == MAP_FAILED)
		return 0;
	if (mincore(map, length, resident) == 0)
		while (pages * page < length && (resident[pages] & 1))
			pages++;
	munmap(map, length);
	return pages == 0 ? 0 : MIN(pages * page, length) - skew;
}

/*
 * -1 with EAGAIN: not in the page cache.  RWF_NOWAIT alone would not do: where it finds
 * nothing it starts a read-ahead, which fills the cache with all that a copy reads.
 */
static gssize read_cached(struct file_image *file, void *buffer, gsize count, guint64 offset)
{
	struct iovec vector = {.iov_base = buffer};
	gssize bytes = -1;

	if (!file->is_device && !file->nowait_refused && file->direct_fd >= 0)
		vector.iov_len = cached_part(file, count, offset);
	errno = EAGAIN;
	if (vector.iov_len > 0)
		bytes = preadv2(file->fd, &vector, 1, (off_t)offset, RWF_NOWAIT);
	if (bytes < 0 && errno == EOPNOTSUPP) {
		file->nowait_refused = TRUE;
		errno = EAGAIN;
	}
	return bytes;
}

static gssize file_pread(struct handle *handle, void *buffer, gsize count, guint64 offset,
			 GError **error)
{
	struct file_image *file = file_of(handle);
	gssize bytes = read_cached(file, buffer, count, offset);

	if (bytes < 0 && errno == EAGAIN) {
		gsize direct = direct_part(file, buffer, count, offset);
		errno = EINVAL;
		if (direct > 0)
			bytes = TEMP_FAILURE_RETRY(
				pread(file->direct_fd, buffer, direct, (off_t)offset));
		if (direct > 0 && bytes < 0 && errno == EINVAL)
			drop_direct(file);
	}
	if (bytes < 0 && errno == EINVAL)
		bytes = TEMP_FAILURE_RETRY(
			pread(file->fd, buffer, buffered_part(file, count, offset), (off_t)offset));
	if (bytes < 0)
		io_failed(handle, "read", offset, errno, error);
	return bytes;
}

static void remember_cached(struct file_image *file, guint64 count, guint64 offset)
{
	gboolean none = file->cached_begin == file->cached_end;

	file->cached_begin = none ? offset : MIN(file->cached_begin, offset);
	file->cached_end = none ? offset + count : MAX(file->cached_end, offset + count);
}

static gssize write_buffered(struct file_image *file, const void *buffer, gsize count,
			     guint64 offset)
{
	gsize part = buffered_part(file, count, offset);

	remember_cached(file, part, offset);
	return TEMP_FAILURE_RETRY(pwrite(file->fd, buffer, part, (off_t)offset));
}

static gssize file_pwrite(struct handle *handle, const void *buffer, gsize count, guint64 offset,
			  GError **error)
{
	struct file_image *file = file_of(handle);
	gsize direct = direct_part(file, buffer, count, offset);
	gssize bytes = -1;

	errno = EINVAL;
	if (direct > 0)
		bytes = TEMP_FAILURE_RETRY(pwrite(file->direct_fd, buffer, direct, (off_t)offset));
	if (bytes < 0 && errno == EINVAL) {
		if (direct > 0)
			drop_direct(file);
		bytes = write_buffered(file, buffer, count, offset);
	}
	if (bytes < 0)
		io_failed(handle, "write", offset, errno, error);
	return bytes;
}

/*
 * The kernel reports a failed write-back to one fsync and then forgets the pages, so a
 * second try must not succeed.
 */
static gboolean file_flush(struct handle *handle, GError **error)
{
	struct file_image *file = file_of(handle);

	if (file->flush_errnum == 0 && TEMP_FAILURE_RETRY(fdatasync(file->fd)) < 0 &&
	    !(handle->mode == HANDLE_READ && (errno == EINVAL || errno == EROFS)))
		file->flush_errnum = errno;
	if (file->flush_errnum != 0)
		return file_failed(handle, "flush", file->flush_errnum, error);

	if (file->cached_end > file->cached_begin) {
		posix_fadvise(file->fd, (off_t)file->cached_begin,
			      (off_t)(file->cached_end - file->cached_begin), POSIX_FADV_DONTNEED);
		file->cached_begin = file->cached_end = 0;
	}
	return TRUE;
}

/* ---- zeros and holes ---------------------------------------------------------- */

static int zero_by(struct file_image *file, enum zero_way way, guint64 count, guint64 offset)
{
	guint64 range[2] = {offset, count};

	switch (way) {
	case ZERO_PUNCH: /* at a device: unmap, but only where it then reads as zeros */
		return fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 (off_t)offset, (off_t)count);
	case ZERO_RANGE:
		return fallocate(file->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
				 (off_t)offset, (off_t)count);
	case ZERO_DEVICE:
		return ioctl(file->fd, BLKZEROOUT, range);
	case ZERO_WRITE:
		break;
	}
	errno = EOPNOTSUPP;
	return -1;
}

static gboolean is_refusal(int errnum)
{
	return errnum == EOPNOTSUPP || errnum == ENOSYS || errnum == ENOTTY || errnum == EINVAL ||
	       errnum == EPERM || errnum == ENODEV;
}

static gboolean file_zero(struct handle *handle, guint64 count, guint64 offset,
			  gboolean *unsupported, GError **error)
{
	struct file_image *file = file_of(handle);

	for (; file->zero_way != ZERO_WRITE; file->zero_way++) {
		if (TEMP_FAILURE_RETRY(zero_by(file, file->zero_way, count, offset)) == 0) {
			remember_cached(file, count, offset);
			return TRUE;
		}
		if (!is_refusal(errno))
			return io_failed(handle, "zero", offset, errno, error);
	}
	*unsupported = TRUE;
	return FALSE;
}

/*
 * Where the next data, or the next hole, begins, at most @end.  -1 on error, and where
 * the image ends before @end: what is cut off must not pass for a hole.
 */
static gint64 seek_next(const struct file_image *file, guint64 offset, guint64 end, int whence)
{
	struct stat st;
	off_t at = offset < end ? lseek(file->fd, (off_t)offset, whence) : (off_t)end;

	if (at >= 0)
		return (gint64)MIN((guint64)at, end);
	if (errno != ENXIO || whence != SEEK_DATA || fstat(file->fd, &st) < 0)
		return -1;
	if ((guint64)st.st_size < end) {
		errno = ENXIO;
		return -1;
	}
	return (gint64)end;
}

static gboolean file_extents(struct handle *handle, guint64 count, guint64 offset,
			     struct extents *extents, GError **error)
{
	struct file_image *file = file_of(handle);
	guint64 end = offset + count;

	if (file->is_device) {
		extents_append(extents, offset, count, EXTENT_DATA);
		return TRUE;
	}
	while (offset < end) {
		gint64 data = seek_next(file, offset, end, SEEK_DATA);
		if (data < 0 && errno == EINVAL) {
			extents_append(extents, offset, end - offset, EXTENT_DATA);
			return TRUE;
		}
		gint64 hole = data < 0 ? -1 : seek_next(file, (guint64)data, end, SEEK_HOLE);
		if (hole < 0)
			return io_failed(handle, "extents", offset, errno, error);
		extents_append(extents, offset, (guint64)data - offset, EXTENT_ZERO);
		extents_append(extents, (guint64)data, (guint64)(hole - data), EXTENT_DATA);
		offset = (guint64)hole;
	}
	return TRUE;
}

const struct transport transport_file = {
	.name = "file",
	.open = file_open,
	.close = file_close,
	.describe = file_describe,
	.resize = file_resize,
	.pread = file_pread,
	.pwrite = file_pwrite,
	.zero = file_zero,
	.flush = file_flush,
	.extents = file_extents,
	.create = file_place_create,
	.remove = file_place_remove,
	.space = file_place_space,
	.list = file_place_list,
};
