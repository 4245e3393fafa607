// Shims for StratoHost. Every function returns a negative errno on failure, so that errno cannot be lost on the way.
#ifndef CSTRATOLINUX_HOST_H
#define CSTRATOLINUX_HOST_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static inline int csl_ioctl(int fd, unsigned long request, unsigned long argument) {
    int result = ioctl(fd, request, argument);
    return result < 0 ? -errno : result;
}
static inline int csl_ioctl_pointer(int fd, unsigned long request, void *_Nullable argument) {
    int result = ioctl(fd, request, argument);
    return result < 0 ? -errno : result;
}
static inline int csl_open(const char *_Nonnull path, int flags, unsigned int mode) {
    int result = open(path, flags | O_CLOEXEC, mode);
    return result < 0 ? -errno : result;
}
static inline int csl_fcntl(int fd, int command, long argument) {
    int result = fcntl(fd, command, argument);
    return result < 0 ? -errno : result;
}
static inline int csl_eventfd(unsigned int initial) {
    int result = eventfd(initial, EFD_CLOEXEC | EFD_NONBLOCK);
    return result < 0 ? -errno : result;
}
static inline int csl_gettid(void) { return (int)syscall(SYS_gettid); }
static inline int csl_tgkill(int process, int thread, int signal_number) {
    long result = syscall(SYS_tgkill, process, thread, signal_number);
    return result < 0 ? -errno : 0;
}
static inline void csl_set_thread_name(const char *_Nonnull name) {
    (void)prctl(PR_SET_NAME, (unsigned long)name, 0, 0, 0);
}
static inline int csl_o_path(void) { return __O_PATH; }

static inline int csl_epoll_create(void) {
    int result = epoll_create1(EPOLL_CLOEXEC);
    return result < 0 ? -errno : result;
}
static inline int csl_epoll_ctl(int epoll, int operation, int fd, uint32_t events, uint64_t tag) {
    struct epoll_event event = {.events = events, .data.u64 = tag};
    return epoll_ctl(epoll, operation, fd, &event) < 0 ? -errno : 0;
}
static inline int csl_epoll_wait(int epoll, struct epoll_event *_Nonnull events, int capacity, int milliseconds) {
    int result = epoll_wait(epoll, events, capacity, milliseconds);
    return result < 0 ? -errno : result;
}
/// CLOCK_MONOTONIC in nanoseconds.
static inline uint64_t csl_monotonic_nanoseconds(void) {
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/// Blocks SIGPIPE for the calling thread.
static inline void csl_block_broken_pipe(sigset_t *_Nonnull previous) {
    sigset_t broken_pipe;
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken_pipe, previous);
}
/// Undoes csl_block_broken_pipe, without the SIGPIPE that may have come meanwhile.
static inline void csl_unblock_broken_pipe(const sigset_t *_Nonnull previous) {
    if (!sigismember(previous, SIGPIPE)) {
        sigset_t broken_pipe;
        struct timespec at_once = {0};
        sigemptyset(&broken_pipe);
        sigaddset(&broken_pipe, SIGPIPE);
        while (sigtimedwait(&broken_pipe, NULL, &at_once) < 0 && errno == EINTR) {
        }
    }
    pthread_sigmask(SIG_SETMASK, previous, NULL);
}

/// Writes what goes at once; a socket is never waited for, whatever the flags of its description.
static inline ssize_t csl_write(int fd, int is_socket, const void *_Nonnull bytes, size_t count) {
    ssize_t result;
    do {
        result = is_socket ? send(fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL) : write(fd, bytes, count);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}
/// Reads what is there; a socket is never waited for, whatever the flags of its description.
static inline ssize_t csl_read(int fd, int is_socket, void *_Nonnull bytes, size_t count) {
    ssize_t result;
    do {
        result = is_socket ? recv(fd, bytes, count, MSG_DONTWAIT) : read(fd, bytes, count);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}
/// What poll(2) says of one descriptor, asked for `events`, within a time; an interruption makes the time begin anew.
static inline int csl_poll_within(int fd, short events, int milliseconds) {
    struct pollfd entry = {.fd = fd, .events = events};
    int result;
    do {
        result = poll(&entry, 1, milliseconds);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : entry.revents;
}
/// As above, at once.
static inline int csl_poll_now(int fd, short events) { return csl_poll_within(fd, events, 0); }

/// Waits until `fd` takes bytes, or until `cancel` is signalled and it does not: 1, 0, or a negative errno.
static inline int csl_wait_writable(int fd, int cancel) {
    struct pollfd entries[2] = {{.fd = fd, .events = POLLOUT}, {.fd = cancel, .events = POLLIN}};
    int result;
    do {
        result = poll(entries, 2, -1);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : entries[0].revents != 0;
}

static inline int csl_stream_socket(int family) {
    int result = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return result < 0 ? -errno : result;
}
static inline int csl_bind(int fd, const void *_Nonnull address, socklen_t length) {
    return bind(fd, (const struct sockaddr *)address, length) < 0 ? -errno : 0;
}
static inline int csl_connect(int fd, const void *_Nonnull address, socklen_t length) {
    return connect(fd, (const struct sockaddr *)address, length) < 0 ? -errno : 0;
}
static inline int csl_listen(int fd, int backlog) { return listen(fd, backlog) < 0 ? -errno : 0; }
static inline int csl_accept(int fd) {
    int result = (int)syscall(SYS_accept4, fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return result < 0 ? -errno : result;
}
static inline int csl_set_socket_option(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}
/// Single key strokes and short replies are not held back.
static inline int csl_set_no_delay(int fd) { return csl_set_socket_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); }
/// The longest path of a unix socket, in bytes.
static inline int csl_unix_path_limit(void) { return (int)sizeof(((struct sockaddr_un *)0)->sun_path) - 1; }
/// The path of a unix socket as an address; 0 if it does not fit with its terminator.
static inline socklen_t csl_unix_address(struct sockaddr_un *_Nonnull address, const char *_Nonnull path) {
    size_t length = strlen(path);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (length == 0 || length >= sizeof address->sun_path) {
        return 0;
    }
    memcpy(address->sun_path, path, length + 1);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
}
/// A numeric IPv4 or IPv6 address with a port; 0 if the text is neither.
static inline socklen_t csl_internet_address(
    struct sockaddr_storage *_Nonnull address, const char *_Nonnull host, uint16_t port) {
    struct sockaddr_in *four = (struct sockaddr_in *)address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        return sizeof *four;
    }
    if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
        return sizeof *six;
    }
    return 0;
}
/// The port that an IPv4 or IPv6 socket is bound to, 0 if it is neither.
static inline int csl_bound_port(int fd) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
        return -errno;
    }
    switch (address.ss_family) {
    case AF_INET: return ntohs(((struct sockaddr_in *)&address)->sin_port);
    case AF_INET6: return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    default: return 0;
    }
}

/// A new pseudo terminal's master; its slave is unlocked.
static inline int csl_open_pty_master(void) {
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    int locked = 0;
    if (master < 0) {
        return -errno;
    }
    if (ioctl(master, TIOCSPTLCK, &locked) < 0) {
        int code = -errno;
        close(master);
        return code;
    }
    return master;
}
/// The N of /dev/pts/N.
static inline int csl_pty_number(int master) {
    unsigned int number = 0;
    return ioctl(master, TIOCGPTN, &number) < 0 ? -errno : (int)number;
}
/// The slave of a master, reached without its path.
static inline int csl_open_pty_slave(int master) {
    int result = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return result < 0 ? -errno : result;
}
/// An inotify descriptor that tells when `path` is opened.
static inline int csl_watch_open(const char *_Nonnull path) {
    int watcher = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watcher < 0) {
        return -errno;
    }
    if (inotify_add_watch(watcher, path, IN_OPEN) < 0) {
        int code = -errno;
        close(watcher);
        return code;
    }
    return watcher;
}

#endif
