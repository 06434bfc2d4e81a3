/*
 * A domain of the fake libvirt: a key file of its states and its XML texts.  It is read
 * before each call and written behind it.
 */
#ifndef FAKED_GUEST_H
#define FAKED_GUEST_H

#include "common/auto.h"
#include "tests/faked/fake.h"

struct guest {
	char *uuid;
	GKeyFile *file;
};

/* NULL and NOT_FOUND where there is no such domain. */
struct guest *guest_load(const char *uuid, GError **error);
struct guest *guest_new(const char *uuid);
void guest_save(struct guest *guest);
void guest_free(struct guest *guest);
AUTO_DEFINE(guest, guest_free)

int guest_get(const struct guest *guest, const char *key);
void guest_set(struct guest *guest, const char *key, int value);
/* The caller frees; "" where it is not set. */
char *guest_text(const struct guest *guest, const char *key);
void guest_set_text(struct guest *guest, const char *key, const char *text);

/* The limits of the disk; they end with the guest's run. */
struct block_limits guest_limits(const struct guest *guest);
void guest_set_limits(struct guest *guest, const struct block_limits *limits);

gboolean guest_is_off(const struct guest *guest);
/* The XML that counts: live, or inactive where it is off. */
struct domain *guest_domain(const struct guest *guest, gboolean inactive);

/*
 * The disk's element of the live XML anew, as libvirt 9.0 prints it: @layers, each with
 * its index (a new one where it is 0), and the mirror of @job ("copy", "active-commit";
 * NULL: none) to the chain @mirror.
 */
void guest_set_live_disk(struct guest *guest, const char *target, GPtrArray *layers,
			 const char *job, const char *ready, GPtrArray *mirror);
/*
 * The same disk in the inactive XML, where that names @was: libvirt leaves it alone where
 * it names something else.
 */
void guest_follow_inactive(struct guest *guest, const char *target, const struct source *was,
			   GPtrArray *layers);

GPtrArray *guest_chain_new(void);
/* Copies of the layers from number @from on. */
GPtrArray *guest_chain_copy(GPtrArray *layers, guint from);

#endif
