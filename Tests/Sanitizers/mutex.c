// Tells ThreadSanitizer of what it does not see of Swift's Mutex: the standard library's part of it, where a lock is waited for
// in the kernel, is not instrumented. Loaded before the tests by LD_PRELOAD (`make test-tsan`); does nothing in other programs.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context))

extern void __tsan_acquire(void *) __attribute__((weak));
extern void __tsan_release(void *) __attribute__((weak));

#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

// The standard library's own. Without it there would be no locks, and so no test.
static void *next(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) {
        abort();
    }
    return found;
}

SWIFT void lock_slow(uint32_t thread, SELF void *mutex) __asm__(LOCK);
SWIFT bool try_lock_slow(SELF void *mutex) __asm__(TRY_LOCK);
SWIFT void unlock_slow(SELF void *mutex) __asm__(UNLOCK);

SWIFT void lock_slow(uint32_t thread, SELF void *mutex) {
    typedef SWIFT void (*function)(uint32_t, SELF void *);
    ((function)next(LOCK))(thread, mutex);
    if (__tsan_acquire != NULL) {
        __tsan_acquire(mutex);
    }
}

SWIFT bool try_lock_slow(SELF void *mutex) {
    typedef SWIFT bool (*function)(SELF void *);
    bool is_locked = ((function)next(TRY_LOCK))(mutex);
    if (is_locked && __tsan_acquire != NULL) {
        __tsan_acquire(mutex);
    }
    return is_locked;
}

SWIFT void unlock_slow(SELF void *mutex) {
    typedef SWIFT void (*function)(SELF void *);
    if (__tsan_release != NULL) {
        __tsan_release(mutex);
    }
    ((function)next(UNLOCK))(mutex);
}
