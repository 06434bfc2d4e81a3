/* The private folder, faults, and the log. */
#include "tests/faked/fake.h"

#include "common/error.h"

#include <check.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char *folder;
static GArray *faults; /* of struct fake_fault; nth counts down to 0 */
static GMutex mutex;   /* the copy's threads make steps, too */
static const char *current;

void fake_open(void)
{
	folder = g_dir_make_tmp("blockmig-faked-XXXXXX", NULL);
	ck_assert_ptr_nonnull(folder);
	faults = g_array_new(FALSE, FALSE, sizeof(struct fake_fault));
	g_autofree char *libvirt = fake_path("libvirt");

	ck_assert_int_eq(g_mkdir_with_parents(libvirt, 0700), 0);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
	(void)st;
	(void)kind;
	(void)walk;
	return remove(path);
}

void fake_close(void)
{
	ck_assert_int_eq(nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
	g_clear_pointer(&folder, g_free);
	g_clear_pointer(&faults, g_array_unref);
}

char *fake_path(const char *name)
{
	return g_build_filename(folder, name, NULL);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(GPtrArray *names, const char *path)
{
	g_autoptr(GDir) entries = g_dir_open(path, 0, NULL);
	const char *name;

	while (entries && (name = g_dir_read_name(entries))) {
		g_autofree char *child = g_build_filename(path, name, NULL);

		if (g_file_test(child, G_FILE_TEST_IS_DIR))
			list(names, child);
		else
			g_ptr_array_add(names, g_steal_pointer(&child));
	}
}

char *fake_listing(const char *name)
{
	g_autofree char *path = fake_path(name);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	GString *text = g_string_new(NULL);

	list(names, path);
	g_ptr_array_sort(names, by_name);
	for (guint i = 0; i < names->len; i++)
		g_string_append_printf(text, "%s\n", (char *)names->pdata[i] + strlen(path) + 1);
	return g_string_free(text, FALSE);
}

/* ---- faults ------------------------------------------------------------------------ */

void fake_fault(const struct fake_fault *fault)
{
	struct fake_fault copy = *fault;

	copy.nth = MAX(copy.nth, 1);
	g_mutex_lock(&mutex);
	g_array_append_val(faults, copy);
	g_mutex_unlock(&mutex);
}

void fake_faults_clear(void)
{
	g_array_set_size(faults, 0);
}

static gboolean is_meant(const struct fake_fault *fault, const char *call, gboolean logged)
{
	if (!fault->call)
		return logged;
	return strcmp(fault->call, call) == 0 || strcmp(fault->call, FAKE_ANY_STEP) == 0;
}

/* Whether the fault strikes now; counts it down. */
static gboolean strikes(struct fake_fault *fault, enum fake_when when)
{
	if (fault->when != when || fault->nth == 0)
		return FALSE;
	if (fault->nth > 1) {
		fault->nth--;
		return FALSE;
	}
	fault->nth = fault->lasting ? 1 : 0;
	return TRUE;
}

/* Fault number @i as it is now, where it strikes. */
static gboolean take(guint i, const char *call, gboolean logged, enum fake_when when,
		     struct fake_fault *now)
{
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&mutex);

	if (i >= faults->len)
		return FALSE;
	struct fake_fault *fault = &g_array_index(faults, struct fake_fault, i);

	*now = *fault;
	return is_meant(fault, call, logged) && strikes(fault, when);
}

static gboolean pass(const char *call, gboolean logged, enum fake_when when, GError **error)
{
	for (guint i = 0; i < faults->len; i++) {
		struct fake_fault now;

		if (!take(i, call, logged, when, &now))
			continue;
		current = call;
		if (now.hook)
			now.hook(now.data);
		if (now.code == FAKE_KILL)
			kill(getpid(), SIGKILL);
		if (now.code == FAKE_NO_ERROR)
			continue;
		g_set_error(error, BLOCKMIG_ERROR, now.code, "%s: a fault %s it", call,
			    when == FAKE_BEFORE ? "before" : "after");
		return FALSE;
	}
	return TRUE;
}

gboolean fake_step(const char *name, enum fake_when when, GError **error)
{
	return !faults || pass(name, FALSE, when, error);
}

const char *fake_current(void)
{
	return current;
}

/* ---- the log ----------------------------------------------------------------------- */

gboolean fake_begin(const char *call, const char *detail, GError **error)
{
	g_autofree char *path = fake_path("log");
	FILE *file;

	if (!pass(call, TRUE, FAKE_BEFORE, error))
		return FALSE;
	file = fopen(path, "ae");
	ck_assert_ptr_nonnull(file);
	fprintf(file, "%s%s%s\n", call, detail ? " " : "", detail ? detail : "");
	fclose(file);
	return TRUE;
}

gboolean fake_end(const char *call, GError **error)
{
	return pass(call, TRUE, FAKE_AFTER, error);
}

char *fake_log(void)
{
	g_autofree char *path = fake_path("log");
	char *text = NULL;

	return g_file_get_contents(path, &text, NULL, NULL) ? text : g_strdup("");
}

void fake_log_clear(void)
{
	g_autofree char *path = fake_path("log");

	unlink(path);
}

int fake_log_find(const char *text, int from)
{
	g_autofree char *log = fake_log();
	g_auto(GStrv) lines = g_strsplit(log, "\n", -1);

	for (int i = 0; lines[i]; i++)
		if (i > from && g_str_has_prefix(lines[i], text))
			return i;
	return -1;
}
