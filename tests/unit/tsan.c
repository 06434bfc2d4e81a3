/*
 * GLib's locks as ThreadSanitizer has to see them: they are futexes inside a library
 * that is not instrumented, so without a word from here every lock looks like none.
 * Empty in every other build.  (G_SLICE=always-malloc, from the Makefile, does the same
 * for GLib's allocator.)
 */
#if defined(__SANITIZE_THREAD__)

#include <dlfcn.h>
#include <glib.h>
#include <sanitizer/tsan_interface.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void g_mutex_lock(GMutex *mutex)
{
	REAL(g_mutex_lock)(mutex);
	__tsan_acquire(mutex);
}

gboolean g_mutex_trylock(GMutex *mutex)
{
	const gboolean locked = REAL(g_mutex_trylock)(mutex);

	if (locked)
		__tsan_acquire(mutex);
	return locked;
}

void g_mutex_unlock(GMutex *mutex)
{
	__tsan_release(mutex);
	REAL(g_mutex_unlock)(mutex);
}

void g_cond_wait(GCond *cond, GMutex *mutex)
{
	__tsan_release(mutex);
	REAL(g_cond_wait)(cond, mutex);
	__tsan_acquire(mutex);
}

gboolean g_cond_wait_until(GCond *cond, GMutex *mutex, gint64 end_time)
{
	gboolean signalled;

	__tsan_release(mutex);
	signalled = REAL(g_cond_wait_until)(cond, mutex, end_time);
	__tsan_acquire(mutex);
	return signalled;
}

#endif
