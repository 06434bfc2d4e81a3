/*
 * A server that sends any bytes at all in answer to READs and WRITEs: the input is how
 * many requests of which kind there are, and what comes back on the connection.  Whatever
 * it is: a turn ends, what is no longer in flight has an answer that fits its request, and
 * no byte lands outside the buffers.
 */
#include "tests/fuzz/fuzz.h"
#include "transports/nfs_wire.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUESTS_MOST = 4, BYTES_SCALE = 16, STALL_MS = 1 };

static int our_end = -1;

int rpc_get_fd(struct rpc_context *rpc G_GNUC_UNUSED)
{
	return our_end;
}

void rpc_destroy_context(struct rpc_context *rpc G_GNUC_UNUSED)
{
}

/* The first number of a call is then known to the input. */
guint32 g_random_int(void)
{
	return 0;
}

static void check_answer(const struct nfs_wire_request *request)
{
	if (request->in_flight || request->status != NFS3_OK)
		return;
	fuzz_require(request->count <= request->bytes);
	fuzz_require(!request->writing || request->count > 0);
}

static void use(struct nfs_link *link, struct fuzz_input *input)
{
	static char handle[] = "file";
	const nfs_fh3 file = {.data = {.data_len = sizeof(handle), .data_val = handle}};
	const guint count = 1 + fuzz_input_byte(input) % REQUESTS_MOST;
	guint8 sizes[REQUESTS_MOST];
	struct nfs_wire_request requests[REQUESTS_MOST] = {0};
	struct nfs_wire *wire = nfs_wire_new(link);
	gboolean alive = TRUE;

	fuzz_input_take(input, sizes, sizeof(sizes));
	for (guint i = 0; i < count; i++) {
		const guint bytes = sizes[i] * BYTES_SCALE;

		requests[i] = (struct nfs_wire_request){.writing = sizes[i] % 2,
							.file = &file,
							.buffer = g_malloc0(bytes),
							.offset = i,
							.bytes = bytes};
		nfs_wire_submit(wire, &requests[i]);
	}
	while (alive) {
		gboolean waiting = FALSE;

		for (guint i = 0; i < count; i++)
			waiting |= requests[i].in_flight;
		alive = waiting && nfs_wire_turn(wire, -1, NULL);
		for (guint i = 0; alive && i < count; i++)
			check_answer(&requests[i]);
	}
	for (guint i = 0; i < count; i++) {
		fuzz_require(!requests[i].in_flight);
		g_free(requests[i].buffer);
	}
	nfs_wire_free(wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	struct nfs_link link = {.rpc = (struct rpc_context *)&input,
				.name = (char *)"image",
				.peer = (char *)"peer",
				.stall_ms = STALL_MS};
	const size_t head = MIN(size, (size_t)1 + REQUESTS_MOST);
	int ends[2];

	fuzz_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
	our_end = ends[0];
	fuzz_require(nfs_link_begin(&link, "fuzz", NULL));
	/* What does not fit into the socket at once is left out. */
	if (write(ends[1], data + head, size - head) >= 0 && size % 2)
		shutdown(ends[1], SHUT_WR);
	use(&link, &input);
	g_free(link.doing);
	g_free(link.loss);
	close(ends[0]);
	close(ends[1]);
	return 0;
}
