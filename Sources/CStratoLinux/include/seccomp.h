// System call filters (seccomp(2)). Every function returns a negative errno on failure.
#ifndef CSTRATOLINUX_SECCOMP_H
#define CSTRATOLINUX_SECCOMP_H

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/// Puts a filter in place for the calling thread and those that it starts from now on, which cannot be undone.
///
/// The thread can get no more rights by running a program (no_new_privs), without which a user may not set filters.
static inline int csl_install_filter(const struct sock_filter *_Nonnull instructions, uint16_t count) {
    struct sock_fprog program = {.len = count, .filter = (struct sock_filter *)instructions};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        return -errno;
    }
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? -errno : 0;
}
/// 0 if the kernel has filters that answer with a signal.
static inline int csl_filters_available(void) {
    uint32_t action = SECCOMP_RET_TRAP;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0 ? -errno : 0;
}

// What the kernel's headers compute in ways that Swift does not see.
enum csl_filter_action : uint32_t {
    CSL_FILTER_KILL = SECCOMP_RET_KILL_PROCESS,
    CSL_FILTER_TRAP = SECCOMP_RET_TRAP,
    CSL_FILTER_REFUSE = SECCOMP_RET_ERRNO,
    CSL_FILTER_ALLOW = SECCOMP_RET_ALLOW,
};
enum csl_filter_code : uint16_t {
    CSL_FILTER_LOAD = BPF_LD | BPF_W | BPF_ABS,
    CSL_FILTER_JUMP_EQUAL = BPF_JMP | BPF_JEQ | BPF_K,
    CSL_FILTER_JUMP_ANY = BPF_JMP | BPF_JSET | BPF_K,
    CSL_FILTER_RETURN = BPF_RET | BPF_K,
};
/// Where the kernel shows a filter the call: struct seccomp_data.
enum csl_filter_offset : uint32_t {
    CSL_FILTER_NUMBER = offsetof(struct seccomp_data, nr),
    CSL_FILTER_ARCHITECTURE = offsetof(struct seccomp_data, arch),
    CSL_FILTER_ARGUMENTS = offsetof(struct seccomp_data, args),
};
/// What the C library's pthread_create asks of clone(2).
enum csl_clone_flags : uint32_t {
    CSL_CLONE_THREAD = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD | CLONE_SETTLS |
                       CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
};

#if defined(__x86_64__)
enum csl_filter_architecture : uint32_t { CSL_FILTER_NATIVE = AUDIT_ARCH_X86_64 };
#elif defined(__aarch64__)
enum csl_filter_architecture : uint32_t { CSL_FILTER_NATIVE = AUDIT_ARCH_AARCH64 };
#endif

// The names of this architecture's calls: strings, one after the other.
extern const char csl_first_call_names[];
extern const int csl_first_call_count;
extern const char csl_later_call_names[];
extern const int csl_later_call_start;
extern const int csl_later_call_count;

/// The name of a system call, empty for a number that has none. Async-signal-safe.
const char *_Nonnull csl_call_name(int number);

/// What a filter is for: it stands in the data of its answers, so that whoever tells of a refused call knows.
enum csl_thread_kind : uint16_t {
    CSL_THREAD_MAIN = 1,
    CSL_THREAD_PROCESSOR = 2,
    CSL_THREAD_IO = 3,
};

/// Makes SIGSYS, by which a filter refuses a call, end the process with one line that names the call and the kind of thread.
/// The line goes to standard error, and to `log` unless that is negative. For an executable only, before there is a filter.
int csl_tell_refused_calls(int log);

#endif
