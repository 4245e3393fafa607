// The yardstick for the split queue and for block requests: the same work as QueueProbe's, with the same checks, in C.
//
// usage: queue chain BATCHES | queue block BATCHES IMAGE
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { QUEUE_SIZE = 256, PER_CHAIN = 3, BATCH = 64, SUBMIT_BATCH = 32, DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

#define DESCRIPTOR_TABLE 0x10000ull
#define AVAILABLE_RING 0x20000ull
#define USED_RING 0x30000ull
#define HEADERS 0x100000ull
#define LOW_PARTS 0x200000ull
#define HIGH_MEMORY 0x100000000ull
#define REGION_SIZE (64ull << 20)

// Guest memory.

struct region {
    uint64_t base;
    uint64_t size;
    uint8_t *host;
};

struct memory {
    size_t count;
    struct region regions[2];
};

static inline void *translate(const struct memory *memory, uint64_t address, uint64_t length) {
    for (size_t i = 0; i < memory->count; i++) {
        const struct region *region = &memory->regions[i];
        uint64_t offset = address - region->base;
        if (address >= region->base && offset < region->size && length <= region->size - offset) {
            return region->host + offset;
        }
    }
    return NULL;
}

// The device's side of the queue.

struct chain {
    uint16_t head;
    size_t readable_count, writable_count;
    size_t readable_length, writable_length;
};

struct queue {
    const struct memory *memory;
    const uint8_t *descriptors;
    uint8_t *available;
    uint8_t *used;
    size_t descriptors_length, available_length, used_length;
    uint16_t size;
    uint16_t next_available, known_available, next_used, signalled_used, in_flight;
    bool has_indirect, has_event_index;
    struct iovec *segments;
    size_t limit;
};

enum result { CHAIN_NONE, CHAIN_TAKEN, CHAIN_BROKEN };

static bool load(const uint8_t *area, size_t length, size_t offset, void *value, size_t size) {
    if (size > length || offset > length - size) {
        return false;
    }
    memcpy(value, area + offset, size);
    return true;
}

static bool store(uint8_t *area, size_t length, size_t offset, const void *value, size_t size) {
    if (size > length || offset > length - size) {
        return false;
    }
    memcpy(area + offset, value, size);
    return true;
}

static inline bool walk(const struct queue *queue, uint16_t head, struct chain *chain) {
    // Copies, as the compiler can't know that what is stored in the segments leaves the queue as it is.
    const struct memory memory = *queue->memory;
    struct iovec *const segments = queue->segments;
    const size_t limit = queue->limit;
    const uint8_t *table = queue->descriptors;
    size_t table_length = queue->descriptors_length, entries = queue->size, steps = 0, filled = 0, length = 0;
    size_t readable_count = 0, readable_length = 0;
    bool is_writing = false, is_indirect = false;
    uint16_t index = head;
    for (;;) {
        uint64_t address, rest;
        if (index >= entries || steps >= limit) {
            return false;
        }
        steps++;
        if (!load(table, table_length, (size_t)index * 16, &address, 8) ||
            !load(table, table_length, (size_t)index * 16 + 8, &rest, 8)) {
            return false;
        }
        uint32_t size = (uint32_t)rest;
        uint16_t flags = (uint16_t)(rest >> 32);
        if (flags & DESC_INDIRECT) {
            if (!queue->has_indirect || is_indirect || (flags & DESC_NEXT) || size == 0 || size % 16 != 0 ||
                size / 16 > limit) {
                return false;
            }
            table = translate(&memory, address, size);
            if (table == NULL) {
                return false;
            }
            table_length = size;
            entries = size / 16;
            is_indirect = true;
            index = 0;
            steps--;
            continue;
        }
        if (size != 0) {
            void *host = translate(&memory, address, size);
            if (host == NULL) {
                return false;
            }
            if (flags & DESC_WRITE) {
                if (!is_writing) {
                    is_writing = true;
                    readable_count = filled;
                    readable_length = length;
                }
            } else if (is_writing) {
                return false;
            }
            if (filled >= limit) {
                return false;
            }
            segments[filled].iov_base = host;
            segments[filled].iov_len = size;
            filled++;
            length += size;
        }
        if (!(flags & DESC_NEXT)) {
            break;
        }
        index = (uint16_t)(rest >> 48);
    }
    if (length > UINT32_MAX) {
        return false;
    }
    if (!is_writing) {
        readable_count = filled;
        readable_length = length;
    }
    chain->head = head;
    chain->readable_count = readable_count;
    chain->writable_count = filled - readable_count;
    chain->readable_length = readable_length;
    chain->writable_length = length - readable_length;
    return true;
}

static enum result pop(struct queue *queue, struct chain *chain) {
    if (queue->next_available == queue->known_available) {
        uint16_t index;
        if (queue->available_length < 4) {
            return CHAIN_BROKEN;
        }
        index = __atomic_load_n((uint16_t *)(queue->available + 2), __ATOMIC_ACQUIRE);
        uint16_t waiting = index - queue->next_available;
        if (waiting == 0) {
            return CHAIN_NONE;
        }
        if (waiting > queue->size) {
            return CHAIN_BROKEN;
        }
        queue->known_available = index;
    }
    uint16_t head;
    if (queue->in_flight >= queue->size ||
        !load(queue->available, queue->available_length, 4 + (size_t)(queue->next_available & (queue->size - 1)) * 2, &head, 2)) {
        return CHAIN_BROKEN;
    }
    if (!walk(queue, head, chain)) {
        return CHAIN_BROKEN;
    }
    queue->next_available++;
    queue->in_flight++;
    return CHAIN_TAKEN;
}

static void push(struct queue *queue, uint16_t head, uint32_t length) {
    uint64_t entry = head | (uint64_t)length << 32;
    store(queue->used, queue->used_length, 4 + (size_t)(queue->next_used & (queue->size - 1)) * 8, &entry, 8);
    queue->next_used++;
    if (queue->in_flight > 0) {
        queue->in_flight--;
    }
    if (queue->used_length >= 4) {
        __atomic_store_n((uint16_t *)(queue->used + 2), queue->next_used, __ATOMIC_RELEASE);
    }
}

static bool needs_notification(struct queue *queue) {
    if (queue->next_used == queue->signalled_used) {
        return false;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint16_t previous = queue->signalled_used;
    queue->signalled_used = queue->next_used;
    if (queue->has_event_index) {
        uint16_t event;
        if (!load(queue->available, queue->available_length, 4 + (size_t)queue->size * 2, &event, 2)) {
            return true;
        }
        return (uint16_t)(queue->next_used - event - 1) < (uint16_t)(queue->next_used - previous);
    }
    uint16_t flags;
    return !load(queue->available, queue->available_length, 0, &flags, 2) || !(flags & 1);
}

// The driver's side.

struct guest {
    struct memory memory;
    struct queue queue;
    uint16_t index;
};

static void describe(struct guest *guest, uint16_t index, uint64_t address, uint32_t length, uint16_t flags, uint16_t next) {
    uint64_t words[2] = {address, length | (uint64_t)flags << 32 | (uint64_t)next << 48};
    memcpy(translate(&guest->memory, DESCRIPTOR_TABLE + (uint64_t)index * 16, 16), words, sizeof words);
}

static void make_guest(struct guest *guest, bool requests) {
    uint8_t *host = mmap(NULL, 2 * REGION_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (host == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    memset(guest, 0, sizeof *guest);
    guest->memory.count = 2;
    guest->memory.regions[0] = (struct region){0, REGION_SIZE, host};
    guest->memory.regions[1] = (struct region){HIGH_MEMORY, REGION_SIZE, host + REGION_SIZE};
    struct queue *queue = &guest->queue;
    queue->memory = &guest->memory;
    queue->size = QUEUE_SIZE;
    queue->limit = QUEUE_SIZE;
    queue->descriptors_length = QUEUE_SIZE * 16;
    queue->available_length = 6 + QUEUE_SIZE * 2;
    queue->used_length = 6 + QUEUE_SIZE * 8;
    queue->descriptors = translate(&guest->memory, DESCRIPTOR_TABLE, queue->descriptors_length);
    queue->available = translate(&guest->memory, AVAILABLE_RING, queue->available_length);
    queue->used = translate(&guest->memory, USED_RING, queue->used_length);
    queue->segments = calloc(queue->limit, sizeof *queue->segments);
    if (queue->segments == NULL) {
        perror("calloc");
        exit(1);
    }
    const uint16_t chains = QUEUE_SIZE / PER_CHAIN;
    for (uint16_t chain = 0; chain < chains; chain++) {
        uint16_t head = chain * PER_CHAIN;
        uint64_t header = HEADERS + (uint64_t)chain * 16;
        uint64_t words[2] = {0, (uint64_t)chain * 8};
        uint64_t low = LOW_PARTS + (uint64_t)chain * 4096, high = HIGH_MEMORY + (uint64_t)chain * 4096;
        memcpy(translate(&guest->memory, header, 16), words, sizeof words);
        describe(guest, head, header, 16, DESC_NEXT, head + 1);
        describe(guest, head + 1, requests ? high : low, 4096, DESC_NEXT | DESC_WRITE, head + 2);
        describe(guest, head + 2, requests ? low : high, 1, DESC_WRITE, 0);
    }
    for (uint16_t entry = 0; entry < QUEUE_SIZE; entry++) {
        uint16_t head = entry % chains * PER_CHAIN;
        memcpy(queue->available + 4 + (size_t)entry * 2, &head, 2);
    }
}

static void publish(struct guest *guest) {
    guest->index += BATCH;
    __atomic_store_n((uint16_t *)(guest->queue.available + 2), guest->index, __ATOMIC_RELEASE);
}

// Chains alone.

static __attribute__((noinline)) bool serve_chains(struct queue *queue, uint64_t *checksum) {
    struct chain chain;
    enum result result;
    while ((result = pop(queue, &chain)) == CHAIN_TAKEN) {
        uint64_t type, sector;
        uint8_t status = 0;
        if (chain.readable_count == 0 || chain.writable_count == 0 ||
            !load(queue->segments[0].iov_base, queue->segments[0].iov_len, 0, &type, 8) ||
            !load(queue->segments[0].iov_base, queue->segments[0].iov_len, 8, &sector, 8)) {
            push(queue, chain.head, 0);
            continue;
        }
        *checksum += type + sector;
        struct iovec *last = &queue->segments[chain.readable_count + chain.writable_count - 1];
        store(last->iov_base, last->iov_len, 0, &status, 1);
        push(queue, chain.head, 1);
    }
    if (result == CHAIN_BROKEN) {
        fprintf(stderr, "the queue is broken\n");
        exit(1);
    }
    return needs_notification(queue);
}

static int run_chains(long batches) {
    static struct guest guest;
    uint64_t checksum = 0;
    make_guest(&guest, false);
    for (long i = 0; i < batches; i++) {
        publish(&guest);
        if (!serve_chains(&guest.queue, &checksum)) {
            fprintf(stderr, "no interrupt wanted\n");
            return 1;
        }
    }
    printf("%llu\n", (unsigned long long)checksum);
    return 0;
}

// Reads of 4 KiB.

struct request {
    uint64_t offset;
    struct iovec parts[QUEUE_SIZE];
    size_t part_count;
    uint8_t *status;
    size_t data_length;
    uint16_t head;
};

struct disk {
    pthread_mutex_t lock;
    int image;
    uint64_t capacity;
    struct request requests[QUEUE_SIZE];
    int free[QUEUE_SIZE];
    int free_count;
    int batch[SUBMIT_BATCH];
    int batch_count;
};

static void submit(struct disk *disk, struct queue *queue) {
    for (int i = 0; i < disk->batch_count; i++) {
        struct request *request = &disk->requests[disk->batch[i]];
        size_t wanted = request->data_length;
        ssize_t length;
        do {
            length = preadv(disk->image, request->parts, (int)request->part_count, (off_t)request->offset);
        } while (length < 0 && errno == EINTR);
        *request->status = length == (ssize_t)wanted ? 0 : 1;
        push(queue, request->head, length == (ssize_t)wanted ? (uint32_t)wanted + 1 : 0);
        disk->free[disk->free_count++] = disk->batch[i];
    }
    disk->batch_count = 0;
}

static bool begin(struct disk *disk, struct queue *queue, const struct chain *chain) {
    uint64_t type, sector;
    struct iovec *segments = queue->segments;
    size_t count = chain->readable_count + chain->writable_count;
    if (chain->writable_count == 0 || chain->readable_count == 0 || segments[count - 1].iov_len == 0 ||
        !load(segments[0].iov_base, segments[0].iov_len, 0, &type, 8) ||
        !load(segments[0].iov_base, segments[0].iov_len, 8, &sector, 8)) {
        return false;
    }
    size_t length = chain->writable_length - 1;
    if ((uint32_t)type != 0 || length == 0 || length % 512 != 0 || sector > disk->capacity / 512 ||
        length > disk->capacity - sector * 512 || disk->free_count == 0) {
        return false;
    }
    int place = disk->free[--disk->free_count];
    struct request *request = &disk->requests[place];
    request->offset = sector * 512;
    request->head = chain->head;
    request->data_length = length;
    request->status = (uint8_t *)segments[count - 1].iov_base + segments[count - 1].iov_len - 1;
    request->part_count = 0;
    for (size_t i = chain->readable_count, left = length; i < count && left > 0; i++) {
        size_t amount = segments[i].iov_len < left ? segments[i].iov_len : left;
        request->parts[request->part_count++] = (struct iovec){segments[i].iov_base, amount};
        left -= amount;
    }
    disk->batch[disk->batch_count++] = place;
    return true;
}

static __attribute__((noinline)) bool serve_requests(struct disk *disk, struct queue *queue) {
    struct chain chain;
    enum result result;
    pthread_mutex_lock(&disk->lock);
    while ((result = pop(queue, &chain)) == CHAIN_TAKEN) {
        if (!begin(disk, queue, &chain)) {
            push(queue, chain.head, 0);
        } else if (disk->batch_count == SUBMIT_BATCH) {
            submit(disk, queue);
        }
    }
    submit(disk, queue);
    bool notify = needs_notification(queue);
    pthread_mutex_unlock(&disk->lock);
    if (result == CHAIN_BROKEN) {
        fprintf(stderr, "the queue is broken\n");
        exit(1);
    }
    return notify;
}

static int run_requests(long batches, const char *path) {
    static struct guest guest;
    static struct disk disk = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct stat status;
    uint64_t count = 1;
    int kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), loop = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    disk.image = open(path, O_RDONLY | O_CLOEXEC);
    if (kick < 0 || loop < 0 || disk.image < 0 || fstat(disk.image, &status) < 0 ||
        epoll_ctl(loop, EPOLL_CTL_ADD, kick, &event) < 0) {
        perror(path);
        return 1;
    }
    disk.capacity = (uint64_t)status.st_size;
    for (int i = 0; i < QUEUE_SIZE; i++) {
        disk.free[disk.free_count++] = i;
    }
    make_guest(&guest, true);
    for (long i = 0; i < batches; i++) {
        publish(&guest);
        if (write(kick, &count, 8) != 8 || epoll_wait(loop, &event, 1, -1) != 1 || read(kick, &count, 8) != 8) {
            perror("eventfd");
            return 1;
        }
        if (!serve_requests(&disk, &guest.queue)) {
            fprintf(stderr, "no interrupt wanted\n");
            return 1;
        }
    }
    for (uint64_t i = 0; i < BATCH && batches > 0; i++) {
        if (*(uint8_t *)translate(&guest.memory, LOW_PARTS + i * 4096, 1) != 0) {
            fprintf(stderr, "requests have failed\n");
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "chain") == 0) {
        return run_chains(strtol(argv[2], NULL, 10));
    }
    if (argc == 4 && strcmp(argv[1], "block") == 0) {
        return run_requests(strtol(argv[2], NULL, 10), argv[3]);
    }
    fprintf(stderr, "usage: queue chain BATCHES | queue block BATCHES IMAGE\n");
    return 2;
}
