#include "transports/nfs_place.h"

#include "common/error.h"
#include "transports/nfs_session.h"

#include <string.h>

enum {
	LIST_PART_BYTES = 32 * 1024,
	LIST_MOST = 1000 * 1000, /* more than any folder of images has */
};

/* A creation that goes on where a lost connection broke it off. */
struct creation {
	const struct image_create *wanted;
	createverf3 verifier;
	gboolean asked;		  /* the file may be there, and ours */
	gboolean created;	  /* it is, says the last CREATE's answer */
	struct nfs_object object; /* once it is known */
};

struct listing {
	GPtrArray *names;
	guint entries;
	cookie3 cookie;
	cookieverf3 verifier;
	gboolean complete;
};

struct room {
	guint64 free_bytes, total_bytes;
};

static int issue_create(struct rpc_context *rpc, rpc_cb callback, void *arguments, void *data)
{
	return rpc_nfs3_create_async(rpc, callback, arguments, data);
}

static int issue_remove(struct rpc_context *rpc, rpc_cb callback, void *arguments, void *data)
{
	return rpc_nfs3_remove_async(rpc, callback, arguments, data);
}

static int issue_fsstat(struct rpc_context *rpc, rpc_cb callback, void *arguments, void *data)
{
	return rpc_nfs3_fsstat_async(rpc, callback, arguments, data);
}

static int issue_readdirplus(struct rpc_context *rpc, rpc_cb callback, void *arguments, void *data)
{
	return rpc_nfs3_readdirplus_async(rpc, callback, arguments, data);
}

/* ---- create ------------------------------------------------------------------- */

static void take_created(const void *answer, void *into)
{
	const post_op_fh3 *object = &((const CREATE3res *)answer)->CREATE3res_u.resok.obj;
	const nfs_fh3 *handle = &object->post_op_fh3_u.handle;

	if (object->handle_follows)
		nfs_object_take(into, handle->data.data_len, handle->data.data_val);
}

static gboolean create_exclusive(struct nfs_session *session, struct creation *creation,
				 GError **error)
{
	struct nfs_object folder;
	const char *leaf;

	if (!nfs_session_find_folder(session, &folder, &leaf, error))
		return FALSE;
	CREATE3args arguments = {
		.where = {.dir = nfs_object_handle(&folder), .name = (char *)leaf},
		.how = {.mode = EXCLUSIVE},
	};
	struct nfs_call call = {.what = "create",
				.issue = issue_create,
				.arguments = &arguments,
				.take = take_created,
				.into = &creation->object};

	memcpy(arguments.how.createhow3_u.verf, creation->verifier, sizeof(createverf3));
	creation->asked = TRUE;
	creation->created = nfs_link_call(session->link, &call, error);
	return creation->created &&
	       (creation->object.length > 0 ||
		nfs_session_lookup(session, &folder, leaf, &creation->object, error));
}

/* The server kept the verifier in the times: they are set too. */
static gboolean set_attributes(struct nfs_session *session, const struct creation *creation,
			       GError **error)
{
	const struct image_create *wanted = creation->wanted;
	sattr3 attributes = {
		.mode = {.set_it = 1, .set_mode3_u = {.mode = (mode3)wanted->mode}},
		.size = {.set_it = 1, .set_size3_u = {.size = wanted->size_bytes}},
		.atime = {.set_it = SET_TO_SERVER_TIME},
		.mtime = {.set_it = SET_TO_SERVER_TIME},
	};

	if (wanted->uid >= 0)
		attributes.uid = (set_uid3){.set_it = 1, .set_uid3_u = {.uid = (uid3)wanted->uid}};
	if (wanted->gid >= 0)
		attributes.gid = (set_gid3){.set_it = 1, .set_gid3_u = {.gid = (gid3)wanted->gid}};
	return nfs_session_setattr(session, &creation->object, &attributes, error);
}

static gboolean remove_leaf(struct nfs_session *session, const struct nfs_object *folder,
			    const char *leaf, GError **error)
{
	REMOVE3args arguments = {
		.object = {.dir = nfs_object_handle(folder), .name = (char *)leaf}};
	struct nfs_call call = {.what = "remove", .issue = issue_remove, .arguments = &arguments};

	return nfs_link_call(session->link, &call, error);
}

static gboolean is_same_object(const struct nfs_object *a, const struct nfs_object *b)
{
	return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

/*
 * A file that is ours and could not be given its size and owner is no image.  What has
 * taken its name meanwhile is not ours.
 */
static void take_back(struct nfs_session *session, const struct creation *creation)
{
	struct nfs_object folder, found;
	const char *leaf;

	if (!nfs_session_find_folder(session, &folder, &leaf, NULL))
		return;
	if (creation->object.length > 0 &&
	    (!nfs_session_lookup(session, &folder, leaf, &found, NULL) ||
	     !is_same_object(&found, &creation->object)))
		return;
	remove_leaf(session, &folder, leaf, NULL);
}

static gboolean create_once(const struct url *url, const struct transport_config *config,
			    struct creation *creation, GError **error)
{
	AUTO(nfs_session) session = nfs_session_open(url, config, error);
	GError *failure = NULL;

	if (!session)
		return FALSE;
	/* Not every server's CREATE says which file it made: asked again, it is the same one. */
	if ((creation->object.length > 0 || create_exclusive(session, creation, &failure)) &&
	    set_attributes(session, creation, &failure))
		return TRUE;
	if (creation->created && !error_is_transient(failure))
		take_back(session, creation);
	g_propagate_error(error, failure);
	return FALSE;
}

gboolean nfs_place_create(const struct url *url, const struct transport_config *config,
			  const struct image_create *create, GError **error)
{
	struct creation creation = {.wanted = create};
	struct backoff backoff;

	for (gsize i = 0; i < sizeof(creation.verifier); i++)
		creation.verifier[i] = (char)g_random_int();
	backoff_init(&backoff, transport_stall_ms(config));
	for (;;) {
		GError *failure = NULL;

		if (create_once(url, config, &creation, &failure))
			return TRUE;
		if (!creation.asked || !error_is_transient(failure) ||
		    !backoff_wait(&backoff, NULL)) {
			g_propagate_error(error, failure);
			return FALSE;
		}
		g_error_free(failure);
	}
}

/* ---- remove ------------------------------------------------------------------- */

/* A server that refuses is not asked twice: the file goes all the same. */
static gboolean truncate_only_name(struct nfs_session *session, const struct nfs_object *object,
				   GError **error)
{
	sattr3 empty = {.size = {.set_it = 1}};
	GError *failure = NULL;
	fattr3 facts;

	if (!nfs_session_getattr(session, object, &facts, error))
		return FALSE;
	if (facts.type != NF3REG || facts.nlink != 1 ||
	    nfs_session_setattr(session, object, &empty, &failure))
		return TRUE;
	if (session->link->rpc) {
		g_error_free(failure);
		return TRUE;
	}
	g_propagate_error(error, failure);
	return FALSE;
}

gboolean nfs_place_remove(const struct url *url, const struct transport_config *config,
			  GError **error)
{
	AUTO(nfs_session) session = nfs_session_open(url, config, error);
	struct nfs_object folder, object;
	const char *leaf;

	return session && nfs_session_find_folder(session, &folder, &leaf, error) &&
	       nfs_session_lookup(session, &folder, leaf, &object, error) &&
	       truncate_only_name(session, &object, error) &&
	       remove_leaf(session, &folder, leaf, error);
}

/* ---- space and list ----------------------------------------------------------- */

static void take_room(const void *answer, void *into)
{
	const FSSTAT3resok *result = &((const FSSTAT3res *)answer)->FSSTAT3res_u.resok;
	struct room *room = into;

	room->free_bytes = result->abytes;
	room->total_bytes = result->tbytes;
}

gboolean nfs_place_space(const struct url *place, const struct transport_config *config,
			 guint64 *free_bytes, guint64 *total_bytes, GError **error)
{
	AUTO(nfs_session) session = nfs_session_open(place, config, error);
	struct nfs_object folder;
	fattr3 facts;
	struct room room;

	if (!session || !nfs_session_find(session, &folder, &facts, error))
		return FALSE;
	FSSTAT3args arguments = {.fsroot = nfs_object_handle(&folder)};
	struct nfs_call call = {.what = "ask for free space",
				.issue = issue_fsstat,
				.arguments = &arguments,
				.take = take_room,
				.into = &room};
	if (!nfs_link_call(session->link, &call, error))
		return FALSE;
	*free_bytes = room.free_bytes;
	*total_bytes = room.total_bytes;
	return TRUE;
}

static gboolean is_image(const entryplus3 *entry)
{
	const post_op_attr *known = &entry->name_attributes;

	if (known->attributes_follow)
		return known->post_op_attr_u.attributes.type == NF3REG;
	return strcmp(entry->name, ".") != 0 && strcmp(entry->name, "..") != 0;
}

/* libnfs packs what it decodes: the entries may lie unaligned. */
static void take_names(const void *answer, void *into)
{
	const READDIRPLUS3resok *result =
		&((const READDIRPLUS3res *)answer)->READDIRPLUS3res_u.resok;
	struct listing *listing = into;
	entryplus3 entry = {.nextentry = result->reply.entries};

	memcpy(listing->verifier, result->cookieverf, sizeof(cookieverf3));
	/* A server that answers neither an entry nor the end would be asked for ever. */
	listing->complete = result->reply.eof || !result->reply.entries;
	while (entry.nextentry) {
		memcpy(&entry, (const void *)entry.nextentry, sizeof(entry));
		listing->cookie = entry.cookie;
		listing->entries++;
		if (is_image(&entry))
			g_ptr_array_add(listing->names, g_strdup(entry.name));
	}
}

static gboolean list_part(struct nfs_session *session, const struct nfs_object *folder,
			  struct listing *listing, GError **error)
{
	const cookie3 from = listing->cookie;
	READDIRPLUS3args arguments = {.dir = nfs_object_handle(folder),
				      .cookie = from,
				      .dircount = LIST_PART_BYTES / 4,
				      .maxcount = LIST_PART_BYTES};
	struct nfs_call call = {.what = "list",
				.issue = issue_readdirplus,
				.arguments = &arguments,
				.take = take_names,
				.into = listing};

	memcpy(arguments.cookieverf, listing->verifier, sizeof(cookieverf3));
	if (!nfs_link_call(session->link, &call, error))
		return FALSE;
	if (listing->complete || (listing->cookie != from && listing->entries <= LIST_MOST))
		return TRUE;
	g_set_error(error, BLOCKMIG_ERROR, BLOCKMIG_ERROR_PERMANENT,
		    "%s: list: server %s: its list does not end (%u entries, and more to come)",
		    session->name, session->link->peer, listing->entries);
	return FALSE;
}

GPtrArray *nfs_place_list(const struct url *place, const struct transport_config *config,
			  GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	AUTO(nfs_session) session = nfs_session_open(place, config, error);
	struct listing listing = {.names = names};
	struct nfs_object folder;
	fattr3 facts;

	if (!session || !nfs_session_find(session, &folder, &facts, error))
		return NULL;
	while (!listing.complete)
		if (!list_part(session, &folder, &listing, error))
			return NULL;
	return g_steal_pointer(&names);
}
