// Shims for a guest's memory. Every function returns a negative errno on failure, so that errno cannot be lost on the way.
#ifndef CSTRATOLINUX_MEMORY_H
#define CSTRATOLINUX_MEMORY_H

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/// An unnamed file in memory, whose seals are open.
static inline int csl_memfd_create(const char *_Nonnull name) {
    long result = syscall(SYS_memfd_create, name, 3u /* MFD_CLOEXEC | MFD_ALLOW_SEALING */);
    return result < 0 ? -errno : (int)result;
}
/// Fixes the size of such a file for good, whoever gets it.
static inline int csl_memfd_fix_size(int fd) {
    int result = fcntl(fd, 1033 /* F_ADD_SEALS */, 7 /* F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW */);
    return result < 0 ? -errno : 0;
}
/// For a directory: opens a file in it that has no name.
static inline int csl_o_tmpfile(void) { return __O_TMPFILE; }

/// Values of csl_file_system.type, as in statfs(2).
enum csl_file_system_type : uint64_t {
    CSL_FILE_SYSTEM_HUGETLBFS = 0x958458f6,
    CSL_FILE_SYSTEM_TMPFS = 0x01021994,
};
/// What statfs(2) tells about the file system that holds a file. Counts are of blocks.
struct csl_file_system {
    uint64_t type;
    uint64_t block_size;
    uint64_t blocks;
    uint64_t available;
};
static inline int csl_get_file_system(int fd, struct csl_file_system *_Nonnull result) {
    struct statfs status;
    if (fstatfs(fd, &status) < 0) {
        return -errno;
    }
    result->type = (uint64_t)(unsigned long)status.f_type & 0xffffffffu;
    result->block_size = (uint64_t)status.f_bsize;
    result->blocks = status.f_blocks;
    result->available = status.f_bavail;
    return 0;
}
/// Gives a file all the blocks that its first `length` bytes need.
static inline int csl_allocate_file(int fd, size_t length) {
    return syscall(SYS_fallocate, fd, 0, 0L, (long)length) < 0 ? -errno : 0;
}

/// Maps memory for reading and writing at a multiple of `alignment`, a power of two.
static inline int csl_map_aligned(
    void *_Nullable *_Nonnull address, size_t length, size_t alignment, int flags, int fd) {
    const int access = PROT_READ | PROT_WRITE;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *mapped = mmap(NULL, length, access, flags, fd, 0);
    if (mapped == MAP_FAILED) {
        return -errno;
    }
    // Newer kernels choose such an address by themselves.
    if (((uintptr_t)mapped & (alignment - 1)) != 0) {
        size_t whole, room;
        munmap(mapped, length);
        if (__builtin_add_overflow(length, page - 1, &whole)) {
            return -ENOMEM;
        }
        whole &= ~(page - 1);
        if (__builtin_add_overflow(whole, alignment, &room)) {
            return -ENOMEM;
        }
        char *start = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (start == MAP_FAILED) {
            return -errno;
        }
        size_t before = (alignment - ((uintptr_t)start & (alignment - 1))) & (alignment - 1);
        mapped = mmap(start + before, length, access, flags | MAP_FIXED, fd, 0);
        if (mapped == MAP_FAILED) {
            int code = -errno;
            munmap(start, room);
            return code;
        }
        if (before > 0) {
            munmap(start, before);
        }
        if (room - before > whole) {
            munmap(mapped + whole, room - before - whole);
        }
    }
    *address = mapped;
    return 0;
}
static inline int csl_advise(void *_Nonnull address, size_t length, int advice) {
    return madvise(address, length, advice) < 0 ? -errno : 0;
}
/// Makes every page of a mapping present for writing. EINVAL from kernels before Linux 5.14.
static inline int csl_populate(void *_Nonnull address, size_t length) {
    return madvise(address, length, 23 /* MADV_POPULATE_WRITE */) < 0 ? -errno : 0;
}
/// The same by hand; the bytes stay what they are, also if another process writes to them.
static inline void csl_touch(void *_Nonnull address, size_t length) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t offset = 0; offset < length; offset += page) {
        __atomic_fetch_or((unsigned char *)address + offset, 0, __ATOMIC_RELAXED);
    }
}
/// How many processors the calling thread may run on.
static inline int csl_usable_processor_count(void) {
    unsigned long mask[128] = {0};
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    int count = 0;
    for (long word = 0; word < bytes / (long)sizeof mask[0]; word++) {
        count += __builtin_popcountl(mask[word]);
    }
    return count > 0 ? count : 1;
}

#endif
