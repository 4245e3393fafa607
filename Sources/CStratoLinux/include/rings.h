// The kernel's two interfaces for asynchronous I/O on one file, by their system calls: io_uring and what libaio uses. Every
// function returns a negative errno on failure.
#ifndef CSTRATOLINUX_RINGS_H
#define CSTRATOLINUX_RINGS_H

#include <errno.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/// A write is durable before it is completed (RWF_DSYNC of linux/fs.h).
enum { CSL_WRITE_DURABLE = 0x2 };

/// What is asked of the file.
enum csl_transfer {
    CSL_TRANSFER_READ = 0,
    CSL_TRANSFER_WRITE = 1,
    CSL_TRANSFER_FLUSH = 2,
};

// io_uring

/// A ring, with one file and one event registered, and restricted to reading, writing and flushing that file.
struct csl_uring {
    int fd;
    uint32_t entries;
    /// Filled in and not handed over yet.
    uint32_t staged;
    uint32_t submission_tail;
    uint32_t submission_mask;
    uint32_t completion_head;
    uint32_t completion_mask;
    uint32_t *_Nullable shared_submission_head;
    uint32_t *_Nullable shared_submission_tail;
    uint32_t *_Nullable shared_completion_head;
    uint32_t *_Nullable shared_completion_tail;
    void *_Nullable submissions;
    void *_Nullable completions;
    void *_Nullable rings;
    size_t rings_size;
    size_t submissions_size;
    /// Memory that is registered, in pieces of CSL_URING_PIECE; NULL for none.
    uint8_t *_Nullable memory;
    size_t memory_size;
};

enum { CSL_URING_PIECE_SHIFT = 30 };

/// Makes a ring for one file, of which at most `depth` requests are in flight, `event` being signalled with completions.
///
/// `memory`, which may be NULL, is registered where the kernel permits it; requests inside are then spared to look its pages up.
int csl_uring_open(
    struct csl_uring *_Nonnull ring, uint32_t depth, int file, int event, void *_Nullable memory, size_t memory_size);
void csl_uring_close(struct csl_uring *_Nonnull ring);

/// Fills a submission in; 0 if there is no room. `count` is of vectors; for one vector `vectors` points to it as well.
static inline int csl_uring_stage(
    struct csl_uring *_Nonnull ring, int transfer, const void *_Nullable vectors, uint32_t count, uint64_t offset,
    uint32_t write_flags, uint64_t tag) {
    uint32_t tail = ring->submission_tail;
    if (tail - __atomic_load_n(ring->shared_submission_head, __ATOMIC_ACQUIRE) >= ring->entries) {
        return 0;
    }
    struct io_uring_sqe *entry = (struct io_uring_sqe *)ring->submissions + (tail & ring->submission_mask);
    memset(entry, 0, sizeof *entry);
    entry->flags = IOSQE_FIXED_FILE;
    entry->user_data = tag;
    entry->off = offset;
    if (transfer == CSL_TRANSFER_FLUSH) {
        entry->opcode = IORING_OP_FSYNC;
        entry->fsync_flags = IORING_FSYNC_DATASYNC;
        entry->off = 0;
    } else if (count == 1) {
        // struct iovec, whose header has more in it than this one is to bring along.
        struct { uint64_t base, length; } vector;
        memcpy(&vector, vectors, sizeof vector);
        int is_write = transfer == CSL_TRANSFER_WRITE;
        uint64_t start = vector.base - (uint64_t)(uintptr_t)ring->memory;
        entry->addr = vector.base;
        // The length of one segment is less than 2 to the power of 32.
        entry->len = (uint32_t)vector.length;
        entry->rw_flags = (int)write_flags;
        if (ring->memory != NULL && start < ring->memory_size && vector.length <= ring->memory_size - start &&
            start >> CSL_URING_PIECE_SHIFT == (start + vector.length - 1) >> CSL_URING_PIECE_SHIFT) {
            entry->opcode = is_write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
            entry->buf_index = (uint16_t)(start >> CSL_URING_PIECE_SHIFT);
        } else {
            entry->opcode = is_write ? IORING_OP_WRITE : IORING_OP_READ;
        }
    } else {
        entry->opcode = transfer == CSL_TRANSFER_WRITE ? IORING_OP_WRITEV : IORING_OP_READV;
        entry->addr = (uint64_t)(uintptr_t)vectors;
        entry->len = count;
        entry->rw_flags = (int)write_flags;
    }
    ring->submission_tail = tail + 1;
    ring->staged++;
    return 1;
}

/// Hands over what is staged, and returns 0 once the kernel has all of it; else the rest stays staged.
static inline int csl_uring_submit(struct csl_uring *_Nonnull ring) {
    __atomic_store_n(ring->shared_submission_tail, ring->submission_tail, __ATOMIC_RELEASE);
    while (ring->staged > 0) {
        long taken = syscall(SYS_io_uring_enter, ring->fd, ring->staged, 0, 0, NULL, 0);
        if (taken < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        if (taken == 0) {
            return -EAGAIN;
        }
        ring->staged -= (uint32_t)taken < ring->staged ? (uint32_t)taken : ring->staged;
    }
    return 0;
}

/// Takes back the submission that was staged last; 0 if there is none.
static inline int csl_uring_unstage(struct csl_uring *_Nonnull ring, uint64_t *_Nonnull tag) {
    if (ring->staged == 0) {
        return 0;
    }
    ring->staged--;
    ring->submission_tail--;
    // The kernel reads the submissions during the call that hands them over, and at no other time.
    __atomic_store_n(ring->shared_submission_tail, ring->submission_tail, __ATOMIC_RELEASE);
    *tag = ((struct io_uring_sqe *)ring->submissions + (ring->submission_tail & ring->submission_mask))->user_data;
    return 1;
}

/// Takes a completion; 0 if there is none. Every one that was taken is one less in flight.
static inline int csl_uring_next(struct csl_uring *_Nonnull ring, uint64_t *_Nonnull tag, int32_t *_Nonnull result) {
    uint32_t head = ring->completion_head;
    if (head == __atomic_load_n(ring->shared_completion_tail, __ATOMIC_ACQUIRE)) {
        return 0;
    }
    const struct io_uring_cqe *entry = (const struct io_uring_cqe *)ring->completions + (head & ring->completion_mask);
    *tag = entry->user_data;
    *result = entry->res;
    ring->completion_head = head + 1;
    __atomic_store_n(ring->shared_completion_head, head + 1, __ATOMIC_RELEASE);
    return 1;
}

// libaio's system calls

enum { CSL_AIO_BATCH = 32 };

struct csl_aio {
    aio_context_t context;
    int file;
    int event;
    uint32_t staged;
    struct iocb blocks[CSL_AIO_BATCH];
};

int csl_aio_open(struct csl_aio *_Nonnull aio, uint32_t depth, int file, int event);
/// Waits for what is in flight.
void csl_aio_close(struct csl_aio *_Nonnull aio);

static inline int csl_aio_stage(
    struct csl_aio *_Nonnull aio, int transfer, const void *_Nullable vectors, uint32_t count, uint64_t offset,
    uint32_t write_flags, uint64_t tag) {
    if (aio->staged >= CSL_AIO_BATCH) {
        return 0;
    }
    struct iocb *block = &aio->blocks[aio->staged++];
    memset(block, 0, sizeof *block);
    block->aio_data = tag;
    block->aio_fildes = (uint32_t)aio->file;
    block->aio_flags = IOCB_FLAG_RESFD;
    block->aio_resfd = (uint32_t)aio->event;
    if (transfer == CSL_TRANSFER_FLUSH) {
        block->aio_lio_opcode = IOCB_CMD_FDSYNC;
    } else {
        block->aio_lio_opcode = transfer == CSL_TRANSFER_WRITE ? IOCB_CMD_PWRITEV : IOCB_CMD_PREADV;
        block->aio_buf = (uint64_t)(uintptr_t)vectors;
        block->aio_nbytes = count;
        block->aio_offset = (int64_t)offset;
        block->aio_rw_flags = (__kernel_rwf_t)write_flags;
    }
    return 1;
}

int csl_aio_submit(struct csl_aio *_Nonnull aio);

static inline int csl_aio_unstage(struct csl_aio *_Nonnull aio, uint64_t *_Nonnull tag) {
    if (aio->staged == 0) {
        return 0;
    }
    *tag = aio->blocks[--aio->staged].aio_data;
    return 1;
}

/// Takes a completion; 0 if there is none.
int csl_aio_next(struct csl_aio *_Nonnull aio, uint64_t *_Nonnull tag, int64_t *_Nonnull result);

#endif
