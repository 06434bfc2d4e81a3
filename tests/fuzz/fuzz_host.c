/*
 * What the kernel and libvirt tell of places: the mount table's text, a NUL byte, a path,
 * a NUL byte, and a storage pool's XML.
 */
#include "blockmig/vm/datastore_private.h"
#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

static char *path_of(int fd, const char *text)
{
	fuzz_require(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	return g_strdup_printf("/proc/self/fd/%d", fd);
}

static void check_mounts(const char *mountinfo, const char *path)
{
	AUTO(url) url = host_nfs_url(mountinfo, path);

	if (!url)
		return;
	g_autofree char *printed = url_format(url);

	fuzz_require(url->scheme == URL_NFS && url->host && url->path && *printed);
}

static void check_pool(const char *xml)
{
	const int fd = memfd_create("fuzz", MFD_CLOEXEC);
	g_autofree char *empty = path_of(fd, "");
	AUTO(config) config = config_load(empty, NULL);
	g_autoptr(GError) error = NULL;
	const struct datastore *store = config_datastore(config, "pool", xml, &error);

	close(fd);
	fuzz_require(!store == (error != NULL));
	fuzz_require(!store || store->url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	g_autofree char *table = fuzz_input_text(&input);
	g_autofree char *tail = fuzz_input_text(&input);
	g_autofree char *path = g_strconcat("/", tail, NULL);
	g_autofree char *pool = fuzz_input_text(&input);
	const int fd = memfd_create("fuzz", MFD_CLOEXEC);
	g_autofree char *mountinfo = path_of(fd, table);

	check_mounts(mountinfo, path);
	close(fd);
	check_pool(pool);
	return 0;
}
