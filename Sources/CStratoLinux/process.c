// dl_iterate_phdr is declared for it only; the headers that Swift reads do without.
#define _GNU_SOURCE
#include "process.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <termios.h>

void csl_share_heap(void) { (void)mallopt(M_ARENA_MAX, 1); }

int csl_complete_standard_descriptors(void) {
    for (int fd = 0; fd <= 2; fd++) {
        // The lowest free number is what open returns, and those below are taken by now.
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) {
            return -errno;
        }
    }
    return 0;
}

// Signals.

int csl_termination_descriptor(void) {
    static const int left[] = {SIGSEGV, SIGBUS,  SIGILL,  SIGFPE,  SIGTRAP, SIGABRT,
                               SIGSYS,  SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT};
    sigset_t blocked;
    sigset_t awaited;
    int result;
    sigfillset(&blocked);
    for (unsigned int index = 0; index < sizeof left / sizeof left[0]; index++) {
        sigdelset(&blocked, left[index]);
    }
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGTERM);
    sigaddset(&awaited, SIGINT);
    sigaddset(&awaited, SIGHUP);
    sigaddset(&awaited, SIGXCPU);
    result = signalfd(-1, &awaited, SFD_CLOEXEC | SFD_NONBLOCK);
    return result < 0 ? -errno : result;
}

// The pid file.

// Room for any process's number, a line feed and the end of the string.
enum { PID_TEXT_SIZE = 16 };

// Whether a process that had this number is no more: there is none, or its exit status alone is left of it.
static int has_ended(long number) {
    char link[64];
    char first;
    // In containers the same few numbers come again and again.
    if (number == getpid()) {
        return 1;
    }
    if (kill((pid_t)number, 0) < 0) {
        return errno == ESRCH;
    }
    (void)snprintf(link, sizeof link, "/proc/%ld/exe", number);
    return access("/proc/self/exe", F_OK) == 0 && readlink(link, &first, 1) < 0 && errno == ENOENT;
}

static int is_left_behind(int fd) {
    char text[PID_TEXT_SIZE] = {0};
    char *end;
    struct stat status;
    ssize_t length;
    long number;
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_uid != geteuid() || status.st_nlink != 1 ||
        status.st_size >= PID_TEXT_SIZE) {
        return 0;
    }
    length = pread(fd, text, sizeof text - 1, 0);
    // Its process was killed between making and writing it.
    if (length == 0) {
        return 1;
    }
    if (length < 0 || text[0] < '1' || text[0] > '9') {
        return 0;
    }
    number = strtol(text, &end, 10);
    return number <= INT32_MAX && end[0] == '\n' && end[1] == 0 && has_ended(number);
}

// How often, and at what distance, a lock is tried: a process that was killed has its locks until its memory and its virtual
// machine are taken down.
enum { LOCK_ATTEMPTS = 50, LOCK_PAUSE_MICROSECONDS = 10000 };

// 1 if locked, 0 on a file system that knows no locks, -EBUSY if somebody else has the lock.
static int lock_pid_file(int fd) {
    for (int attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
            return 1;
        }
        if (errno != EAGAIN && errno != EACCES) {
            return 0;
        }
        (void)usleep(LOCK_PAUSE_MICROSECONDS);
    }
    return -EBUSY;
}

static int is_named(const char *path, int fd, int *code) {
    struct stat named;
    struct stat opened;
    *code = 0;
    if (fstatat(AT_FDCWD, path, &named, AT_SYMLINK_NOFOLLOW) < 0 || fstat(fd, &opened) < 0) {
        *code = errno == ENOENT ? 0 : -errno;
        return 0;
    }
    return named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

int csl_open_pid_file(const char *path) {
    int ignored;
    int locked;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0) {
        locked = lock_pid_file(fd);
    } else if (errno != EEXIST) {
        return -errno;
    } else {
        fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0) {
            return -EEXIST;
        }
        locked = lock_pid_file(fd);
        // Looked at with the lock held: of two that find it at once, one takes it.
        if (locked >= 0 && (!is_left_behind(fd) || !is_named(path, fd, &ignored) || ftruncate(fd, 0) < 0 ||
                            fchmod(fd, 0600) < 0)) {
            locked = -EEXIST;
        }
    }
    if (locked < 0) {
        close(fd);
        return locked;
    }
    return fd;
}

int csl_remove_open_file(const char *path, int fd) {
    int code;
    if (!is_named(path, fd, &code)) {
        return code;
    }
    return unlinkat(AT_FDCWD, path, 0) < 0 && errno != ENOENT ? -errno : 0;
}

// The daemon.

static void wait_for_daemon(int handshake, pid_t child) {
    char status;
    ssize_t length;
    int ignored;
    while (waitpid(child, &ignored, 0) < 0 && errno == EINTR) {
    }
    do {
        length = read(handshake, &status, 1);
    } while (length < 0 && errno == EINTR);
    // The daemon has told on standard error why, if it ended without a byte.
    _exit(length == 1 ? 0 : 1);
}

int csl_daemonize(void) {
    int ends[2];
    pid_t child;
    if (pipe(ends) < 0) {
        return -errno;
    }
    (void)fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    (void)fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    child = fork();
    if (child < 0) {
        int code = errno;
        close(ends[0]);
        close(ends[1]);
        return -code;
    }
    if (child > 0) {
        close(ends[1]);
        wait_for_daemon(ends[0], child);
    }
    close(ends[0]);
    if (setsid() < 0) {
        return -errno;
    }
    // A session's leader could get a controlling terminal by opening one; its child cannot.
    child = fork();
    if (child < 0) {
        return -errno;
    }
    if (child > 0) {
        _exit(0);
    }
    return ends[1];
}

int csl_daemon_started(int handshake) {
    char status = 0;
    ssize_t length;
    int result = 0;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) {
        return -errno;
    }
    for (int fd = 0; fd <= 2; fd++) {
        if (dup2(null, fd) < 0) {
            result = -errno;
        }
    }
    if (null > 2) {
        close(null);
    }
    if (result == 0) {
        do {
            length = write(handshake, &status, 1);
        } while (length < 0 && errno == EINTR);
        // EPIPE: whoever waited is gone, and the daemon does not need it.
        if (length < 0 && errno != EPIPE) {
            result = -errno;
        }
    }
    close(handshake);
    return result;
}

// The terminal.

static struct termios saved_settings;
static pid_t own_group;
static volatile sig_atomic_t is_armed = 0;

void csl_restore_terminal(void) {
    pid_t group;
    if (!is_armed) {
        return;
    }
    // From the background the change would stop us, and the settings are those of the job in the foreground.
    group = tcgetpgrp(STDIN_FILENO);
    if (group >= 0 && group != own_group) {
        return;
    }
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &saved_settings);
}

// Entered once: SA_RESETHAND has put the default action back, which the second signal meets. That comes, where it can, from
// the same fault once more, as a filter lets few threads send signals.
static void fatal_signal(int number, siginfo_t *info, void *context) {
    (void)context;
    csl_restore_terminal();
    if (info->si_code <= 0) {
        (void)raise(number);
        return;
    }
    switch (number) {
    case SIGSEGV:
    case SIGBUS:
    case SIGILL:
    case SIGFPE: return;
    // Behind a breakpoint the program would go on.
    case SIGTRAP: __builtin_trap();
    default: (void)raise(number);
    }
}

int csl_arm_terminal_guard(void) {
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS, SIGQUIT};
    struct sigaction action = {0};
    if (tcgetattr(STDIN_FILENO, &saved_settings) < 0) {
        return 0;
    }
    // It is the shell that changes a job's group, before the program runs.
    own_group = getpgrp();
    is_armed = 1;
    action.sa_sigaction = fatal_signal;
    action.sa_flags = SA_SIGINFO | SA_RESETHAND | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    for (unsigned int index = 0; index < sizeof fatal / sizeof fatal[0]; index++) {
        (void)sigaction(fatal[index], &action, NULL);
    }
    return 1;
}

// What the C library does not release of a stack when its thread ends is PTHREAD_STACK_MIN.
enum { PAGE = 4096, RELEASED_STACK = 16 * PAGE, KEPT_STACK = 4 * PAGE };

static void release_pages(uintptr_t start, uintptr_t end) {
    start = (start + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    end &= ~(uintptr_t)(PAGE - 1);
    if (start < end) {
        // Advice that is refused costs memory, nothing else.
        (void)madvise((void *)start, end - start, MADV_DONTNEED);
    }
}

void csl_release_read_only_segments(uintptr_t base, const ElfW(Phdr) *segments, size_t count) {
    for (size_t index = 0; index < count; index++) {
        const ElfW(Phdr) *segment = &segments[index];
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_W) == 0) {
            // The file's part alone: between segments there are holes, which the system fills with other mappings.
            uintptr_t start = base + segment->p_vaddr;
            release_pages(start, start + segment->p_filesz);
        }
    }
}

static int release_program(struct dl_phdr_info *program, size_t size, void *context) {
    (void)size;
    (void)context;
    csl_release_read_only_segments(program->dlpi_addr, program->dlpi_phdr, program->dlpi_phnum);
    // The program itself comes first; its libraries are shared with others.
    return 1;
}

void csl_release_thread_stack(void) {
    uintptr_t stack = (uintptr_t)__builtin_frame_address(0) - PAGE;
    release_pages(stack - KEPT_STACK, stack);
}

void csl_release_start_memory(void) {
    // Below this function's own frame and those of what it calls nothing is alive.
    uintptr_t stack = (uintptr_t)__builtin_frame_address(0) - PAGE;
    release_pages(stack - RELEASED_STACK, stack);
    // Pages of the heap on which nothing is left.
    (void)malloc_trim(0);
    // Clean pages of a file: they come back from the page cache.
    (void)dl_iterate_phdr(release_program, NULL);
}
