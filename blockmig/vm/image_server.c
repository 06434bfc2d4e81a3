/*
 * qemu-storage-daemon, not qemu-nbd: it takes each layer as a node of its own, so that no
 * header decides what is opened.
 */
#include "blockmig/vm/image_tool.h"

#include "blockmig/vm/child.h"
#include "blockmig/vm/socket_folder.h"
#include "blockmig/vm/source.h"
#include "common/deadline.h"
#include "common/error.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { START_MS = 30000, LOOK_AGAIN_MS = 5 };

struct image_server {
	struct socket_folder *folder;
	struct url *url, *top_url;
	struct child_service *child;
};

static void make_urls(struct image_server *server)
{
	server->url = g_new0(struct url, 1);
	server->url->scheme = URL_NBD;
	server->url->path = g_strdup("");
	server->url->lun = server->url->uid = server->url->gid = -1;
	server->url->socket = g_strdup(server->folder->socket);
	server->top_url = url_copy(server->url);
	server->top_url->top_layer_only = TRUE;
}

static gboolean is_connectable(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	gboolean connected;

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	connected = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	close(fd);
	return connected;
}

static gboolean wait_until_ready(struct image_server *server, GError **error)
{
	deadline_ms deadline = deadline_in(START_MS);
	g_autofree char *messages = NULL;

	while (!is_connectable(server->url->socket)) {
		if (child_service_ended(server->child, &messages)) {
			g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
				    "qemu-storage-daemon ended at once: %s", messages);
			return FALSE;
		}
		if (deadline_passed(deadline)) {
			g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_TRANSIENT,
				    "qemu-storage-daemon did not open its socket within %d s",
				    START_MS / 1000);
			return FALSE;
		}
		/* Not stop_sleep: the compare at the cutover must not be stopped half way. */
		g_usleep(LOOK_AGAIN_MS * G_TIME_SPAN_MILLISECOND);
	}
	return TRUE;
}

static char *listen_address(const struct image_server *server)
{
	json_t *address =
		json_pack("{s{ss ss}}", "addr", "type", "unix", "path", server->url->socket);
	char *dumped = json_dumps(address, JSON_COMPACT);
	char *text = g_strdup(dumped);

	free(dumped);
	json_decref(address);
	return text;
}

/* Options are taken in their order: the export comes once all nodes are there. */
static char **server_command(const struct image_server *server, GPtrArray *nodes)
{
	g_autoptr(GStrvBuilder) argv = g_strv_builder_new();
	g_autofree char *address = listen_address(server);

	g_strv_builder_add(argv, "qemu-storage-daemon");
	for (guint i = 0; i < nodes->len; i++) {
		g_strv_builder_add(argv, "--blockdev");
		g_strv_builder_add(argv, g_ptr_array_index(nodes, i));
	}
	g_strv_builder_add_many(argv, "--nbd-server", address, "--export",
				"{\"type\":\"nbd\",\"id\":\"export\",\"node-name\":\"layer0\","
				"\"name\":\"\",\"allocation-depth\":true}",
				NULL);
	return g_strv_builder_end(argv);
}

static gboolean start_child(struct image_server *server, GPtrArray *nodes, GError **error)
{
	g_auto(GStrv) argv = server_command(server, nodes);

	server->child = child_service_start((const char *const *)argv, error);
	return server->child && wait_until_ready(server, error);
}

struct image_server *image_server_start(GPtrArray *layers, gboolean alone, GError **error)
{
	AUTO(image_server) server = g_new0(struct image_server, 1);
	const struct layer *active = g_ptr_array_index(layers, 0);
	g_autofree char *name = source_text(&active->source);
	g_autoptr(GPtrArray) nodes = chain_nodes(layers, alone ? 1 : layers->len, error);

	server->folder = nodes ? socket_folder_new(error) : NULL;
	if (!server->folder)
		return NULL;
	make_urls(server);
	if (!start_child(server, nodes, error)) {
		g_prefix_error(error, "%s: serve the image: ", name);
		return NULL;
	}
	return g_steal_pointer(&server);
}

void image_server_stop(struct image_server *server)
{
	if (server->child)
		child_service_stop(server->child);
	if (server->url) {
		url_free(server->url);
		url_free(server->top_url);
	}
	if (server->folder)
		socket_folder_free(server->folder);
	g_free(server);
}

const struct url *image_server_url(const struct image_server *server)
{
	return server->url;
}

const struct url *image_server_top_url(const struct image_server *server)
{
	return server->top_url;
}
