// Shims for StratoHost. Every function returns a negative errno on failure, so that errno cannot be lost on the way.
#ifndef CSTRATOLINUX_HOST_H
#define CSTRATOLINUX_HOST_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
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
static inline int csl_tgkill(int thread, int signal_number) {
    long result = syscall(SYS_tgkill, getpid(), thread, signal_number);
    return result < 0 ? -errno : 0;
}
static inline void csl_set_thread_name(const char *_Nonnull name) {
    (void)prctl(PR_SET_NAME, (unsigned long)name, 0, 0, 0);
}
static inline int csl_memfd_create(const char *_Nonnull name) {
    long result = syscall(SYS_memfd_create, name, 1u /* MFD_CLOEXEC */);
    return result < 0 ? -errno : (int)result;
}
static inline int csl_o_tmpfile(void) { return __O_TMPFILE; }

/// Touches every page of a mapping for writing. MADV_POPULATE_WRITE is of Linux 5.14; older kernels are served by hand.
static inline int csl_populate(void *_Nonnull address, size_t length) {
    if (madvise(address, length, 23 /* MADV_POPULATE_WRITE */) == 0) {
        return 0;
    }
    if (errno != EINVAL) {
        return -errno;
    }
    for (size_t offset = 0; offset < length; offset += 4096) {
        volatile unsigned char *byte = (volatile unsigned char *)address + offset;
        *byte = *byte;
    }
    return 0;
}

#endif
