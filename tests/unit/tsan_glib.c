/*
 * Tells the thread sanitizer about GLib's locks, and its counts of references.
 *
 * GLib takes a GMutex with atomics and futexes inside a library that is not instrumented,
 * so the sanitizer sees no order between threads that share one, and every use of
 * shared data looks like a race.  These wrappers stand before GLib's functions and name
 * the locks to it.  In any other build this file is empty.
 */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)

#include <dlfcn.h>
#include <glib.h>
#include <sanitizer/tsan_interface.h>

const char *__tsan_default_options(void);

/* What libraries do among themselves cannot be judged: they are not instrumented. */
const char *__tsan_default_options(void)
{
	return "ignore_noninstrumented_modules=1";
}

/* Calls GLib's own function of this name. */
#define REAL(function) ((__typeof__(&function))dlsym(RTLD_NEXT, #function))

void g_mutex_clear(GMutex *mutex)
{
	__tsan_mutex_destroy(mutex, 0);
	REAL(g_mutex_clear)(mutex);
}

void g_mutex_lock(GMutex *mutex)
{
	__tsan_mutex_pre_lock(mutex, 0);
	REAL(g_mutex_lock)(mutex);
	__tsan_mutex_post_lock(mutex, 0, 0);
}

gboolean g_mutex_trylock(GMutex *mutex)
{
	gboolean locked;

	__tsan_mutex_pre_lock(mutex, __tsan_mutex_try_lock);
	locked = REAL(g_mutex_trylock)(mutex);
	__tsan_mutex_post_lock(
		mutex, __tsan_mutex_try_lock | (locked ? 0 : __tsan_mutex_try_lock_failed), 0);
	return locked;
}

static void tell_unlocked(GMutex *mutex)
{
	__tsan_mutex_pre_unlock(mutex, 0);
	__tsan_mutex_post_unlock(mutex, 0);
}

static void tell_locked(GMutex *mutex)
{
	__tsan_mutex_pre_lock(mutex, 0);
	__tsan_mutex_post_lock(mutex, 0, 0);
}

void g_mutex_unlock(GMutex *mutex)
{
	tell_unlocked(mutex);
	REAL(g_mutex_unlock)(mutex);
}

void g_cond_wait(GCond *cond, GMutex *mutex)
{
	tell_unlocked(mutex);
	REAL(g_cond_wait)(cond, mutex);
	tell_locked(mutex);
}

gboolean g_cond_wait_until(GCond *cond, GMutex *mutex, gint64 end_time)
{
	gboolean woken;

	tell_unlocked(mutex);
	woken = REAL(g_cond_wait_until)(cond, mutex, end_time);
	tell_locked(mutex);
	return woken;
}

/* Whoever is the last to let go comes after all the others. */
static _Thread_local GDestroyNotify clear_last;

static void clear_in_order(gpointer box)
{
	__tsan_acquire(box);
	clear_last(box);
}

void g_atomic_rc_box_release_full(gpointer box, GDestroyNotify clear)
{
	__tsan_release(box);
	clear_last = clear;
	REAL(g_atomic_rc_box_release_full)(box, clear_in_order);
}

#else
/* ISO C wants a declaration in every file. */
typedef int tsan_glib_is_empty;
#endif
