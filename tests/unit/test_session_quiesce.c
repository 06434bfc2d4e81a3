/*
 * Freezing the guest's file systems around a snapshot: a guest in its BIOS has no agent,
 * so libvirt's calls for it (and the snapshot) are fakes that keep a log.
 */
#include "tests/unit/session_support.h"

#include <libvirt/libvirt.h>
#include <string.h>

enum { ALWAYS = 100 };

static struct {
	GMutex lock;
	GString *log;
	int freeze_failures, snapshot_failures, thaw_failures;
	gboolean freeze_breaks_the_connection;
	gboolean snapshot_ends_the_guest;
} guest;

/* ---- the fakes ------------------------------------------------------------------------ */

static int note(const char *operation, int *failures)
{
	gboolean fails;

	g_mutex_lock(&guest.lock);
	g_string_append_printf(guest.log, "%s%s", guest.log->len > 0 ? " " : "", operation);
	fails = (*failures)-- > 0;
	g_mutex_unlock(&guest.lock);
	if (!fails)
		return 0;
	/* Any error of libvirt's will do. */
	return virDomainFree(NULL);
}

int virDomainAgentSetResponseTimeout(virDomainPtr domain, int timeout, unsigned int flags)
{
	(void)domain;
	(void)flags;
	ck_assert_int_gt(timeout, 0);
	return 0;
}

int virDomainFSFreeze(virDomainPtr domain, const char **mountpoints, unsigned int count,
		      unsigned int flags)
{
	(void)domain;
	(void)mountpoints;
	(void)count;
	(void)flags;
	if (guest.freeze_breaks_the_connection) {
		libvirtd_kill();
		libvirtd_start();
	}
	return note("freeze", &guest.freeze_failures);
}

int virDomainFSThaw(virDomainPtr domain, const char **mountpoints, unsigned int count,
		    unsigned int flags)
{
	(void)domain;
	(void)mountpoints;
	(void)count;
	(void)flags;
	return note("thaw", &guest.thaw_failures);
}

virDomainSnapshotPtr virDomainSnapshotCreateXML(virDomainPtr domain, const char *xml,
						unsigned int flags)
{
	(void)domain;
	(void)xml;
	ck_assert_uint_eq(flags, VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY |
					 VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA |
					 VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC |
					 VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT);
	if (guest.snapshot_ends_the_guest)
		virsh("destroy", "quiesced", NULL);
	if (note("snapshot", &guest.snapshot_failures) < 0)
		return NULL;
	/* Only NULL or not is looked at. */
	return (virDomainSnapshotPtr)&guest;
}

int virDomainSnapshotFree(virDomainSnapshotPtr snapshot)
{
	ck_assert_ptr_eq(snapshot, &guest);
	return 0;
}

/* ---- the tests --------------------------------------------------------------------------- */

/* Takes a quiesced snapshot; the log of what libvirt was asked is in guest.log. */
static gboolean take(gboolean *quiesced, GError **error)
{
	AUTO(session) session = session_open(NULL, NULL);
	g_autofree char *uuid = libvirt_guest("quiesced", TRUE);

	ck_assert_ptr_nonnull(session);
	return session_snapshot(session, uuid, "<domainsnapshot/>", TRUE, quiesced, error);
}

static void set_up(void)
{
	guest.log = g_string_new(NULL);
}

static void tear_down(void)
{
	g_string_free(guest.log, TRUE);
}

START_TEST(file_systems_are_frozen_before_and_thawed_after_the_snapshot)
{
	gboolean quiesced = FALSE;

	ck_assert(take(&quiesced, NULL));
	ck_assert(quiesced);
	ck_assert_str_eq(guest.log->str, "freeze snapshot thaw");
}
END_TEST

START_TEST(a_snapshot_that_fails_is_thawed_after)
{
	g_autoptr(GError) error = NULL;
	gboolean quiesced;

	guest.snapshot_failures = 1;
	ck_assert(!take(&quiesced, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_PERMANENT));
	ck_assert_str_eq(guest.log->str, "freeze snapshot thaw");
}
END_TEST

START_TEST(a_thaw_that_fails_is_tried_again)
{
	gboolean quiesced;

	guest.thaw_failures = 2;
	ck_assert(take(&quiesced, NULL));
	ck_assert_str_eq(guest.log->str, "freeze snapshot thaw thaw thaw");
}
END_TEST

START_TEST(a_guest_that_stays_frozen_needs_a_person)
{
	g_autoptr(GError) error = NULL;
	gboolean quiesced;

	guest.thaw_failures = ALWAYS;
	ck_assert(!take(&quiesced, &error));
	ck_assert(error_is(error, BLOCKMIG_ERROR_OPERATOR));
	ck_assert_ptr_nonnull(strstr(error->message, "virsh domfsthaw"));
	ck_assert_ptr_nonnull(strstr(error->message, "invalid domain pointer"));
}
END_TEST

START_TEST(a_freeze_that_is_refused_leaves_a_plain_snapshot)
{
	gboolean quiesced = TRUE;

	guest.freeze_failures = 1;
	ck_assert(take(&quiesced, NULL));
	ck_assert(!quiesced);
	ck_assert_str_eq(guest.log->str, "freeze snapshot");
}
END_TEST

START_TEST(a_freeze_with_an_unknown_outcome_is_thawed)
{
	gboolean quiesced = TRUE;

	guest.freeze_failures = 1;
	guest.freeze_breaks_the_connection = TRUE;
	ck_assert(take(&quiesced, NULL));
	ck_assert(!quiesced);
	ck_assert_str_eq(guest.log->str, "freeze snapshot thaw");
}
END_TEST

START_TEST(a_guest_that_ended_is_not_frozen)
{
	gboolean quiesced;

	guest.thaw_failures = ALWAYS;
	guest.snapshot_ends_the_guest = TRUE;
	ck_assert(take(&quiesced, NULL));
	ck_assert_str_eq(guest.log->str, "freeze snapshot thaw");
}
END_TEST

static TCase *all(void)
{
	TCase *tests = tcase_create("quiesce");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, file_systems_are_frozen_before_and_thawed_after_the_snapshot);
	tcase_add_test(tests, a_snapshot_that_fails_is_thawed_after);
	tcase_add_test(tests, a_thaw_that_fails_is_tried_again);
	tcase_add_test(tests, a_guest_that_stays_frozen_needs_a_person);
	tcase_add_test(tests, a_freeze_that_is_refused_leaves_a_plain_snapshot);
	tcase_add_test(tests, a_freeze_with_an_unknown_outcome_is_thawed);
	tcase_add_test(tests, a_guest_that_ended_is_not_frozen);
	return tests;
}

int main(void)
{
	run_with_libvirt(all);
}
