// Shims for StratoDisk. Every function returns a negative errno on failure.
#ifndef CSTRATOLINUX_DISK_H
#define CSTRATOLINUX_DISK_H

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static inline int csl_o_direct(void) { return __O_DIRECT; }

/// Reads into `count` iovecs, `vectors` being an array laid out as struct iovec.
__attribute__((always_inline)) static inline ssize_t csl_preadv(int fd, const void *_Nonnull vectors, int count, int64_t offset) {
    ssize_t result = preadv(fd, (const struct iovec *)vectors, count, offset);
    return result < 0 ? -errno : result;
}
__attribute__((always_inline)) static inline ssize_t csl_pwritev(int fd, const void *_Nonnull vectors, int count, int64_t offset) {
    ssize_t result = pwritev(fd, (const struct iovec *)vectors, count, offset);
    return result < 0 ? -errno : result;
}
static inline ssize_t csl_pread(int fd, void *_Nonnull buffer, size_t count, int64_t offset) {
    // As a vector: a thread that is allowed to move several pieces needs no other call for one.
    struct iovec vector = {.iov_base = buffer, .iov_len = count};
    ssize_t result = preadv(fd, &vector, 1, offset);
    return result < 0 ? -errno : result;
}
static inline ssize_t csl_pwrite(int fd, const void *_Nonnull buffer, size_t count, int64_t offset) {
    struct iovec vector = {.iov_base = (void *)buffer, .iov_len = count};
    ssize_t result = pwritev(fd, &vector, 1, offset);
    return result < 0 ? -errno : result;
}
static inline int csl_fdatasync(int fd) { return fdatasync(fd) < 0 ? -errno : 0; }
static inline int csl_ftruncate(int fd, int64_t length) { return ftruncate(fd, length) < 0 ? -errno : 0; }

// glibc declares fallocate and its modes for _GNU_SOURCE only.
enum csl_fallocate_mode {
    CSL_FALLOC_KEEP_SIZE = 0x01,
    CSL_FALLOC_PUNCH_HOLE = 0x02,
    CSL_FALLOC_ZERO_RANGE = 0x10,
};
static inline int csl_fallocate(int fd, int mode, int64_t offset, int64_t length) {
    long result = syscall(SYS_fallocate, fd, mode, offset, length);
    return result < 0 ? -errno : 0;
}

enum csl_block_request : unsigned long {
    CSL_BLKSSZGET = BLKSSZGET,
    CSL_BLKDISCARD = BLKDISCARD,
    CSL_BLKZEROOUT = BLKZEROOUT,
};
static inline int csl_block_size_bytes(int fd, uint64_t *_Nonnull size) {
    return ioctl(fd, BLKGETSIZE64, size) < 0 ? -errno : 0;
}
/// The logical sector size of a block device.
static inline int csl_block_sector_size(int fd) {
    int size = 0;
    return ioctl(fd, BLKSSZGET, &size) < 0 ? -errno : size;
}
static inline int csl_block_discard(int fd, uint64_t offset, uint64_t length) {
    uint64_t range[2] = {offset, length};
    return ioctl(fd, BLKDISCARD, range) < 0 ? -errno : 0;
}
static inline int csl_block_zero_out(int fd, uint64_t offset, uint64_t length) {
    uint64_t range[2] = {offset, length};
    return ioctl(fd, BLKZEROOUT, range) < 0 ? -errno : 0;
}

/// The alignments of direct I/O that statx tells since Linux 6.1; both 0 where it tells none. The kernel's own layout is
/// used, as a C library may be older than the field.
static inline int csl_direct_alignment(int fd, uint32_t *_Nonnull memory, uint32_t *_Nonnull offset) {
    enum { DIOALIGN = 0x2000, MEMORY_FIELD = 0x98, OFFSET_FIELD = 0x9C, EMPTY_PATH = 0x1000 };
    unsigned char status[256] = {0};
    uint32_t mask;
    *memory = 0;
    *offset = 0;
    if (syscall(SYS_statx, fd, "", EMPTY_PATH, DIOALIGN, status) < 0) {
        return -errno;
    }
    memcpy(&mask, status, sizeof mask);
    if (mask & DIOALIGN) {
        memcpy(memory, status + MEMORY_FIELD, sizeof *memory);
        memcpy(offset, status + OFFSET_FIELD, sizeof *offset);
    }
    return 0;
}

// Locks of the open file description, of Linux 3.15: glibc names them for _GNU_SOURCE only.
enum csl_ofd_command : int { CSL_OFD_GETLK = 36, CSL_OFD_SETLK = 37 };
static inline int csl_ofd_lock(int fd, int type, int64_t start, int64_t length) {
    struct flock lock = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(fd, CSL_OFD_SETLK, &lock) < 0 ? -errno : 0;
}
/// Finds who would stop a lock: 0 nobody, else the type of the lock that is there; its owner goes to `process`, -1 for
/// the owner of an open file description.
static inline int csl_ofd_probe(int fd, int type, int64_t start, int64_t length, int *_Nonnull process) {
    struct flock lock = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    if (fcntl(fd, CSL_OFD_GETLK, &lock) < 0) {
        return -errno;
    }
    *process = (int)lock.l_pid;
    return lock.l_type == F_UNLCK ? 0 : lock.l_type == F_RDLCK ? 1 : 2;
}

#endif
