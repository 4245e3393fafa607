// dl_iterate_phdr is declared for it only; the headers that Swift reads do without.
#define _GNU_SOURCE
#include "process.h"

#include <fcntl.h>
#include <malloc.h>
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
static volatile sig_atomic_t is_armed = 0;

void csl_restore_terminal(void) {
    pid_t group;
    if (!is_armed) {
        return;
    }
    // From the background the change would stop us, and the settings are those of the job in the foreground.
    group = tcgetpgrp(STDIN_FILENO);
    if (group >= 0 && group != getpgrp()) {
        return;
    }
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &saved_settings);
}

// Entered once: SA_RESETHAND has put the default action back, which the second signal meets.
static void fatal_signal(int number) {
    csl_restore_terminal();
    (void)raise(number);
}

int csl_arm_terminal_guard(void) {
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS, SIGQUIT};
    struct sigaction action = {0};
    if (tcgetattr(STDIN_FILENO, &saved_settings) < 0) {
        return 0;
    }
    is_armed = 1;
    action.sa_handler = fatal_signal;
    action.sa_flags = SA_RESETHAND | SA_NODEFER;
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
