#include "rings.h"

#include <stdbool.h>
#include <sys/mman.h>
#include <sys/uio.h>

// Of newer kernels than the headers may be.
enum {
    SETUP_SUBMIT_ALL = 1 << 7,   // 5.18: a request that is refused does not hold up those behind it
    SETUP_COOP_TASKRUN = 1 << 8, // 5.19: completions interrupt no thread that is busy
};

enum {
    // Submissions that can be staged; more are handed over in turns.
    LARGEST_BATCH = 64,
    // Pieces of memory that every kernel takes (UIO_MAXIOV).
    LARGEST_PIECE_COUNT = 1024,
};

static int setup(uint32_t entries, struct io_uring_params *params) {
    long result = syscall(SYS_io_uring_setup, entries, params);
    return result < 0 ? -errno : (int)result;
}

static int enroll(int fd, unsigned operation, const void *argument, unsigned count) {
    long result = syscall(SYS_io_uring_register, fd, operation, argument, count);
    return result < 0 ? -errno : (int)result;
}

static int restrict_ring(int fd) {
    static const uint8_t operations[] = {IORING_OP_READV,      IORING_OP_WRITEV,      IORING_OP_READ, IORING_OP_WRITE,
                                         IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED, IORING_OP_FSYNC};
    enum { OPERATIONS = sizeof operations, COUNT = OPERATIONS + 2 };
    struct io_uring_restriction restrictions[COUNT];
    memset(restrictions, 0, sizeof restrictions);
    for (int i = 0; i < OPERATIONS; i++) {
        restrictions[i].opcode = IORING_RESTRICTION_SQE_OP;
        restrictions[i].sqe_op = operations[i];
    }
    // The one file that is registered, and no other.
    restrictions[OPERATIONS].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
    restrictions[OPERATIONS].sqe_flags = IOSQE_FIXED_FILE;
    restrictions[OPERATIONS + 1].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
    restrictions[OPERATIONS + 1].sqe_flags = IOSQE_FIXED_FILE;
    return enroll(fd, IORING_REGISTER_RESTRICTIONS, restrictions, COUNT);
}

/// Memory that can't be registered (the limit of locked memory, a file behind it) is used all the same.
static void register_memory(struct csl_uring *ring, uint8_t *memory, size_t size) {
    static const size_t piece = (size_t)1 << CSL_URING_PIECE_SHIFT;
    size_t count = (size + piece - 1) >> CSL_URING_PIECE_SHIFT;
    struct iovec pieces[LARGEST_PIECE_COUNT];
    if (memory == NULL || count == 0 || count > LARGEST_PIECE_COUNT) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        size_t start = i << CSL_URING_PIECE_SHIFT;
        pieces[i].iov_base = memory + start;
        pieces[i].iov_len = size - start < piece ? size - start : piece;
    }
    if (enroll(ring->fd, IORING_REGISTER_BUFFERS, pieces, (unsigned)count) == 0) {
        ring->memory = memory;
        ring->memory_size = size;
    }
}

static int map(struct csl_uring *ring, const struct io_uring_params *params) {
    size_t submissions = params->sq_off.array + params->sq_entries * sizeof(uint32_t);
    size_t completions = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
    ring->rings_size = submissions > completions ? submissions : completions;
    ring->submissions_size = params->sq_entries * sizeof(struct io_uring_sqe);
    void *rings = mmap(
        NULL, ring->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, (off_t)IORING_OFF_SQ_RING);
    if (rings == MAP_FAILED) {
        return -errno;
    }
    ring->rings = rings;
    void *entries = mmap(
        NULL, ring->submissions_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, (off_t)IORING_OFF_SQES);
    if (entries == MAP_FAILED) {
        return -errno;
    }
    ring->submissions = entries;
    uint8_t *base = rings;
    ring->entries = params->sq_entries;
    ring->submission_mask = *(uint32_t *)(base + params->sq_off.ring_mask);
    ring->completion_mask = *(uint32_t *)(base + params->cq_off.ring_mask);
    ring->shared_submission_head = (uint32_t *)(base + params->sq_off.head);
    ring->shared_submission_tail = (uint32_t *)(base + params->sq_off.tail);
    ring->shared_completion_head = (uint32_t *)(base + params->cq_off.head);
    ring->shared_completion_tail = (uint32_t *)(base + params->cq_off.tail);
    ring->completions = base + params->cq_off.cqes;
    ring->submission_tail = *ring->shared_submission_tail;
    ring->completion_head = *ring->shared_completion_head;
    // Entries are used in their own order.
    uint32_t *array = (uint32_t *)(base + params->sq_off.array);
    for (uint32_t i = 0; i < params->sq_entries; i++) {
        array[i] = i;
    }
    return 0;
}

int csl_uring_open(struct csl_uring *ring, uint32_t depth, int file, int event, void *memory, size_t memory_size) {
    static const uint32_t needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE;
    static const uint32_t wanted[] = {SETUP_SUBMIT_ALL | SETUP_COOP_TASKRUN, SETUP_SUBMIT_ALL, 0};
    struct io_uring_params params;
    int code = -EINVAL;
    memset(ring, 0, sizeof *ring);
    ring->fd = -1;
    for (size_t i = 0; code == -EINVAL && i < sizeof wanted / sizeof *wanted; i++) {
        memset(&params, 0, sizeof params);
        params.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | wanted[i];
        // As many as can be in flight, so that no completion ever lacks room.
        params.cq_entries = depth > LARGEST_BATCH ? depth : LARGEST_BATCH;
        code = setup(depth < LARGEST_BATCH ? depth : LARGEST_BATCH, &params);
    }
    if (code < 0) {
        return code;
    }
    ring->fd = code;
    code = (params.features & needed) == needed && params.cq_entries >= depth ? map(ring, &params) : -EOPNOTSUPP;
    if (code == 0) {
        code = enroll(ring->fd, IORING_REGISTER_FILES, &file, 1);
    }
    if (code == 0) {
        code = enroll(ring->fd, IORING_REGISTER_EVENTFD, &event, 1);
    }
    if (code == 0) {
        register_memory(ring, memory, memory_size);
        code = restrict_ring(ring->fd);
    }
    if (code == 0) {
        code = enroll(ring->fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    }
    if (code < 0) {
        csl_uring_close(ring);
    }
    return code;
}

void csl_uring_close(struct csl_uring *ring) {
    if (ring->submissions != NULL) {
        munmap(ring->submissions, ring->submissions_size);
    }
    if (ring->rings != NULL) {
        munmap(ring->rings, ring->rings_size);
    }
    if (ring->fd >= 0) {
        close(ring->fd);
    }
    memset(ring, 0, sizeof *ring);
    ring->fd = -1;
}

/// Completions, as the kernel maps them where a context's number points to (fs/aio.c): the kernel writes at the tail, and
/// whoever reads moves the head.
struct csl_aio_ring {
    uint32_t id;
    uint32_t count;
    uint32_t head;
    uint32_t tail;
    uint32_t magic;
    uint32_t compatible;
    uint32_t incompatible;
    uint32_t header_length;
    struct io_event events[];
};

enum : uint32_t { CSL_AIO_MAGIC = 0xA10A10A1 };

static struct csl_aio_ring *ring_of(const struct csl_aio *aio) {
    return (struct csl_aio_ring *)(uintptr_t)aio->context;
}

int csl_aio_open(struct csl_aio *aio, uint32_t depth, int file, int event) {
    memset(aio, 0, sizeof *aio);
    aio->file = file;
    aio->event = event;
    if (syscall(SYS_io_setup, depth, &aio->context) < 0) {
        return -errno;
    }
    const struct csl_aio_ring *ring = ring_of(aio);
    if (ring->magic != CSL_AIO_MAGIC || ring->incompatible != 0 || ring->header_length != sizeof *ring) {
        csl_aio_close(aio);
        return -ENOTSUP;
    }
    return 0;
}

void csl_aio_close(struct csl_aio *aio) {
    if (aio->context != 0) {
        syscall(SYS_io_destroy, aio->context);
    }
    aio->context = 0;
}

int csl_aio_submit(struct csl_aio *aio) {
    struct iocb *list[CSL_AIO_BATCH];
    uint32_t done = 0;
    int code = 0;
    for (uint32_t i = 0; i < aio->staged; i++) {
        list[i] = &aio->blocks[i];
    }
    while (done < aio->staged) {
        long taken = syscall(SYS_io_submit, aio->context, (long)(aio->staged - done), list + done);
        if (taken < 0) {
            if (errno == EINTR) {
                continue;
            }
            code = -errno;
            break;
        }
        if (taken == 0) {
            code = -EAGAIN;
            break;
        }
        done += (uint32_t)taken;
    }
    memmove(aio->blocks, aio->blocks + done, (aio->staged - done) * sizeof *aio->blocks);
    aio->staged -= done;
    return code;
}

int csl_aio_next(struct csl_aio *aio, uint64_t *tag, int64_t *result) {
    struct csl_aio_ring *ring = ring_of(aio);
    // Atomic, as the kernel reads it at any time.
    uint32_t head = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
    // What the kernel wrote before the tail is there once the tail is seen.
    if (head == __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE)) {
        return 0;
    }
    *tag = ring->events[head].data;
    *result = ring->events[head].res;
    // Read before the kernel may write it again.
    __atomic_store_n(&ring->head, head + 1 < ring->count ? head + 1 : 0, __ATOMIC_RELEASE);
    return 1;
}
