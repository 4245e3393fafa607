// Atomic access to memory that another agent (a guest's virtual CPU, the kernel) reads and writes at the same time.
#ifndef CSTRATOLINUX_ATOMICS_H
#define CSTRATOLINUX_ATOMICS_H

#include <stdint.h>

static inline uint16_t csl_load16_acquire(const void *_Nonnull pointer) {
    return __atomic_load_n((const uint16_t *)pointer, __ATOMIC_ACQUIRE);
}
static inline uint16_t csl_load16_relaxed(const void *_Nonnull pointer) {
    return __atomic_load_n((const uint16_t *)pointer, __ATOMIC_RELAXED);
}
static inline void csl_store16_release(void *_Nonnull pointer, uint16_t value) {
    __atomic_store_n((uint16_t *)pointer, value, __ATOMIC_RELEASE);
}
static inline uint32_t csl_load32_acquire(const void *_Nonnull pointer) {
    return __atomic_load_n((const uint32_t *)pointer, __ATOMIC_ACQUIRE);
}
static inline void csl_store32_release(void *_Nonnull pointer, uint32_t value) {
    __atomic_store_n((uint32_t *)pointer, value, __ATOMIC_RELEASE);
}
static inline uint8_t csl_load8_relaxed(const void *_Nonnull pointer) {
    return __atomic_load_n((const uint8_t *)pointer, __ATOMIC_RELAXED);
}
static inline void csl_store8_relaxed(void *_Nonnull pointer, uint8_t value) {
    __atomic_store_n((uint8_t *)pointer, value, __ATOMIC_RELAXED);
}
/// A store followed by a load of another location is ordered by nothing less (virtio 1.2, 2.7.7.1 and 2.7.10.1).
static inline void csl_fence_full(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

#endif
