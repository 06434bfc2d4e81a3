#include "common/units.h"
#include "tests/unit/images.h"
#include "tests/unit/nfs_script.h"
#include "transports/nfs_image.h"
#include "transports/nfs_mount.h"

#include <string.h>

static const struct transport_config config = {.stall_ms = 2000};

static struct nfs_script *script;
static guint8 *data;

static void set_up(void)
{
	script = nfs_script_start();
	data = images_noise(NFS_SCRIPT_BYTES, 1);
}

static void tear_down(void)
{
	transport_buffer_free(data);
}

static struct handle *open_disk(void)
{
	g_autofree char *text = nfs_script_url(script);
	g_autoptr(GError) error = NULL;
	AUTO(url) url = url_parse(text, &error);
	struct handle *handle = handle_open(url, &config, HANDLE_WRITE, &error);

	ck_assert_msg(handle != NULL, "%s", error ? error->message : "");
	return handle;
}

/* ---- exports and verifiers ---------------------------------------------------- */

START_TEST(longest_export_wins_in_whole_components)
{
	g_autoptr(GPtrArray) exports = g_ptr_array_new();

	g_ptr_array_add(exports, (char *)"/");
	g_ptr_array_add(exports, (char *)"/vol/a");
	g_ptr_array_add(exports, (char *)"/vol/a/deep/");
	g_ptr_array_add(exports, (char *)"/vol/ab");
	ck_assert_str_eq(nfs_mount_longest(exports, "/vol/a/x"), "/vol/a");
	ck_assert_str_eq(nfs_mount_longest(exports, "/vol/a/deep/x"), "/vol/a/deep/");
	ck_assert_str_eq(nfs_mount_longest(exports, "/vol/abc/x"), "/");
	ck_assert_str_eq(nfs_mount_longest(exports, "/vol/a"), "/vol/a");
	g_ptr_array_remove_index(exports, 0);
	ck_assert_ptr_null(nfs_mount_longest(exports, "/home/x"));
}
END_TEST

START_TEST(verifier_that_changes_between_writes_means_lost_writes)
{
	struct nfs_image image = {0};
	const writeverf3 first = "AAAAAAA", second = "AAAAAAB";

	ck_assert(nfs_image_note_write(&image, UNSTABLE, first));
	ck_assert(nfs_image_note_write(&image, UNSTABLE, first));
	ck_assert(!nfs_image_note_write(&image, UNSTABLE, second));
	ck_assert(!nfs_image_note_write(&image, FILE_SYNC, second));
}
END_TEST

START_TEST(stable_writes_need_no_verifier)
{
	struct nfs_image image = {0};
	const writeverf3 first = "AAAAAAA", second = "AAAAAAB";

	ck_assert(nfs_image_note_write(&image, FILE_SYNC, first));
	ck_assert(!image.unstable);
	ck_assert(nfs_image_note_write(&image, UNSTABLE, second));
	ck_assert(image.unstable);
}
END_TEST

/* ---- a server that misbehaves ------------------------------------------------- */

START_TEST(short_answers_are_asked_on)
{
	guint8 *found = transport_buffer_new(NFS_SCRIPT_BYTES);
	g_autoptr(GError) error = NULL;

	script->most_bytes = 100001;
	AUTO(handle) handle = open_disk();
	assert_good(handle_write(handle, data, NFS_SCRIPT_BYTES, 0, &error), error);
	ck_assert_int_eq(memcmp(script->data, data, NFS_SCRIPT_BYTES), 0);
	assert_good(handle_read(handle, found, NFS_SCRIPT_BYTES, 0, &error), error);
	ck_assert_int_eq(memcmp(found, data, NFS_SCRIPT_BYTES), 0);
	ck_assert_uint_ge(script->reads, NFS_SCRIPT_BYTES / 100001);
	transport_buffer_free(found);
}
END_TEST

START_TEST(server_that_needs_time_is_given_it)
{
	g_autoptr(GError) error = NULL;

	script->jukebox = 11;
	AUTO(handle) handle = open_disk();
	assert_good(handle_write(handle, data, NFS_SCRIPT_BYTES, 0, &error), error);
	ck_assert_uint_eq(script->jukebox, 0);
	ck_assert_int_eq(memcmp(script->data, data, NFS_SCRIPT_BYTES), 0);
}
END_TEST

START_TEST(server_that_needs_time_for_ever_is_transient)
{
	g_autoptr(GError) error = NULL;

	script->jukebox = NFS_SCRIPT_ALWAYS;
	AUTO(handle) handle = open_disk();
	ck_assert(!handle_write(handle, data, MiB, 0, &error));
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
	ck_assert_ptr_nonnull(strstr(error->message, "JUKEBOX"));
}
END_TEST

START_TEST(full_server_is_named_in_words)
{
	g_autoptr(GError) error = NULL;

	script->write_status = NFS3ERR_NOSPC;
	AUTO(handle) handle = open_disk();
	ck_assert(!handle_write(handle, data, NFS_SCRIPT_BYTES, 0, &error));
	assert_code(error, BLOCKMIG_ERROR_FULL);
	ck_assert_ptr_nonnull(strstr(error->message, "No space left on device"));
	ck_assert_ptr_nonnull(strstr(error->message, "/export/disk"));
	g_clear_error(&error);
	script->write_status = NFS3_OK;
	assert_good(handle_write(handle, data, MiB, 0, &error), error);
}
END_TEST

START_TEST(verifier_that_changes_in_mid_write_is_transient_without_a_flush)
{
	g_autoptr(GError) error = NULL;

	script->restart_after = 4;
	AUTO(handle) handle = open_disk();
	ck_assert(!handle_write(handle, data, NFS_SCRIPT_BYTES, 0, &error));
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
	ck_assert_ptr_nonnull(strstr(error->message, "verifier"));
}
END_TEST

START_TEST(verifier_that_changes_before_the_commit_fails_the_flush)
{
	g_autoptr(GError) error = NULL;

	AUTO(handle) handle = open_disk();
	assert_good(handle_write(handle, data, NFS_SCRIPT_BYTES, 0, &error), error);
	script->verifier++;
	ck_assert(!handle_flush(handle, &error));
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
	g_clear_error(&error);
	ck_assert(!handle_flush(handle, &error));
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
}
END_TEST

START_TEST(verifier_may_change_between_two_flushes)
{
	g_autoptr(GError) error = NULL;

	AUTO(handle) handle = open_disk();
	assert_good(handle_write(handle, data, MiB, 0, &error), error);
	assert_good(handle_flush(handle, &error), error);
	script->verifier++;
	assert_good(handle_write(handle, data, MiB, 0, &error), error);
	assert_good(handle_flush(handle, &error), error);
	ck_assert_uint_eq(script->commits, 2);
}
END_TEST

START_TEST(stable_writes_are_not_committed_again)
{
	g_autoptr(GError) error = NULL;

	script->committed = FILE_SYNC;
	AUTO(handle) handle = open_disk();
	assert_good(handle_write(handle, data, MiB, 0, &error), error);
	assert_good(handle_flush(handle, &error), error);
	ck_assert_uint_eq(script->commits, 0);
}
END_TEST

START_TEST(read_that_breaks_off_fails_and_is_not_completed_by_another_link)
{
	guint8 *found = transport_buffer_new(MiB);
	g_autoptr(GError) error = NULL;

	AUTO(handle) handle = open_disk();
	script->cut_read = TRUE;
	ck_assert(!handle_read(handle, found, MiB, 0, &error));
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
	g_clear_error(&error);
	ck_assert(!handle_read(handle, found, MiB, 0, &error));
	assert_code(error, BLOCKMIG_ERROR_TRANSIENT);
	transport_buffer_free(found);
}
END_TEST

START_TEST(create_whose_answer_is_lost_is_still_ours)
{
	struct image_create wanted = {.size_bytes = MiB, .mode = 0600, .uid = -1, .gid = -1};
	g_autofree char *text = nfs_script_url(script);
	g_autoptr(GError) error = NULL;
	AUTO(url) url = url_parse(text, &error);

	script->exists = FALSE;
	script->swallow_create = TRUE;
	assert_good(image_create(url, &config, &wanted, &error), error);
	ck_assert_uint_eq(script->creates, 2);
	ck_assert(!image_create(url, &config, &wanted, &error));
	assert_code(error, BLOCKMIG_ERROR_EXISTS);
}
END_TEST

static Suite *suite(void)
{
	Suite *suite = suite_create("nfs rules");
	TCase *rules = tcase_create("rules");
	TCase *scripted = tcase_create("scripted");

	tcase_add_test(rules, longest_export_wins_in_whole_components);
	tcase_add_test(rules, verifier_that_changes_between_writes_means_lost_writes);
	tcase_add_test(rules, stable_writes_need_no_verifier);
	suite_add_tcase(suite, rules);

	tcase_add_checked_fixture(scripted, set_up, tear_down);
	tcase_set_timeout(scripted, 60);
	tcase_add_test(scripted, short_answers_are_asked_on);
	tcase_add_test(scripted, server_that_needs_time_is_given_it);
	tcase_add_test(scripted, server_that_needs_time_for_ever_is_transient);
	tcase_add_test(scripted, full_server_is_named_in_words);
	tcase_add_test(scripted, verifier_that_changes_in_mid_write_is_transient_without_a_flush);
	tcase_add_test(scripted, verifier_that_changes_before_the_commit_fails_the_flush);
	tcase_add_test(scripted, verifier_may_change_between_two_flushes);
	tcase_add_test(scripted, stable_writes_are_not_committed_again);
	tcase_add_test(scripted, read_that_breaks_off_fails_and_is_not_completed_by_another_link);
	tcase_add_test(scripted, create_whose_answer_is_lost_is_still_ours);
	suite_add_tcase(suite, scripted);
	return suite;
}

int main(void)
{
	return images_run(suite());
}
