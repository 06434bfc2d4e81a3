/*
 * The configuration and a CHAP file.  The input is the configuration's text, a NUL byte,
 * and the CHAP file's, which "@" in the first text stands for.  Neither secret may show
 * in an error.
 */
#include "blockmig/vm/datastore.h"
#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char secret[] = "s3cr3t-of-the-fuzzer";

/* A file without a name; *@path leads to it. */
static int file_new(const char *text, gsize count, char **path)
{
	const int fd = memfd_create("fuzz", MFD_CLOEXEC);

	fuzz_require(fd >= 0 && fchmod(fd, 0600) == 0);
	fuzz_require(write(fd, text, count) == (ssize_t)count);
	*path = g_strdup_printf("/proc/self/fd/%d", fd);
	return fd;
}

static void check_config(const struct config *config)
{
	fuzz_require(config->scratch != NULL && config->scratch[0] == '/');
	for (guint i = 0; i < config->datastores->len; i++) {
		const struct datastore *store = g_ptr_array_index(config->datastores, i);

		fuzz_require(store->name && store->url);
		/* The password may be in libvirt's hands. */
		fuzz_require(!store->transport.chap_user ==
			     !(store->transport.chap_password || store->secret));
		fuzz_require(!store->transport.mutual_user == !store->transport.mutual_password);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	g_autofree char *text = fuzz_input_text(&input);
	g_autofree char *chap_path = NULL, *path = NULL;
	g_autoptr(GError) error = NULL;
	g_autoptr(GString) chap = g_string_new_len((const char *)input.at, (gssize)input.left);
	g_autoptr(GString) main_text = g_string_new(text);

	g_string_replace(chap, "@", secret, 0);
	const int chap_fd = file_new(chap->str, chap->len, &chap_path);

	g_string_replace(main_text, "@", chap_path, 0);
	const int fd = file_new(main_text->str, main_text->len, &path);
	AUTO(config) config = config_load(path, &error);

	fuzz_require(!config == (error != NULL));
	fuzz_require(!error || !strstr(error->message, secret) || strstr(text, secret));
	if (config) {
		check_config(config);
		config_datastore(config, "store", text, NULL);
	}
	close(fd);
	close(chap_fd);
	return 0;
}
